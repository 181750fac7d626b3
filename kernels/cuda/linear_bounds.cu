// Linear bounds taken back through ReLU, as deviation from the intervals' centres.

// The lines around ReLU over an interval: their slopes, and how far the lower one passes below the centre.
struct Lines {
    float upper, lower, below;
    bool bends;
};

__device__ __forceinline__ Lines lines(float c, float r) {
    bool active = sub(c, r) > 0.0f, partly = add(c, r) > 0.0f;
    Lines l;
    l.bends = !active && partly;
    float stable = active ? 1.0f : 0.0f;
    l.upper = l.bends ? quotient(mul(0.5f, add(c, r)), r) : stable;
    l.lower = l.bends ? (c > 0.0f ? 1.0f : 0.0f) : stable;
    l.below = l.bends ? mul(0.5f, sub(r, magnitude(c))) : 0.0f;
    return l;
}

// b and a' of a row: a warp a row
extern "C" __global__ void __launch_bounds__(128) linear_relu(LinearRelu k) {
    u32 run, row, lane;
    if (!has_row(k.active, k.rows, run, row, lane)) return;
    u64 first = (u64)row * k.width, units = (u64)(row / k.group) * k.width;
    const float *a = of(k.a, run) + first, *c = of(k.c, run) + units, *r = of(k.r, run) + units;
    float *a_out = of(k.a_out, run) + first, b = 0.0f;
    for (u32 j = lane; j < k.width; j += LANES) {
        Lines l = lines(c[j], r[j]);
        float at = a[j];
        a_out[j] = mul(at, at > 0.0f ? l.upper : l.lower);
        if (!(at > 0.0f)) b = fused(-at, l.below, b);
    }
    b = fold(b);
    if (lane == 0) of(k.b, run)[row] = b;
}

// da, dc and dr: a thread a unit, down the rows of its sample
extern "C" __global__ void __launch_bounds__(256) linear_relu_backward(LinearReluBackward k) {
    u32 run = blockIdx.z, unit = blockIdx.x * blockDim.x + threadIdx.x;
    if (!k.active[run] || unit >= k.count) return;
    u32 first = unit / k.width * k.group;
    float c = of(k.c, run)[unit], r = of(k.r, run)[unit], of_upper = 0.0f, of_lower = 0.0f;
    Lines l = lines(c, r);
    const float *a = of(k.a, run), *da_out = of(k.da_out, run), *db = of(k.db, run);
    float* da = of(k.da, run);
    u64 at = (u64)first * k.width + unit % k.width;
    for (u32 row = first; row < first + k.group; row++, at += k.width) {
        if (a[at] > 0.0f) {
            da[at] = mul(da_out[at], l.upper);
            of_upper = fused(da_out[at], a[at], of_upper);
        } else {
            da[at] = fused(da_out[at], l.lower, -mul(db[row], l.below));
            of_lower = fused(db[row], a[at], of_lower);
        }
    }
    float steep = quotient(0.5f, larger(r, LEAST_RADIUS)), side = c > 0.0f ? 0.5f : -0.5f;
    float of_c = fused(of_upper, steep, mul(of_lower, side));
    float of_r = fused(-of_upper, mul(quotient(c, r), steep), -mul(0.5f, of_lower));
    of(k.dc, run)[unit] = l.bends ? of_c : 0.0f;
    of(k.dr, run)[unit] = l.bends ? of_r : 0.0f;
}

// out = the sum of a x, or of |a| x: a warp a row
extern "C" __global__ void __launch_bounds__(128) group_dot(GroupDot k) {
    u32 run, row, lane;
    if (!has_row(k.active, k.rows, run, row, lane)) return;
    const float *a = of(k.a, run) + (u64)row * k.width, *x = of(k.x, run) + (u64)(row / k.group) * k.width;
    float sum = 0.0f;
    for (u32 j = lane; j < k.width; j += LANES) sum = fused(k.size ? magnitude(a[j]) : a[j], x[j], sum);
    sum = fold(sum);
    if (lane == 0) of(k.out, run)[row] = sum;
}

// da and dx: a thread a number of x, down the rows of its sample
extern "C" __global__ void __launch_bounds__(256) group_dot_backward(GroupDotBackward k) {
    u32 run = blockIdx.z, unit = blockIdx.x * blockDim.x + threadIdx.x;
    if (!k.active[run] || unit >= k.count) return;
    u32 first = unit / k.width * k.group;
    const float *a = of(k.a, run), *dout = of(k.dout, run);
    float *da = of(k.da, run), x = of(k.x, run)[unit], sum = 0.0f;
    u64 at = (u64)first * k.width + unit % k.width;
    for (u32 row = first; row < first + k.group; row++, at += k.width) {
        float step = mul(dout[row], x), by_sign = a[at] > 0.0f ? step : a[at] < 0.0f ? -step : 0.0f;
        da[at] = k.size ? by_sign : step;
        sum = fused(k.size ? magnitude(a[at]) : a[at], dout[row], sum);
    }
    of(k.dx, run)[unit] = sum;
}

// e_j - e_y by row (i, j)
extern "C" __global__ void __launch_bounds__(256) contrasts(Contrasts k) {
    u32 run, i;
    if (!has_elements(k.active, k.count, run, i)) return;
    const u32* targets = words_of(k.targets, run);
    Four out = {{0.0f, 0.0f, 0.0f, 0.0f}};
#pragma unroll
    for (u32 e = 0; e < 4; e++) {
        u32 at = i + e, row = at / k.classes, v = at % k.classes;
        if (at < k.count) {
            float own = v == row % k.classes ? 1.0f : 0.0f;
            out.at[e] = sub(own, v == targets[row / k.classes] ? 1.0f : 0.0f);
        }
    }
    put(of(k.out, run), i, k.count, out);
}
