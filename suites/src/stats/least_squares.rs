//! The slope of a straight line by least squares.

/// The slope of the least-squares line of y against x. `None` where lengths differ, all x are equal (or fewer than
/// two), or a value is not finite.
pub fn least_squares_slope(x: &[f64], y: &[f64]) -> Option<f64> {
    if x.len() != y.len() || x.is_empty() {
        return None;
    }
    let n = x.len() as f64;
    let (mean_x, mean_y) = (x.iter().sum::<f64>() / n, y.iter().sum::<f64>() / n);
    let products: f64 = x.iter().zip(y).map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let squares: f64 = x.iter().map(|x| (x - mean_x) * (x - mean_x)).sum();
    // Rounding of the mean alone could make equal x look spread.
    let spread = x.iter().any(|v| *v != x[0]);
    let slope = products / squares;
    (spread && slope.is_finite()).then_some(slope)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::assert_close;

    // SciPy 1.17.1: stats.linregress(x, y).slope.
    #[test]
    fn agrees_with_reference_values() {
        let slope = least_squares_slope(&[0.0, 1.0, 2.0, 4.0, 7.0], &[1.0, 0.5, 0.7, -0.2, -1.1]).unwrap();
        assert_close(slope, -0.296_103_896_103_896_15, 1e-13);
    }

    #[test]
    fn bad_input() {
        assert_eq!(least_squares_slope(&[], &[]), None);
        assert_eq!(least_squares_slope(&[1.0], &[1.0]), None);
        assert_eq!(least_squares_slope(&[0.1; 31], &[0.5; 31]), None);
        assert_eq!(least_squares_slope(&[1.0, 2.0], &[1.0]), None);
        assert_eq!(least_squares_slope(&[1.0, 2.0], &[1.0, f64::NAN]), None);
    }
}
