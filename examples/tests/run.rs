//! Runs the examples in f32 and checks the numbers that they print.

#[allow(dead_code)]
#[path = "../custom_network.rs"]
mod custom_network;
#[allow(dead_code)]
#[path = "../hvp_of_a_module.rs"]
mod hvp_of_a_module;

#[allow(dead_code)]
#[path = "../maml_sinusoid.rs"]
mod maml_sinusoid;

use std::sync::{Mutex, PoisonError};

/// Flex has one random generator per process: examples that seed it take turns.
static GENERATOR: Mutex<()> = Mutex::new(());

#[test]
fn hvp_of_a_module_finds_an_eigenvalue() {
    let _turn = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    let (value, residual) = hvp_of_a_module::run().unwrap();
    assert!(value > 0.0, "{value}");
    assert!(residual < 1e-3, "{residual}");
}

#[test]
fn custom_network_learns_its_decay() {
    let _turn = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    let losses = custom_network::run().unwrap();
    let (first, last) = (losses[0], losses[losses.len() - 1]);
    assert!(last < 0.5 * first, "the validation loss went from {first} to {last}");
}

#[test]
fn maml_sinusoid_learns_where_to_start() {
    let _turn = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    let losses = maml_sinusoid::run(150).unwrap();
    let mean = |of: &[f64]| of.iter().sum::<f64>() / of.len() as f64;
    let (first, last) = (mean(&losses[..20]), mean(&losses[130..]));
    assert!(last < 0.8 * first, "the error after one step went from {first} to {last}");
}
