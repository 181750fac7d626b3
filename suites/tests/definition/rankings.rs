//! Rankings against the experiments that they read.

use crate::support::{SUITE, check, suite};

const ROW: &str = "{name: plain, warmup: {experiment: training, arm: warm}, none: {experiment: training, arm: plain}}";
const HEAD: &str = "id: all, about: both, metric: val_loss, over: schedule.peak_lr, margin: 0.05, tiers: [quick]";

/// The small suite with one ranking, `edit`ed.
fn ranking(edit: impl Fn(&str) -> String) -> String {
    format!("{SUITE}rankings:\n  - {}\n", edit(&format!("{{{HEAD}, rows: [{ROW}]}}")))
}

fn with(from: &str, to: &str) -> String {
    ranking(|text| {
        assert_eq!(text.matches(from).count(), 1, "{from}");
        text.replace(from, to)
    })
}

#[test]
fn a_ranking_is_read_as_written() {
    let suite = suite(&ranking(str::to_string));
    let [found] = suite.rankings.as_slice() else { panic!("one ranking") };
    assert_eq!((found.id.as_str(), found.margin, found.rows.len()), ("all", 0.05, 1));
    assert_eq!(found.rows[0].none.arm, "plain");
}

#[test]
fn mistakes_are_answered() {
    let line = SUITE.lines().count() + 2;
    let cases = [
        ("margin: 0.05", "margin: -1", "margin: is -1; allowed: 0 and above"),
        ("tiers: [quick]", "tiers: []", "tiers: is empty; allowed: smoke, quick, full, paper"),
        (ROW, "", "rows: is empty; allowed: at least one row"),
        (
            "metric: val_loss",
            "metric: vall_loss",
            "metric: no run of `training/warm` in tier quick has the metric `vall_loss`; allowed: val_loss, capped_loss",
        ),
        (
            "over: schedule.peak_lr",
            "over: schedule.peak",
            "over: `schedule.peak` is no axis of `training` in tier quick; allowed: schedule.peak_lr",
        ),
        ("arm: warm", "arm: warn", "rows[0].warmup.arm: unknown arm `warn` of `training` in tier quick; allowed: warm"),
        (
            "experiment: training, arm: plain",
            "experiment: trainin, arm: plain",
            "rows[0].none.experiment: unknown experiment `trainin`; allowed: training",
        ),
        (
            "tiers: [quick]",
            "tiers: [full]",
            "rows[0].warmup.experiment: experiment `training` does not run in the claim's tier full; allowed: smoke, quick",
        ),
    ];
    for (from, to, message) in cases {
        let yaml = with(from, to);
        let found = preheat_suites::definition::parse("small.yaml", yaml.as_bytes(), &crate::support::registry());
        let found = found.expect_err(to).to_string();
        assert!(found.starts_with(&format!("small.yaml:{line}:")), "{found}");
        assert!(found.contains(&format!("rankings[0].{message}")), "{found}\n{message}");
    }
    let twice = format!("{}  - {{{HEAD}, rows: [{ROW}]}}\n", ranking(str::to_string));
    check(
        &twice,
        &format!(
            "suites/small.yaml:{}:10: rankings[1].id: `all` is the id of an earlier ranking too; allowed: each id once",
            line + 1
        ),
    );
}
