//! The angles between hypergradients of one step and that of many.

use std::collections::BTreeMap;

use bilevel_core::catalogue::{At, Made, Settings};
use bilevel_core::{LowerProblem, Oracle, Samples};
use bilevel_program::Vector;

use crate::error::BenchError;
use crate::settings::Catalogued;

/// Degrees between the hypergradient of each method of one lower step at (x, y) and that of `rad` through `steps` steps
/// from y, which is exact; and between the differences and the product they stand for. Without those that have no angle
/// because one of the two is zero or not finite.
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
    let gradient = |name: &str, lower_steps| -> Result<Vec<f64>, BenchError> {
        let settings = Settings { lower_steps, step_size, ..Settings::default() };
        let method = Catalogued::find(name).expect("it is in the catalogue");
        let (made, _) = method.make(&settings, &At { x, y, seed: 0 })?;
        let Made::Hypergradient(mut method) = made else { unreachable!("each gives a gradient") };
        let found = method.hypergradient(LowerProblem::new(oracle, x, samples), y)?;
        Ok(found.gradient.to_vec())
    };
    let exact = gradient("rad", steps)?;
    let first_order = gradient("first-order", 1)?;
    let differences = gradient("one-stage-fd", 1)?;
    let product = gradient("one-stage", 1)?;
    let pairs = [
        ("first-order", &first_order, &exact),
        ("one-stage-fd", &differences, &exact),
        ("one-stage", &product, &exact),
        ("one-stage-fd to one-stage", &differences, &product),
    ];
    let angles = pairs.into_iter().map(|(name, a, b)| Some((name.to_owned(), degrees(a, b)?)));
    Ok(angles.flatten().collect())
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
