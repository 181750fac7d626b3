//! The verdicts: a pure function of claims and observations.
//!
//! Each claim has the smallest level at which its two-sided interval decides. Holm's procedure over the claims
//! that this tier can decide gives each claim its level; the interval printed is the one at that level, and
//! that very interval gives the verdict.

use super::effects::{Effect, effect};
use super::{Claim, Expect, Judged, Tier, Verdict, sweep};
use crate::record::Observation;
use crate::registry::Scalar;
use crate::stats::equivalence::{Inclusion, inclusion};
use crate::stats::holm::{Step, holm};

/// The family-wise error rate over the claims of a suite.
pub const FAMILY_ALPHA: f64 = 0.05;
/// [`Judged::why`] of a claim that other tiers decide.
pub const OTHER_TIER: &str = "tier";
/// Levels below this count as equal; no family is so large that it needs them.
const LEAST_ALPHA: f64 = 1e-12;

/// Judges the claims of a suite, in their order. The order of the observations does not matter. Claims at the other
/// values of an axis that they are swept over are a family of their own, so that a sweep costs the claims nothing.
pub fn judge(claims: &[Claim], tier: Tier, observations: &[Observation]) -> Vec<Judged> {
    let mut judged = family(claims, tier, observations);
    let mut swept: Vec<(usize, Scalar)> = Vec::new();
    let mut variants: Vec<Claim> = Vec::new();
    for (index, claim) in claims.iter().enumerate().filter(|(_, claim)| claim.tiers.contains(&tier)) {
        for (value, variant) in sweep::variants(claim, observations) {
            swept.push((index, value));
            variants.push(variant);
        }
    }
    let mut rows: Vec<Vec<(Scalar, Judged)>> = claims.iter().map(|_| Vec::new()).collect();
    for ((index, value), row) in swept.into_iter().zip(family(&variants, tier, observations)) {
        rows[index].push((value, row));
    }
    for ((claim, row), variants) in claims.iter().zip(&mut judged).zip(rows) {
        sweep::attach(claim, row, variants);
    }
    judged
}

/// Judges claims as one family.
fn family(claims: &[Claim], tier: Tier, observations: &[Observation]) -> Vec<Judged> {
    let effects: Vec<_> = claims.iter().map(|claim| effect(&claim.kind, observations)).collect();
    let excuses: Vec<_> = claims.iter().zip(&effects).map(|(claim, effect)| excuse(claim, tier, effect)).collect();
    let mut levels = Vec::new();
    for ((claim, effect), excuse) in claims.iter().zip(&effects).zip(&excuses) {
        if let (Ok(effect), None) = (effect, excuse) {
            levels.push(deciding_level(effect, claim.expect));
        }
    }
    let mut steps = holm(&levels, FAMILY_ALPHA).into_iter();
    let mut judged = Vec::with_capacity(claims.len());
    for ((claim, effect), excuse) in claims.iter().zip(&effects).zip(excuses) {
        judged.push(match effect {
            Err(_) => row(claim, None, None, excuse),
            Ok(effect) => {
                let step = if excuse.is_none() { steps.next() } else { None };
                row(claim, Some(effect), step, excuse)
            }
        });
    }
    judged
}

/// Why a claim takes no part in the family.
fn excuse(claim: &Claim, tier: Tier, effect: &Result<Effect, String>) -> Option<String> {
    if !claim.tiers.contains(&tier) {
        return Some(OTHER_TIER.into());
    }
    match effect {
        Err(missing) => Some(format!("no data: {missing}")),
        Ok(effect) => effect.too_few(),
    }
}

/// A row; without a step the interval is the unadjusted one and decides nothing.
fn row(claim: &Claim, effect: Option<&Effect>, step: Option<Step>, excuse: Option<String>) -> Judged {
    let level = step.map_or(FAMILY_ALPHA, |s| s.level);
    let interval = effect.and_then(|e| e.interval(level));
    let decision = match (effect, step) {
        (Some(effect), Some(Step { decided: true, .. })) => decide(effect, claim.expect, level),
        _ => None,
    };
    let unreached = effect.filter(|e| e.unreached > 0 && decision.is_none());
    let unreached = unreached.map(|e| format!("target not reached: {} of {}", e.unreached, e.n()));
    Judged {
        id: claim.id.clone(),
        paper_claim: claim.paper_claim.clone(),
        verdict: decision.unwrap_or(Verdict::Inconclusive),
        why: excuse.or(unreached),
        effect: effect.map(Effect::value),
        interval,
        level: step.map(|s| s.level),
        n: effect.map_or(0, Effect::n),
        at: effect.and_then(|e| e.at.clone()),
        sweep: None,
    }
}

/// What the interval at level `alpha` says; `None` where it straddles.
fn decide(effect: &Effect, expect: Expect, alpha: f64) -> Option<Verdict> {
    let range = match expect {
        Expect::Above(value) => [value, f64::INFINITY],
        Expect::Below(value) => [f64::NEG_INFINITY, value],
        Expect::Within(range) => range,
    };
    let mut interval = effect.interval(alpha)?;
    if effect.unreached > 0 {
        // The effect is a lower bound: nothing is known above it, so it can refute from above and no more.
        interval[1] = f64::INFINITY;
    }
    match inclusion(interval, range) {
        Inclusion::Inside => Some(Verdict::Reproduced),
        Inclusion::Outside => Some(Verdict::Refuted),
        Inclusion::Straddles => None,
    }
}

/// The smallest level at which the interval decides, by bisection in ln alpha: intervals of smaller levels hold
/// those of larger ones. 1 where [`FAMILY_ALPHA`] does not decide, for no claim ever gets a larger level.
fn deciding_level(effect: &Effect, expect: Expect) -> f64 {
    let decides = |ln_alpha: f64| decide(effect, expect, libm::exp(ln_alpha)).is_some();
    let (mut low, mut high) = (libm::log(LEAST_ALPHA), libm::log(FAMILY_ALPHA));
    if decides(low) {
        return LEAST_ALPHA;
    }
    if decide(effect, expect, FAMILY_ALPHA).is_none() {
        return 1.0;
    }
    while high - low > 1e-10 {
        let middle = 0.5 * (low + high);
        if decides(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    // exp(ln alpha) may lie a bit above alpha.
    libm::exp(high).min(FAMILY_ALPHA)
}

#[cfg(test)]
#[path = "judge_tests.rs"]
pub(super) mod tests;
