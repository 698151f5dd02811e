//! Random shapes and values: small, deterministic, away from the kinks and poles of an operation.

use proptest::prelude::*;

use super::{Array, On};

/// A source of randomness; its sizes shrink to the smallest shape that fails.
#[derive(Clone, Debug)]
pub(crate) struct Dice {
    dims: [usize; 6],
    taken: usize,
    state: u64,
}

pub(crate) fn dice() -> impl Strategy<Value = Dice> {
    let dims = prop::array::uniform6(1..=4_usize);
    (dims, any::<u64>()).prop_map(|(dims, state)| Dice { dims, taken: 0, state })
}

/// The domain from which an input is drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Domain {
    Between(f64, f64),
    /// Pairwise distinct, also in magnitude, by at least 0.05; at least 0.05 from zero and 0.005 from every
    /// multiple of 0.1: no ties, and no kink of a clamp at 0.05 + 0.1 n or of a rounding.
    Distinct,
    /// Integers from -1 to 2.
    Whole,
}

pub(crate) const ANY: Domain = Domain::Between(-2.0, 2.0);
pub(crate) const POSITIVE: Domain = Domain::Between(0.5, 2.5);
pub(crate) const DISTINCT: Domain = Domain::Distinct;

#[derive(Clone, Debug)]
pub(crate) struct Input {
    shape: Vec<usize>,
    domain: Domain,
}

pub(crate) fn input(shape: impl Into<Vec<usize>>, domain: Domain) -> Input {
    Input { shape: shape.into(), domain }
}

impl Input {
    /// The same shape, with positive entries.
    pub(crate) fn positive(self) -> Self {
        Self { domain: POSITIVE, ..self }
    }

    /// Another tensor with the same batch and channels.
    pub(crate) fn resized<const N: usize>(&self, size: [usize; N], domain: Domain) -> Self {
        input([&self.shape[..2], &size].concat(), domain)
    }
}

impl Dice {
    /// A size from 1 to 4.
    pub(crate) fn size(&mut self) -> usize {
        self.taken += 1;
        self.dims[(self.taken - 1) % 6]
    }

    /// One tensor of rank 3.
    pub(crate) fn cube(&mut self, domain: Domain) -> Vec<Input> {
        vec![input([self.size(), self.size(), self.size()], domain)]
    }

    /// One tensor of the given rank.
    pub(crate) fn tensor(&mut self, rank: usize, domain: Domain) -> Vec<Input> {
        let shape: Vec<usize> = (0..rank).map(|_| self.size()).collect();
        vec![input(shape, domain)]
    }

    /// Two tensors that broadcast together: equal shapes, one broadcast over the other, or each over the
    /// other.
    pub(crate) fn pair(&mut self, left: Domain, right: Domain) -> Vec<Input> {
        let (a, b, c) = (self.size(), self.size(), self.size());
        let (x, y) = match self.size() {
            1 => ([a, b, c], [a, b, c]),
            2 => ([a, b, c], [1, b, 1]),
            3 => ([1, 1, c], [a, b, c]),
            _ => ([a, 1, c], [1, b, c]),
        };
        vec![input(x, left), input(y, right)]
    }

    /// Two tensors for an operation that NdArray does not broadcast.
    pub(crate) fn pair_if_broadcast(&mut self, left: Domain, right: Domain) -> Vec<Input> {
        let pair = self.pair(left, right);
        if crate::SUITE.on != On::NdArray {
            return pair;
        }
        let shape = pair[0].shape.clone();
        vec![input(shape.clone(), left), input(shape, right)]
    }

    pub(super) fn values(&mut self, input: &Input) -> Array {
        let count: usize = input.shape.iter().product();
        let data = match input.domain {
            Domain::Between(low, high) => {
                (0..count).map(|_| low + (high - low) * self.unit()).collect()
            }
            Domain::Whole => (0..count).map(|_| (self.unit() * 4.0).floor() - 1.0).collect(),
            Domain::Distinct => {
                let mut ranks: Vec<usize> = (1..=count).collect();
                for i in (1..count).rev() {
                    ranks.swap(i, (self.unit() * (i + 1) as f64) as usize);
                }
                let mut sign = || if self.unit() < 0.5 { -1.0 } else { 1.0 };
                let signs: Vec<(f64, f64)> = ranks.iter().map(|_| (sign(), sign())).collect();
                let jitter = |s: f64, u: f64| s * (0.006 + 0.014 * u);
                ranks
                    .into_iter()
                    .zip(signs)
                    .map(|(k, (s, t))| s * (0.1 * k as f64 + jitter(t, self.unit())))
                    .collect()
            }
        };
        Array { shape: input.shape.clone(), data }
    }

    /// Which of `count` inputs have a tangent: at least one.
    pub(super) fn some_of(&mut self, count: usize) -> Vec<bool> {
        let mut moves: Vec<bool> = (0..count).map(|_| self.unit() < 0.6).collect();
        if !moves.contains(&true) {
            moves[(self.unit() * count as f64) as usize] = true;
        }
        moves
    }

    pub(super) fn direction(&mut self, x: &[Array], moves: &[bool]) -> Vec<Array> {
        x.iter()
            .zip(moves)
            .map(|(x, moves)| if *moves { self.like(x) } else { Array::zeros(x.shape.clone()) })
            .collect()
    }

    /// Values in [-1, 1] in the shape of `x`.
    pub(super) fn like(&mut self, x: &Array) -> Array {
        self.values(&input(x.shape.clone(), Domain::Between(-1.0, 1.0)))
    }

    /// A number in [0, 1): splitmix64.
    fn unit(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}
