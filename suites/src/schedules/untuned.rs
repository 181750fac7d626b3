//! The untuned linear warm-up over 2/(1−β2) steps (Ma & Yarats 2019, section 5).
//!
//! `warmup_steps: untuned` becomes a number when the recipe is resolved, from the optimizer's β2 as the recipe has it: 2/(1−β2),
//! rounded to the nearest step. So the run is the same as one that gives the number.

/// What stands in a suite for the number.
pub const UNTUNED: &str = "untuned";

/// 2/(1−β2), rounded to the nearest step.
pub fn untuned_warmup(beta2: f64) -> i64 {
    libm::round(2.0 / (1.0 - beta2)) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_usual_decays() {
        let expected = [(0.0, 2), (0.5, 4), (0.9, 20), (0.95, 40), (0.98, 100), (0.999, 2000), (0.9995, 4000)];
        for (beta2, steps) in expected {
            assert_eq!(untuned_warmup(beta2), steps, "{beta2}");
        }
        assert_eq!(untuned_warmup(0.97), 67);
    }
}
