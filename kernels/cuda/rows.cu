// Ops on rows: a warp a row. Lane l holds the partial sum of elements l, l + 32, ...; lanes beyond the row keep +0.

extern "C" __global__ void __launch_bounds__(128) layer_norm(Norm k) {
    u32 run, row, lane;
    if (!has_row(k.active, k.rows, run, row, lane)) return;
    const float *x = of(k.x, run) + (u64)row * k.width, *gamma = of(k.gamma, run), *beta = of(k.beta, run);
    float* y = of(k.y, run) + (u64)row * k.width;
    float count = __uint2float_rn(k.width), sum = 0.0f, squares = 0.0f;
    Piece held;
    for (u32 first = 0; first < k.width; first += PIECE) {
        held = piece(x, first, k.width, lane);
        EACH_OF_PIECE(e, lane_end(first, k.width, lane)) sum = add(sum, held.at[e]);
    }
    float mean = quotient(fold(sum), count);
    for (u32 first = 0; first < k.width; first += PIECE) {
        next_piece(held, x, first, k.width, lane);
        EACH_OF_PIECE(e, lane_end(first, k.width, lane)) {
            float centred = sub(held.at[e], mean);
            squares = fused(centred, centred, squares);
        }
    }
    float rstd = quotient(1.0f, root(add(quotient(fold(squares), count), k.eps)));
    for (u32 first = 0; first < k.width; first += PIECE) {
        next_piece(held, x, first, k.width, lane);
        Piece scale = piece(gamma, first, k.width, lane), shift = piece(beta, first, k.width, lane);
        EACH_OF_PIECE(e, lane_end(first, k.width, lane)) {
            shift.at[e] = fused(mul(sub(held.at[e], mean), rstd), scale.at[e], shift.at[e]);
        }
        put_piece(y, first, k.width, lane, shift);
    }
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
    Piece hats, gs;
    // xhat and g, where they are not held.
    auto take = [&](u32 first) {
        hats = piece(x, first, k.width, lane);
        gs = piece(dy, first, k.width, lane);
        Piece scale = piece(gamma, first, k.width, lane);
        for (u32 e = 0; e < EACH; e++) {
            hats.at[e] = mul(sub(hats.at[e], mean), rstd);
            gs.at[e] = mul(gs.at[e], scale.at[e]);
        }
    };
    for (u32 first = 0; first < k.width; first += PIECE) {
        take(first);
        EACH_OF_PIECE(e, lane_end(first, k.width, lane)) {
            sum_g = add(sum_g, gs.at[e]);
            sum_gx = fused(gs.at[e], hats.at[e], sum_gx);
        }
    }
    float mean_g = quotient(fold(sum_g), count), mean_gx = quotient(fold(sum_gx), count);
    for (u32 first = 0; first < k.width; first += PIECE) {
        if (k.width > PIECE) take(first);
        Piece more;
        if (added) more = piece(added, first, k.width, lane);
        EACH_OF_PIECE(e, lane_end(first, k.width, lane)) {
            float centred = fused(-hats.at[e], mean_gx, sub(gs.at[e], mean_g));
            gs.at[e] = added ? fused(centred, rstd, more.at[e]) : mul(centred, rstd);
        }
        put_piece(dx, first, k.width, lane, gs);
    }
}

extern "C" __global__ void __launch_bounds__(128) row_sum(Columns k) {
    u32 run, row, lane;
    if (!has_row(k.active, k.rows, run, row, lane)) return;
    const float* x = of(k.x, run) + (u64)row * k.width;
    float sum = 0.0f;
    for (u32 first = 0; first < k.width; first += PIECE) {
        Piece held = piece(x, first, k.width, lane);
        EACH_OF_PIECE(e, lane_end(first, k.width, lane)) sum = add(sum, held.at[e]);
    }
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
    Piece held;
    for (u32 first = 0; first < n; first += PIECE) {
        held = piece(p, first, n, lane);
        EACH_OF_PIECE(e, lane_end(first, n, lane)) largest = larger(largest, mul(held.at[e], k.scale));
    }
    largest = fold_largest(largest);
    for (u32 first = 0; first < n; first += PIECE) {
        next_piece(held, p, first, n, lane);
        EACH_OF_PIECE(e, lane_end(first, n, lane)) {
            held.at[e] = exp_of(sub(mul(held.at[e], k.scale), largest));
            sum = add(sum, held.at[e]);
        }
        if (n > PIECE) put_piece(p, first, n, lane, held);
    }
    float inverse = quotient(1.0f, fold(sum));
    for (u32 first = 0; first < n; first += PIECE) {
        next_piece(held, p, first, n, lane);
        EACH_OF_PIECE(e, lane_end(first, n, lane)) held.at[e] = mul(held.at[e], inverse);
        put_piece(p, first, n, lane, held);
    }
    clear_masked(p, n, lane, k);
}

// In place: dp = p (dp - sum(dp p)) scale
extern "C" __global__ void __launch_bounds__(128) softmax_backward(Softmax k) {
    u32 run, row, lane;
    if (!has_row(k.active, k.rows, run, row, lane)) return;
    float *dp = of(k.scores, run) + (u64)row * k.width, dot = 0.0f;
    const float* p = of(k.probs, run) + (u64)row * k.width;
    u32 n = visible(row, k.width, k.causal);
    Piece grads, probs;
    for (u32 first = 0; first < n; first += PIECE) {
        grads = piece(dp, first, n, lane);
        probs = piece(p, first, n, lane);
        EACH_OF_PIECE(e, lane_end(first, n, lane)) dot = fused(grads.at[e], probs.at[e], dot);
    }
    dot = fold(dot);
    for (u32 first = 0; first < n; first += PIECE) {
        next_piece(grads, dp, first, n, lane);
        next_piece(probs, p, first, n, lane);
        EACH_OF_PIECE(e, lane_end(first, n, lane)) {
            grads.at[e] = mul(mul(probs.at[e], sub(grads.at[e], dot)), k.scale);
        }
        put_piece(dp, first, n, lane, grads);
    }
    clear_masked(dp, n, lane, k);
}

// loss = (lse - on x_target) - off sum(x)
extern "C" __global__ void __launch_bounds__(128) cross_entropy(Entropy k) {
    u32 run, row, lane;
    if (!has_row(k.active, k.rows, run, row, lane)) return;
    const float* x = of(k.logits, run) + (u64)row * k.vocab;
    float largest = -INFINITE, sum = 0.0f, all = 0.0f;
    Piece held;
    for (u32 first = 0; first < k.vocab; first += PIECE) {
        held = piece(x, first, k.vocab, lane);
        EACH_OF_PIECE(e, lane_end(first, k.vocab, lane)) largest = larger(largest, held.at[e]);
    }
    largest = fold_largest(largest);
    for (u32 first = 0; first < k.vocab; first += PIECE) {
        next_piece(held, x, first, k.vocab, lane);
        EACH_OF_PIECE(e, lane_end(first, k.vocab, lane)) sum = add(sum, exp_of(sub(held.at[e], largest)));
    }
    float lse = add(largest, ln_of(fold(sum)));
    float loss = fused(-k.on, x[words_of(k.targets, run)[row]], lse);
    if (k.smooth) {
        for (u32 first = 0; first < k.vocab; first += PIECE) {
            next_piece(held, x, first, k.vocab, lane);
            EACH_OF_PIECE(e, lane_end(first, k.vocab, lane)) all = add(all, held.at[e]);
        }
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
    for (u32 first = 0; first < k.vocab; first += PIECE) {
        Piece held = piece(x, first, k.vocab, lane);
        EACH_OF_PIECE(e, lane_end(first, k.vocab, lane)) {
            float d = sub(exp_of(sub(held.at[e], lse)), k.off);
            held.at[e] = mul(first + lane + e * LANES == target ? sub(d, k.on) : d, scale);
        }
        put_piece(dx, first, k.vocab, lane, held);
    }
}
