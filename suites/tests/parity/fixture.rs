//! What PyTorch recorded, and our registered things built with its coefficients.

use preheat_suites::optimizers::{OPTIMIZERS, Optimizer};
use preheat_suites::registry::{self, Entry, Params, Preset, Scalar, Spec};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::path::Path;

/// What PyTorch recorded.
pub(crate) struct Fixture {
    bytes: Vec<u8>,
    pub(crate) recipe: Value,
}

impl Fixture {
    pub(crate) fn open(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../tests/parity/fixtures/{name}.safetensors"));
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let (_, header) = SafeTensors::read_metadata(&bytes).expect("a safetensors file");
        let recipe = &header.metadata().as_ref().expect("metadata")["recipe"];
        let recipe = serde_json::from_str(recipe).expect("the recipe is JSON");
        Self { bytes, recipe }
    }
    pub(crate) fn int(&self, key: &str) -> usize {
        self.recipe[key].as_u64().unwrap_or_else(|| panic!("{key} is an integer")) as usize
    }
    pub(crate) fn real(&self, key: &str) -> f64 {
        self.recipe[key].as_f64().unwrap_or_else(|| panic!("{key} is a number"))
    }
    /// A tensor's elements; integers and f32 are exact in f64.
    pub(crate) fn tensor(&self, name: &str) -> Vec<f64> {
        let tensors = SafeTensors::deserialize(&self.bytes).expect("a safetensors file");
        let view = tensors.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}"));
        let four = |b: &[u8]| <[u8; 4]>::try_from(b).expect("four bytes");
        match view.dtype() {
            Dtype::F32 => view.data().chunks_exact(4).map(|b| f64::from(f32::from_le_bytes(four(b)))).collect(),
            Dtype::U32 => view.data().chunks_exact(4).map(|b| f64::from(u32::from_le_bytes(four(b)))).collect(),
            Dtype::F64 => {
                view.data().chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().expect("eight bytes"))).collect()
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    pub(crate) fn tensors(&self, prefix: &str) -> usize {
        let tensors = SafeTensors::deserialize(&self.bytes).expect("a safetensors file");
        tensors.names().iter().filter(|n| n.starts_with(prefix)).count()
    }

    /// The optimizer called `name` with these coefficients of `recipe`.
    pub(crate) fn optimizer(name: &str, recipe: &Value, keys: &[&str]) -> Box<dyn Optimizer> {
        let given = keys.iter().map(|&key| {
            let value = recipe[key].as_f64().unwrap_or_else(|| panic!("{key} is a number"));
            (key, Scalar::Real(value))
        });
        build("optimizer", OPTIMIZERS, name, given)
    }
}

/// The registered `name` with its defaults, and `given` over them.
pub(crate) fn build<'t, B>(
    section: &str,
    table: &'static [Entry<B>],
    name: &str,
    given: impl IntoIterator<Item = (&'t str, Scalar)>,
) -> B {
    let entry = table.iter().find(|e| e.name == name).unwrap_or_else(|| panic!("{name} is registered"));
    let mut params = Params::default();
    for def in entry.params {
        params.0.extend(preset(def.default).map(|value| (def.name.to_string(), value)));
    }
    for (key, value) in given {
        assert!(entry.params.iter().any(|def| def.name == key), "{name} has a parameter {key}");
        params.0.insert(key.to_string(), value);
    }
    registry::build(section, table, &Spec { name: name.into(), params }).unwrap_or_else(|e| panic!("{e}"))
}

fn preset(default: Preset) -> Option<Scalar> {
    match default {
        Preset::Required => None,
        Preset::Int(x) => Some(Scalar::Int(x)),
        Preset::Real(x) => Some(Scalar::Real(x)),
        Preset::Text(x) => Some(Scalar::Text(x.into())),
        Preset::Flag(x) => Some(Scalar::Flag(x)),
    }
}

/// ‖a − b‖ / ‖b‖.
pub(crate) fn distance(a: impl IntoIterator<Item = f64>, b: &[f64]) -> f64 {
    let squares = |x: f64| x * x;
    let apart: f64 = a.into_iter().zip(b).map(|(a, b)| squares(a - b)).sum();
    (apart / b.iter().map(|b| squares(*b)).sum::<f64>()).sqrt()
}
