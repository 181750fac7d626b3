//! Definitions that do not hold: exit 2, nothing on stdout, and one line on stderr with file, line, key and what is
//! allowed. Every message has its own test in `suites/tests/definition`; here it is met through the built binary.

use crate::support::{Lab, said, tiny};

/// `tiny.yaml` after `edit` in a fresh lab: the one line must begin with `preheat: suites/tiny.yaml:EXPECTED`. What is
/// left out at its end is the rest of a registry's names.
#[track_caller]
fn check(edit: impl FnOnce(&str) -> String, expected: &str) {
    let good = tiny(4);
    let bad = edit(&good);
    assert_ne!(good, bad, "the edit changes something");
    let lab = Lab::with(&bad);
    for more in [&["--format", "json"][..], &["--list"]] {
        let done = lab.bench(more);
        done.exits(2);
        let rest = done.stderr.strip_prefix(&format!("preheat: suites/tiny.yaml:{expected}"));
        let whole = rest.is_some_and(|rest| rest == "\n" || expected.ends_with(", ") && rest.lines().count() == 1);
        assert!(whole && done.stdout.is_empty(), "{expected}\n{done:#?}");
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
    check(
        put("prose:", "prsoe:"),
        "4:1: prsoe: is no key here; allowed: prose, suite, title, paper, experiments, claims, rankings, fits",
    );
    check(
        put("heads: 2", "haeds: 2"),
        "9:50: experiments[0].recipe.model.transformer.haeds: unknown parameter `haeds` of model `transformer`; allowed: heads, ",
    );
    check(put("first: 1,", "frist: 1,"), "17:13: experiments[0].seeds.frist: is no key here; allowed: first, count");
}

#[test]
fn wrong_types() {
    check(
        put("width: 8", "width: wide"),
        "9:47: experiments[0].recipe.model.transformer.width: is `wide`; allowed: a whole number from 1 to 65536",
    );
    check(
        put("steps: 4", "steps: 4.5"),
        "13:32: experiments[0].recipe.train.steps: is 4.5; allowed: a whole number from 0 to 10000000",
    );
    check(
        put("seeds: {first: 1, count: 2}", "seeds: [1, 2]"),
        "17:12: experiments[0].seeds: is a list; allowed: a map of first, count",
    );
}

#[test]
fn unknown_names_list_the_nearest_first() {
    check(
        put("adam: {}", "sdg: {}"),
        "11:19: experiments[0].recipe.optimizer.sdg: unknown optimizer `sdg`; allowed: sgd, ",
    );
    check(
        put("adam: {}", "adamv: {}"),
        "11:19: experiments[0].recipe.optimizer.adamv: unknown optimizer `adamv`; allowed: adam, ",
    );
    check(
        put("norm: post-ln", "norm: middle-ln"),
        "15:42: experiments[0].arms.post.model.transformer.norm: is `middle-ln`; allowed: pre-ln, post-ln",
    );
    check(put("suite: tiny", "suite: other"), "1:8: suite: is `other`, not the file's name; allowed: tiny");
}

#[test]
fn a_width_that_heads_do_not_divide() {
    check(
        put("width: 8", "width: 9"),
        "9:47: experiments[0].recipe.model.transformer.width: 9 is not divisible by heads 2 (arm post of tier smoke); allowed: multiples of 2",
    );
}

#[test]
fn rates_that_are_no_rates() {
    check(
        put("peak_lr: 3e-3", "peak_lr: .nan"),
        "12:36: experiments[0].recipe.schedule.linear.peak_lr: is NaN, must be finite; allowed: a finite number",
    );
    check(
        put("peak_lr: 3e-3", "peak_lr: -3e-3"),
        "12:36: experiments[0].recipe.schedule.linear.peak_lr: is -0.003; allowed: a number above 0.0, to 1000000.0",
    );
    check(
        put("peak_lr: 3e-3", "peak_lr: .inf"),
        "12:36: experiments[0].recipe.schedule.linear.peak_lr: is inf, must be finite; allowed: a finite number",
    );
    check(
        put("peak_lr: 3e-3", "peak_lr: 0"),
        "12:36: experiments[0].recipe.schedule.linear.peak_lr: is 0; allowed: a number above 0.0, to 1000000.0",
    );
}

#[test]
fn a_warm_up_longer_than_the_run() {
    check(
        put("warmup_steps: 0", "warmup_steps: 5"),
        "12:56: experiments[0].recipe.schedule.linear.warmup_steps: warm-up of 5 steps is not below the run's 4 steps (arm post of tier smoke); allowed: 0 to 3",
    );
}

#[test]
fn a_claim_on_what_no_run_measures() {
    check(
        put("metric: val_loss", "metric: val_los"),
        "29:17: claims[0].kind.difference.metric: no run of `training/post` in tier smoke has the metric `val_los`; allowed: val_loss, ",
    );
}

#[test]
fn a_file_of_tokens_without_a_hash() {
    check(
        put("{language: {vocab: 16, seq: 8}}", "{tokens: {path: a.bin}}"),
        "10:14: experiments[0].recipe.task.tokens: parameter `sha256` of task `tokens` is missing (arm post of tier smoke); allowed: text",
    );
    check(
        put("{language: {vocab: 16, seq: 8}}", "{tokens: {path: a.bin, sha256: 0F}}"),
        "10:44: experiments[0].recipe.task.tokens.sha256: \"0F\" is not 64 lower-case hexadecimal digits (arm post of tier smoke)",
    );
}

#[test]
fn duplicate_ids() {
    check(
        twice("  - id: training", "claims:"),
        "20:9: experiments[1].id: `training` is the id of line 6 too; allowed: each id once",
    );
    check(
        twice("  - id: post-needs-more", "~"),
        "34:9: claims[1].id: `post-needs-more` is the id of claims[0] too; allowed: each id once",
    );
}

#[test]
fn empty_grids() {
    check(
        put("    tiers:", "    grid: {schedule.peak_lr: []}\n    tiers:"),
        "19:30: experiments[0].grid.schedule.peak_lr: is an empty grid; allowed: at least one value",
    );
    check(
        put("smoke: {}", "smoke: {grid: {schedule.peak_lr: []}}"),
        "19:46: experiments[0].tiers.smoke.grid.schedule.peak_lr: is an empty grid; allowed: at least one value",
    );
}

#[test]
fn duplicate_keys() {
    check(put("title: A tiny suite", "title: A\ntitle: B"), "3:1: title: is given twice; allowed: each key once");
    check(
        put("width: 8", "width: 8, width: 8"),
        "9:50: experiments[0].recipe.model.transformer.width: is given twice; allowed: each key once",
    );
}

#[test]
fn a_bomb_of_aliases() {
    let level = |i: usize| format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 10].join(", "));
    let bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_string() + &(1..12).map(level).collect::<String>();
    check(|_| bomb, "5:20: is not readable YAML: it and its aliases hold too much; allowed: at most 50000 values");
    check(
        put("title: A tiny suite", &format!("title: {}", "[".repeat(10_000))),
        "2:40: is not readable YAML: nested deeper than 32; allowed: at most 32 levels",
    );
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
