//! Files of one's own: read with distrust, pinned, and part of what a record answers for.

use crate::support::{Lab, Said, said, tiny};
use std::fs;

/// An llm.c shard of u16 tokens whose header states `stated`.
fn shard(magic: i32, version: i32, stated: i32, tokens: &[u16]) -> Vec<u8> {
    let mut bytes: Vec<u8> = [magic, version, stated].iter().flat_map(|x| x.to_le_bytes()).collect();
    bytes.resize(1024, 0);
    bytes.extend(raw(tokens));
    bytes
}

fn raw(tokens: &[u16]) -> Vec<u8> {
    tokens.iter().flat_map(|t| t.to_le_bytes()).collect()
}

/// Enough for training and validation, all below 50.
fn tokens() -> Vec<u16> {
    (0..1500_u32).map(|i| (i * i % 50) as u16).collect()
}

/// `preheat data WORDS…` in the lab's folder.
fn data(lab: &Lab, words: &[&str]) -> Said {
    said(lab.command(&[&["data"], words].concat()))
}

/// A lab whose suite reads `task`.
fn lab(task: &str) -> Lab {
    let suite = tiny(4);
    let with = suite.replace("{language: {vocab: 16, seq: 8}}", task);
    assert_ne!(suite, with);
    Lab::with(&with)
}

/// A bench that is refused with exactly this line and writes nothing.
#[track_caller]
fn refused(lab: &Lab, words: &[&str], expected: &str) {
    let done = lab.bench(&[words, &["--format", "json"]].concat());
    done.exits(2);
    assert_eq!((done.stderr.as_str(), done.stdout.as_str()), (format!("preheat: {expected}\n").as_str(), ""));
    assert!(!lab.path("store").exists(), "nothing is written for data that do not hold");
}

#[test]
fn each_bad_file_is_one_line_and_2() {
    let good = tokens();
    let cases: &[(&str, Vec<u8>, &str, &str)] = &[
        ("a.bin", vec![], "", "path: a.bin: is empty"),
        ("a.bin", vec![1; 3001], "", "path: a.bin: 3001 bytes, an odd number; nanoGPT's tokens take two each"),
        (
            "a.bin",
            shard(20_240_520, 1, i32::MAX, &good),
            "",
            "path: a.bin: the header states 2147483647 tokens, the file holds 1500",
        ),
        (
            "a.bin",
            shard(20_240_520, 1, 1499, &good),
            "",
            "path: a.bin: the header states 1499 tokens, the file holds 1500",
        ),
        ("a.bin", shard(20_240_520, 1, -1, &good), "", "path: a.bin: the header states -1 tokens, the file holds 1500"),
        (
            "a.bin",
            shard(20_240_520, 2, 1500, &good),
            "",
            "path: a.bin: version 2 of magic 20240520 is unknown; allowed: 1",
        ),
        (
            "a.bin",
            shard(5, 1, 1500, &good),
            ",format=llmc",
            "path: a.bin: magic 5 is unknown; allowed: 20240520 (u16), 20240801 (u32)",
        ),
        (
            "a.bin",
            shard(20_240_522, 1, 1500, &good),
            "",
            "path: a.bin: magic 20240522 is llm.c's evaluation file, which holds questions and no stream of tokens",
        ),
        (
            "a.bin",
            raw(&good),
            ",vocab=49",
            "vocab: a.bin: token 49 at position 7 is not below the vocabulary 49; allowed: 50 to 1048576, or 0 for what the file needs",
        ),
        ("a.bin", raw(&good[..60]), "", "seq: a.bin: the training part has 57 tokens, 65 are needed"),
        ("a.bin", raw(&good[..90]), "", "validation: a.bin: the validation part has 4 tokens, 257 are needed"),
        ("a.txt", b"\xff".to_vec(), "", "path: a.txt: not UTF-8 at byte 0"),
        ("a.npy", vec![0; 9], "", "format: auto knows no format for a.npy; allowed: llmc, nanogpt, text"),
    ];
    let lab = Lab::new();
    for (name, bytes, options, expected) in cases {
        fs::write(lab.path(name), bytes).expect("a writable file");
        refused(&lab, &["--task", &format!("tokens={name}{options}")], &format!("tiny: task.{expected}"));
    }
    fs::create_dir(lab.path("folder")).expect("a folder");
    refused(&lab, &["--task", "tokens=folder"], "--task tokens=FILE: folder: is a directory");
    let missing = "--task tokens=FILE: none.bin: No such file or directory (os error 2)";
    refused(&lab, &["--task", "tokens=none.bin"], missing);
    fs::File::create(lab.path("large.bin")).and_then(|file| file.set_len(1 << 40)).expect("a hole");
    refused(
        &lab,
        &["--task", "tokens=large.bin"],
        "--task tokens=FILE: large.bin: has 1099511627776 bytes; allowed: at most 8589934592, e.g. one shard",
    );
}

#[test]
fn a_pinned_file_that_is_another_is_refused_with_both_hashes() {
    let stated = "0f".repeat(32);
    let lab = lab(&format!("{{tokens: {{path: a.bin, sha256: {stated}, vocab: 50, seq: 8, validation: 0.1}}}}"));
    refused(&lab, &[], "tiny: task.path: a.bin: No such file or directory (os error 2)");
    fs::write(lab.path("a.bin"), raw(&tokens())).expect("a writable file");
    let pinned = data(&lab, &["pin", "a.bin"]);
    let found = pinned.exits(0).stdout.split("sha256: \"").nth(1).map(|rest| rest[..64].to_string()).expect("a hash");
    refused(&lab, &[], &format!("tiny: task.sha256: a.bin has {found}, the suite states {stated}"));
    let checked = data(&lab, &["check", "--suites", "suites"]);
    checked.exits(2).says(&["tiny: task.sha256", &found, &stated]);
    assert_eq!((checked.stderr.lines().count(), checked.stdout.as_str()), (1, ""));
    lab.write("suites/tiny.yaml", &lab.read("suites/tiny.yaml").replace(&stated, &found));
    data(&lab, &["check", "--suites", "suites"]).exits(0);
    lab.bench(&["--verify"]).exits(0);
    data(&lab, &["check", "nosuch", "--suites", "suites"]).exits(2).says(&["allowed: tiny"]);
    data(&lab, &["pin", "a.bin", "none"]).exits(2).says(&["none: No such file"]);
    assert_eq!(data(&Lab::new(), &["check", "--suites", "suites"]).exits(0).stdout, "no suite here names a file\n");
}

#[test]
fn one_text_of_tokens_is_the_same_training_whatever_holds_it() {
    let lab = Lab::new();
    fs::write(lab.path("a.bin"), raw(&tokens())).expect("a writable file");
    fs::write(lab.path("shard"), shard(20_240_520, 1, 1500, &tokens())).expect("a writable file");
    let digests = |file: &str| {
        let done = lab.bench(&["--task", &format!("tokens={file},seq=8,validation=0.1"), "--format", "json"]);
        done.exits(0).says(&["not compared", "--task"]);
        assert_eq!(done.trained(), 6, "a record of one file never answers for another");
        let runs = done.json()["suites"][0]["runs"].clone();
        let digests: Vec<_> = runs.as_array().expect("runs").iter().map(|run| run["digest"].clone()).collect();
        assert!(digests.len() == 6 && digests.iter().all(|d| d.is_string()), "{runs}");
        digests
    };
    let raw_digests = digests("a.bin");
    assert_eq!(raw_digests, digests("shard"));
    let again = lab.bench(&["--task", "tokens=shard,seq=8,validation=0.1"]);
    assert_eq!(again.trained(), 0);
    // One token of the training part changes, the name stays.
    let mut other = tokens();
    other[3] = 44;
    fs::write(lab.path("a.bin"), raw(&other)).expect("a writable file");
    assert_ne!(raw_digests, digests("a.bin"));
}
