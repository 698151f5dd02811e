//! Constraints that couple both variables.

use std::fmt::{Debug, Formatter};

use bilevel_program::{Vector, Wrt, float, plain};
use burn::module::Module;
use burn::tensor::Tensor;

use super::Oracle;
use crate::Error;
use crate::function::Function;

/// Functions `h(x, y)` of m numbers, of which a method asks `h <= 0` or `h = 0`.
///
/// They are few: their values are read from the device at each evaluation.
pub trait Constraints: Debug + Send {
    /// Whether they are functions of the variables of `oracle`.
    ///
    /// # Errors
    /// If they are not.
    fn check(&self, _: &dyn Oracle) -> Result<(), Error> {
        Ok(())
    }

    /// The values `h(x, y)`, m of them.
    fn values(&self, x: &Vector, y: &Vector) -> Vec<f64>;

    /// The values and, with the weights w that `weigh` makes of them, `h_x' w` and `h_y' w`.
    fn pull_back(
        &self,
        x: &Vector,
        y: &Vector,
        weigh: &mut dyn FnMut(&[f64]) -> Vec<f64>,
    ) -> PulledBack;
}

/// Constraints at a point and their weighted gradient.
#[derive(Clone, Debug)]
pub struct PulledBack {
    /// `h(x, y)`
    pub values: Vec<f64>,
    /// `h_x' w`
    pub x: Vector,
    /// `h_y' w`
    pub y: Vector,
}

impl PulledBack {
    /// Refuses values that are not finite at step k: the largest of NaN and 0 is 0.
    pub(crate) fn check(&self, k: usize) -> Result<(), Error> {
        if self.values.iter().all(|h| h.is_finite()) {
            return Ok(());
        }
        Err(Error::NotFinite {
            what: "constraint",
            step: k + 1,
            cure: "step sizes, or the penalty",
        })
    }
}

/// Constraints written as a function of both modules, `[m]`.
///
/// ```
/// use bilevel_core::ModuleConstraints;
/// use burn::module::Param;
/// use burn::tensor::Tensor;
///
/// # fn main() -> Result<(), bilevel_core::Error> {
/// type Values = Param<Tensor<1>>;
/// let device = Default::default();
/// let (x, y) = (Values::from_data([0.0], &device), Values::from_data([0.0, 0.0], &device));
/// // Each y is at most x.
/// let below = ModuleConstraints::new(&x, &y, |x: &Values, y: &Values| y.val() - x.val())?;
/// # Ok(())
/// # }
/// ```
pub struct ModuleConstraints<X, Y, H> {
    function: Function<X, Y>,
    h: H,
}

impl<X: Module, Y: Module, H: Fn(&X, &Y) -> Tensor<1>> ModuleConstraints<X, Y, H> {
    /// `h` of the modules that the oracle was built from.
    ///
    /// # Errors
    /// If `h` cannot be recorded or differentiated.
    pub fn new(x: &X, y: &Y, h: H) -> Result<Self, Error> {
        let function = Function::new(&plain(x.clone()), &plain(y.clone()), &h);
        let function =
            function.map_err(|error| Error::Trace { what: "the constraints".into(), error })?;
        Ok(Self { function, h })
    }
}

impl<X, Y, H> Debug for ModuleConstraints<X, Y, H> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str("ModuleConstraints")
    }
}

impl<X, Y, H> Constraints for ModuleConstraints<X, Y, H>
where
    X: Module,
    Y: Module,
    H: Fn(&X, &Y) -> Tensor<1> + Send,
{
    fn check(&self, oracle: &dyn Oracle) -> Result<(), Error> {
        if self.function.layouts() == [oracle.upper_layout(), oracle.lower_layout()] {
            return Ok(());
        }
        Err(Error::InvalidSetting {
            setting: "module of the constraints",
            found: "one with other parameters than the problem's".to_owned(),
            expected: "the modules that the oracle was built from",
            cure: "give the same modules, or clones of them, to both",
        })
    }

    fn values(&self, x: &Vector, y: &Vector) -> Vec<f64> {
        let values = self.function.values(x, y, &self.h);
        float::read(values.into_dispatch()).iter::<f64>().collect()
    }

    fn pull_back(
        &self,
        x: &Vector,
        y: &Vector,
        weigh: &mut dyn FnMut(&[f64]) -> Vec<f64>,
    ) -> PulledBack {
        let values = self.values(x, y);
        let weights = self.function.weights(weigh(&values), &y.device());
        let (x, y) = self.function.pull(x, y, weights, Wrt::Both, &self.h).into_both();
        PulledBack { values, x, y }
    }
}
