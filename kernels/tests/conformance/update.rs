//! Update expressions.

use preheat_kernels::update::{Instr, Reg, UpdateBuilder, UpdateExpr};
use proptest::prelude::*;

use crate::support::{Inputs, Kind, SIZES, check};

/// AdamW with decoupled weight decay (Loshchilov & Hutter 2019, Algorithm 2).
fn adamw() -> UpdateExpr {
    let mut b = UpdateBuilder::new();
    let (p, g, m, v) = (b.param(), b.grad(), b.state(0), b.state(1));
    let (beta1, rest1) = (b.constant(0.9), b.constant(0.1));
    let (beta2, rest2) = (b.constant(0.999), b.constant(0.001));
    let (step, correction, decay, eps) =
        (b.scalar("step"), b.scalar("correction"), b.scalar("decay"), b.constant(1e-8));
    let new_m = b.mul(rest1, g);
    let new_m = b.fma(beta1, m, new_m);
    let g2 = b.mul(g, g);
    let g2 = b.mul(rest2, g2);
    let new_v = b.fma(beta2, v, g2);
    let root = b.mul(new_v, correction);
    let root = b.sqrt(root);
    let root = b.add(root, eps);
    let ratio = b.div(new_m, root);
    let decayed = b.mul(p, decay);
    let minus = b.neg(step);
    let new_p = b.fma(minus, ratio, decayed);
    b.finish(new_p, vec![new_m, new_v])
}

fn check_update(expr: &UpdateExpr, n: usize, kind: Kind, grad_scale: Option<f32>, inputs: &mut Inputs) {
    let (param, grad) = (inputs.of_kind(kind, n), inputs.of_kind(kind, n));
    let states: Vec<_> = (0..expr.states).map(|_| inputs.of_kind(kind, n)).collect();
    let scalars = inputs.ordinary(expr.scalars.len());
    check(&format!("update of {n} {kind:?} scaled {grad_scale:?}: {expr:?}"), |ops| {
        let (mut param, mut states) = (param.clone(), states.clone());
        let mut slices: Vec<_> = states.iter_mut().map(Vec::as_mut_slice).collect();
        ops.update(expr, &scalars, grad_scale, &mut param, &grad, &mut slices);
        states.push(param);
        states
    });
}

#[test]
fn adamw_at_every_size() {
    for n in SIZES.into_iter().chain([0, 127, 129, 256, 1000]) {
        for kind in Kind::ALL {
            check_update(&adamw(), n, kind, None, &mut Inputs::new(n as u64));
            check_update(&adamw(), n, kind, Some(0.25), &mut Inputs::new(n as u64));
        }
    }
}

#[test]
fn results_may_be_inputs_swapped_states_and_constants() {
    let mut b = UpdateBuilder::new();
    let (m, v, one) = (b.state(0), b.state(1), b.constant(1.0));
    let swapped = b.finish(one, vec![v, m]);
    let mut b = UpdateBuilder::new();
    let p = b.param();
    let kept = b.finish(p, vec![]);
    // Around in a circle, and a computed value in two places while an old state is still to be read.
    let mut b = UpdateBuilder::new();
    let (p, g, m, v) = (b.param(), b.grad(), b.state(0), b.state(1));
    let circle = b.finish(m, vec![v, p, g]);
    let mut b = UpdateBuilder::new();
    let (g, m, again) = (b.grad(), b.state(0), b.grad());
    let sum = b.add(g, m);
    let late = b.mul(m, again);
    let shared = b.finish(sum, vec![sum, late, late]);
    for n in [1, 33, 128, 300] {
        check_update(&swapped, n, Kind::Ordinary, None, &mut Inputs::new(5));
        check_update(&kept, n, Kind::Any, None, &mut Inputs::new(6));
        for scale in [None, Some(0.25)] {
            check_update(&circle, n, Kind::Any, scale, &mut Inputs::new(7));
            check_update(&shared, n, Kind::Ordinary, scale, &mut Inputs::new(8));
        }
    }
}

/// `live` values that all stay alive to the end, then one sum of them.
fn many_live(live: u16) -> UpdateExpr {
    let mut b = UpdateBuilder::new();
    let (p, g) = (b.param(), b.grad());
    let mut values = vec![p];
    for _ in 0..live {
        let next = b.fma(*values.last().unwrap(), g, p);
        values.push(next);
    }
    let total = values.into_iter().reduce(|a, v| b.add(a, v)).unwrap();
    b.finish(total, vec![])
}

/// 48 and more values alive, more than the fast path has room for, and a long expression.
#[test]
fn many_values_alive() {
    for live in [48, 55, 61, 62, 63, 64, 70, 130, 200] {
        check_update(&many_live(live), 131, Kind::Ordinary, None, &mut Inputs::new(u64::from(live)));
    }
}

fn instr() -> impl Strategy<Value = (u8, [u16; 3])> {
    (0_u8..16, prop::array::uniform3(0_u16..1000))
}

/// Any code: register numbers are taken modulo the instructions before.
fn expression(code: &[(u8, [u16; 3])], constant: f32) -> UpdateExpr {
    let mut b = UpdateBuilder::new();
    b.param();
    b.scalar("s");
    for (at, &(kind, regs)) in (2_u16..).zip(code) {
        let [x, y, z] = regs.map(|r| Reg(r % at));
        b.push(match kind {
            0 => Instr::Param,
            1 => Instr::Grad,
            2 => Instr::State(0),
            3 => Instr::State(1),
            4 => Instr::Scalar(0),
            5 => Instr::Const(constant),
            6 => Instr::Add(x, y),
            7 => Instr::Sub(x, y),
            8 => Instr::Mul(x, y),
            9 => Instr::Div(x, y),
            10 => Instr::Fma(x, y, z),
            11 => Instr::Sqrt(x),
            12 => [Instr::Neg(x), Instr::Abs(x)][usize::from(y.0 % 2)],
            13 => Instr::Max(x, y),
            14 => Instr::Min(x, y),
            _ => Instr::Sign(x),
        });
    }
    let last = u16::try_from(code.len() + 1).unwrap();
    b.finish(Reg(last), vec![Reg(last / 2), Reg(last / 3)])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn any_expression(
        code in prop::collection::vec(instr(), 0..60),
        constant in prop::num::f32::ANY,
        n in 0_usize..300,
        kind in 0..Kind::ALL.len(),
        grad_scale in prop::option::of(-2.0_f32..2.0),
        seed: u64,
    ) {
        check_update(&expression(&code, constant), n, Kind::ALL[kind], grad_scale, &mut Inputs::new(seed));
    }
}
