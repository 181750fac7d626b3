// Pointwise ops: a thread an element.

extern "C" __global__ void __launch_bounds__(256) pointwise_add(Pointwise k) {
    u32 run, i;
    if (!has_element(k.active, k.count, run, i)) return;
    of(k.out, run)[i] = add(of(k.a, run)[i], of(k.b, run)[i]);
}

extern "C" __global__ void __launch_bounds__(256) pointwise_mul(Pointwise k) {
    u32 run, i;
    if (!has_element(k.active, k.count, run, i)) return;
    of(k.out, run)[i] = mul(of(k.a, run)[i], of(k.b, run)[i]);
}

// out = factor * a
extern "C" __global__ void __launch_bounds__(256) pointwise_scale(Pointwise k) {
    u32 run, i;
    if (!has_element(k.active, k.count, run, i)) return;
    of(k.out, run)[i] = mul(k.factor, of(k.a, run)[i]);
}

// out = factor
extern "C" __global__ void __launch_bounds__(256) pointwise_fill(Pointwise k) {
    u32 run, i;
    if (!has_element(k.active, k.count, run, i)) return;
    of(k.out, run)[i] = k.factor;
}

// out <- out + factor * (a - out)
extern "C" __global__ void __launch_bounds__(256) pointwise_ema(Pointwise k) {
    u32 run, i;
    if (!has_element(k.active, k.count, run, i)) return;
    float* state = of(k.out, run) + i;
    *state = fused(k.factor, sub(of(k.a, run)[i], *state), *state);
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
    if (!has_element(k.active, k.count, run, i)) return;
    u32 word = philox_word(i, 0, *k.step, k.stream, k.seeds[2 * run], k.seeds[2 * run + 1]);
    float mask = (word >> 8) >= k.threshold ? k.kept : 0.0f;
    of(k.mask, run)[i] = mask;
    of(k.y, run)[i] = mul(of(k.x, run)[i], mask);
}

extern "C" __global__ void __launch_bounds__(256) relu(Pointwise k) {
    u32 run, i;
    if (!has_element(k.active, k.count, run, i)) return;
    float x = of(k.a, run)[i];
    of(k.out, run)[i] = x > 0.0f ? x : 0.0f;
}

// out = b where a > 0
extern "C" __global__ void __launch_bounds__(256) relu_backward(Pointwise k) {
    u32 run, i;
    if (!has_element(k.active, k.count, run, i)) return;
    of(k.out, run)[i] = of(k.a, run)[i] > 0.0f ? of(k.b, run)[i] : 0.0f;
}

extern "C" __global__ void __launch_bounds__(256) tanh_forward(Pointwise k) {
    u32 run, i;
    if (!has_element(k.active, k.count, run, i)) return;
    of(k.out, run)[i] = tanh_of(of(k.a, run)[i]);
}

extern "C" __global__ void __launch_bounds__(256) tanh_backward(Pointwise k) {
    u32 run, i;
    if (!has_element(k.active, k.count, run, i)) return;
    float t = tanh_of(of(k.a, run)[i]);
    of(k.out, run)[i] = mul(of(k.b, run)[i], fused(-t, t, 1.0f));
}

// -2 sqrt(2 / pi) (x + c x^3)
__device__ __forceinline__ float gelu_exponent(float x) {
    return mul(x, fused(mul(x, x), GELU_EXPONENT_CUBIC, GELU_EXPONENT_LINEAR));
}

extern "C" __global__ void __launch_bounds__(256) gelu_tanh_forward(Pointwise k) {
    u32 run, i;
    if (!has_element(k.active, k.count, run, i)) return;
    float x = of(k.a, run)[i];
    of(k.out, run)[i] = quotient(x, add(1.0f, exp_of(gelu_exponent(x))));
}

extern "C" __global__ void __launch_bounds__(256) gelu_tanh_backward(Pointwise k) {
    u32 run, i;
    if (!has_element(k.active, k.count, run, i)) return;
    float x = of(k.a, run)[i];
    float gate = quotient(1.0f, add(1.0f, exp_of(gelu_exponent(x))));
    float slope = fused(mul(x, x), GELU_SLOPE_CUBIC, GELU_SLOPE_LINEAR);
    of(k.out, run)[i] = mul(of(k.b, run)[i], fused(mul(x, slope), fused(-gate, gate, gate), gate));
}

extern "C" __global__ void __launch_bounds__(256) silu_forward(Pointwise k) {
    u32 run, i;
    if (!has_element(k.active, k.count, run, i)) return;
    float x = of(k.a, run)[i];
    of(k.out, run)[i] = quotient(x, add(1.0f, exp_of(-x)));
}

extern "C" __global__ void __launch_bounds__(256) silu_backward(Pointwise k) {
    u32 run, i;
    if (!has_element(k.active, k.count, run, i)) return;
    float x = of(k.a, run)[i];
    float gate = quotient(1.0f, add(1.0f, exp_of(-x)));
    of(k.out, run)[i] = mul(of(k.b, run)[i], fused(x, fused(-gate, gate, gate), gate));
}

extern "C" __global__ void __launch_bounds__(256) gelu_erf_forward(Pointwise k) {
    u32 run, i;
    if (!has_element(k.active, k.count, run, i)) return;
    float x = of(k.a, run)[i];
    of(k.out, run)[i] = mul(mul(0.5f, x), add(1.0f, erf_of(mul(x, SQRT_HALF))));
}

extern "C" __global__ void __launch_bounds__(256) gelu_erf_backward(Pointwise k) {
    u32 run, i;
    if (!has_element(k.active, k.count, run, i)) return;
    float x = of(k.a, run)[i];
    float cdf = mul(0.5f, add(1.0f, erf_of(mul(x, SQRT_HALF))));
    float density = mul(NORMAL_PEAK, exp_of(mul(-mul(0.5f, x), x)));
    of(k.out, run)[i] = mul(of(k.b, run)[i], fused(x, density, cdf));
}
