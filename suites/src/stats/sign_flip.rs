//! Fisher's exact sign-flip permutation test of paired differences.

/// Most differences that [`sign_flip_p`] enumerates: 2^20 sign patterns.
pub const MOST_DIFFERENCES: usize = 20;

/// Two-sided p: the share of all 2ⁿ sign patterns whose sum is at least as far from 0 as the observed one.
/// It assumes only that under no effect each difference is symmetric about 0.
///
/// `None` for no differences, more than [`MOST_DIFFERENCES`], or one that is not finite.
pub fn sign_flip_p(differences: &[f64]) -> Option<f64> {
    let n = differences.len();
    if n == 0 || n > MOST_DIFFERENCES || differences.iter().any(|d| !d.is_finite()) {
        return None;
    }
    // Sums that are equal in real numbers may differ in their last bits; they count as ties.
    let slack = 1e-12 * differences.iter().map(|d| d.abs()).sum::<f64>();
    let observed = differences.iter().sum::<f64>().abs() - slack;
    // A pattern and its opposite have opposite sums: the first sign stays.
    let patterns = 1u32 << (n - 1);
    let far = (0..patterns).filter(|pattern| signed_sum(differences, *pattern << 1).abs() >= observed).count();
    Some(far as f64 / f64::from(patterns))
}

/// Sum where bit `i` of `pattern` flips difference `i`.
fn signed_sum(differences: &[f64], pattern: u32) -> f64 {
    differences.iter().enumerate().map(|(i, d)| if pattern >> i & 1 == 1 { -d } else { *d }).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    // SciPy 1.17.1: stats.permutation_test((d,), sum, permutation_type="samples"), exact.
    #[test]
    fn agrees_with_reference_values() {
        assert_eq!(sign_flip_p(&[1.2, -0.4, 2.1, 0.7, 1.9, 0.3, -0.2]), Some(0.093_75));
        assert_eq!(sign_flip_p(&[1.0, 2.0, 3.0, 4.0, 5.0]), Some(0.0625));
    }

    #[test]
    fn ties_zeros_and_bad_input() {
        assert_eq!(sign_flip_p(&[0.0; 3]), Some(1.0));
        assert_eq!(sign_flip_p(&[0.1, 0.2, -0.3]), Some(1.0));
        assert_eq!(sign_flip_p(&[5.0]), Some(1.0));
        assert_eq!(sign_flip_p(&[]), None);
        assert_eq!(sign_flip_p(&[1.0, f64::NAN]), None);
        assert_eq!(sign_flip_p(&[1.0; MOST_DIFFERENCES + 1]), None);
        assert_eq!(sign_flip_p(&[1.0; MOST_DIFFERENCES]), Some(2.0 / 1_048_576.0));
    }
}
