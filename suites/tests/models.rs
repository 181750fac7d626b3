//! Whole models: gradients against finite differences in f64, parameter counts, FLOPs, invariances.

use preheat_kernels::cpu::{Cpu, Simd};
use preheat_kernels::graph::{Program, Session};
use preheat_kernels::ops::Ops;
use preheat_kernels::real::canonical_bits;
use preheat_kernels::reference::Reference;
use preheat_kernels::rng::Stream;
use preheat_kernels::update::{UpdateBuilder, UpdateExpr};
use preheat_suites::models::{Built, MODELS, Model, Network, Shape};
use preheat_suites::registry::{Entry, ParamKind, Params, Preset, Scalar, Spec};
use preheat_suites::run::{Recipe, Run, RunId, Start};
use preheat_suites::train::{Compiled, initialise, run_flops};
use std::sync::Arc;

/// Complete parameters of a registered model: its presets, then `given`.
fn model(name: &str, given: &[(&str, Scalar)]) -> Box<dyn Model> {
    let entry: &Entry<Box<dyn Model>> = MODELS.iter().find(|e| e.name == name).unwrap();
    let mut params = Params::default();
    for def in entry.params {
        let value = match def.default {
            Preset::Required => continue,
            Preset::Int(x) => Scalar::Int(x),
            Preset::Real(x) => Scalar::Real(x),
            Preset::Text(x) => Scalar::Text(x.into()),
            Preset::Flag(x) => Scalar::Flag(x),
        };
        params.0.insert(def.name.into(), value);
    }
    for (key, value) in given {
        assert!(entry.params.iter().any(|d| d.name == *key), "{key}");
        params.0.insert((*key).into(), value.clone());
    }
    (entry.build)(&params).unwrap()
}

const SHAPE: Shape = Shape { batch: 2, seq: 5, vocab: 7, targets: 5, label_smoothing: 0.1 };

fn network(given: &[(&str, Scalar)]) -> Network {
    match model("transformer", given).build(&SHAPE).unwrap() {
        Built::Network(n) => *n,
        Built::NormJacobian(_) | Built::AdaptiveRate(_) => panic!("a transformer is a network"),
    }
}

fn text(x: &str) -> Scalar {
    Scalar::Text(x.into())
}

/// Every variant that changes the graph.
fn variants() -> Vec<Vec<(&'static str, Scalar)>> {
    let base = || {
        vec![
            ("layers", Scalar::Int(2)),
            ("width", Scalar::Int(6)),
            ("heads", Scalar::Int(2)),
            ("ffn_ratio", Scalar::Int(2)),
        ]
    };
    let with = |more: &[(&'static str, Scalar)]| {
        let mut all = base();
        all.extend_from_slice(more);
        all
    };
    vec![
        with(&[]),
        with(&[("norm", text("post-ln"))]),
        with(&[("norm", text("post-ln")), ("activation", text("gelu-tanh")), ("tied", Scalar::Flag(true))]),
        with(&[("activation", text("gelu-erf")), ("positions", text("sinusoidal")), ("attention", text("full"))]),
        with(&[("norm", text("post-ln")), ("positions", text("none")), ("out_projection", Scalar::Flag(false))]),
        with(&[("activation", text("gelu-tanh")), ("dropout", Scalar::Real(0.2))]),
        with(&[("activation", text("swiglu"))]),
        with(&[("norm", text("post-ln")), ("activation", text("swiglu-256")), ("dropout", Scalar::Real(0.2))]),
    ]
}

/// p − lr·g: an update that the gradient tests never run.
fn sgd() -> UpdateExpr {
    let mut b = UpdateBuilder::new();
    let (p, g, lr) = (b.param(), b.grad(), b.scalar("lr"));
    let step = b.mul(lr, g);
    let new = b.sub(p, step);
    b.finish(new, vec![])
}

fn prepared(given: &[(&str, Scalar)]) -> (Compiled, Session<f64, Reference>) {
    let compiled = Compiled::new(network(given), sgd(), None, 1);
    let mut session = Session::new(compiled.program.clone(), Reference);
    initialise(&mut session, &compiled.init, 0, 3);
    // Off their special values, so that a missing factor shows.
    for (stream, id) in compiled.program.graph().params().enumerate().collect::<Vec<_>>() {
        let mut noise = vec![0.0f32; session.get(id, 0).len()];
        Stream::new(9, stream as u32).fill_normal(0, &mut noise);
        for (x, n) in session.get_mut(id, 0).iter_mut().zip(noise) {
            *x += 0.1 * f64::from(n);
        }
    }
    let (inputs, targets) = session.two_tokens_mut(compiled.inputs, compiled.targets, 0);
    for (i, (x, y)) in inputs.iter_mut().zip(targets).enumerate() {
        (*x, *y) = ((i as u32 * 5 + 2) % 7, (i as u32 * 3 + 1) % 7);
    }
    session.set_randomness(0, 17, 2);
    (compiled, session)
}

#[test]
fn whole_models_match_finite_differences() {
    for given in variants() {
        let (c, mut session) = prepared(&given);
        session.run(c.gradients);
        let graph = c.program.graph();
        for param in graph.params().collect::<Vec<_>>() {
            let derived = session.get(graph.grad_of(param).unwrap(), 0).to_vec();
            // Some elements of every parameter.
            for i in (0..derived.len()).step_by(derived.len().div_ceil(7)) {
                let x = session.get(param, 0)[i];
                let mut at = |x: f64| {
                    session.get_mut(param, 0)[i] = x;
                    session.run(c.gradients);
                    session.output(c.gradients, c.loss, 0)[0]
                };
                let h = 1e-6;
                let numeric = (at(x + h) - at(x - h)) / (2.0 * h);
                at(x);
                let name = &graph.tensor(param).name;
                let tolerance = 1e-8 + 1e-5 * derived[i].abs();
                assert!(
                    (numeric - derived[i]).abs() <= tolerance,
                    "{given:?} {name}[{i}]: {numeric} against {}",
                    derived[i]
                );
            }
        }
    }
}

/// Bits of three steps' losses, norms and parameters, of a validation loss and of the hidden tensors, of each run; their
/// seeds count from `first`.
fn bits<K: Ops<f32>>(c: &Compiled, program: Program, ops: K, first: u64) -> Vec<Vec<u32>> {
    let runs = 0..program.runs();
    let mut session = Session::new(Arc::new(program), ops);
    for r in runs.clone() {
        initialise(&mut session, &c.init, r, first + r as u64);
        session.set_scalars(r, [0.1]);
    }
    let mut seen = vec![Vec::new(); runs.len()];
    for step in 0..3 {
        for r in runs.clone() {
            let seed = first + r as u64;
            let (inputs, targets) = session.two_tokens_mut(c.inputs, c.targets, r);
            for (i, (x, y)) in inputs.iter_mut().zip(targets).enumerate() {
                (*x, *y) = ((i as u32 * 5 + step) % 7, (i as u32 * 3 + 2 * step + seed as u32) % 7);
            }
            session.set_randomness(r, seed, step);
        }
        session.run(c.train);
        for (r, seen) in seen.iter_mut().enumerate() {
            seen.extend([c.loss, c.grad_norm].map(|id| session.output(c.train, id, r)[0]));
            seen.extend(session.flat_params(r));
        }
    }
    session.run(c.evaluate);
    for (r, seen) in seen.iter_mut().enumerate() {
        seen.push(session.output(c.evaluate, c.eval_loss, r)[0]);
    }
    session.run(c.gradients);
    for (r, seen) in seen.iter_mut().enumerate() {
        c.hidden.iter().for_each(|id| seen.extend(session.output(c.gradients, *id, r)));
    }
    seen.into_iter().map(|run| run.into_iter().map(canonical_bits).collect()).collect()
}

#[test]
fn micro_batches_have_the_bits_of_the_whole_alone_and_in_a_cohort() {
    // Micro-batches of 64 and 32 rows, whose column sums go on, and of 16 and 8, whose do not; 3 does not divide.
    let shape = Shape { batch: 16, seq: 8, vocab: 7, targets: 8, label_smoothing: 0.1 };
    for given in variants() {
        let compiled = |runs: usize| match model("transformer", &given).build(&shape) {
            Ok(Built::Network(network)) => Compiled::new(*network, sgd(), Some(0.5), runs),
            _ => unreachable!("a network"),
        };
        let (alone, pair) = (compiled(1), compiled(2));
        let whole = [3, 4].map(|seed| bits(&alone, alone.program.in_micro_batches(1), Reference, seed).swap_remove(0));
        assert!(whole[0] != whole[1], "two runs");
        for count in [1, 2, 3, 4, 8, 16] {
            let program = |c: &Compiled| c.program.in_micro_batches(count);
            let cpu = Cpu::new(Simd::detect());
            assert!(bits(&alone, program(&alone), Reference, 3) == whole[..1], "{count} micro-batches, {given:?}");
            assert!(bits(&alone, program(&alone), cpu, 3) == whole[..1], "{count} micro-batches, SIMD, {given:?}");
            assert!(bits(&pair, program(&pair), cpu, 3) == whole, "{count} micro-batches, two runs, {given:?}");
        }
        let (four, one) = (alone.program.in_micro_batches(4).arena_bytes(), alone.program.arena_bytes());
        assert!(four < one, "{four} bytes are not fewer than {one}");
    }
}

#[test]
fn counts_match_the_graph() {
    for given in variants() {
        let m = model("transformer", &given);
        let net = network(&given);
        let counted: usize = net.graph.params().map(|p| net.graph.tensor(p).len()).sum();
        assert_eq!(m.parameters(SHAPE.vocab, SHAPE.seq), counted as u64, "{given:?}");
        let compiled = Compiled::new(net, sgd(), None, 1);
        let flops = compiled.program.gemm_flops(compiled.train) as f64;
        // The first layer's input needs a gradient (embeddings are learned), so nothing is left out.
        assert_eq!(m.step_flops(SHAPE.batch, SHAPE.vocab, SHAPE.seq), flops, "{given:?}");
        // What a run's FLOPs are counted from: a forward pass is a third of a step.
        let of = |entry| compiled.program.gemm_flops(entry) as f64;
        assert_eq!((of(compiled.evaluate) * 3.0, of(compiled.gradients)), (flops, flops), "{given:?}");
    }
}

#[test]
fn a_run_costs_its_steps_evaluations_and_probes() {
    let spec = |name: &str| Spec { name: name.into(), params: Params::default() };
    let checkpoint = Start::Checkpoint { run: RunId("0".into()), step: 1, optimizer_state: false };
    let of = |steps, every, probe: &str, sets, start: &Start| {
        let ints = [("steps", steps), ("eval_every", every), ("batch", 2), ("eval_sequences", 6)];
        let mut train: Params = Params(ints.map(|(key, x)| (key.to_string(), Scalar::Int(x))).into());
        train.0.insert("probe".into(), Scalar::Text(probe.into()));
        let (model, task) = (spec("m"), spec("t"));
        let recipe = Recipe { model, task, optimizer: spec("o"), schedule: spec("s"), train };
        run_flops(&Run { recipe, seed: 1, data_seed: 1, start: start.clone() }, sets, 6.0)
    };
    let flops = |steps, every, probe| of(steps, every, probe, 1, &Start::Fresh);
    // Three evaluation batches, each a third of a step.
    assert_eq!(flops(0, 0, "none"), 6.0);
    assert_eq!(flops(0, 5, "signal"), 12.0);
    assert_eq!(flops(10, 0, "none"), 66.0);
    assert_eq!(flops(10, 5, "none"), 72.0);
    assert_eq!(flops(11, 5, "signal"), 66.0 + 18.0 + 12.0);
    // A named validation set doubles them; a run that goes on has one more, at its start.
    assert_eq!(of(10, 5, "none", 2, &Start::Fresh), 60.0 + 24.0);
    assert_eq!(of(10, 5, "none", 2, &checkpoint), 60.0 + 36.0);
    assert_eq!(of(0, 0, "none", 2, &checkpoint), 6.0);
}

#[test]
fn a_causal_model_does_not_see_the_future() {
    let (c, mut session) = prepared(&variants()[0]);
    session.run(c.gradients);
    let last = *c.hidden.last().unwrap();
    let before = session.output(c.gradients, last, 0).to_vec();
    let (inputs, _) = session.two_tokens_mut(c.inputs, c.targets, 0);
    inputs[3] = (inputs[3] + 1) % 7;
    session.run(c.gradients);
    let after = session.output(c.gradients, last, 0);
    let width = 6;
    assert_eq!(before[..3 * width], after[..3 * width], "positions before the change");
    assert_ne!(before[3 * width..4 * width], after[3 * width..4 * width], "the changed position");
    assert_eq!(before[5 * width..], after[5 * width..], "the other sequence");
}

#[test]
fn uniform_attention_starts_with_zero_queries_and_keys() {
    let given = [("layers", Scalar::Int(1)), ("width", Scalar::Int(4)), ("uniform_attention", Scalar::Flag(true))];
    let compiled = Compiled::new(network(&given), sgd(), None, 1);
    let mut session: Session<f64, Reference> = Session::new(compiled.program.clone(), Reference);
    initialise(&mut session, &compiled.init, 0, 3);
    let w = compiled.program.graph().param_named("block.0.attn.w_qkv").unwrap();
    for row in session.get(w, 0).chunks_exact(12) {
        assert!(row[..8].iter().all(|x| *x == 0.0) && row[8..].iter().all(|x| *x != 0.0));
    }
}

#[test]
fn parameter_ranges_are_stated() {
    for entry in MODELS {
        for def in entry.params {
            assert!(!def.doc.is_empty(), "{} {}", entry.name, def.name);
            if let (ParamKind::Choice(words), Preset::Text(word)) = (def.kind, def.default) {
                assert!(words.contains(&word), "{} {}", entry.name, def.name);
            }
        }
    }
}
