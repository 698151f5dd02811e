//! A weight for each domain of the training sentences, for a transformer and for a recurrent network.

use bilevel::*;
use burn::module::{Module, Param};
use burn::nn::attention::{MhaInput, MultiHeadAttention, MultiHeadAttentionConfig};
use burn::nn::gru::{Gru, GruConfig};
use burn::nn::{Embedding, EmbeddingConfig, Linear, LinearConfig};
use burn::tensor::{Device, Int, Tensor, activation};

#[derive(Module, Debug)]
pub enum Encoder {
    Transformer(MultiHeadAttention),
    Recurrent(Gru),
}

#[derive(Module, Debug)]
pub struct Classifier {
    embedding: Embedding,
    encoder: Encoder,
    head: Linear,
}

impl Classifier {
    /// The logarithm of the probability of each sentence's label.
    fn log_probabilities(&self, (tokens, labels, _): &Sentences) -> Tensor<1> {
        let tokens = self.embedding.forward(tokens.clone());
        let features = match &self.encoder {
            Encoder::Transformer(layer) => layer.forward(MhaInput::self_attn(tokens)).context,
            Encoder::Recurrent(layer) => layer.forward(tokens, None),
        };
        let logits: Tensor<2> = self.head.forward(features.mean_dim(1).squeeze_dim(1));
        activation::log_softmax(logits, 1).gather(1, labels.clone()).squeeze_dim(1)
    }
}

/// Tokens of each sentence, its label, and its domain.
pub type Sentences = (Tensor<2, Int>, Tensor<2, Int>, Tensor<1, Int>);
pub struct Domains;

impl BilevelProblem for Domains {
    type Upper = Param<Tensor<1>>;
    type Lower = Classifier;
    type Batch = Sentences;

    fn upper_loss(&self, _: &Self::Upper, y: &Classifier, batch: &Sentences) -> Tensor<1> {
        -y.log_probabilities(batch).mean()
    }
    fn lower_loss(&self, x: &Self::Upper, y: &Classifier, batch: &Sentences) -> Tensor<1> {
        let weights = activation::softmax(x.val(), 0).select(0, batch.2.clone());
        -(weights * y.log_probabilities(batch)).sum()
    }
}

/// The checks of the hypergradients, against differences: of the transformer, then of the recurrent network.
pub fn run(device: &Device) -> Result<[HypergradientReport; 2], Error> {
    let numbers = |n: i64, f: &dyn Fn(i64) -> i64| {
        Tensor::<1, Int>::from_data((0..n).map(f).collect::<Vec<_>>().as_slice(), device)
    };
    let sentences = |seed: i64| {
        let tokens = numbers(30, &|i| (i * i * 5 + 2 * i + 3 * seed) % 7).reshape([6, 5]);
        let labels = numbers(6, &|i| (i * i + seed) % 3).reshape([6, 1]);
        (tokens, labels, numbers(6, &|i| (i + seed) % 4))
    };
    let report = |encoder| {
        let embedding = EmbeddingConfig::new(7, 8).init(device);
        let network = Classifier { embedding, encoder, head: LinearConfig::new(8, 3).init(device) };
        let x = Param::from_data([0.3, -0.2, 0.5, 0.1], device);
        let data = FullBatch { upper: sentences(1), lower: sentences(2) };
        let oracle = AutodiffOracle::new(Domains, &x, &network, data)?;
        let rates = || Coefficient::parts([("embedding", 0.05.into()), ("", 0.1.into())]);
        let descent = || Descent::new(Clipped::by_norm(Momentum::new(rates(), 0.9)?, 1.0)?, 6);
        let (x, y, truth) = (oracle.upper_start(), oracle.lower_start(), descent()?);
        let reference = Reference::differences(&truth, 1e-7);
        check_hypergradient(|| Ok(Unrolled::rad(descent()?)), &oracle, &x, &y, &reference)
    };
    let attention = MultiHeadAttentionConfig::new(8, 2).with_dropout(0.0).init(device);
    let gru = GruConfig::new(8, 8, true).init(device);
    Ok([report(Encoder::Transformer(attention))?, report(Encoder::Recurrent(gru))?])
}
