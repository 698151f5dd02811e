//! Losses as users write them, recorded and differentiated, compared with Burn's own gradient and differences in f64.

use bilevel_program::{Batch, Direction, Recorded, TraceError, Vector, Wrt, stop_gradient};
use burn::module::{Module, Param};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};
use burn::tensor::{DType, Device, Distribution, Int, Tensor, activation};

#[derive(Module, Debug)]
struct Weights {
    of: Param<Tensor<1>>,
}

#[derive(Module, Debug)]
struct Net {
    a: Linear,
    norm: Option<BatchNorm>,
    b: Linear,
}

#[derive(Clone, Debug, Batch)]
struct Points {
    inputs: Tensor<2>,
    labels: Tensor<1, Int>,
}

fn device() -> Device {
    static ONCE: std::sync::Once = std::sync::Once::new();
    let mut device = Device::flex();
    ONCE.call_once(|| {
        device.configure(burn::tensor::FloatDType::F64).expect("nothing was computed before")
    });
    device
}

fn problem(with_norm: bool) -> (Weights, Net, Points) {
    let device = device();
    device.seed(1);
    let (n, i, h, o) = (6, 4, 5, 3);
    let x = Weights {
        of: Param::from_tensor(Tensor::random([n], Distribution::Normal(0.0, 1.0), &device)),
    };
    let y = Net {
        a: LinearConfig::new(i, h).init(&device),
        norm: with_norm.then(|| BatchNormConfig::new(h).init(&device)),
        b: LinearConfig::new(h, o).init(&device),
    };
    let inputs = Tensor::random([n, i], Distribution::Normal(0.0, 1.0), &device);
    let labels = Tensor::<1, Int>::from_data([0, 1, 2, 0, 1, 2], &device);
    (x, y, Points { inputs, labels })
}

fn loss(x: &Weights, y: &Net, batch: &Points) -> Tensor<1> {
    let mut h = y.a.forward(batch.inputs.clone());
    if let Some(norm) = &y.norm {
        h = norm.forward(h);
    }
    let logits = y.b.forward(h.tanh());
    let logs = activation::log_softmax(logits, 1);
    let picked = logs.gather(1, batch.labels.clone().unsqueeze_dim(1)).squeeze_dim::<1>(1);
    (activation::sigmoid(x.of.val()) * picked.neg()).mean()
}

fn random_like(v: &Vector, seed: u64) -> Vector {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as f64 / (1u64 << 31) as f64 - 0.5
    };
    let values: Vec<f64> = (0..v.layout().size()).map(|_| next()).collect();
    Vector::from_slice(v.layout(), &values, &v.device())
}

fn gap(a: &Vector, b: &Vector) -> f64 {
    a.sub(b).norm() / b.norm().max(1e-12)
}

fn read(value: burn::backend::DispatchTensor) -> f64 {
    Tensor::<1>::from_dispatch(value).into_data().iter::<f64>().next().unwrap()
}

#[test]
fn derivatives_agree_with_differences() {
    for with_norm in [false, true] {
        let (x, y, batch) = problem(with_norm);
        let recorded = Recorded::new(&x, &y).unwrap();
        let (at_x, at_y) = (
            Vector::from_module(recorded.upper_layout(), &x),
            Vector::from_module(recorded.lower_layout(), &y),
        );
        assert_eq!(at_x.layout().leaves()[0].dtype, DType::F64);
        let gradient = |x: &Vector, y: &Vector| {
            let (_, partials) = recorded.gradient(x, y, &batch, Wrt::Both, &loss).unwrap();
            partials.into_both()
        };
        let value = |x: &Vector, y: &Vector| read(recorded.value(x, y, &batch, &loss).unwrap());
        let (u, v) = (random_like(&at_x, 3), random_like(&at_y, 5));
        let (gx, gy) = gradient(&at_x, &at_y);
        let e = 1e-5;
        let slope = (value(&at_x.axpy(e, &u), &at_y.axpy(e, &v))
            - value(&at_x.axpy(-e, &u), &at_y.axpy(-e, &v)))
            / (2.0 * e);
        let ours = gx.dot(&u) + gy.dot(&v);
        assert!((slope - ours).abs() < 1e-8 * ours.abs().max(1.0), "{with_norm}: {slope} {ours}");

        let along = Direction { x: Some(&u), y: Some(&v) };
        let (px, py) =
            recorded.product(&at_x, &at_y, &batch, along, Wrt::Both, &loss).unwrap().into_both();
        let (ax, ay) = gradient(&at_x.axpy(e, &u), &at_y.axpy(e, &v));
        let (bx, by) = gradient(&at_x.axpy(-e, &u), &at_y.axpy(-e, &v));
        assert!(gap(&px, &ax.sub(&bx).scale(0.5 / e)) < 1e-7);
        assert!(gap(&py, &ay.sub(&by).scale(0.5 / e)) < 1e-7);

        let lower = Direction::in_y(&v);
        let (loss_there, partials, linear) = recorded
            .linearize(&at_x, &at_y, &batch, Some(Wrt::Y), lower, Wrt::Both, &loss)
            .unwrap();
        assert_eq!(read(loss_there), value(&at_x, &at_y));
        assert!(gap(&partials.into_y(), &gy) < 1e-13);
        for seed in 7..10 {
            let v = random_like(&at_y, seed);
            let direct = recorded
                .product(&at_x, &at_y, &batch, Direction::in_y(&v), Wrt::Both, &loss)
                .unwrap();
            let (lx, ly) = linear.product(Direction::in_y(&v), Wrt::Both).into_both();
            let (dx, dy) = direct.into_both();
            assert!(gap(&lx, &dx) < 1e-12 && gap(&ly, &dy) < 1e-12);
            let alone = linear.product(Direction::in_y(&v), Wrt::Y).into_y();
            assert!(gap(&alone, &dy) < 1e-12);
        }
        let program = recorded
            .program(bilevel_program::Derivative::Product, &at_x, &at_y, &batch, &loss)
            .unwrap();
        println!("{program}");
    }
}

#[test]
fn the_module_stays_on_its_device() {
    let (x, y, batch) = problem(true);
    let before = y.norm.as_ref().unwrap().running_mean.value_sync().into_data();
    let recorded = Recorded::new(&x, &y).unwrap();
    let (at_x, at_y) = (
        Vector::from_module(recorded.upper_layout(), &x),
        Vector::from_module(recorded.lower_layout(), &y),
    );
    recorded.gradient(&at_x, &at_y, &batch, Wrt::Both, &loss).unwrap();
    let norm = y.norm.as_ref().unwrap();
    assert_eq!(norm.running_mean.value_sync().into_data(), before);
    assert_eq!(y.devices(), vec![device()]);
}

#[test]
fn a_detached_value_is_refused_and_a_stopped_one_is_a_constant() {
    let (x, y, batch) = problem(false);
    let recorded = Recorded::new(&x, &y).unwrap();
    let (at_x, at_y) = (
        Vector::from_module(recorded.upper_layout(), &x),
        Vector::from_module(recorded.lower_layout(), &y),
    );
    let detached = |x: &Weights, y: &Net, batch: &Points| {
        let out = y.a.forward(batch.inputs.clone());
        (out.clone() * out.detach()).mean() + x.of.val().powi_scalar(2).mean()
    };
    let error = recorded.value(&at_x, &at_y, &batch, &detached).err().unwrap();
    assert!(matches!(error, TraceError::Detached { .. }), "{error}");

    let recorded = Recorded::new(&x, &y).unwrap();
    let stopped = |_: &Weights, y: &Net, _: &Points| {
        let w = y.a.weight.val();
        (w.clone() * stop_gradient(w.powi_scalar(2))).sum()
    };
    let (_, gradient) = recorded.gradient(&at_x, &at_y, &batch, Wrt::Y, &stopped).unwrap();
    let weight = at_y.part(&[0], &at_y.layout().part(&[0]));
    let gradient = gradient.into_y();
    let of_weight = gradient.part(&[0], weight.layout());
    let squares: Vec<f64> = weight.to_vec().iter().map(|w| w * w).collect();
    assert_eq!(of_weight.to_vec(), squares);
    let v = random_like(&at_y, 2);
    let product =
        recorded.product(&at_x, &at_y, &batch, Direction::in_y(&v), Wrt::Y, &stopped).unwrap();
    assert_eq!(product.into_y().norm(), 0.0);
}

#[test]
fn what_cannot_be_recorded_is_said() {
    let (x, y, batch) = problem(false);
    let at = |recorded: &Recorded<Weights, Net, Points>| {
        (
            Vector::from_module(recorded.upper_layout(), &x),
            Vector::from_module(recorded.lower_layout(), &y),
        )
    };
    let refused = |loss: &dyn Fn(&Weights, &Net, &Points) -> Tensor<1>| {
        let recorded = Recorded::new(&x, &y).unwrap();
        let (x, y) = at(&recorded);
        recorded.value(&x, &y, &batch, loss).err().unwrap()
    };
    let many = refused(&|x, _, _| x.of.val());
    assert!(matches!(many, TraceError::NotOneNumber { .. }), "{many}");
    let reads = refused(&|x, _, _| {
        let value = x.of.val().sum().into_data().iter::<f64>().next().unwrap();
        x.of.val().sum() * value
    });
    assert!(matches!(reads, TraceError::Panic { .. }), "{reads}");
    let random = refused(&|x, y, batch| {
        let h = y.a.forward(batch.inputs.clone());
        let mask = Tensor::random(h.shape(), Distribution::Default, &h.device());
        (h * mask).mean() + x.of.val().sum()
    });
    assert!(matches!(random, TraceError::Operation { .. }), "{random}");
}
