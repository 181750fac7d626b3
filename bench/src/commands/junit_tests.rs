//! The document as CI reads it.

use super::*;
use crate::golden::compare;
use crate::testing::{observed, result};
use preheat_suites::claims::Verdict;

/// The document of `demo` with this status, and its cases: name and what stands in it.
fn cases(result: &SuiteResult, status: &Status, failures: &[String]) -> (String, Vec<(String, String)>) {
    let text = report(&[(result, status)], &[failures.to_vec()], None);
    let parts = text.split("<testcase ").skip(1).map(|part| {
        let name = part.split("name=\"").nth(1).and_then(|x| x.split('"').next()).unwrap_or_default().to_string();
        let kind = ["<failure", "<error", "<skipped"].into_iter().find(|kind| part.contains(kind)).unwrap_or("passed");
        (name, kind.trim_start_matches('<').to_string())
    });
    (text.clone(), parts.collect())
}

fn check(status: &Status, failures: &[String], expected: [&str; 4]) -> String {
    let (text, found) = cases(&result(&observed()), status, failures);
    let names = ["bits", "x0-claim", "x1-claim", "x2-claim"];
    let expected: Vec<_> =
        names.iter().zip(expected).map(|(name, kind)| (name.to_string(), kind.to_string())).collect();
    assert_eq!(found, expected, "{text}");
    text
}

#[test]
fn as_golden_all_pass_an_inconclusive_one_too_and_another_tiers_is_skipped() {
    // The third claim is left to another tier.
    let text = check(&Status::Equal, &[], ["passed", "passed", "passed", "skipped"]);
    assert!(text.contains(r#"<testsuite name="demo.quick" tests="4" skipped="1" errors="0" failures="0">"#), "{text}");
    assert!(text.contains(r#"<property name="verdict" value="refuted"/>"#), "{text}");
    let mut undecided = result(&observed());
    (undecided.claims[2].verdict, undecided.claims[2].why) = (Verdict::Inconclusive, None);
    assert_eq!(cases(&undecided, &Status::Equal, &[]).1[3].1, "passed");
}

#[test]
fn a_flipped_verdict_fails_its_claim_and_moved_bits_fail_theirs() {
    let golden = result(&observed());
    let moved = |edit: fn(&mut SuiteResult)| {
        let mut here = golden.clone();
        edit(&mut here);
        Status::Moved(compare(&golden, &here))
    };
    let text =
        check(&moved(|x| x.claims[1].verdict = Verdict::Reproduced), &[], ["passed", "passed", "failure", "skipped"]);
    assert!(text.contains("was refuted and is reproduced"), "{text}");
    let flipped = moved(|x| x.claims[0].verdict = Verdict::Refuted);
    check(&flipped, &[], ["passed", "failure", "passed", "skipped"]);
    let text = check(&moved(|x| x.runs[1].digest = "moved".into()), &[], ["failure", "passed", "passed", "skipped"]);
    assert!(text.contains("the digests of 1 of 8 runs moved"), "{text}");
}

#[test]
fn what_was_not_compared_passes_nowhere() {
    let missing = Status::Missing("3 runs are not in the store".into());
    check(&missing, &[], ["error", "skipped", "skipped", "skipped"]);
    check(&Status::NoGolden("no golden".into()), &[], ["error", "skipped", "skipped", "skipped"]);
    check(&Status::NotCompared("--filter".into()), &[], ["skipped"; 4]);
    let failed = ["sweep/pre <seed> 1: \"disk\"".to_string()];
    let text = check(&Status::NotCompared("not all".into()), &failed, ["error", "skipped", "skipped", "skipped"]);
    assert!(
        text.contains("&lt;seed> 1: &quot;disk&quot;") || text.contains("&lt;seed&gt; 1: &quot;disk&quot;"),
        "{text}"
    );
}
