// Pointwise ops: a thread four elements.

extern "C" __global__ void __launch_bounds__(256) pointwise_add(Pointwise k) {
    u32 run, i;
    if (!has_elements(k.active, k.count, run, i)) return;
    Four a = four(of(k.a, run), i, k.count), b = four(of(k.b, run), i, k.count), out;
    for (u32 e = 0; e < 4; e++) out.at[e] = add(a.at[e], b.at[e]);
    put(of(k.out, run), i, k.count, out);
}

extern "C" __global__ void __launch_bounds__(256) pointwise_mul(Pointwise k) {
    u32 run, i;
    if (!has_elements(k.active, k.count, run, i)) return;
    Four a = four(of(k.a, run), i, k.count), b = four(of(k.b, run), i, k.count), out;
    for (u32 e = 0; e < 4; e++) out.at[e] = mul(a.at[e], b.at[e]);
    put(of(k.out, run), i, k.count, out);
}

// out = factor * a
extern "C" __global__ void __launch_bounds__(256) pointwise_scale(Pointwise k) {
    u32 run, i;
    if (!has_elements(k.active, k.count, run, i)) return;
    Four a = four(of(k.a, run), i, k.count), out;
    for (u32 e = 0; e < 4; e++) out.at[e] = mul(k.factor, a.at[e]);
    put(of(k.out, run), i, k.count, out);
}

// out = factor
extern "C" __global__ void __launch_bounds__(256) pointwise_fill(Pointwise k) {
    u32 run, i;
    if (!has_elements(k.active, k.count, run, i)) return;
    Four out;
    for (u32 e = 0; e < 4; e++) out.at[e] = k.factor;
    put(of(k.out, run), i, k.count, out);
}

// out <- out + factor * (a - out)
extern "C" __global__ void __launch_bounds__(256) pointwise_ema(Pointwise k) {
    u32 run, i;
    if (!has_elements(k.active, k.count, run, i)) return;
    Four a = four(of(k.a, run), i, k.count), out = four(of(k.out, run), i, k.count);
    for (u32 e = 0; e < 4; e++) {
        float state = out.at[e];
        out.at[e] = fused(k.factor, sub(a.at[e], state), state);
    }
    put(of(k.out, run), i, k.count, out);
}

// Philox4x32-10 (Salmon et al. 2011): the first of four words.
__device__ __forceinline__ u32 philox_word(u32 c0, u32 c1, u32 c2, u32 c3, u32 k0, u32 k1) {
    for (int round = 0; round < 10; round++) {
        u64 p0 = (u64)PHILOX_MULTIPLIER_0 * c0, p1 = (u64)PHILOX_MULTIPLIER_1 * c2;
        c0 = (u32)(p1 >> 32) ^ c1 ^ k0;
        c2 = (u32)(p0 >> 32) ^ c3 ^ k1;
        c1 = (u32)p1;
        c3 = (u32)p0;
        k0 += PHILOX_WEYL_0;
        k1 += PHILOX_WEYL_1;
    }
    return c0;
}

// An element is kept where its 24 bits reach the threshold, which is the rate in units of 2^-24, rounded up.
extern "C" __global__ void __launch_bounds__(256) dropout(Dropout k) {
    u32 run, i;
    if (!has_elements(k.active, k.count, run, i)) return;
    Four x = four(of(k.x, run), i, k.count), mask, y;
    for (u32 e = 0; e < 4; e++) {
        u32 word = philox_word(i + e, 0, *k.step, k.stream, k.seeds[2 * run], k.seeds[2 * run + 1]);
        mask.at[e] = (word >> 8) >= k.threshold ? k.kept : 0.0f;
        y.at[e] = mul(x.at[e], mask.at[e]);
    }
    put(of(k.mask, run), i, k.count, mask);
    put(of(k.y, run), i, k.count, y);
}

extern "C" __global__ void __launch_bounds__(256) relu(Pointwise k) {
    u32 run, i;
    if (!has_elements(k.active, k.count, run, i)) return;
    Four a = four(of(k.a, run), i, k.count), out;
    for (u32 e = 0; e < 4; e++) {
        float x = a.at[e];
        out.at[e] = x > 0.0f ? x : 0.0f;
    }
    put(of(k.out, run), i, k.count, out);
}

// out = b where a > 0
extern "C" __global__ void __launch_bounds__(256) relu_backward(Pointwise k) {
    u32 run, i;
    if (!has_elements(k.active, k.count, run, i)) return;
    Four a = four(of(k.a, run), i, k.count), b = four(of(k.b, run), i, k.count), out;
    for (u32 e = 0; e < 4; e++) out.at[e] = a.at[e] > 0.0f ? b.at[e] : 0.0f;
    put(of(k.out, run), i, k.count, out);
}

extern "C" __global__ void __launch_bounds__(256) tanh_forward(Pointwise k) {
    u32 run, i;
    if (!has_elements(k.active, k.count, run, i)) return;
    Four a = four(of(k.a, run), i, k.count), out;
    for (u32 e = 0; e < 4; e++) out.at[e] = tanh_of(a.at[e]);
    put(of(k.out, run), i, k.count, out);
}

extern "C" __global__ void __launch_bounds__(256) tanh_backward(Pointwise k) {
    u32 run, i;
    if (!has_elements(k.active, k.count, run, i)) return;
    Four a = four(of(k.a, run), i, k.count), b = four(of(k.b, run), i, k.count), out;
    for (u32 e = 0; e < 4; e++) {
        float t = tanh_of(a.at[e]);
        out.at[e] = mul(b.at[e], fused(-t, t, 1.0f));
    }
    put(of(k.out, run), i, k.count, out);
}

// -2 sqrt(2 / pi) (x + c x^3)
__device__ __forceinline__ float gelu_exponent(float x) {
    return mul(x, fused(mul(x, x), GELU_EXPONENT_CUBIC, GELU_EXPONENT_LINEAR));
}

extern "C" __global__ void __launch_bounds__(256) gelu_tanh_forward(Pointwise k) {
    u32 run, i;
    if (!has_elements(k.active, k.count, run, i)) return;
    Four a = four(of(k.a, run), i, k.count), out;
    for (u32 e = 0; e < 4; e++) {
        float x = a.at[e];
        out.at[e] = quotient(x, add(1.0f, exp_of(gelu_exponent(x))));
    }
    put(of(k.out, run), i, k.count, out);
}

extern "C" __global__ void __launch_bounds__(256) gelu_tanh_backward(Pointwise k) {
    u32 run, i;
    if (!has_elements(k.active, k.count, run, i)) return;
    Four a = four(of(k.a, run), i, k.count), b = four(of(k.b, run), i, k.count), out;
    for (u32 e = 0; e < 4; e++) {
        float x = a.at[e];
        float gate = quotient(1.0f, add(1.0f, exp_of(gelu_exponent(x))));
        float slope = fused(mul(x, x), GELU_SLOPE_CUBIC, GELU_SLOPE_LINEAR);
        out.at[e] = mul(b.at[e], fused(mul(x, slope), fused(-gate, gate, gate), gate));
    }
    put(of(k.out, run), i, k.count, out);
}

extern "C" __global__ void __launch_bounds__(256) silu_forward(Pointwise k) {
    u32 run, i;
    if (!has_elements(k.active, k.count, run, i)) return;
    Four a = four(of(k.a, run), i, k.count), out;
    for (u32 e = 0; e < 4; e++) {
        float x = a.at[e];
        out.at[e] = quotient(x, add(1.0f, exp_of(-x)));
    }
    put(of(k.out, run), i, k.count, out);
}

extern "C" __global__ void __launch_bounds__(256) silu_backward(Pointwise k) {
    u32 run, i;
    if (!has_elements(k.active, k.count, run, i)) return;
    Four a = four(of(k.a, run), i, k.count), b = four(of(k.b, run), i, k.count), out;
    for (u32 e = 0; e < 4; e++) {
        float x = a.at[e];
        float gate = quotient(1.0f, add(1.0f, exp_of(-x)));
        out.at[e] = mul(b.at[e], fused(x, fused(-gate, gate, gate), gate));
    }
    put(of(k.out, run), i, k.count, out);
}

extern "C" __global__ void __launch_bounds__(256) gelu_erf_forward(Pointwise k) {
    u32 run, i;
    if (!has_elements(k.active, k.count, run, i)) return;
    Four a = four(of(k.a, run), i, k.count), out;
    for (u32 e = 0; e < 4; e++) {
        float x = a.at[e];
        out.at[e] = mul(mul(0.5f, x), add(1.0f, erf_of(mul(x, SQRT_HALF))));
    }
    put(of(k.out, run), i, k.count, out);
}

extern "C" __global__ void __launch_bounds__(256) gelu_erf_backward(Pointwise k) {
    u32 run, i;
    if (!has_elements(k.active, k.count, run, i)) return;
    Four a = four(of(k.a, run), i, k.count), b = four(of(k.b, run), i, k.count), out;
    for (u32 e = 0; e < 4; e++) {
        float x = a.at[e];
        float cdf = mul(0.5f, add(1.0f, erf_of(mul(x, SQRT_HALF))));
        float density = mul(NORMAL_PEAK, exp_of(mul(-mul(0.5f, x), x)));
        out.at[e] = mul(b.at[e], fused(x, density, cdf));
    }
    put(of(k.out, run), i, k.count, out);
}

extern "C" __global__ void __launch_bounds__(256) abs_forward(Pointwise k) {
    u32 run, i;
    if (!has_elements(k.active, k.count, run, i)) return;
    Four a = four(of(k.a, run), i, k.count), out;
    for (u32 e = 0; e < 4; e++) out.at[e] = magnitude(a.at[e]);
    put(of(k.out, run), i, k.count, out);
}

// out = b with the sign of a, 0 where a is 0 or NaN
extern "C" __global__ void __launch_bounds__(256) abs_backward(Pointwise k) {
    u32 run, i;
    if (!has_elements(k.active, k.count, run, i)) return;
    Four a = four(of(k.a, run), i, k.count), b = four(of(k.b, run), i, k.count), out;
    for (u32 e = 0; e < 4; e++) out.at[e] = a.at[e] > 0.0f ? b.at[e] : a.at[e] < 0.0f ? -b.at[e] : 0.0f;
    put(of(k.out, run), i, k.count, out);
}
