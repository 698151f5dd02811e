//! What the optimisers of burn-optim remember.

use burn::optim::momentum::{Momentum, MomentumConfig, MomentumState};
use burn::optim::{
    Adam, AdamState, AdamW, AdamWState, Adan, AdanState, AdaptiveMomentumState,
    AdaptiveNesterovMomentumState, Optimizer, Sgd, SgdState,
};
use burn::tensor::Tensor;

use crate::{Error, Snapshot};

/// An optimiser of burn-optim that can be saved and resumed: [`Adam`], [`AdamW`], [`Adan`] and [`Sgd`], and
/// those of your own. The records of Burn come back in the element type that a device makes tensors in; this
/// holds whatever precision the variables have.
pub trait OptimizerMemory: Optimizer {
    /// Writes what is remembered of one parameter, which is like `like`.
    fn save<const D: usize>(memory: &Self::State<D>, like: &Tensor<D>, to: &mut Snapshot);

    /// Takes that back, for a parameter like `like`.
    ///
    /// # Errors
    /// If it is not what this optimiser remembers.
    fn restore<const D: usize>(
        from: &mut Snapshot,
        like: &Tensor<D>,
    ) -> Result<Self::State<D>, Error>;
}

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
            // Burn keeps the velocity to itself, and gives `g + 1 v`: at `g = -0` that is v, bit by bit.
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
