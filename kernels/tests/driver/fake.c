// A driver without a GPU: memory is the host's, kernels do nothing, and each misuse ends the process. It lets the code
// that speaks to the driver run where there is none.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int Status;
enum { OK = 0, INVALID = 1, OUT_OF_MEMORY = 2, NOT_FOUND = 500 };

#define MUST(holds) \
    do { \
        if (!(holds)) { \
            fprintf(stderr, "fake driver: %s: %s\n", __func__, #holds); \
            abort(); \
        } \
    } while (0)

// What the test looks at and sets, by fake_count and fake_set.
enum { LAUNCHED, RECORDED, REPLAYED, LIVE, SHARED, COUNTS };
static int counts[COUNTS];
static size_t free_bytes = 1 << 20;
static int fail_launch = -1;
static int capturing, version = 13000;
static char context;

int fake_count(int which) { return counts[which]; }
void fake_fail_launch(int after) { fail_launch = after; }
void fake_free_bytes(size_t bytes) { free_bytes = bytes; }

Status cuInit(unsigned flags) { return flags ? INVALID : OK; }
Status cuDriverGetVersion(int *out) { return *out = version, OK; }
Status cuDeviceGetCount(int *out) { return *out = 1, OK; }
Status cuDeviceGet(int *out, int ordinal) { return *out = 7, ordinal ? INVALID : OK; }
Status cuDeviceGetName(char *out, int len, int device) {
    MUST(device == 7);
    return snprintf(out, len, "a GPU of straw"), OK;
}
Status cuDeviceTotalMem_v2(size_t *out, int device) {
    MUST(device == 7);
    return *out = free_bytes, OK;
}
Status cuDeviceGetAttribute(int *out, int attribute, int device) {
    MUST(device == 7);
    // Compute capability 9.0, 132 multiprocessors.
    return *out = attribute == 75 ? 9 : attribute == 76 ? 0 : attribute == 16 ? 132 : -1, OK;
}
Status cuDevicePrimaryCtxRetain(void **out, int device) {
    MUST(device == 7);
    return *out = &context, counts[LIVE]++, OK;
}
Status cuDevicePrimaryCtxRelease_v2(int device) {
    MUST(device == 7);
    return counts[LIVE]--, OK;
}
Status cuCtxSetCurrent(void *c) {
    MUST(c == &context);
    return OK;
}

static Status make(void **out) { return *out = malloc(16), counts[LIVE]++, OK; }
static Status unmake(void *x) {
    MUST(x);
    return free(x), counts[LIVE]--, OK;
}

Status cuStreamCreate(void **out, unsigned flags) {
    MUST(flags == 1); // one that does not wait for the default stream
    return make(out);
}
Status cuStreamDestroy_v2(void *stream) { return unmake(stream); }
Status cuStreamSynchronize(void *stream) {
    MUST(stream && !capturing);
    return OK;
}
Status cuStreamBeginCapture_v2(void *stream, int mode) {
    MUST(stream && !capturing && mode == 1);
    return capturing = 1, OK;
}
Status cuStreamEndCapture(void *stream, void **graph) {
    MUST(stream && capturing);
    return capturing = 0, make(graph);
}
Status cuGraphInstantiateWithFlags(void **out, void *graph, uint64_t flags) {
    MUST(graph && !flags);
    return make(out);
}
Status cuGraphDestroy(void *graph) { return unmake(graph); }
Status cuGraphExecDestroy(void *graph) { return unmake(graph); }
Status cuGraphLaunch(void *graph, void *stream) {
    MUST(graph && stream && !capturing);
    return counts[REPLAYED]++, OK;
}

Status cuMemAlloc_v2(uint64_t *out, size_t bytes) {
    MUST(bytes && !capturing);
    if (bytes > free_bytes) return OUT_OF_MEMORY;
    return *out = (uint64_t)malloc(bytes), memset((void *)*out, 0xff, bytes), counts[LIVE]++, OK;
}
Status cuMemFree_v2(uint64_t address) { return unmake((void *)address); }
Status cuMemGetInfo_v2(size_t *free, size_t *total) { return *free = *total = free_bytes, OK; }
Status cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes, void *stream) {
    MUST(stream && !capturing);
    return memcpy((void *)to, from, bytes), OK;
}
Status cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes, void *stream) {
    MUST(stream && !capturing);
    return memcpy(to, (void *)from, bytes), OK;
}
Status cuMemsetD8Async(uint64_t to, unsigned char value, size_t bytes, void *stream) {
    MUST(stream && !capturing);
    return memset((void *)to, value, bytes), OK;
}

Status cuModuleLoadData(void **out, const void *image) {
    MUST(image);
    return make(out);
}
Status cuModuleUnload(void *module) { return unmake(module); }
Status cuModuleGetFunction(void **out, void *module, const char *name) {
    MUST(module);
    return *out = &counts, strcmp(name, "absent") ? OK : NOT_FOUND;
}
Status cuFuncGetAttribute(int *out, int attribute, void *function) {
    MUST(function == &counts);
    return *out = attribute == 4 ? 64 : attribute == 3 ? 0 : -1, OK; // registers; local bytes
}
Status cuFuncSetAttribute(void *function, int attribute, int value) {
    MUST(function == &counts && attribute == 8);
    if (value > 227 * 1024) return INVALID;
    return counts[SHARED] = value, OK;
}
Status cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                      unsigned shared, void *stream, void **args, void **extra) {
    MUST(function == &counts && stream && args && args[0] && !extra);
    MUST(shared <= 48 * 1024 || (int)shared <= counts[SHARED]);
    if (fail_launch == 0 || gx * gy * gz == 0 || bx * by * bz > 1024) return INVALID;
    if (fail_launch > 0) fail_launch--;
    return counts[capturing ? RECORDED : LAUNCHED]++, OK;
}

Status cuGetErrorName(Status s, const char **out) {
    return *out = s == INVALID ? "CUDA_ERROR_INVALID_VALUE" : "CUDA_ERROR_ELSE", OK;
}
Status cuGetErrorString(Status s, const char **out) { return *out = s == INVALID ? "invalid argument" : "else", OK; }
