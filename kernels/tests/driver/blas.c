// cuBLAS and cuBLASLt of straw: nothing is computed, and each misuse ends the process. One source makes both libraries.
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int Status;
enum { OK = 0, EXECUTION_FAILED = 13, NOT_SUPPORTED = 15 };

#define MUST(holds) \
    do { \
        if (!(holds)) { \
            fprintf(stderr, "fake cuBLAS: %s: %s\n", __func__, #holds); \
            abort(); \
        } \
    } while (0)

// What the test looks at.
enum { LIVE, CHOSEN, STRIDED, LISTED, COMPUTE, BATCH, BIASED, COUNTS };
static _Atomic int counts[COUNTS];
static int refuse;
static void *stream;
static uint64_t workspace;

int fake_blas(int which) { return counts[which]; }
// 1: every product; 2: those of a mode with tensor cores; 3: batches with a bias.
int fake_refuse(int which) { return refuse = which; }

// What the driver of straw knows, which the test opened before.
static int driver(const char *question) {
    int (*function)(void) = (int (*)(void))dlsym(RTLD_DEFAULT, question);
    MUST(function);
    return function();
}
// Every call on the device needs the context on its very thread.
#define ENTERED MUST(driver("fake_current"))
#define RECORDING driver("fake_capturing")
// By any thread: what waits for the whole device breaks it.
#define QUIET MUST(!driver("fake_recorders"))

typedef struct {
    int kind, compute, ran;
    // Attributes by number.
    uint64_t value[16];
    int set[16];
} Object;

static Status make(void **out, int kind) {
    Object *object = calloc(1, sizeof *object);
    object->kind = kind;
    return *out = object, counts[LIVE]++, OK;
}
static Status unmake(void *x, int kind) {
    MUST(x && ((Object *)x)->kind == kind);
    return free(x), counts[LIVE]--, OK;
}
static Status set(void *x, int kind, int attribute, const void *value, size_t bytes) {
    Object *object = x;
    MUST(object && object->kind == kind && attribute >= 0 && attribute < 16 && (bytes == 4 || bytes == 8));
    memcpy(&object->value[attribute], value, bytes);
    return object->set[attribute] = (int)bytes, OK;
}
enum { LT, DESC, LAYOUT, PREFERENCE, CLASSIC };

size_t cublasLtGetVersion(void) { return 130002; }
const char *cublasLtGetStatusString(Status s) {
    return s == NOT_SUPPORTED ? "CUBLAS_STATUS_NOT_SUPPORTED" : "CUBLAS_STATUS_ELSE";
}
Status cublasLtCreate(void **out) {
    ENTERED;
    QUIET;
    return make(out, LT);
}
Status cublasLtDestroy(void *x) {
    QUIET;
    return unmake(x, LT);
}
Status cublasLtMatmulDescCreate(void **out, int compute, int scale) {
    MUST(scale == 0);
    counts[COMPUTE] = compute;
    make(out, DESC);
    return ((Object *)*out)->compute = compute, OK;
}
Status cublasLtMatmulDescDestroy(void *x) { return unmake(x, DESC); }
Status cublasLtMatmulDescSetAttribute(void *x, int a, const void *v, size_t n) { return set(x, DESC, a, v, n); }
Status cublasLtMatrixLayoutCreate(void **out, int type, uint64_t rows, uint64_t columns, int64_t ld) {
    MUST(type == 0 && rows > 0 && columns > 0 && ld >= (int64_t)rows);
    return make(out, LAYOUT);
}
Status cublasLtMatrixLayoutDestroy(void *x) { return unmake(x, LAYOUT); }
Status cublasLtMatrixLayoutSetAttribute(void *x, int a, const void *v, size_t n) { return set(x, LAYOUT, a, v, n); }
Status cublasLtMatmulPreferenceCreate(void **out) { return make(out, PREFERENCE); }
Status cublasLtMatmulPreferenceDestroy(void *x) { return unmake(x, PREFERENCE); }
Status cublasLtMatmulPreferenceSetAttribute(void *x, int a, const void *v, size_t n) {
    return set(x, PREFERENCE, a, v, n);
}

typedef struct {
    uint64_t algorithm[8];
    size_t workspace;
    int state;
    float waves;
    int reserved[4];
} Result;

Status cublasLtMatmulAlgoGetHeuristic(void *lt, Object *desc, Object *a, Object *b, Object *c, Object *d,
                                      Object *preference, int asked, Result *out, int *found) {
    MUST(lt && desc->kind == DESC && asked == 1 && preference->set[1] == 8 && preference->value[1] == 32 << 20);
    for (int i = 5; i <= 8; i++) MUST(preference->set[i] == 4 && preference->value[i] >= 4);
    Object *layouts[] = {a, b, c, d};
    for (int i = 0; i < 4; i++) {
        MUST(layouts[i]->kind == LAYOUT && layouts[i]->set[5] == 4 && layouts[i]->set[6] == 8);
        MUST(layouts[i]->value[5] == a->value[5]);
    }
    MUST(desc->set[3] == 4 && desc->set[4] == 4);
    // An epilogue with a bias needs the bias and its stride.
    if (desc->set[7]) MUST(desc->value[7] == 4 && desc->set[8] == 8 && desc->value[8] && desc->set[10] == 8);
    counts[BIASED] += desc->set[7] != 0;
    // A bias is loaded in the steps in which D is stored.
    if (desc->set[7]) {
        uint64_t step = a->value[5] > 1 ? 4 * desc->value[10] : 0;
        MUST((desc->value[8] | step) % preference->value[8] == 0);
    }
    counts[CHOSEN]++;
    counts[BATCH] = (int)a->value[5];
    memset(out, 0, sizeof *out);
    out->algorithm[0] = 42;
    int refused = refuse == 1 || (refuse == 2 && desc->compute != 68);
    refused |= refuse == 3 && a->value[5] > 1 && desc->set[7];
    return *found = !refused, refused ? NOT_SUPPORTED : OK;
}
Status cublasLtMatmulAlgoConfigGetAttribute(const uint64_t *algorithm, int attribute, void *out, size_t bytes,
                                            size_t *written) {
    MUST(algorithm[0] == 42 && bytes == 4);
    return *(uint32_t *)out = 60 + (uint32_t)attribute, *written = 4, OK;
}
Status cublasLtMatmul(void *lt, Object *desc, const float *alpha, uint64_t a, Object *la, uint64_t b, Object *lb,
                      const float *beta, uint64_t c, Object *lc, uint64_t d, Object *ld, const uint64_t *algorithm,
                      uint64_t space, size_t bytes, void *on) {
    MUST(lt && desc->kind == DESC && la && lb && lc && ld && a && b && c && d && on);
    MUST(*alpha == 1.0f && (*beta == 0.0f || *beta == 1.0f) && algorithm[0] == 42 && space && bytes == 32 << 20);
    ENTERED;
    // Its kernels are loaded when they first run, which waits for the whole context.
    if (!desc->ran) {
        QUIET;
        usleep(1000);
        QUIET;
    }
    // The library says no more than this of what a kernel did wrong before.
    if (driver("fake_broken")) return EXECUTION_FAILED;
    return desc->ran = 1, counts[STRIDED]++, OK;
}

Status cublasCreate_v2(void **out) {
    ENTERED;
    QUIET;
    return driver("fake_broken") ? EXECUTION_FAILED : make(out, CLASSIC);
}
// It calls cudaDeviceSynchronize.
Status cublasDestroy_v2(void *x) {
    QUIET;
    return unmake(x, CLASSIC);
}
Status cublasSetStream_v2(void *x, void *on) {
    MUST(x && on);
    return stream = on, workspace = 0, OK; // as the library does
}
Status cublasSetWorkspace_v2(void *x, uint64_t at, size_t bytes) {
    MUST(x && at && bytes == 32 << 20);
    return workspace = at, OK;
}
Status cublasGemmBatchedEx(void *x, int ta, int tb, int m, int n, int k, const float *alpha, const uint64_t *a, int at,
                           int lda, const uint64_t *b, int bt, int ldb, const float *beta, const uint64_t *c, int ct,
                           int ldc, int count, int compute, int algorithm) {
    MUST(x && stream && workspace && m > 0 && n > 0 && k > 0 && count > 1 && algorithm == -1);
    MUST(*alpha == 1.0f && *beta == 0.0f && !at && !bt && !ct);
    MUST(compute == 68 || compute == 69 || compute == 75 || compute == 77);
    ENTERED;
    MUST(lda >= (ta ? k : m) && ldb >= (tb ? n : k) && ldc >= m);
    // The lists lie on the device, and what was uploaded arrives by the time it is needed.
    static _Atomic int ran;
    if (!ran) QUIET;
    if (driver("fake_broken")) return EXECUTION_FAILED;
    // While it is recorded nothing runs.
    if (!RECORDING) driver("fake_arrive");
    ran = 1;
    for (int i = 0; i < count; i++) {
        MUST(a[i] && b[i] && c[i]);
        // cublasGemmBatchedEx: in the fast modes, 16 must divide each address where 4 divides k.
        MUST(compute <= 69 || k % 4 || (a[i] | b[i] | c[i]) % 16 == 0);
    }
    return counts[LISTED]++, OK;
}
