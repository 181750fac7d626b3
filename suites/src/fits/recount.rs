//! The same training runs under another count of FLOPs: exact sums for each shape, and losses read between the
//! published points.

use super::accounting::{Convention, Shape};
use super::curve::{Point, budgets};
use super::reading::Reading;

/// How far a size may be from a shape's, relatively: published sizes are whole numbers, perhaps rounded.
const SAME_SIZE: f64 = 1e-4;

/// The shape whose size under `convention` is `params`.
pub fn shape(shapes: &[Shape], convention: Convention, params: f64) -> Option<&Shape> {
    shapes.iter().find(|shape| (convention.size(shape) / params - 1.0).abs() <= SAME_SIZE)
}

/// Points at the same budgets under another count. For each size the loss is a function of tokens, known at the points
/// of all budgets; at C/(FLOPs a token) it is read by Akima's interpolation of ln L in ln D. Nothing is read outside the
/// tokens that are known, so a budget may have fewer sizes than before.
///
/// # Errors
/// A size that no shape has.
pub fn recount(points: &[Point], from: Convention, to: Convention, shapes: &[Shape]) -> Result<Vec<Point>, String> {
    let budgets: Vec<f64> = budgets(points).into_iter().map(|(flops, _)| flops).collect();
    let mut sizes: Vec<f64> = points.iter().map(|p| p.params).collect();
    sizes.sort_by(f64::total_cmp);
    sizes.dedup();
    let mut all = Vec::new();
    for size in sizes {
        let shape = shape(shapes, from, size).ok_or_else(|| format!("no model of the paper has {size} parameters"))?;
        let known = points.iter().filter(|p| p.params == size).map(|p| [p.tokens, p.loss]);
        let Some(curve) = Reading::over(known) else { continue };
        for flops in &budgets {
            let tokens = flops / to.flops_per_token(shape);
            if let Some(loss) = curve.at(tokens) {
                all.push(Point { flops: *flops, params: to.size(shape), tokens, loss });
            }
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fits::published::porian2024;
    use crate::fits::synthetic::BESIROGLU;
    use crate::stats::assert_close;

    /// The paper's sizes at twelve budgets, with losses of a known law.
    fn points(convention: Convention) -> Vec<Point> {
        let mut all = Vec::new();
        for shape in porian2024().shapes() {
            for budget in 0..12_u32 {
                let flops = 1.25e16 * f64::from(1_u32 << budget);
                let tokens = flops / convention.flops_per_token(&shape);
                // The law speaks of all parameters, whatever is counted.
                let loss = BESIROGLU.loss(Convention::Standard.size(&shape), tokens);
                all.push(Point { flops, params: convention.size(&shape), tokens, loss });
            }
        }
        all
    }

    #[test]
    fn counting_anew_is_as_if_it_had_been_counted_so() {
        for to in [Convention::Attention, Convention::Kaplan] {
            let expected = points(to);
            let found =
                recount(&points(Convention::Standard), Convention::Standard, to, &porian2024().shapes()).unwrap();
            assert!(found.len() > 150, "{}", found.len());
            for point in found {
                let same = expected.iter().find(|p| p.flops == point.flops && p.params == point.params).unwrap();
                assert_close(point.tokens, same.tokens, 1e-12);
                assert_close(point.loss, same.loss, 2e-3);
            }
        }
    }

    #[test]
    fn the_same_count_gives_the_same_points() {
        let before = points(Convention::Standard);
        let after = recount(&before, Convention::Standard, Convention::Standard, &porian2024().shapes()).unwrap();
        assert_eq!(after.len(), before.len());
        for point in after {
            let same = before.iter().find(|p| p.flops == point.flops && p.params == point.params).unwrap();
            assert_close(point.loss, same.loss, 1e-12);
        }
    }

    #[test]
    fn an_unknown_size_is_named() {
        let point = Point { flops: 1e17, params: 1e6, tokens: 1e10, loss: 3.0 };
        let why = recount(&[point], Convention::Standard, Convention::Attention, &porian2024().shapes()).unwrap_err();
        assert_eq!(why, "no model of the paper has 1000000 parameters");
    }
}
