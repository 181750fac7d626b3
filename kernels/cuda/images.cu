// Images [B,H,W,C] and the windows of a convolution over them: rows of patches, taps in the order row, column, channel.
// A thread four elements; where 4 divides the channels, they are of one tap.

// out = byte / 255
extern "C" __global__ void __launch_bounds__(256) pixels(Pointwise k) {
    u32 run, i;
    if (!has_elements(k.active, k.count, run, i)) return;
    Four bytes = four(of(k.a, run), i, k.count), out;
    for (u32 e = 0; e < 4; e++) out.at[e] = quotient(__uint2float_rn(__float_as_uint(bytes.at[e])), 255.0f);
    put(of(k.out, run), i, k.count, out);
}

#define NOWHERE 0xffffffffu

// Where element `at` of the patches lies in the images, NOWHERE where it is beside one.
__device__ __forceinline__ u32 source(const Windows& k, u32 at) {
    u32 tap = at / k.channels, row = tap / k.kernel, place = row / k.kernel, down = place / k.across;
    // A place above or left of the image wraps, and is larger than any size.
    u32 y = down % k.down * k.stride + row % k.kernel - k.padding;
    u32 x = place % k.across * k.stride + tap % k.kernel - k.padding;
    if (y >= k.height || x >= k.width) return NOWHERE;
    return ((down / k.down * k.height + y) * k.width + x) * k.channels + at % k.channels;
}

extern "C" __global__ void __launch_bounds__(256) patches(Windows k) {
    u32 run, i;
    if (!has_elements(k.active, k.count, run, i)) return;
    const float* images = of(k.from, run);
    Four out = {{0.0f, 0.0f, 0.0f, 0.0f}};
    if (k.channels % 4 == 0) {
        u32 from = source(k, i);
        if (from != NOWHERE) out = four(images, from, from + 4);
    } else {
#pragma unroll
        for (u32 e = 0; e < 4; e++) {
            u32 from = i + e < k.count ? source(k, i + e) : NOWHERE;
            if (from != NOWHERE) out.at[e] = images[from];
        }
    }
    put(of(k.to, run), i, k.count, out);
}

// The windows along one axis that hold a place: those from `first` to below `end`.
struct Holders {
    u32 first, end;
};

__device__ __forceinline__ Holders holders(u32 reach, u32 windows, const Windows& k) {
    u32 first = reach < k.kernel ? 0 : (reach - k.kernel) / k.stride + 1, end = reach / k.stride + 1;
    return {first, end < windows ? end : windows};
}

// Calls `each` with the places in the patches of element `at` of the images, in their order.
template <class Each> __device__ __forceinline__ void each_tap(const Windows& k, u32 at, Each each) {
    u32 pixel = at / k.channels, line = pixel / k.width;
    u32 y = line % k.height + k.padding, x = pixel % k.width + k.padding;
    Holders down = holders(y, k.down, k), across = holders(x, k.across, k);
    for (u32 oy = down.first; oy < down.end; oy++) {
        for (u32 ox = across.first; ox < across.end; ox++) {
            u32 patch = (line / k.height * k.down + oy) * k.across + ox;
            u32 tap = (patch * k.kernel + (y - oy * k.stride)) * k.kernel + (x - ox * k.stride);
            each(tap * k.channels + at % k.channels);
        }
    }
}

extern "C" __global__ void __launch_bounds__(256) patches_backward(Windows k) {
    u32 run, i;
    if (!has_elements(k.active, k.count, run, i)) return;
    const float* patches = of(k.from, run);
    Four sums = {{0.0f, 0.0f, 0.0f, 0.0f}};
    if (k.channels % 4 == 0) {
        each_tap(k, i, [&](u32 at) {
            Four d = four(patches, at, at + 4);
            for (u32 e = 0; e < 4; e++) sums.at[e] = add(sums.at[e], d.at[e]);
        });
    } else {
#pragma unroll
        for (u32 e = 0; e < 4; e++) {
            float sum = 0.0f;
            if (i + e < k.count) each_tap(k, i + e, [&](u32 at) { sum = add(sum, patches[at]); });
            sums.at[e] = sum;
        }
    }
    put(of(k.to, run), i, k.count, sums);
}
