//! The methods, by name: one table for `compare` and for the experiments.

use bilevel_core::*;
use bilevel_program::Vector;

/// Step sizes and counts that suit a problem.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tuning {
    /// Of x along a hypergradient of one batch.
    pub upper: f64,
    /// Of x along a hypergradient of the whole data, whose steps are fewer.
    pub whole: f64,
    /// Of y along the gradient of f; below the inverse of its curvature.
    pub lower: f64,
    /// Lower steps between two upper ones, where a method makes several.
    pub steps: usize,
    /// The last of them, through which `trad` goes back.
    pub truncated: usize,
    /// Weight of F in the first lower step of `bda`; it falls as 1 / k.
    pub aggregation: f64,
    /// How linear systems are solved.
    pub linear: Linear,
    /// Steps between two full passes, for methods that make some: of the order of the number of batches.
    pub period: usize,
    /// Of x, under which proxies learn the response.
    pub perturbation: f64,
}

/// How linear systems are solved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Linear {
    /// Iterations at most.
    pub iterations: usize,
    /// The relative residual at which `cg` and its kind stop.
    pub tolerance: f64,
    /// Damping of `cg`.
    pub damping: f64,
    /// Whether the solution before is where the next one starts.
    pub warm: bool,
}

/// A kind of method; each has figures of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// By hypergradients.
    Hypergradient,
    /// By a single level, a value function or a game.
    SingleLevel,
    /// From one batch to the next.
    Stochastic,
    /// By a proxy of the best response.
    Proxy,
}

impl Family {
    /// The name in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hypergradient => "hypergradient",
            Self::SingleLevel => "single-level",
            Self::Stochastic => "stochastic",
            Self::Proxy => "proxy",
        }
    }

    /// Whether its methods see one batch at each call, and not the whole data.
    pub fn on_batches(self) -> bool {
        self == Self::Stochastic
    }
}

/// What moves x and y.
pub enum Method {
    /// x along hypergradients.
    Hypergradient(Box<dyn HypergradientMethod>),
    /// Both at once.
    Joint(Box<dyn JointMethod>),
}

/// One line of the table: a name, its family, and how it is made.
pub struct Contender {
    /// The name in the catalogue of methods.
    pub name: &'static str,
    /// Its kind.
    pub family: Family,
    /// How it is made.
    pub make: Make,
}

/// Where x and y start, for methods that are built to their shapes.
pub struct Point<'a> {
    /// x
    pub x: &'a Vector,
    /// y
    pub y: &'a Vector,
}

/// A residual that no number of iterations here gets to: all are made.
const EXACT: f64 = 1e-12;

/// Makes a method with the step sizes of a problem, for its variables and under a seed.
pub type Make = fn(&Tuning, &Point<'_>, u64) -> Result<Method, Error>;

/// Every method. A new one is one line.
pub fn contenders() -> Vec<Contender> {
    use Family::{Hypergradient as H, Proxy as P, SingleLevel as L, Stochastic as S};
    let line = |name, family, make| Contender { name, family, make };
    vec![
        line("rad", H, |t, _, _| along(Rad::new(descent(t)?))),
        line("trad", H, |t, _, _| along(Trad::new(descent(t)?, t.truncated.min(t.steps))?)),
        line("bda", H, |t, _, _| along(Rad::new(aggregated(t)?))),
        line("ia-gm", H, |t, _, _| along(IaGm::new(descent(t)?))),
        line("iaptt", H, |t, _, _| along(Iaptt::new(descent(t)?))),
        line("fad", H, |t, _, _| along(Fad::new(descent(t)?))),
        line("one-stage", H, |t, _, _| along(OneStage::new(Gd::new(t.lower)?))),
        line("one-stage-fd", H, |t, _, _| along(OneStageFd::new(Gd::new(t.lower)?))),
        line("cg", H, |t, _, _| {
            let cg = Cg::new(t.linear.iterations, t.linear.tolerance)?;
            implicit(t, cg.with_damping(t.linear.damping)?)
        }),
        line("normal-cg", H, |t, _, _| {
            implicit(t, NormalCg::new(t.linear.iterations, t.linear.tolerance)?)
        }),
        line("gmres", H, |t, _, _| {
            implicit(t, Gmres::new(t.linear.iterations, t.linear.tolerance)?)
        }),
        line("bicgstab", H, |t, _, _| {
            implicit(t, BiCgStab::new(t.linear.iterations, t.linear.tolerance)?)
        }),
        line("neumann", H, |t, _, _| {
            implicit(t, Neumann::new(t.lower, t.linear.iterations, EXACT)?)
        }),
        line("approx-grad", H, |t, _, _| {
            implicit(t, ApproxGrad::gd(t.lower / 2.0, t.linear.iterations, EXACT)?)
        }),
        line("identity", H, |t, _, _| implicit(t, Identity)),
        line("fixed-point", H, |t, _, _| {
            along(FixedPoint::new(descent(t)?, t.linear.iterations, EXACT)?)
        }),
        line("alternating", L, |t, _, _| joint(Alternating::new(slow(t, 1.0, 1.0)?))),
        line("penalty", L, |t, _, _| {
            let method = Penalty::new(slow(t, 1.0, 0.2)?, t.steps, 2.0, 1.0)?;
            joint(method.with_factors(1.001, 0.7)?.with_multipliers())
        }),
        line("f2sa", L, |t, _, _| {
            joint(F2sa::new(falling(t, t.whole / 2.0)?, t.steps, t.lower, growing(2.0))?)
        }),
        line("bome", L, |t, _, _| joint(Bome::new(falling(t, t.whole / 2.0)?, t.steps, t.lower)?)),
        line("v-pbgd", L, |t, _, _| {
            joint(VPbgd::new(falling(t, t.whole / 2.0)?, t.steps, t.lower, growing(2.0))?)
        }),
        line("g-pbgd", L, |t, _, _| joint(GPbgd::new(falling(t, t.whole / 2.0)?, growing(1.0))?)),
        line("meha", L, |t, _, _| {
            joint(Meha::new(slow(t, 1.0, 0.4)?, t.lower / 2.0, 2.0, growing(1.0))?)
        }),
        line("gap", L, |t, _, _| {
            joint(Gap::new(slow(t, 1.0, 0.4)?, t.lower / 2.0, (2.0, 1.0), growing(1.0))?)
        }),
        line("bvfim", L, |t, _, _| {
            let relaxation = Relaxation::geometric(1.0, 0.97)?;
            joint(Bvfim::new(slow(t, 1.0, 0.4)?, t.steps, t.lower, t.steps, relaxation)?)
        }),
        line("ttsa", S, |t, _, seed| {
            let rates = Rates::new(Schedule::power(t.upper, 0.6), Schedule::power(t.lower, 0.4))?;
            joint(Ttsa::new(rates, series(t)?).with_seed(seed))
        }),
        line("bsa", S, |t, _, seed| {
            joint(Bsa::new(falling(t, t.upper)?, t.steps, series(t)?)?.with_seed(seed))
        }),
        line("stocbio", S, |t, _, _| {
            joint(StocBio::new(rates(t, 1.0, 1.0)?, t.steps, series(t)?)?)
        }),
        line("amigo", S, |t, _, _| joint(Amigo::new(rates(t, 1.0, 1.0)?, t.steps, t.steps)?)),
        line("fsla", S, |t, _, _| joint(Fsla::new(rates(t, 1.0, 1.0)?, 0.3)?)),
        line("sustain", S, |t, _, seed| {
            joint(Sustain::new(rates(t, 1.0, 1.0)?, 0.3, series(t)?)?.with_seed(seed))
        }),
        line("mrbo", S, |t, _, _| joint(Mrbo::new(rates(t, 1.0, 1.0)?, 0.3, series(t)?)?)),
        line("vrbo", S, |t, _, _| joint(Vrbo::new(rates(t, 1.0, 1.0)?, t.period, 3, series(t)?)?)),
        line("soba", S, |t, _, _| joint(Soba::new(rates(t, 1.0, 1.0)?))),
        line("saba", S, |t, _, _| joint(Saba::new(rates(t, 1.0, 1.0)?))),
        line("srba", S, |t, _, _| joint(Srba::new(rates(t, 1.0, 1.0)?, t.period)?)),
        line("hypernetwork", P, |t, at, seed| {
            let region = Region::local(Scale::fixed(t.perturbation)?);
            let response = LinearHypernetwork::new(at.x, at.y);
            let proxy = NetworkProxy::new(response, at.x, at.y)?;
            joint(
                Hypernetwork::new(proxy, slow(t, 0.5, 0.05)?, region, seed)
                    .with_training_steps(t.steps)?,
            )
        }),
        line("stn", P, |t, at, seed| {
            let response = RankOneAffine::new(at.x, at.y, seed);
            let scale = Scale::fixed(t.perturbation)?;
            joint(
                Stn::new(response, slow(t, 0.5, 0.05)?, scale, seed)
                    .with_training_steps(t.steps)?,
            )
        }),
        line("delta-stn", P, |t, at, seed| {
            let jacobian = RankOne::new(at.x, at.y, seed);
            let scale = Scale::fixed(t.perturbation)?;
            let method = DeltaStn::new(jacobian, slow(t, 1.0, 0.4)?, scale, seed);
            let rate = 0.2 * t.lower / t.perturbation.powi(2);
            joint(method.with_jacobian_rate(rate)?.with_training_steps(t.steps)?)
        }),
    ]
}

fn along(method: impl HypergradientMethod + 'static) -> Result<Method, Error> {
    Ok(Method::Hypergradient(Box::new(method)))
}

fn joint(method: impl JointMethod + 'static) -> Result<Method, Error> {
    Ok(Method::Joint(Box::new(method)))
}

/// T steps of gradient descent.
pub fn descent(t: &Tuning) -> Result<Descent, Error> {
    Descent::new(Gd::new(t.lower)?, t.steps)
}

/// T steps down both losses, as `bda` takes them.
pub fn aggregated(t: &Tuning) -> Result<Descent, Error> {
    let weight = Weight::Decaying(t.aggregation);
    Descent::new(Aggregated::new(t.lower, t.lower, weight)?, t.steps)
}

fn implicit(t: &Tuning, solver: impl LinearSolver + 'static) -> Result<Method, Error> {
    let implicit = Implicit::new(descent(t)?, solver);
    along(if t.linear.warm { implicit.with_warm_start() } else { implicit })
}

/// The problem's step sizes, scaled.
fn rates(t: &Tuning, upper: f64, lower: f64) -> Result<Rates, Error> {
    Rates::new(upper * t.upper, lower * t.lower)
}

/// The same on the whole data, but for steps of x that are halved: y is not solved for between them.
fn slow(t: &Tuning, upper: f64, lower: f64) -> Result<Rates, Error> {
    Rates::new(upper * t.whole / 2.0, lower * t.lower)
}

/// Both as `1 / sqrt(k + 1)`: for penalties that grow as its inverse.
fn falling(t: &Tuning, upper: f64) -> Result<Rates, Error> {
    Rates::new(Schedule::power(upper, 0.5), Schedule::power(0.4 * t.lower, 0.5))
}

fn growing(first: f64) -> Schedule {
    Schedule::power(first, -0.5)
}

fn series(t: &Tuning) -> Result<NeumannSeries, Error> {
    NeumannSeries::new(t.lower, t.steps)
}
