//! Schedules against values worked out by hand.

use super::*;
use crate::registry::Scalar;

fn build(name: &str, given: &[(&str, f64)]) -> Result<Box<dyn Schedule>, Invalid> {
    let entry = SCHEDULES.iter().find(|e| e.name == name).expect("registered");
    let mut params = Params::default();
    for def in entry.params {
        let given = given.iter().find(|(key, _)| *key == def.name).map(|(_, x)| *x);
        let value = match (def.kind, def.default, given) {
            (ParamKind::Int { .. } | ParamKind::IntOr { .. }, _, Some(x)) => Scalar::Int(x as i64),
            (ParamKind::Int { .. } | ParamKind::IntOr { .. }, Preset::Int(x), None) => Scalar::Int(x),
            (_, _, Some(x)) => Scalar::Real(x),
            (_, Preset::Real(x), None) => Scalar::Real(x),
            _ => panic!("{name} needs {}", def.name),
        };
        params.0.insert(def.name.into(), value);
    }
    (entry.build)(&params)
}

fn curve(name: &str, given: &[(&str, f64)], steps: u64) -> Vec<f64> {
    let schedule = build(name, given).expect("valid");
    (1..=steps).map(|t| schedule.lr(t, steps)).collect()
}

fn close(a: &[f64], b: &[f64]) {
    assert_eq!(a.len(), b.len());
    assert!(a.iter().zip(b).all(|(x, y)| (x - y).abs() < 1e-12), "{a:?} {b:?}");
}

#[test]
fn hand_values() {
    let w = |w: f64| [("peak_lr", 0.8), ("warmup_steps", w)];
    close(&curve("constant", &w(4.0), 6), &[0.2, 0.4, 0.6, 0.8, 0.8, 0.8]);
    close(&curve("linear", &w(2.0), 6), &[0.4, 0.8, 0.6, 0.4, 0.2, 0.0]);
    close(&curve("linear", &w(0.0), 4), &[0.6, 0.4, 0.2, 0.0]);
    close(&curve("inverse-sqrt", &w(1.0), 4)[2..], &[0.8 / 3f64.sqrt(), 0.4]);
    close(&curve("inverse-sqrt", &w(0.0), 4)[..], &[0.8, 0.8 / 2f64.sqrt(), 0.8 / 3f64.sqrt(), 0.4]);
    close(
        &curve("cosine", &w(2.0), 6),
        &[0.4, 0.8, 0.4 * (1.0 + 0.5f64.sqrt()), 0.4, 0.4 * (1.0 - 0.5f64.sqrt()), 0.0],
    );
    let cosine = [("peak_lr", 0.8), ("warmup_steps", 2.0), ("min_ratio", 0.1)];
    close(&curve("cosine", &cosine, 6)[3..6], &[0.8 * 0.55, 0.08 + 0.36 * (1.0 - 0.5f64.sqrt()), 0.08]);
    let step = [("peak_lr", 0.8), ("warmup_steps", 1.0), ("at", 0.5), ("then_at", 0.75), ("factor", 0.5)];
    close(&curve("step", &step, 8), &[0.8, 0.8, 0.8, 0.8, 0.4, 0.4, 0.2, 0.2]);
    close(&curve("step", &[("peak_lr", 0.8)], 4), &[0.8, 0.8, 0.08, 0.08]);
}

#[test]
fn arms_with_and_without_warmup_share_the_decay() {
    for (name, key) in [("linear", "decay_from"), ("cosine", "decay_from"), ("inverse-sqrt", "timescale")] {
        let warm = curve(name, &[("peak_lr", 0.3), ("warmup_steps", 7.0)], 50);
        let cold = curve(name, &[("peak_lr", 0.3), (key, 7.0)], 50);
        assert_eq!(warm[6..], cold[6..], "{name}");
        assert_eq!(cold[..7], [0.3; 7], "{name}");
        assert!(warm[..6].windows(2).all(|w| w[0] < w[1]) && warm[5] < 0.3, "{name}");
        // A decay that would start within the warm-up is refused, by its key.
        let fault = build(name, &[("peak_lr", 0.3), ("warmup_steps", 7.0), (key, 6.0)]).err().expect("refused");
        assert_eq!(fault.key, key);
    }
    let given = [("peak_lr", 1.0), ("at", 0.5), ("then_at", 0.4)];
    assert_eq!(build("step", &given).err().expect("refused").key, "then_at");
}

#[test]
fn every_schedule_reaches_its_peak_and_never_passes_it() {
    // Others give their warm-up as a share of a horizon.
    let counted = SCHEDULES.iter().filter(|e| e.params.iter().any(|def| def.name == "warmup_steps"));
    for entry in counted {
        for (warmup, steps) in [(0u64, 1u64), (1, 2), (31, 33), (96, 97)] {
            let schedule = build(entry.name, &[("peak_lr", 0.3), ("warmup_steps", warmup as f64)]).expect("valid");
            assert_eq!(schedule.warmup_steps(), warmup);
            for t in 1..=steps {
                let lr = schedule.lr(t, steps);
                assert!((0.0..=0.3).contains(&lr), "{} {t} {lr}", entry.name);
            }
            if warmup > 0 {
                assert_eq!(schedule.lr(warmup, steps), 0.3, "{}", entry.name);
            }
        }
    }
}

#[test]
fn a_floor_is_reached_at_its_share_of_the_horizon_and_kept() {
    let given = [("peak_lr", 0.8), ("horizon", 10.0), ("warmup", 0.2), ("decay", 0.6), ("min_ratio", 0.25)];
    let root = 0.5f64.sqrt();
    let expected = [0.4, 0.8, 0.8 * (0.625 + 0.375 * root), 0.5, 0.8 * (0.625 - 0.375 * root), 0.2, 0.2, 0.2];
    close(&curve("cosine-floor", &given, 8), &expected);
    // The horizon decides and not the run's length.
    close(&curve("cosine-floor", &given, 3), &expected[..3]);
    // A warm-up of 1.5 steps passes its peak between two steps, and none at all begins right below it.
    let part = [("peak_lr", 0.9), ("horizon", 10.0), ("warmup", 0.15)];
    close(&curve("cosine-floor", &part, 1), &[0.6]);
    let cold = curve("cosine-floor", &[("peak_lr", 0.9), ("horizon", 1000.0)], 1000);
    assert!(cold[0] < 0.9 && cold[0] > 0.9 * (1.0 - 1e-5) && (cold[999] - 0.09).abs() < 1e-12);
    assert!(cold.windows(2).all(|w| w[0] > w[1]));
    let schedule = build("cosine-floor", &given).expect("valid");
    assert_eq!(schedule.warmup_steps(), 2);
    let fault = build("cosine-floor", &[("peak_lr", 0.8), ("horizon", 10.0), ("warmup", 0.6), ("decay", 0.6)]);
    assert_eq!(fault.err().expect("refused").key, "decay");
}

#[test]
fn names_are_unique_and_sorted() {
    assert!(SCHEDULES.windows(2).all(|w| w[0].name < w[1].name));
}
