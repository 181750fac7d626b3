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

/// The share of y's variance that its least-squares line over x explains, from 0 to 1. `None` where there are fewer than
/// three points, x or y are all equal, or a value is not finite.
pub fn r_squared(x: &[f64], y: &[f64]) -> Option<f64> {
    if x.len() < 3 {
        return None;
    }
    // The product of the slopes of y over x and of x over y.
    Some((least_squares_slope(x, y)? * least_squares_slope(y, x)?).clamp(0.0, 1.0))
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

    // The first by exact fractions.
    #[test]
    fn explained_shares_agree_with_reference_values() {
        let explained = r_squared(&[0.0, 1.0, 2.0, 4.0, 7.0], &[1.0, 0.5, 0.7, -0.2, -1.1]).unwrap();
        assert_close(explained, 0.954_903_653_630_669_2, 1e-12);
        assert_eq!(r_squared(&[1.0, 2.0, 3.0], &[5.0, 3.0, 1.0]), Some(1.0));
        assert_eq!(r_squared(&[-1.0, 0.0, 1.0], &[1.0, 0.0, 1.0]), Some(0.0));
        assert_eq!(r_squared(&[1.0, 2.0], &[5.0, 3.0]), None);
        assert_eq!(r_squared(&[1.0, 2.0, 3.0], &[5.0; 3]), None);
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
