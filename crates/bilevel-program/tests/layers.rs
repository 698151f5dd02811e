//! Modules of Burn's own layers, as in a project that does not use this crate, compared with differences in f64.

use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use bilevel_program::check;
use burn::module::Module;
use burn::nn::attention::{MhaInput, MultiHeadAttention, MultiHeadAttentionConfig};
use burn::nn::{
    Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig, Lstm, LstmConfig,
};
use burn::tensor::{Device, FloatDType, Int, Tensor, activation};

/// The device, and the turn of this test: the random generator that initialises layers belongs to the process.
fn device() -> (Device, MutexGuard<'static, ()>) {
    static ONCE: Once = Once::new();
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut device = Device::flex();
    ONCE.call_once(|| device.configure(FloatDType::F64).expect("nothing was computed before"));
    device.seed(3);
    (device, turn)
}

#[derive(Module, Debug)]
struct Transformer {
    tokens: Embedding,
    attention: MultiHeadAttention,
    norm: LayerNorm,
    head: Linear,
}

#[test]
fn attention_embedding_and_layer_norm() {
    let (device, _turn) = device();
    let (vocabulary, width) = (5, 4);
    let net = Transformer {
        tokens: EmbeddingConfig::new(vocabulary, width).init(&device),
        // Two heads of width 2: scores are divided by the root of 2, whose reciprocal is not exact in f32.
        attention: MultiHeadAttentionConfig::new(width, 2).with_dropout(0.0).init(&device),
        norm: LayerNormConfig::new(width).init(&device),
        head: LinearConfig::new(width, 3).init(&device),
    };
    let loss = |net: &Transformer| {
        let device = net.head.weight.device();
        let words = Tensor::<2, Int>::from_ints([[0, 3, 1], [4, 2, 2]], &device);
        let embedded = net.tokens.forward(words);
        let context = net.attention.forward(MhaInput::self_attn(embedded.clone())).context;
        let hidden = net.norm.forward(embedded + context);
        let logits: Tensor<3> = net.head.forward(hidden);
        activation::log_softmax(logits, 2).powi_scalar(2).mean()
    };
    check(&net, loss).expect("the loss can be recorded").assert_ok();
}

#[derive(Module, Debug)]
struct Recurrent {
    cells: Lstm,
    head: Linear,
}

#[test]
fn a_recurrent_network() {
    let (device, _turn) = device();
    let net = Recurrent {
        cells: LstmConfig::new(2, 3, true).init(&device),
        head: LinearConfig::new(3, 1).init(&device),
    };
    let loss = |net: &Recurrent| {
        let device = net.head.weight.device();
        let steps = Tensor::<3>::from_floats(
            [[[0.1, -0.2], [0.7, 0.4], [-0.5, 0.3]], [[0.9, 0.1], [-0.3, -0.8], [0.2, 0.6]]],
            &device,
        );
        let (states, _) = net.cells.forward(steps, None);
        net.head.forward(states).powi_scalar(2).mean()
    };
    check(&net, loss).expect("the loss can be recorded").assert_ok();
}
