//! The curves of many attacks as one: their means after each upper step.

use bilevel_core::{Error, Progress, Snapshot};

use crate::report::StepRecord;

/// Seconds, oracle calls, upper loss, lower loss, norm of the hypergradient.
type Figures = [f64; 5];

/// The figures of an attack after a step.
pub(super) fn figures(progress: &Progress<'_>) -> Figures {
    let (seen, calls) = (progress.seen, progress.cost.total() as f64);
    let seconds = progress.elapsed.as_secs_f64();
    [seconds, calls, seen.upper_loss, seen.lower_loss, seen.gradient_norm]
}

/// Sums over attacks of equally many steps, by step.
#[derive(Default)]
pub(super) struct Means {
    attacks: usize,
    sums: Vec<Figures>,
}

impl Means {
    /// Adds an attack that made all of its steps.
    pub fn add(&mut self, attack: &[Figures]) {
        self.attacks += 1;
        self.sums.resize(attack.len(), Figures::default());
        for (sum, figures) in self.sums.iter_mut().flatten().zip(attack.iter().flatten()) {
            *sum += figures;
        }
    }

    /// The means as a series; none without an attack.
    pub fn series(&self) -> Vec<StepRecord> {
        let steps = self.sums.iter().zip(0..);
        let record = |(sums, step): (&Figures, u64)| {
            let [seconds, calls, upper, lower, norm] = sums.map(|sum| sum / self.attacks as f64);
            StepRecord {
                step,
                seconds,
                calls: calls.round() as u64,
                upper_loss: Some(upper),
                lower_loss: Some(lower),
                grad_norm: Some(norm),
                ..StepRecord::default()
            }
        };
        steps.map(record).collect()
    }

    /// Writes them to a checkpoint.
    pub fn save(&self, to: &mut Snapshot) {
        to.put_count("attacks", self.attacks);
        to.put_count("steps", self.sums.len());
        if !self.sums.is_empty() {
            to.put_numbers("sums", self.sums.as_flattened());
        }
    }

    /// Takes them from a checkpoint.
    ///
    /// # Errors
    /// If they are not in it.
    pub fn restore(from: &mut Snapshot) -> Result<Self, Error> {
        let (attacks, steps) = (from.take_count("attacks")?, from.take_count("steps")?);
        if steps == 0 {
            return Ok(Self::default());
        }
        let sums = from.take_numbers("sums", steps.saturating_mul(5))?;
        Ok(Self { attacks, sums: sums.as_chunks().0.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_means_of_attacks_are_kept_to_the_bit() {
        let mut means = Means::default();
        assert!(means.series().is_empty());
        means.add(&[[1.0, 3.0, 0.5, 0.1, 2.0], [2.0, 6.0, 0.4, 0.1, 1.0]]);
        let mut saved = Snapshot::default();
        means.save(&mut saved);
        let mut again = Means::restore(&mut saved).unwrap();
        for means in [&mut means, &mut again] {
            means.add(&[[3.0, 4.0, 0.3, 0.3, 0.0], [4.0, 8.0, 0.2, 0.3, 0.0]]);
        }
        let series = again.series();
        assert_eq!(series, means.series());
        assert_eq!((series[1].step, series[1].seconds, series[1].calls), (1, 3.0, 7));
        assert_eq!(series[0].upper_loss, Some(0.4));
        assert!(Means::restore(&mut saved).is_err(), "taken before");
    }
}
