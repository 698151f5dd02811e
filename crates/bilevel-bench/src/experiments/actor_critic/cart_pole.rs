//! A pole on a cart.
//!
//! Source: A. Barto, R. Sutton and C. Anderson, 1983: equations, masses, lengths, force, and Euler steps of 0.02 s. An
//! episode ends where the cart is 2.4 m or the pole 12 degrees away from the middle, or after 500 steps.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

const GRAVITY: f64 = 9.8;
const CART: f64 = 1.0;
const POLE: f64 = 0.1;
/// Half the length of the pole.
const LENGTH: f64 = 0.5;
const FORCE: f64 = 10.0;
const SECONDS: f64 = 0.02;
/// The maximal number of steps of an episode.
pub const LONGEST: usize = 500;
/// Where an episode ends.
const FARTHEST: f64 = 2.4;
const STEEPEST: f64 = 12.0 * std::f64::consts::PI / 180.0;
/// Where it begins: at most this far from rest in the middle.
const NEAR: f64 = 0.05;

/// Position and velocity of the cart, angle and angular velocity of the pole.
pub type State = [f64; 4];

/// The environment.
#[derive(Clone, Copy, Debug)]
pub struct CartPole;

impl CartPole {
    /// A state in which an episode begins.
    pub fn begin(self, rng: &mut ChaCha8Rng) -> State {
        std::array::from_fn(|_| rng.random_range(-NEAR..NEAR))
    }

    /// The next state after a push to the right or to the left.
    pub fn step(self, [x, v, angle, spin]: State, right: bool) -> State {
        let force = if right { FORCE } else { -FORCE };
        let (sin, cos) = angle.sin_cos();
        let total = CART + POLE;
        let push = (force + POLE * LENGTH * spin * spin * sin) / total;
        let turn = (GRAVITY * sin - cos * push) / (LENGTH * (4.0 / 3.0 - POLE * cos * cos / total));
        let speed = push - POLE * LENGTH * turn * cos / total;
        [x + SECONDS * v, v + SECONDS * speed, angle + SECONDS * spin, spin + SECONDS * turn]
    }

    /// Whether the pole has fallen, or the cart has left the track.
    pub fn fallen(self, [x, _, angle, _]: State) -> bool {
        x.abs() > FARTHEST || angle.abs() > STEEPEST
    }

    /// A state, scaled by its limits.
    pub fn scaled(self, [x, v, angle, spin]: State) -> State {
        [x / FARTHEST, v / 2.0, angle / STEEPEST, spin / 2.0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrored_states_move_like_mirrors_and_an_upright_pole_falls_away_from_the_push() {
        let state = [0.3, -0.2, 0.05, 0.4];
        let mirror = |state: State| state.map(|part| -part);
        let (there, back) = (CartPole.step(state, true), CartPole.step(mirror(state), false));
        assert_eq!(mirror(there), back);
        let pushed = CartPole.step([0.0; 4], true);
        // With the pole at rest and upright: angular acceleration -push / (l (4/3 - m / M)).
        let push = FORCE / 1.1;
        let turn = -push / (0.5 * (4.0 / 3.0 - 0.1 / 1.1));
        assert!((pushed[3] - 0.02 * turn).abs() < 1e-12);
        assert!((pushed[1] - 0.02 * (push - 0.05 * turn / 1.1)).abs() < 1e-12);
    }

    #[test]
    fn without_a_policy_the_pole_falls() {
        let mut state = [0.0, 0.0, 0.01, 0.0];
        let steps = (0..LONGEST).take_while(|step| {
            state = CartPole.step(state, step % 2 == 0);
            !CartPole.fallen(state)
        });
        assert!((20..300).contains(&steps.count()));
    }
}
