// C = start + A B (+ residual): one chain of fused multiply-adds over k in increasing order an element.
//
// A block computes a tile of C. It walks over k in chunks: while one chunk of A and B in shared memory is multiplied,
// the next is on its way to registers. Each thread holds a few elements of the tile. Terms that do not belong to a row
// (beyond k, or masked) are skipped, never padded: a zero would be a term, and could turn -0 into +0.

#define K_FULL 0u
#define K_UP_TO_ROW 1u
#define K_FROM_ROW 2u
#define START_ACCUMULATE 1u
#define START_BIAS 2u

// 128-bit loads and stores need addresses that 16 divides.
__device__ __forceinline__ bool aligned(const float* at, u32 stride) { return (((u64)at | (u64)stride * 4) & 15) == 0; }

// Copies EXTENT rows (or columns) x CHUNK terms of a matrix to registers, and from there to shared memory as
// [term][row]. K_INNER: terms are neighbours in memory, else rows are.
template <u32 EXTENT, u32 CHUNK, u32 THREADS, bool K_INNER> struct Loader {
    static constexpr u32 COUNT = EXTENT * CHUNK / 4 / THREADS, PITCH = EXTENT + 4;
    static constexpr u32 INNER = (K_INNER ? CHUNK : EXTENT) / 4;
    const float* matrix;
    u32 stride, first, limit, k;
    bool vectors;
    float4 held[COUNT];

    __device__ __forceinline__ Loader(const float* matrix, u32 stride, u32 first, u32 limit, u32 k)
        : matrix(matrix), stride(stride), first(first), limit(limit), k(k), vectors(aligned(matrix, stride)) {}

    // Four neighbours from (outer, inner); what lies outside the matrix is zero and never used.
    __device__ __forceinline__ float4 four(u32 outer, u32 inner, u32 outer_end, u32 inner_end) const {
        float4 v = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        if (outer >= outer_end || inner >= inner_end) return v;
        const float* at = matrix + (u64)outer * stride + inner;
        u32 left = inner_end - inner;
        if (vectors && left >= 4 && inner % 4 == 0) return *(const float4*)at;
        v.x = at[0];
        if (left > 1) v.y = at[1];
        if (left > 2) v.z = at[2];
        if (left > 3) v.w = at[3];
        return v;
    }

    __device__ __forceinline__ void fetch(u32 term) {
#pragma unroll
        for (u32 v = 0; v < COUNT; v++) {
            u32 index = v * THREADS + threadIdx.x, outer = index / INNER, inner = index % INNER * 4;
            held[v] =
                K_INNER ? four(first + outer, term + inner, limit, k) : four(term + outer, first + inner, k, limit);
        }
    }

    __device__ __forceinline__ void store(float* shared) const {
#pragma unroll
        for (u32 v = 0; v < COUNT; v++) {
            u32 index = v * THREADS + threadIdx.x, outer = index / INNER, inner = index % INNER * 4;
            if (K_INNER) {
                shared[(inner + 0) * PITCH + outer] = held[v].x;
                shared[(inner + 1) * PITCH + outer] = held[v].y;
                shared[(inner + 2) * PITCH + outer] = held[v].z;
                shared[(inner + 3) * PITCH + outer] = held[v].w;
            } else {
                *(float4*)(shared + outer * PITCH + inner) = held[v];
            }
        }
    }
};

__device__ __forceinline__ void unpack(float4 v, float* to) {
    to[0] = v.x;
    to[1] = v.y;
    to[2] = v.z;
    to[3] = v.w;
}

// BM x BN elements a block, TM x TN a thread, in groups of four neighbours that lie BM / (TM / 4) rows apart.
template <u32 BM, u32 BN, u32 TM, u32 TN, bool TRANS_A, bool TRANS_B> struct Tile {
    // Fewer terms at a time where a thread holds many sums: both must fit into its registers.
    static constexpr u32 CHUNK = TM == 8 ? 8 : 16, ACROSS = BN / TN, THREADS = BM / TM * ACROSS;
    typedef Loader<BM, CHUNK, THREADS, !TRANS_A> LoaderA;
    typedef Loader<BN, CHUNK, THREADS, TRANS_B> LoaderB;
    static constexpr u32 SIZE_A = CHUNK * LoaderA::PITCH, SIZE = SIZE_A + CHUNK * LoaderB::PITCH;

    const Product& p;
    u32 i0, j0, outer, inner, run;
    float sums[TM][TN];

    __device__ __forceinline__ Tile(const Product& p) : p(p) {
        u32 tiles = (p.n + BN - 1) / BN;
        i0 = blockIdx.x / tiles * BM;
        j0 = blockIdx.x % tiles * BN;
        outer = blockIdx.y / p.inner;
        inner = blockIdx.y % p.inner;
        run = blockIdx.z;
    }

    __device__ __forceinline__ float* matrix(const Batched& o) const {
        return o.at + run * o.run_stride + outer * o.outer_stride + inner * o.inner_stride;
    }
    __device__ __forceinline__ u32 row(u32 i) const {
        return i0 + i / 4 * (BM * 4 / TM) + threadIdx.x / ACROSS * 4 + i % 4;
    }
    __device__ __forceinline__ u32 column(u32 j) const {
        return j0 + j / 4 * (BN * 4 / TN) + threadIdx.x % ACROSS * 4 + j % 4;
    }
    // Columns of row i that are computed.
    __device__ __forceinline__ u32 columns(u32 i) const {
        if (i >= p.m) return 0;
        return p.up_to_row && i + 1 < p.n ? i + 1 : p.n;
    }

    __device__ __forceinline__ void begin(const float* c) {
        const float* bias = of(p.bias, run);
#pragma unroll
        for (u32 i = 0; i < TM; i++) {
#pragma unroll
            for (u32 j = 0; j < TN; j++) {
                bool inside = column(j) < columns(row(i));
                sums[i][j] = 0.0f;
                if (inside && p.start == START_BIAS) sums[i][j] = bias[column(j)];
                if (inside && p.start == START_ACCUMULATE) sums[i][j] = c[(u64)row(i) * p.ldc + column(j)];
            }
        }
    }

    // Adds term `t` of the chunk that begins with `term`. WHOLE: each row has it.
    template <bool WHOLE> __device__ __forceinline__ void multiply(const float* chunk, u32 t, u32 term) {
        const float *a = chunk + t * LoaderA::PITCH - i0, *b = chunk + SIZE_A + t * LoaderB::PITCH - j0;
        float x[TM], y[TN];
#pragma unroll
        for (u32 i = 0; i < TM; i += 4) unpack(*(const float4*)(a + row(i)), x + i);
#pragma unroll
        for (u32 j = 0; j < TN; j += 4) unpack(*(const float4*)(b + column(j)), y + j);
#pragma unroll
        for (u32 i = 0; i < TM; i++) {
            if (!WHOLE && !has_term(row(i), term + t)) continue;
#pragma unroll
            for (u32 j = 0; j < TN; j++) sums[i][j] = fused(x[i], y[j], sums[i][j]);
        }
    }
    __device__ __forceinline__ bool has_term(u32 i, u32 term) const {
        if (term >= p.k) return false;
        return p.k_range == K_FULL || (p.k_range == K_UP_TO_ROW ? term <= i : term >= i);
    }

    __device__ __forceinline__ void end(float* c) const {
        const float* residual = p.residual.at ? matrix(p.residual) : nullptr;
        bool vectors = aligned(c, p.ldc) && (!residual || aligned(residual, p.ldc));
#pragma unroll
        for (u32 i = 0; i < TM; i++) {
            u32 end = columns(row(i));
#pragma unroll
            for (u32 j = 0; j < TN; j += 4) {
                u64 at = (u64)row(i) * p.ldc + column(j);
                const float* s = &sums[i][j];
                if (vectors && column(j) + 4 <= end) {
                    float4 v = make_float4(s[0], s[1], s[2], s[3]);
                    if (residual) {
                        float4 r = *(const float4*)(residual + at);
                        v = make_float4(add(r.x, v.x), add(r.y, v.y), add(r.z, v.z), add(r.w, v.w));
                    }
                    *(float4*)(c + at) = v;
                } else {
#pragma unroll
                    for (u32 e = 0; e < 4; e++) {
                        if (column(j) + e < end) c[at + e] = residual ? add(residual[at + e], s[e]) : s[e];
                    }
                }
            }
        }
    }

    __device__ __forceinline__ void compute() {
        SHARED(chunks);
        u32 last_row = i0 + BM - 1 < p.m ? i0 + BM - 1 : p.m - 1;
        if (p.up_to_row && j0 > last_row) return;
        float* c = matrix(p.c);
        begin(c);
        u32 first = p.k_range == K_FROM_ROW ? i0 : 0;
        u32 end_term = p.k_range == K_UP_TO_ROW && last_row + 1 < p.k ? last_row + 1 : p.k;
        // All rows have the terms from `full_from` up to `full_to`.
        u32 full_from = p.k_range == K_FROM_ROW ? last_row : 0;
        u32 full_to = p.k_range == K_UP_TO_ROW && i0 + 1 < p.k ? i0 + 1 : p.k;
        // What no row has need not be stored.
        u32 rows = p.k_range == K_FROM_ROW && p.k < p.m ? p.k : p.m;
        LoaderA a(matrix(p.a), p.lda, i0, rows, end_term);
        LoaderB b(matrix(p.b), p.ldb, j0, p.up_to_row && p.m < p.n ? p.m : p.n, end_term);
        u32 buffer = 0;
        if (first < end_term) {
            a.fetch(first);
            b.fetch(first);
            a.store(chunks);
            b.store(chunks + SIZE_A);
        }
        __syncthreads();
        for (u32 term = first; term < end_term; term += CHUNK) {
            bool more = term + CHUNK < end_term;
            if (more) {
                a.fetch(term + CHUNK);
                b.fetch(term + CHUNK);
            }
            const float* present = chunks + buffer * SIZE;
            // The common loop has no conditions inside, and the other is kept short.
            if (term >= full_from && term + CHUNK <= full_to) {
#pragma unroll
                for (u32 t = 0; t < CHUNK; t++) multiply<true>(present, t, term);
            } else {
#pragma unroll 1
                for (u32 t = 0; t < CHUNK; t++) multiply<false>(present, t, term);
            }
            buffer ^= 1;
            if (more) {
                a.store(chunks + buffer * SIZE);
                b.store(chunks + buffer * SIZE + SIZE_A);
            }
            __syncthreads();
        }
        end(c);
    }
};

template <u32 BM, u32 BN, u32 TM, u32 TN, bool TRANS_A, bool TRANS_B>
__device__ __forceinline__ void matmul(const Product& p) {
    if (!p.active[blockIdx.z]) return;
    Tile<BM, BN, TM, TN, TRANS_A, TRANS_B> tile(p);
    tile.compute();
}

// The bounds leave room for all registers that NVRTC 13.0 asks for on sm_80 to sm_120: nothing is spilled.
//
// nn: A[m,k] B[k,n]; nt: B is stored [n,k]; tn: A is stored [k,m]; tt: both. The number is the tile's edge.
extern "C" __global__ void __launch_bounds__(64, 8) matmul_nn_32(Product p) { matmul<32, 32, 4, 4, false, false>(p); }
extern "C" __global__ void __launch_bounds__(64, 8) matmul_nt_32(Product p) { matmul<32, 32, 4, 4, false, true>(p); }
extern "C" __global__ void __launch_bounds__(64, 8) matmul_tn_32(Product p) { matmul<32, 32, 4, 4, true, false>(p); }
extern "C" __global__ void __launch_bounds__(64, 8) matmul_tt_32(Product p) { matmul<32, 32, 4, 4, true, true>(p); }
extern "C" __global__ void __launch_bounds__(256, 2) matmul_nn_64(Product p) { matmul<64, 64, 4, 4, false, false>(p); }
extern "C" __global__ void __launch_bounds__(256, 2) matmul_nt_64(Product p) { matmul<64, 64, 4, 4, false, true>(p); }
extern "C" __global__ void __launch_bounds__(256, 2) matmul_tn_64(Product p) { matmul<64, 64, 4, 4, true, false>(p); }
extern "C" __global__ void __launch_bounds__(256) matmul_nn_128(Product p) {
    matmul<128, 128, 8, 8, false, false>(p);
}
extern "C" __global__ void __launch_bounds__(256) matmul_nt_128(Product p) {
    matmul<128, 128, 8, 8, false, true>(p);
}
extern "C" __global__ void __launch_bounds__(256) matmul_tn_128(Product p) {
    matmul<128, 128, 8, 8, true, false>(p);
}
