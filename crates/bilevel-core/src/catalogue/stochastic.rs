//! The methods of the folder `stochastic`. Q is the number of terms of a Neumann series, p of them are drawn.

use super::{Calls, Entry, Exact, Family, Needs, Settings, joint};
use crate::{
    Amigo, Bsa, Error, Fsla, Mrbo, NeumannSeries, OnBatches, Rates, Saba, Schedule, Soba, Srba,
    StocBio, Sustain, Ttsa, Unrolled, Vrbo,
};

const fn calls(
    lower_gradients: &'static str,
    lower_products: &'static str,
    upper_gradients: &'static str,
) -> Calls {
    Calls { lower_gradients, lower_products, upper_gradients, constraints: "" }
}

const SINGLE_LOOP: Entry = Entry {
    name: "",
    aliases: &[],
    family: Family::Stochastic,
    summary: "",
    exact: Exact::Other("the limit of decreasing steps"),
    calls: calls("1", "1", "1"),
    memory: "none",
    needs: Needs::Nothing,
    constraints: &[],
    reads: &["learning-rate", "step-size"],
    make: |_, _| unreachable!("every entry has a constructor"),
};

const DOUBLE_LOOP: Entry =
    Entry { reads: &["learning-rate", "step-size", "lower-steps"], ..SINGLE_LOOP };

pub(super) const METHODS: &[Entry] = &[
    Entry {
        name: "ttsa",
        summary: "one step of y, one of x by a drawn series, on two time scales",
        calls: calls("1", "p + 1", "1"),
        reads: &["learning-rate", "step-size", "lower-steps"],
        make: |s, at| {
            let upper = Schedule::power(s.learning_rate, 0.6);
            let rates = Rates::new(upper, Schedule::power(s.step_size, 0.4))?;
            joint(Ttsa::new(rates, series(s)?).with_seed(at.seed))
        },
        ..SINGLE_LOOP
    },
    Entry {
        name: "bsa",
        summary: "T steps of y, one of x by a drawn series",
        calls: calls("T", "p + 1", "1"),
        make: |s, at| {
            let rates = s.falling(s.learning_rate)?;
            joint(Bsa::new(rates, s.lower_steps, series(s)?)?.with_seed(at.seed))
        },
        ..DOUBLE_LOOP
    },
    Entry {
        name: "stocbio",
        summary: "T steps of y, one of x by a series on batches",
        calls: calls("T", "Q", "1"),
        make: |s, _| joint(StocBio::new(s.rates(1.0, 1.0)?, s.lower_steps, series(s)?)?),
        ..DOUBLE_LOOP
    },
    Entry {
        name: "amigo",
        summary: "T steps of y and of v, one of x",
        calls: calls("T", "T + 1", "1"),
        memory: "v",
        make: |s, _| joint(Amigo::new(s.rates(1.0, 1.0)?, s.lower_steps, s.lower_steps)?),
        ..DOUBLE_LOOP
    },
    Entry {
        name: "fsla",
        summary: "y, v and x by one step each, with momentum in x",
        calls: calls("1", "3; first 2", "3; first 2"),
        memory: "v, x, one direction",
        make: |s, _| joint(Fsla::new(s.rates(1.0, 1.0)?, 0.3)?),
        ..SINGLE_LOOP
    },
    Entry {
        name: "sustain",
        summary: "recursive momentum in both levels, x by a drawn series",
        calls: calls("2; first 1", "2 (p + 1); first p + 1", "2; first 1"),
        memory: "x, y, two directions",
        reads: &["learning-rate", "step-size", "lower-steps"],
        make: |s, at| joint(Sustain::new(s.rates(1.0, 1.0)?, 0.3, series(s)?)?.with_seed(at.seed)),
        ..SINGLE_LOOP
    },
    Entry {
        name: "mrbo",
        summary: "recursive momentum in both levels, x by a series",
        calls: calls("2; first 1", "2 Q; first Q", "2; first 1"),
        memory: "x, y, two directions",
        reads: &["learning-rate", "step-size", "lower-steps"],
        make: |s, _| joint(Mrbo::new(s.rates(1.0, 1.0)?, 0.3, series(s)?)?),
        ..SINGLE_LOOP
    },
    Entry {
        name: "vrbo",
        summary: "variance reduction in both levels, with full passes",
        calls: calls(
            "2 (T + 1); every P steps n more",
            "2 (T + 1) Q; every P steps n Q more",
            "2 (T + 1); every P steps m more",
        ),
        memory: "two directions",
        reads: &["learning-rate", "step-size", "lower-steps", "period"],
        make: |s, _| joint(Vrbo::new(s.rates(1.0, 1.0)?, s.period, 3, series(s)?)?),
        ..DOUBLE_LOOP
    },
    Entry {
        name: "soba",
        summary: "y, v and x by one step each",
        memory: "v, one linearisation",
        make: |s, _| joint(Soba::new(s.rates(1.0, 1.0)?)),
        ..SINGLE_LOOP
    },
    Entry {
        name: "saba",
        summary: "`soba` with a memory of every batch",
        calls: calls("1; first n", "1; first n", "1; first m"),
        memory: "v, 3 n + 2 m vectors, one linearisation",
        make: |s, _| joint(Saba::new(s.rates(1.0, 1.0)?)),
        ..SINGLE_LOOP
    },
    Entry {
        name: "srba",
        summary: "`soba` by recursive estimates",
        calls: calls("2; every P steps n", "2; every P steps n", "2; every P steps m"),
        memory: "x, y, v twice, three directions, one linearisation",
        reads: &["learning-rate", "step-size", "period"],
        make: |s, _| joint(Srba::new(s.rates(1.0, 1.0)?, s.period)?),
        ..SINGLE_LOOP
    },
    Entry {
        name: "on-batches",
        summary: "T steps of y on fresh batches, then `rad` through T on one",
        exact: Exact::Other("T lower steps on one batch"),
        calls: calls("2 T", "T", "1"),
        memory: "the states and linearisations of a plan, one replay",
        make: |s, _| {
            joint(OnBatches::new(Unrolled::rad(s.descent()?), s.rates(1.0, 1.0)?, s.lower_steps)?)
        },
        ..DOUBLE_LOOP
    },
];

/// A series with as many terms as lower steps.
fn series(settings: &Settings) -> Result<NeumannSeries, Error> {
    NeumannSeries::new(settings.step_size, settings.lower_steps)
}
