//! Burn modules as proxies.

use std::fmt;
use std::sync::Arc;

use bilevel_program::{Layout, Partials, Vector, Wrt, plain};
use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::{Proxy, Response, same_variables};
use crate::function::Function;
use crate::vector_ops::{flat, flatten, unflatten};
use crate::{Error, Oracle};

/// A network from the entries of x to those of y, both in the order of [`Vector::to_vec`].
pub trait ResponseNetwork: Module + Sync {
    /// `[m, n]`: the dimensions of its input and output.
    fn sizes(&self) -> [usize; 2];

    /// y of x.
    fn forward(&self, x: Tensor<1>) -> Tensor<1>;
}

/// x as the input of the network.
type List = Param<Tensor<1>>;

/// `Psi_theta` a Burn module, theta its trainable parameters: pulled back by reverse mode, one pass each.
#[derive(Clone)]
pub struct NetworkProxy<M> {
    network: Arc<Function<List, M>>,
    sizes: [usize; 2],
    theta: Vector,
    /// The layouts of x and y.
    x: Vector,
    y: Vector,
}

fn forward<M: ResponseNetwork>(list: &List, network: &M) -> Tensor<1> {
    network.forward(list.val())
}

impl<M: ResponseNetwork> NetworkProxy<M> {
    /// `network` for variables like `x` and `y`.
    ///
    /// # Errors
    /// If it has no trainable parameters or other sizes, or cannot be recorded or differentiated.
    pub fn new(network: M, x: &Vector, y: &Vector) -> Result<Self, Error> {
        let sizes = network.sizes();
        let refuse = |found: String| Error::InvalidSetting {
            setting: "response network",
            found,
            expected: "trainable parameters, as many inputs as x has numbers, as many outputs as y has",
            cure: "build it for the sizes of both variables",
        };
        let (m, n) = (x.layout().size(), y.layout().size());
        let [inputs, outputs] = sizes;
        if sizes != [m, n] {
            let found =
                format!("a map of {inputs} numbers to {outputs}, for x of {m} and y of {n}");
            return Err(refuse(found));
        }
        let layout = Layout::of(&network);
        let Some(first) = layout.leaves().first() else {
            return Err(refuse("without trainable parameters".into()));
        };
        let list = Param::from_tensor(flatten(x).cast(first.dtype));
        let network = Function::new(&list, &plain(network), &forward::<M>)
            .map_err(|error| Error::of_recording("the response network", error))?;
        if network.len() != n {
            let found = format!("a network that declares {n} outputs and gives {}", network.len());
            return Err(refuse(found));
        }
        let theta = Vector::from_module(network.layouts()[1], network.y());
        Ok(Self { network: Arc::new(network), sizes, theta, x: x.clone(), y: y.clone() })
    }

    fn list(&self, x: &Vector) -> Vector {
        let [layout, _] = self.network.layouts();
        let like = Vector::from_module(layout, self.network.x());
        unflatten(&flatten(x), &like)
    }

    /// `(dPsi)' u` in the list or in theta.
    fn pull(&self, x: &Vector, cotangent: &Vector, wrt: Wrt<'_>) -> Partials {
        let weights = flatten(cotangent).cast(self.network.dtype());
        self.network.pull(&self.list(x), &self.theta, weights, wrt, &forward::<M>)
    }
}

impl<M: ResponseNetwork> Response for NetworkProxy<M> {
    fn respond(&self, x: &Vector) -> Vector {
        let output = self.network.values(&self.list(x), &self.theta, &forward::<M>);
        unflatten(&output, &self.y)
    }

    fn pull_to_x(&self, x: &Vector, cotangent: &Vector) -> Vector {
        let list = self.pull(x, cotangent, Wrt::X).into_x();
        unflatten(&flat(list.leaves()[0].clone()), &self.x)
    }
}

impl<M: ResponseNetwork> Proxy for NetworkProxy<M> {
    fn describe(&self) -> String {
        let [m, n] = self.sizes;
        format!("network {m} -> {n}, {} parameters", self.theta.layout().size())
    }

    fn check(&self, oracle: &dyn Oracle) -> Result<(), Error> {
        same_variables(oracle, self.x.layout(), self.y.layout())
    }

    fn parameters(&self) -> Vec<Vector> {
        vec![self.theta.clone()]
    }

    fn set_parameters(&mut self, parameters: Vec<Vector>) {
        let [theta] = parameters.try_into().expect("a network has one vector of parameters");
        self.theta = theta;
    }

    fn pull_to_parameters(&self, x: &Vector, cotangent: &Vector) -> Vec<Vector> {
        vec![self.pull(x, cotangent, Wrt::Y).into_y()]
    }
}

impl<M> fmt::Debug for NetworkProxy<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetworkProxy").field("sizes", &self.sizes).finish_non_exhaustive()
    }
}
