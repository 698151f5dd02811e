//! The remaining time of a table.

use std::time::Duration;

use indicatif::HumanDuration;

/// The costs and the seconds of the runs that this process has made completely.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RemainingTime {
    cost: f64,
    seconds: f64,
}

impl RemainingTime {
    /// A run of this cost took this long.
    pub fn add(&mut self, cost: f64, time: Duration) {
        self.cost += cost;
        self.seconds += time.as_secs_f64();
    }

    /// The time that one process takes for runs of this cost; none before a run is done.
    fn left(&self, cost: f64) -> Option<Duration> {
        let seconds = self.seconds / self.cost * cost;
        Duration::try_from_secs_f64(seconds).ok().filter(|_| self.cost > 0.0)
    }

    /// The same in words, as a suffix.
    pub fn describe(&self, cost: f64) -> String {
        let left = self.left(cost).map(|left| format!("; about {} left", HumanDuration(left)));
        left.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_by_the_cost_of_what_is_done() {
        let mut pace = RemainingTime::default();
        assert_eq!(pace.describe(3.0), "");
        pace.add(1.0, Duration::from_secs(600));
        pace.add(2.0, Duration::from_secs(3000));
        assert_eq!(pace.left(6.0), Some(Duration::from_secs(7200)));
        assert_eq!(pace.describe(6.0), "; about 2 hours left");
    }
}
