//! `--format junit`: what CI reads. A suite is a test suite, each claim a case, and one case more for the bits.

use super::bench::Status;
use crate::golden::Difference;
use crate::results::{ClaimResult, SuiteResult};
use crate::table::{interval, number, verdict};
use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestSuite};

/// The name of the case that all runs and tables are as golden, in every bit.
const BITS: &str = "bits";

/// The document. `failures` stands beside the suites: what went wrong with each. A claim fails where its verdict is
/// not golden's, an inconclusive one that golden also holds passes, and nothing passes that was not compared.
pub(super) fn report(suites: &[(&SuiteResult, &Status)], failures: &[Vec<String>], halt: Option<&str>) -> String {
    let mut report = Report::new("preheat");
    for ((result, status), failures) in suites.iter().zip(failures) {
        report.add_test_suite(suite(result, status, failures, halt));
    }
    report.to_string().unwrap_or_default() + "\n"
}

fn suite(result: &SuiteResult, status: &Status, failures: &[String], halt: Option<&str>) -> TestSuite {
    let stem = result.stem();
    let mut suite = TestSuite::new(stem.clone());
    suite.add_property(Property::new("digest", result.digest.clone()));
    suite.add_property(Property::new("scale", result.scale.clone()));
    suite.add_property(Property::new("runs", result.runs.len().to_string()));
    suite.add_test_case(case(&stem, BITS, bits(status, failures, halt)));
    for claim in &result.claims {
        let mut case = case(&stem, &claim.id, of_claim(claim, status));
        let paper = Property::new("paper_claim", claim.paper_claim.clone());
        let effect = claim.effect.map(|x| Property::new("effect", number(x)));
        let range = claim.interval.map(|x| Property::new("interval", interval(x)));
        let own = [Property::new("verdict", verdict(claim)), Property::new("n", claim.n.to_string())];
        case.properties.extend([Some(paper), effect, range].into_iter().flatten().chain(own));
        suite.add_test_case(case);
    }
    suite
}

fn case(class: &str, name: &str, status: TestCaseStatus) -> TestCase {
    let mut case = TestCase::new(name.to_string(), status);
    case.set_classname(class.to_string());
    case
}

fn bad(kind: NonSuccessKind, what: &str, message: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(what.to_string()).set_message(message.to_string());
    status
}

fn skipped(why: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::skipped();
    status.set_message(why.to_string());
    status
}

fn bits(status: &Status, failures: &[String], halt: Option<&str>) -> TestCaseStatus {
    if !failures.is_empty() || halt.is_some() {
        let lines: Vec<&str> = failures.iter().map(String::as_str).chain(halt).collect();
        return bad(NonSuccessKind::Error, "failed", &lines.join("; "));
    }
    match status {
        Status::Equal | Status::Close => TestCaseStatus::success(),
        Status::NoGolden(why) | Status::Missing(why) | Status::Undecided(why) => {
            bad(NonSuccessKind::Error, "incomparable", why)
        }
        Status::NotCompared(why) => skipped(why),
        Status::Moved(all) => {
            let lines: Vec<String> =
                all.iter().filter(|d| !matches!(d, Difference::Science { .. })).map(ToString::to_string).collect();
            if lines.is_empty() {
                TestCaseStatus::success()
            } else {
                bad(NonSuccessKind::Failure, "moved", &lines.join("; "))
            }
        }
    }
}

fn of_claim(claim: &ClaimResult, status: &Status) -> TestCaseStatus {
    let name = format!("{} ({})", claim.id, claim.paper_claim);
    let flipped = |d: &&Difference| matches!(d, Difference::Science { claim, .. } if *claim == name);
    if let Status::Moved(all) = status
        && let Some(science) = all.iter().find(flipped)
    {
        return bad(NonSuccessKind::Failure, "science", &science.to_string());
    }
    match status {
        _ if claim.is_of_another_tier() => skipped("another tier judges it"),
        Status::Equal | Status::Close | Status::Moved(_) => TestCaseStatus::success(),
        Status::NoGolden(why) | Status::NotCompared(why) | Status::Missing(why) | Status::Undecided(why) => {
            skipped(why)
        }
    }
}

#[cfg(test)]
#[path = "junit_tests.rs"]
mod tests;
