//! Exponential functions of f32 without branches, so that they vectorise; computed in f64, so that they are
//! correctly rounded with rare exceptions.
//!
//! In f64 Flex calls the C library, which is accurate enough for computations in f64.

use std::f64::consts::{LN_2, LOG2_E};

/// `e^r - 1` for `|r| <= ln(2) / 2`, to a relative error of 2e-12: the Taylor series.
#[inline(always)]
fn exp_m1_reduced(r: f64) -> f64 {
    let mut sum: f64 = 1.0 / 3_628_800.0;
    for coefficient in [
        1.0 / 362_880.0,
        1.0 / 40_320.0,
        1.0 / 5040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
    ] {
        sum = sum.mul_add(r, coefficient);
    }
    sum * r
}

/// `2^k` and `e^r - 1` with `x = k ln 2 + r`, for `|x| <= 600`.
#[inline(always)]
fn split(x: f64) -> (f64, f64) {
    // Adding 1.5 * 2^52 rounds to an integer and leaves it in the low bits.
    const SHIFT: f64 = 6_755_399_441_055_744.0;
    let shifted = x.mul_add(LOG2_E, SHIFT);
    let k = shifted - SHIFT;
    let power = f64::from_bits(shifted.to_bits().wrapping_add(1023) << 52);
    (power, exp_m1_reduced(k.mul_add(-LN_2, x)))
}

/// x clamped to `bound` on either side. NaN is preserved.
#[inline(always)]
fn within(bound: f64, x: f64) -> f64 {
    let x = if x > bound { bound } else { x };
    if x < -bound { -bound } else { x }
}

/// `e^x` in f64. Beyond 200, the result rounded to f32 is infinite or zero.
#[inline(always)]
fn wide_exp(x: f64) -> f64 {
    let (power, reduced) = split(within(200.0, x));
    power.mul_add(reduced, power)
}

/// `1 / d` to a relative error of 1e-14, for numbers whose reciprocal is a normal f32: a division in f32,
/// which is three times as fast, and a step of Newton's method.
#[inline(always)]
fn reciprocal(d: f64) -> f64 {
    let r = f64::from(1.0 / d as f32);
    r * d.mul_add(-r, 2.0)
}

/// `e^x`.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    wide_exp(f64::from(x)) as f32
}

/// `tanh(x) = (e^2x - 1) / (e^2x + 1)`.
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    let (power, reduced) = split(within(50.0, 2.0 * f64::from(x)));
    let grown = power.mul_add(reduced, power - 1.0);
    // The result for -0 is -0.
    ((grown * reciprocal(grown + 2.0)) as f32).copysign(x)
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    (1.0 / (1.0 + wide_exp(-f64::from(x)))) as f32
}

/// The natural logarithm: with `x = m 2^e` and `s = (m - 1) / (m + 1)`, `e ln 2 + 2 (s + s^3/3 + ...)`.
#[inline(always)]
pub(crate) fn log(x: f32) -> f32 {
    // The bits of sqrt(1/2): the difference above them is the exponent for an m in [sqrt(1/2), sqrt(2)).
    const HALF: u64 = 0x3FE6_A09E_667F_3BCD;
    const EXPONENT: u64 = 0xFFF0_0000_0000_0000;
    // As an f64, to convert an integer to a float without a dedicated instruction.
    const SHIFT: f64 = 6_755_399_441_055_744.0;
    let bits = f64::from(x).to_bits();
    let above = bits.wrapping_sub(HALF);
    let m = f64::from_bits(bits.wrapping_sub(above & EXPONENT));
    let e = f64::from_bits(SHIFT.to_bits().wrapping_add_signed((above as i64) >> 52)) - SHIFT;
    let s = (m - 1.0) * reciprocal(m + 1.0);
    let t = s * s;
    let mut sum: f64 = 1.0 / 15.0;
    for odd in [13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0] {
        sum = sum.mul_add(t, 1.0 / odd);
    }
    let log = e.mul_add(LN_2, 2.0 * s * sum) as f32;
    let log = if x == 0.0 { f32::NEG_INFINITY } else { log };
    let log = if x == f32::INFINITY { x } else { log };
    if x < 0.0 || x.is_nan() { f32::NAN } else { log }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every 1009th f32, and special values.
    fn numbers() -> impl Iterator<Item = f32> {
        let special =
            [0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MIN_POSITIVE, 1.0, -1.0];
        (0..=u32::MAX).step_by(1009).map(f32::from_bits).chain(special)
    }

    fn compare(name: &str, ours: fn(f32) -> f32, truth: fn(f64) -> f64) {
        let mut missed = 0;
        for x in numbers() {
            let (found, expected) = (ours(x), truth(f64::from(x)) as f32);
            let same =
                found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan());
            // An adjacent f32 is accepted if the exact value is halfway between both, up to the error of the
            // series.
            let near = found.to_bits().abs_diff(expected.to_bits()) == 1;
            missed += usize::from(!same);
            assert!(same || near, "{name}({x:e}) = {found:e}, expected {expected:e}");
        }
        assert!(missed <= 3, "{name}: {missed} of 4 million are the neighbour of what is right");
    }

    #[test]
    fn functions_are_rounded_correctly() {
        compare("exp", exp, f64::exp);
        compare("log", log, f64::ln);
        compare("tanh", tanh, f64::tanh);
        compare("sigmoid", sigmoid, |x| 1.0 / (1.0 + (-x).exp()));
    }
}
