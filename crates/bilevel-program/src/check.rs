//! The gradient check: are the derivatives of a loss those of its values?
//!
//! [`check`] compares every derivative of a program with numbers that are not derivatives, or with the same derivative
//! computed in another way.

mod finding;
mod report;
#[cfg(test)]
mod tests;
mod tolerances;

pub use finding::{Bound, Finding};
pub use report::Report;
pub use tolerances::Tolerances;

use burn::backend::{AutodiffBackend, Dispatch, TensorMetadata};
use burn::module::Module;
use burn::tensor::{Device, Tensor};

use self::finding::Error;
use crate::function::{Again, Function};
use crate::program::Program;
use crate::trace::seen;
use crate::{Layout, TraceError, Vector, float};

/// Checks the derivatives of `loss` in the variables of `module`, with the default tolerances of their element type.
///
/// With `f` the loss, `g` its gradient, `H` its Hessian, and `u`, `v` random directions of norm 1:
///
/// | line | states | by |
/// |---|---|---|
/// | gradient | `<g, v> = d/dt f(y + t v)`, for three `v` in each parameter alone | five-point differences |
/// | hessian | `H v = d/dt g(y + t v)`, for `v` in each parameter alone | five-point differences |
/// | adjoint | `<g, v> = J v` | reverse against forward mode |
/// | symmetry | `<u, H v> = <v, H u>` | two products |
/// | order 1 | `f(y + t v) - f(y) = O(t)` | a line through logarithms |
/// | order 2 | `... - t <g, v> = O(t^2)` | a line through logarithms |
/// | order 3 | `... - t^2/2 <v, H v> = O(t^3)` | a line through logarithms |
///
/// Values are those that Burn computes on the module's device, not those of the recording: the differences test the
/// recording too. The lines together tell what is wrong: if the gradient is not that of the values while adjoint and
/// symmetry hold, the loss has a term that [`stop_gradient`](crate::stop_gradient) holds constant; a broken adjoint or
/// symmetry means a wrong derivative rule. At a kink (ReLU, max-pooling) a loss has no derivative, and where a step
/// crosses one the differences are off: check with smooth layers, or move the point.
///
/// With `k` parameters it takes about `12 k + 6` evaluations, `4 k + 1` gradients and `k + 3` products. The Taylor orders
/// follow pyadjoint's `taylor_test`.
///
/// # Errors
/// If the loss cannot be recorded or differentiated twice, or if a second recording of it differs: see [`TraceError`].
///
/// ```
/// use bilevel_program::check;
/// use burn::nn::LinearConfig;
/// use burn::tensor::{Device, Tensor};
///
/// let net = LinearConfig::new(2, 1).init(&Device::flex());
/// let report = check(&net, |net| {
///     let input = Tensor::<2>::from_floats([[1.0, 2.0], [3.0, -1.0]], &net.weight.device());
///     net.forward(input).sin().mean()
/// })?;
/// println!("{report}");
/// report.assert_ok();
/// # Ok::<_, bilevel_program::TraceError>(())
/// ```
pub fn check<M: Module>(module: &M, loss: impl Fn(&M) -> Tensor<1>) -> Result<Report, TraceError> {
    check_within(module, loss, &Tolerances::of(&Layout::of(module)))
}

/// [`check`] with your own tolerances.
///
/// # Errors
/// Those of [`check`].
pub fn check_within<M: Module>(
    module: &M,
    loss: impl Fn(&M) -> Tensor<1>,
    tolerances: &Tolerances,
) -> Result<Report, TraceError> {
    let function = Function::loss(module, &loss, Again::Always)?;
    let value = |point: &Vector| {
        let device = TensorMetadata::device(&point.leaves()[0]);
        // On a device that tracks gradients, so that batch normalisation computes as it does in training.
        let leaves = point.leaves().iter().cloned().map(Dispatch::from_inner).collect();
        let module = seen(module, point.layout(), leaves, &Device::new(device));
        let value = loss(&module).without_autodiff().into_dispatch();
        float::read_numbers(vec![value])[0]
    };
    let (gradient, product) = (function.gradient()?, function.product()?);
    gradient.fits(&function.inputs(&function.point, &[]))?;
    product.fits(&function.inputs(&function.point, &[]))?;
    let draw = Draw(0x5eed);
    let mut checker = Checker { value: &value, gradient, product, function, tolerances, draw };
    Ok(Report { findings: checker.findings() })
}

/// Everything that is evaluated, at one point.
struct Checker<'a> {
    value: &'a dyn Fn(&Vector) -> f64,
    /// The loss, then its gradient.
    gradient: Program,
    /// The derivative along a direction, then the Hessian times it.
    product: Program,
    function: Function,
    tolerances: &'a Tolerances,
    draw: Draw,
}

impl Checker<'_> {
    fn findings(&mut self) -> Vec<Finding> {
        let leaves = self.point().layout().leaves().to_vec();
        let bounds = *self.tolerances;
        let (value, gradient) = (self.value(self.point()), self.gradient(self.point()));
        // The typical size of a derivative along a direction of norm 1.
        let usual = |x: &Vector| x.norm() / (x.layout().size() as f64).sqrt();
        let noise = bounds.rounding * (value.abs() + gradient.norm());
        let mut findings = Vec::new();

        let mut start = 0;
        for leaf in &leaves {
            let end = start + leaf.shape.num_elements();
            let directions = [(); DIRECTIONS].map(|()| self.direction(start..end));
            start = end;
            let at = |t: f64, v| self.point().axpy(t * bounds.step, v);

            let errors = directions.each_ref().map(|v| {
                let slope = gradient.dot(v);
                let difference = five_point(|t| self.value(&at(t, v))) / bounds.step;
                let scale = slope.abs().max(difference.abs()).max(usual(&gradient));
                Error::relative((slope - difference).abs(), noise / bounds.step, scale)
            });
            let [first, second, third] = errors;
            let error = first.or_worse(second).or_worse(third);
            findings.push(Finding::error("gradient", &leaf.path, error, bounds.gradient));

            let v = &directions[0];
            let (_, product) = self.tangents(v);
            let [far, near, ahead, beyond] = POINTS.map(|t| self.gradient(&at(t, v)));
            let difference = ahead.sub(&near).scale(8.0).sub(&beyond.sub(&far));
            let difference = difference.scale(1.0 / (12.0 * bounds.step));
            let scale = product.norm().max(difference.norm());
            let error =
                Error::relative(product.sub(&difference).norm(), noise / bounds.step, scale);
            findings.push(Finding::error("hessian", &leaf.path, error, bounds.hessian));
        }
        findings.sort_by_key(|finding| finding.test); // stable: the parameters keep their order

        let size = self.point().layout().size();
        let (u, v) = (self.direction(0..size), self.direction(0..size));
        let ((_, hu), (forward, hv)) = (self.tangents(&u), self.tangents(&v));
        let reverse = gradient.dot(&v);
        let scale = forward.abs().max(reverse.abs()).max(usual(&gradient));
        let error = Error::relative((forward - reverse).abs(), noise, scale);
        findings.push(Finding::error("adjoint", "", error, bounds.adjoint));

        let (uhv, vhu) = (u.dot(&hv), v.dot(&hu));
        let scale = uhv.abs().max(vhu.abs()).max(usual(&hv)).max(usual(&hu));
        let error = Error::relative((uhv - vhu).abs(), noise, scale);
        findings.push(Finding::error("symmetry", "", error, bounds.symmetry));

        findings.extend(self.orders(value, &gradient, v));
        findings
    }

    /// The orders of the Taylor remainders, in a direction along which the loss certainly changes.
    fn orders(&self, value: f64, gradient: &Vector, v: Vector) -> Vec<Finding> {
        let bounds = self.tolerances;
        let norm = gradient.norm();
        let along = if norm > 0.0 { v.axpy(1.0 / norm, gradient) } else { v };
        // With a single number, a direction may be the opposite of the gradient.
        let v = if along.norm() > 0.1 { along } else { gradient.clone() };
        let v = v.scale(1.0 / v.norm());
        let (slope, curvature) = (gradient.dot(&v), v.dot(&self.tangents(&v).1));
        let mut remainders = [const { Vec::new() }; 3];
        for halvings in 0..5 {
            let t = bounds.reach / f64::from(1 << halvings);
            let moved = self.value(&self.point().axpy(t, &v)) - value;
            let linear = moved - t * slope;
            let rests = [moved, linear, linear - 0.5 * t * t * curvature];
            let noise = bounds.rounding * (value.abs() + moved.abs() + t * slope.abs());
            for (remainders, rest) in remainders.iter_mut().zip(rests) {
                // Below the noise there is nothing to measure; NaN is not below it.
                if rest.abs() > noise || rest.is_nan() {
                    remainders.push((t.ln(), rest.abs().ln()));
                }
            }
        }
        let tests = [("order 1", 1.0), ("order 2", 2.0), ("order 3", 3.0)];
        let findings = tests.into_iter().zip(remainders).map(|((test, order), points)| {
            // A remainder that vanishes is of every order.
            let measured = if points.len() < 2 { f64::INFINITY } else { fitted_slope(&points) };
            let bound = Bound::AtLeast(order - self.tolerances.slope);
            Finding { test, parameter: None, measured, rounding: 0.0, bound }
        });
        let mut findings: Vec<_> = findings.collect();
        // A remainder of order 3 after its second-order term is subtracted is of order 2 before. A line through
        // logarithms does not show that where the two cancel at one of the points.
        for at in (1..findings.len()).rev() {
            if findings[at].is_ok() && !findings[at - 1].is_ok() {
                findings[at - 1].measured = findings[at].measured;
            }
        }
        findings
    }

    fn point(&self) -> &Vector {
        &self.function.point
    }

    fn value(&self, point: &Vector) -> f64 {
        (self.value)(point)
    }

    fn gradient(&self, point: &Vector) -> Vector {
        let inputs = self.function.inputs(point, &[]);
        self.function.number_and_vector(self.gradient.replay().run(&inputs)).1
    }

    /// `<g, v>` by forward mode, and `H v`.
    fn tangents(&self, v: &Vector) -> (f64, Vector) {
        self.function
            .number_and_vector(self.product.replay().run(&self.function.inputs(self.point(), &[v])))
    }

    /// A random direction of norm 1, zero outside `range`.
    fn direction(&mut self, range: std::ops::Range<usize>) -> Vector {
        let mut values = vec![0.0; self.point().layout().size()];
        values[range].fill_with(|| self.draw.symmetric());
        let v = Vector::from_slice(self.point().layout(), &values, &self.point().device());
        v.scale(1.0 / v.norm())
    }
}

/// How many directions a gradient is tested along: it could be correct along one by chance.
const DIRECTIONS: usize = 3;

const POINTS: [f64; 4] = [-2.0, -1.0, 1.0, 2.0];

/// The derivative at 0 of a function sampled at -2, -1, 1 and 2, to fourth order.
fn five_point(f: impl Fn(f64) -> f64) -> f64 {
    let [far, near, ahead, beyond] = POINTS.map(f);
    (8.0 * (ahead - near) - (beyond - far)) / 12.0
}

/// The slope of the least-squares line through `points`.
fn fitted_slope(points: &[(f64, f64)]) -> f64 {
    let n = points.len() as f64;
    let mean = |f: fn(&(f64, f64)) -> f64| points.iter().map(f).sum::<f64>() / n;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let along = |(a, b): &(f64, f64)| ((a - x) * (b - y), (a - x) * (a - x));
    let sums = points.iter().map(along).fold((0.0, 0.0), |s, t| (s.0 + t.0, s.1 + t.1));
    sums.0 / sums.1
}

/// Directions are the same in every run: splitmix64.
struct Draw(u64);

impl Draw {
    /// A number in [-1, 1), away from 0 so that every entry counts.
    fn symmetric(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let unit = ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64;
        let size = 0.25 + 0.75 * (2.0 * unit).fract();
        if unit < 0.5 { -size } else { size }
    }
}
