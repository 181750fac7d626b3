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

// Terms that the common loop has in a row. From sm_100 on NVRTC 13.0 loads so far ahead that more of them spill.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1000
#define TERMS_AT_ONCE 2
#else
#define TERMS_AT_ONCE 16
#endif

// 128-bit loads and stores need addresses that 16 divides.
__device__ __forceinline__ bool aligned(const float* at, u32 stride) { return (((u64)at | (u64)stride * 4) & 15) == 0; }

// Copies EXTENT rows (or columns) x CHUNK terms of a matrix to registers, and from there to shared memory as
// [term][row]. K_INNER: terms are neighbours in memory, else rows are. Each thread holds four neighbours of each eight
// terms. A warp's lanes then store to 32 different banks, also where they turn the matrix.
template <u32 EXTENT, u32 CHUNK, u32 THREADS, bool K_INNER> struct Loader {
    static_assert(THREADS == 2 * EXTENT && CHUNK % 8 == 0, "eight terms are one vector a thread");
    static constexpr u32 COUNT = CHUNK / 8, PITCH = EXTENT + 4, ACROSS = EXTENT / 4;
    // The thread's first four of the chunk that is fetched next.
    const float* at;
    u32 stride;
    float4 held[COUNT];

    static __device__ __forceinline__ u32 row() { return K_INNER ? threadIdx.x / 2 : threadIdx.x % ACROSS * 4; }
    static __device__ __forceinline__ u32 term() { return K_INNER ? threadIdx.x % 2 * 4 : threadIdx.x / ACROSS; }

    __device__ __forceinline__ Loader(const float* matrix, u32 stride, u32 row0, u32 term0) : stride(stride) {
        u64 outer = K_INNER ? row0 + row() : term0 + term(), inner = K_INNER ? term0 + term() : row0 + row();
        at = matrix + outer * stride + inner;
    }

    // Whether the matrix has all rows of the tile, each thread's at addresses for 128-bit loads.
    __device__ __forceinline__ bool is_plain(u32 row0, u32 limit) const {
        return aligned(at, stride) && limit >= row0 + EXTENT;
    }
    __device__ __forceinline__ u32 eight_terms() const { return K_INNER ? 8 : 8 * stride; }

    // The next chunk, all of which lies in the matrix. `__ldg` says that it is global memory, which NVRTC does not see in
    // each form of this loop.
    __device__ __forceinline__ void fetch() {
#pragma unroll
        for (u32 v = 0; v < COUNT; v++) held[v] = __ldg((const float4*)(at + v * eight_terms()));
        at += COUNT * eight_terms();
    }

    // The next chunk, which begins with term `first` of `end`. What lies outside the matrix is not read, and zero in its
    // place is never used.
    __device__ __forceinline__ void fetch_edge(u32 row0, u32 limit, u32 first, u32 end) {
        u32 left = limit > row0 + row() ? limit - row0 - row() : 0;
#pragma unroll
        for (u32 v = 0; v < COUNT; v++) {
            const float* from = at + v * eight_terms();
            u32 t = first + term() + v * 8, terms = t < end ? end - t : 0;
            u32 count = K_INNER ? (left > 0 ? terms : 0) : (terms > 0 ? left : 0);
            float4 x = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
            if (count > 0) x.x = __ldg(from + 0);
            if (count > 1) x.y = __ldg(from + 1);
            if (count > 2) x.z = __ldg(from + 2);
            if (count > 3) x.w = __ldg(from + 3);
            held[v] = x;
        }
        at += COUNT * eight_terms();
    }

    __device__ __forceinline__ void store(float* shared) const {
        float* to = shared + term() * PITCH + row();
#pragma unroll
        for (u32 v = 0; v < COUNT; v++, to += 8 * PITCH) {
            if (K_INNER) {
                to[0] = held[v].x;
                to[PITCH] = held[v].y;
                to[2 * PITCH] = held[v].z;
                to[3 * PITCH] = held[v].w;
            } else {
                *(float4*)to = held[v];
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

// Which terms of a chunk a row has.
enum Terms { ALL_TERMS, TERMS_UP_TO_ROW, TERMS_FROM_ROW };

// BM x BN elements a block, TM x TN a thread, in groups of four by four. A warp has 4 x 8 threads: eight columns' lanes
// store 128 neighbouring bytes of C. Lanes that differ in bit 0 read the same columns and those that differ in bit 1 the
// same rows, so that half a warp's 128-bit load takes one pass over the banks.
template <u32 BM, u32 BN, u32 TM, u32 TN, bool TRANS_A, bool TRANS_B> struct Tile {
    static constexpr u32 CHUNK = BM == 128 ? 8 : 16, THREADS = BM / TM * (BN / TN);
    static constexpr u32 WARP_ROWS = 4 * TM, WARP_COLUMNS = 8 * TN, WARPS_ACROSS = BN / WARP_COLUMNS;
    typedef Loader<BM, CHUNK, THREADS, !TRANS_A> LoaderA;
    typedef Loader<BN, CHUNK, THREADS, TRANS_B> LoaderB;
    static constexpr u32 SIZE_A = CHUNK * LoaderA::PITCH, SIZE = SIZE_A + CHUNK * LoaderB::PITCH;

    const Product& p;
    // The tile's first row and column, and this thread's.
    u32 i0, j0, top, left;
    float sums[TM][TN];

    __device__ __forceinline__ Tile(const Product& p) : p(p) { place(); }
    __device__ __forceinline__ void place() {
        u32 block = BLOCK_ANEW(), tiles = (p.n + BN - 1) / BN;
        i0 = block / tiles * BM;
        j0 = block % tiles * BN;
        top = i0 + down();
        left = j0 + across();
    }

    __device__ __forceinline__ float* matrix(const Batched& o) const {
        return o.at + blockIdx.z * o.run_stride + blockIdx.y / p.inner * o.outer_stride +
               blockIdx.y % p.inner * o.inner_stride;
    }
    // Where this thread's rows and columns lie in the tile: the first ones, and the others from there.
    static __device__ __forceinline__ u32 down() {
        return threadIdx.x / LANES / WARPS_ACROSS * WARP_ROWS + (threadIdx.x % 2 + threadIdx.x % LANES / 16 * 2) * 4;
    }
    static __device__ __forceinline__ u32 across() {
        return threadIdx.x / LANES % WARPS_ACROSS * WARP_COLUMNS + threadIdx.x / 2 % 8 * 4;
    }
    static __device__ __forceinline__ constexpr u32 down(u32 i) { return i / 4 * 16 + i % 4; }
    static __device__ __forceinline__ constexpr u32 across(u32 j) { return j / 4 * 32 + j % 4; }
    __device__ __forceinline__ u32 row(u32 i) const { return top + down(i); }
    __device__ __forceinline__ u32 column(u32 j) const { return left + across(j); }
    // Columns of row i that are computed.
    __device__ __forceinline__ u32 columns(u32 i) const {
        if (i >= p.m) return 0;
        return p.up_to_row && i + 1 < p.n ? i + 1 : p.n;
    }

    // What is not stored may start from anything.
    __device__ __forceinline__ void begin() {
#pragma unroll
        for (u32 j = 0; j < TN; j++) {
            float start = p.start == START_BIAS && column(j) < p.n ? of(p.bias, blockIdx.z)[column(j)] : 0.0f;
#pragma unroll
            for (u32 i = 0; i < TM; i++) sums[i][j] = start;
        }
        if (p.start != START_ACCUMULATE) return;
        const float* c = matrix(p.c);
#pragma unroll
        for (u32 i = 0; i < TM; i++) {
            u32 end = columns(row(i));
            const float* at = c + (u64)row(i) * p.ldc;
#pragma unroll
            for (u32 j = 0; j < TN; j++) {
                if (column(j) < end) sums[i][j] = at[column(j)];
            }
        }
    }

    // Adds term `t` of the chunk that begins with `term`.
    template <Terms TERMS> __device__ __forceinline__ void multiply(const float* chunk, u32 t, u32 term) {
        const float *a = chunk + t * LoaderA::PITCH + down(), *b = chunk + SIZE_A + t * LoaderB::PITCH + across();
        float x[TM], y[TN];
#pragma unroll
        for (u32 i = 0; i < TM; i += 4) unpack(*(const float4*)(a + down(i)), x + i);
#pragma unroll
        for (u32 j = 0; j < TN; j += 4) unpack(*(const float4*)(b + across(j)), y + j);
#pragma unroll
        for (u32 i = 0; i < TM; i++) {
            if (TERMS == TERMS_UP_TO_ROW && term + t > row(i)) continue;
            if (TERMS == TERMS_FROM_ROW && term + t < row(i)) continue;
#pragma unroll
            for (u32 j = 0; j < TN; j++) sums[i][j] = fused(x[i], y[j], sums[i][j]);
        }
    }
    template <Terms TERMS> __device__ __forceinline__ void multiply_some(const float* chunk, u32 count, u32 term) {
#pragma unroll 1
        for (u32 t = 0; t < count; t++) multiply<TERMS>(chunk, t, term);
    }

    __device__ __forceinline__ void end() {
        // Not kept in registers while the sums need them.
        place();
        float* c = matrix(p.c);
        const float* residual = p.residual.at ? of(p.residual, blockIdx.z) : nullptr;
        bool inside = i0 + BM <= p.m && j0 + BN <= p.n && !(p.up_to_row && j0 + BN > i0 + 1);
        u64 first = (u64)row(0) * p.ldc + column(0);
        if (inside && aligned(c, p.ldc) && (!residual || aligned(residual, p.ldc))) {
#pragma unroll
            for (u32 i = 0; i < TM; i++) {
#pragma unroll
                for (u32 j = 0; j < TN; j += 4) {
                    u64 at = first + (u64)down(i) * p.ldc + across(j);
                    float4 v = make_float4(sums[i][j], sums[i][j + 1], sums[i][j + 2], sums[i][j + 3]);
                    if (residual) {
                        float4 r = *(const float4*)(residual + at);
                        v = make_float4(add(r.x, v.x), add(r.y, v.y), add(r.z, v.z), add(r.w, v.w));
                    }
                    *(float4*)(c + at) = v;
                }
            }
            return;
        }
#pragma unroll
        for (u32 i = 0; i < TM; i++) {
            u32 end = columns(row(i));
            u64 at = first + (u64)down(i) * p.ldc;
#pragma unroll
            for (u32 j = 0; j < TN; j++) {
                if (column(j) >= end) continue;
                c[at + across(j)] = residual ? add(residual[at + across(j)], sums[i][j]) : sums[i][j];
            }
        }
    }

    // The terms of a tile.
    struct Span {
        // What some row has, and what all rows have.
        u32 first, end, full_from, full_to;
        // Rows of A and columns of B that are stored: what no row has need not be.
        u32 rows, columns, last_row;
    };
    __device__ __forceinline__ Span span() const {
        Span s;
        s.last_row = i0 + BM - 1 < p.m ? i0 + BM - 1 : p.m - 1;
        s.first = p.k_range == K_FROM_ROW ? i0 : 0;
        s.end = p.k_range == K_UP_TO_ROW && s.last_row + 1 < p.k ? s.last_row + 1 : p.k;
        s.full_from = p.k_range == K_FROM_ROW ? s.last_row : 0;
        s.full_to = p.k_range == K_UP_TO_ROW && i0 + 1 < p.k ? i0 + 1 : p.k;
        s.rows = p.k_range == K_FROM_ROW && p.k < p.m ? p.k : p.m;
        s.columns = p.up_to_row && p.m < p.n ? p.m : p.n;
        return s;
    }

    __device__ __forceinline__ void compute() {
        SHARED(chunks);
        Span s = span();
        if (p.up_to_row && j0 > s.last_row) return;
        begin();
        LoaderA a(matrix(p.a), p.lda, i0, s.first);
        LoaderB b(matrix(p.b), p.ldb, j0, s.first);
        bool common = s.first >= s.full_from, more = s.first < s.end;
        // Up to where chunks are whole and the next one is plain to fetch.
        bool plain = a.is_plain(i0, s.rows) && b.is_plain(j0, s.columns);
        u32 plain_to = plain ? (s.full_to < s.end ? s.full_to : s.end) : 0, term = s.first, buffer = 0;
        if (more) {
            a.fetch_edge(i0, s.rows, term, s.end);
            b.fetch_edge(j0, s.columns, term, s.end);
            a.store(chunks);
            b.store(chunks + SIZE_A);
        }
        __syncthreads();
        while (more) {
            if (common) {
                // No conditions inside.
                for (; term + 2 * CHUNK <= plain_to; term += CHUNK) {
                    a.fetch();
                    b.fetch();
                    const float* present = chunks + buffer;
#pragma unroll TERMS_AT_ONCE
                    for (u32 t = 0; t < CHUNK; t++) multiply<ALL_TERMS>(present, t, term);
                    buffer = SIZE - buffer;
                    a.store(chunks + buffer);
                    b.store(chunks + buffer + SIZE_A);
                    __syncthreads();
                }
            }
            // Another chunk, at an edge, at the mask or the last one. What it asks of the tile is computed anew.
            place();
            s = span();
            u32 next = term + CHUNK;
            more = next < s.end;
            common = next >= s.full_from;
            if (more) {
                a.fetch_edge(i0, s.rows, next, s.end);
                b.fetch_edge(j0, s.columns, next, s.end);
            }
            const float* present = chunks + buffer;
            u32 count = more ? CHUNK : s.end - term;
            if (p.k_range == K_UP_TO_ROW) multiply_some<TERMS_UP_TO_ROW>(present, count, term);
            else if (p.k_range == K_FROM_ROW) multiply_some<TERMS_FROM_ROW>(present, count, term);
            else multiply_some<ALL_TERMS>(present, count, term);
            if (more) {
                buffer = SIZE - buffer;
                a.store(chunks + buffer);
                b.store(chunks + buffer + SIZE_A);
                __syncthreads();
            }
            term = next;
        }
        end();
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
extern "C" __global__ void __launch_bounds__(64, 12) matmul_nn_32(Product p) { matmul<32, 32, 4, 4, false, false>(p); }
extern "C" __global__ void __launch_bounds__(64, 12) matmul_nt_32(Product p) { matmul<32, 32, 4, 4, false, true>(p); }
extern "C" __global__ void __launch_bounds__(64, 12) matmul_tn_32(Product p) { matmul<32, 32, 4, 4, true, false>(p); }
extern "C" __global__ void __launch_bounds__(64, 12) matmul_tt_32(Product p) { matmul<32, 32, 4, 4, true, true>(p); }
extern "C" __global__ void __launch_bounds__(128, 5) matmul_nn_64(Product p) { matmul<64, 64, 8, 4, false, false>(p); }
extern "C" __global__ void __launch_bounds__(128, 5) matmul_nt_64(Product p) { matmul<64, 64, 8, 4, false, true>(p); }
extern "C" __global__ void __launch_bounds__(128, 5) matmul_tn_64(Product p) { matmul<64, 64, 8, 4, true, false>(p); }
extern "C" __global__ void __launch_bounds__(256, 2) matmul_nn_128(Product p) {
    matmul<128, 128, 8, 8, false, false>(p);
}
extern "C" __global__ void __launch_bounds__(256, 2) matmul_nt_128(Product p) {
    matmul<128, 128, 8, 8, false, true>(p);
}
extern "C" __global__ void __launch_bounds__(256, 2) matmul_tn_128(Product p) {
    matmul<128, 128, 8, 8, true, false>(p);
}
