//! The angles between hypergradients of one step and those of many.

use std::collections::BTreeMap;

use bilevel_core::catalogue::{self, At, Made, Settings};
use bilevel_core::{Error, LowerProblem, Objective, Oracle, Samples};
use bilevel_program::Vector;

use crate::error::BenchError;
use crate::settings::Catalogued;

/// The methods, with one lower step each, and `rad` through all steps of the reference.
const METHODS: [&str; 4] = ["first-order", "one-stage-fd", "one-stage", "rad"];
/// The change of a logit in a difference: the loss is known to seven digits.
const CHANGE: f64 = 0.02;

/// Degrees between the hypergradient of each method at (x, y) and the gradient of `F(x, y_T(x))`, with T = `steps`
/// steps from y, by central differences; without those that have no angle because one of the two is zero or not finite.
///
/// # Errors
/// If the lower level diverges.
pub fn angles(
    oracle: &dyn Oracle,
    (x, y): (&Vector, &Vector),
    samples: Samples,
    step_size: f64,
    steps: usize,
) -> Result<BTreeMap<String, f64>, BenchError> {
    let many = Settings { lower_steps: steps, step_size, ..Settings::default() };
    let reference = differences(oracle, (x, y), samples, &many)?;
    let angle = |name: &str| {
        let lower_steps = if name == "rad" { steps } else { 1 };
        let of_method = Settings { lower_steps, ..many.clone() };
        let method = Catalogued::find(name).expect("it is in the catalogue");
        let (made, _) = method.make(&of_method, &At { x, y, seed: 0 })?;
        let Made::Hypergradient(mut method) = made else { unreachable!("each gives a gradient") };
        let found = method.hypergradient(LowerProblem::new(oracle, x, samples), y)?;
        Ok(degrees(&found.gradient.to_vec(), &reference).map(|degrees| (name.to_owned(), degrees)))
    };
    METHODS.into_iter().filter_map(|name| angle(name).transpose()).collect()
}

/// The gradient of `F(x, y_T(x))` by central differences in each variable.
fn differences(
    oracle: &dyn Oracle,
    (x, y): (&Vector, &Vector),
    samples: Samples,
    settings: &catalogue::Settings,
) -> Result<Vec<f64>, Error> {
    let descent = settings.descent()?;
    let (numbers, device) = (x.to_vec(), x.device());
    let loss = |at: usize, change: f64| {
        let mut moved = numbers.clone();
        moved[at] += change;
        let x = Vector::from_slice(x.layout(), &moved, &device);
        let problem = LowerProblem::new(oracle, &x, samples);
        let end = descent.run(&problem, y)?;
        Ok::<_, Error>(problem.value(Objective::Upper, &end.state.y).read())
    };
    let slope = |at| Ok((loss(at, CHANGE)? - loss(at, -CHANGE)?) / (2.0 * CHANGE));
    (0..numbers.len()).map(slope).collect()
}

/// The angle between two vectors, from 0 to 180; none if one is zero or not finite.
fn degrees(a: &[f64], b: &[f64]) -> Option<f64> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let cosine = dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
    cosine.is_finite().then(|| cosine.clamp(-1.0, 1.0).acos().to_degrees())
}

#[cfg(test)]
mod tests {
    use super::degrees;

    #[test]
    fn angles_are_in_degrees() {
        for (a, b, expected) in [
            ([1.0, 0.0], [2.0, 0.0], 0.0),
            ([1.0, 0.0], [1.0, 1.0], 45.0),
            ([1.0, 0.0], [-3.0, 0.0], 180.0),
        ] {
            assert!((degrees(&a, &b).unwrap() - expected).abs() < 1e-6);
        }
        assert_eq!(degrees(&[0.0, 0.0], &[1.0, 0.0]), None);
        assert_eq!(degrees(&[f64::INFINITY, 0.0], &[1.0, 0.0]), None);
    }
}
