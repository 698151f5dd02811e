//! The table: one line per operation, a name, its inputs and the operation, on any backend `B`.

/// `name(inputs): how they are drawn => the operation, bounds where they are not strict;`
macro_rules! table {
    ($($name:ident($($x:ident),+): $inputs:expr => $body:expr $(, $bounds:expr)?;)*) => {$(
        #[test]
        fn $name() {
            fn apply<B: Backend>(inputs: Vec<FloatTensor<B>>) -> FloatTensor<B> {
                let Ok([$($x),+]) = <[_; _]>::try_from(inputs) else { unreachable!() };
                $body
            }
            check(Case {
                inputs: $inputs,
                plain: apply::<Inner>,
                dual: apply::<Dual<Inner>>,
                reverse: apply::<Autodiff<Inner>>,
                // If the constant is false, the compiler omits both levels.
                second_order: if SECOND_ORDER {
                    Some(SecondOrder {
                        reverse_over_forward: apply::<Dual<Autodiff<Inner>>>,
                        forward_over_reverse: apply::<Autodiff<Dual<Inner>>>,
                    })
                } else {
                    None
                },
                bounds: or_strict!($($bounds)?),
            });
        }
    )*};
}

const SECOND_ORDER: bool = SUITE.second_order;

macro_rules! or_strict {
    () => {
        STRICT
    };
    ($bounds:expr) => {
        $bounds
    };
}

mod activation;
mod float;
mod module;

use burn::backend::tensor::{BoolTensor, IntTensor};
use burn::backend::{Backend, TensorData, get_or_init_device_settings};

use super::device;
use crate::SUITE;

/// Integers below `bound` in a fixed irregular order.
fn indices<B: Backend>(shape: &[usize], bound: usize) -> IntTensor<B> {
    let count: usize = shape.iter().product();
    let data: Vec<i64> = (0..count).map(|i| ((5 * i + i / bound) % bound) as i64).collect();
    ints::<B>(shape, &data)
}

/// Integers below `bound >= shape[1]`, each at most once along the axis 1.
fn distinct_indices<B: Backend>(shape: &[usize], bound: usize) -> IntTensor<B> {
    let inner: usize = shape[2..].iter().product();
    let at = |i: usize| (2 * bound + i % inner - i / inner % shape[1]) % bound;
    let data: Vec<i64> = (0..shape.iter().product()).map(|i| at(i) as i64).collect();
    ints::<B>(shape, &data)
}

fn ints<B: Backend>(shape: &[usize], data: &[i64]) -> IntTensor<B> {
    let data = TensorData::new(data.to_vec(), shape.to_vec()).convert_dtype(SUITE.int.into());
    B::int_from_data(data, &device::<B>())
}

/// An irregular mask.
fn mask<B: Backend>(shape: &[usize]) -> BoolTensor<B> {
    bools::<B>(shape, |i| i % 3 == 0 || i % 7 == 4)
}

/// An irregular mask that is unset in the first column.
fn mask_but_first<B: Backend>(shape: &[usize]) -> BoolTensor<B> {
    let columns = shape[shape.len() - 1];
    bools::<B>(shape, |i| i % columns > 0 && (i % 3 == 0 || i % 7 == 4))
}

fn bools<B: Backend>(shape: &[usize], is: impl Fn(usize) -> bool) -> BoolTensor<B> {
    let data: Vec<bool> = (0..shape.iter().product()).map(is).collect();
    let device = device::<B>();
    let dtype = get_or_init_device_settings::<B>(&device).bool_dtype;
    let data = TensorData::new(data, shape.to_vec()).convert_dtype(dtype.into());
    B::bool_from_data(data, &device)
}
