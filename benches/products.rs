//! What a product costs beside a gradient: a 784-300-10 ReLU network on 1000 samples, flex, f32.

use bilevel_autodiff::{Layout, Vector, grad, grad_and_hvp, hvp};
use bilevel_models::{Mlp, MlpConfig, cross_entropy};
use burn::backend::Autodiff;
use burn::module::AutodiffModule;
use burn::tensor::backend::Backend;
use burn::tensor::{Distribution, Int, Tensor, TensorData};
use burn_flex::{Flex, FlexDevice};
use criterion::Criterion;

const SAMPLES: usize = 1000;

/// Pixels and labels, made once.
struct Data {
    inputs: TensorData,
    labels: TensorData,
}

impl Data {
    fn loss<B: Backend>(&self, net: &Mlp<B>) -> Tensor<B, 1> {
        let device = Default::default();
        let inputs = Tensor::<B, 2>::from_data(self.inputs.clone(), &device);
        let labels = Tensor::<B, 1, Int>::from_data(self.labels.clone(), &device);
        cross_entropy(net.forward(inputs), labels).mean()
    }
}

fn products(criterion: &mut Criterion) {
    Flex::seed(&FlexDevice, 0);
    let uniform = Distribution::Uniform(0.0, 1.0);
    let inputs = Tensor::<Flex, 2>::random([SAMPLES, 784], uniform, &FlexDevice).into_data();
    let labels = (0..SAMPLES as i32).map(|i| i % 10).collect();
    let data = Data { inputs, labels: TensorData::new(labels, [SAMPLES]) };
    let net = MlpConfig::new(vec![784, 300, 10]).init::<Autodiff<Flex>>(&FlexDevice);
    let direction = Vector::from_module(&Layout::of(&net), &net.valid());

    let mut group = criterion.benchmark_group("mlp");
    group.sample_size(20);
    group.bench_function("gradient", |bench| bench.iter(|| grad(&net, |net| data.loss(net))));
    group.bench_function("hvp, reverse over forward", |bench| {
        bench.iter(|| hvp(&net, &direction, |net| data.loss(net)));
    });
    group.bench_function("gradient and hvp, forward over reverse", |bench| {
        bench.iter(|| grad_and_hvp(&net, &direction, |net| data.loss(net)));
    });
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    products(&mut criterion);
    criterion.final_summary();
}
