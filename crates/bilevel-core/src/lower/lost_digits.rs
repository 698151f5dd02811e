//! Multiplication of integers by a fraction, without loss.

/// A fraction `n / d` with small terms, `0 < n < d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fraction {
    pub numerator: u64,
    pub denominator: u64,
}

impl Fraction {
    /// Small denominators keep the low digits of a product, which are d units wide, narrow.
    const LARGEST: u64 = 4096;

    /// The fraction closest to `value`, among those with the smallest denominator; none outside (0, 1).
    pub fn near(value: f64) -> Option<Self> {
        let candidates = (2..=Self::LARGEST).map(|denominator| {
            let most = denominator - 1;
            let numerator = ((value * denominator as f64).round() as u64).clamp(1, most);
            let fraction = Self { numerator, denominator };
            (fraction, (fraction.value() - value).abs())
        });
        // Short decimals are matched up to rounding: the first match wins.
        let better = |best: (Self, f64), next: (Self, f64)| {
            if next.1 + 1e-15 < best.1 { next } else { best }
        };
        let inside = value > 0.0 && value < 1.0;
        inside.then(|| candidates.reduce(better).map(|(fraction, _)| fraction))?
    }

    /// `n / d`.
    pub fn value(self) -> f64 {
        self.numerator as f64 / self.denominator as f64
    }
}

/// The digits that multiplications have cut off a list of integers: for each integer a number, to which a product by
/// `n / d` adds one digit of base d and from which it takes one of base n to fill the low place of the result.
///
/// So a product adds `log2(d / n)` bits for each integer. Numbers that might not hold one more digit are stored, all
/// together, after a number of products that is known in advance.
///
/// Source: D. Maclaurin, D. Duvenaud and R. P. Adams, "Gradient-based hyperparameter optimization through
/// reversible learning", 2015, Alg. 3.
#[derive(Debug)]
pub(super) struct LostDigits {
    by: Fraction,
    /// How many products the numbers can hold.
    room: usize,
    products: usize,
    numbers: Vec<u64>,
    full: Vec<Vec<u64>>,
}

impl LostDigits {
    pub fn new(by: Fraction, size: usize) -> Self {
        let Fraction { numerator, denominator } = by;
        let (mut largest, mut room) = (0_u64, 0);
        // The largest number after each product, until one might not fit.
        while let Some(next) = largest.checked_mul(denominator)
            && let Some(next) = next.checked_add(denominator - 1)
        {
            largest = next / numerator;
            room += 1;
        }
        Self { by, room, products: 0, numbers: vec![0; size], full: Vec::new() }
    }

    /// Bits that are held.
    pub fn bits(&self) -> usize {
        self.numbers.len() * (1 + self.full.len()) * 64
    }

    /// Multiplies every value by `n / d`, up to d units.
    pub fn multiply(&mut self, values: &mut [i64]) {
        if self.products > 0 && self.products.is_multiple_of(self.room) {
            let empty = vec![0; self.numbers.len()];
            self.full.push(std::mem::replace(&mut self.numbers, empty));
        }
        self.products += 1;
        let Fraction { numerator, denominator } = self.by;
        exchange(&mut self.numbers, values, denominator, numerator);
    }

    /// Undoes the last product.
    pub fn divide(&mut self, values: &mut [i64]) {
        let Fraction { numerator, denominator } = self.by;
        exchange(&mut self.numbers, values, numerator, denominator);
        self.products -= 1;
        if self.products.is_multiple_of(self.room)
            && let Some(numbers) = self.full.pop()
        {
            self.numbers = numbers;
        }
    }
}

/// Moves the low digit of base `out` from the values to the numbers, and one of base `into` back: values are multiplied
/// by `into / out`. The same with the bases exchanged reverses it.
fn exchange(numbers: &mut [u64], values: &mut [i64], out: u64, into: u64) {
    for (number, value) in numbers.iter_mut().zip(values) {
        let filled = *number * out + value.rem_euclid(out as i64) as u64;
        *number = filled / into;
        *value = value.div_euclid(out as i64) * into as i64 + (filled % into) as i64;
    }
}

#[cfg(test)]
mod tests {
    use super::{Fraction, LostDigits};

    #[test]
    fn decimals_are_met_by_the_smallest_fraction() {
        let found = [0.9, 0.99, 0.5, 0.375].map(|value| {
            let Fraction { numerator, denominator } = Fraction::near(value).unwrap();
            (numerator, denominator)
        });
        assert_eq!(found, [(9, 10), (99, 100), (1, 2), (3, 8)]);
        let value = 1.0 / std::f64::consts::PI;
        assert!((Fraction::near(value).unwrap().value() - value).abs() < 1e-7);
        assert_eq!([0.0, 1.0, -0.1, f64::NAN].map(Fraction::near), [None; 4]);
    }

    #[test]
    fn products_are_undone_to_the_last_bit() {
        for momentum in [0.9, 0.999, 0.01, 1.0 / std::f64::consts::PI] {
            let by = Fraction::near(momentum).unwrap();
            let start = vec![0, 1, -1, 123_456_789_012_345, -(1 << 60), 1 << 60];
            let mut values = start.clone();
            let mut information = LostDigits::new(by, values.len());
            let push = |t: i64| (t * 7_919) % 1_000_003 - 500_000;
            let mut seen = Vec::new();
            for t in 0..2_000 {
                seen.push(values.clone());
                let before = values.clone();
                information.multiply(&mut values);
                for (value, before) in values.iter().zip(before) {
                    let off = *value as f64 - before as f64 * by.value();
                    // f64 does not hold 61 bits.
                    assert!(off.abs() <= by.denominator as f64 + 1e3, "{off}");
                }
                values.iter_mut().for_each(|value| *value += push(t));
            }
            for t in (0..2_000).rev() {
                values.iter_mut().for_each(|value| *value -= push(t));
                information.divide(&mut values);
                assert_eq!(values, seen[t as usize], "step {t} of {momentum}");
            }
            assert_eq!((values, information.bits()), (start.clone(), 64 * start.len()));
        }
    }
}
