//! The sources that a device compiles: the kernels' files, and what is generated from a program.

/// One translation unit, complete: it includes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// The name that a compiler's messages carry.
    pub name: String,
    /// CUDA C++17 without system headers.
    pub text: String,
}

impl Unit {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_found_with_and_without_bounds() {
        let text =
            "extern \"C\" __global__ void a(A x) {}\nextern \"C\" __global__ void __launch_bounds__(256) b_2(B x) {}";
        let unit = Unit { name: "x.cu".into(), text: text.into() };
        assert_eq!(unit.kernels(), ["a", "b_2"]);
    }
}
