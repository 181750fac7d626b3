// exp, ln, tanh and erf as `kernels/src/math` defines them, step by step. The coefficients are generated from there.

// x = n ln 2 + r with |r| <= ln 2 / 2, and e^r - 1
struct Reduced {
    float minus_one;
    u32 n;
};

__device__ __forceinline__ Reduced reduced(float x) {
    float shifted = fused(x, LOG2_E, ROUNDER);
    u32 n_int = __float_as_uint(shifted) - __float_as_uint(ROUNDER);
    float n = sub(shifted, ROUNDER);
    float r = fused(n, -LN_2_HIGH, x);
    r = fused(n, -LN_2_LOW, r);
    return {fused(mul(r, r), exp_polynomial(r), r), n_int};
}

// 2^n for n in -126..=127
__device__ __forceinline__ float power_of_two(u32 n) { return __uint_as_float((n + 127u) << 23); }

__device__ __forceinline__ float with_sign(float value, float sign) {
    return __uint_as_float(__float_as_uint(value) ^ (__float_as_uint(sign) & 0x80000000u));
}

__device__ __forceinline__ float exp_of(float x) {
    // The order of the operands keeps a NaN.
    Reduced e = reduced(smaller(larger(x, -104.0f), 89.0f));
    u32 half = (u32)((int)e.n >> 1);
    float a = mul(add(e.minus_one, 1.0f), power_of_two(half));
    return mul(a, power_of_two(e.n - half));
}

__device__ __forceinline__ float ln_of(float x) {
    bool denormal = x < SMALLEST_NORMAL;
    float normal = denormal ? mul(x, 8388608.0f) : x;
    u32 above = __float_as_uint(normal) - SQRT_HALF_BITS;
    float e = add(__int2float_rn((int)above >> 23), denormal ? -23.0f : 0.0f);
    float f = sub(__uint_as_float((above & 0x007fffffu) + SQRT_HALF_BITS), 1.0f);
    float tail = mul(mul(f, f), fused(ln_polynomial(f), f, -0.5f));
    tail = fused(e, LN_2_LOW, tail);
    float y = fused(e, LN_2_HIGH, add(f, tail));
    y = x < INFINITE ? y : x;
    y = x < 0.0f ? NOT_A_NUMBER : y;
    return x == 0.0f ? -INFINITE : y;
}

__device__ __forceinline__ float tanh_of(float x) {
    float a = smaller(magnitude(x), 10.0f);
    Reduced e = reduced(add(a, a));
    float power = power_of_two(e.n);
    float m = fused(power, e.minus_one, sub(power, 1.0f));
    float large = quotient(m, add(m, 2.0f));
    float a2 = mul(a, a);
    float small = fused(mul(a, a2), tanh_polynomial(a2), a);
    return with_sign(a < 0.3f ? small : large, x);
}

__device__ __forceinline__ float erf_of(float x) {
    float a = magnitude(x);
    float small = fused(erf_small_polynomial(mul(a, a)), a, a);
    float b = smaller(a, 3.93f);
    Reduced e = reduced(-mul(b, erf_large_polynomial(b)));
    float large = fused(-add(e.minus_one, 1.0f), power_of_two(e.n), 1.0f);
    return with_sign(a < 1.0f ? small : large, x);
}
