//! Everything that Burn records, recorded by its own capture and executed on Flex, is bit for bit
//! what Flex computes when it is called directly.

mod cases;
mod layers;

use std::collections::{BTreeMap, BTreeSet};

use burn::backend::ir::{
    CustomOpIr, FloatOperationIr as Float, HandleKind, InitOperationIr, IrVisitorMut, OperationIr,
    RandomOpIr, TensorId, TensorIr, TensorStatus,
};
use burn::backend::ops::{BoolTensorOps, FloatTensorOps, IntTensorOps};
use burn::backend::tensor::Device;
use burn::backend::{
    Autodiff, AutodiffBackend, Backend, Capture, DType, Distribution, Flex, Shape, TensorData,
    read_sync,
};

use super::*;
use cases::Cases;

/// A recording as programs hold it: tensors numbered densely, and the last use of each marked.
struct Recorded {
    operations: Vec<OperationIr>,
    values: BTreeMap<usize, TensorData>,
    outputs: Vec<usize>,
    len: usize,
}

#[derive(Default)]
struct Number(BTreeMap<TensorId, TensorId>);

impl Number {
    fn of(&mut self, id: TensorId) -> TensorId {
        let next = self.0.len() as u64;
        *self.0.entry(id).or_insert(TensorId::new(next))
    }
}

impl IrVisitorMut for Number {
    fn visit_tensor_mut(&mut self, tensor: &mut TensorIr) {
        tensor.id = self.of(tensor.id);
    }
}

/// Counts down the reads of each tensor, so that the last one is known.
struct Lives {
    reads: Vec<usize>,
    outputs: BTreeSet<TensorId>,
}

impl IrVisitorMut for Lives {
    fn visit_tensor_mut(&mut self, tensor: &mut TensorIr) {
        if self.outputs.contains(&tensor.id) {
            return;
        }
        let left = &mut self.reads[tensor.id.value() as usize];
        *left -= 1;
        tensor.status = if *left == 0 { TensorStatus::ReadWrite } else { TensorStatus::ReadOnly };
    }
}

fn record(cases: fn(&mut Cases<'_, Capture>)) -> Recorded {
    let device = Device::<Capture>::default();
    let captured = device.capture_scope(|scope| {
        let mut out = Cases::new(&device);
        cases(&mut out);
        let ids = out.outputs.iter().map(|value| match value {
            HandleKind::Float(tensor) | HandleKind::Int(tensor) | HandleKind::Bool(tensor) => {
                tensor.id()
            }
            HandleKind::Quantized(_) => unreachable!(),
        });
        scope.complete([], ids.collect::<Vec<_>>())
    });
    let captured = captured.expect("the cases are recorded");
    let mut number = Number::default();
    let mut operations = captured.graph.operations;
    operations.iter_mut().for_each(|operation| operation.visit_mut(&mut number));
    let mut of = |id: &TensorId| number.of(*id).value() as usize;
    let outputs: Vec<usize> = captured.graph.outputs.iter().map(&mut of).collect();
    let values = captured.values.iter().map(|(id, data)| (of(id), data.clone())).collect();
    let len = number.0.len();
    let mut reads = vec![0; len];
    operations.retain(|o| !matches!(o, OperationIr::Drop(_) | OperationIr::Init(_)));
    for read in operations.iter().flat_map(OperationIr::inputs) {
        reads[read.id.value() as usize] += 1;
    }
    for output in &outputs {
        reads[*output] += 1;
    }
    for operation in &mut operations {
        let written = operation.outputs().map(|tensor| tensor.id).collect();
        let mut lives = Lives { reads, outputs: written };
        operation.visit_mut(&mut lives);
        reads = lives.reads;
    }
    Recorded { operations, values, outputs, len }
}

fn upload<B: Backend>(data: TensorData, device: &Device<B>) -> HandleKind<B> {
    match data.dtype() {
        dtype if dtype.is_float() => HandleKind::Float(B::float_from_data(data, device)),
        dtype if dtype.is_bool() => HandleKind::Bool(B::bool_from_data(data, device)),
        _ => HandleKind::Int(B::int_from_data(data, device)),
    }
}

fn download(value: HandleKind<Flex>) -> TensorData {
    match value {
        HandleKind::Float(tensor) => read_sync(Flex::float_into_data(tensor)),
        HandleKind::Int(tensor) => read_sync(Flex::int_into_data(tensor)),
        HandleKind::Bool(tensor) => read_sync(Flex::bool_into_data(tensor)),
        HandleKind::Quantized(_) => unreachable!(),
    }
    .expect("memory of this machine is read")
}

/// Executes the cases on Flex in both ways, and gives the names of what was recorded.
fn check(recorded: fn(&mut Cases<'_, Capture>), direct: fn(&mut Cases<'_, Flex>)) -> Vec<String> {
    let recorded = record(recorded);
    let device = Device::<Flex>::default();
    let mut slots = Slots::<Flex>::new(recorded.len);
    for (slot, data) in &recorded.values {
        slots.set(*slot, upload(data.clone(), &device));
    }
    for operation in &recorded.operations {
        assert_eq!(refuse(operation), None);
        execute(operation, &mut slots, &device);
        for tensor in operation.outputs() {
            let (shape, dtype) = match slots.get(tensor.id.value() as usize).expect("was set") {
                HandleKind::Float(value) => (value.shape(), value.dtype()),
                HandleKind::Int(value) => (value.shape(), value.dtype()),
                HandleKind::Bool(value) => (value.shape(), value.dtype()),
                HandleKind::Quantized(_) => unreachable!(),
            };
            assert_eq!(shape, tensor.shape, "of {}", name(operation));
            // Flex 0.22.1 returns selections of booleans as bytes.
            if !matches!(&*name(operation), "bool_select" | "bool_gather") {
                assert_eq!(dtype, tensor.dtype, "of {}", name(operation));
            }
        }
    }
    let mut expected = Cases::new(&device);
    direct(&mut expected);
    assert_eq!(expected.outputs.len(), recorded.outputs.len());
    for (at, (slot, expected)) in recorded.outputs.iter().zip(expected.outputs).enumerate() {
        let found = download(slots.take(*slot).expect("an output was computed"));
        let by =
            recorded.operations.iter().find(|o| o.outputs().any(|t| t.id.value() == *slot as u64));
        let by = by.map_or_else(String::new, name);
        let expected = download(expected);
        assert_eq!(found.shape(), expected.shape(), "output {at}, by {by}");
        assert_eq!(found.as_bytes(), expected.as_bytes(), "output {at}, by {by}");
    }
    // What is left was written but never read: every other value left its slot at its last use.
    let read: BTreeSet<u64> =
        recorded.operations.iter().flat_map(OperationIr::inputs).map(|t| t.id.value()).collect();
    for slot in 0..recorded.len {
        assert!(slots.get(slot).is_none() || !read.contains(&(slot as u64)), "slot {slot} is full");
    }
    recorded.operations.iter().map(name).collect()
}

/// Fails unless all of a family were executed. The families are those of Burn 0.22.1, without those that its recorder
/// decomposes: `is_nan`, `is_inf` and the CTC loss.
fn covers(executed: &[String], prefix: &str, family: &str, without: &[&str]) {
    let missing: Vec<_> = family
        .split_whitespace()
        .map(|name| format!("{prefix}{name}"))
        .filter(|name| !executed.contains(name) && !without.contains(&name.as_str()))
        .collect();
    assert!(missing.is_empty(), "not executed: {missing:?}");
}

const BASE: &str = "reshape swap_dims permute flip expand unfold slice slice_assign select \
    select_assign mask_where mask_fill gather scatter scatter_nd gather_nd equal equal_elem \
    repeat_dim cat cast empty ones zeros not_equal not_equal_elem all any all_dim any_dim";
const NUMERIC: &str = "add add_scalar sub sub_scalar div div_scalar rem rem_scalar mul mul_scalar \
    abs full mean_dim mean sum sum_dim sum_dims prod prod_dim greater greater_elem greater_equal \
    greater_equal_elem lower lower_elem lower_equal lower_equal_elem arg_max arg_top_k top_k \
    top_k_with_indices arg_min max max_dim_with_indices min_dim_with_indices min max_dim min_dim \
    max_abs max_abs_dim clamp powi powi_scalar cum_sum cum_prod cum_min cum_max neg sign clamp_min \
    clamp_max sort sort_with_indices arg_sort pad";
const FLOAT: &str = "exp log log1p erf powf_scalar sqrt cos cosh sin sinh tan tanh arc_cos \
    arc_cosh arc_sin arc_sinh arc_tan arc_tanh arc_tan2 round floor ceil trunc into_int matmul \
    cross recip grid_sample2d powf hypot";
const INT: &str = "into_float bitwise_and bitwise_and_scalar bitwise_or bitwise_or_scalar \
    bitwise_xor bitwise_xor_scalar bitwise_not bitwise_left_shift bitwise_left_shift_scalar \
    bitwise_right_shift bitwise_right_shift_scalar matmul";
const BOOL: &str = "into_float into_int not and or xor";
const MODULE: &str = "batch_norm embedding embedding_backward linear linear_x_backward \
    linear_weight_backward linear_bias_backward conv1d conv1d_x_backward conv1d_weight_backward \
    conv1d_bias_backward conv2d conv2d_x_backward conv2d_weight_backward conv2d_bias_backward \
    conv3d conv3d_x_backward conv3d_weight_backward conv3d_bias_backward deformable_conv2d \
    deformable_conv2d_backward conv_transpose1d conv_transpose2d conv_transpose3d avg_pool1d \
    avg_pool2d avg_pool1d_backward avg_pool2d_backward adaptive_avg_pool1d adaptive_avg_pool2d \
    adaptive_avg_pool1d_backward adaptive_avg_pool2d_backward adaptive_avg_pool3d \
    adaptive_avg_pool3d_backward max_pool1d max_pool1d_with_indices \
    max_pool1d_with_indices_backward max_pool2d max_pool2d_with_indices \
    max_pool2d_with_indices_backward interpolate interpolate_backward attention layer_norm \
    unfold4d conv_transpose1d_weight_backward conv_transpose1d_bias_backward \
    conv_transpose2d_weight_backward conv_transpose2d_bias_backward \
    conv_transpose3d_weight_backward conv_transpose3d_bias_backward";
const ACTIVATION: &str = "relu relu_backward leaky_relu prelu gelu gelu_backward sigmoid \
    sigmoid_backward hard_sigmoid log_sigmoid log_sigmoid_backward softmax log_softmax softmin";

#[test]
fn operations_on_places_are_executed() {
    let executed = check(cases::base_float, cases::base_float);
    covers(&executed, "", BASE, &[]);
    let executed = check(cases::base_int, cases::base_int);
    covers(&executed, "int_", BASE, &[]);
    let executed = check(cases::base_bool, cases::base_bool);
    // Backends have none of these three for booleans.
    covers(&executed, "bool_", BASE, &["bool_scatter_nd", "bool_gather_nd", "bool_cast"]);
}

#[test]
fn arithmetic_is_executed() {
    // Burn 0.22.1 cannot record powers of floats by integers: it requires both to have one type.
    covers(&check(cases::numeric_float, cases::numeric_float), "", NUMERIC, &["powi"]);
    // It records sums of integers one dimension at a time.
    covers(&check(cases::numeric_int, cases::numeric_int), "int_", NUMERIC, &["int_sum_dims"]);
}

#[test]
fn functions_are_executed() {
    covers(&check(cases::float, cases::float), "", FLOAT, &[]);
    covers(&check(cases::int, cases::int), "int_", INT, &[]);
    covers(&check(cases::bool, cases::bool), "bool_", BOOL, &[]);
    covers(&check(layers::activation, layers::activation), "", ACTIVATION, &[]);
}

#[test]
fn layers_are_executed() {
    covers(&check(layers::module, layers::module), "", MODULE, &[]);
}

/// What `Autodiff` over the capture computes: a program, from the program of a loss.
#[test]
fn a_recording_is_executed_on_a_recorder() {
    type Seen = Autodiff<Capture>;
    fn loss<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
        let y = B::float_matmul(B::float_tanh(x.clone()), B::float_transpose(x));
        B::float_sum(B::log_softmax(y, 1))
    }
    fn direct(c: &mut Cases<'_, Flex>) {
        type Eager = Autodiff<Flex>;
        let x = Eager::float_set_require_grad(Eager::from_inner(c.x()), true);
        let gradients = Eager::backward(loss::<Eager>(x.clone()));
        c.outputs.push(HandleKind::Float(Eager::grad(&x, &gradients).expect("of a variable")));
    }
    fn recorded(c: &mut Cases<'_, Capture>) {
        // The loss is recorded on another device, and then executed on this one.
        let recorded = record(|c| {
            let x = c.x();
            c.outputs.push(HandleKind::Float(loss::<Capture>(x)));
        });
        let x = Seen::float_set_require_grad(Seen::from_inner(c.x()), true);
        let mut slots = Slots::<Seen>::new(recorded.len);
        let input = *recorded.values.keys().next().expect("one input");
        slots.set(input, HandleKind::Float(x.clone()));
        for operation in &recorded.operations {
            execute::<Seen>(operation, &mut slots, c.device);
        }
        let Some(HandleKind::Float(loss)) = slots.take(recorded.outputs[0]) else { panic!() };
        let gradients = Seen::backward(loss);
        c.outputs.push(HandleKind::Float(Seen::grad(&x, &gradients).expect("of a variable")));
    }
    let executed = check(recorded, direct);
    assert!(executed.contains(&"matmul".to_string()));
}

/// Burn's recorder decomposes these, so they are written down by hand.
#[test]
fn what_is_never_recorded_is_executed() {
    use burn::backend::ir::{
        BinaryOpIr, CtcLossOpIr, ModuleOperationIr as Module, NumericOperationIr as Numeric,
        UnaryOpIr,
    };
    let device = Device::<Flex>::default();
    let mut slots = Slots::<Flex>::new(8);
    let mut set = |slot, data: TensorData| slots.set(slot, upload(data, &device));
    set(0, TensorData::from([f32::NAN, f32::INFINITY, 1.0]));
    set(2, TensorData::from([[[0.5f32.ln(), 0.5f32.ln()]], [[0.25f32.ln(), 0.75f32.ln()]]]));
    set(3, TensorData::from([[1i64]]));
    set(4, TensorData::from([2i64]));
    set(5, TensorData::from([1i64]));
    let flags = DType::Bool(burn::backend::BoolDType::U8);
    let unary = |kind: fn(UnaryOpIr) -> Float| {
        let (input, out) = (tensor(0, DType::F32, READ), tensor(1, flags, NEW));
        OperationIr::Float(DType::F32, kind(UnaryOpIr { input, out }))
    };
    for (kind, expected) in
        [(Float::IsNan as fn(_) -> _, [true, false, false]), (Float::IsInf, [false, true, false])]
    {
        execute(&unary(kind), &mut slots, &device);
        let found = download(slots.take(1).expect("was set"));
        assert_eq!(found.iter::<bool>().collect::<Vec<_>>(), expected);
    }
    slots.set(1, upload(TensorData::from([[[2i64, 2]], [[2, 2]]]), &device));
    let powi = Numeric::Powi(BinaryOpIr {
        lhs: tensor(2, DType::F32, READ),
        rhs: tensor(1, DType::I64, READ),
        out: tensor(7, DType::F32, NEW),
    });
    execute(&OperationIr::NumericFloat(DType::F32, powi), &mut slots, &device);
    let power = download(slots.take(7).expect("was set")).iter::<f32>().next();
    assert_eq!(power, Some(0.5f32.ln() * 0.5f32.ln()));
    let ctc = Module::CtcLoss(CtcLossOpIr {
        log_probs: tensor(2, DType::F32, READ),
        targets: tensor(3, DType::I64, READ),
        input_lengths: tensor(4, DType::I64, READ),
        target_lengths: tensor(5, DType::I64, READ),
        blank: 0,
        out: tensor(6, DType::F32, NEW),
    });
    execute(&OperationIr::Module(ctc), &mut slots, &device);
    let loss = download(slots.take(6).expect("was set")).iter::<f32>().next().expect("one loss");
    // A label in two steps: blank and label, label and blank, or label twice.
    let probability = 0.5 * 0.75 + 0.5 * 0.25 + 0.5 * 0.75;
    assert!((loss + f32::ln(probability)).abs() < 1e-5, "{loss}");
}

const READ: TensorStatus = TensorStatus::ReadOnly;
const NEW: TensorStatus = TensorStatus::NotInit;

fn tensor(id: u64, dtype: DType, status: TensorStatus) -> TensorIr {
    TensorIr { id: TensorId::new(id), shape: Shape::new([2]), status, dtype }
}

#[test]
fn what_cannot_be_executed_is_refused_by_name() {
    let out = tensor(0, DType::F32, NEW);
    let init = OperationIr::Init(InitOperationIr { out: out.clone() });
    assert_eq!(refuse(&init), None);
    let random = RandomOpIr { out: out.clone(), distribution: Distribution::Default };
    let random = OperationIr::Float(DType::F32, Float::Random(random));
    assert_eq!(refuse(&random), Some(Refused::Random("random".into())));
    let mut slots = Slots::<Flex>::new(1);
    execute(&random, &mut slots, &Device::<Flex>::default());
    assert!(slots.get(0).is_some(), "random numbers are drawn all the same");
    let custom = OperationIr::Custom(CustomOpIr::new("mine", &[], &[out]));
    assert_eq!(refuse(&custom), Some(Refused::Unknown("mine".into())));
}

#[test]
#[should_panic(expected = "exp reads tensor 1 as float: it has no value")]
fn a_missing_value_is_named() {
    let operation = burn::backend::ir::UnaryOpIr {
        input: tensor(1, DType::F32, TensorStatus::ReadWrite),
        out: tensor(0, DType::F32, NEW),
    };
    let operation = OperationIr::Float(DType::F32, Float::Exp(operation));
    execute(&operation, &mut Slots::<Flex>::new(2), &Device::<Flex>::default());
}
