//! 10,000 bootstrap draws of a 600-row table, by both procedures.

use criterion::Criterion;
use preheat_suites::fits::curve::Point;
use preheat_suites::fits::isoflop::{Options, Procedure, fit};
use preheat_suites::fits::noise::{Noise, Reading};
use std::hint::black_box;

/// 24 budgets of 25 sizes with losses of a known law.
fn table() -> Vec<Point> {
    let mut points = Vec::new();
    for budget in 0..24 {
        let flops = 1e16 * libm::pow(1.6, f64::from(budget));
        for size in 0..25 {
            let params = 3e6 * libm::pow(flops / 1e16, 0.5) * libm::pow(1.3, f64::from(size));
            let tokens = flops / (6.0 * params);
            let loss = 1.8 + 482.0 * libm::pow(params, -0.348) + 2085.0 * libm::pow(tokens, -0.366);
            points.push(Point { flops, params, tokens, loss });
        }
    }
    points
}

fn bootstrap(criterion: &mut Criterion) {
    let points = table();
    let mut group = criterion.benchmark_group("10,000 draws of 600 rows");
    group.sample_size(10);
    for (name, procedure) in [("authors", Procedure::Authors), ("local", Procedure::Local)] {
        let noise = Some(Noise::constant(0.002));
        let options = Options { procedure, noise, reading: Reading::Intended, bootstraps: 10_000, seed: 1 };
        group.bench_function(name, |b| b.iter(|| fit(black_box(&points), &options)));
    }
    group.finish();
}

// By hand: `criterion_group!` makes a public function without documentation.
fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    bootstrap(&mut criterion);
    criterion.final_summary();
}
