// A driver without a GPU: memory is the host's, kernels do nothing, and each misuse ends the process. It lets the code
// that speaks to the driver run where there is none. What the real one leaves undefined or does late is done late here:
// copies and fills are carried out when the stream is waited for, and read their source only then.
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int Status;
enum { OK = 0, INVALID = 1, OUT_OF_MEMORY = 2, UNAVAILABLE = 46, NOT_FOUND = 500 };

#define MUST(holds) \
    do { \
        if (!(holds)) { \
            fprintf(stderr, "fake driver: %s: %s\n", __func__, #holds); \
            abort(); \
        } \
    } while (0)

// What the test looks at and sets.
enum { LAUNCHED, RECORDED, REPLAYED, LIVE, COUNTS };
static _Atomic int counts[COUNTS];
static size_t free_bytes = 1 << 20;
static int fail_launch = -1, version = 13000, taken, major = 9;
static _Atomic int retained;
// After a kernel's fault every call says so.
static Status broken;
// Replays until a kernel's fault; none where it is negative.
static _Atomic int sound = -1;
static char context;
static __thread void *current;
// The stream that this thread records: others go on meanwhile, as by CU_STREAM_CAPTURE_MODE_THREAD_LOCAL.
static __thread void *capturing;
// Threads that record.
static _Atomic int recorders;

int fake_count(int which) { return counts[which]; }
int fake_capturing(void) { return capturing != 0; }
int fake_current(void) { return current == &context; }
void fake_fail_launch(int after) { fail_launch = after; }
void fake_free_bytes(size_t bytes) { free_bytes = bytes; }
void fake_break(int status) { broken = status; }
int fake_broken(void) { return broken; }
int fake_recorders(void) { return recorders; }
// Another process has the GPU for itself.
void fake_take(int by_another) { taken = by_another; }
void fake_major(int capability) { major = capability; }

// For a program that nothing can be asked of.
__attribute__((constructor)) static void told_by_the_environment(void) {
    const char *bytes = getenv("STRAW_FREE_BYTES"), *replays = getenv("STRAW_SOUND_REPLAYS");
    if (bytes) free_bytes = strtoull(bytes, 0, 10);
    if (replays) sound = atoi(replays);
    if (getenv("STRAW_BROKEN")) broken = atoi(getenv("STRAW_BROKEN"));
}

// Most calls need the context on their very thread.
#define ENTERED MUST(current == &context)

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
    return *out = attribute == 75 ? major : attribute == 76 ? 0 : attribute == 16 ? 132 : -1, OK;
}
Status cuDevicePrimaryCtxRetain(void **out, int device) {
    MUST(device == 7);
    if (taken) return UNAVAILABLE;
    return *out = &context, retained++, counts[LIVE]++, OK;
}
Status cuDevicePrimaryCtxRelease_v2(int device) {
    MUST(device == 7 && retained > 0);
    // The last one ends the context, and with it what is left in it.
    MUST(retained > 1 || counts[LIVE] == 1 || broken);
    return retained--, counts[LIVE]--, OK;
}
Status cuCtxSetCurrent(void *c) {
    MUST(c == &context && retained > 0);
    return current = c, OK;
}

static Status make(void **out) {
    ENTERED;
    if (broken) return broken;
    return *out = calloc(1, 16), counts[LIVE]++, OK;
}
static Status unmake(void *x) {
    ENTERED;
    MUST(x);
    return free(x), counts[LIVE]--, broken;
}

// Work of streams that is not done yet, in order.
typedef struct {
    void *stream, *to;
    const void *from; // none: zeros
    size_t bytes;
} Copy;
static Copy queue[4096];
static size_t queued;
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

static void later(void *stream, void *to, const void *from, size_t bytes) {
    pthread_mutex_lock(&turn);
    MUST(queued < sizeof queue / sizeof *queue);
    queue[queued++] = (Copy){stream, to, from, bytes};
    pthread_mutex_unlock(&turn);
}
// Carries out the work of a stream, or of all.
static void carry_out(void *stream) {
    pthread_mutex_lock(&turn);
    size_t left = 0;
    for (size_t i = 0; i < queued; i++) {
        Copy copy = queue[i];
        if (stream && copy.stream != stream) {
            queue[left++] = copy;
        } else if (copy.from) {
            memcpy(copy.to, copy.from, copy.bytes);
        } else {
            memset(copy.to, 0, copy.bytes);
        }
    }
    queued = left;
    pthread_mutex_unlock(&turn);
}

// For what looks at the device's memory as a kernel does.
int fake_arrive(void) { return carry_out(0), OK; }

Status cuStreamCreate(void **out, unsigned flags) {
    MUST(flags == 1); // one that does not wait for the default stream
    return make(out);
}
Status cuStreamDestroy_v2(void *stream) { return carry_out(stream), unmake(stream); }
Status cuStreamSynchronize(void *stream) {
    ENTERED;
    MUST(stream && capturing != stream);
    return carry_out(stream), broken;
}
Status cuStreamBeginCapture_v2(void *stream, int mode) {
    ENTERED;
    MUST(stream && !capturing && mode == 1);
    if (broken) return broken;
    recorders++;
    // It takes its time, for others to disturb it.
    usleep(2000);
    return capturing = stream, OK;
}
Status cuStreamEndCapture(void *stream, void **graph) {
    MUST(stream && capturing == stream); // by the thread that began it
    recorders--;
    return capturing = 0, make(graph);
}
Status cuGraphInstantiateWithFlags(void **out, void *graph, uint64_t flags) {
    MUST(graph && !flags && !capturing);
    return make(out);
}
Status cuGraphDestroy(void *graph) { return unmake(graph); }
Status cuGraphExecDestroy(void *graph) { return unmake(graph); }
Status cuGraphLaunch(void *graph, void *stream) {
    ENTERED;
    MUST(graph && stream && !capturing);
    if (sound == 0) broken = 700;
    if (sound > 0) sound--;
    // What a kernel does wrong is met by a later call.
    return counts[REPLAYED]++, OK;
}

// What nobody must do while some thread records, since it waits, or may wait, for the whole device.
#define NOT_RECORDING MUST(!recorders)

Status cuMemAlloc_v2(uint64_t *out, size_t bytes) {
    ENTERED;
    NOT_RECORDING;
    MUST(bytes);
    if (broken) return broken;
    if (bytes > free_bytes) return OUT_OF_MEMORY;
    // As the driver aligns; what it holds is anything.
    *out = (uint64_t)aligned_alloc(256, (bytes + 255) / 256 * 256);
    return memset((void *)*out, 0xff, bytes), counts[LIVE]++, OK;
}
Status cuMemFree_v2(uint64_t address) {
    NOT_RECORDING;
    return carry_out(0), unmake((void *)address);
}
Status cuMemHostAlloc(void **out, size_t bytes, unsigned flags) {
    ENTERED;
    NOT_RECORDING;
    MUST(bytes && !flags);
    if (broken) return broken;
    return *out = malloc(bytes), counts[LIVE]++, OK;
}
Status cuMemFreeHost(void *at) {
    NOT_RECORDING;
    pthread_mutex_lock(&turn);
    for (size_t i = 0; i < queued; i++) {
        // Nobody reads it any more.
        const char *from = queue[i].from, *begin = at;
        MUST(broken || from < begin || from >= begin + (32 << 20));
    }
    pthread_mutex_unlock(&turn);
    return unmake(at);
}
Status cuMemGetInfo_v2(size_t *free, size_t *total) {
    ENTERED;
    return *free = *total = free_bytes, OK;
}
Status cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes, void *stream) {
    ENTERED;
    MUST(stream && !capturing && bytes);
    if (broken) return broken;
    return later(stream, (void *)to, from, bytes), OK;
}
Status cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes, void *stream) {
    ENTERED;
    MUST(stream && !capturing && bytes);
    if (broken) return broken;
    return later(stream, to, (void *)from, bytes), OK;
}
Status cuMemsetD8Async(uint64_t to, unsigned char value, size_t bytes, void *stream) {
    ENTERED;
    MUST(stream && !capturing && !value && bytes);
    if (broken) return broken;
    return later(stream, (void *)to, 0, bytes), OK;
}

typedef struct {
    int shared, loaded;
} Function;
// A module's functions live as long as the process here.
Status cuModuleLoadData(void **out, const void *image) {
    NOT_RECORDING;
    MUST(image);
    return make(out);
}
Status cuModuleUnload(void *module) {
    NOT_RECORDING;
    return unmake(module);
}
Status cuModuleGetFunction(Function **out, void *module, const char *name) {
    ENTERED;
    MUST(module);
    return *out = calloc(1, sizeof **out), strcmp(name, "absent") ? broken : NOT_FOUND;
}
Status cuFuncGetAttribute(int *out, int attribute, Function *function) {
    ENTERED;
    MUST(function);
    // Modules are loaded lazily: a kernel when it is first asked for something or launched.
    MUST(function->loaded || !recorders);
    function->loaded = 1;
    return *out = attribute == 4 ? 64 : attribute == 3 ? 0 : -1, OK; // registers; local bytes
}
Status cuFuncSetAttribute(Function *function, int attribute, int value) {
    ENTERED;
    MUST(function && attribute == 8);
    if (value > 227 * 1024) return INVALID;
    return function->shared = value, OK;
}
Status cuLaunchKernel(Function *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                      unsigned shared, void *stream, void **args, void **extra) {
    ENTERED;
    MUST(function && stream && args && args[0] && !extra);
    if (broken) return broken;
    // More than 48 KiB only where it was allowed before.
    if (shared > 48 * 1024 && (int)shared > function->shared) return INVALID;
    if (gx > 0x7fffffff || gy > 65535 || gz > 65535 || gx == 0 || gy == 0 || gz == 0) return INVALID;
    if (bx * by * bz > 1024 || bx * by * bz == 0 || bz > 64) return INVALID;
    if (fail_launch == 0) return INVALID;
    if (fail_launch > 0) fail_launch--;
    // Loading waits for the whole context.
    MUST(function->loaded || !recorders);
    function->loaded = 1;
    return counts[capturing == stream ? RECORDED : LAUNCHED]++, OK;
}

Status cuGetErrorName(Status s, const char **out) {
    return *out = s == INVALID ? "CUDA_ERROR_INVALID_VALUE" : s == 700 ? "CUDA_ERROR_ILLEGAL_ADDRESS" : "CUDA_ERROR_ELSE", OK;
}
Status cuGetErrorString(Status s, const char **out) { return *out = s == INVALID ? "invalid argument" : "else", OK; }
