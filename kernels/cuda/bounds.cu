// Interval bounds as centre and radius, and the robust loss that is made of them.

// The box of radius eps around x, cut at low and high.
extern "C" __global__ void __launch_bounds__(256) input_box(InputBox k) {
    u32 run, i;
    if (!has_elements(k.active, k.count, run, i)) return;
    float eps = *of(k.eps, run);
    Four x = four(of(k.x, run), i, k.count), c, r;
    for (u32 e = 0; e < 4; e++) {
        float below = smaller(eps, sub(x.at[e], k.low)), above = smaller(eps, sub(k.high, x.at[e]));
        r.at[e] = mul(0.5f, add(below, above));
        c.at[e] = add(x.at[e], mul(0.5f, sub(above, below)));
    }
    put(of(k.c, run), i, k.count, c);
    put(of(k.r, run), i, k.count, r);
}

// Whether an interval lies above 0, and below it. NaN does neither.
__device__ __forceinline__ bool is_above(float c, float r) { return sub(c, r) > 0.0f; }
__device__ __forceinline__ bool is_below(float c, float r) { return add(c, r) < 0.0f; }

extern "C" __global__ void __launch_bounds__(256) interval_relu(Intervals k) {
    u32 run, i;
    if (!has_elements(k.active, k.count, run, i)) return;
    Four c = four(of(k.c, run), i, k.count), r = four(of(k.r, run), i, k.count);
    for (u32 e = 0; e < 4; e++) {
        float high = add(c.at[e], r.at[e]), half = high > 0.0f ? mul(0.5f, high) : 0.0f;
        bool above = is_above(c.at[e], r.at[e]);
        c.at[e] = above ? c.at[e] : half;
        r.at[e] = above ? r.at[e] : half;
    }
    put(of(k.c_out, run), i, k.count, c);
    put(of(k.r_out, run), i, k.count, r);
}

extern "C" __global__ void __launch_bounds__(256) interval_relu_backward(Intervals k) {
    u32 run, i;
    if (!has_elements(k.active, k.count, run, i)) return;
    Four c = four(of(k.c, run), i, k.count), r = four(of(k.r, run), i, k.count);
    Four dc = four(of(k.dc, run), i, k.count), dr = four(of(k.dr, run), i, k.count);
    for (u32 e = 0; e < 4; e++) {
        bool above = is_above(c.at[e], r.at[e]);
        float half = add(c.at[e], r.at[e]) > 0.0f ? mul(0.5f, add(dc.at[e], dr.at[e])) : 0.0f;
        dc.at[e] = above ? dc.at[e] : half;
        dr.at[e] = above ? dr.at[e] : half;
    }
    put(of(k.c_out, run), i, k.count, dc);
    put(of(k.r_out, run), i, k.count, dr);
}

// Sums of the penalty. Their row sums lie one after another, each as long as there are rows.
#define SUM_OF_RADII 0u
#define SUM_OF_CENTRES 1u
#define COUNT_ABOVE 2u
#define COUNT_BELOW 3u
#define CENTRES_ABOVE 4u
#define CENTRES_BELOW 5u
#define SQUARES_ABOVE 6u
#define SQUARES_BELOW 7u

// The first six, of each row: a warp a row.
extern "C" __global__ void __launch_bounds__(128) interval_rows(PenaltyRows k) {
    u32 run, row, lane;
    if (!has_row(k.active, k.rows, run, row, lane)) return;
    const float *c = of(k.c, run) + (u64)row * k.width, *r = of(k.r, run) + (u64)row * k.width;
    float sums[6] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
    for (u32 first = 0; first < k.width; first += PIECE) {
        Piece centres = piece(c, first, k.width, lane), radii = piece(r, first, k.width, lane);
        EACH_OF_PIECE(e, lane_end(first, k.width, lane)) {
            float centre = centres.at[e], radius = radii.at[e];
            sums[SUM_OF_RADII] = add(sums[SUM_OF_RADII], radius);
            sums[SUM_OF_CENTRES] = add(sums[SUM_OF_CENTRES], centre);
            if (is_above(centre, radius)) {
                sums[COUNT_ABOVE] = add(sums[COUNT_ABOVE], 1.0f);
                sums[CENTRES_ABOVE] = add(sums[CENTRES_ABOVE], centre);
            }
            if (is_below(centre, radius)) {
                sums[COUNT_BELOW] = add(sums[COUNT_BELOW], 1.0f);
                sums[CENTRES_BELOW] = add(sums[CENTRES_BELOW], centre);
            }
        }
    }
    float* out = of(k.out, run) + row;
#pragma unroll
    for (u32 q = 0; q < 6; q++) {
        float sum = fold(sums[q]);
        if (lane == 0) out[(u64)q * k.rows] = sum;
    }
}

// The mean of all centres.
__device__ __forceinline__ float mean_centre(const float* sums, u32 count) {
    return quotient(sums[SUM_OF_CENTRES], __uint2float_rn(count));
}

// The last two of each row, once the mean is known.
extern "C" __global__ void __launch_bounds__(128) interval_row_squares(PenaltyRows k) {
    u32 run, row, lane;
    if (!has_row(k.active, k.rows, run, row, lane)) return;
    const float *c = of(k.c, run) + (u64)row * k.width, *r = of(k.r, run) + (u64)row * k.width;
    float mean = mean_centre(of(k.sums, run), k.rows * k.width), above = 0.0f, below = 0.0f;
    for (u32 first = 0; first < k.width; first += PIECE) {
        Piece centres = piece(c, first, k.width, lane), radii = piece(r, first, k.width, lane);
        EACH_OF_PIECE(e, lane_end(first, k.width, lane)) {
            float off = sub(centres.at[e], mean);
            if (is_above(centres.at[e], radii.at[e])) above = fused(off, off, above);
            if (is_below(centres.at[e], radii.at[e])) below = fused(off, off, below);
        }
    }
    above = fold(above);
    below = fold(below);
    float* out = of(k.out, run) + row;
    if (lane == 0) {
        out[0] = above;
        out[k.rows] = below;
    }
}

// What a ratio of two sides lacks to tau; nothing where either side has none.
__device__ __forceinline__ float imbalance(float tau, float a, float b) {
    if (!(a > 0.0f && b > 0.0f)) return 0.0f;
    float lack = sub(tau, quotient(smaller(a, b), larger(a, b)));
    return lack > 0.0f ? lack : 0.0f;
}

// The penalty from its sums: one thread.
extern "C" __global__ void __launch_bounds__(32) interval_penalty(Penalty k) {
    u32 run = blockIdx.z;
    if (threadIdx.x != 0 || !k.active[run]) return;
    const float* sums = of(k.sums, run);
    float value = 0.0f;
    if (k.tightness) {
        float width = larger(quotient(sums[SUM_OF_RADII], __uint2float_rn(k.count)), LEAST_WIDTH);
        float lack = sub(k.tau, quotient(*of(k.first, run), width));
        value = add(value, lack > 0.0f ? lack : 0.0f);
    }
    if (k.balance) {
        value = add(value, imbalance(k.tau, sums[CENTRES_ABOVE], -sums[CENTRES_BELOW]));
        value = add(value, imbalance(k.tau, sums[SQUARES_ABOVE], sums[SQUARES_BELOW]));
    }
    *of(k.out, run) = quotient(value, k.tau);
}

// The slopes of the penalty times dpenalty: with respect to every radius, to every centre through their mean, to the
// centres on either side of 0 a constant and what stands before their distance from the mean.
#define SLOPE_OF_RADIUS 0u
#define SLOPE_OF_CENTRE 1u
#define MEAN_CENTRE 2u
#define SLOPE_ABOVE 3u
#define SLOPE_BELOW 5u

struct Two {
    float a, b;
};

// Those of a ratio with respect to its sides.
__device__ __forceinline__ Two balance_slopes(float tau, float scale, float a, float b) {
    float low = smaller(a, b), high = larger(a, b);
    if (!(a > 0.0f && b > 0.0f && quotient(low, high) < tau)) return {0.0f, 0.0f};
    float of_low = -quotient(scale, high), of_high = quotient(mul(scale, low), mul(high, high));
    return b < a ? Two{of_high, of_low} : Two{of_low, of_high};
}

extern "C" __global__ void __launch_bounds__(32) interval_slopes(Penalty k) {
    u32 run = blockIdx.z;
    if (threadIdx.x != 0 || !k.active[run]) return;
    const float* sums = of(k.sums, run);
    float count = __uint2float_rn(k.count), scale = quotient(*of(k.dpenalty, run), k.tau);
    float mean = mean_centre(sums, k.count), of_radius = 0.0f, of_centre = 0.0f;
    Two sides = {0.0f, 0.0f}, squares = {0.0f, 0.0f};
    if (k.tightness) {
        float width = quotient(sums[SUM_OF_RADII], count), first = *of(k.first, run);
        if (width > LEAST_WIDTH && quotient(first, width) < k.tau) {
            of_radius = quotient(quotient(mul(scale, first), mul(width, width)), count);
        }
    }
    if (k.balance) {
        sides = balance_slopes(k.tau, scale, sums[CENTRES_ABOVE], -sums[CENTRES_BELOW]);
        squares = balance_slopes(k.tau, scale, sums[SQUARES_ABOVE], sums[SQUARES_BELOW]);
        sides.b = -sides.b;
        squares = {mul(2.0f, squares.a), mul(2.0f, squares.b)};
        float off_above = sub(sums[CENTRES_ABOVE], mul(sums[COUNT_ABOVE], mean));
        float off_below = sub(sums[CENTRES_BELOW], mul(sums[COUNT_BELOW], mean));
        of_centre = quotient(-add(mul(squares.a, off_above), mul(squares.b, off_below)), count);
    }
    float* out = of(k.out, run);
    out[SLOPE_OF_RADIUS] = of_radius;
    out[SLOPE_OF_CENTRE] = of_centre;
    out[MEAN_CENTRE] = mean;
    out[SLOPE_ABOVE] = sides.a;
    out[SLOPE_ABOVE + 1] = squares.a;
    out[SLOPE_BELOW] = sides.b;
    out[SLOPE_BELOW + 1] = squares.b;
}

extern "C" __global__ void __launch_bounds__(256) interval_penalty_backward(PenaltyBackward k) {
    u32 run, i;
    if (!has_elements(k.active, k.count, run, i)) return;
    const float* slopes = of(k.slopes, run);
    Four c = four(of(k.c, run), i, k.count), r = four(of(k.r, run), i, k.count);
    for (u32 e = 0; e < 4; e++) {
        float off = sub(c.at[e], slopes[MEAN_CENTRE]), more = 0.0f;
        if (is_above(c.at[e], r.at[e])) {
            more = fused(off, slopes[SLOPE_ABOVE + 1], slopes[SLOPE_ABOVE]);
        } else if (is_below(c.at[e], r.at[e])) {
            more = fused(off, slopes[SLOPE_BELOW + 1], slopes[SLOPE_BELOW]);
        }
        c.at[e] = add(slopes[SLOPE_OF_CENTRE], more);
        r.at[e] = slopes[SLOPE_OF_RADIUS];
    }
    put(of(k.dc, run), i, k.count, c);
    put(of(k.dr, run), i, k.count, r);
}

// out[k, a V + b] = |w[k,a] - w[k,b]|
extern "C" __global__ void __launch_bounds__(256) pair_distances(Pairs k) {
    u32 run, i;
    if (!has_elements(k.active, k.count, run, i)) return;
    const float* w = of(k.w, run);
    Four out = {{0.0f, 0.0f, 0.0f, 0.0f}};
#pragma unroll
    for (u32 e = 0; e < 4; e++) {
        u32 at = i + e, pair = at / k.classes, row = pair / k.classes * k.classes;
        if (at < k.count) out.at[e] = magnitude(sub(w[row + pair % k.classes], w[row + at % k.classes]));
    }
    put(of(k.out, run), i, k.count, out);
}

// out[k,a] = the sum over b of sign(w_a - w_b) (d_ab + d_ba)
extern "C" __global__ void __launch_bounds__(256) pair_distances_backward(Pairs k) {
    u32 run, i;
    if (!has_elements(k.active, k.count, run, i)) return;
    const float *w = of(k.w, run), *distances = of(k.distances, run);
    Four out;
#pragma unroll
    for (u32 e = 0; e < 4; e++) {
        u32 at = i + e, row = at / k.classes, a = at % k.classes;
        float sum = 0.0f;
        if (at < k.count) {
            const float *of_row = w + row * k.classes, *d = distances + (u64)row * k.classes * k.classes;
            for (u32 b = 0; b < k.classes; b++) {
                float both = add(d[a * k.classes + b], d[b * k.classes + a]);
                sum = of_row[a] > of_row[b] ? add(sum, both) : of_row[a] < of_row[b] ? sub(sum, both) : sum;
            }
        }
        out.at[e] = sum;
    }
    put(of(k.out, run), i, k.count, out);
}

// m[i,j] = (z[i,j] - z[i,y]) + d[i, y V + j]
extern "C" __global__ void __launch_bounds__(256) margins(Margins k) {
    u32 run, i, count = k.rows * k.classes;
    if (!has_elements(k.active, count, run, i)) return;
    const float *z = of(k.z, run), *distances = of(k.distances, run);
    const u32* targets = words_of(k.targets, run);
    Four out = {{0.0f, 0.0f, 0.0f, 0.0f}};
#pragma unroll
    for (u32 e = 0; e < 4; e++) {
        u32 at = i + e, row = at / k.classes, j = at % k.classes;
        if (at < count) {
            u32 y = targets[row];
            out.at[e] = add(sub(z[at], z[row * k.classes + y]), distances[((u64)row * k.classes + y) * k.classes + j]);
        }
    }
    put(of(k.m, run), i, count, out);
}

// z <- dz and distances <- their gradient from dm: a warp a row
extern "C" __global__ void __launch_bounds__(128) margins_backward(Margins k) {
    u32 run, row, lane;
    if (!has_row(k.active, k.rows, run, row, lane)) return;
    const float* dm = of(k.m, run) + (u64)row * k.classes;
    float *dz = of(k.z, run) + (u64)row * k.classes, sum = 0.0f;
    float* dd = of(k.distances, run) + (u64)row * k.classes * k.classes;
    u32 y = words_of(k.targets, run)[row];
    for (u32 j = lane; j < k.classes; j += LANES) {
        if (j != y) sum = add(sum, dm[j]);
    }
    sum = fold(sum);
    for (u32 j = lane; j < k.classes; j += LANES) dz[j] = j == y ? -sum : dm[j];
    for (u32 at = lane; at < k.classes * k.classes; at += LANES) {
        u32 j = at % k.classes;
        dd[at] = at / k.classes == y && j != y ? dm[j] : 0.0f;
    }
}

// out = 1 where another class is above the target or not comparable with it: a warp a row
extern "C" __global__ void __launch_bounds__(128) errors(Errors k) {
    u32 run, row, lane;
    if (!has_row(k.active, k.rows, run, row, lane)) return;
    const float* x = of(k.logits, run) + (u64)row * k.classes;
    u32 y = words_of(k.targets, run)[row];
    bool beaten = false;
    for (u32 j = lane; j < k.classes; j += LANES) beaten = beaten || (j != y && !(x[j] <= x[y]));
    u32 any = __ballot_sync(ALL_LANES, beaten);
    if (lane == 0) of(k.wrong, run)[row] = any ? 1.0f : 0.0f;
}
