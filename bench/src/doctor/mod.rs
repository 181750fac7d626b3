//! What this machine has, and what is missing for which command. Nothing is trained and nothing is kept.

pub mod cuda;
mod machine;
mod store;
mod suites;
mod tools;

pub use suites::Places;

use serde::Serialize;

/// How a finding stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// There, as it should be.
    Ok,
    /// A fact without a right or wrong.
    Info,
    /// Not there.
    Absent,
    /// There, and unusable.
    Bad,
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it belongs to: `simd`, `store`, …
    pub part: &'static str,
    /// What was looked at.
    pub what: String,
    /// How it stands.
    pub state: State,
    /// What was found.
    pub found: String,
}

impl Finding {
    fn new(part: &'static str, what: impl Into<String>, state: State, found: impl Into<String>) -> Self {
        Self { part, what: what.into(), state, found: found.into() }
    }
}

/// A command and what it lacks here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// The command.
    pub command: &'static str,
    /// Whether it can run.
    pub ready: bool,
    /// What is missing, one line each.
    pub missing: Vec<String>,
}

/// What a command needs: findings by part and name. One that is absent from the report counts as there.
const NEEDS: [(&str, &[(&str, &str)]); 10] = [
    ("bench", BENCH),
    ("bench --device cuda", &[("gpu", "cuda")]),
    ("accept", &[BENCH[0], BENCH[1], BENCH[2], BENCH[3], ("golden", "writable")]),
    ("report", &[("golden", "accepted")]),
    ("export", &[BENCH[0], BENCH[1], BENCH[3]]),
    ("perf", &[BENCH[0], BENCH[1]]),
    ("suites on data files", &[("data", "files")]),
    ("cargo xtask", &[("toolchain", "cargo"), ("toolchain", "rustc")]),
    (
        "tests/parity/replay.py",
        &[("tools", "python"), ("tools", "torch"), ("tools", "safetensors"), ("tools", "numpy")],
    ),
    ("cargo xtask ci", &[("toolchain", "rustfmt"), ("toolchain", "clippy")]),
];
const BENCH: &[(&str, &str)] = &[("simd", "chosen"), ("simd", "rounding"), ("store", "writable"), ("data", "suites")];

/// Looks at everything.
pub fn examine(places: &Places<'_>) -> Vec<Finding> {
    let mut all = machine::simd();
    all.extend(machine::machine());
    all.extend(store::store(places.store));
    all.extend(suites::golden(places));
    all.extend(suites::data(places));
    all.extend(tools::toolchain());
    all.extend(cuda::gpu());
    all.extend(tools::optional());
    all
}

/// What each command lacks.
pub fn readiness(findings: &[Finding]) -> Vec<Readiness> {
    let lacks = |(part, what): &(&str, &str)| {
        let finding = findings.iter().find(|f| f.part == *part && f.what == *what)?;
        matches!(finding.state, State::Absent | State::Bad).then(|| format!("{part} {what}: {}", finding.found))
    };
    let of = |&(command, needs): &(&'static str, &[(&str, &str)])| {
        let missing: Vec<String> = needs.iter().filter_map(lacks).collect();
        Readiness { command, ready: missing.is_empty(), missing }
    };
    NEEDS.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_lacks_what_it_needs_and_nothing_else() {
        let finding = |part, what: &str, state| Finding::new(part, what, state, "so");
        let mut findings = vec![
            finding("simd", "chosen", State::Ok),
            finding("store", "writable", State::Ok),
            finding("store", "free space", State::Absent),
            finding("tools", "torch", State::Absent),
            finding("golden", "writable", State::Bad),
        ];
        let lacking = |findings: &[Finding]| -> Vec<(&str, Vec<String>)> {
            let all = readiness(findings);
            assert!(all.iter().all(|r| r.ready == r.missing.is_empty()));
            all.into_iter().filter(|r| !r.ready).map(|r| (r.command, r.missing)).collect()
        };
        let two = [
            ("accept", vec!["golden writable: so".to_string()]),
            ("tests/parity/replay.py", vec!["tools torch: so".to_string()]),
        ];
        assert_eq!(lacking(&findings), two);
        findings[1].state = State::Bad;
        assert_eq!(lacking(&findings)[0], ("bench", vec!["store writable: so".to_string()]));
    }

    #[test]
    fn every_need_is_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let (store, golden) = (dir.path().join("store"), dir.path().join("golden"));
        let findings = examine(&Places { store: &store, golden: &golden, suites_dir: None });
        for (part, what) in NEEDS.iter().flat_map(|(_, needs)| *needs) {
            let count = findings.iter().filter(|f| f.part == *part && f.what == *what).count();
            assert_eq!(count, 1, "{part} {what}: {findings:#?}");
        }
        assert!(!store.exists() && !golden.exists(), "looking changes nothing");
    }
}
