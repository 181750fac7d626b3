//! Updates in stages: expressions, sums and products for each tensor, alone and in a cohort.

use preheat_kernels::cpu::{Cpu, Simd};
use preheat_kernels::graph::{EntryId, Given, Graph, Program, Role, Session, TensorId, TensorUpdate, Update};
use preheat_kernels::ops::Ops;
use preheat_kernels::real::Real;
use preheat_kernels::reference::Reference;
use preheat_kernels::update::{UpdateBuilder, UpdateExpr};
use std::sync::Arc;

/// Keeps the gradient's root of squares, √(kept + Σg²), and moves the parameter by lr·g over it.
fn stages(t: &mut TensorUpdate<'_>) {
    let (p, g) = (t.param(), t.clipped_grad());
    let (kept, root) = (t.moment("squares", &[1]), t.temp(&[1]));
    let sum = t.graph().sum_squares(g);
    t.map(gather(), kept, sum, &[root], &[]);
    t.map(along(), p, g, &[], &[("root", Given::Tensor(root)), ("two", Given::Number(2.0))]);
}

fn gather() -> UpdateExpr {
    let mut b = UpdateBuilder::new();
    let (kept, sum) = (b.param(), b.grad());
    let kept = b.add(kept, sum);
    let root = b.sqrt(kept);
    b.finish(kept, vec![root])
}

fn along() -> UpdateExpr {
    let mut b = UpdateBuilder::new();
    let (p, g, root, minus_lr, two) = (b.param(), b.grad(), b.scalar("root"), b.scalar("minus_lr"), b.scalar("two"));
    let direction = b.div(g, root);
    let direction = b.mul(two, direction);
    let p = b.fma(minus_lr, direction, p);
    b.finish(p, vec![])
}

/// A program whose entry `train` updates a matrix [3,2] and a vector [5], and whose entry `look` reads the matrix.
fn program(runs: usize, clip: Option<f64>) -> (Arc<Program>, [TensorId; 2]) {
    let mut graph = Graph::new();
    let params = [graph.param("w", &[3, 2]), graph.param("b", &[5])];
    let squares = graph.sum_squares(params[0]);
    let norm = graph.grad_norm();
    // The other scalars of the step come first.
    let done = graph.update(norm, Update::per_tensor(&["unused", "minus_lr"], stages), clip);
    (Arc::new(graph.compile(runs, &[("train", &[norm, done]), ("look", &[squares])])), params)
}

fn entry(program: &Program, name: &str) -> EntryId {
    program.entry(name).expect("compiled")
}

/// Fills run r: parameters are r + 1, gradients are element number + step.
fn step<T: Real, K: Ops<T>>(session: &mut Session<T, K>, params: [TensorId; 2], r: usize, step: usize) {
    for param in params {
        let grad = session.program().graph().grad_of(param).expect("a gradient");
        for (i, g) in session.get_mut(grad, r).iter_mut().enumerate() {
            *g = T::from_f64((i + step) as f64);
        }
    }
    session.set_scalars(r, [T::from_f64(99.0), T::from_f64(-0.5 * (r + 1) as f64)]);
}

#[test]
fn stages_compute_what_they_say() {
    for clip in [None, Some(2.0)] {
        let (program, params) = program(1, clip);
        let mut session = Session::<f64, _>::new(Arc::clone(&program), Reference);
        let (mut expected, mut kept) = ([vec![0.0; 6], vec![0.0; 5]], [0.0f64; 2]);
        for t in 1..=3 {
            step(&mut session, params, 0, t);
            session.run(entry(&program, "train"));
            let grads = [6, 5].map(|n| (0..n).map(|i| (i + t) as f64).collect::<Vec<f64>>());
            let norm = grads.iter().flatten().map(|g| g * g).sum::<f64>().sqrt();
            let scale = clip.map_or(1.0, |c| c / norm);
            for ((p, g), kept) in expected.iter_mut().zip(&grads).zip(&mut kept) {
                *kept += g.iter().map(|g| g * g * scale * scale).sum::<f64>();
                p.iter_mut().zip(g).for_each(|(p, g)| *p -= 0.5 * 2.0 * g * scale / kept.sqrt());
            }
            for (param, expected) in params.iter().zip(&expected) {
                let found = session.get(*param, 0);
                assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-14), "{found:?} {expected:?}");
            }
        }
        // What is kept stands in moments, one a tensor, and no other entry moves anything.
        let moments = program.graph().tensors_with(Role::Moment);
        assert_eq!(moments.len(), 2);
        let before: Vec<f64> = moments.iter().map(|m| session.get(*m, 0)[0]).collect();
        assert!(before.iter().zip(kept).all(|(a, b)| (a / b - 1.0).abs() < 1e-14));
        session.run(entry(&program, "look"));
        assert!(moments.iter().zip(before).all(|(m, b)| session.get(*m, 0)[0] == b));
    }
}

#[test]
fn a_cohorts_runs_have_the_bits_of_lone_runs() {
    let (many, params) = program(3, Some(1.0));
    let mut cohort = Session::<f32, _>::new(Arc::clone(&many), Cpu::new(Simd::detect()));
    cohort.set_active(1, false);
    for t in 1..=3 {
        (0..3).for_each(|r| step(&mut cohort, params, r, t));
        cohort.run(entry(&many, "train"));
    }
    for r in [0, 2] {
        let (one, params) = program(1, Some(1.0));
        let mut alone = Session::<f32, _>::new(Arc::clone(&one), Reference);
        for t in 1..=3 {
            step(&mut alone, params, 0, t);
            alone.set_scalars(0, [99.0, -0.5 * (r + 1) as f32]);
            alone.run(entry(&one, "train"));
        }
        for param in params {
            assert_eq!(cohort.get(param, r), alone.get(param, 0), "run {r}");
            assert!(alone.get(param, 0).iter().any(|x| *x != 0.0));
        }
    }
    assert!(params.iter().all(|p| cohort.get(*p, 1).iter().all(|x| *x == 0.0)), "an inactive run idles");
}

/// Row sums and Gram matrices, against sums in f64.
#[test]
fn row_sums_and_gram_matrices() {
    for (rows, cols) in [(1, 1), (3, 33), (33, 3), (1, 67), (67, 1), (31, 31)] {
        let mut graph = Graph::new();
        let x = graph.input("x", &[rows, cols]);
        let (sums, gram) = (graph.row_sum(x), graph.gram(x));
        let side = rows.min(cols);
        assert_eq!(
            (graph.tensor(sums).shape.as_slice(), graph.tensor(gram).shape.as_slice()),
            (&[rows, 1][..], &[side; 2][..])
        );
        let program = Arc::new(graph.compile(1, &[("all", &[sums, gram])]));
        let all = entry(&program, "all");
        let value = |i: usize, j: usize| ((7 * i + 3 * j) % 11) as f64 - 5.0;
        let mut bits = Vec::new();
        for ops in std::iter::once(None).chain(Simd::available().into_iter().map(Some)) {
            let filled: Vec<f32> = (0..rows * cols).map(|i| value(i / cols, i % cols) as f32).collect();
            let (found_sums, found_gram) = match ops {
                None => outputs(&program, all, [x, sums, gram], &filled, Reference),
                Some(simd) => outputs(&program, all, [x, sums, gram], &filled, Cpu::new(simd)),
            };
            for (i, sum) in found_sums.iter().enumerate() {
                assert_eq!(f64::from(*sum), (0..cols).map(|j| value(i, j)).sum::<f64>());
            }
            let product = |a: usize, b: usize| -> f64 {
                match rows <= cols {
                    true => (0..cols).map(|j| value(a, j) * value(b, j)).sum(),
                    false => (0..rows).map(|i| value(i, a) * value(i, b)).sum(),
                }
            };
            for (at, g) in found_gram.iter().enumerate() {
                assert_eq!(f64::from(*g), product(at / side, at % side), "{rows}×{cols}");
            }
            bits.push((found_sums, found_gram));
        }
        assert!(bits.windows(2).all(|w| w[0] == w[1]));
    }
}

fn outputs<K: Ops<f32>>(
    program: &Arc<Program>,
    entry: EntryId,
    [x, sums, gram]: [TensorId; 3],
    filled: &[f32],
    ops: K,
) -> (Vec<f32>, Vec<f32>) {
    let mut session = Session::<f32, K>::new(Arc::clone(program), ops);
    session.get_mut(x, 0).copy_from_slice(filled);
    session.run(entry);
    (session.output(entry, sums, 0).to_vec(), session.output(entry, gram, 0).to_vec())
}

#[test]
#[should_panic(expected = "wrong is no scalar of the step")]
fn an_unknown_scalar_is_a_fault_of_the_code() {
    let mut graph = Graph::new();
    graph.param("b", &[3]);
    let norm = graph.grad_norm();
    graph.update(
        norm,
        Update::per_tensor(&["right"], |t| {
            let mut b = UpdateBuilder::new();
            let (p, wrong) = (b.param(), b.scalar("wrong"));
            let p = b.mul(wrong, p);
            let (param, grad) = (t.param(), t.grad());
            t.map(b.finish(p, vec![]), param, grad, &[], &[]);
        }),
        None,
    );
}
