//! The estimators against laws that are known, and what must not change them.

use super::*;
use crate::fits::parametric;
use crate::fits::synthetic::{BESIROGLU, HOFFMANN, Truth, grid};
use crate::stats::assert_close;
use proptest::prelude::*;

const LOCAL: Options =
    Options { procedure: Procedure::Local, noise: None, reading: Reading::Intended, bootstraps: 400, seed: 1 };
const AUTHORS: Options = Options {
    procedure: Procedure::Authors,
    noise: Some(Noise::constant(0.002)),
    reading: Reading::Coded,
    bootstraps: 400,
    seed: 1,
};

fn laws(points: &[Point], options: &Options) -> Laws {
    fit(points, options).laws.expect("a law")
}

/// How many of 200 tables' intervals hold the exponent.
fn covered(truth: &Truth, sigma: f64, options: &Options) -> usize {
    let holds = |seed: u64| {
        let [low, high] = laws(&grid(truth, sigma, seed), &Options { seed, ..*options }).params.interval;
        (low..=high).contains(&truth.exponent())
    };
    (1..=200).filter(|seed| holds(*seed)).count()
}

#[test]
fn our_interval_covers_the_truth_in_91_to_98_percent_of_200_draws() {
    let tables = [(BESIROGLU, 0.003), (BESIROGLU, 0.01), (HOFFMANN, 0.003), (HOFFMANN, 0.01)];
    let found = tables.map(|(truth, sigma)| covered(&truth, sigma, &LOCAL));
    assert!(found.iter().all(|n| (182..=196).contains(n)), "{found:?} of 200");
}

#[test]
fn isoflop_and_parametric_fits_agree_with_theory() {
    for truth in [BESIROGLU, HOFFMANN] {
        let points = grid(&truth, 0.001, 3);
        let laws = laws(&points, &LOCAL);
        let parametric = parametric::fit(&points, 0, Stream::new(1, 0)).unwrap();
        assert!((laws.params.exponent - truth.exponent()).abs() < 0.01, "{:?}", laws.params.exponent);
        assert!((parametric.exponent.value - truth.exponent()).abs() < 0.005, "{:?}", parametric.exponent);
        assert!((laws.tokens.exponent - (1.0 - truth.exponent())).abs() < 0.01, "{:?}", laws.tokens.exponent);
        assert!((laws.params.at(1e18) / truth.optimum(1e18) - 1.0).abs() < 0.03);
        let ratio = 1e18 / (6.0 * truth.optimum(1e18) * truth.optimum(1e18));
        assert!(laws.tokens_per_param[0] < ratio && ratio < laws.tokens_per_param[1]);
    }
}

#[test]
fn the_authors_procedure_finds_a_known_law() {
    let laws = laws(&grid(&BESIROGLU, 0.002, 9), &AUTHORS);
    assert!((laws.params.exponent - BESIROGLU.exponent()).abs() < 0.03, "{:?}", laws.params.exponent);
    assert_eq!(laws.params.n, 12);
    assert_eq!(laws.widened, 1.0);
}

#[test]
fn the_noise_is_estimated_where_it_is_not_given() {
    let noise = fit(&grid(&BESIROGLU, 0.01, 2), &LOCAL).noise.unwrap();
    assert!((0.007..0.014).contains(&noise.low) && noise.is_constant(), "{noise:?}");
    let given = Options { noise: Some(Noise::constant(0.02)), ..LOCAL };
    assert_eq!(fit(&grid(&BESIROGLU, 0.01, 2), &given).noise, given.noise);
}

#[test]
fn what_cannot_take_part_is_left_out_with_a_reason() {
    let mut points = grid(&BESIROGLU, 0.001, 4);
    let flops: Vec<f64> = budgets(&points).iter().map(|(flops, _)| *flops).collect();
    // The first budget keeps two sizes, the second the sizes below the optimum, the third those above.
    let optimum = |flops: f64| BESIROGLU.optimum(flops);
    let mut seen = 0;
    points.retain(|p| {
        seen += usize::from(p.flops == flops[0]);
        (p.flops != flops[0] || seen <= 2)
            && (p.flops != flops[1] || p.params < 0.9 * optimum(flops[1]))
            && (p.flops != flops[2] || p.params > 1.1 * optimum(flops[2]))
    });
    for options in [LOCAL, AUTHORS] {
        let found = fit(&points, &options);
        let why: Vec<_> = found.budgets.iter().take(4).map(|b| b.left_out.as_deref()).collect();
        let expected = [
            Some("2 sizes; at least 3 are needed"),
            Some("the minimum is at the upper edge of the sizes"),
            Some("the minimum is at the lower edge of the sizes"),
            None,
        ];
        assert_eq!(why, expected);
        assert!(found.budgets.iter().all(|b| b.optimum.is_some() != b.left_out.is_some()));
        assert_eq!(found.laws.unwrap().params.n, 9);
    }
}

#[test]
fn too_few_budgets_have_no_law() {
    let points = grid(&BESIROGLU, 0.001, 4);
    let two: Vec<Point> = points.into_iter().filter(|p| p.flops < 4e16).collect();
    let found = fit(&two, &LOCAL);
    assert_eq!(found.budgets.len(), 2);
    assert_eq!(found.laws.unwrap_err(), "2 of 2 budgets have a minimum inside; at least 3 are needed");
    assert!(fit(&[], &LOCAL).laws.is_err());
}

#[test]
fn a_minimum_that_noise_moves_to_the_edge_is_left_out() {
    let points = grid(&BESIROGLU, 0.0, 4);
    let loud = Options { noise: Some(Noise::constant(0.5)), ..AUTHORS };
    let found = fit(&points, &Options { procedure: Procedure::Local, ..loud });
    let why = found.budgets[0].left_out.as_deref().unwrap();
    assert!(why.starts_with("only ") && why.ends_with(" of the draws have a minimum inside the range of the sizes"));
}

#[test]
fn three_sizes_need_the_noise() {
    let mut points = grid(&BESIROGLU, 0.0, 4);
    let optimum = |p: &Point| p.params / BESIROGLU.optimum(p.flops);
    points.retain(|p| (0.5740..1.7494).contains(&optimum(p)));
    let found = fit(&points, &LOCAL);
    assert!(found.budgets.iter().all(|b| b.sizes == 3), "{:?}", found.budgets);
    assert_eq!(found.budgets[0].left_out.as_deref(), Some("three sizes do not show the noise; it must be given"));
    assert!(fit(&points, &AUTHORS).laws.is_ok());
}

/// Where N·D is not the same for all points of a budget, D* has a curve and draws of its own.
#[test]
fn tokens_are_fitted_on_their_own_where_they_are_no_mirror() {
    let points = grid(&BESIROGLU, 0.002, 4);
    let mut uneven = points.clone();
    for (i, point) in uneven.iter_mut().enumerate() {
        point.tokens *= if i % 2 == 0 { 1.0001 } else { 1.0 };
    }
    for options in [LOCAL, AUTHORS] {
        let (mirrored, own) = (laws(&points, &options), laws(&uneven, &options));
        assert_eq!(mirrored.params, own.params);
        assert_ne!(mirrored.tokens, own.tokens);
        assert!((mirrored.tokens.exponent - own.tokens.exponent).abs() < 0.01);
        let width = |law: &Law| law.interval[1] - law.interval[0];
        assert!((width(&own.tokens) / width(&mirrored.tokens) - 1.0).abs() < 0.3);
        assert_close(mirrored.params.exponent + mirrored.tokens.exponent, 1.0, 1e-9);
    }
}

/// χ² with 1, 10 and 30 degrees of freedom has its 95 % quantile at 3.841, 18.307 and 43.773 (any table).
#[test]
fn scatter_is_compared_with_chance() {
    for (df, quantile) in [(1.0, 3.841), (10.0, 18.307), (30.0, 43.773)] {
        assert_close(chance(df) * df, quantile, 0.025);
    }
    // A law that bends scatters about a line more than its noise explains.
    let mut points = grid(&BESIROGLU, 0.0005, 4);
    for point in &mut points {
        let bend = libm::log(point.flops / 5e17);
        point.params *= libm::exp(0.03 * bend * bend);
    }
    let laws = laws(&points, &LOCAL);
    assert!(laws.widened > 2.0, "{}", laws.widened);
}

#[test]
fn the_drawn_curve_goes_through_the_points() {
    let points = grid(&BESIROGLU, 0.01, 4);
    let one: Vec<Point> = points[..11].to_vec();
    let curve = drawn(&one);
    assert_eq!(curve.len(), 10 * GRID_PER_GAP);
    for (end, point) in [(0, one[0]), (curve.len() - 1, one[10])] {
        assert_close(curve[end][0], point.params, 1e-12);
        assert_close(curve[end][1], point.loss, 1e-12);
    }
    assert_eq!(drawn(&one[..2]).len(), 2);
}

#[test]
fn draws_are_a_function_of_the_seed() {
    let points = grid(&BESIROGLU, 0.003, 6);
    assert_eq!(fit(&points, &LOCAL), fit(&points, &LOCAL));
    let other = laws(&points, &Options { seed: 2, ..LOCAL });
    assert_ne!(laws(&points, &LOCAL).params.interval, other.params.interval);
}

fn procedures() -> impl Strategy<Value = Options> {
    prop_oneof![Just(Options { bootstraps: 60, ..LOCAL }), Just(Options { bootstraps: 60, ..AUTHORS })]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_order_of_rows_changes_no_bit(seed in 1..50_u64, by in 1..60_usize, options in procedures()) {
        let points = grid(&BESIROGLU, 0.003, seed);
        let mut turned = points.clone();
        turned.rotate_left(by);
        turned.reverse();
        prop_assert_eq!(fit(&points, &options), fit(&turned, &options));
    }

    #[test]
    fn a_repeat_of_a_row_changes_nothing(seed in 1..50_u64, row in 0..132_usize, options in procedures()) {
        let mut points = grid(&BESIROGLU, 0.003, seed);
        let before = fit(&points, &options);
        points.push(points[row]);
        let worse = Point { loss: points[row].loss + 1.0, ..points[row] };
        points.push(worse);
        let after = fit(&points, &options);
        prop_assert_eq!(before.budgets, after.budgets);
        prop_assert_eq!(before.laws.unwrap().params, after.laws.unwrap().params);
    }

    /// Counting parameters in thousands, or compute in petaFLOP-days, moves the coefficient and nothing else.
    #[test]
    fn units_move_the_coefficient_alone(seed in 1..50_u64, size in 1e-3..1e3_f64, compute in 1e-9..1e3_f64, options in procedures()) {
        let points = grid(&BESIROGLU, 0.003, seed);
        let scaled: Vec<Point> = points
            .iter()
            .map(|p| Point { flops: compute * p.flops, params: size * p.params, tokens: compute / size * p.tokens, loss: p.loss })
            .collect();
        let (a, b) = (laws(&points, &options).params, laws(&scaled, &options).params);
        assert_close(b.exponent, a.exponent, 1e-6);
        assert_close(b.r2, a.r2, 1e-6);
        assert_close(b.interval[0], a.interval[0], 1e-6);
        assert_close(b.at(1e18 * compute), size * a.at(1e18), 1e-5);
    }
}
