//! Words, exit codes, and what stands on stdout.

use crate::support::{Lab, said};
use preheat_kernels::cpu::Simd;

#[test]
fn a_wrong_command_is_2_and_says_nothing_on_stdout() {
    let lab = Lab::new();
    let wrong: &[(&[&str], &str)] = &[
        (&["--device", "tpu"], "tpu"),
        (&["--math", "fast"], "--math exact"),
        (&["--jobs", "0"], "0"),
        (&["--filter", "a,,b"], "--filter"),
        (&["--task", "text=no/such/file"], "no/such/file"),
        (&["--task", "audio=x"], "text=FILE"),
        (&["--seeds", "1000"], "seeds"),
        (&["nosuch"], "allowed: tiny"),
        (&["--tier", "huge"], "--tier"),
    ];
    for (words, expected) in wrong {
        let done = lab.bench(&[&["--format", "json"], *words].concat());
        done.exits(2).says(&[expected]);
        assert_eq!(done.stdout, "", "{words:?}");
    }
    said(lab.command(&["bench", "--suites", "nowhere"])).exits(2).says(&["nowhere"]);
}

#[test]
fn a_forced_simd_path_that_is_unknown_is_2_and_every_known_one_has_the_same_bits() {
    let lab = Lab::new();
    let forced = |simd: &str, store: &str| {
        let mut command = lab.bench_command(store, &["--format", "json"]);
        said({
            command.env("PREHEAT_SIMD", simd);
            command
        })
    };
    forced("mmx", "a").exits(2).says(&["mmx"]);
    let fastest = forced("", "a");
    let scalar = forced("scalar", "a");
    fastest.exits(3);
    assert_eq!(scalar.trained(), 6, "a record of one path never answers for another");
    assert_eq!(fastest.stdout, scalar.stdout);
}

#[test]
fn a_forced_simd_path_that_this_machine_lacks_is_2_with_one_line_and_trains_nothing() {
    let absent: Vec<Simd> = Simd::ALL.into_iter().filter(|simd| !simd.is_available()).collect();
    assert!(!absent.is_empty(), "no machine has the instructions of two architectures");
    for simd in absent {
        let lab = Lab::new();
        let mut command = lab.bench_command("store", &["--format", "json"]);
        command.env("PREHEAT_SIMD", simd.name());
        let done = said(command);
        done.exits(2).says(&[&format!("PREHEAT_SIMD={simd}: this machine lacks it; it has "), "scalar"]);
        assert_eq!((done.stdout.as_str(), done.stderr.trim_end().lines().count()), ("", 1), "{}", done.stderr);
        assert!(!lab.path("store").exists(), "{simd}: nothing is written");
    }
}

#[test]
fn a_device_that_is_not_there_is_5_and_json_still_stands_on_stdout() {
    let done = Lab::new().bench(&["--device", "cuda", "--format", "json"]);
    done.exits(5).says(&["cuda"]);
    assert_eq!(done.json()["exit"], 5);
}

#[test]
fn nothing_selected_is_4() {
    let lab = Lab::new();
    let smoke = ["--tier", "smoke", "--filter"];
    let words = [&[&smoke[..], &["nosuch"]].concat()[..], &[&smoke[..], &["width=999"]].concat(), &["--tier", "paper"]];
    for words in words {
        let done = said(lab.command(&[&["bench", "--suites", "suites", "--format", "json"], words].concat()));
        assert_eq!(done.json()["exit"], 4, "{words:?}");
        done.exits(4).says(&["nothing selected"]);
    }
    assert!(!lab.path("target").exists(), "nothing is written where nothing is selected");
}

#[test]
fn results_do_not_depend_on_jobs_and_stdout_holds_nothing_else() {
    let lab = Lab::new();
    let one = said(lab.bench_command("one", &["--jobs", "1", "--format", "json"]));
    let three = said(lab.bench_command("three", &["--jobs", "3", "--format", "json"]));
    one.exits(3);
    assert_eq!(one.stdout, three.stdout);
    let suite = &one.json()["suites"][0];
    assert_eq!(suite["runs"].as_array().map(Vec::len), Some(6));
    assert_eq!(suite["cells"].as_array().map(Vec::len), Some(2));
    assert_eq!(suite["cells"][0]["metrics"]["val_loss"]["n"], 2);
}

#[test]
fn every_format_is_the_same_result() {
    let lab = Lab::new();
    let table = lab.bench(&[]);
    assert!(table.exits(3).stdout.contains("tiny (smoke): A tiny suite"), "{table:?}");
    assert!(table.stdout.contains("(n=2)") && !table.stdout.contains('│'), "plain where stdout is a pipe: {table:?}");
    let markdown = lab.bench(&["--format", "markdown"]);
    assert!(markdown.stdout.contains("### tiny (smoke)"), "{markdown:?}");
    let csv = lab.bench(&["--format", "csv"]);
    assert!(csv.stdout.starts_with("suite,tier,row,"), "{csv:?}");
    let junit = lab.bench(&["--format", "junit"]);
    assert!(junit.stdout.starts_with("<?xml") && junit.stdout.contains(r#"<testsuite name="tiny.smoke" tests="2""#));
    assert_eq!((table.trained(), markdown.trained(), csv.trained()), (6, 0, 0));
}

#[test]
fn a_part_is_not_compared_and_is_0() {
    let lab = Lab::new();
    lab.bench(&["--filter", "pre"]).exits(0).says(&["not compared", "--filter"]);
    lab.bench(&["--seeds", "1"]).exits(0).says(&["not compared", "--seeds"]);
    let filtered = lab.bench(&["--filter", "post", "--filter", "training", "--format", "json"]).json();
    let arms: Vec<_> = filtered["suites"][0]["cells"].as_array().unwrap().iter().map(|c| &c["arm"]).collect();
    assert_eq!(arms, ["post"]);
}

#[test]
fn a_text_of_your_own_is_hashed_and_a_changed_one_is_another_run() {
    let lab = Lab::new();
    lab.write("book.txt", &"It was the best of times, it was the worst of times. ".repeat(200));
    let first = lab.bench(&["--task", "text=book.txt", "--format", "json"]);
    first.exits(0).says(&["not compared", "--task"]);
    assert_eq!(first.trained(), 6);
    assert_eq!(lab.bench(&["--task", "text=book.txt"]).trained(), 0);
    lab.write("book.txt", &"It was the age of wisdom, it was the age of foolishness. ".repeat(200));
    let second = lab.bench(&["--task", "text=book.txt", "--format", "json"]);
    assert_eq!(second.trained(), 6);
    assert_ne!(first.json()["suites"][0]["digest"], second.json()["suites"][0]["digest"]);
    lab.write("book.txt", "short");
    lab.bench(&["--task", "text=book.txt"]).exits(2).says(&["book.txt"]);
}

#[test]
fn list_and_verify_keep_nothing() {
    let lab = Lab::new();
    let list = lab.bench(&["--list", "--format", "json"]);
    list.exits(0).says(&["assumed"]);
    let rows = list.json();
    assert_eq!((&rows[0]["runs"], &rows[0]["cells"], &rows[0]["stage"]), (&6.into(), &2.into(), &1.into()));
    assert!(rows[0]["flops"].as_f64().unwrap() > 0.0);
    lab.bench(&["--verify"]).exits(0).says(&["6 runs built"]);
    assert!(!lab.path("store").exists());
}

#[test]
fn help_and_version_are_answers() {
    let lab = Lab::new();
    for words in [&["--help"][..], &["--version"], &["bench", "--help"]] {
        let done = said(lab.command(words));
        assert!(!done.exits(0).stdout.is_empty());
    }
    said(lab.command::<&str>(&[])).exits(2);
}

#[test]
fn a_step_is_timed_or_its_shape_is_refused_in_one_line() {
    let lab = Lab::new();
    let step = |heads: &str, more: &[&str]| {
        let shape = ["perf", "step", "--layers", "1", "--width", "6", "--seq", "5", "--batch", "2", "--vocab", "7"];
        said(lab.command(&[&shape[..], &["--steps", "2", "--format", "json", "--heads", heads], more].concat()))
    };
    let timed = step("3", &[]);
    timed.exits(0);
    assert_eq!((timed.json()["steps"].as_u64(), timed.json()["heads"].as_u64()), (Some(2), Some(3)));
    let together = step("3", &["--jobs", "2", "--placement", "post-ln"]);
    assert_eq!(together.exits(0).json()["jobs"], 2);
    for (heads, expected) in
        [("4", "--width: 6 is not divisible by heads 4"), ("0", "--heads: is 0"), ("-1", "--heads: is -1")]
    {
        let refused = step(heads, &[]);
        refused.exits(2).says(&["perf step", expected, "; allowed: "]);
        assert_eq!((refused.stdout.as_str(), refused.stderr.lines().count()), ("", 1), "{refused:?}");
    }
}

#[test]
fn a_base_that_cannot_time_steps_is_3_and_json_still_stands_on_stdout() {
    let lab = Lab::new();
    let against = |more: &[&str]| said(lab.command(&[&["perf", "--against", "v0", "--format", "json"], more].concat()));
    let done = against(&["--base", "no/such/build"]);
    done.exits(3).says(&["v0"]);
    assert_eq!(done.json()["exit"], 3);
    // Only the door builds other revisions.
    let done = against(&[]);
    done.exits(2).says(&["cargo xtask perf --against v0"]);
    assert_eq!(done.stdout, "");
}

#[test]
fn a_list_is_printed_as_asked_and_a_verification_has_nothing_to_print() {
    let lab = Lab::new();
    let listed = lab.bench(&["--list", "--format", "csv"]);
    let lines: Vec<&str> = listed.exits(0).stdout.lines().collect();
    assert_eq!(lines[0], "suite,tier,stage,experiments,runs,cells,flops,seconds");
    assert!(lines.len() == 2 && lines[1].starts_with("tiny,smoke,1,training,6,2,"), "{listed:?}");
    for format in ["json", "csv", "markdown"] {
        lab.bench(&["--verify", "--format", format]).exits(2).says(&["--format", "--verify prints no table"]);
    }
}

#[test]
fn a_run_without_memory_is_5_and_named() {
    let huge = "{layers: 1024, width: 65536, heads: 2}";
    let suite = crate::support::tiny(4).replace("{layers: 1, width: 8, heads: 2}", huge);
    let lab = Lab::with(&suite);
    let done = lab.bench(&["--seeds", "1", "--filter", "pre", "--jobs", "1"]);
    done.exits(5).says(&["tiny/training/pre seed 1: ", "there is no memory for its", "GB"]);
}

#[test]
fn commands_that_look_through_all_tiers_say_nothing_of_those_that_suites_lack() {
    let lab = Lab::new();
    lab.write(
        "suites/other.yaml",
        &crate::support::tiny(4).replace("suite: tiny", "suite: other").replace("smoke", "quick"),
    );
    for words in [&["doctor", "--store", "store"][..], &["export", "tiny/nosuch/x"]] {
        let done = said(lab.command(&[words, &["--suites", "suites"]].concat()));
        assert!(!done.stderr.contains("left out"), "{done:#?}");
    }
    said(lab.command(&["bench", "--suites", "suites", "--tier", "smoke", "--list"]))
        .exits(0)
        .says(&["left out", "other"]);
}
