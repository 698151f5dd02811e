//! The steps of the papers, on lists of numbers.

use bilevel_core::*;
use bilevel_problems::QuadraticTerms;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{SEED, Settings};
use crate::common::*;

/// The derivatives of both levels on one batch.
pub trait Losses {
    fn f_y(&self, batch: usize, x: &V, y: &V) -> V;
    fn f_yy(&self, batch: usize, x: &V, y: &V, v: &V) -> V;
    /// `d/dx <f_y, v>`
    fn f_xy(&self, batch: usize, x: &V, y: &V, v: &V) -> V;
    fn upper_y(&self, batch: usize, x: &V, y: &V) -> V;
    fn upper_x(&self, batch: usize, x: &V, y: &V) -> V;
}

impl Losses for Vec<QuadraticTerms> {
    fn f_y(&self, batch: usize, x: &V, y: &V) -> V {
        V(self[batch].lower_y(&x.0, &y.0))
    }

    fn f_yy(&self, batch: usize, _: &V, _: &V, v: &V) -> V {
        V(self[batch].hessian(&v.0))
    }

    fn f_xy(&self, batch: usize, _: &V, _: &V, v: &V) -> V {
        V(self[batch].lower_x(&v.0))
    }

    fn upper_y(&self, batch: usize, _: &V, y: &V) -> V {
        V(self[batch].upper_y(&y.0))
    }

    fn upper_x(&self, batch: usize, x: &V, _: &V) -> V {
        V(self[batch].upper_x(&x.0))
    }
}

/// The current state of a method.
pub struct Plain<'a> {
    losses: &'a dyn Losses,
    settings: Settings,
    sampler: Sampler,
    rng: ChaCha8Rng,
    pub x: V,
    pub y: V,
}

/// The batches of one series.
struct Batches {
    upper: usize,
    factors: Vec<usize>,
    cross: usize,
}

impl<'a> Plain<'a> {
    pub fn new(losses: &'a dyn Losses, settings: Settings, sampler: Sampler) -> Self {
        let rng = ChaCha8Rng::seed_from_u64(SEED);
        let (x, y) = (V::from(&X[..]), V::from(&Y[..]));
        Self { losses, settings, sampler, rng, x, y }
    }

    fn lower(&mut self) -> usize {
        self.sampler.draw(Objective::Lower).0 as usize
    }

    fn upper(&mut self) -> usize {
        self.sampler.draw(Objective::Upper).0 as usize
    }

    fn a(&self, k: usize) -> f64 {
        self.settings.rates.upper.at(k)
    }

    fn b(&self, k: usize) -> f64 {
        self.settings.rates.lower.at(k)
    }

    fn c(&self, k: usize) -> f64 {
        self.settings.system_rate.at(k)
    }

    /// `steps` of `y' = y - b f_y(x, y; s)`.
    fn descend(&mut self, k: usize, steps: usize) {
        for _ in 0..steps {
            let s = self.lower();
            self.y = &self.y - &(self.b(k) * &self.losses.f_y(s, &self.x, &self.y));
        }
    }

    fn batches(&mut self, factors: usize) -> Batches {
        let upper = self.upper();
        let factors = (0..factors).map(|_| self.lower()).collect();
        Batches { upper, factors, cross: self.lower() }
    }

    fn truncated_batches(&mut self) -> Batches {
        let factors = self.rng.random_range(0..self.settings.terms);
        self.batches(factors)
    }

    /// `F_x - f_xy' [eta Q prod_j (I - eta f_yy(s_j))] F_y`.
    fn truncated(&self, x: &V, y: &V, at: &Batches) -> V {
        let Settings { eta, terms, .. } = self.settings;
        let mut q = self.losses.upper_y(at.upper, x, y);
        for &s in &at.factors {
            q = &q - &(eta * &self.losses.f_yy(s, x, y, &q));
        }
        let q = eta * terms as f64 * &q;
        &self.losses.upper_x(at.upper, x, y) - &self.losses.f_xy(at.cross, x, y, &q)
    }

    /// `F_x - f_xy' [eta sum_p prod_{j <= p} (I - eta f_yy(s_j))] F_y`, each product from the start.
    fn whole(&self, x: &V, y: &V, at: &Batches) -> V {
        let eta = self.settings.eta;
        let slope = self.losses.upper_y(at.upper, x, y);
        let mut q = 0.0 * &slope;
        for p in 0..=at.factors.len() {
            let product = at.factors[..p]
                .iter()
                .fold(slope.clone(), |r, &s| &r - &(eta * &self.losses.f_yy(s, x, y, &r)));
            q = &q + &(eta * &product);
        }
        &self.losses.upper_x(at.upper, x, y) - &self.losses.f_xy(at.cross, x, y, &q)
    }

    /// The mean over the batches of a level.
    fn mean(&self, objective: Objective, of: impl Fn(usize) -> V) -> V {
        let count = self.sampler.batches(objective);
        let sum = (1..count).fold(of(0), |sum, batch| &sum + &of(batch));
        1.0 / count as f64 * &sum
    }
}

pub fn ttsa(p: &mut Plain, steps: usize) {
    for k in 0..steps {
        p.descend(k, 1);
        let batches = p.truncated_batches();
        p.x = &p.x - &(p.a(k) * &p.truncated(&p.x, &p.y, &batches));
    }
}

pub fn bsa(p: &mut Plain, steps: usize) {
    for k in 0..steps {
        p.descend(k, p.settings.inner_steps);
        let batches = p.truncated_batches();
        p.x = &p.x - &(p.a(k) * &p.truncated(&p.x, &p.y, &batches));
    }
}

pub fn stocbio(p: &mut Plain, steps: usize) {
    for k in 0..steps {
        p.descend(k, p.settings.inner_steps);
        let batches = p.batches(p.settings.terms - 1);
        p.x = &p.x - &(p.a(k) * &p.whole(&p.x, &p.y, &batches));
    }
}

/// `own` draws for the descent of the method.
pub fn on_batches(p: &mut Plain, steps: usize, step: f64, own: Option<&Sampler>) {
    for k in 0..steps {
        p.descend(k, p.settings.inner_steps);
        let (t, s) = (p.upper(), p.lower());
        let of_step = own.map_or(s, |own| own.at(Objective::Lower, k as u64).0 as usize);
        p.y = &p.y - &(step * &p.losses.f_y(of_step, &p.x, &p.y));
        let batches = Batches { upper: t, factors: vec![s; p.settings.terms - 1], cross: s };
        p.x = &p.x - &(p.a(k) * &p.whole(&p.x, &p.y, &batches));
    }
}

pub fn amigo(p: &mut Plain, steps: usize) {
    let mut v = 0.0 * &p.y;
    for k in 0..steps {
        p.descend(k, p.settings.inner_steps);
        let t = p.upper();
        for _ in 0..p.settings.system_steps {
            let s = p.lower();
            let product = p.losses.f_yy(s, &p.x, &p.y, &v);
            v = &v - &(p.c(k) * &(&product + &p.losses.upper_y(t, &p.x, &p.y)));
        }
        let s = p.lower();
        let along = &p.losses.upper_x(t, &p.x, &p.y) + &p.losses.f_xy(s, &p.x, &p.y, &v);
        p.x = &p.x - &(p.a(k) * &along);
    }
}

pub fn fsla(p: &mut Plain, steps: usize) {
    let mut v = 0.0 * &p.y;
    let mut past: Option<(V, V)> = None;
    for k in 0..steps {
        let (old_y, old_v) = (p.y.clone(), v.clone());
        p.descend(k, 1);
        let (t1, s2) = (p.upper(), p.lower());
        let slope = p.losses.upper_y(t1, &p.x, &p.y);
        v = &v - &(p.c(k) * &(&p.losses.f_yy(s2, &p.x, &p.y, &v) + &slope));
        let (t2, s3) = (p.upper(), p.lower());
        let estimate =
            |x: &V, y: &V, v: &V| &p.losses.upper_x(t2, x, y) + &p.losses.f_xy(s3, x, y, v);
        let mut d = estimate(&p.x, &p.y, &v);
        if let Some((old_x, old_d)) = past {
            let rest = &old_d - &estimate(&old_x, &old_y, &old_v);
            d = &d + &((1.0 - p.settings.momentum.at(k)) * &rest);
        }
        past = Some((p.x.clone(), d.clone()));
        p.x = &p.x - &(p.a(k) * &d);
    }
}

/// `eta D(u) + (1 - eta) (d + D(u) - D(u_before))`, in the notation of SUSTAIN.
fn double_momentum<'a>(
    p: &mut Plain<'a>,
    steps: usize,
    draw: impl Fn(&mut Plain<'a>) -> Batches,
    hypergradient: impl Fn(&Plain<'a>, &V, &V, &Batches) -> V,
) {
    let mut past: Option<[V; 4]> = None;
    for k in 0..steps {
        let s = p.lower();
        let batches = draw(p);
        let mut d_y = p.losses.f_y(s, &p.x, &p.y);
        let mut d_x = hypergradient(p, &p.x, &p.y, &batches);
        if let Some([x, y, old_x, old_y]) = past {
            let momentum = |eta: f64, new: &V, old: &V, at_old: &V| {
                &(eta * new) + &((1.0 - eta) * &(&(old + new) - at_old))
            };
            let (h, g) = (p.settings.momentum.at(k), p.settings.lower_momentum.at(k));
            d_y = momentum(g, &d_y, &old_y, &p.losses.f_y(s, &x, &y));
            d_x = momentum(h, &d_x, &old_x, &hypergradient(p, &x, &y, &batches));
        }
        past = Some([p.x.clone(), p.y.clone(), d_x.clone(), d_y.clone()]);
        p.y = &p.y - &(p.b(k) * &d_y);
        p.x = &p.x - &(p.a(k) * &d_x);
    }
}

pub fn sustain(p: &mut Plain, steps: usize) {
    double_momentum(p, steps, Plain::truncated_batches, Plain::truncated);
}

pub fn mrbo(p: &mut Plain, steps: usize) {
    double_momentum(p, steps, |p| p.batches(p.settings.terms - 1), Plain::whole);
}

pub fn vrbo(p: &mut Plain, steps: usize) {
    let Settings { eta, terms, inner_steps, period, .. } = p.settings;
    let (mut d_y, mut d_x) = (0.0 * &p.y, 0.0 * &p.x);
    for k in 0..steps {
        if k % period == 0 {
            let (x, y) = (&p.x, &p.y);
            d_y = p.mean(Objective::Lower, |s| p.losses.f_y(s, x, y));
            let mut r = p.mean(Objective::Upper, |t| p.losses.upper_y(t, x, y));
            let mut q = eta * &r;
            for _ in 1..terms {
                r = &r - &(eta * &p.mean(Objective::Lower, |s| p.losses.f_yy(s, x, y, &r)));
                q = &q + &(eta * &r);
            }
            let cross = p.mean(Objective::Lower, |s| p.losses.f_xy(s, x, y, &q));
            d_x = &p.mean(Objective::Upper, |t| p.losses.upper_x(t, x, y)) - &cross;
        }
        let (mut old_x, mut old_y) = (p.x.clone(), p.y.clone());
        p.x = &p.x - &(p.a(k) * &d_x);
        for inner in 0..=inner_steps {
            let s = p.lower();
            let batches = p.batches(terms - 1);
            let f_y = |x: &V, y: &V| p.losses.f_y(s, x, y);
            d_y = &d_y + &(&f_y(&p.x, &p.y) - &f_y(&old_x, &old_y));
            d_x = &d_x + &(&p.whole(&p.x, &p.y, &batches) - &p.whole(&old_x, &old_y, &batches));
            (old_x, old_y) = (p.x.clone(), p.y.clone());
            if inner < inner_steps {
                p.y = &p.y - &(p.b(k) * &d_y);
            }
        }
    }
}

pub fn soba(p: &mut Plain, steps: usize) {
    let mut v = 0.0 * &p.y;
    for k in 0..steps {
        let (t, s) = (p.upper(), p.lower());
        let d_y = p.losses.f_y(s, &p.x, &p.y);
        let d_v = &p.losses.f_yy(s, &p.x, &p.y, &v) + &p.losses.upper_y(t, &p.x, &p.y);
        let d_x = &p.losses.f_xy(s, &p.x, &p.y, &v) + &p.losses.upper_x(t, &p.x, &p.y);
        p.y = &p.y - &(p.b(k) * &d_y);
        v = &v - &(p.c(k) * &d_v);
        p.x = &p.x - &(p.a(k) * &d_x);
    }
}

/// Stores the point at which each batch was last evaluated, and evaluates it there again.
pub fn saba(p: &mut Plain, steps: usize) {
    let mut v = 0.0 * &p.y;
    let start = (p.x.clone(), p.y.clone(), v.clone());
    let mut seen_lower = vec![start.clone(); p.sampler.batches(Objective::Lower)];
    let mut seen_upper = vec![start; p.sampler.batches(Objective::Upper)];
    for k in 0..steps {
        let losses = p.losses;
        type Of<'a> = &'a dyn Fn(usize, &(V, V, V)) -> V;
        let parts: [(Objective, Of); 5] = [
            (Objective::Lower, &|s, (x, y, _)| losses.f_y(s, x, y)),
            (Objective::Lower, &|s, (x, y, v)| losses.f_yy(s, x, y, v)),
            (Objective::Lower, &|s, (x, y, v)| losses.f_xy(s, x, y, v)),
            (Objective::Upper, &|t, (x, y, _)| losses.upper_y(t, x, y)),
            (Objective::Upper, &|t, (x, y, _)| losses.upper_x(t, x, y)),
        ];
        let now = (p.x.clone(), p.y.clone(), v.clone());
        // The first draws would change nothing: every batch was evaluated at the current point.
        let (t, s) = if k == 0 { (0, 0) } else { (p.upper(), p.lower()) };
        let estimates = parts.map(|(objective, of)| {
            let (batch, seen) = match objective {
                Objective::Lower => (s, &seen_lower),
                Objective::Upper => (t, &seen_upper),
            };
            let mean = p.mean(objective, |i| of(i, &seen[i]));
            &(&of(batch, &now) - &of(batch, &seen[batch])) + &mean
        });
        seen_lower[s] = now.clone();
        seen_upper[t] = now;
        let [f_y, f_yy, f_xy, upper_y, upper_x] = estimates;
        p.y = &p.y - &(p.b(k) * &f_y);
        v = &v - &(p.c(k) * &(&f_yy + &upper_y));
        p.x = &p.x - &(p.a(k) * &(&f_xy + &upper_x));
    }
}

pub fn srba(p: &mut Plain, steps: usize) {
    let mut v = 0.0 * &p.y;
    let mut past: Option<[V; 6]> = None;
    for k in 0..steps {
        let losses = p.losses;
        let at = |s: usize, t: usize, x: &V, y: &V, v: &V| {
            [
                losses.f_y(s, x, y),
                &losses.f_yy(s, x, y, v) + &losses.upper_y(t, x, y),
                &losses.f_xy(s, x, y, v) + &losses.upper_x(t, x, y),
            ]
        };
        let [d_y, d_v, d_x] = match past {
            Some([x, y, old_v, d_y, d_v, d_x]) if k % p.settings.period != 0 => {
                let (t, s) = (p.upper(), p.lower());
                let new = at(s, t, &p.x, &p.y, &v);
                let old = at(s, t, &x, &y, &old_v);
                let d = [d_y, d_v, d_x];
                std::array::from_fn(|i| &d[i] + &(&new[i] - &old[i]))
            }
            _ => {
                let (x, y, v) = (&p.x, &p.y, &v);
                let lower = |of: &dyn Fn(usize) -> V| p.mean(Objective::Lower, of);
                let upper = |of: &dyn Fn(usize) -> V| p.mean(Objective::Upper, of);
                let f_yy = lower(&|s| losses.f_yy(s, x, y, v));
                let f_xy = lower(&|s| losses.f_xy(s, x, y, v));
                [
                    lower(&|s| losses.f_y(s, x, y)),
                    &f_yy + &upper(&|t| losses.upper_y(t, x, y)),
                    &f_xy + &upper(&|t| losses.upper_x(t, x, y)),
                ]
            }
        };
        past = Some([p.x.clone(), p.y.clone(), v.clone(), d_y.clone(), d_v.clone(), d_x.clone()]);
        p.y = &p.y - &(p.b(k) * &d_y);
        v = &v - &(p.c(k) * &d_v);
        p.x = &p.x - &(p.a(k) * &d_x);
    }
}
