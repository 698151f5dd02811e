//! The methods of the folder `proxy`. t is the number of training steps of the response.

use super::{Calls, Entry, Exact, Family, Needs, joint};
use crate::{
    DeltaStn, Hypernetwork, LinearHypernetwork, NetworkProxy, RankOne, RankOneAffine, Region,
    Scale, Stn,
};

const PROXY: Entry = Entry {
    name: "",
    aliases: &[],
    family: Family::Proxy,
    summary: "",
    exact: Exact::Other("a response that the proxy can express"),
    calls: Calls {
        lower_gradients: "t",
        lower_products: "0",
        upper_gradients: "1",
        constraints: "",
    },
    memory: "",
    needs: Needs::Nothing,
    constraints: &[],
    reads: &["learning-rate", "step-size", "lower-steps", "perturbation"],
    make: |_, _| unreachable!("every entry has a constructor"),
};

pub(super) const METHODS: &[Entry] = &[
    Entry {
        name: "hypernetwork",
        summary: "a linear map from x to y, trained near x",
        memory: "theta, a replay of its gradient",
        make: |s, at| {
            let region = Region::local(Scale::fixed(s.perturbation)?);
            let proxy = NetworkProxy::new(LinearHypernetwork::new(at.x, at.y), at.x, at.y)?;
            let method = Hypernetwork::new(proxy, s.slow(0.5, 0.05)?, region, at.seed);
            joint(method.with_training_steps(s.lower_steps)?)
        },
        ..PROXY
    },
    Entry {
        name: "stn",
        summary: "a response of rank one per layer, trained near x (self-tuning network)",
        memory: "two numbers per entry of y, m per unit",
        make: |s, at| {
            let response = RankOneAffine::new(at.x, at.y, at.seed);
            let scale = Scale::fixed(s.perturbation)?;
            let method = Stn::new(response, s.slow(0.5, 0.05)?, scale, at.seed);
            joint(method.with_training_steps(s.lower_steps)?)
        },
        ..PROXY
    },
    Entry {
        name: "delta-stn",
        summary: "`stn` with y and its Jacobian trained separately",
        calls: Calls {
            lower_gradients: "2 t",
            lower_products: "t",
            upper_gradients: "1",
            constraints: "",
        },
        memory: "two numbers per entry of y, m per unit, one linearisation",
        make: |s, at| {
            let jacobian = RankOne::new(at.x, at.y, at.seed);
            let scale = Scale::fixed(s.perturbation)?;
            let method = DeltaStn::new(jacobian, s.slow(1.0, 0.4)?, scale, at.seed);
            let rate = 0.2 * s.step_size / s.perturbation.powi(2);
            joint(method.with_jacobian_rate(rate)?.with_training_steps(s.lower_steps)?)
        },
        ..PROXY
    },
];
