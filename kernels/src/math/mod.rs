//! The project's own `exp`, `ln`, `tanh`, `erf`, `sin` and `cos` for `f32`.

// Placeholders until the polynomials land; never shipped.
/// e^x.
pub fn exp(x: f32) -> f32 {
    libm::expf(x)
}
/// ln x.
pub fn ln(x: f32) -> f32 {
    libm::logf(x)
}
/// tanh x.
pub fn tanh(x: f32) -> f32 {
    libm::tanhf(x)
}
/// erf x.
pub fn erf(x: f32) -> f32 {
    libm::erff(x)
}
/// (sin x, cos x).
pub fn sin_cos(x: f32) -> (f32, f32) {
    libm::sincosf(x)
}
