//! Non-linearities and the update expressions.

use crate::ops::Activation;
use crate::real::Real;
use crate::update::{Instr, UpdateExpr};

/// √(2/π) of the tanh form of GELU.
pub(crate) const GELU_SCALE: f64 = 0.797_884_560_802_865_4;
/// The cubic coefficient of the tanh form of GELU.
pub(crate) const GELU_CUBIC: f64 = 0.044_715;

/// 1/√(2π), the normal density at 0.
pub(crate) const NORMAL_PEAK: f64 = 0.398_942_280_401_432_7;

pub(super) fn activation<T: Real>(f: Activation, x: &[T], y: &mut [T]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = match f {
            Activation::Relu => {
                if x > T::ZERO {
                    x
                } else {
                    T::ZERO
                }
            }
            Activation::Tanh => x.tanh(),
            Activation::GeluTanh => x / (T::ONE + gelu_exponent(x).exp()),
            Activation::Silu => x / (T::ONE + (-x).exp()),
            Activation::Abs => x.abs(),
            Activation::GeluErf => {
                (T::from_f64(0.5) * x) * (T::ONE + (x * T::from_f64(std::f64::consts::FRAC_1_SQRT_2)).erf())
            }
        };
    }
}

/// −2·√(2/π)·(x + c·x³): ½·(1 + tanh u) is 1/(1 + e^{−2u}), one exponential and one division.
fn gelu_exponent<T: Real>(x: T) -> T {
    let cubic = T::from_f64(-2.0 * GELU_SCALE * GELU_CUBIC);
    x * (x * x).mul_add(cubic, T::from_f64(-2.0 * GELU_SCALE))
}

pub(super) fn activation_backward<T: Real>(f: Activation, x: &[T], dy: &[T], dx: &mut [T]) {
    let half = T::from_f64(0.5);
    for ((dx, &x), &dy) in dx.iter_mut().zip(x).zip(dy) {
        *dx = match f {
            Activation::Relu => {
                if x > T::ZERO {
                    dy
                } else {
                    T::ZERO
                }
            }
            Activation::Tanh => {
                let t = x.tanh();
                dy * (-t).mul_add(t, T::ONE)
            }
            Activation::GeluTanh => {
                let s = T::ONE / (T::ONE + gelu_exponent(x).exp());
                let slope = (x * x).mul_add(T::from_f64(6.0 * GELU_SCALE * GELU_CUBIC), T::from_f64(2.0 * GELU_SCALE));
                // s·(1 − s) is the logistic function's derivative.
                dy * (x * slope).mul_add((-s).mul_add(s, s), s)
            }
            Activation::Abs => {
                if x > T::ZERO {
                    dy
                } else if x < T::ZERO {
                    -dy
                } else {
                    T::ZERO
                }
            }
            Activation::Silu => {
                let s = T::ONE / (T::ONE + (-x).exp());
                dy * x.mul_add((-s).mul_add(s, s), s)
            }
            Activation::GeluErf => {
                let cdf = half * (T::ONE + (x * T::from_f64(std::f64::consts::FRAC_1_SQRT_2)).erf());
                let density = T::from_f64(NORMAL_PEAK) * (-(half * x) * x).exp();
                dy * x.mul_add(density, cdf)
            }
        };
    }
}

pub(super) fn update<T: Real>(
    expr: &UpdateExpr,
    scalars: &[T],
    grad_scale: Option<T>,
    param: &mut [T],
    grad: &[T],
    states: &mut [&mut [T]],
) {
    let mut regs = vec![T::ZERO; expr.code.len()];
    for i in 0..param.len() {
        for (at, instr) in expr.code.iter().enumerate() {
            let r = |reg: crate::update::Reg| regs[reg.0 as usize];
            regs[at] = match *instr {
                Instr::Param => param[i],
                Instr::Grad => grad_scale.map_or(grad[i], |s| grad[i] * s),
                Instr::State(s) => states[s as usize][i],
                Instr::Scalar(s) => scalars[s as usize],
                Instr::Const(x) => T::from_f64(f64::from(x)),
                Instr::Add(a, b) => r(a) + r(b),
                Instr::Sub(a, b) => r(a) - r(b),
                Instr::Mul(a, b) => r(a) * r(b),
                Instr::Div(a, b) => r(a) / r(b),
                Instr::Fma(a, b, c) => r(a).mul_add(r(b), r(c)),
                Instr::Sqrt(a) => r(a).sqrt(),
                Instr::Neg(a) => -r(a),
                Instr::Abs(a) => r(a).abs(),
                Instr::Max(a, b) => r(a).select_max(r(b)),
                Instr::Min(a, b) => {
                    if r(b) < r(a) {
                        r(b)
                    } else {
                        r(a)
                    }
                }
                Instr::Sign(a) => sign(r(a)),
            };
        }
        param[i] = regs[expr.param.0 as usize];
        for (state, reg) in states.iter_mut().zip(&expr.new_states) {
            state[i] = regs[reg.0 as usize];
        }
    }
}

fn sign<T: Real>(x: T) -> T {
    if x > T::ZERO {
        T::ONE
    } else if x < T::ZERO {
        -T::ONE
    } else {
        T::ZERO
    }
}
