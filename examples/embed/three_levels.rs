//! Three levels: a price x, the quantity y that a seller sets for it, and the stock z that follows both.
//!
//! `z*(x, y)` minimises g, `y*(x)` minimises f at that z, and x minimises F: all quadratic, so that it is known in closed
//! form.

use bilevel::*;
use burn::module::Param;
use burn::tensor::{Device, Tensor};

type Number = Param<Tensor<1>>;

/// g with F, or with f, above it.
pub struct Market {
    outermost: bool,
}

impl BilevelProblem for Market {
    type Upper = (Number, Number); // x and y
    type Lower = Number; // z
    type Batch = ();

    fn upper_loss(&self, (x, y): &(Number, Number), z: &Number, _: &()) -> Tensor<1> {
        let (x, y, z) = (x.val(), y.val(), z.val());
        if self.outermost {
            // F = (y - 1)^2 / 2 + (z + x)^2 / 2
            (y - 1.0).powi_scalar(2) / 2 + (z + x).powi_scalar(2) / 2
        } else {
            // f = (y - x)^2 / 2 + z^2 / 2
            (y - x).powi_scalar(2) / 2 + z.powi_scalar(2) / 2
        }
    }

    // g = (z - A y - B x)^2 / 2
    fn lower_loss(&self, (x, y): &(Number, Number), z: &Number, _: &()) -> Tensor<1> {
        (z.val() - y.val() * A - x.val() * B).powi_scalar(2) / 2
    }
}

const A: f64 = 0.8;
const B: f64 = -0.5;

/// The hypergradient at x = 0.7 and the best x, and both in closed form.
pub fn run(device: &Device) -> Result<[[f64; 2]; 2], Error> {
    let number = |value: f64| Param::from_tensor(Tensor::<1>::from_data([value], device));
    let (both, z) = ((number(0.7), number(0.0)), number(0.0));
    let oracle = |outermost| {
        AutodiffOracle::new(Market { outermost }, &both, &z, FullBatch { upper: (), lower: () })
    };
    let (outer, inner) = (oracle(true)?, oracle(false)?);
    let innermost = Implicit::new(Descent::new(Gd::new(0.5)?, 60)?, Cg::new(5, 1e-14)?);
    let levels = Nested::new([&outer, &inner], ["0", "1"], innermost, outer.lower_start())?;
    let [x, y] = levels.split(&outer.upper_start());

    let method =
        || Ok::<_, Error>(Implicit::new(Descent::new(Gd::new(0.4)?, 60)?, Cg::new(5, 1e-12)?));
    let problem = LowerProblem::new(&levels, &x, Samples::default());
    let found = method()?.hypergradient(problem, &y)?.gradient.to_vec()[0];
    let mut solver = HypergradientSolver::new(&levels, method()?, GradientStep::new(0.5)?, x, y)
        .with_start(Start::Warm)?;
    Executor::new(60)?.run(&mut solver)?;
    Ok([[found, solver.x().to_vec()[0]], closed_form(0.7)])
}

/// `z = A y + B x`; f is least at `y = c x`, so `z = d x`, and `F = (c x - 1)^2 / 2 + (d + 1)^2 x^2 / 2`.
fn closed_form(x: f64) -> [f64; 2] {
    let c = (1.0 - A * B) / (1.0 + A * A);
    let d = A * c + B;
    let slope = |x: f64| c * (c * x - 1.0) + (d + 1.0).powi(2) * x;
    [slope(x), c / (c * c + (d + 1.0).powi(2))]
}
