//! The sources that a device compiles: the kernels' files, and what is generated from a program.

use super::arguments::declarations;
use super::constants::{constants, polynomials};
use super::update;
use crate::graph::{Op, Program};
use crate::update::UpdateExpr;
use std::collections::BTreeSet;

/// One translation unit, complete: it includes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// The name that a compiler's messages carry.
    pub name: String,
    /// CUDA C++17 without system headers.
    pub text: String,
}

impl Unit {
    /// A file behind what all share. Messages of a compiler name the file's own lines.
    pub fn new(name: &str, text: &str) -> Self {
        let (constants, structures, polynomials) = (constants(), declarations(), polynomials());
        let text = format!(
            "#line 1 \"common.cuh\"\n{COMMON}\n#line 1 \"generated.cuh\"\n{constants}{structures}{polynomials}\n\
             #line 1 \"math.cuh\"\n{MATH}\n#line 1 \"{name}\"\n{text}"
        );
        Self { name: name.into(), text }
    }
    /// Names of its kernels, in order: what stands between `extern "C" __global__ void` (with or without
    /// `__launch_bounds__(…)`) and the parameter.
    pub fn kernels(&self) -> Vec<&str> {
        let heads = self.text.split("extern \"C\" __global__ void").skip(1);
        heads.filter_map(|head| name_of(head.trim_start())).collect()
    }
}

/// The kernel's name where `head` begins with it or with its launch bounds.
fn name_of(head: &str) -> Option<&str> {
    let head = match head.strip_prefix("__launch_bounds__(") {
        Some(bounds) => bounds.split_once(')')?.1.trim_start(),
        None => head,
    };
    head.split_once('(').map(|(name, _)| name.trim_end())
}

/// All units of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// Each is compiled alone.
    pub units: Vec<Unit>,
}

/// (name, text) of the kernels' files.
const FILES: [(&str, &str); 9] = [
    ("elementwise.cu", include_str!("../../cuda/elementwise.cu")),
    ("rows.cu", include_str!("../../cuda/rows.cu")),
    ("sums.cu", include_str!("../../cuda/sums.cu")),
    ("columns.cu", include_str!("../../cuda/columns.cu")),
    ("images.cu", include_str!("../../cuda/images.cu")),
    ("bounds.cu", include_str!("../../cuda/bounds.cu")),
    ("linear_bounds.cu", include_str!("../../cuda/linear_bounds.cu")),
    ("embedding.cu", include_str!("../../cuda/embedding.cu")),
    ("matmul.cu", include_str!("../../cuda/matmul.cu")),
];
const COMMON: &str = include_str!("../../cuda/common.cuh");
const MATH: &str = include_str!("../../cuda/math.cuh");

impl Sources {
    /// All kernels' files, and one unit of the kernels of some update expressions.
    pub fn new<'a>(updates: impl IntoIterator<Item = &'a UpdateExpr>) -> Self {
        let kernels: BTreeSet<String> = updates.into_iter().map(update::kernel).collect();
        let generated = (!kernels.is_empty()).then(|| Unit::new("update.cu", &kernels.into_iter().collect::<String>()));
        let files = FILES.iter().map(|(name, text)| Unit::new(name, text));
        Self { units: files.chain(generated).collect() }
    }
    /// What a program's entries need.
    pub fn of(program: &Program) -> Self {
        let updates = program.graph().nodes().iter().filter_map(|node| match &node.op {
            Op::Update { expr, .. } | Op::Map { expr, .. } => Some(expr),
            _ => None,
        });
        Self::new(updates)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::update::UpdateBuilder;

    #[test]
    fn kernels_are_found_with_and_without_bounds() {
        let text =
            "extern \"C\" __global__ void a(A x) {}\nextern \"C\" __global__ void __launch_bounds__(256) b_2(B x) {}";
        let unit = Unit { name: "x.cu".into(), text: text.into() };
        assert_eq!(unit.kernels(), ["a", "b_2"]);
    }

    #[test]
    fn units_include_nothing_and_name_each_kernel_once() {
        let sources = Sources::new([]);
        let mut kernels: Vec<&str> = sources.units.iter().flat_map(Unit::kernels).collect();
        assert!(sources.units.iter().all(|u| !u.text.contains("#include") && !u.kernels().is_empty()));
        let count = kernels.len();
        kernels.sort_unstable();
        kernels.dedup();
        assert_eq!(kernels.len(), count, "{kernels:?}");
    }

    #[test]
    fn equal_updates_share_a_kernel() {
        let update = |x: f32| {
            let mut b = UpdateBuilder::new();
            let (p, x) = (b.param(), b.constant(x));
            let new = b.mul(p, x);
            b.finish(new, vec![])
        };
        let kernels = |updates: &[UpdateExpr]| Sources::new(updates).units.last().map(|u| u.kernels().len());
        assert_eq!(kernels(&[update(0.5), update(0.25), update(0.5)]), Some(2));
    }
}
