//! The memory of the optimisers of burn-optim.

use burn::optim::momentum::{Momentum, MomentumConfig, MomentumState};
use burn::optim::{
    AdaGrad, Adafactor, Adam, AdamState, AdamW, AdamWState, Adan, AdanState, AdaptiveMomentumState,
    AdaptiveNesterovMomentumState, Lamb, Lion, Muon, Optimizer, RecordState, RmsProp, Sgd,
    SgdState, StateSink, StateSource,
};
use burn::tensor::Tensor;

use crate::snapshot::MOST;
use crate::{Entry, Error, Snapshot};

/// An optimiser of burn-optim that can be saved and resumed: any, by its record. For your own, write
/// `impl OptimizerMemory for Mine {}`, and let its state derive Burn's `RecordState`.
///
/// Burn's records are loaded in the default element type of the device; variables of another type are an error when a
/// state is restored. [`Adam`], [`AdamW`], [`Adan`] and [`Sgd`] are saved in the precision of the variables.
pub trait OptimizerMemory: Optimizer {
    /// Writes the memory of one parameter, which is like `like`.
    fn save<const D: usize>(memory: &Self::State<D>, like: &Tensor<D>, to: &mut Snapshot) {
        let _ = like;
        let mut sink = StateSink::default();
        memory.state_flatten("", &mut sink);
        for (name, data) in sink.tensors {
            to.put_data(&format!("tensor/{name}"), data);
        }
        for (name, number) in sink.scalars {
            if let Ok(count) = u64::try_from(number) {
                to.put_count(&format!("number/{name}"), count as usize);
            } else if let Ok(number) = f64::try_from(number) {
                to.put_numbers(&format!("number/{name}"), &[number]);
            } else if let Ok(flag) = bool::try_from(number) {
                to.put_name(&format!("number/{name}"), if flag { "true" } else { "false" });
            }
        }
    }

    /// Reads it back, for a parameter like `like`.
    ///
    /// # Errors
    /// If it is not the memory of this optimiser.
    fn restore<const D: usize>(
        from: &mut Snapshot,
        like: &Tensor<D>,
    ) -> Result<Self::State<D>, Error> {
        let taken = std::mem::take(from);
        let mut source = StateSource::new(
            taken.entries().filter_map(|(name, entry)| scalar(name, entry)).collect(),
        );
        for (name, entry) in taken.entries() {
            if let (Some(name), Entry::Numbers(data)) = (name.strip_prefix("tensor/"), entry) {
                // That of the parameter, or reduced over some of its axes.
                let pairs = || data.shape().iter().zip(like.dims());
                let fits = pairs().count() == D && pairs().all(|(n, like)| [like, 1].contains(n));
                if !fits || data.shape().num_dims() != D {
                    return Err(no_record(
                        name,
                        format!("numbers of the shape {:?}", data.shape()),
                    ));
                }
                source.insert_tensor(name.to_owned(), data.clone());
            }
        }
        let state = Self::State::<D>::state_unflatten("", &mut source, &like.device())
            .ok_or_else(|| no_record("record", "entries of another optimiser".into()))?;
        let mut again = Snapshot::default();
        Self::save(&state, like, &mut again);
        if again == taken {
            return Ok(state);
        }
        let dtype = like.dtype();
        Err(no_record("record", format!("{dtype:?} numbers that Burn rounds on this device")))
    }
}

/// A scalar of a record, with its name.
fn scalar<S: From<u64> + From<f64> + From<bool>>(name: &str, entry: &Entry) -> Option<(String, S)> {
    let name = name.strip_prefix("number/")?;
    let value = match entry {
        Entry::Count(count) => S::from((*count).min(MOST)),
        Entry::Numbers(data) => S::from(data.iter::<f64>().next()?),
        Entry::Name(flag) => S::from(flag == "true"),
    };
    Some((name.to_owned(), value))
}

fn no_record(entry: &str, found: String) -> Error {
    let expected = "the record of this optimiser, in the default element type of the device".into();
    Error::Snapshot { entry: entry.to_owned(), found, expected }
}

/// By their records.
macro_rules! recorded {
    ($($optimizer:ty)*) => { $(impl OptimizerMemory for $optimizer {})* };
}

recorded! { AdaGrad Adafactor Lamb Lion Muon RmsProp }

fn put<const D: usize>(to: &mut Snapshot, name: &str, tensor: &Tensor<D>) {
    to.put_data(name, tensor.to_data());
}

fn take<const D: usize>(
    from: &mut Snapshot,
    name: &str,
    like: &Tensor<D>,
) -> Result<Tensor<D>, Error> {
    let data = from.take_data(name, &like.shape(), like.dtype())?;
    Ok(Tensor::from_data(data, (&like.device(), like.dtype())))
}

fn put_moments<const D: usize>(moments: &AdaptiveMomentumState<D>, to: &mut Snapshot) {
    to.put_count("time", moments.time);
    put(to, "moment_1", &moments.moment_1);
    put(to, "moment_2", &moments.moment_2);
    if let Some(max) = &moments.max_moment_2 {
        put(to, "max_moment_2", max);
    }
}

fn take_moments<const D: usize>(
    from: &mut Snapshot,
    like: &Tensor<D>,
) -> Result<AdaptiveMomentumState<D>, Error> {
    let max = from.has("max_moment_2").then(|| take(from, "max_moment_2", like)).transpose()?;
    let (first, second) = (take(from, "moment_1", like)?, take(from, "moment_2", like)?);
    let mut moments = AdaptiveMomentumState::new(from.take_count("time")?, first, second);
    moments.max_moment_2 = max;
    Ok(moments)
}

impl OptimizerMemory for Adam {
    fn save<const D: usize>(memory: &AdamState<D>, _: &Tensor<D>, to: &mut Snapshot) {
        put_moments(&memory.momentum, to);
    }

    fn restore<const D: usize>(
        from: &mut Snapshot,
        like: &Tensor<D>,
    ) -> Result<AdamState<D>, Error> {
        Ok(AdamState::new(take_moments(from, like)?))
    }
}

impl OptimizerMemory for AdamW {
    fn save<const D: usize>(memory: &AdamWState<D>, _: &Tensor<D>, to: &mut Snapshot) {
        put_moments(&memory.momentum, to);
    }

    fn restore<const D: usize>(
        from: &mut Snapshot,
        like: &Tensor<D>,
    ) -> Result<AdamWState<D>, Error> {
        Ok(AdamWState::new(take_moments(from, like)?))
    }
}

impl OptimizerMemory for Adan {
    fn save<const D: usize>(memory: &AdanState<D>, _: &Tensor<D>, to: &mut Snapshot) {
        let moments = &memory.momentum;
        to.put_count("time", moments.time);
        put(to, "exp_avg", &moments.exp_avg);
        put(to, "exp_avg_sq", &moments.exp_avg_sq);
        put(to, "exp_avg_diff", &moments.exp_avg_diff);
        put(to, "neg_pre_grad", &moments.neg_pre_grad);
    }

    fn restore<const D: usize>(
        from: &mut Snapshot,
        like: &Tensor<D>,
    ) -> Result<AdanState<D>, Error> {
        Ok(AdanState::new(AdaptiveNesterovMomentumState {
            time: from.take_count("time")?,
            exp_avg: take(from, "exp_avg", like)?,
            exp_avg_sq: take(from, "exp_avg_sq", like)?,
            exp_avg_diff: take(from, "exp_avg_diff", like)?,
            neg_pre_grad: take(from, "neg_pre_grad", like)?,
        }))
    }
}

impl OptimizerMemory for Sgd {
    fn save<const D: usize>(memory: &SgdState<D>, like: &Tensor<D>, to: &mut Snapshot) {
        if let Some(momentum) = memory.momentum.clone() {
            // Burn keeps the velocity private, and gives `g + 1 v`: at `g = -0` that is v, bit for bit.
            let rule = Momentum::new(&MomentumConfig::new().with_momentum(1.0).with_dampening(0.0));
            put(to, "velocity", &rule.transform(like.zeros_like().neg(), Some(momentum)).0);
        }
    }

    fn restore<const D: usize>(
        from: &mut Snapshot,
        like: &Tensor<D>,
    ) -> Result<SgdState<D>, Error> {
        let velocity = from.has("velocity").then(|| take(from, "velocity", like)).transpose()?;
        Ok(SgdState::new(velocity.map(MomentumState::new)))
    }
}
