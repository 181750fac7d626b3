//! Numbers read off a curve of evaluations, by name: wherever a final metric is asked for, one of these can stand.
//!
//! | name | is |
//! |---|---|
//! | `C@S%` | the curve's value at S % of the run's steps: of the last evaluation that is not later |
//! | `C.rise` | its largest value after the start, less that at the start; below 0 where it only falls |
//! | `C.change@S%` | its last value less that at S % |
//! | `C.average` | its mean over the run from the first evaluation on, by trapezoids |
//!
//! The start is step 0, which a run has that starts from another's checkpoint. A run that diverged has no readings.

use crate::record::{Measured, Outcome, Point};

/// What is read off a curve.
#[derive(Clone, Copy, Debug, PartialEq)]
enum What {
    /// Percent of the steps.
    At(f64),
    Rise,
    /// From this percent of the steps on.
    Change(f64),
    Mean,
}

/// A reading by its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The curve.
    pub curve: String,
    what: What,
}

impl Reading {
    /// The reading that `name` is; `None` where it has no such form. Whether there is such a curve is not looked at.
    pub fn parse(name: &str) -> Option<Self> {
        let (curve, what) = match name.split_once('@') {
            Some((front, share)) => {
                let share = share.strip_suffix('%')?.parse().ok().filter(|s| (0.0..=100.0).contains(s))?;
                match front.strip_suffix(".change") {
                    Some(curve) => (curve, What::Change(share)),
                    None => (front, What::At(share)),
                }
            }
            None => match name.rsplit_once('.')? {
                (curve, "rise") => (curve, What::Rise),
                (curve, "average") => (curve, What::Mean),
                _ => return None,
            },
        };
        (!curve.is_empty()).then(|| Self { curve: curve.to_string(), what })
    }

    /// The evaluation that must be there: the last one at or before this percent of the steps. 0 is the start.
    pub fn earliest(&self) -> Option<f64> {
        match self.what {
            What::At(share) | What::Change(share) => Some(share),
            What::Rise => Some(0.0),
            What::Mean => None,
        }
    }

    /// Its value in a finished run; `None` where the curve, the evaluation or a finite number is missing.
    pub fn of(&self, measured: &Measured) -> Option<f64> {
        if measured.outcome != Outcome::Finished {
            return None;
        }
        let points = measured.curves.get(&self.curve)?;
        let last = points.last()?;
        match self.what {
            What::At(share) => at(points, share),
            What::Change(share) => Some(last.value? - at(points, share)?),
            What::Rise => {
                let start = at(points, 0.0)?;
                let values: Option<Vec<f64>> = points[1..].iter().map(|p| p.value).collect();
                values?.into_iter().reduce(f64::max).map(|most| most - start)
            }
            What::Mean => mean(points),
        }
    }
}

/// The value of the last evaluation at or before `share` percent of the last one's step.
fn at(points: &[Point], share: f64) -> Option<f64> {
    let last = points.last()?.step as f64;
    points.iter().rfind(|p| p.step as f64 * 100.0 <= share * last)?.value
}

fn mean(points: &[Point]) -> Option<f64> {
    let (first, last) = (points.first()?, points.last()?);
    if points.len() == 1 {
        return first.value;
    }
    let mut area = 0.0;
    for pair in points.windows(2) {
        area += (pair[1].step - pair[0].step) as f64 * 0.5 * (pair[0].value? + pair[1].value?);
    }
    Some(area / (last.step - first.step) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn measured(points: &[(u64, f64)]) -> Measured {
        let point = |&(step, value): &(u64, f64)| Point { step, value: Some(value).filter(|v| v.is_finite()) };
        Measured {
            outcome: Outcome::Finished,
            curves: BTreeMap::from([("loss".to_string(), points.iter().map(point).collect())]),
            metrics: BTreeMap::from([("loss.average".to_string(), 7.0), ("m".to_string(), 1.5)]),
            digest: String::new(),
        }
    }

    #[test]
    fn each_form_by_hand() {
        let started = measured(&[(0, 4.0), (10, 5.0), (20, 3.0), (40, 2.0)]);
        let falling = measured(&[(0, 4.0), (20, 3.5), (40, 2.0)]);
        let fresh = measured(&[(10, 5.0), (20, 3.0), (40, 2.0)]);
        let broken = measured(&[(0, 4.0), (20, f64::NAN), (40, 2.0)]);
        for (name, run, expected) in [
            ("loss@0%", &started, Some(4.0)),
            ("loss@24.9%", &started, Some(4.0)),
            ("loss@25%", &started, Some(5.0)),
            ("loss@99%", &started, Some(3.0)),
            ("loss@100%", &started, Some(2.0)),
            ("loss.rise", &started, Some(1.0)),
            ("loss.rise", &falling, Some(-0.5)),
            ("loss.change@25%", &started, Some(-3.0)),
            ("loss.change@0%", &started, Some(-2.0)),
            ("loss@0%", &fresh, None),
            ("loss@10%", &fresh, None),
            ("loss.rise", &fresh, None),
            ("loss@50%", &broken, None),
            ("loss@100%", &broken, Some(2.0)),
            ("loss.rise", &broken, None),
            ("other@50%", &started, None),
        ] {
            assert_eq!(Reading::parse(name).expect(name).of(run), expected, "{name}");
        }
        let mean = Reading::parse("loss.average").expect("a reading");
        assert_eq!(mean.of(&started), Some((45.0 + 40.0 + 50.0) / 40.0));
        assert_eq!(mean.of(&measured(&[(10, 3.0)])), Some(3.0));
        assert_eq!(mean.of(&broken), None);
        assert_eq!(mean.of(&measured(&[])), None);
        let diverged = Measured { outcome: Outcome::Diverged { step: 41 }, ..started };
        assert_eq!(Reading::parse("loss@25%").expect("a reading").of(&diverged), None);
    }

    #[test]
    fn other_names_are_no_readings() {
        for name in ["", "loss", "loss@", "loss@5", "loss@-1%", "loss@101%", "loss@nan%", "@5%", ".rise", "loss.fall"] {
            assert_eq!(Reading::parse(name), None, "{name}");
        }
        let share = |name| Reading::parse(name).expect(name).earliest();
        assert_eq!(["a@5%", "a.change@7%", "a.rise", "a.average"].map(share), [Some(5.0), Some(7.0), Some(0.0), None]);
    }

    #[test]
    fn a_metric_goes_before_a_reading_of_its_name() {
        let run = measured(&[(10, 3.0)]);
        assert_eq!(
            ["m", "loss.average", "loss@100%", "n"].map(|x| run.value(x)),
            [Some(1.5), Some(7.0), Some(3.0), None]
        );
    }
}
