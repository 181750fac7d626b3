//! One folder a test, with a small suite in it, and the built binary.

use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

/// Two arms, two claim seeds and one selection seed: six short runs.
const TINY: &str = "\
suite: tiny
title: A tiny suite
paper: {key: nobody2026, authors: Nobody, year: 2026}
prose: For tests.
experiments:
  - id: training
    about: Pre-LN and post-LN
    recipe:
      model: {transformer: {layers: 1, width: 8, heads: 2}}
      task: {language: {vocab: 16, seq: 8}}
      optimizer: {adam: {}}
      schedule: {linear: {peak_lr: 3e-3, warmup_steps: 0}}
      train: {batch: 2, steps: STEPS, eval_sequences: 4, eval_every: 0}
    arms:
      post: {model: {transformer: {norm: post-ln}}}
      pre: {model: {transformer: {norm: pre-ln}}}
    seeds: {first: 1, count: 2}
    selection_seeds: {first: 101, count: 1}
    tiers: {smoke: {}}
claims:
  - id: post-needs-more
    paper_claim: T1
    sentence: Post-LN ends higher than pre-LN.
    place: Section 1
    paper_number: \"0.5\"
    tiers: [smoke]
    kind:
      difference:
        metric: val_loss
        of: {experiment: training, arm: post}
        minus: {experiment: training, arm: pre}
        at: given
    expect: {above: 0}
";

/// The tiny suite with runs of `steps` steps.
pub(crate) fn tiny(steps: u32) -> String {
    TINY.replace("STEPS", &steps.to_string())
}

/// `preheat`, built once a test process with the tests' own profile.
pub(crate) fn preheat() -> &'static Path {
    preheat_of(!cfg!(debug_assertions))
}

/// `preheat` of the release or the debug profile, built once a test process.
pub(crate) fn preheat_of(release: bool) -> &'static Path {
    static DEBUG: OnceLock<PathBuf> = OnceLock::new();
    static RELEASE: OnceLock<PathBuf> = OnceLock::new();
    let built = if release { &RELEASE } else { &DEBUG };
    built.get_or_init(|| build("preheat-bench", "preheat", release))
}

/// The door's own program.
pub(crate) fn xtask() -> PathBuf {
    build("xtask", "xtask", !cfg!(debug_assertions))
}

/// The path of a program. Cargo's own lock is free while tests run; a second build waits for the first.
fn build(package: &str, name: &str, release: bool) -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--package", package, "--bin", name]);
    cargo.args(["--message-format", "json-render-diagnostics"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    if release {
        cargo.arg("--release");
    }
    let built = cargo.stderr(Stdio::inherit()).output().expect("cargo runs");
    assert!(built.status.success(), "{name} builds");
    let messages = String::from_utf8(built.stdout).expect("cargo's messages are UTF-8");
    let executable = messages.lines().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let named = message["target"]["name"] == name && message["target"]["kind"][0] == "bin";
        message["executable"].as_str().filter(|_| named).map(PathBuf::from)
    });
    executable.expect("cargo says where the program is")
}

/// What a command left.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Said {
    /// Stdout as one JSON document.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// How many runs were trained, by the lab's own count.
    pub(crate) fn trained(&self) -> u32 {
        let line = self.stderr.lines().find(|line| line.contains("runs trained")).unwrap_or_else(|| panic!("{self:?}"));
        line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{line}"))
    }

    /// Stderr must hold one line with all of these words.
    pub(crate) fn says(&self, words: &[&str]) -> &Self {
        let found = self.stderr.lines().any(|line| words.iter().all(|word| line.contains(word)));
        assert!(found, "no line with {words:?} in {self:#?}");
        self
    }

    pub(crate) fn exits(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }
}

/// A folder with `suites/`, `store/` and `golden/`.
pub(crate) struct Lab {
    dir: tempfile::TempDir,
}

impl Lab {
    /// With the tiny suite.
    pub(crate) fn new() -> Self {
        Self::with(&tiny(4))
    }

    /// With this text as `suites/tiny.yaml`.
    pub(crate) fn with(suite: &str) -> Self {
        let lab = Self { dir: folder() };
        fs::create_dir(lab.path("suites")).expect("a folder");
        lab.write("suites/tiny.yaml", suite);
        lab
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a writable file");
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// Files below `folder` whose names end with `end`, sorted.
    pub(crate) fn files(&self, folder: &str, end: &str) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.path(folder)) else { return Vec::new() };
        let paths = entries.map(|entry| entry.expect("a readable folder").path());
        let mut paths: Vec<_> = paths.filter(|path| path.to_string_lossy().ends_with(end)).collect();
        paths.sort();
        paths
    }

    /// `preheat WORDS…` in this folder, nothing else said.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, words: &[S]) -> Command {
        self.command_of(preheat(), words)
    }

    /// The same with another build of `preheat`.
    pub(crate) fn command_of<S: AsRef<OsStr>>(&self, executable: &Path, words: &[S]) -> Command {
        let mut command = Command::new(executable);
        command.args(words).current_dir(self.dir.path()).env_remove("PREHEAT_SIMD").env_remove("PREHEAT_DOOR");
        command.env_remove("PREHEAT_ROOT");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// `preheat bench --tier smoke` on this folder's suites, store and golden, with more words.
    pub(crate) fn bench(&self, words: &[&str]) -> Said {
        said(self.bench_command("store", words))
    }

    pub(crate) fn bench_command(&self, store: &str, words: &[&str]) -> Command {
        let own = ["bench", "--tier", "smoke", "--suites", "suites", "--store", store];
        self.command(&[&own, words].concat())
    }

    pub(crate) fn accept(&self) -> Said {
        let words = ["accept", "--tier", "smoke", "--suites", "suites", "--store", "store", "--reason", "a test"];
        said(self.command(&words))
    }
}

/// A folder in memory where there is such a place: stores sync often, and disks are slow at it.
fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let here = std::env::var_os("TMPDIR").is_none() && memory.is_dir();
    let inside = if here { tempfile::tempdir_in(memory).ok() } else { None };
    inside.unwrap_or_else(|| tempfile::tempdir().expect("a folder"))
}

/// Runs a command to its end.
pub(crate) fn said(mut command: Command) -> Said {
    wait(command.spawn().expect("preheat starts"))
}

/// Waits for a command's end.
pub(crate) fn wait(child: Child) -> Said {
    let out = child.wait_with_output().expect("preheat ends");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Said { code: out.status.code(), stdout: text(out.stdout), stderr: text(out.stderr) }
}
