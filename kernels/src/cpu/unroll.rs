//! Loops written out.

/// Runs the body for each index below the bound, written out: an index that is a constant from the start
/// lets arrays of vectors live in registers. (A loop is unrolled too late for that, and closures would not
/// inherit the target features.)
macro_rules! unroll {
    ($i:ident < $bound:expr, at most 4 => $body:block) => {
        $crate::cpu::unroll::unroll!(@each $i, $bound, 4, $body, 0 1 2 3)
    };
    ($i:ident < $bound:expr, at most 8 => $body:block) => {
        $crate::cpu::unroll::unroll!(@each $i, $bound, 8, $body, 0 1 2 3 4 5 6 7)
    };
    ($i:ident < $bound:expr, at most 13 => $body:block) => {
        $crate::cpu::unroll::unroll!(@each $i, $bound, 13, $body, 0 1 2 3 4 5 6 7 8 9 10 11 12)
    };
    (@each $i:ident, $bound:expr, $most:literal, $body:block, $($n:literal)+) => {{
        const { assert!($bound <= $most) };
        $(
            let $i: usize = $n;
            if $i < $bound $body
        )+
    }};
}
pub(super) use unroll;
