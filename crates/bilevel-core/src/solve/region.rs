//! Where to look: the box that the constraints leave, and points spread over it.

use bilevel_program::Vector;

use crate::Constraints;

/// A box of x and y together.
pub(super) struct Region {
    low: Vec<f64>,
    high: Vec<f64>,
    /// How many of the numbers are x's.
    upper: usize,
}

/// How far from the start an open box reaches, in units of the start or of 1.
const REACH: f64 = 3.0;

/// The most constraints that are looked at one by one.
const MOST: usize = 100;

impl Region {
    /// The bounds that are among the constraints: those that are linear and have one variable. Where there is none, the
    /// box ends some way from the start.
    pub fn of(x: &Vector, y: &Vector, constraints: &[&dyn Constraints]) -> Self {
        let upper = x.layout().size();
        let start = [x.to_vec(), y.to_vec()].concat();
        let (mut low, mut high) =
            (vec![f64::NEG_INFINITY; start.len()], vec![f64::INFINITY; start.len()]);
        // Not along a symmetry of the problem.
        let moved = |v: &Vector, by: f64| {
            let values: Vec<_> =
                v.to_vec().iter().enumerate().map(|(i, v)| v + by + 0.01 * i as f64).collect();
            Vector::from_slice(v.layout(), &values, &v.device())
        };
        let (x1, y1) = (moved(x, 0.37), moved(y, 0.53));
        for constraints in constraints {
            let inequalities = constraints.count() - constraints.equalities();
            for j in (0..inequalities).filter(|_| inequalities <= MOST) {
                let mut weights = vec![0.0; constraints.count()];
                weights[j] = 1.0;
                let row = |x: &Vector, y: &Vector| {
                    let found = constraints.weighted(x, y, &weights);
                    (found.values[j], [found.x.to_vec(), found.y.to_vec()].concat())
                };
                let ((value, slope), (_, there)) = (row(x, y), row(&x1, &y1));
                let same = slope.iter().zip(&there).all(|(a, b)| (a - b).abs() <= 1e-9);
                let mut ones = slope.iter().enumerate().filter(|(_, a)| a.abs() > 1e-12);
                if let (true, Some((k, a)), None) = (same, ones.next(), ones.next()) {
                    let bound = start[k] - value / a;
                    if *a > 0.0 {
                        high[k] = high[k].min(bound);
                    } else {
                        low[k] = low[k].max(bound);
                    }
                }
            }
        }
        for (k, v) in start.iter().enumerate() {
            let reach = REACH * v.abs().max(1.0);
            let from = v.max(low[k]).min(high[k]);
            if low[k].is_infinite() {
                low[k] = from - reach;
            }
            if high[k].is_infinite() {
                high[k] = from + reach;
            }
        }
        Self { low, high, upper }
    }

    /// The k-th point of a sequence that fills the box.
    ///
    /// Source: the generalised golden ratio of M. Roberts, "The unreasonable effectiveness of quasirandom sequences",
    /// 2018.
    fn point(&self, k: usize, range: std::ops::Range<usize>) -> Vec<f64> {
        let dimension = range.len() as f64;
        let mut ratio = 2.0_f64;
        for _ in 0..30 {
            ratio = (1.0 + ratio).powf(1.0 / (dimension + 1.0));
        }
        let coordinate = |(at, i): (usize, usize)| {
            let share = (0.5 + (k + 1) as f64 * ratio.powi(-(at as i32 + 1))).fract();
            self.low[i] + share * (self.high[i] - self.low[i])
        };
        range.enumerate().map(coordinate).collect()
    }

    /// The k-th x.
    pub fn x(&self, k: usize, like: &Vector) -> Vector {
        Vector::from_slice(like.layout(), &self.point(k, 0..self.upper), &like.device())
    }

    /// The k-th y.
    pub fn y(&self, k: usize, like: &Vector) -> Vector {
        Vector::from_slice(
            like.layout(),
            &self.point(k, self.upper..self.low.len()),
            &like.device(),
        )
    }
}
