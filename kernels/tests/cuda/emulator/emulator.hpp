// Runs CUDA kernels on the host: one fiber a thread, one block after the other. Stands in front of a unit of
// `kernels/cuda`, which then compiles as C++17.
//
// A warp runs until all its lanes meet at a shuffle, a block until all its threads meet at __syncthreads. Whoever
// waits where another never comes ends the launch with a message. What a kernel touches outside its memory ends it
// too: allocations and shared memory end where a protected page begins.
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <utility>
#ifndef __x86_64__
#include <ucontext.h>
#endif

struct uint3 {
    unsigned x, y, z;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

namespace emulator {

constexpr unsigned LANES = 32, MOST_THREADS = 1024, STACK_BYTES = 64 << 10;
constexpr unsigned PAGE = 65536, SHARED_PAGES_BYTES = 256 << 10, MOST_SHARED_BYTES = 227 << 10;
constexpr unsigned char POISON = 0xff;

enum State { READY, AT_EXCHANGE, AT_BARRIER, DONE, FAULTED };
enum Exchange { XOR, FROM_LANE, BALLOT };

struct Thread {
#ifdef __x86_64__
    void* context;
#else
    ucontext_t context;
#endif
    uint3 index;
    State state;
    const char* file;
    int line;
    Exchange exchange;
    uint32_t value, parameter;
};

static Thread threads[MOST_THREADS];
static Thread* current;
static uint3 block_index, block_dim, grid_dim;
static float* shared;
static char *stacks, *shared_end;
static void (*kernel)(void**);
static void** arguments;
static char message[1024];
static void* fault_address;
static int fault_signal;
static __thread bool launching;

// ---- switching ------------------------------------------------------------------------------------------------

#ifdef __x86_64__
static void* scheduler;
extern "C" __attribute__((visibility("hidden"))) void emulator_switch(void** save, void* load);
asm(R"(
.text
.type emulator_switch, @function
emulator_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size emulator_switch, .-emulator_switch
)");
static void to_scheduler() { emulator_switch(&current->context, scheduler); }
static void to_thread() { emulator_switch(&scheduler, current->context); }
#else
static ucontext_t scheduler;
static void to_scheduler() { swapcontext(&current->context, &scheduler); }
static void to_thread() { swapcontext(&scheduler, &current->context); }
#endif

static void body() {
    kernel(arguments);
    current->state = DONE;
    to_scheduler();
}

static void prepare(unsigned number) {
    Thread& thread = threads[number];
    char* stack = stacks + (size_t)number * STACK_BYTES;
#ifdef __x86_64__
    // The entry's address lies on a 16-byte boundary, below it six zeroed registers.
    void** top = (void**)(stack + STACK_BYTES) - 2;
    memset(top - 6, 0, 6 * sizeof(void*));
    *top = (void*)body;
    thread.context = top - 6;
#else
    getcontext(&thread.context);
    thread.context.uc_stack.ss_sp = stack;
    thread.context.uc_stack.ss_size = STACK_BYTES;
    thread.context.uc_link = nullptr;
    makecontext(&thread.context, body, 0);
#endif
    thread.state = READY;
}

// ---- what kernels call ----------------------------------------------------------------------------------------

static inline void wait(State state, const char* file, int line) {
    current->state = state;
    current->file = file;
    current->line = line;
    to_scheduler();
}

static inline uint32_t exchange(Exchange kind, uint32_t value, uint32_t parameter, const char* file, int line) {
    current->exchange = kind;
    current->value = value;
    current->parameter = parameter;
    wait(AT_EXCHANGE, file, line);
    return current->value;
}

static inline float exchange(Exchange kind, float value, uint32_t parameter, const char* file, int line) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    bits = exchange(kind, bits, parameter, file, line);
    memcpy(&value, &bits, sizeof value);
    return value;
}

template <class To, class From> static inline To as(From from) {
    To to;
    static_assert(sizeof to == sizeof from, "bits");
    memcpy(&to, &from, sizeof to);
    return to;
}

// ---- errors ---------------------------------------------------------------------------------------------------

static bool fail(const char* format, ...) {
    char where[128];
    snprintf(where, sizeof where, "block (%u,%u,%u): ", block_index.x, block_index.y, block_index.z);
    size_t at = (size_t)snprintf(message, sizeof message, "%s", where);
    va_list list;
    va_start(list, format);
    vsnprintf(message + at, sizeof message - at, format, list);
    va_end(list);
    return false;
}

static const char* told(const Thread& t, char (&text)[160]) {
    const char* what[] = {"runs", "waits at a shuffle", "waits at a barrier", "has ended", "faulted"};
    int at = snprintf(text, sizeof text, "thread (%u,%u,%u) %s", t.index.x, t.index.y, t.index.z, what[t.state]);
    if (t.state == AT_EXCHANGE || t.state == AT_BARRIER) {
        snprintf(text + at, sizeof text - (size_t)at, " (%s:%d)", t.file, t.line);
    }
    return text;
}

static bool apart(const Thread& a, const Thread& b) {
    char first[160], second[160];
    return fail("%s, but %s", told(a, first), told(b, second));
}

// A fault leaves the thread for good: nothing returns into the handler.
static void on_fault(int signal, siginfo_t* info, void*) {
    if (!launching || !current) {
        ::signal(signal, SIG_DFL);
        return;
    }
    fault_address = info->si_addr;
    fault_signal = signal;
    current->state = FAULTED;
    to_scheduler();
}

// ---- the scheduler --------------------------------------------------------------------------------------------

static unsigned order, draws;

// Position `i` of `n` in the present order: forward, reverse, or shuffled anew at each draw.
struct Order {
    uint64_t n, factor = 1, start = 0;
    bool reverse;
    explicit Order(uint64_t count) : n(count), reverse(order == 1) {
        if (order == 2) {
            draws = draws * 1664525u + 1013904223u;
            static const uint64_t primes[] = {1031, 2053, 4099, 8209};
            factor = primes[draws >> 30];
            start = draws >> 8;
            while (n % factor == 0) factor += 2;
            while (gcd(factor, n) != 1) factor += 2;
        }
    }
    static uint64_t gcd(uint64_t a, uint64_t b) { return b ? gcd(b, a % b) : a; }
    uint64_t operator()(uint64_t i) const { return reverse ? n - 1 - i : (i * factor + start) % n; }
};

// All lanes wait at a shuffle: hands out the values.
static bool meet(Thread* warp) {
    uint32_t values[LANES], ballot = 0;
    for (unsigned lane = 0; lane < LANES; lane++) {
        if (warp[lane].line != warp[0].line) return apart(warp[0], warp[lane]);
        values[lane] = warp[lane].value;
        ballot |= (uint32_t)(values[lane] != 0) << lane;
    }
    for (unsigned lane = 0; lane < LANES; lane++) {
        Thread& t = warp[lane];
        unsigned from = t.exchange == XOR ? lane ^ t.parameter : t.parameter;
        if (t.exchange != BALLOT && from >= LANES) return fail("a shuffle from lane %u (%s:%d)", from, t.file, t.line);
        t.value = t.exchange == BALLOT ? ballot : values[from];
        t.state = READY;
    }
    return true;
}

// Runs a warp until each of its lanes waits at a barrier or has ended.
static bool run_warp(Thread* warp) {
    for (;;) {
        Order lanes(LANES);
        for (unsigned i = 0; i < LANES; i++) {
            Thread& thread = warp[lanes(i)];
            if (thread.state != READY) continue;
            current = &thread;
            to_thread();
            current = nullptr;
            if (thread.state == FAULTED) {
                uint3 t = thread.index;
                if (fault_signal == SIGFPE) return fail("thread (%u,%u,%u): a division by zero", t.x, t.y, t.z);
                return fail("thread (%u,%u,%u): bad address %p", t.x, t.y, t.z, fault_address);
            }
        }
        for (unsigned lane = 1; lane < LANES; lane++) {
            if (warp[lane].state != warp[0].state) return apart(warp[0], warp[lane]);
        }
        if (warp[0].state != AT_EXCHANGE) return true;
        if (!meet(warp)) return false;
    }
}

static bool run_block(unsigned count) {
    memset(shared, POISON, (size_t)(shared_end - (char*)shared));
    for (unsigned number = 0; number < count; number++) {
        prepare(number);
        unsigned x = number % block_dim.x, y = number / block_dim.x;
        threads[number].index = {x, y % block_dim.y, y / block_dim.y};
    }
    for (;;) {
        Order warps(count / LANES);
        for (unsigned i = 0; i < count / LANES; i++) {
            if (!run_warp(threads + warps(i) * LANES)) return false;
        }
        for (unsigned number = 1; number < count; number++) {
            const Thread &a = threads[0], &b = threads[number];
            bool together = a.state == DONE || a.line == b.line;
            if (a.state != b.state || !together) return apart(a, b);
        }
        if (threads[0].state == DONE) return true;
        for (unsigned number = 0; number < count; number++) threads[number].state = READY;
    }
}

static bool run_grid() {
    unsigned count = block_dim.x * block_dim.y * block_dim.z;
    uint64_t total = (uint64_t)grid_dim.x * grid_dim.y * grid_dim.z;
    Order blocks(total);
    for (uint64_t i = 0; i < total; i++) {
        uint64_t number = blocks(i), rest = number / grid_dim.x;
        block_index = {(unsigned)(number % grid_dim.x), (unsigned)(rest % grid_dim.y), (unsigned)(rest / grid_dim.y)};
        if (!run_block(count)) return false;
    }
    return true;
}

static bool allowed(unsigned shared_bytes) {
    uint64_t count = (uint64_t)block_dim.x * block_dim.y * block_dim.z;
    if (count == 0 || count > MOST_THREADS || count % LANES) return fail("%u threads a block", (unsigned)count);
    bool grid = grid_dim.x && grid_dim.y && grid_dim.z && grid_dim.x < 1u << 31 && grid_dim.y < 65536 && grid_dim.z < 65536;
    if (!grid) return fail("a grid of %u x %u x %u", grid_dim.x, grid_dim.y, grid_dim.z);
    if (shared_bytes > MOST_SHARED_BYTES || shared_bytes % 16) return fail("%u bytes of shared memory", shared_bytes);
    return true;
}

static char* map(size_t bytes) {
    return (char*)mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

static void map_once() {
    if (stacks) return;
    stacks = map((size_t)MOST_THREADS * STACK_BYTES);
    shared_end = map(SHARED_PAGES_BYTES + PAGE) + SHARED_PAGES_BYTES;
    mprotect(shared_end, PAGE, PROT_NONE);
}

template <class... Parameters, size_t... At>
static void call_with(void (*f)(Parameters...), void** a, std::index_sequence<At...>) {
    f(*(Parameters*)a[At]...);
}
template <class... Parameters> static void call(void (*f)(Parameters...), void** a) {
    call_with(f, a, std::index_sequence_for<Parameters...>());
}

}  // namespace emulator

// Runs a kernel over a grid. Returns null, or what went wrong; one launch at a time.
extern "C" const char* emulator_launch(void (*kernel)(void**), void** arguments, const unsigned* grid, const unsigned* block,
                                       unsigned shared_bytes, unsigned order) {
    using namespace emulator;
    map_once();
    emulator::kernel = kernel;
    emulator::arguments = arguments;
    emulator::order = order;
    emulator::draws = 12345;
    grid_dim = {grid[0], grid[1], grid[2]};
    block_dim = {block[0], block[1], block[2]};
    block_index = {0, 0, 0};
    if (!allowed(shared_bytes)) return message;
    shared = (float*)(shared_end - shared_bytes);
    struct sigaction action = {}, before[3];
    const int signals[] = {SIGSEGV, SIGBUS, SIGFPE};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    for (int i = 0; i < 3; i++) sigaction(signals[i], &action, &before[i]);
    launching = true;
    bool ended = run_grid();
    launching = false;
    for (int i = 0; i < 3; i++) sigaction(signals[i], &before[i], nullptr);
    return ended ? nullptr : message;
}

// ---- the language ---------------------------------------------------------------------------------------------

#define EMULATED 1
#define __global__
#define __device__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define threadIdx (emulator::current->index)
#define blockIdx (emulator::block_index)
#define blockDim (emulator::block_dim)
#define gridDim (emulator::grid_dim)
#define SHARED(name) float* const name = emulator::shared
#define BLOCK_ANEW() (blockIdx.x)

#define __syncthreads() emulator::wait(emulator::AT_BARRIER, __FILE__, __LINE__)
#define __shfl_xor_sync(mask, value, lanes) \
    emulator::exchange(emulator::XOR, emulator::whole<mask>(value), (lanes), __FILE__, __LINE__)
#define __shfl_sync(mask, value, lane) \
    emulator::exchange(emulator::FROM_LANE, emulator::whole<mask>(value), (lane), __FILE__, __LINE__)
#define __ballot_sync(mask, predicate) \
    emulator::exchange(emulator::BALLOT, emulator::whole<mask>((uint32_t)((predicate) != 0)), 0, __FILE__, __LINE__)

namespace emulator {
// Only whole warps meet.
template <uint32_t MASK, class T> static inline T whole(T value) {
    static_assert(MASK == 0xffffffffu, "the mask names all lanes");
    return value;
}
}  // namespace emulator

// One IEEE operation each; the compiler is told to contract nothing.
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fsub_rn(float a, float b) { return a - b; }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fdiv_rn(float a, float b) { return a / b; }
static inline float __fsqrt_rn(float a) { return __builtin_sqrtf(a); }
static inline float __fmaf_rn(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
static inline float __int2float_rn(int a) { return (float)a; }
static inline float __uint2float_rn(unsigned a) { return (float)a; }
static inline int __float_as_int(float a) { return emulator::as<int>(a); }
static inline unsigned __float_as_uint(float a) { return emulator::as<unsigned>(a); }
static inline float __int_as_float(int a) { return emulator::as<float>(a); }
static inline float __uint_as_float(unsigned a) { return emulator::as<float>(a); }
template <class T> static inline T __ldg(const T* at) { return *at; }
static inline int __ffs(unsigned a) { return __builtin_ffs((int)a); }

// What a kernel must not name: approximations, contractions, and whatever has no order.
#pragma GCC poison rsqrtf expf exp2f logf log2f tanhf erff powf sinf cosf sqrtf fmaf fmaxf fminf rintf roundf
#pragma GCC poison __expf __logf __powf __sinf __cosf __fdividef __frsqrt_rn __frcp_rn __saturatef
#pragma GCC poison atomicAdd atomicMax atomicMin atomicExch atomicCAS __syncwarp __shfl_down_sync __shfl_up_sync
