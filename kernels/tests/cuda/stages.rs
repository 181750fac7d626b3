//! Optimizers that work tensor by tensor: maps, row sums and products of gradients have the CPU's bits.

use crate::emulator::{Emulator, Order};
use crate::model::{Driven, on_cpu_program};
use crate::support::{Inputs, compare};
use preheat_kernels::cuda::{CudaSession, Sources};
use preheat_kernels::graph::{Given, Graph, Program, Role, TensorId, TensorUpdate, Update};
use preheat_kernels::update::UpdateBuilder;
use std::sync::Arc;

/// Matrices move along (g·gᵀ)·g over its squares, with a mean of row sums that nothing reads; vectors by momentum.
fn stages(u: &mut TensorUpdate<'_>) {
    let (param, grad) = (u.param(), u.grad());
    let mean = u.moment_like_param("mean");
    let mut b = UpdateBuilder::new();
    let (p, g, m, rate, share) = (b.param(), b.grad(), b.state(0), b.scalar("minus rate"), b.scalar("share"));
    let new_m = b.fma(share, g, m);
    let new_p = b.fma(rate, new_m, p);
    let momentum = b.finish(new_p, vec![new_m]);
    if !u.is_matrix() {
        return u.map(momentum, param, grad, &[mean], &[("share", Given::Number(0.1))]);
    }
    let clipped = u.clipped_grad();
    let squares = u.graph().sum_squares(clipped);
    let rows = u.graph().row_sum(clipped);
    let gram = u.graph().gram(clipped);
    let whitened = u.graph().linear(gram, clipped, None, None).expect("shapes fit");
    let kept = u.moment("rows", &[u.shape().0, 1]);
    let mut b = UpdateBuilder::new();
    let (old, new, tenth) = (b.param(), b.grad(), b.constant(0.1));
    let moved = b.fma(tenth, new, old);
    u.map(b.finish(moved, vec![]), kept, rows, &[], &[]);
    let mut b = UpdateBuilder::new();
    let (p, g, m, rate, s) = (b.param(), b.grad(), b.state(0), b.scalar("minus rate"), b.scalar("squares"));
    let scaled = b.div(g, s);
    let new_m = b.add(m, scaled);
    let new_p = b.fma(rate, new_m, p);
    u.map(b.finish(new_p, vec![new_m]), param, whitened, &[mean], &[("squares", Given::Tensor(squares))]);
}

/// One linear layer of a cohort of two, and its ids: input, targets.
fn program(clip: Option<f64>) -> (Arc<Program>, TensorId, TensorId) {
    let mut g = Graph::new();
    let (x, targets) = (g.input("x", &[6, 5]), g.tokens("targets", 6));
    let (w, b) = (g.param("w", &[5, 7]), g.param("b", &[7]));
    let y = g.linear(x, w, Some(b), None).expect("shapes fit");
    let (loss, _) = g.cross_entropy(y, targets, 0.0).expect("shapes fit");
    g.backward(loss, &[]);
    let norm = g.grad_norm();
    // The last is read by no map.
    let update = Update::per_tensor(&["minus rate", "spare"], stages);
    let done = g.update(norm, update, clip);
    (Arc::new(g.compile(2, &[("train", &[loss, done])])), x, targets)
}

/// Parameters and moments after each of three steps, of both runs.
fn outcomes(session: &mut impl Driven, program: &Program, x: TensorId, targets: TensorId) -> Vec<Vec<f32>> {
    let inputs = &mut Inputs::new(3);
    let graph = program.graph();
    let kept = [graph.tensors_with(Role::Param), graph.tensors_with(Role::Moment)].concat();
    for r in 0..2 {
        for id in graph.params().chain([x]) {
            session.set(id, r, &inputs.ordinary(graph.tensor(id).len()));
        }
        session.tokens(targets, r).copy_from_slice(&inputs.tokens(6, 7));
    }
    let mut all = Vec::new();
    for step in 0..3 {
        for r in 0..2 {
            session.step(r, [-0.1 * (1 + r) as f32, 9.0, 9.0], 1, step);
        }
        session.run(program.entry("train").expect("a name"));
        all.extend(kept.iter().flat_map(|id| (0..2).map(|r| (*id, r))).map(|(id, r)| session.get(id, r)));
    }
    all
}

tests! {
    optimizers_of_stages_have_the_cpus_bits {
        for clip in [None, Some(0.05)] {
            let (program, x, targets) = program(clip);
            let expect = outcomes(&mut on_cpu_program(&program), &program, x, targets);
            assert_ne!(expect[0], expect[expect.len() / 3], "it moves");
            for order in Order::ALL {
                let exec = Emulator::new(&Sources::of(&program), order).unwrap_or_else(|e| panic!("{e}"));
                let mut session = CudaSession::new(Arc::clone(&program), exec).unwrap_or_else(|e| panic!("{e}"));
                compare(&format!("{order:?} {clip:?}"), &outcomes(&mut session, &program, x, targets), &expect);
            }
        }
    }
}
