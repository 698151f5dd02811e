//! The two losses.

use bilevel_core::{Batch, BilevelProblem};
use bilevel_models::Mlp;
use burn::tensor::{Tensor, activation};

use super::Game;

/// Data and noise of one evaluation.
#[derive(Clone, Debug, Batch)]
pub struct Draw {
    /// `[n, features]`
    pub data: Tensor<2>,
    /// `[n, noise]`
    pub noise: Tensor<2>,
}

/// The problem; see the [module](super).
#[derive(Clone, Copy, Debug)]
pub struct Adversarial {
    /// The choice of F.
    pub game: Game,
}

/// `mean log(1 + exp(z))`
fn loss(z: Tensor<2>) -> Tensor<1> {
    activation::softplus(z, 1.0).mean()
}

impl BilevelProblem for Adversarial {
    type Upper = Mlp;
    type Lower = Mlp;
    type Batch = Draw;

    fn upper_loss(&self, generator: &Mlp, discriminator: &Mlp, draw: &Draw) -> Tensor<1> {
        match self.game {
            Game::MinMax => self.lower_loss(generator, discriminator, draw).neg(),
            Game::NonSaturating => {
                loss(discriminator.forward(generator.forward(draw.noise.clone())).neg())
            }
        }
    }

    fn lower_loss(&self, generator: &Mlp, discriminator: &Mlp, draw: &Draw) -> Tensor<1> {
        let generated = generator.forward(draw.noise.clone());
        let of_data = discriminator.forward(draw.data.clone());
        loss(of_data.neg()) + loss(discriminator.forward(generated))
    }
}
