// What columns share: statistics by the rule of 32 partial sums are in sums.cu, here is what is pointwise.

// out = 1 / sqrt(a + factor)
extern "C" __global__ void __launch_bounds__(256) rstd(Pointwise k) {
    u32 run, i;
    if (!has_elements(k.active, k.count, run, i)) return;
    Four a = four(of(k.a, run), i, k.count), out;
    for (u32 e = 0; e < 4; e++) out.at[e] = quotient(1.0f, root(add(a.at[e], k.factor)));
    put(of(k.out, run), i, k.count, out);
}

// out = -1/2 b a a^2
extern "C" __global__ void __launch_bounds__(256) rstd_backward(Pointwise k) {
    u32 run, i;
    if (!has_elements(k.active, k.count, run, i)) return;
    Four a = four(of(k.a, run), i, k.count), b = four(of(k.b, run), i, k.count), out;
    for (u32 e = 0; e < 4; e++) {
        float r = a.at[e];
        out.at[e] = mul(mul(b.at[e], -0.5f), mul(r, mul(r, r)));
    }
    put(of(k.out, run), i, k.count, out);
}

// The numbers of the columns that elements i to i + 3 lie in.
__device__ __forceinline__ Four by_column(const float* from, u32 i, u32 width) {
    u32 j = i % width;
    if (width % 4 == 0) return four(from, j, width);
    Four x;
    for (u32 e = 0; e < 4; e++) {
        x.at[e] = from[j];
        j = j + 1 == width ? 0 : j + 1;
    }
    return x;
}

// y = (x - shift) scale + offset
extern "C" __global__ void __launch_bounds__(256) column_affine(ByColumn k) {
    u32 run, i;
    if (!has_elements(k.active, k.count, run, i)) return;
    Four x = four(of(k.x, run), i, k.count), shift = by_column(of(k.shift, run), i, k.width);
    Four scale = by_column(of(k.scale, run), i, k.width), offset = by_column(of(k.offset, run), i, k.width);
    for (u32 e = 0; e < 4; e++) x.at[e] = fused(sub(x.at[e], shift.at[e]), scale.at[e], offset.at[e]);
    put(of(k.y, run), i, k.count, x);
}

// y = x scale
extern "C" __global__ void __launch_bounds__(256) column_scale(ByColumn k) {
    u32 run, i;
    if (!has_elements(k.active, k.count, run, i)) return;
    Four x = four(of(k.x, run), i, k.count), scale = by_column(of(k.scale, run), i, k.width);
    for (u32 e = 0; e < 4; e++) x.at[e] = mul(x.at[e], scale.at[e]);
    put(of(k.y, run), i, k.count, x);
}
