//! Recursive estimates with an inner loop.

use bilevel_program::Vector;

use super::NeumannSeries;
use super::estimates::{At, all, corrected};
use crate::error::at_least_one;
use crate::joint::{Iterate, JointMethod, Seen};
use crate::{Error, Objective, Rates, Snapshot};

/// `vrbo`: SPIDER on `f_y` and on the hypergradient, with steps of y inside each step of x.
///
/// ```text
/// every P steps:  d_y, d_x = f_y, D_x at (x, y) on all batches
/// x' = Proj(x - a d_x),   d_y, d_x += (f_y, D_x)(x', y; s) - (f_y, D_x)(x, y; s)
/// T times: y' = Proj(y - b d_y),   d_y, d_x += (f_y, D_x)(x', y'; s) - (f_y, D_x)(x', y; s)
/// ```
///
/// `D_x` is the whole series, with the same batches at both points; on all batches, so are its factors. In
/// the source the large batch may be smaller than the data.
///
/// With all batches and constant step sizes it converges to the point where the series vanishes, without a noise ball:
/// off the solution by the remainder of the series, `(1 - eta mu)^Q`.
///
/// Requires: f strongly convex in y; a and b small compared with the variance of the batches' Hessians. Memory: x, y
/// and both directions. Cost, n and m being the batches of f and F: `2 (T + 1)` gradients of f, as many of F,
/// `2 (T + 1) Q` products of f; every P steps n gradients of f, m of F, `n Q` products of f more.
///
/// Source: J. Yang, K. Ji and Y. Liang, "Provably faster algorithms for bilevel optimization", 2021.
#[derive(Clone, Debug)]
pub struct Vrbo {
    rates: Rates,
    period: usize,
    inner_steps: usize,
    series: NeumannSeries,
    /// `[d_y, d_x]`
    memory: Option<[Vector; 2]>,
}

impl Vrbo {
    /// With the step sizes `rates`, all batches every `period` steps of x, T `inner_steps` and the
    /// hypergradient by `series`.
    ///
    /// # Errors
    /// If `period` or `inner_steps` is 0.
    pub fn new(
        rates: Rates,
        period: usize,
        inner_steps: usize,
        series: NeumannSeries,
    ) -> Result<Self, Error> {
        Ok(Self {
            rates,
            period: at_least_one("period", period)?,
            inner_steps: at_least_one("inner steps", inner_steps)?,
            series,
            memory: None,
        })
    }
}

impl JointMethod for Vrbo {
    fn name(&self) -> &'static str {
        "vrbo"
    }

    fn describe(&self) -> String {
        let Self { rates, period, inner_steps, series, .. } = self;
        format!(
            "vrbo({rates}, all batches every {period} steps, {inner_steps} inner steps, {series})"
        )
    }

    fn step(&mut self, k: usize, at: &mut Iterate<'_>) -> Result<Seen, Error> {
        let series = self.series;
        let mut along = match self.memory.take() {
            Some(along) if !k.is_multiple_of(self.period) => along,
            _ => {
                let now = At::now(at);
                let (_, along_y) = now.slope(&all(at, Objective::Lower));
                [along_y, series.hypergradient(&now, &series.full(at)).1]
            }
        };
        let along_x = along[1].clone();
        let mut before = (at.x.clone(), at.y.clone());
        at.move_x(self.rates.upper.at(k), &along_x);

        let mut correct = |at: &mut Iterate<'_>, along: &mut [Vector; 2]| {
            let sample = [at.sampler.draw(Objective::Lower)];
            let draw = series.whole(at);
            let both = |point: At<'_>| {
                let (lower_loss, along_y) = point.slope(&sample);
                let (upper_loss, along_x) = series.hypergradient(&point, &draw);
                (upper_loss, lower_loss, [along_y, along_x])
            };
            let (upper_loss, lower_loss, new) = both(At::now(at));
            let (_, _, old) = both(At { oracle: &at.oracle, x: &before.0, y: &before.1 });
            *along = corrected([0.0; 2], along, &new, &old);
            before = (at.x.clone(), at.y.clone());
            (upper_loss, lower_loss)
        };
        let (mut upper_loss, mut lower_loss) = correct(at, &mut along);
        let mut along_y = along[0].clone();
        for _ in 0..self.inner_steps {
            along_y = along[0].clone();
            at.move_y(self.rates.lower.at(k), &along_y);
            (upper_loss, lower_loss) = correct(at, &mut along);
        }
        self.memory = Some(along);
        Ok(Seen { upper_loss, lower_loss, along_x, along_y, rest: 0.0 })
    }

    fn save(&self, to: &mut Snapshot) {
        if let Some(along) = &self.memory {
            to.put_vectors("along", along);
        }
    }

    fn restore(&mut self, from: &mut Snapshot, at: &Iterate<'_>) -> Result<(), Error> {
        let like = [&at.y, &at.x];
        self.memory = from.has("along").then(|| from.take_array("along", like)).transpose()?;
        Ok(())
    }
}
