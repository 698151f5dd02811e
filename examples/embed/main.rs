//! Bilevel problems as other projects have them: each in its own file, with an independent result.
//!
//! `cargo run --release -p bilevel-examples --example embed` runs all of them.

#![allow(missing_docs, reason = "an example is read with its code")]
#![allow(clippy::large_enum_variant, reason = "there is one of them")]

pub mod distillation;
pub mod domains;
pub mod elastic_net;
pub mod equilibrium;
pub mod few_shot;
pub mod game;
pub mod learned_optimiser;
pub mod maml;
pub mod many_machines;
pub mod own_method;
pub mod saving;
pub mod shared;
pub mod svm;
pub mod three_levels;

use bilevel::Error;
use burn::tensor::{Device, FloatDType, IntDType};

/// The CPU, in f64, which the checks by differences need. Must be called before anything is computed.
pub fn device() -> Device {
    let mut device = Device::flex();
    device
        .configure((FloatDType::F64, IntDType::I64))
        .expect("nothing was computed on flex before");
    device
}

fn main() -> Result<(), Error> {
    let device = device();
    println!("maml: {:?}", maml::run(&device)?.1);
    println!("few-shot: {:?}", few_shot::run(&device)?.1);
    let [transformer, recurrent] = domains::run(&device)?;
    println!(
        "domain weights of a transformer:\n{transformer}\nof a recurrent network:\n{recurrent}"
    );
    println!("elastic net: {:?}", elastic_net::run(&device)?);
    println!("svm: {:?}", svm::run(&device)?);
    println!("learned optimiser: {:?}", learned_optimiser::run(&device)?.1);
    println!("equilibrium: {:?}", equilibrium::run(&device)?);
    println!("distillation: {:?}", distillation::run(&device)?.1);
    println!("game: {:?}", game::run(&device)?);
    println!("two lower problems: {:?}", shared::run(&device)?);
    println!("own method: {:?}", own_method::run(&device)?);
    println!("saving: {:?}", saving::run(&device)?);
    println!("many machines: {:?}", many_machines::run(&device)?);
    println!("three levels: {:?}", three_levels::run(&device)?);
    Ok(())
}
