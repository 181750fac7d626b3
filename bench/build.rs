//! Puts the code id, the commit and the compiler into the binary.

use std::path::Path;
use std::process::Command;

#[path = "src/store/code_id.rs"]
#[expect(unreachable_pub, reason = "the lab's tests share this file")]
mod code_id;

fn main() {
    let manifest = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let root = Path::new(&manifest).parent().expect("bench lies in the workspace");
    for input in code_id::INPUTS {
        println!("cargo::rerun-if-changed={}", root.join(input).display());
    }
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src");
    let id = code_id::code_id(root).unwrap_or_else(|e| panic!("the sources of kernels and suites: {e}"));
    println!("cargo::rustc-env=PREHEAT_CODE_ID={id}");

    let git = |words: &[&str]| output(Command::new("git").arg("-C").arg(root).args(words));
    // The log of HEAD moves with every commit and checkout; without git the commit is unknown.
    if let Some(log) = git(&["rev-parse", "--path-format=absolute", "--git-path", "logs/HEAD"])
        && Path::new(&log).exists()
    {
        println!("cargo::rerun-if-changed={log}");
    }
    let commit = git(&["rev-parse", "HEAD"]).unwrap_or_else(|| "unknown".into());
    let dirty = git(&["status", "--porcelain"]).is_some_and(|x| !x.is_empty());
    let rustc = std::env::var("RUSTC").expect("cargo sets it");
    let rustc = output(Command::new(rustc).arg("--version")).unwrap_or_else(|| "unknown".into());
    println!("cargo::rustc-env=PREHEAT_COMMIT={commit}");
    println!("cargo::rustc-env=PREHEAT_DIRTY={dirty}");
    println!("cargo::rustc-env=PREHEAT_RUSTC={rustc}");
}

/// A command's trimmed stdout, where it succeeds.
fn output(command: &mut Command) -> Option<String> {
    let out = command.output().ok().filter(|out| out.status.success())?;
    Some(String::from_utf8_lossy(&out.stdout).trim().to_string())
}
