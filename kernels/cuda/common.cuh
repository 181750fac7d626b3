// What every kernel builds on. It stands in front of each file, with the generated constants and structures.
//
// Rules (the bit contract): every operation on numbers is one of the functions below, each one IEEE operation rounded
// to nearest even. Nothing is contracted, approximated or atomic. A kernel takes one structure. blockIdx.z is the run;
// a run that is not active returns at once and leaves its memory as it is. What a run computes depends on nothing
// outside it, so a run alone and in a cohort have the same bits.
typedef unsigned int u32;
typedef unsigned long long u64;

#ifndef SHARED
// Dynamic shared memory under a name.
#define SHARED(name) extern __shared__ __align__(16) float name[]
#endif

#ifndef BLOCK_ANEW
// blockIdx.x, asked for again: what follows from it is then computed again, where else a register would keep it.
__device__ __forceinline__ u32 block_anew() {
    u32 x;
    asm volatile("mov.u32 %0, %%ctaid.x;" : "=r"(x));
    return x;
}
#define BLOCK_ANEW() block_anew()
#endif

#define ALL_LANES 0xffffffffu
#define LANES 32u

// Elements of run r begin at `at + r * run_stride`. A null operand is absent.
struct Operand {
    float* at;
    u64 run_stride;
};

// An operand that also has `outer` x `inner` matrices (sequences and heads).
struct Batched {
    float* at;
    u64 run_stride, outer_stride, inner_stride;
};

// States of an update.
struct States {
    Operand at[8];
};

// A run's number, or one for all where the operand is absent.
struct Scalar {
    Operand operand;
    float number;
    u32 unused;
};

struct Scalars {
    Scalar at[32];
};

__device__ __forceinline__ float* of(const Operand& o, u32 run) { return o.at + run * o.run_stride; }
__device__ __forceinline__ float scalar(const Scalar& s, u32 run) {
    return s.operand.at ? *of(s.operand, run) : s.number;
}
__device__ __forceinline__ const u32* words_of(const Operand& o, u32 run) {
    return (const u32*)o.at + run * o.run_stride;
}

__device__ __forceinline__ float add(float a, float b) { return __fadd_rn(a, b); }
__device__ __forceinline__ float sub(float a, float b) { return __fsub_rn(a, b); }
__device__ __forceinline__ float mul(float a, float b) { return __fmul_rn(a, b); }
__device__ __forceinline__ float quotient(float a, float b) { return __fdiv_rn(a, b); }
__device__ __forceinline__ float root(float a) { return __fsqrt_rn(a); }
// a * b + c, rounded once
__device__ __forceinline__ float fused(float a, float b, float c) { return __fmaf_rn(a, b, c); }
__device__ __forceinline__ float larger(float a, float b) { return b > a ? b : a; }
__device__ __forceinline__ float smaller(float a, float b) { return b < a ? b : a; }
__device__ __forceinline__ float magnitude(float a) { return __uint_as_float(__float_as_uint(a) & 0x7fffffffu); }
// -1, 0 or 1; 0 for either zero and for NaN
__device__ __forceinline__ float sign(float a) { return a > 0.0f ? 1.0f : a < 0.0f ? -1.0f : 0.0f; }

// The tree 16, 8, 4, 2, 1 over a warp's partial sums; every lane gets the sum.
__device__ __forceinline__ float fold(float partial) {
    for (u32 half = LANES / 2; half > 0; half /= 2) {
        partial = add(partial, __shfl_xor_sync(ALL_LANES, partial, half));
    }
    return partial;
}

// The largest of a warp's numbers, none of them NaN; of equal zeros either.
__device__ __forceinline__ float fold_largest(float largest) {
    for (u32 half = LANES / 2; half > 0; half /= 2) {
        largest = larger(largest, __shfl_xor_sync(ALL_LANES, largest, half));
    }
    return largest;
}

// A thread four elements: where this thread's begin, and whether it has any.
__device__ __forceinline__ bool has_elements(const u32* active, u32 count, u32& run, u32& i) {
    run = blockIdx.z;
    i = (blockIdx.x * blockDim.x + threadIdx.x) * 4;
    return active[run] && i < count;
}

struct Four {
    float at[4];
};

// 128-bit loads and stores need addresses that 16 divides.
__device__ __forceinline__ bool is_vector(const float* at, u32 left) { return left >= 4 && ((u64)at & 15) == 0; }

// Elements i to i + 3 of `count`; zeros for those that are not there.
__device__ __forceinline__ Four four(const float* from, u32 i, u32 count) {
    const float* at = from + i;
    u32 left = count - i;
    Four x = {{0.0f, 0.0f, 0.0f, 0.0f}};
    if (is_vector(at, left)) {
        float4 v = *(const float4*)at;
        x = {{v.x, v.y, v.z, v.w}};
    } else {
        for (u32 e = 0; e < 4; e++) {
            if (e < left) x.at[e] = at[e];
        }
    }
    return x;
}

__device__ __forceinline__ void put(float* to, u32 i, u32 count, const Four& x) {
    float* at = to + i;
    u32 left = count - i;
    if (is_vector(at, left)) {
        *(float4*)at = make_float4(x.at[0], x.at[1], x.at[2], x.at[3]);
    } else {
        for (u32 e = 0; e < 4; e++) {
            if (e < left) at[e] = x.at[e];
        }
    }
}

// A warp a row: whole warps have one or have none.
__device__ __forceinline__ bool has_row(const u32* active, u32 rows, u32& run, u32& row, u32& lane) {
    run = blockIdx.z;
    row = blockIdx.x * (blockDim.x / LANES) + threadIdx.x / LANES;
    lane = threadIdx.x % LANES;
    return active[run] && row < rows;
}

// Up to PIECE elements of a row, eight a lane: element first + lane + 32 e. All are asked for before the first is used,
// and a row that is no longer stays in registers from one pass to the next.
#define PIECE 256u
#define EACH 8u

struct Piece {
    float at[EACH];
};

// A lane's elements of the row from `first` on are those e with 32 e below this.
__device__ __forceinline__ u32 lane_end(u32 first, u32 n, u32 lane) {
    return n > first + lane ? n - (first + lane) : 0;
}
#define EACH_OF_PIECE(e, end) \
    for (u32 e = 0; e < EACH; e++) \
        if (e * LANES < (end))

// The row's elements from `first` on; zeros beyond its end.
__device__ __forceinline__ Piece piece(const float* row, u32 first, u32 n, u32 lane) {
    const float* at = row + first + lane;
    u32 end = lane_end(first, n, lane);
    Piece x;
    for (u32 e = 0; e < EACH; e++) x.at[e] = e * LANES < end ? at[e * LANES] : 0.0f;
    return x;
}

// The same, unless the whole row is held already.
__device__ __forceinline__ void next_piece(Piece& x, const float* row, u32 first, u32 n, u32 lane) {
    if (n > PIECE) x = piece(row, first, n, lane);
}

__device__ __forceinline__ void put_piece(float* row, u32 first, u32 n, u32 lane, const Piece& x) {
    float* at = row + first + lane;
    EACH_OF_PIECE(e, lane_end(first, n, lane)) at[e * LANES] = x.at[e];
}
