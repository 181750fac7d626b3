// Ops on rows: a warp a row. Lane l holds the partial sum of elements l, l + 32, ...; lanes beyond the row keep +0.

extern "C" __global__ void __launch_bounds__(128) layer_norm(Norm k) {
    u32 run, row, lane;
    if (!has_row(k.active, k.rows, run, row, lane)) return;
    const float *x = of(k.x, run) + (u64)row * k.width, *gamma = of(k.gamma, run), *beta = of(k.beta, run);
    float* y = of(k.y, run) + (u64)row * k.width;
    float count = __uint2float_rn(k.width), sum = 0.0f, squares = 0.0f;
    for (u32 j = lane; j < k.width; j += LANES) sum = add(sum, x[j]);
    float mean = quotient(fold(sum), count);
    for (u32 j = lane; j < k.width; j += LANES) {
        float centred = sub(x[j], mean);
        squares = fused(centred, centred, squares);
    }
    float rstd = quotient(1.0f, root(add(quotient(fold(squares), count), k.eps)));
    for (u32 j = lane; j < k.width; j += LANES) y[j] = fused(mul(sub(x[j], mean), rstd), gamma[j], beta[j]);
    if (lane == 0) {
        of(k.mean, run)[row] = mean;
        of(k.rstd, run)[row] = rstd;
    }
}

// dx = rstd (g - mean(g) - xhat mean(g xhat)) with g = dy gamma, plus `add`
extern "C" __global__ void __launch_bounds__(128) layer_norm_dx(NormDx k) {
    u32 run, row, lane;
    if (!has_row(k.active, k.rows, run, row, lane)) return;
    u64 start = (u64)row * k.width;
    const float *x = of(k.x, run) + start, *dy = of(k.dy, run) + start, *gamma = of(k.gamma, run);
    const float* added = k.add.at ? of(k.add, run) + start : nullptr;
    float* dx = of(k.dx, run) + start;
    float mean = of(k.mean, run)[row], rstd = of(k.rstd, run)[row], count = __uint2float_rn(k.width);
    float sum_g = 0.0f, sum_gx = 0.0f;
    for (u32 j = lane; j < k.width; j += LANES) {
        float g = mul(dy[j], gamma[j]);
        sum_g = add(sum_g, g);
        sum_gx = fused(g, mul(sub(x[j], mean), rstd), sum_gx);
    }
    float mean_g = quotient(fold(sum_g), count), mean_gx = quotient(fold(sum_gx), count);
    for (u32 j = lane; j < k.width; j += LANES) {
        float hat = mul(sub(x[j], mean), rstd);
        float centred = fused(-hat, mean_gx, sub(mul(dy[j], gamma[j]), mean_g));
        dx[j] = added ? fused(centred, rstd, added[j]) : mul(centred, rstd);
    }
}

extern "C" __global__ void __launch_bounds__(128) row_sum(Columns k) {
    u32 run, row, lane;
    if (!has_row(k.active, k.rows, run, row, lane)) return;
    const float* x = of(k.x, run) + (u64)row * k.width;
    float sum = 0.0f;
    for (u32 j = lane; j < k.width; j += LANES) sum = add(sum, x[j]);
    sum = fold(sum);
    if (lane == 0) of(k.out, run)[row] = sum;
}

// Terms of row `row` of T x T scores: all, or those up to the row itself.
__device__ __forceinline__ u32 visible(u32 row, u32 width, u32 causal) { return causal ? row % width + 1 : width; }

// Where `causal` is 2, masked terms become zero: a product that knows no masks takes them as terms.
__device__ __forceinline__ void clear_masked(float* row, u32 n, u32 lane, const Softmax& k) {
    if (k.causal != 2) return;
    for (u32 j = n + lane; j < k.width; j += LANES) row[j] = 0.0f;
}

// In place: p = exp(scale s - max) (1 / sum)
extern "C" __global__ void __launch_bounds__(128) softmax(Softmax k) {
    u32 run, row, lane;
    if (!has_row(k.active, k.rows, run, row, lane)) return;
    float *p = of(k.scores, run) + (u64)row * k.width, largest = -INFINITE, sum = 0.0f;
    u32 n = visible(row, k.width, k.causal);
    for (u32 j = lane; j < n; j += LANES) largest = larger(largest, mul(p[j], k.scale));
    largest = fold_largest(largest);
    for (u32 j = lane; j < n; j += LANES) {
        float e = exp_of(sub(mul(p[j], k.scale), largest));
        p[j] = e;
        sum = add(sum, e);
    }
    float inverse = quotient(1.0f, fold(sum));
    for (u32 j = lane; j < n; j += LANES) p[j] = mul(p[j], inverse);
    clear_masked(p, n, lane, k);
}

// In place: dp = p (dp - sum(dp p)) scale
extern "C" __global__ void __launch_bounds__(128) softmax_backward(Softmax k) {
    u32 run, row, lane;
    if (!has_row(k.active, k.rows, run, row, lane)) return;
    float *dp = of(k.scores, run) + (u64)row * k.width, dot = 0.0f;
    const float* p = of(k.probs, run) + (u64)row * k.width;
    u32 n = visible(row, k.width, k.causal);
    for (u32 j = lane; j < n; j += LANES) dot = fused(dp[j], p[j], dot);
    dot = fold(dot);
    for (u32 j = lane; j < n; j += LANES) dp[j] = mul(mul(p[j], sub(dp[j], dot)), k.scale);
    clear_masked(dp, n, lane, k);
}

// loss = (lse - on x_target) - off sum(x)
extern "C" __global__ void __launch_bounds__(128) cross_entropy(Entropy k) {
    u32 run, row, lane;
    if (!has_row(k.active, k.rows, run, row, lane)) return;
    const float* x = of(k.logits, run) + (u64)row * k.vocab;
    float largest = -INFINITE, sum = 0.0f, all = 0.0f;
    for (u32 j = lane; j < k.vocab; j += LANES) largest = larger(largest, x[j]);
    largest = fold_largest(largest);
    for (u32 j = lane; j < k.vocab; j += LANES) sum = add(sum, exp_of(sub(x[j], largest)));
    float lse = add(largest, ln_of(fold(sum)));
    float loss = fused(-k.on, x[words_of(k.targets, run)[row]], lse);
    if (k.smooth) {
        for (u32 j = lane; j < k.vocab; j += LANES) all = add(all, x[j]);
        loss = fused(-k.off, fold(all), loss);
    }
    if (lane == 0) {
        of(k.lse, run)[row] = lse;
        of(k.losses, run)[row] = loss;
    }
}

// dlogits = (exp(x - lse) - off, less `on` at the target) dloss / rows
extern "C" __global__ void __launch_bounds__(128) cross_entropy_backward(EntropyBackward k) {
    u32 run, row, lane;
    if (!has_row(k.active, k.rows, run, row, lane)) return;
    const float* x = of(k.logits, run) + (u64)row * k.vocab;
    float *dx = of(k.dlogits, run) + (u64)row * k.vocab, lse = of(k.lse, run)[row];
    float scale = quotient(*of(k.dloss, run), __uint2float_rn(k.divisor));
    u32 target = words_of(k.targets, run)[row];
    for (u32 j = lane; j < k.vocab; j += LANES) {
        float d = sub(exp_of(sub(x[j], lse)), k.off);
        dx[j] = mul(j == target ? sub(d, k.on) : d, scale);
    }
}
