//! A memory of every batch.

use std::array::from_fn;

use bilevel_program::Vector;

use super::estimates::{At, Auxiliary, all, corrected, directions, mean};
use crate::joint::{Iterate, JointMethod, Seen};
use crate::{Error, Loss, Objective, Rates, Sample, Schedule, Snapshot};

/// `saba`: the directions of [`Soba`](super::Soba), corrected by the last value seen for each batch, as in SAGA.
///
/// ```text
/// for each of  f_y, f_yy v, f_xy' v  of batch s and  F_y, F_x  of batch t:
/// S = new - memory of the batch + mean of the memories,   memory of the batch = new
/// D_y = S(f_y),   D_v = S(f_yy v) + S(F_y),   D_x = S(f_xy' v) + S(F_x)
/// ```
///
/// The first step evaluates all batches at the start and moves against their mean. Converges with constant step sizes,
/// linearly where the hypergradient satisfies a Polyak-Lojasiewicz inequality, without a noise ball.
///
/// Requires: f strongly convex in y; step sizes below those of `soba`; batches that stay the same, as those of a
/// [`Sampler`](crate::Sampler) do. Memory: x, y and v; three vectors, two of y and one of x, for each batch of f and
/// two, of y and x, for each of F. Cost: one gradient of f, one of F, one product of f; for n and m batches of f and F
/// the first step costs n, m and n.
///
/// Source: M. Dagréou, P. Ablin, S. Vaiter and T. Moreau, "A framework for bilevel optimization that enables
/// stochastic and global variance reduction algorithms", 2022.
#[derive(Clone, Debug)]
pub struct Saba {
    auxiliary: Auxiliary,
    seen: Option<(Memory<3>, Memory<2>)>,
}

/// The last value of each batch, and the mean.
#[derive(Clone, Debug)]
struct Memory<const N: usize> {
    batches: Vec<[Vector; N]>,
    mean: [Vector; N],
}

impl<const N: usize> Memory<N> {
    /// From the values of all batches, and the loss of the last.
    fn new(seen: Vec<(Loss, [Vector; N])>) -> (Loss, Self) {
        let (loss, mean) = mean(seen.iter().cloned());
        (loss, Self { batches: seen.into_iter().map(|(_, parts)| parts).collect(), mean })
    }

    /// The corrected estimate, given the value `new` of a batch.
    fn see(&mut self, Sample(batch): Sample, new: [Vector; N]) -> [Vector; N] {
        let share = 1.0 / self.batches.len() as f64;
        let old = &mut self.batches[batch as usize];
        let estimate = corrected([0.0; N], &self.mean, &new, old);
        self.mean = from_fn(|i| self.mean[i].axpy(share, &new[i].sub(&old[i])));
        *old = new;
        estimate
    }

    fn save(&self, to: &mut Snapshot) {
        to.put_vectors("mean", &self.mean);
        for (at, batch) in self.batches.iter().enumerate() {
            to.put_vectors(&format!("batches/{at}"), batch);
        }
    }

    /// That of `batches` batches, each of vectors like `like`.
    fn restored(from: &mut Snapshot, batches: usize, like: [&Vector; N]) -> Result<Self, Error> {
        let mut batch = |at| from.take_array(&format!("batches/{at}"), like);
        let batches = (0..batches).map(&mut batch).collect::<Result<_, _>>()?;
        Ok(Self { batches, mean: from.take_array("mean", like)? })
    }
}

impl Saba {
    /// With the step sizes `rates`.
    pub fn new(rates: Rates) -> Self {
        Self { auxiliary: Auxiliary::new(rates), seen: None }
    }

    /// With the step size c of v, by default that of y.
    ///
    /// # Errors
    /// If it is not finite and positive.
    pub fn with_system_rate(mut self, rate: impl Into<Schedule>) -> Result<Self, Error> {
        self.auxiliary = self.auxiliary.with_rate(rate.into())?;
        Ok(self)
    }
}

impl JointMethod for Saba {
    fn name(&self) -> &'static str {
        "saba"
    }

    fn describe(&self) -> String {
        format!("saba({})", self.auxiliary)
    }

    fn step(&mut self, k: usize, at: &mut Iterate<'_>) -> Result<Seen, Error> {
        let v = self.auxiliary.v(at);
        let (upper_loss, lower_loss, along);
        if let Some((lower_memory, upper_memory)) = &mut self.seen {
            let samples = at.draw();
            let now = At::now(at);
            let (lower, upper);
            (lower_loss, lower) = now.lower(&v, &[samples.lower]);
            (upper_loss, upper) = now.upper(&[samples.upper]);
            along = directions(
                lower_memory.see(samples.lower, lower),
                upper_memory.see(samples.upper, upper),
            );
        } else {
            let now = At::now(at);
            let (lower, upper);
            let samples = (all(at, Objective::Lower), all(at, Objective::Upper));
            (lower_loss, lower) =
                Memory::new(samples.0.iter().map(|&s| now.lower(&v, &[s])).collect());
            (upper_loss, upper) = Memory::new(samples.1.iter().map(|&s| now.upper(&[s])).collect());
            along = directions(lower.mean.clone(), upper.mean.clone());
            self.seen = Some((lower, upper));
        }
        self.auxiliary.advance(k, at, &v, &along);
        let [along_y, along_v, along_x] = along;
        Ok(Seen { upper_loss, lower_loss, along_x, along_y, rest: along_v.norm() })
    }

    fn save(&self, to: &mut Snapshot) {
        self.auxiliary.save(to);
        if let Some((lower, upper)) = &self.seen {
            to.put_within("lower", |to| lower.save(to));
            to.put_within("upper", |to| upper.save(to));
        }
    }

    fn restore(&mut self, from: &mut Snapshot, at: &Iterate<'_>) -> Result<(), Error> {
        self.auxiliary.restore(from, at)?;
        self.seen = None;
        if from.has("lower") {
            let (x, y) = (&at.x, &at.y);
            let [n, m] =
                [Objective::Lower, Objective::Upper].map(|objective| at.sampler.batches(objective));
            let lower = from.take_within("lower", |from| Memory::restored(from, n, [y, y, x]))?;
            let upper = from.take_within("upper", |from| Memory::restored(from, m, [y, x]))?;
            self.seen = Some((lower, upper));
        }
        Ok(())
    }
}
