//! The paper's file is sound, and its rules decide as they say.

use super::*;
use crate::fits::isoflop::Procedure;
use crate::fits::noise::Reading;
use crate::fits::synthetic::{BESIROGLU, grid};
use crate::stats::assert_close;

const OPTIONS: Options = Options {
    procedure: Procedure::Authors,
    noise: Some(Noise::constant(0.002)),
    reading: Reading::Coded,
    bootstraps: 200,
    seed: 1,
};

#[test]
fn the_file_is_sound() {
    for paper in papers() {
        let mut ids: Vec<&str> = paper.arms.iter().map(|arm| arm.id.as_str()).collect();
        ids.extend(paper.claims.iter().map(|claim| claim.id.as_str()));
        let mut once = ids.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), ids.len(), "every id stands once");
        for (i, arm) in paper.arms.iter().enumerate() {
            assert!(Convention::of(&arm.group["counting"]).is_some(), "{}", arm.id);
            assert!(paper.noise(&arm.group).is_some(), "{} has a noise", arm.id);
            assert_eq!(paper.arm(&arm.group).map(|found| &found.id), Some(&arm.id), "no other arm has its group");
            assert!(paper.arms[i + 1..].iter().all(|other| other.group != arm.group));
            if let Some([low, high]) = arm.published.interval {
                assert!(low < arm.published.exponent && arm.published.exponent < high, "{}", arm.id);
            }
        }
        for claim in &paper.claims {
            for arm in claim.measure.arms() {
                assert!(paper.arms.iter().any(|a| a.id == arm), "{}: {arm}", claim.id);
            }
            if let Measure::Recount { counting, published, .. } = &claim.measure {
                assert!(Convention::of(counting).is_some() && paper.arms.iter().any(|a| a.id == *published));
            }
        }
    }
}

#[test]
fn a_group_is_an_arm_only_with_every_column() {
    let paper = porian2024();
    let mut group = paper.arms[0].group.clone();
    group.insert("seed".into(), "one".into());
    assert_eq!(paper.arm(&group).map(|arm| arm.id.as_str()), Some("kaplan"));
    group.remove("split");
    assert!(paper.arm(&group).is_none());
    assert_eq!(paper.noise(&group).map(|noise| noise.low), Some(0.002));
    assert!(paper.noise(&Group::new()).is_none());
}

/// Two arms made of the same known law: their exponents differ by nothing.
#[test]
fn claims_of_equal_arms() {
    let paper = porian2024();
    let group = |id: &str| paper.arms.iter().find(|arm| arm.id == id).unwrap().group.clone();
    let groups = [group("kaplan"), group("head")];
    let points = grid(&BESIROGLU, 0.002, 3);
    let fits = [1, 2].map(|seed| isoflop::fit(&points, &Options { seed, ..OPTIONS }).laws.unwrap());
    let table: Vec<Fitted<'_>> = groups
        .iter()
        .zip(&fits)
        .map(|(group, laws)| Fitted { group, points: &points, laws: Some(laws), options: OPTIONS })
        .collect();
    let rows = paper.judge(&table);
    let row = |id: &str| rows.iter().find(|row| row.id == id).unwrap_or_else(|| panic!("{id}: {rows:?}"));
    assert_eq!(row("P1").verdict, Verdict::Refuted, "0.51 is not 0.835");
    let drop = row("P2");
    assert_eq!(drop.verdict, Verdict::Refuted, "{drop:?}");
    assert!(drop.effect.unwrap().abs() < 0.01 && drop.interval.unwrap()[1] < 0.1);
    assert_eq!(row("P2-large").verdict, Verdict::Inconclusive, "these sizes are not the paper's");
    assert!(row("P2-large").why.as_ref().unwrap().starts_with("no data: no model of the paper has"));
    assert!(rows.iter().all(|row| !row.id.starts_with("P12")), "no arm of theirs is there");
    let beside = paper.beside(&table);
    assert_eq!(beside.iter().map(|row| row.arm.as_str()).collect::<Vec<_>>(), ["kaplan", "head"]);
    assert!(beside.iter().all(|row| !row.as_published));
    assert_close(beside[0].params, fits[0].params.at(5.88e23), 1e-12);
}

#[test]
fn the_verdict_is_the_intervals() {
    for (found, expect, expected) in [
        ([0.11, 0.2], Expect::Above(0.1), Verdict::Reproduced),
        ([0.09, 0.2], Expect::Above(0.1), Verdict::Inconclusive),
        ([0.01, 0.09], Expect::Above(0.1), Verdict::Refuted),
        ([0.2, 0.2], Expect::Within([0.1, 0.3]), Verdict::Reproduced),
        ([0.4, 0.4], Expect::Within([0.1, 0.3]), Verdict::Refuted),
        ([0.0, 0.05], Expect::Below(0.1), Verdict::Reproduced),
    ] {
        assert_eq!(verdict(found, expect), expected, "{found:?} {expect:?}");
    }
}
