// Sums over rows and over whole buffers, by the rule of 32 partial sums.

// A block sums 8 columns: thread (lane, column) the rows lane, lane + 32, ... of its column; then a warp folds a column.
#define COLUMNS 8u
#define PITCH (COLUMNS + 1)

// Column `warp` of the 32 x 8 partial sums in shared memory. Every thread of the block comes here.
__device__ __forceinline__ float fold_column(float* partial, u32 lane, u32 column, float sum) {
    partial[lane * PITCH + column] = sum;
    __syncthreads();
    return fold(partial[threadIdx.x % LANES * PITCH + threadIdx.x / LANES]);
}

// The columns of a block that a thread writes: one of each warp's first lane.
__device__ __forceinline__ bool writes(u32 width, u32& column) {
    column = blockIdx.x * COLUMNS + threadIdx.x / LANES;
    return threadIdx.x % LANES == 0 && column < width;
}

extern "C" __global__ void __launch_bounds__(256) column_sum(Columns k) {
    SHARED(partial);
    u32 run = blockIdx.z, lane = threadIdx.x / COLUMNS, column = threadIdx.x % COLUMNS;
    if (!k.active[run]) return;
    u32 j = blockIdx.x * COLUMNS + column;
    const float* x = of(k.x, run) + j;
    float sum = 0.0f;
    if (j < k.width) {
        for (u32 i = lane; i < k.rows; i += LANES) sum = add(sum, x[(u64)i * k.width]);
    }
    float total = fold_column(partial, lane, column, sum);
    if (writes(k.width, j)) of(k.out, run)[j] = total;
}

extern "C" __global__ void __launch_bounds__(256) layer_norm_dparams(NormDparams k) {
    SHARED(partial);
    u32 run = blockIdx.z, lane = threadIdx.x / COLUMNS, column = threadIdx.x % COLUMNS;
    if (!k.active[run]) return;
    u32 j = blockIdx.x * COLUMNS + column;
    const float *x = of(k.x, run) + j, *dy = of(k.dy, run) + j, *mean = of(k.mean, run), *rstd = of(k.rstd, run);
    float gamma = 0.0f, beta = 0.0f;
    if (j < k.width) {
        for (u32 i = lane; i < k.rows; i += LANES) {
            float g = dy[(u64)i * k.width];
            gamma = fused(g, mul(sub(x[(u64)i * k.width], mean[i]), rstd[i]), gamma);
            beta = add(beta, g);
        }
    }
    float total_gamma = fold_column(partial, lane, column, gamma);
    float total_beta = fold_column(partial + LANES * PITCH, lane, column, beta);
    if (writes(k.width, j)) {
        of(k.dgamma, run)[j] = total_gamma;
        of(k.dbeta, run)[j] = total_beta;
    }
}

// mean, then the mean square of what is left: the warp that folded a column's mean tells it to all who sum the column.
extern "C" __global__ void __launch_bounds__(256) column_moments(Moments k) {
    SHARED(partial);
    u32 run = blockIdx.z, lane = threadIdx.x / COLUMNS, column = threadIdx.x % COLUMNS;
    if (!k.active[run]) return;
    u32 j = blockIdx.x * COLUMNS + column, rows = j < k.width ? k.rows : 0;
    const float* x = of(k.x, run) + j;
    float count = __uint2float_rn(k.rows), sum = 0.0f, squares = 0.0f, *means = partial + 2 * LANES * PITCH;
    for (u32 i = lane; i < rows; i += LANES) sum = add(sum, x[(u64)i * k.width]);
    float mean = quotient(fold_column(partial, lane, column, sum), count);
    if (threadIdx.x % LANES == 0) means[threadIdx.x / LANES] = mean;
    __syncthreads();
    float centre = means[column];
    for (u32 i = lane; i < rows; i += LANES) {
        float off = sub(x[(u64)i * k.width], centre);
        squares = fused(off, off, squares);
    }
    float var = quotient(fold_column(partial + LANES * PITCH, lane, column, squares), count);
    if (writes(k.width, j)) {
        of(k.mean, run)[j] = mean;
        of(k.var, run)[j] = var;
    }
}

// out = the sum of (x - shift) dy, or of x dy
extern "C" __global__ void __launch_bounds__(256) column_dot(ColumnDot k) {
    SHARED(partial);
    u32 run = blockIdx.z, lane = threadIdx.x / COLUMNS, column = threadIdx.x % COLUMNS;
    if (!k.active[run]) return;
    u32 j = blockIdx.x * COLUMNS + column;
    const float *x = of(k.x, run) + j, *dy = of(k.dy, run) + j;
    float sum = 0.0f;
    if (j < k.width) {
        float shift = k.shift.at ? of(k.shift, run)[j] : 0.0f;
        for (u32 i = lane; i < k.rows; i += LANES) {
            float v = x[(u64)i * k.width];
            sum = fused(k.shift.at ? sub(v, shift) : v, dy[(u64)i * k.width], sum);
        }
    }
    float total = fold_column(partial, lane, column, sum);
    if (writes(k.width, j)) of(k.out, run)[j] = total;
}

// out[b] = the sum of squares of block b of 4,096 elements: a warp a block
extern "C" __global__ void __launch_bounds__(128) block_squares(Sum k) {
    u32 run, block, lane;
    if (!has_row(k.active, (k.count + REDUCE_BLOCK - 1) / REDUCE_BLOCK, run, block, lane)) return;
    const float* x = of(k.x, run);
    u32 first = block * REDUCE_BLOCK, end = k.count - first < REDUCE_BLOCK ? k.count : first + REDUCE_BLOCK;
    float sum = 0.0f;
    for (u32 i = first + lane; i < end; i += LANES) sum = fused(x[i], x[i], sum);
    sum = fold(sum);
    if (lane == 0) of(k.out, run)[block] = sum;
}

// out = sum(x) / divisor, or the root of the sum: one warp
extern "C" __global__ void __launch_bounds__(32) total(Sum k) {
    u32 run, row, lane;
    if (!has_row(k.active, 1, run, row, lane)) return;
    const float* x = of(k.x, run);
    float sum = 0.0f;
    for (u32 i = lane; i < k.count; i += LANES) sum = add(sum, x[i]);
    sum = fold(sum);
    if (lane == 0) *of(k.out, run) = k.root ? root(sum) : quotient(sum, k.divisor);
}

__device__ __forceinline__ bool is_finite(float a) { return (__float_as_uint(a) & 0x7f800000u) != 0x7f800000u; }

// A step's two numbers of each run, into the step's row of the ring. A run with one that is not finite idles from now on.
extern "C" __global__ void __launch_bounds__(32) keep(Keep k) {
    u32 run = blockIdx.z;
    if (threadIdx.x != 0 || !k.active[run]) return;
    float first = *of(k.first, run), second = *of(k.second, run);
    float* row = (float*)k.ring + (u64)*k.row * 2 * gridDim.z;
    row[run] = first;
    row[gridDim.z + run] = second;
    if (!is_finite(first) || !is_finite(second)) ((u32*)k.active)[run] = 0;
}
