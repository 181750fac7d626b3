// A run-time compiler that gives back its source as the machine code, and refuses what holds "#error".
#include <stdlib.h>
#include <string.h>

typedef int Status;
static int compiled;

int fake_compiled(void) { return compiled; }

Status nvrtcGetNumSupportedArchs(int *out) { return *out = 2, 0; }
Status nvrtcGetSupportedArchs(int *out) { return out[0] = 75, out[1] = 90, 0; }
Status nvrtcVersion(int *major, int *minor) { return *major = 13, *minor = 0, 0; }
Status nvrtcCreateProgram(char **out, const char *source, const char *name, int headers, void *a, void *b) {
    if (!name || headers || a || b) abort();
    return *out = strdup(source), 0;
}
Status nvrtcCompileProgram(char *program, int count, const char *const *options) {
    int exact = 0, arch = 0;
    for (int i = 0; i < count; i++) {
        exact |= !strcmp(options[i], "--fmad=false");
        arch |= !strcmp(options[i], "--gpu-architecture=sm_90");
    }
    if (!exact || !arch) abort();
    return compiled++, strstr(program, "#error") ? 6 : 0;
}
Status nvrtcDestroyProgram(char **program) { return free(*program), 0; }
static Status size(const char *text, size_t *out) { return *out = strlen(text) + 1, 0; }
static const char *log_of(char *program) { return strstr(program, "#error") ? "line 1: refused" : ""; }
Status nvrtcGetProgramLogSize(char *program, size_t *out) { return size(log_of(program), out); }
Status nvrtcGetProgramLog(char *program, char *out) { return strcpy(out, log_of(program)), 0; }
Status nvrtcGetPTXSize(char *program, size_t *out) { return size(program, out); }
Status nvrtcGetPTX(char *program, char *out) { return strcpy(out, program), 0; }
Status nvrtcGetCUBINSize(char *program, size_t *out) { return size(program, out); }
Status nvrtcGetCUBIN(char *program, char *out) { return strcpy(out, program), 0; }
const char *nvrtcGetErrorString(Status s) { return s == 6 ? "NVRTC_ERROR_COMPILATION" : "NVRTC_ERROR"; }
