//! Update expressions as generated kernels.

use crate::device::Device;
use crate::emulator::Order;
use crate::support::{Inputs, Kind, compare};
use preheat_kernels::ops::Ops;
use preheat_kernels::reference::Reference;
use preheat_kernels::update::{Instr, Reg, UpdateBuilder, UpdateExpr};

/// `len` random instructions; every kind occurs where there are enough.
fn random(len: u16, inputs: &mut Inputs) -> UpdateExpr {
    let mut b = UpdateBuilder::new();
    b.param();
    b.scalar("s");
    b.scalar("t");
    for at in 3..len {
        let picks = inputs.tokens(5, 1 << 20);
        let [x, y, z] = [picks[0], picks[1], picks[2]].map(|r| Reg((r % u32::from(at)) as u16));
        let constant = f32::from_bits(picks[3].wrapping_mul(4099));
        let all = [
            Instr::Param,
            Instr::Grad,
            Instr::State(0),
            Instr::State(1),
            Instr::Scalar(1),
            Instr::Const(constant),
            Instr::Add(x, y),
            Instr::Sub(x, y),
            Instr::Mul(x, y),
            Instr::Div(x, y),
            Instr::Fma(x, y, z),
            Instr::Sqrt(x),
            Instr::Neg(x),
            Instr::Abs(x),
            Instr::Max(x, y),
            Instr::Min(x, y),
            Instr::Sign(x),
        ];
        b.push(all[(usize::from(at) + picks[4] as usize % 2) % all.len()]);
    }
    b.finish(Reg(len - 1), vec![Reg(len / 2), Reg(len / 3)])
}

/// The states change places, and the parameter is a constant.
fn circle() -> UpdateExpr {
    let mut b = UpdateBuilder::new();
    let (m, v, one) = (b.state(0), b.state(1), b.constant(1.0));
    b.finish(one, vec![v, m])
}

fn run(ops: &dyn Ops<f32>, expr: &UpdateExpr, n: usize, kind: Kind, scale: Option<f32>) -> Vec<Vec<f32>> {
    let inputs = &mut Inputs::new(n as u64 + 1);
    let (mut param, grad) = (inputs.of_kind(kind, n), inputs.of_kind(kind, n));
    let (mut m, mut v) = (inputs.of_kind(kind, n), inputs.of_kind(kind, n));
    let scalars = inputs.ordinary(expr.scalars.len());
    ops.update(expr, &scalars, scale, &mut param, &grad, &mut [&mut m, &mut v]);
    vec![param, m, v]
}

tests! {
    generated_kernels_have_the_references_bits {
        let inputs = &mut Inputs::new(7);
        let exprs: Vec<_> = (4..40).map(|len| random(len, inputs)).chain([circle()]).collect();
        for order in Order::ALL {
            let device = Device::new(order, &exprs);
            for expr in &exprs {
                for (n, kind) in [1, 31, 257, 300].into_iter().flat_map(|n| Kind::ALL.map(|kind| (n, kind))) {
                    for scale in [None, Some(0.25)] {
                        let what = format!("{order:?} {n} {kind:?} {scale:?} {expr:?}");
                        compare(&what, &run(&device, expr, n, kind, scale), &run(&Reference, expr, n, kind, scale));
                    }
                }
            }
        }
    }
}
