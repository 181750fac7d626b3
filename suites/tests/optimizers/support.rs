//! Optimizers of the registry with chosen parameters, and numbers that look like gradients.

use preheat_suites::optimizers::{OPTIMIZERS, Optimizer};
use preheat_suites::registry::{ParamKind, Params, Preset, Scalar, Spec, build};

/// `name` with its defaults, `given` over them.
pub(crate) fn spec(name: &str, given: &[(&str, Scalar)]) -> Spec {
    let entry = OPTIMIZERS.iter().find(|e| e.name == name).expect("registered");
    let mut params = Params::default();
    for def in entry.params {
        let value = match def.default {
            Preset::Int(x) => Scalar::Int(x),
            Preset::Real(x) => Scalar::Real(x),
            Preset::Text(x) => Scalar::Text(x.into()),
            Preset::Flag(x) => Scalar::Flag(x),
            Preset::Required => panic!("{} of {name} has no default", def.name),
        };
        params.0.insert(def.name.into(), value);
    }
    for (key, value) in given {
        assert!(params.0.insert((*key).into(), value.clone()).is_some(), "{name} has a parameter {key}");
    }
    Spec { name: name.into(), params }
}

pub(crate) fn optimizer(spec: &Spec) -> Box<dyn Optimizer> {
    build("optimizer", OPTIMIZERS, spec).unwrap_or_else(|e| panic!("{e}"))
}

/// Every optimizer as it is, with each word of each choice and each flag, and with weight decay.
pub(crate) fn all() -> Vec<Spec> {
    let mut specs = Vec::new();
    for entry in OPTIMIZERS {
        specs.push(spec(entry.name, &[("weight_decay", Scalar::Real(0.1))]));
        for def in entry.params {
            let values: Vec<Scalar> = match def.kind {
                ParamKind::Choice(words) => words.iter().map(|w| Scalar::Text((*w).into())).collect(),
                ParamKind::Flag => vec![Scalar::Flag(false), Scalar::Flag(true)],
                _ => continue,
            };
            specs.extend(values.into_iter().map(|value| spec(entry.name, &[(def.name, value)])));
        }
    }
    // Short enough for a test to see both phases.
    specs.push(spec("adam-2k", &[("freeze_steps", Scalar::Int(3))]));
    specs
}

/// Numbers in [−1, 1), by a linear congruential generator.
pub(crate) fn numbers(seed: u64, n: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}
