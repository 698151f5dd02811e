//! The oracle of data that is divided among ranks.

use std::ops::Deref;

use bilevel_program::{Vector, float};
use burn::backend::DispatchTensor;

use super::{Group, divided, dtype, in_tree, means, sums};
use crate::linear::epsilon;
use crate::{
    Direction, Error, Hessian, Linearization, Loss, Mixed, Objective, Oracle, Partials, Point,
    Reduced, Sample, Samples, Wrt,
};

/// Both losses as means over S = `shards` equal parts of their data, of which each rank of a group evaluates its own.
///
/// ```text
/// F = 1/S sum_s F_s,  f = 1/S sum_s f_s
/// ```
///
/// `inner` is the oracle of only the shards of this rank, those of [`Group::share`], n of them: `Sample(i)` of the mean
/// is `Sample(i n)` to `Sample(i n + n - 1)` of `inner`. So a rank holds only its own data. A call of this oracle is a
/// call for each shard and one message, with the loss and all partials; it counts as one call, on the whole data. Short
/// cuts of `inner` are used: linearisations, heads alone, parts of y. A linearisation is held for each shard of the
/// rank.
///
/// On one rank nothing is sent, and the result has the same bits.
///
/// The losses must be means over equal parts. Sums over samples are not; nor are quotients, such as a mean with weights
/// that differ from shard to shard. [`DataParallel::check_means`] checks this. The statistics of a batch normalisation
/// are those of a shard.
///
/// If the group fails in the middle of a step, losses and partials are NaN from then on: the step ends with an error, and
/// the [`Executor`](crate::Executor) replaces it by that of the group.
#[derive(Debug)]
pub struct DataParallel<O, G> {
    inner: O,
    group: G,
    shards: usize,
}

impl<O: Oracle, G: Group> DataParallel<O, G> {
    /// The mean over `shards`, where the data of `inner` are those of this rank.
    ///
    /// # Errors
    /// If the shards are not a power of two for each rank (any number for a group of one), the data of `inner` is not
    /// divided into that many, or a variable is not in f32 or f64, or the variables differ in element type.
    pub fn new(inner: O, group: G, shards: usize) -> Result<Self, Error> {
        let own = divided("number of shards", shards, group.size())?;
        for objective in [Objective::Upper, Objective::Lower] {
            let batches = inner.batches(objective);
            if batches == 0 || !batches.is_multiple_of(own) {
                return Err(Error::InvalidSetting {
                    setting: "data of a rank",
                    found: format!("{batches} batches of the {objective} level"),
                    expected: "a multiple of the shards of a rank",
                    cure: "build the oracle on `Batches`, one for each of the rank's shards",
                });
            }
        }
        dtype(inner.upper_layout(), inner.lower_layout())?;
        Ok(Self { inner, group, shards })
    }

    /// The group.
    pub fn group(&self) -> &G {
        &self.group
    }

    /// Whether the losses are means over the shards: compares values and gradients at a point, on `Sample(0)`, with those
    /// of an oracle of the whole data. Two messages.
    ///
    /// # Errors
    /// If they differ by more than rounding.
    pub fn check_means(&self, whole: &dyn Oracle, x: &Vector, y: &Vector) -> Result<(), Error> {
        let at = Point { x, y, sample: Sample::default() };
        for objective in [Objective::Upper, Objective::Lower] {
            let (loss, partials) = self.gradient(objective, at, Wrt::Both);
            let (expected_loss, expected) = whole.gradient(objective, at, Wrt::Both);
            let ((in_x, in_y), (x, y)) = (partials.into_both(), expected.into_both());
            let (found, expected) = (loss.read(), expected_loss.read());
            let size = expected.abs() + x.norm().hypot(y.norm());
            let off = (found - expected).abs() + in_x.sub(&x).norm().hypot(in_y.sub(&y).norm());
            // Sums in another order are the same function.
            if off.is_nan() || off > epsilon(self.lower_layout()).powf(0.6) * size.max(1e-3) {
                return Err(Error::NotMeanOfShards { objective, found, expected, off });
            }
        }
        Ok(())
    }

    /// The results of the shards of this rank for a sample.
    fn of_shards<'b, T>(
        &'b self,
        sample: Sample,
        of: impl Fn(Sample) -> T + 'b,
    ) -> impl Iterator<Item = T> + 'b {
        let own = (self.shards / self.group.size()) as u64;
        (0..own).map(move |shard| of(Sample(sample.0 * own + shard)))
    }

    /// The means of tensors over all shards, given those of this rank: one message.
    fn means(&self, terms: impl Iterator<Item = Vec<DispatchTensor>>) -> Vec<DispatchTensor> {
        let terms = in_tree(terms);
        let sums = sums(&self.group, terms.clone()).unwrap_or_else(|error| {
            tracing::error!(%error, "the group failed: losses and gradients are NaN from here on");
            terms.into_iter().map(|term| float::mul_scalar(term, f64::NAN)).collect()
        });
        means(sums, self.shards)
    }

    /// The means of losses and partials.
    fn mean(
        &self,
        terms: impl Iterator<Item = (Option<Loss>, Partials)>,
    ) -> (Option<Loss>, Partials) {
        let mut terms = terms.peekable();
        let Some((loss, partials)) = terms.peek() else {
            return (None, Partials { x: None, y: None });
        };
        let (loss, partials) = (loss.clone(), partials.clone());
        let dtype = self.lower_layout().leaves()[0].dtype;
        let mut means = self.means(terms.map(|(loss, Partials { x, y })| {
            let leaves = x.iter().chain(&y).flat_map(Vector::leaves).cloned();
            let loss = loss.map(|loss| float::cast(loss.into_dispatch(), dtype));
            loss.into_iter().chain(leaves).collect()
        }));
        let mut means = means.drain(..);
        let mut next = |own| means.next().unwrap_or(own);
        let loss = loss.map(|loss| Loss::of(next(loss.into_dispatch())));
        let x = partials.x.map(|x| x.map(&mut next));
        let y = partials.y.map(|y| y.map(&mut next));
        (loss, Partials { x, y })
    }
}

/// What the inner oracle has besides derivatives: its starts and modules.
impl<O, G> Deref for DataParallel<O, G> {
    type Target = O;

    fn deref(&self) -> &O {
        &self.inner
    }
}

const ASKED: &str = "every shard has given what was asked for";

impl<O: Oracle, G: Group> Oracle for DataParallel<O, G> {
    // The program is that of one shard.
    crate::forward_oracle!(inner: upper_layout, lower_layout, constraints, program);

    fn value(&self, objective: Objective, at: Point<'_>) -> Loss {
        let nothing = Partials { x: None, y: None };
        let terms = self.of_shards(at.sample, |sample| {
            (Some(self.inner.value(objective, Point { sample, ..at })), nothing.clone())
        });
        self.mean(terms).0.expect(ASKED)
    }

    fn gradient(&self, objective: Objective, at: Point<'_>, wrt: Wrt) -> (Loss, Partials) {
        let (loss, partials) = self.mean(self.of_shards(at.sample, |sample| {
            let (loss, partials) = self.inner.gradient(objective, Point { sample, ..at }, wrt);
            (Some(loss), partials)
        }));
        (loss.expect(ASKED), partials)
    }

    fn product(
        &self,
        objective: Objective,
        at: Point<'_>,
        along: Direction<'_>,
        wrt: Wrt,
    ) -> Partials {
        let terms = self.of_shards(at.sample, |sample| {
            (None, self.inner.product(objective, Point { sample, ..at }, along, wrt))
        });
        self.mean(terms).1
    }

    fn linearize<'a>(
        &'a self,
        objective: Objective,
        at: Point<'_>,
        gradient: Option<Wrt<'_>>,
        along: Wrt<'_>,
        wrt: Wrt<'_>,
    ) -> Linearization<'a> {
        let shards = self.of_shards(at.sample, |sample| {
            self.inner.linearize(objective, Point { sample, ..at }, gradient, along, wrt)
        });
        let (hessians, terms): (Vec<_>, Vec<_>) =
            shards.map(|shard| (shard.hessian, (shard.loss, shard.gradient))).unzip();
        // Without a gradient there is nothing to send.
        let (loss, partials) = match gradient {
            Some(_) => self.mean(terms.into_iter()),
            None => (None, Partials { x: None, y: None }),
        };
        let bytes = hessians.iter().map(Hessian::bytes).sum();
        let product = move |along: Direction<'_>, wrt: Wrt<'_>| {
            self.mean(hessians.iter().map(|hessian| (None, hessian.product(along, wrt)))).1
        };
        Linearization { loss, gradient: partials, hessian: Hessian::new(product, bytes) }
    }

    fn gradient_and_mixed<'a>(&'a self, at: Point<'a>) -> (Loss, Vector, Mixed<'a>) {
        let shards = self
            .of_shards(at.sample, |sample| self.inner.gradient_and_mixed(Point { sample, ..at }));
        let (products, terms): (Vec<_>, Vec<_>) = shards
            .map(|(loss, slope, mixed)| (mixed, (Some(loss), Partials { x: None, y: Some(slope) })))
            .unzip();
        let (loss, slope) = self.mean(terms.into_iter());
        let mixed = move |v: &Vector| {
            let terms =
                products.into_iter().map(|mixed| (None, Partials { x: Some(mixed(v)), y: None }));
            self.mean(terms).1.into_x()
        };
        (loss.expect(ASKED), slope.into_y(), Box::new(mixed))
    }

    fn reduced<'a>(&'a self, _: &Vector, _: Samples) -> Option<Result<Reduced<'a>, Error>> {
        Some(Err(Error::InvalidSetting {
            setting: "method on features",
            found: "data that is divided among ranks".to_owned(),
            expected: "all features in one process",
            cure: "use the method itself: its products in x are sent, features are not",
        }))
    }

    fn batches(&self, objective: Objective) -> usize {
        self.inner.batches(objective) * self.group.size() / self.shards
    }

    fn is_collective(&self) -> bool {
        self.group.size() > 1
    }
}
