//! Any proxy, trained anywhere.

use std::fmt;

use bilevel_program::Vector;

use super::Proxy;
use super::alternation::Alternation;
use super::perturbation::{Perturbation, Scale};
use crate::joint::{Iterate, JointMethod, Seen};
use crate::{Error, LowerProblem, Objective, Oracle, Rates, Samples, Snapshot, Wrt};

/// Where a proxy is trained: around x, or wherever x may go.
#[derive(Clone, Debug, PartialEq)]
pub struct Region {
    place: Place,
    /// The scale of the normal part.
    scale: Scale,
}

#[derive(Clone, Debug, PartialEq)]
enum Place {
    Local,
    Box { low: Vec<f64>, high: Vec<f64> },
    Around(Vec<f64>),
}

impl Region {
    /// Around x: normal with this scale.
    pub fn local(scale: Scale) -> Self {
        Self { place: Place::Local, scale }
    }

    /// The box between `low` and `high`, which have a number for each entry of x, with the uniform distribution.
    ///
    /// # Errors
    /// If it is empty or not bounded.
    pub fn uniform(low: Vec<f64>, high: Vec<f64>) -> Result<Self, Error> {
        let bounded = |(low, high): (&f64, &f64)| low <= high && (high - low).is_finite();
        if low.len() == high.len() && low.iter().zip(&high).all(bounded) {
            return Ok(Self { place: Place::Box { low, high }, scale: Scale::fixed(0.0)? });
        }
        Err(Error::InvalidSetting {
            setting: "region",
            found: format!("the box from {low:?} to {high:?}"),
            expected: "as many lower as upper bounds, finite and none above its partner",
            cure: "give a bounded box",
        })
    }

    /// Around `centre`, which has a number for each entry of x: normal with the standard deviation `sigma`.
    ///
    /// # Errors
    /// If a number is not finite, or `sigma` is negative.
    pub fn normal(centre: Vec<f64>, sigma: f64) -> Result<Self, Error> {
        let scale = Scale::fixed(sigma)?;
        if centre.iter().all(|c| c.is_finite()) {
            return Ok(Self { place: Place::Around(centre), scale });
        }
        Err(Error::InvalidSetting {
            setting: "region",
            found: format!("the centre {centre:?}"),
            expected: "finite numbers",
            cure: "take the middle of the range of x",
        })
    }

    /// Whether it is a region for x.
    fn check(&self, m: usize) -> Result<(), Error> {
        let found = match &self.place {
            Place::Local => m,
            Place::Box { low: place, .. } | Place::Around(place) => place.len(),
        };
        if found == m {
            return Ok(());
        }
        Err(Error::InvalidSetting {
            setting: "region",
            found: format!("one of {found} numbers, for x of {m}"),
            expected: "a number for each entry of x",
            cure: "give them in the order of `Vector::to_vec`",
        })
    }

    fn draw(&self, by: &mut Perturbation, x: &Vector) -> Vector {
        match &self.place {
            Place::Local => x.add(&by.draw(x)),
            Place::Box { low, high } => by.between(low, high, x),
            Place::Around(centre) => {
                Vector::from_slice(x.layout(), centre, &x.device()).add(&by.draw(x))
            }
        }
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Local => write!(f, "local, {}", self.scale),
            Place::Box { low, high } => write!(f, "uniform from {low:?} to {high:?}"),
            Place::Around(centre) => write!(f, "around {centre:?}, {}", self.scale),
        }
    }
}

/// `hypernetwork`: a network learns the best response, and x descends through it.
///
/// ```text
/// x~ ~ region,   theta' = theta - a (dPsi/dtheta)' f_y(x~, Psi_theta(x~))
/// y = Psi_theta'(x),   x' = x - b (F_x(x, y) + (dPsi_theta'/dx)' F_y(x, y))
/// ```
///
/// Globally, with draws from a box or around a fixed point ([`Region::uniform`], [`Region::normal`]), Psi learns `y*`
/// wherever x may go, and the source trains it to the end before x moves ([`Hypernetwork::with_warm_up`]); locally
/// ([`Region::local`]) it follows x and may be small. If the best response is one of the `Psi_theta`, it is the fixed
/// point of all draws at once, and theta converges to it with a constant step size; otherwise it ends at a distance
/// that the step size determines.
///
/// Needs no second derivatives of f. Memory: theta and a replay of the gradient of Psi. Cost: one gradient of f for
/// each training step, one of F; a value of F instead during the warm-up.
///
/// Source: J. Lorraine and D. Duvenaud, "Stochastic hyperparameter optimization through hypernetworks",
/// 2018, Algs. 2 and 3; [survey, Section 5.3](https://arxiv.org/abs/2101.11517).
#[derive(Clone, Debug)]
pub struct Hypernetwork<P> {
    proxy: P,
    region: Region,
    alternation: Alternation,
}

impl<P: Proxy> Hypernetwork<P> {
    /// `proxy` trained in `region` by the lower step sizes of `rates`; the same seed gives the same draws.
    pub fn new(proxy: P, rates: Rates, region: Region, seed: u64) -> Self {
        let perturbation = Perturbation::new(region.scale, seed);
        Self { proxy, region, alternation: Alternation::new(rates, perturbation) }
    }

    /// With `steps` steps of theta for one of x.
    ///
    /// # Errors
    /// If `steps` is 0.
    pub fn with_training_steps(mut self, steps: usize) -> Result<Self, Error> {
        self.alternation.set_training_steps(steps)?;
        Ok(self)
    }

    /// With x held fixed during the first `steps` steps.
    pub fn with_warm_up(mut self, steps: usize) -> Self {
        self.alternation.set_warm_up(steps);
        self
    }

    /// The response as trained so far.
    pub fn proxy(&self) -> &P {
        &self.proxy
    }

    /// The learned standard deviations of the perturbation, if they are learned and were used.
    pub fn scales(&self) -> Option<Vector> {
        self.alternation.perturbation.sigma()
    }

    pub(super) fn settings(&self) -> String {
        format!("{}, {}, {}", self.proxy.describe(), self.region, self.alternation)
    }
}

impl<P: Proxy> JointMethod for Hypernetwork<P> {
    fn name(&self) -> &'static str {
        "hypernetwork"
    }

    fn describe(&self) -> String {
        format!("hypernetwork({})", self.settings())
    }

    fn check(&self, oracle: &dyn Oracle) -> Result<(), Error> {
        self.proxy.check(oracle)?;
        self.region.check(oracle.upper_layout().size())
    }

    fn step(&mut self, k: usize, at: &mut Iterate<'_>) -> Result<Seen, Error> {
        let rate = self.alternation.rates.lower.at(k);
        let mut last = None;
        for lower in self.alternation.lower_samples(at)? {
            let drawn = self.region.draw(&mut self.alternation.perturbation, &at.x);
            let point = at.project_upper(drawn);
            let problem =
                LowerProblem::new(&at.oracle, &point, Samples { lower, ..Samples::default() });
            let y = self.proxy.respond(&point);
            let (loss, sides) = problem.gradient(Objective::Lower, &y, Wrt::Y);
            let slope = sides.into_y();
            self.proxy.descend(rate, &point, &slope);
            last = Some((loss, slope));
        }
        let (upper_loss, along_x) = self.alternation.move_x(k, at, &self.proxy);
        at.y = self.proxy.respond(&at.x);
        let (lower_loss, along_y) = last.expect("at least one training step");
        Ok(Seen { upper_loss, lower_loss, along_x, along_y, rest: self.alternation.rest(k) })
    }

    fn save(&self, to: &mut Snapshot) {
        to.put_vectors("theta", &self.proxy.parameters());
        self.alternation.perturbation.save(to);
    }

    fn restore(&mut self, from: &mut Snapshot, at: &Iterate<'_>) -> Result<(), Error> {
        let theta = from.take_vectors("theta", &self.proxy.parameters())?;
        self.proxy.set_parameters(theta);
        self.alternation.perturbation.restore(from, &at.x)
    }
}
