//! The methods of the folder `joint`.

use super::settings::growing;
use super::{Calls, Entry, Exact, Family, Needs, joint};
use crate::{
    Alternating, Bome, Bvfim, BvfimSettings, F2sa, GPbgd, Gap, Meha, NsGame, Objective, Penalty,
    PenaltySettings, Relaxation, VPbgd, VirtualStep,
};

const fn calls(
    upper_gradients: &'static str,
    lower_gradients: &'static str,
    lower_products: &'static str,
) -> Calls {
    Calls { lower_gradients, lower_products, upper_gradients, constraints: "" }
}

const JOINT: Entry = Entry {
    name: "",
    aliases: &[],
    family: Family::Joint,
    summary: "",
    exact: Exact::Other("the limit of its penalty"),
    calls: calls("1", "1", "0"),
    memory: "none",
    needs: Needs::Nothing,
    constraints: &[],
    reads: &["learning-rate", "step-size"],
    make: |_, _| unreachable!("every entry has a constructor"),
};

pub(super) const METHODS: &[Entry] = &[
    Entry {
        name: "alternating",
        summary: "a step of y, a step of x along F_x alone",
        exact: Exact::Other("F_y = 0"),
        make: |s, _| joint(Alternating::new(s.slow(1.0, 1.0)?)),
        ..JOINT
    },
    Entry {
        name: "nsgame",
        summary: "x sees its effect through one step of the last layer of y",
        exact: Exact::Other("one step of a part of y"),
        calls: calls("1, in x and y2", "1", "1, from y2"),
        make: |s, at| {
            let last = at.y.layout().leaves().last().map_or("", |leaf| leaf.path.as_str());
            let layer = last.rsplit_once('.').map_or(last, |(layer, _)| layer);
            joint(NsGame::new(s.rates(1.0, 1.0)?, layer))
        },
        ..JOINT
    },
    Entry {
        name: "virtual-step",
        summary: "x sees its effect through one step of y",
        exact: Exact::Other("one step of y"),
        calls: calls("1", "2", "1"),
        make: |s, _| joint(VirtualStep::new(s.rates(1.0, 1.0)?)),
        ..JOINT
    },
    Entry {
        name: "penalty",
        summary: "the lower optimality conditions as a growing penalty, with multipliers",
        calls: Calls {
            constraints: "T + 1 gradients per level, T + 1 products of lower ones and values of upper ones",
            ..calls("T + 1", "T + 1", "T + 1")
        },
        constraints: &[Objective::Upper, Objective::Lower],
        memory: "multipliers, one linearisation",
        reads: &["learning-rate", "step-size", "lower-steps"],
        make: |s, _| {
            let method = Penalty::new(
                s.slow(1.0, 0.2)?,
                PenaltySettings { steps: s.lower_steps, gamma: 2.0, tolerance: 1.0 },
            )?;
            joint(method.with_factors(1.001, 0.7)?.with_multipliers())
        },
        ..JOINT
    },
    Entry {
        name: "f2sa",
        summary: "the value function as a penalty, both minimisers tracked",
        calls: calls("T + 1", "2 T + 2", "0"),
        memory: "z",
        reads: &["learning-rate", "step-size", "lower-steps"],
        make: |s, _| {
            let rates = s.falling(s.learning_rate / 2.0)?;
            joint(F2sa::new(rates, s.lower_steps, s.step_size, growing(2.0))?)
        },
        ..JOINT
    },
    Entry {
        name: "bome",
        summary: "the value function as a constraint, by a dynamic barrier",
        calls: calls("1", "T + 2", "0"),
        reads: &["learning-rate", "step-size", "lower-steps"],
        make: |s, _| {
            joint(Bome::new(s.falling(s.learning_rate / 2.0)?, s.lower_steps, s.step_size)?)
        },
        ..JOINT
    },
    Entry {
        name: "v-pbgd",
        summary: "the value function as a penalty",
        calls: calls("1", "T + 2", "0"),
        reads: &["learning-rate", "step-size", "lower-steps"],
        make: |s, _| {
            let rates = s.falling(s.learning_rate / 2.0)?;
            joint(VPbgd::new(rates, s.lower_steps, s.step_size, growing(2.0))?)
        },
        ..JOINT
    },
    Entry {
        name: "g-pbgd",
        summary: "the squared lower gradient as a penalty",
        calls: calls("1", "1", "1"),
        memory: "one linearisation",
        make: |s, _| joint(GPbgd::new(s.falling(s.learning_rate / 2.0)?, growing(1.0))?),
        ..JOINT
    },
    Entry {
        name: "meha",
        summary: "the Moreau envelope of the lower loss as a penalty",
        calls: calls("2", "4", "0"),
        memory: "z",
        make: |s, _| joint(Meha::new(s.slow(1.0, 0.4)?, s.step_size / 2.0, 2.0, growing(1.0))?),
        ..JOINT
    },
    Entry {
        name: "gap",
        summary: "the duality gap of the lower problem as a penalty, without projections",
        calls: Calls { constraints: "3 gradients, 1 value", ..calls("1", "3", "0") },
        constraints: &[Objective::Lower],
        memory: "z, multipliers",
        make: |s, _| {
            joint(Gap::new(s.slow(1.0, 0.4)?, s.step_size / 2.0, (2.0, 1.0), growing(1.0))?)
        },
        ..JOINT
    },
    Entry {
        name: "bvfim",
        summary: "the value function as a barrier",
        calls: Calls {
            constraints: "a gradient and a value with each of the same level",
            ..calls("T + 2 + h, h halvings", "2 T + 4 + h", "0")
        },
        constraints: &[Objective::Upper, Objective::Lower],
        reads: &["learning-rate", "step-size", "lower-steps"],
        make: |s, _| {
            let relaxation = Relaxation::geometric(1.0, 0.97)?;
            let steps = s.lower_steps;
            joint(Bvfim::new(
                s.slow(1.0, 0.4)?,
                BvfimSettings {
                    lower_steps: steps,
                    lower_rate: s.step_size.into(),
                    steps,
                    relaxation,
                },
            )?)
        },
        ..JOINT
    },
];
