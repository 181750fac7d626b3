//! Definitions that do not hold: exit 2, nothing on stdout, and one line on stderr with file, line, key and what is
//! allowed. Every message has its own test in `suites/tests/definition`; here it is met through the built binary.

use crate::support::{Lab, said, tiny};

/// `tiny.yaml` after `edit`, a fresh lab each: the line must be exactly `preheat: suites/tiny.yaml:EXPECTED`.
#[track_caller]
fn check(edit: impl FnOnce(&str) -> String, expected: &str) {
    let good = tiny(4);
    let bad = edit(&good);
    assert_ne!(good, bad, "the edit changes something");
    let lab = Lab::with(&bad);
    for more in [&["--format", "json"][..], &["--list"]] {
        let done = lab.bench(more);
        done.exits(2);
        assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("", &*format!("preheat: suites/tiny.yaml:{expected}\n")));
    }
    assert!(!lab.path("store").exists(), "nothing is written for a definition that does not hold");
}

/// Replaces the first `good` by `bad`.
fn put<'t>(good: &'t str, bad: &'t str) -> impl FnOnce(&str) -> String + use<'t> {
    move |text| text.replacen(good, bad, 1)
}

/// From `from` to before `to`, twice.
fn twice<'t>(from: &'t str, to: &'t str) -> impl FnOnce(&str) -> String + use<'t> {
    move |text| {
        let start = text.find(from).expect(from);
        let end = text[start..].find(to).map_or(text.len(), |i| start + i);
        format!("{}{}", &text[..end], &text[start..])
    }
}

#[test]
fn unknown_keys() {
    check(put("prose:", "prsoe:"), "?");
    check(put("heads: 2", "haeds: 2"), "?");
    check(put("first: 1,", "frist: 1,"), "?");
}

#[test]
fn wrong_types() {
    check(put("width: 8", "width: wide"), "?");
    check(put("steps: 4", "steps: 4.5"), "?");
    check(put("seeds: {first: 1, count: 2}", "seeds: [1, 2]"), "?");
}

#[test]
fn unknown_names_list_the_nearest_first() {
    check(put("adam: {}", "sdg: {}"), "?");
    check(put("adam: {}", "adamv: {}"), "?");
    check(put("norm: post-ln", "norm: middle-ln"), "?");
    check(put("suite: tiny", "suite: other"), "?");
}

#[test]
fn a_width_that_heads_do_not_divide() {
    check(put("width: 8", "width: 9"), "?");
}

#[test]
fn rates_that_are_no_rates() {
    check(put("peak_lr: 3e-3", "peak_lr: .nan"), "?");
    check(put("peak_lr: 3e-3", "peak_lr: -3e-3"), "?");
    check(put("peak_lr: 3e-3", "peak_lr: .inf"), "?");
    check(put("peak_lr: 3e-3", "peak_lr: 0"), "?");
}

#[test]
fn a_warm_up_longer_than_the_run() {
    check(put("warmup_steps: 0", "warmup_steps: 5"), "?");
}

#[test]
fn duplicate_ids() {
    check(twice("  - id: training", "claims:"), "?");
    check(twice("  - id: post-needs-more", "~"), "?");
}

#[test]
fn empty_grids() {
    check(put("    tiers:", "    grid: {schedule.peak_lr: []}\n    tiers:"), "?");
    check(put("smoke: {}", "smoke: {grid: {schedule.peak_lr: []}}"), "?");
}

#[test]
fn duplicate_keys() {
    check(put("title: A tiny suite", "title: A\ntitle: B"), "?");
    check(put("width: 8", "width: 8, width: 8"), "?");
}

#[test]
fn a_bomb_of_aliases() {
    let level = |i: usize| format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 10].join(", "));
    let bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_string() + &(1..12).map(level).collect::<String>();
    check(|_| bomb, "?");
    check(put("title: A tiny suite", &format!("title: {}", "[".repeat(10_000))), "?");
}

#[test]
fn one_bad_file_stops_all_and_each_good_one_stays_good() {
    let lab = Lab::new();
    lab.write("suites/second.yaml", &tiny(4).replace("suite: tiny", "suite: second").replace("heads: 2", "heads: 3"));
    let done = lab.bench(&[]);
    done.exits(2).says(&["suites/second.yaml:9:", "heads 3"]);
    assert_eq!((done.stdout.as_str(), done.stderr.lines().count()), ("", 1));
    std::fs::remove_file(lab.path("suites/second.yaml")).expect("removable");
    said(lab.bench_command("store", &["--list"])).exits(0);
}
