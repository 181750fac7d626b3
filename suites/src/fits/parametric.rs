//! The parametric loss L = E + A/N^α + B/D^β (Hoffmann et al. 2022, approach 3), fitted as Besiroglu et al. 2024 correct
//! it: the sum of Huber losses of ln L with δ = 10⁻³, minimised from many starts until it moves no more.

use super::curve::Point;
use super::law;
use preheat_kernels::rng::Stream;

/// Where the Huber loss turns from square to straight, in ln L.
pub const HUBER_DELTA: f64 = 1e-3;
/// Starting exponents of α and of β; each pair is a start.
const STARTS: [f64; 7] = [0.05, 0.1, 0.2, 0.35, 0.5, 0.8, 1.2];
/// Points that the five parameters need.
pub const FEWEST_POINTS: usize = 8;
const MOST_STEPS: usize = 500;
/// Relative gain of a step below which it counts as none: of the fit itself, and of a draw, which starts at the fit.
const TOLERANCE: f64 = 1e-10;
const DRAW_TOLERANCE: f64 = 1e-6;

/// A value and its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Estimate {
    /// The value.
    pub value: f64,
    /// Percentile interval of fits to rows drawn with replacement.
    pub interval: [f64; 2],
}

/// The fitted loss.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Parametric {
    /// E, the irreducible loss, nats a token.
    pub e: Estimate,
    /// A.
    pub a: Estimate,
    /// B.
    pub b: Estimate,
    /// α, the exponent of N.
    pub alpha: Estimate,
    /// β, the exponent of D.
    pub beta: Estimate,
    /// The exponent of N*(C): β/(α + β).
    pub exponent: Estimate,
    /// N* at C = 1 FLOP.
    pub coefficient: f64,
    /// Sum of the Huber losses.
    pub objective: f64,
    /// Points.
    pub n: usize,
    /// Starts that end at this minimum, and all of them.
    pub starts: [usize; 2],
}

impl Parametric {
    /// L of N parameters after D tokens, nats a token.
    pub fn loss(&self, params: f64, tokens: f64) -> f64 {
        self.e.value
            + self.a.value * libm::pow(params, -self.alpha.value)
            + self.b.value * libm::pow(tokens, -self.beta.value)
    }
}

/// Fits `points`; `draws` fits to rows drawn with replacement give the intervals.
///
/// # Errors
/// Why not, in one line.
pub fn fit(points: &[Point], draws: u32, stream: Stream) -> Result<Parametric, String> {
    if points.len() < FEWEST_POINTS {
        return Err(format!("{} points; at least {FEWEST_POINTS} are needed", points.len()));
    }
    let data = Data::of(points);
    let ends: Vec<(Theta, f64)> =
        data.starts().into_iter().map(|start| data.descend(start, &data.ones(), TOLERANCE)).collect();
    let best = ends.iter().min_by(|a, b| a.1.total_cmp(&b.1)).ok_or("no start has a finite loss")?;
    let same = ends.iter().filter(|(_, value)| *value <= best.1 * (1.0 + 1e-4) + 1e-12).count();
    let mut found: [Vec<f64>; 6] = Default::default();
    let mut counts = data.ones();
    for draw in 0..draws {
        counts.fill(0.0);
        for i in 0..points.len() {
            counts[stream.below(draw, i as u64, points.len() as u64) as usize] += 1.0;
        }
        let (theta, _) = data.descend(best.0, &counts, DRAW_TOLERANCE);
        found.iter_mut().zip(data.named(theta)).for_each(|(all, value)| all.push(value));
    }
    let named = data.named(best.0);
    let mut estimates =
        named.into_iter().zip(found).map(|(value, all)| Estimate { value, interval: law::interval(all) });
    let [e, a, b, alpha, beta, exponent] = std::array::from_fn(|_| estimates.next().expect("six are named"));
    // N* = G (C/k)^a with G = (αA/(βB))^(1/(α+β)) (Hoffmann et al. 2022, eq. 4), k FLOPs a parameter and token.
    let sum = alpha.value + beta.value;
    let g = libm::pow(alpha.value * a.value / (beta.value * b.value), 1.0 / sum);
    let coefficient = g * libm::pow(data.flops_per_param_token, -exponent.value);
    Ok(Parametric {
        e,
        a,
        b,
        alpha,
        beta,
        exponent,
        coefficient,
        objective: best.1,
        n: points.len(),
        starts: [same, ends.len()],
    })
}

/// ln E, ln A and ln B at the data's centre, α, β.
type Theta = [f64; 5];

/// The points in logarithms, about their means.
struct Data {
    n: Vec<f64>,
    d: Vec<f64>,
    ln_loss: Vec<f64>,
    /// Means of ln N and ln D.
    centre: [f64; 2],
    flops_per_param_token: f64,
}

impl Data {
    fn of(points: &[Point]) -> Self {
        let logs = |of: fn(&Point) -> f64| points.iter().map(|p| libm::log(of(p))).collect::<Vec<f64>>();
        let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
        let (mut n, mut d) = (logs(|p| p.params), logs(|p| p.tokens));
        let centre = [mean(&n), mean(&d)];
        n.iter_mut().for_each(|n| *n -= centre[0]);
        d.iter_mut().for_each(|d| *d -= centre[1]);
        let per = points.iter().map(|p| p.flops / (p.params * p.tokens));
        Self { n, d, ln_loss: logs(|p| p.loss), centre, flops_per_param_token: crate::stats::median::median(per) }
    }

    fn ones(&self) -> Vec<f64> {
        vec![1.0; self.n.len()]
    }

    /// For each pair of exponents the E, A, B of ordinary least squares, which are linear in them; what comes out
    /// negative starts at a small share of the loss.
    fn starts(&self) -> Vec<Theta> {
        let mut all = Vec::with_capacity(STARTS.len() * STARTS.len());
        let mean_loss = self.ln_loss.iter().map(|l| libm::exp(*l)).sum::<f64>() / self.n.len() as f64;
        for alpha in STARTS {
            for beta in STARTS {
                let (mut matrix, mut right) = ([[0.0; 3]; 3], [0.0; 3]);
                for i in 0..self.n.len() {
                    let row = [1.0, libm::exp(-alpha * self.n[i]), libm::exp(-beta * self.d[i])];
                    let loss = libm::exp(self.ln_loss[i]);
                    for j in 0..3 {
                        right[j] += row[j] * loss;
                        for k in 0..3 {
                            matrix[j][k] += row[j] * row[k];
                        }
                    }
                }
                let Some(linear) = solve(matrix, right) else { continue };
                let [e, a, b] = linear.map(|x| libm::log(x.max(0.01 * mean_loss)));
                all.push([e, a, b, alpha, beta]);
            }
        }
        all
    }

    /// Levenberg's and Marquardt's method on reweighted squares: a Huber loss of r is the square with weight
    /// min(1, δ/|r|). `counts` is how often each point occurs. Gives the end and its objective.
    fn descend(&self, mut theta: Theta, counts: &[f64], tolerance: f64) -> (Theta, f64) {
        let mut value = self.objective(&theta, counts);
        let mut damping = 1e-3;
        let mut idle = 0;
        for _ in 0..MOST_STEPS {
            let (matrix, right) = self.normal_equations(&theta, counts);
            let mut damped = matrix;
            for (i, row) in damped.iter_mut().enumerate() {
                row[i] += damping * matrix[i][i] + 1e-300;
            }
            let Some(step) = solve(damped, right) else { break };
            let mut next = theta;
            next.iter_mut().zip(step).for_each(|(t, s)| *t -= s);
            let there = self.objective(&next, counts);
            if there < value {
                idle = if value - there <= tolerance * value { idle + 1 } else { 0 };
                (theta, value) = (next, there);
                damping = (0.3 * damping).max(1e-12);
            } else {
                // A weight moves with the residual, so the plain step can be too long.
                idle += usize::from(damping > 1e8);
                damping *= 4.0;
            }
            if idle >= 3 || damping > 1e12 {
                break;
            }
        }
        (theta, value)
    }

    /// Shares of E, A/N^α and B/D^β in the loss, and ln of the loss.
    fn model(&self, [e, a, b, alpha, beta]: &Theta, i: usize) -> ([f64; 3], f64) {
        let terms = [*e, a - alpha * self.n[i], b - beta * self.d[i]];
        let most = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let parts = terms.map(|t| libm::exp(t - most));
        let sum: f64 = parts.iter().sum();
        (parts.map(|p| p / sum), most + libm::log(sum))
    }

    fn objective(&self, theta: &Theta, counts: &[f64]) -> f64 {
        let huber = |r: f64| if r <= HUBER_DELTA { 0.5 * r * r } else { HUBER_DELTA * (r - 0.5 * HUBER_DELTA) };
        let at = |i: usize| counts[i] * huber((self.model(theta, i).1 - self.ln_loss[i]).abs());
        (0..self.n.len()).filter(|i| counts[*i] > 0.0).map(at).sum()
    }

    fn normal_equations(&self, theta: &Theta, counts: &[f64]) -> ([[f64; 5]; 5], [f64; 5]) {
        let (mut matrix, mut right) = ([[0.0; 5]; 5], [0.0; 5]);
        for i in (0..self.n.len()).filter(|i| counts[*i] > 0.0) {
            let ([e, a, b], ln_loss) = self.model(theta, i);
            let residual = ln_loss - self.ln_loss[i];
            let weight = counts[i] * (HUBER_DELTA / residual.abs()).min(1.0);
            let slope = [e, a, b, -a * self.n[i], -b * self.d[i]];
            for j in 0..5 {
                right[j] += weight * slope[j] * residual;
                for k in 0..5 {
                    matrix[j][k] += weight * slope[j] * slope[k];
                }
            }
        }
        (matrix, right)
    }

    /// E, A, B, α, β and the exponent of N*, in the data's own units.
    fn named(&self, [e, a, b, alpha, beta]: Theta) -> [f64; 6] {
        let a = libm::exp(a + alpha * self.centre[0]);
        let b = libm::exp(b + beta * self.centre[1]);
        [libm::exp(e), a, b, alpha, beta, beta / (alpha + beta)]
    }
}

/// Solves a small system by elimination with pivots; `None` where it is singular.
#[expect(clippy::needless_range_loop, reason = "rows and columns by their numbers, as elimination is written")]
fn solve<const K: usize>(mut matrix: [[f64; K]; K], mut right: [f64; K]) -> Option<[f64; K]> {
    for column in 0..K {
        let pivot = (column..K).max_by(|a, b| matrix[*a][column].abs().total_cmp(&matrix[*b][column].abs()))?;
        matrix.swap(column, pivot);
        right.swap(column, pivot);
        let top = matrix[column][column];
        if !top.is_normal() {
            return None;
        }
        for row in column + 1..K {
            let factor = matrix[row][column] / top;
            for k in column..K {
                matrix[row][k] -= factor * matrix[column][k];
            }
            right[row] -= factor * right[column];
        }
    }
    for row in (0..K).rev() {
        for k in row + 1..K {
            right[row] -= matrix[row][k] * right[k];
        }
        right[row] /= matrix[row][row];
    }
    right.iter().all(|x| x.is_finite()).then_some(right)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fits::synthetic::{BESIROGLU, HOFFMANN, Truth, grid};
    use crate::stats::assert_close;

    fn recovered(truth: &Truth) {
        let points = grid(truth, 0.0, 1);
        let fitted = fit(&points, 0, Stream::new(0, 0)).unwrap();
        for (found, expected) in [
            (fitted.e.value, truth.e),
            (fitted.a.value, truth.a),
            (fitted.b.value, truth.b),
            (fitted.alpha.value, truth.alpha),
            (fitted.beta.value, truth.beta),
            (fitted.exponent.value, truth.exponent()),
        ] {
            assert_close(found, expected, 1e-4);
        }
        assert!(fitted.starts[0] >= fitted.starts[1] / 2, "{:?}", fitted.starts);
        let optimum = fitted.coefficient * libm::pow(1e20, fitted.exponent.value);
        assert_close(optimum, truth.optimum(1e20), 1e-3);
        assert_close(fitted.loss(1e9, 2e10), truth.loss(1e9, 2e10), 1e-6);
    }

    #[test]
    fn known_laws_are_found_again() {
        recovered(&BESIROGLU);
        recovered(&HOFFMANN);
    }

    #[test]
    fn outliers_do_not_pull() {
        let mut points = grid(&BESIROGLU, 0.0, 1);
        for i in (0..points.len()).step_by(9) {
            points[i].loss *= 1.3;
        }
        let fitted = fit(&points, 0, Stream::new(0, 0)).unwrap();
        assert_close(fitted.exponent.value, BESIROGLU.exponent(), 2e-3);
    }

    #[test]
    fn intervals_hold_the_truth_and_are_seeded() {
        let points = grid(&BESIROGLU, 0.003, 5);
        let run = |seed| fit(&points, 100, Stream::new(seed, 0)).unwrap();
        let fitted = run(1);
        for (estimate, truth) in
            [(fitted.exponent, BESIROGLU.exponent()), (fitted.alpha, BESIROGLU.alpha), (fitted.e, BESIROGLU.e)]
        {
            assert!(estimate.interval[0] < truth && truth < estimate.interval[1], "{estimate:?} {truth}");
        }
        assert_eq!(fitted, run(1));
        assert_ne!(fitted.exponent.interval, run(2).exponent.interval);
    }

    #[test]
    fn too_few_points() {
        let points = &grid(&BESIROGLU, 0.0, 1)[..FEWEST_POINTS - 1];
        assert_eq!(fit(points, 0, Stream::new(0, 0)).unwrap_err(), "7 points; at least 8 are needed");
    }

    #[test]
    fn singular_systems_have_no_solution() {
        assert_eq!(solve([[1.0, 2.0], [2.0, 4.0]], [1.0, 2.0]), None);
        assert_eq!(solve([[0.0, 2.0], [4.0, 0.0]], [2.0, 2.0]), Some([0.5, 1.0]));
    }
}
