//! Operations on the shape and the positions of a tensor, for floats, integers and booleans.

use burn::backend::ir::{BaseOperationIr as Base, HandleKind};
use burn::backend::tensor::{FloatTensor, IndexingUpdateOp, IntTensor};
use burn::backend::{Backend, Shape, Slice, TensorMetadata};

use super::Run;

pub(super) fn float<B: Backend>(operation: &Base, run: &mut Run<'_, B>) {
    match operation {
        Base::Reshape(o) => op!(run o: Float = float_reshape(float input; o.out.shape.clone())),
        Base::SwapDims(o) => op!(run o: Float = float_swap_dims(float input; o.dim1, o.dim2)),
        Base::Permute(o) => op!(run o: Float = float_permute(float input; &o.axes)),
        Base::Flip(o) => op!(run o: Float = float_flip(float input; &o.axes)),
        Base::Expand(o) => op!(run o: Float = float_expand(float input; o.out.shape.clone())),
        Base::Unfold(o) => op!(run o: Float = float_unfold(float input; o.dim, o.size, o.step)),
        Base::Slice(o) => op!(run o: Float = float_slice(float tensor; &o.ranges)),
        Base::SliceAssign(o) => {
            let (tensor, value) = (run.float(&o.tensor), run.float(&o.value));
            run.set_float(&o.out, B::float_slice_assign(tensor, &o.ranges, value));
        }
        Base::Select(o) => {
            let (tensor, indices) = (run.float(&o.tensor), run.int(&o.indices));
            run.set_float(&o.out, B::float_select(tensor, o.dim, indices));
        }
        Base::SelectAssign(o) => {
            let (tensor, indices) = (run.float(&o.tensor), run.int(&o.indices));
            let value = run.float(&o.value);
            let out = B::float_select_assign(tensor, o.dim, indices, value, o.update);
            run.set_float(&o.out, out);
        }
        Base::Gather(o) => {
            let (tensor, indices) = (run.float(&o.tensor), run.int(&o.indices));
            run.set_float(&o.out, B::float_gather(o.dim, tensor, indices));
        }
        Base::Scatter(o) => {
            let (tensor, indices) = (run.float(&o.tensor), run.int(&o.indices));
            let value = run.float(&o.value);
            run.set_float(&o.out, B::float_scatter(o.dim, tensor, indices, value, o.update));
        }
        Base::ScatterNd(o)
            if matches!(o.reduction, IndexingUpdateOp::Add)
                && o.indices.shape.num_elements() > 0 =>
        {
            let (data, indices) = (run.float(&o.data), run.int(&o.indices));
            let values = run.float(&o.values);
            run.set_float(&o.out, add_nd::<B>(data, indices, values));
        }
        Base::ScatterNd(o) => {
            op!(run o: Float = float_scatter_nd(float data, int indices, float values; o.reduction))
        }
        Base::GatherNd(o) => op!(run o: Float = float_gather_nd(float data, int indices)),
        Base::MaskWhere(o) => {
            op!(run o: Float = float_mask_where(float tensor, bool mask, float value))
        }
        Base::MaskFill(o) => {
            op!(run o: Float = float_mask_fill(float tensor, bool mask; o.value.into()))
        }
        Base::RepeatDim(o) => op!(run o: Float = float_repeat_dim(float tensor; o.dim, o.times)),
        Base::Cat(o) => op!(run o: Float = float_cat(floats tensors; o.dim)),
        Base::Cast(o) => op!(run o: Float = float_cast(float input; o.out.dtype.into())),
        Base::Empty(o) => {
            op!(run o: Float = float_empty(; o.out.shape.clone(), run.device, o.out.dtype.into()))
        }
        Base::Ones(o) => {
            op!(run o: Float = float_ones(; o.out.shape.clone(), run.device, o.out.dtype.into()))
        }
        Base::Zeros(o) => {
            op!(run o: Float = float_zeros(; o.out.shape.clone(), run.device, o.out.dtype.into()))
        }
        Base::Equal(o) => op!(run o: Bool = float_equal(float lhs, float rhs; o.out.dtype.into())),
        Base::EqualElem(o) => {
            op!(run o: Bool = float_equal_elem(float lhs; o.rhs.into(), o.out.dtype.into()))
        }
        Base::NotEqual(o) => {
            op!(run o: Bool = float_not_equal(float lhs, float rhs; o.out.dtype.into()))
        }
        Base::NotEqualElem(o) => {
            op!(run o: Bool = float_not_equal_elem(float lhs; o.rhs.into(), o.out.dtype.into()))
        }
        Base::All(o) => op!(run o: Bool = float_all(float input; o.out.dtype.into())),
        Base::Any(o) => op!(run o: Bool = float_any(float input; o.out.dtype.into())),
        Base::AllDim(o) => {
            op!(run o: Bool = float_all_dim(float input; o.axis, o.out.dtype.into()))
        }
        Base::AnyDim(o) => {
            op!(run o: Bool = float_any_dim(float input; o.axis, o.out.dtype.into()))
        }
    }
}

/// Adds rows at positions, which may repeat, as a sum over one flat axis.
///
/// Burn's own kernel for GPUs gives each row a thread that reads, adds and writes: if two rows have the same position,
/// it may lose one. Along one axis the rows are added in turn.
fn add_nd<B: Backend>(
    data: FloatTensor<B>,
    indices: IntTensor<B>,
    values: FloatTensor<B>,
) -> FloatTensor<B> {
    let (shape, at) = (data.shape(), indices.shape());
    let depth = at[at.num_dims() - 1];
    let rows = at.num_elements() / depth;
    let places: usize = shape[..depth].iter().product();
    let width: usize = shape[depth..].iter().product();

    let indices = B::int_reshape(indices, Shape::new([rows, depth]));
    let column = |axis| {
        let all = [Slice::full(), Slice::from(axis..axis + 1)];
        let column = B::int_slice(indices.clone(), &all);
        let stride: usize = shape[axis + 1..depth].iter().product();
        B::int_mul_scalar(B::int_reshape(column, Shape::new([rows])), (stride as i64).into())
    };
    let flat = (0..depth).map(column).reduce(B::int_add).expect("an index has an axis");

    let data = B::float_reshape(data, Shape::new([places, width]));
    let values = B::float_reshape(values, Shape::new([rows, width]));
    let sum = B::float_select_assign(data, 0, flat, values, IndexingUpdateOp::Add);
    B::float_reshape(sum, shape)
}

pub(super) fn int<B: Backend>(operation: &Base, run: &mut Run<'_, B>) {
    match operation {
        Base::Reshape(o) => op!(run o: Int = int_reshape(int input; o.out.shape.clone())),
        Base::SwapDims(o) => op!(run o: Int = int_swap_dims(int input; o.dim1, o.dim2)),
        Base::Permute(o) => op!(run o: Int = int_permute(int input; &o.axes)),
        Base::Flip(o) => op!(run o: Int = int_flip(int input; &o.axes)),
        Base::Expand(o) => op!(run o: Int = int_expand(int input; o.out.shape.clone())),
        Base::Unfold(o) => op!(run o: Int = int_unfold(int input; o.dim, o.size, o.step)),
        Base::Slice(o) => op!(run o: Int = int_slice(int tensor; &o.ranges)),
        Base::SliceAssign(o) => {
            let (tensor, value) = (run.int(&o.tensor), run.int(&o.value));
            run.set_int(&o.out, B::int_slice_assign(tensor, &o.ranges, value));
        }
        Base::Select(o) => {
            let (tensor, indices) = (run.int(&o.tensor), run.int(&o.indices));
            run.set_int(&o.out, B::int_select(tensor, o.dim, indices));
        }
        Base::SelectAssign(o) => {
            let (tensor, indices) = (run.int(&o.tensor), run.int(&o.indices));
            let value = run.int(&o.value);
            run.set_int(&o.out, B::int_select_assign(tensor, o.dim, indices, value, o.update));
        }
        Base::Gather(o) => {
            let (tensor, indices) = (run.int(&o.tensor), run.int(&o.indices));
            run.set_int(&o.out, B::int_gather(o.dim, tensor, indices));
        }
        Base::Scatter(o) => {
            let (tensor, indices) = (run.int(&o.tensor), run.int(&o.indices));
            let value = run.int(&o.value);
            run.set_int(&o.out, B::int_scatter(o.dim, tensor, indices, value, o.update));
        }
        Base::ScatterNd(o) => {
            op!(run o: Int = int_scatter_nd(int data, int indices, int values; o.reduction))
        }
        Base::GatherNd(o) => op!(run o: Int = int_gather_nd(int data, int indices)),
        Base::MaskWhere(o) => op!(run o: Int = int_mask_where(int tensor, bool mask, int value)),
        Base::MaskFill(o) => {
            op!(run o: Int = int_mask_fill(int tensor, bool mask; o.value.into()))
        }
        Base::RepeatDim(o) => op!(run o: Int = int_repeat_dim(int tensor; o.dim, o.times)),
        Base::Cat(o) => op!(run o: Int = int_cat(ints tensors; o.dim)),
        Base::Cast(o) => op!(run o: Int = int_cast(int input; o.out.dtype.into())),
        Base::Empty(o) => {
            op!(run o: Int = int_empty(; o.out.shape.clone(), run.device, o.out.dtype.into()))
        }
        Base::Ones(o) => {
            op!(run o: Int = int_ones(; o.out.shape.clone(), run.device, o.out.dtype.into()))
        }
        Base::Zeros(o) => {
            op!(run o: Int = int_zeros(; o.out.shape.clone(), run.device, o.out.dtype.into()))
        }
        Base::Equal(o) => op!(run o: Bool = int_equal(int lhs, int rhs; o.out.dtype.into())),
        Base::EqualElem(o) => {
            op!(run o: Bool = int_equal_elem(int lhs; o.rhs.into(), o.out.dtype.into()))
        }
        Base::NotEqual(o) => {
            op!(run o: Bool = int_not_equal(int lhs, int rhs; o.out.dtype.into()))
        }
        Base::NotEqualElem(o) => {
            op!(run o: Bool = int_not_equal_elem(int lhs; o.rhs.into(), o.out.dtype.into()))
        }
        Base::All(o) => op!(run o: Bool = int_all(int input; o.out.dtype.into())),
        Base::Any(o) => op!(run o: Bool = int_any(int input; o.out.dtype.into())),
        Base::AllDim(o) => op!(run o: Bool = int_all_dim(int input; o.axis, o.out.dtype.into())),
        Base::AnyDim(o) => op!(run o: Bool = int_any_dim(int input; o.axis, o.out.dtype.into())),
    }
}

pub(super) fn bool<B: Backend>(operation: &Base, run: &mut Run<'_, B>) {
    match operation {
        Base::Reshape(o) => op!(run o: Bool = bool_reshape(bool input; o.out.shape.clone())),
        Base::SwapDims(o) => op!(run o: Bool = bool_swap_dims(bool input; o.dim1, o.dim2)),
        Base::Permute(o) => op!(run o: Bool = bool_permute(bool input; &o.axes)),
        Base::Flip(o) => op!(run o: Bool = bool_flip(bool input; &o.axes)),
        Base::Expand(o) => op!(run o: Bool = bool_expand(bool input; o.out.shape.clone())),
        Base::Unfold(o) => op!(run o: Bool = bool_unfold(bool input; o.dim, o.size, o.step)),
        Base::Slice(o) => op!(run o: Bool = bool_slice(bool tensor; &o.ranges)),
        Base::SliceAssign(o) => {
            let (tensor, value) = (run.bool(&o.tensor), run.bool(&o.value));
            run.set_bool(&o.out, B::bool_slice_assign(tensor, &o.ranges, value));
        }
        Base::Select(o) => {
            let (tensor, indices) = (run.bool(&o.tensor), run.int(&o.indices));
            run.set_bool(&o.out, B::bool_select(tensor, o.dim, indices));
        }
        // Adding a boolean is "or"; backends have no other update of booleans.
        Base::SelectAssign(o) if o.update == IndexingUpdateOp::Add => {
            let (tensor, indices) = (run.bool(&o.tensor), run.int(&o.indices));
            let value = run.bool(&o.value);
            run.set_bool(&o.out, B::bool_select_or(tensor, o.dim, indices, value));
        }
        Base::Scatter(o) if o.update == IndexingUpdateOp::Add => {
            let (tensor, indices) = (run.bool(&o.tensor), run.int(&o.indices));
            let value = run.bool(&o.value);
            run.set_bool(&o.out, B::bool_scatter_or(o.dim, tensor, indices, value));
        }
        Base::Gather(o) => {
            let (tensor, indices) = (run.bool(&o.tensor), run.int(&o.indices));
            run.set_bool(&o.out, B::bool_gather(o.dim, tensor, indices));
        }
        Base::MaskWhere(o) => {
            op!(run o: Bool = bool_mask_where(bool tensor, bool mask, bool value))
        }
        Base::MaskFill(o) => {
            op!(run o: Bool = bool_mask_fill(bool tensor, bool mask; o.value.into()))
        }
        Base::RepeatDim(o) => op!(run o: Bool = bool_repeat_dim(bool tensor; o.dim, o.times)),
        Base::Cat(o) => op!(run o: Bool = bool_cat(bools tensors; o.dim)),
        Base::Empty(o) => {
            op!(run o: Bool = bool_empty(; o.out.shape.clone(), run.device, o.out.dtype.into()))
        }
        Base::Ones(o) => {
            op!(run o: Bool = bool_ones(; o.out.shape.clone(), run.device, o.out.dtype.into()))
        }
        Base::Zeros(o) => {
            op!(run o: Bool = bool_zeros(; o.out.shape.clone(), run.device, o.out.dtype.into()))
        }
        Base::Equal(o) => op!(run o: Bool = bool_equal(bool lhs, bool rhs)),
        Base::EqualElem(o) => op!(run o: Bool = bool_equal_elem(bool lhs; o.rhs.into())),
        Base::NotEqual(o) => op!(run o: Bool = bool_not_equal(bool lhs, bool rhs)),
        Base::NotEqualElem(o) => op!(run o: Bool = bool_not_equal_elem(bool lhs; o.rhs.into())),
        Base::All(o) => op!(run o: Bool = bool_all(bool input)),
        Base::Any(o) => op!(run o: Bool = bool_any(bool input)),
        Base::AllDim(o) => op!(run o: Bool = bool_all_dim(bool input; o.axis)),
        Base::AnyDim(o) => op!(run o: Bool = bool_any_dim(bool input; o.axis)),
        // No backend operation corresponds to these: nothing records them.
        Base::SelectAssign(_)
        | Base::Scatter(_)
        | Base::ScatterNd(_)
        | Base::GatherNd(_)
        | Base::Cast(_) => run.refused(),
    }
}
