//! The vector abstraction that every fast path is written over, one file an instruction set.
//!
//! A kernel is written once, generic over [`Isa`], and instantiated inside `#[target_feature]` entry
//! functions by [`dispatch!`]. Every operation of the trait is one IEEE operation, one integer
//! operation or one selection a lane, so all instruction sets give the same bits by construction.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod plain;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::Avx512;
#[cfg(target_arch = "aarch64")]
pub(crate) use neon::Neon;
pub(crate) use plain::Plain;

use std::ops::IndexMut;

/// Elements between what a pass over a buffer computes and what it asks for meanwhile. A processor's own guesses end with
/// each page, and far memory is some hundred cycles away.
const AHEAD: usize = 512;

/// A token that proves that the machine has an instruction set, with the operations on its vectors.
///
/// Implementations are `#[inline(always)]` throughout; they turn into single instructions only inside a
/// function that enables the instruction set.
pub(crate) trait Isa: Copy + 'static {
    /// A vector of [`Self::WIDTH`] numbers.
    type F: Copy;
    /// The same lanes as 32-bit integers; arithmetic wraps.
    type I: Copy;
    /// A truth value a lane.
    type M: Copy;
    /// The 32 partial sums of a reduction, as `LANES / WIDTH` vectors.
    type Block: Copy + IndexMut<usize, Output = Self::F>;
    /// Lanes of a vector.
    const WIDTH: usize;
    /// Vectors of 32 lanes.
    const VECTORS: usize = crate::reference::LANES / Self::WIDTH;

    /// The same number in every lane.
    fn splat(self, x: f32) -> Self::F;
    /// The same integer in every lane.
    fn splat_int(self, x: i32) -> Self::I;
    /// The first `WIDTH` elements of `x`, which has at least so many.
    fn load(self, x: &[f32]) -> Self::F;
    /// All of `x`, which has fewer than `WIDTH` elements; the other lanes are +0.
    fn load_first(self, x: &[f32]) -> Self::F;
    /// Stores into the first `WIDTH` elements of `x`, which has at least so many.
    fn store(self, x: &mut [f32], v: Self::F);
    /// Stores the first lanes into all of `x`, which has fewer than `WIDTH` elements.
    fn store_first(self, x: &mut [f32], v: Self::F);
    /// True in the first `n` lanes, n <= `WIDTH`.
    fn first(self, n: usize) -> Self::M;

    /// a + b
    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    /// a − b
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    /// a · b
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    /// a / b, IEEE
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    /// a · b + c, rounded once
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// √a, IEEE
    fn sqrt(self, a: Self::F) -> Self::F;
    /// −a
    fn neg(self, a: Self::F) -> Self::F;
    /// |a|
    fn abs(self, a: Self::F) -> Self::F;
    /// if b > a { b } else { a }
    fn max(self, a: Self::F, b: Self::F) -> Self::F;
    /// if b < a { b } else { a }
    fn min(self, a: Self::F, b: Self::F) -> Self::F;
    /// a < b; false for NaN.
    fn lt(self, a: Self::F, b: Self::F) -> Self::M;
    /// a == b; false for NaN.
    fn eq(self, a: Self::F, b: Self::F) -> Self::M;
    /// if m { a } else { b }
    fn select(self, m: Self::M, a: Self::F, b: Self::F) -> Self::F;

    /// The bits of a number.
    fn bits(self, a: Self::F) -> Self::I;
    /// The number of some bits.
    fn number(self, a: Self::I) -> Self::F;
    /// a + b, wrapping
    fn add_int(self, a: Self::I, b: Self::I) -> Self::I;
    /// a − b, wrapping
    fn sub_int(self, a: Self::I, b: Self::I) -> Self::I;
    /// a & b
    fn and(self, a: Self::I, b: Self::I) -> Self::I;
    /// a ^ b
    fn xor(self, a: Self::I, b: Self::I) -> Self::I;
    /// a << n, n in 0..32
    fn shl(self, a: Self::I, n: i32) -> Self::I;
    /// a >> n keeping the sign, n in 0..32
    fn shr(self, a: Self::I, n: i32) -> Self::I;
    /// The nearest number of an integer.
    fn convert(self, a: Self::I) -> Self::F;

    /// a·2^n, rounded once, for a in \[½, 2\] or NaN and n in −150..=129, given as a number and as an integer.
    #[inline(always)]
    fn times_power_of_two(self, a: Self::F, _n: Self::F, n_int: Self::I) -> Self::F {
        // Two products, so that the only rounding below the normal numbers is the last.
        let half = self.shr(n_int, 1);
        let a = self.mul(a, power_of_two(self, half));
        self.mul(a, power_of_two(self, self.sub_int(n_int, half)))
    }

    /// Asks for the line at `p`, which will be read. Any address is allowed.
    #[inline(always)]
    fn fetch(self, p: *const f32) {
        // SAFETY: a prefetch touches no memory that a program can see; every x86-64 has it.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(p.cast());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = p;
    }
    /// Asks for the line at `p`, which will be read later: the second-level cache is near enough.
    #[inline(always)]
    fn fetch_near(self, p: *const f32) {
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(p.cast());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = p;
    }
    /// Asks for the line at `p`, which will be written. Any address is allowed.
    #[inline(always)]
    fn fetch_to_write(self, p: *const f32) {
        // SAFETY: as above; a processor that cannot ask for writing takes it for reading or not at all.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_ET0 }>(p.cast());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = p;
    }
    /// Asks in time for what a pass over `x` will read after the element `at`; nothing is wrong behind the end.
    #[inline(always)]
    fn fetch_ahead(self, x: &[f32], at: usize) {
        self.fetch(x.as_ptr().wrapping_add(at + AHEAD));
    }
    /// The same of what it will write.
    #[inline(always)]
    fn fetch_ahead_to_write(self, x: &[f32], at: usize) {
        self.fetch_to_write(x.as_ptr().wrapping_add(at + AHEAD));
    }

    /// `x` in each of the 32 lanes.
    fn block(self, x: f32) -> Self::Block;
    /// Sums 32 lanes by the tree 16, 8, 4, 2, 1 of [`crate::reference::fold_lanes`].
    fn fold(self, lanes: Self::Block) -> f32;
    /// The largest of 32 lanes, none of them NaN; of equal zeros either.
    fn fold_max(self, lanes: Self::Block) -> f32;
    /// [`Self::fold`] of each row's lanes.
    #[inline(always)]
    fn fold_rows<const R: usize>(self, rows: [Self::Block; R]) -> [f32; R] {
        let mut sums = [0.0; R];
        for r in 0..R {
            sums[r] = self.fold(rows[r]);
        }
        sums
    }
    /// [`Self::fold_max`] of each row's lanes.
    #[inline(always)]
    fn fold_max_rows<const R: usize>(self, rows: [Self::Block; R]) -> [f32; R] {
        let mut largest = [0.0; R];
        for r in 0..R {
            largest[r] = self.fold_max(rows[r]);
        }
        largest
    }
}

/// 2^n for n in −126..=127.
#[inline(always)]
pub(crate) fn power_of_two<S: Isa>(s: S, n: S::I) -> S::F {
    s.number(s.shl(s.add_int(n, s.splat_int(127)), 23))
}

/// How many lanes of a vector take part: all of them, or the first few.
pub(crate) trait Span<S: Isa>: Copy {
    /// The elements of `x` from `at`.
    fn load(self, s: S, x: &[f32], at: usize) -> S::F;
    /// Writes elements of `x` from `at`.
    fn store(self, s: S, x: &mut [f32], at: usize, v: S::F);
    /// `new` where a lane takes part, else `old`: tail lanes are skipped, not padded.
    fn keep(self, s: S, new: S::F, old: S::F) -> S::F;
}

/// All lanes.
#[derive(Clone, Copy)]
pub(crate) struct Full;

/// The first lanes, fewer than a vector has.
#[derive(Clone, Copy)]
pub(crate) struct Tail(pub(crate) usize);

impl<S: Isa> Span<S> for Full {
    #[inline(always)]
    fn load(self, s: S, x: &[f32], at: usize) -> S::F {
        s.load(&x[at..])
    }
    #[inline(always)]
    fn store(self, s: S, x: &mut [f32], at: usize, v: S::F) {
        s.store(&mut x[at..], v);
    }
    #[inline(always)]
    fn keep(self, _: S, new: S::F, _: S::F) -> S::F {
        new
    }
}

impl<S: Isa> Span<S> for Tail {
    #[inline(always)]
    fn load(self, s: S, x: &[f32], at: usize) -> S::F {
        s.load_first(&x[at..at + self.0])
    }
    #[inline(always)]
    fn store(self, s: S, x: &mut [f32], at: usize, v: S::F) {
        s.store_first(&mut x[at..at + self.0], v);
    }
    #[inline(always)]
    fn keep(self, s: S, new: S::F, old: S::F) -> S::F {
        s.select(s.first(self.0), new, old)
    }
}

/// The first lanes of a vector whose other lanes are memory of the same row: at least one, perhaps all. Those
/// others are read, and written as they were, which costs less than a store of some lanes.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(crate) struct Within(pub(crate) usize);

#[cfg(target_arch = "x86_64")]
impl<S: Isa> Span<S> for Within {
    #[inline(always)]
    fn load(self, s: S, x: &[f32], at: usize) -> S::F {
        s.load(&x[at..])
    }
    #[inline(always)]
    fn store(self, s: S, x: &mut [f32], at: usize, v: S::F) {
        let old = s.load(&x[at..]);
        s.store(&mut x[at..], s.select(s.first(self.0), v, old));
    }
    #[inline(always)]
    fn keep(self, s: S, new: S::F, old: S::F) -> S::F {
        s.select(s.first(self.0), new, old)
    }
}

/// Runs the body for each vector of `0..n`: `at` is its first element, `span` a [`Full`] or a [`Tail`].
///
/// A macro and not a function of a closure, because a closure cannot be `#[inline(always)]`.
macro_rules! each_vector {
    ($isa:ty, $n:expr, |$at:ident, $span:ident| $body:block) => {{
        let n: usize = $n;
        let mut start = 0;
        while n - start >= <$isa>::WIDTH {
            let ($at, $span) = (start, $crate::cpu::simd::Full);
            $body
            start += <$isa>::WIDTH;
        }
        if start < n {
            let ($at, $span) = (start, $crate::cpu::simd::Tail(n - start));
            $body
        }
    }};
}

/// [`each_vector!`] in blocks of 32 elements: `k` is the vector's place in the block of partial sums.
macro_rules! each_lane {
    ($isa:ty, $n:expr, |$at:ident, $k:ident, $span:ident| $body:block) => {{
        let n: usize = $n;
        let mut start = 0;
        while n - start >= $crate::reference::LANES {
            for $k in 0..<$isa>::VECTORS {
                let ($at, $span) = (start + $k * <$isa>::WIDTH, $crate::cpu::simd::Full);
                $body
            }
            start += $crate::reference::LANES;
        }
        if start < n {
            // Written out, as the compiler would keep the partial sums of a loop in memory.
            let mut lane = 0;
            each_lane!(@rest $isa, n, start, lane, |$at, $k, $span| $body, 0 1 2 3 4 5 6 7);
            while lane < <$isa>::VECTORS {
                let $k = lane;
                each_lane!(@vector $isa, n, start, |$at, $k, $span| $body);
                lane += 1;
            }
        }
    }};
    (@rest $isa:ty, $n:ident, $start:ident, $lane:ident,
        |$at:ident, $k:ident, $span:ident| $body:block, $($number:literal)*) => {
        $(
            if $number < <$isa>::VECTORS {
                let $k = $number;
                each_lane!(@vector $isa, $n, $start, |$at, $k, $span| $body);
                $lane = $number + 1;
            }
        )*
    };
    (@vector $isa:ty, $n:ident, $start:ident, |$at:ident, $k:ident, $span:ident| $body:block) => {
        let $at = $start + $k * <$isa>::WIDTH;
        if $at + <$isa>::WIDTH <= $n {
            let $span = $crate::cpu::simd::Full;
            $body
        } else if $at < $n {
            let $span = $crate::cpu::simd::Tail($n - $at);
            $body
        }
    };
}

/// Defines an entry function that takes the instruction set first, and runs `$body`, a generic kernel
/// whose first argument is the token, compiled for that instruction set.
macro_rules! dispatch {
    ($vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? = $body:path, scalar $scalar:expr) => {
        $vis fn $name(simd: $crate::cpu::Simd, $($arg: $ty),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            fn avx512($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: this function enables the instruction set.
                let token = unsafe { $crate::cpu::simd::Avx512::new() };
                $body(token, $($arg),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: this function enables the instruction set.
                let token = unsafe { $crate::cpu::simd::Avx2::new() };
                $body(token, $($arg),*)
            }
            #[cfg(target_arch = "aarch64")]
            #[target_feature(enable = "neon")]
            fn neon($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: this function enables the instruction set.
                let token = unsafe { $crate::cpu::simd::Neon::new() };
                $body(token, $($arg),*)
            }
            match simd {
                // SAFETY: a `Cpu` exists only for an instruction set that the machine has.
                #[cfg(target_arch = "x86_64")]
                $crate::cpu::Simd::Avx512 => unsafe { avx512($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                $crate::cpu::Simd::Avx2 => unsafe { avx2($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "aarch64")]
                $crate::cpu::Simd::Neon => unsafe { neon($($arg),*) },
                _ => $scalar,
            }
        }
    };
}

pub(crate) use {dispatch, each_lane, each_vector};
