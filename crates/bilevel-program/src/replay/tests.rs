//! The three ways to replay a program on Flex: operation by operation, in passes, and in registers.

use burn::module::{Module, Param};
use burn::tensor::{DType, Device, Int, Shape, Tensor, TensorData, activation};

use super::registers::Segment;
use super::*;
use crate::function::{Again, Function};
use crate::fuse::sources;
use crate::optimise::merged;
use crate::{Vector, float};

#[derive(Module, Debug)]
struct Net {
    first: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
    second: Param<Tensor<2>>,
}

fn values<const D: usize>(
    sizes: [usize; D],
    salt: usize,
    (device, dtype): (&Device, DType),
) -> Tensor<D> {
    let number = |at: usize| ((at * 37 + salt * 11) % 101) as f64 / 60.0 - 0.8;
    let values: Vec<f64> = (0..sizes.iter().product()).map(number).collect();
    Tensor::from_data(TensorData::new(values, sizes), (device, dtype))
}

fn net(hidden: usize) -> Net {
    net_on((&Device::flex(), DType::F64), hidden)
}

fn net_on(on: (&Device, DType), hidden: usize) -> Net {
    Net {
        first: Param::from_tensor(values([4, hidden], 1, on)),
        bias: Param::from_tensor(values([hidden], 2, on)),
        second: Param::from_tensor(values([hidden, 3], 3, on)),
    }
}

impl Net {
    /// Data on the device where the loss is computed.
    fn data<const D: usize>(&self, sizes: [usize; D], salt: usize) -> Tensor<D> {
        let first = self.first.val();
        values(sizes, salt, (&first.device(), first.dtype()))
    }
}

fn outputs(net: &Net, samples: usize, activation: fn(Tensor<2>) -> Tensor<2>) -> Tensor<2> {
    let hidden = net.data([samples, 4], 4).matmul(net.first.val()) + net.bias.val().unsqueeze();
    activation(hidden).matmul(net.second.val())
}

type Loss = fn(&Net, usize) -> Tensor<1>;

/// Activations with masks, broadcasts of every kind, sums over each axis, gathers, negative signs.
const LOSSES: [(&str, Loss); 7] = [
    ("softmax as exp", |net, samples| {
        let logarithm = activation::log_softmax(outputs(net, samples, activation::tanh), 1);
        (net.data([samples, 1], 6) * logarithm.exp()).powi_scalar(2).mean()
    }),
    ("weighted cross-entropy", |net, samples| {
        let scores = outputs(net, samples, activation::relu);
        let labels: Vec<i64> = (0..samples as i64).map(|at| at % 3).collect();
        let labels = Tensor::<1, Int>::from_data(labels.as_slice(), &net.first.val().device());
        let chosen = activation::log_softmax(scores, 1).gather(1, labels.reshape([samples, 1]));
        let weights = activation::sigmoid(net.data([samples], 6));
        (-chosen.squeeze_dim::<1>(1) * weights).mean()
    }),
    ("squares", |net, samples| {
        let error = outputs(net, samples, activation::relu) - net.data([samples, 3], 5);
        error.powi_scalar(2).mean()
    }),
    ("cross-entropy", |net, samples| {
        let scores = outputs(net, samples, activation::tanh);
        let labels: Vec<i64> = (0..samples as i64).map(|at| at % 3).collect();
        let labels = Tensor::<1, Int>::from_data(labels.as_slice(), &net.first.val().device());
        let chosen = activation::log_softmax(scores, 1).gather(1, labels.reshape([samples, 1]));
        (net.data([samples, 1], 6) * -chosen).mean() - net.bias.val().powi_scalar(2).sum()
    }),
    ("clamped", |net, samples| {
        let scores = outputs(net, samples, |hidden| hidden.clamp(-0.5, 0.7) * 2.0);
        let column = scores.clone().powi_scalar(2).sum_dim(1);
        (scores / (column + 1.0).sqrt()).sum_dim(0).exp().sum()
    }),
    ("gated", |net, samples| {
        let gate = activation::sigmoid(outputs(net, samples, activation::gelu));
        let overlap = (-gate.clone()).transpose().matmul(net.data([samples, 3], 7));
        overlap.powi_scalar(2).sum() - (-gate).sum()
    }),
    ("weights", |net, _| {
        let weights = net.first.val().abs() + net.bias.val().unsqueeze::<2>().exp();
        weights.log().sum() / net.second.val().powi_scalar(2).sum().sqrt()
    }),
];

/// Values, gradients and products of all losses.
fn programs(hidden: usize, samples: usize, check: impl FnMut(&str, &Program, &[&DispatchTensor])) {
    programs_of(&net(hidden), samples, check);
}

fn programs_of(
    net: &Net,
    samples: usize,
    mut check: impl FnMut(&str, &Program, &[&DispatchTensor]),
) {
    for (name, loss) in LOSSES {
        let function = Function::loss(net, &|net: &Net| loss(net, samples), Again::Always).unwrap();
        let v: Vector = function.point.scale(-0.5);
        let (gradient, product) = (function.gradient().unwrap(), function.product().unwrap());
        check(name, &function.program, &function.inputs(&function.point, &[]));
        check(name, &gradient, &function.inputs(&function.point, &[]));
        check(name, &product, &function.inputs(&function.point, &[&v]));
    }
}

fn numbers(outputs: Vec<DispatchTensor>) -> Vec<f64> {
    outputs
        .into_iter()
        .flat_map(|output| float::read(output).iter::<f64>().collect::<Vec<_>>())
        .collect()
}

fn segments(replay: &Replay) -> impl Iterator<Item = &Segment> {
    replay.stretches.iter().flat_map(|stretch| &stretch.segments)
}

#[test]
fn passes_have_the_bits_of_single_operations() {
    // In the last, the gradients of the hidden layer are large products with three terms.
    for (hidden, samples) in [(7, 5), (7, 30_000), (40, 2000)] {
        let mut with_products = 0;
        programs(hidden, samples, |name, program, inputs| {
            let replay = program.replay();
            let count = segments(replay).filter(|segment| segment.pass.is_some()).count();
            assert!(count > 0 || program.operations.len() < 20, "{name} has a pass");
            let products = segments(replay).filter(|each| each.pass_with_products.is_some());
            with_products += products.count();
            let single = numbers(replay.run_on::<FastFlex, Flex>(inputs, None));
            // As on Flex, and as on GPUs, where no pass computes products.
            for with_products in [true, false] {
                let passes = Passes { with_products, ..passes() };
                let passes = numbers(replay.run_on::<FastFlex, Flex>(inputs, Some(passes)));
                let same = passes.iter().zip(&single).all(|(a, b)| a.to_bits() == b.to_bits());
                assert!(same && passes.len() == single.len(), "{name} with {samples} samples");
            }
        });
        assert_eq!(with_products > 0, hidden == 40, "{with_products} with {hidden}");
    }
}

/// Log-softmax, the entry of each label and their derivatives are one kernel: nothing else reduces or indexes rows.
#[cfg(feature = "cube")]
#[test]
fn a_loss_of_classes_is_one_pass_over_rows() {
    programs_of(&net_on((&Device::flex(), DType::F32), 7), 5, |name, program, _| {
        let replay = program.replay();
        let is_indexed = |stretch: &&Stretch| {
            let operations = stretch.segments.iter().flat_map(|segment| &segment.operations);
            let words = ["Gather(", "Scatter(", "MaxDim("];
            let text: Vec<_> = operations.map(|each| format!("{each:?}")).collect();
            text.iter().any(|text| words.iter().any(|word| text.contains(word)))
        };
        let indexed: Vec<_> = replay.stretches.iter().filter(is_indexed).collect();
        if name.contains("cross-entropy") {
            assert_eq!(indexed.len(), 1, "{name}: {program}");
            assert!(indexed[0].rows.is_some(), "{name}: {program}");
        }
    });
}

#[cfg(feature = "wgpu")]
#[test]
fn passes_on_gpus_compute_what_single_operations_do() {
    use burn::backend::Cube;
    let device = Device::enumerate(burn::tensor::DeviceType::Wgpu).into_iter().next();
    assert!(
        device.is_some() || std::env::var_os("BILEVEL_REQUIRE_GPU").is_none(),
        "no graphics adapter was found, and BILEVEL_REQUIRE_GPU is set"
    );
    let Some(device) = device else {
        eprintln!("skipped: no graphics adapter was found");
        return;
    };
    for (hidden, samples) in [(7, 5), (40, 70)] {
        programs_of(&net_on((&device, DType::F32), hidden), samples, |name, program, inputs| {
            let replay = program.replay();
            let has_rows = replay.stretches.iter().any(|stretch| stretch.rows.is_some());
            assert!(has_rows || !name.contains("cross-entropy"), "{name}: {program}");
            let single = numbers(replay.run_on::<Cube, Cube>(inputs, None));
            let passes = numbers(replay.run_on::<Cube, Cube>(inputs, Some(cube::passes())));
            let largest = single.iter().fold(0.0, |largest: f64, x| largest.max(x.abs()));
            assert_eq!(passes.len(), single.len(), "{name}");
            for (found, expected) in passes.iter().zip(&single) {
                let near = (found - expected).abs() <= 1e-4 * largest;
                assert!(near, "{name}: {found}, by single operations {expected}");
            }
        });
    }
}

/// A product stays in memory if it is an output, or something else than the pass reads it.
#[test]
fn products_that_are_read_elsewhere_are_not_computed_in_passes() {
    type Reads = fn(Tensor<2>) -> Tensor<1>;
    let cases: [(&str, usize, Reads); 3] = [
        ("a pass", 1, |product| (product.exp() * 2.0).sum()),
        ("a pass twice", 1, |product| (product.clone().exp() * product).sum()),
        ("a pass and a sum", 0, |product| {
            (product.clone().exp() * 2.0).sum() + product.sum_dim(1).powi_scalar(2).sum()
        }),
    ];
    for (name, expected, reads) in cases {
        let loss = |net: &Net| reads(net.data([2000, 3], 4).matmul(net.second.val().transpose()));
        let function = Function::loss(&net(40), &loss, Again::Always).unwrap();
        let replay = function.program.replay();
        let products = segments(replay).map(|segment| segment.products.len());
        assert_eq!(products.sum::<usize>(), expected, "{name}");
    }
}

/// On the limits of what a pass computes, in both types: with a single row, with few and with many terms.
#[test]
fn products_in_passes_have_the_bits_of_products_in_memory() {
    for (rows, terms, expected) in
        [(1700, 2, 0), (1700, 3, 1), (1641, 16, 1), (1700, 17, 0), (1, 10, 0)]
    {
        for dtype in [DType::F32, DType::F64] {
            let columns = if rows == 1 { 70_000 } else { 40 };
            let net = net(columns);
            let loss = |net: &Net| {
                // Of the variables, so that it is not a constant.
                let one = (net.first.val().mean() * 0.0 + 1.0).reshape([1, 1]);
                let on = (&net.first.val().device(), DType::F64);
                let a = (values([rows, terms], 4, on) * one.clone()).cast(dtype);
                let b = (values([columns, terms], 5, on) * one).cast(dtype).transpose();
                let product = a.matmul(b);
                let sums = product.clone().tanh() * 0.7 + product.abs();
                sums.cast(DType::F64).sum()
            };
            let function = Function::loss(&net, &loss, Again::Always).unwrap();
            let replay = function.program.replay();
            let products: usize = segments(replay).map(|each| each.products.len()).sum();
            assert_eq!(products, expected, "[{rows}, {terms}] in {dtype:?}");
            let inputs = function.inputs(&function.point, &[]);
            let run = |passes| numbers(replay.run_on::<FastFlex, Flex>(&inputs, passes))[0];
            assert_eq!(run(Some(passes())).to_bits(), run(None).to_bits(), "[{rows}, {terms}]");
        }
    }
}

#[test]
fn registers_have_the_bits_of_tensors() {
    for hidden in [1, 2, 40] {
        programs(hidden, 6, |name, program, inputs| {
            let replay = program.replay();
            let single = numbers(replay.run_on::<FastFlex, Flex>(inputs, None));
            // The registers of the first call are those of the second.
            for _ in 0..2 {
                let small = numbers(replay.run_small(inputs).expect("all tensors are small"));
                let same = small.iter().zip(&single).all(|(a, b)| a.to_bits() == b.to_bits());
                assert!(same && small.len() == single.len(), "{name}: {small:?} {single:?}");
            }
        });
    }
}

/// The first part of a linearisation has no products of matrices besides those of the gradient. `gated` is left out:
/// there Burn's backward pass of an activation is an operation of its own.
#[test]
fn a_linearisation_multiplies_no_matrices_twice() {
    for (name, loss) in LOSSES.into_iter().filter(|(name, _)| *name != "gated") {
        let net = net(7);
        let function = Function::loss(&net, &|net: &Net| loss(net, 5), Again::Always).unwrap();
        let (gradient, product) = (function.gradient().unwrap(), function.product().unwrap());
        let (late, known) = (gradient.inputs.len(), gradient.outputs.len());
        let early = merged(&gradient, &product).split(|input| input >= late, known).early;
        let count = |program: &Program| format!("{program}").matches("= matmul(").count();
        assert_eq!(count(&early), count(&gradient), "{name}: {early}");
        let inputs = function.inputs(&function.point, &[]);
        let bits = |program: &Program| {
            let outputs = program.run(&inputs).unwrap().into_iter().take(known).collect();
            numbers(outputs).into_iter().map(f64::to_bits).collect::<Vec<_>>()
        };
        assert_eq!(bits(&early), bits(&gradient), "{name}: the bits of the gradient");
    }
}

/// Tensors that others of them determine are computed again, not passed on.
#[test]
fn a_linearisation_passes_on_what_it_cannot_compute_again() {
    for (name, loss) in LOSSES {
        let net = net(7);
        let function = Function::loss(&net, &|net: &Net| loss(net, 5), Again::Always).unwrap();
        let (gradient, product) = (function.gradient().unwrap(), function.product().unwrap());
        let (late, known) = (gradient.inputs.len(), gradient.outputs.len());
        let split = merged(&gradient, &product).split(|input| input >= late, known);
        if name == "cross-entropy" {
            let hidden = Shape::new([5, 7]);
            let kept = split.early.outputs[known..].iter().filter(|kept| kept.shape == hidden);
            assert_eq!(kept.count(), 2, "tanh and the gradient in it, not 1 - tanh^2");
        }
        let v: Vector = function.point.scale(-0.5);
        let early = split.early.run(&function.inputs(&function.point, &[])).unwrap();
        let inputs: Vec<_> = early[known..].iter().chain(v.leaves()).collect();
        let late = numbers(split.late.run(&inputs).unwrap());
        let whole = numbers(product.run(&function.inputs(&function.point, &[&v])).unwrap());
        let same = late.iter().zip(&whole).all(|(a, b)| a.to_bits() == b.to_bits());
        assert!(same && late.len() == whole.len(), "{name}: the bits of the product");
    }
}

/// The derivative `1 - tanh^2` is computed in the pass that reads it, not in that of tanh.
#[test]
fn what_one_tensor_determines_is_computed_where_it_is_read() {
    let (_, loss) = LOSSES.into_iter().find(|(name, _)| *name == "cross-entropy").unwrap();
    let net = net(7);
    let function = Function::loss(&net, &|net: &Net| loss(net, 5), Again::Always).unwrap();
    let gradient = function.gradient().unwrap();
    let segments: Vec<_> = segments(gradient.replay()).collect();
    let with = |word: &str| -> Vec<usize> {
        let has =
            |segment: &Segment| segment.operations.iter().any(|o| format!("{o:?}").contains(word));
        (0..segments.len()).filter(|&at| has(segments[at])).collect()
    };
    let (tanh, derivative) = (with("Tanh("), with("AddScalar("));
    assert!(tanh.len() == 1 && derivative.len() == 1 && tanh[0] < derivative[0], "{gradient}");
}

/// Which tensors others determine, of a program made by hand.
#[test]
fn sources_are_single_tensors_of_the_same_size() {
    let function = |loss: fn(Tensor<2>, Tensor<2>, Tensor<2>) -> Tensor<1>| {
        let net = net(7);
        let loss = move |net: &Net| {
            let [x, y] = [net.first.val(), net.first.val().exp()];
            loss(x, y, net.bias.val().unsqueeze())
        };
        let function = Function::loss(&net, &loss, Again::Always).unwrap();
        sources(function.program.operations.iter()).len()
    };
    // A chain of two; a product of two tensors; a broadcast; a function that is no arithmetic.
    assert_eq!(function(|x, _, _| ((x.clone() * x) + 2.0).log().sum()), 2);
    assert_eq!(function(|x, y, _| (x * y).sum()), 0);
    assert_eq!(function(|x, _, row| (x + row).sum()), 0);
    assert_eq!(function(|x, _, _| x.tanh().sum()), 0);
}

/// Softmax is one operation, whose derivatives do not pass through the maximum, whatever the sign of its argument.
#[test]
fn softmax_of_a_negative_is_recognised() {
    let net = net(5);
    let losses: [fn(&Net) -> Tensor<1>; 3] = [
        |net| activation::softmax(-net.second.val(), 1).powi_scalar(2).sum(),
        |net| activation::log_softmax(-net.first.val() - net.bias.val().unsqueeze(), 1).exp().sum(),
        |net| activation::softmin(net.first.val(), 0).powi_scalar(3).sum(),
    ];
    for (at, loss) in losses.into_iter().enumerate() {
        let function = Function::loss(&net, &loss, Again::Always).unwrap();
        let text = function.program.to_string();
        assert!(text.contains("softmax") || text.contains("softmin"), "loss {at}: {text}");
        assert!(!text.contains("max_dim"), "loss {at}: {text}");
    }
}

#[test]
fn large_programs_are_not_run_in_registers() {
    programs(7, 30_000, |name, program, inputs| {
        let small = program.replay().run_small(inputs).is_some();
        assert_eq!(small, name == "weights", "{name}");
    });
}

#[test]
fn views_from_outside_are_replayed_as_tensors() {
    programs(7, 6, |name, program, inputs| {
        let expected = numbers(program.replay().run(inputs));
        let turned: Vec<_> = inputs.iter().map(|&input| turned(input.clone())).collect();
        let found = numbers(program.replay().run(&turned.iter().collect::<Vec<_>>()));
        for (a, b) in found.iter().zip(&expected) {
            assert!((a - b).abs() < 1e-12, "{name}: {a} and {b}");
        }
    });
}

/// The same matrix, stored by columns.
fn turned(tensor: DispatchTensor) -> DispatchTensor {
    match float::into_flex(tensor) {
        Ok(tensor) if tensor.layout().num_dims() == 2 => {
            float::from_flex(tensor.transpose(0, 1).to_contiguous().transpose(0, 1))
        }
        Ok(tensor) => float::from_flex(tensor),
        Err(tensor) => tensor,
    }
}
