//! Readers that go away, and a disk that takes no result.

use crate::support::{Lab, Said, said, wait};
use std::process::{Command, Stdio};

/// A pipe without a reader.
fn broken() -> Stdio {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

fn without_readers(mut command: Command) -> Said {
    command.stdout(broken()).stderr(broken());
    wait(command.spawn().expect("preheat starts"))
}

#[test]
fn a_bench_without_readers_trains_to_its_end_and_keeps_its_exit_code() {
    let lab = Lab::new();
    without_readers(lab.bench_command("store", &[])).exits(3);
    assert_eq!(lab.files("store/records", ".record").len(), 6);
    without_readers(lab.command(&["bench", "--suites", "nowhere"])).exits(2);
    let accept = ["accept", "--tier", "smoke", "--suites", "suites", "--store", "store"];
    without_readers(lab.command(&accept)).exits(0);
    without_readers(lab.bench_command("store", &[])).exits(0);
    let export =
        ["export", "tiny/training/pre", "--seed", "1", "--tier", "smoke", "--suites", "suites", "--out", "run"];
    without_readers(lab.command(&export)).exits(0);
    without_readers(lab.command(&["data", "check", "--suites", "suites"])).exits(0);
    without_readers(lab.command(&["merge", "store", "--into", "other"])).exits(0);
}

#[cfg(target_os = "linux")]
#[test]
fn a_result_that_could_not_be_written_is_5() {
    let lab = Lab::new();
    lab.bench(&[]).exits(3);
    lab.accept().exits(0);
    for format in ["table", "json", "csv", "junit"] {
        let full = std::fs::File::options().write(true).open("/dev/full").expect("a full device");
        let mut command = lab.bench_command("store", &["--format", format]);
        command.stdout(full);
        said(command).exits(5).says(&["as golden"]).says(&["stdout: "]);
    }
}
