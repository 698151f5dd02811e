//! Joint methods: steps against the formulas of the papers, written out in plain numbers, and many steps
//! against the solution.

#[path = "joint/constrained.rs"]
mod constrained;

use bilevel_core::*;
use bilevel_problems::{Constrained, Formulas, Instance, NsgameToy, Values};

use crate::common::*;
use crate::device;
use crate::stochastic::plain;
use crate::stochastic::quartic::Quartic;

fn rates(upper: impl Into<Schedule>, lower: impl Into<Schedule>) -> Rates {
    Rates::new(upper, lower).unwrap()
}

/// The step sizes of x, y and z in the formulas, and a penalty or weight: each changes with k.
const STEP_X: Schedule = Schedule::Power { first: 0.1, exponent: 0.5 };
const A: Schedule = Schedule::Power { first: 0.2, exponent: 0.25 };
const C: Schedule = Schedule::Power { first: 0.5, exponent: 0.75 };
const G: Schedule = Schedule::Power { first: 1.25, exponent: -0.4 };

/// The derivatives of a problem in plain numbers, and how large an entry of y may be.
pub struct Plain(Box<dyn plain::Losses>, f64);

impl Plain {
    fn upper_x(&self, x: &V, y: &V) -> V {
        self.0.upper_x(0, x, y)
    }
    fn upper_y(&self, x: &V, y: &V) -> V {
        self.0.upper_y(0, x, y)
    }
    /// `f(x, y)`, by integration along the line from y = 0, where f is 0: Simpson's rule is exact because f_y
    /// is cubic in y.
    fn lower(&self, x: &V, y: &V) -> f64 {
        let slope = |t: f64| self.lower_y(x, &(t * y)).dot(y);
        (slope(0.0) + 4.0 * slope(0.5) + slope(1.0)) / 6.0
    }
    /// `f_x(x, y)`, likewise: the midpoint rule is exact because f_xy is linear in y.
    fn lower_x(&self, x: &V, y: &V) -> V {
        self.mixed(x, &(0.5 * y), y)
    }
    fn lower_y(&self, x: &V, y: &V) -> V {
        self.0.f_y(0, x, y)
    }
    /// `f_yy(x, y) v`
    fn hessian(&self, x: &V, y: &V, v: &V) -> V {
        self.0.f_yy(0, x, y, v)
    }
    /// `f_xy(x, y)' v`
    fn mixed(&self, x: &V, y: &V, v: &V) -> V {
        self.0.f_xy(0, x, y, v)
    }
    fn follow(&self, k: usize, x: &V, mut z: V, steps: usize) -> V {
        for _ in 0..steps {
            z = self.inside(&z - &(C.at(k) * &self.lower_y(x, &z)));
        }
        z
    }
    /// Projects y or z.
    fn inside(&self, y: V) -> V {
        V(y.0.into_iter().map(|y| y.clamp(-self.1, self.1)).collect())
    }
}

/// Two problems at `X` and `Y`: one with constant second derivatives, and one whose second derivatives change
/// with x and y, which reveals a derivative taken at the wrong point.
fn problems() -> [(&'static str, Plain, Instance); 2] {
    let quartic = Quartic::new(1, 1);
    let there = quartic.instance();
    [
        ("quadratic", Plain(Box::new(vec![problem().plain()]), f64::INFINITY), instance()),
        ("quartic", Plain(Box::new(quartic), f64::INFINITY), there),
    ]
}

/// Step k in plain numbers; the last argument is the state of the method.
pub type Written = fn(&Plain, usize, &mut V, &mut V, &mut Option<V>);

/// A method, its formulas, and the calls per step: gradients of F and f, products of f.
pub type Row = (&'static str, Box<dyn JointMethod>, Written, [u64; 3]);

/// All methods that use only gradients and products. A new one takes one line and its formulas.
pub fn written() -> Vec<Row> {
    let r = || rates(STEP_X, A);
    // One whose tolerance is never met, and one whose tolerance is always met.
    let waiting =
        Penalty::new(r(), PenaltySettings { steps: 2, gamma: 0.7, tolerance: 1e-9 }).unwrap();
    let moving = Penalty::new(r(), PenaltySettings { steps: 2, gamma: 0.7, tolerance: 1e9 })
        .unwrap()
        .with_descent(C)
        .unwrap();
    vec![
        ("alternating", Box::new(Alternating::new(r())), alternating, [1, 1, 0]),
        ("f2sa", Box::new(F2sa::new(r(), 2, C, G).unwrap()), f2sa, [3, 6, 0]),
        ("bome", Box::new(Bome::new(r(), 3, C).unwrap()), bome, [1, 5, 0]),
        ("v-pbgd", Box::new(VPbgd::new(r(), 3, C, G).unwrap()), v_pbgd, [1, 5, 0]),
        ("g-pbgd", Box::new(GPbgd::new(r(), G).unwrap()), g_pbgd, [1, 1, 1]),
        ("meha", Box::new(Meha::new(r(), C, 2.0, G).unwrap()), meha, [2, 4, 0]),
        ("gap", Box::new(Gap::new(r(), C, (2.0, 1.0), G).unwrap()), gap, [1, 3, 0]),
        ("penalty", Box::new(waiting), waiting_penalty, [3, 3, 3]),
        ("penalty, k grows", Box::new(moving), moving_penalty, [3, 3, 3]),
        ("nsgame on all of y", Box::new(NsGame::new(r(), "")), one_stage, [1, 1, 1]),
        (
            "nsgame on all of y, x first",
            Box::new(NsGame::new(r(), "").x_first()),
            virtual_step::<1>,
            [1, 2, 1],
        ),
        ("virtual-step", Box::new(VirtualStep::new(r())), virtual_step::<1>, [1, 2, 1]),
        (
            "virtual-step, truncated",
            Box::new(VirtualStep::truncated(r(), 3).unwrap()),
            virtual_step::<3>,
            [1, 4, 1],
        ),
    ]
}

fn alternating(q: &Plain, k: usize, x: &mut V, y: &mut V, _: &mut Option<V>) {
    *x = &*x - &(STEP_X.at(k) * &q.upper_x(x, y));
    *y = q.inside(&*y - &(A.at(k) * &q.lower_y(x, y)));
}

fn f2sa(q: &Plain, k: usize, x: &mut V, y: &mut V, kept: &mut Option<V>) {
    let l = G.at(k);
    let mut z = kept.clone().unwrap_or(y.clone());
    for _ in 0..2 {
        z = q.follow(k, x, z, 1);
        *y = q.inside(&*y - &(A.at(k) * &(&q.upper_y(x, y) + &(l * &q.lower_y(x, y)))));
    }
    let gap = &q.lower_x(x, y) - &q.lower_x(x, &z);
    *x = &*x - &(STEP_X.at(k) * &(&q.upper_x(x, y) + &(l * &gap)));
    *kept = Some(z);
}

fn bome(q: &Plain, k: usize, x: &mut V, y: &mut V, _: &mut Option<V>) {
    let z = q.follow(k, x, y.clone(), 3);
    let (qx, qy) = (&q.lower_x(x, y) - &q.lower_x(x, &z), q.lower_y(x, y));
    let (fx, fy) = (q.upper_x(x, y), q.upper_y(x, y));
    let square = qx.dot(&qx) + qy.dot(&qy);
    let phi = 0.5 * square;
    let l = ((phi - fx.dot(&qx) - fy.dot(&qy)) / square).max(0.0);
    *x = &*x - &(STEP_X.at(k) * &(&fx + &(l * &qx)));
    *y = q.inside(&*y - &(A.at(k) * &(&fy + &(l * &qy))));
}

fn v_pbgd(q: &Plain, k: usize, x: &mut V, y: &mut V, _: &mut Option<V>) {
    let z = q.follow(k, x, y.clone(), 3);
    let gap = &q.lower_x(x, y) - &q.lower_x(x, &z);
    let along_x = &q.upper_x(x, y) + &(G.at(k) * &gap);
    let along_y = &q.upper_y(x, y) + &(G.at(k) * &q.lower_y(x, y));
    *x = &*x - &(STEP_X.at(k) * &along_x);
    *y = q.inside(&*y - &(A.at(k) * &along_y));
}

fn g_pbgd(q: &Plain, k: usize, x: &mut V, y: &mut V, _: &mut Option<V>) {
    let (slope, g) = (q.lower_y(x, y), G.at(k));
    let along_x = &q.upper_x(x, y) + &(2.0 * g * &q.mixed(x, y, &slope));
    let along_y = &q.upper_y(x, y) + &(2.0 * g * &q.hessian(x, y, &slope));
    *x = &*x - &(STEP_X.at(k) * &along_x);
    *y = q.inside(&*y - &(A.at(k) * &along_y));
}

fn meha(q: &Plain, k: usize, x: &mut V, y: &mut V, kept: &mut Option<V>) {
    let (z, c) = (kept.clone().unwrap_or(y.clone()), G.at(k));
    let z = q.inside(&z - &(C.at(k) * &(&q.lower_y(x, &z) + &(0.5 * &(&z - y)))));
    let gap = &q.lower_x(x, y) - &q.lower_x(x, &z);
    *x = &*x - &(STEP_X.at(k) * &(&(1.0 / c * &q.upper_x(x, y)) + &gap));
    // At the new x.
    let slope = &(1.0 / c * &q.upper_y(x, y)) + &q.lower_y(x, y);
    *y = q.inside(&*y - &(A.at(k) * &(&slope - &(0.5 * &(&*y - &z)))));
    *kept = Some(z);
}

fn gap(q: &Plain, k: usize, x: &mut V, y: &mut V, kept: &mut Option<V>) {
    let (z, c) = (kept.clone().unwrap_or(y.clone()), G.at(k));
    let z = q.inside(&z - &(C.at(k) * &(&q.lower_y(x, &z) + &(0.5 * &(&z - y)))));
    let gap = &q.lower_x(x, y) - &q.lower_x(x, &z);
    let along_x = &(1.0 / c * &q.upper_x(x, y)) + &gap;
    let slope = &(1.0 / c * &q.upper_y(x, y)) + &q.lower_y(x, y);
    let along_y = &slope - &(0.5 * &(&*y - &z));
    *x = &*x - &(STEP_X.at(k) * &along_x);
    *y = q.inside(&*y - &(A.at(k) * &along_y));
    *kept = Some(z);
}

/// With its own k, the penalty g, and l f added in the step of y.
fn penalty(q: &Plain, k: usize, [g, l]: [f64; 2], x: &mut V, y: &mut V) {
    for _ in 0..2 {
        let slope = q.lower_y(x, y);
        let along = &q.upper_y(x, y) + &(g * &q.hessian(x, y, &slope));
        *y = q.inside(&*y - &(A.at(k) * &(&along + &(l * &slope))));
    }
    let mixed = q.mixed(x, y, &q.lower_y(x, y));
    *x = &*x - &(STEP_X.at(k) * &(&q.upper_x(x, y) + &(g * &mixed)));
}

fn waiting_penalty(q: &Plain, _: usize, x: &mut V, y: &mut V, _: &mut Option<V>) {
    penalty(q, 0, [0.7, 0.0], x, y);
}

fn moving_penalty(q: &Plain, k: usize, x: &mut V, y: &mut V, _: &mut Option<V>) {
    penalty(q, k, [0.7 * 1.1_f64.powf(k as f64), C.at(k)], x, y);
}

fn one_stage(q: &Plain, k: usize, x: &mut V, y: &mut V, _: &mut Option<V>) {
    let ahead = &*y - &(A.at(k) * &q.lower_y(x, y));
    let mixed = q.mixed(x, y, &q.upper_y(x, &ahead));
    let along_x = &q.upper_x(x, &ahead) - &(A.at(k) * &mixed);
    *y = ahead;
    *x = &*x - &(STEP_X.at(k) * &along_x);
}

fn virtual_step<const T: usize>(q: &Plain, k: usize, x: &mut V, y: &mut V, _: &mut Option<V>) {
    let step = |z: &V| z - &(A.at(k) * &q.lower_y(x, z));
    let before = (1..T).fold(y.clone(), |z, _| step(&z));
    let ahead = step(&before);
    let mixed = q.mixed(x, &before, &q.upper_y(x, &ahead));
    *x = &*x - &(STEP_X.at(k) * &(&q.upper_x(x, &ahead) - &(A.at(k) * &mixed)));
    *y = &*y - &(A.at(k) * &q.lower_y(x, y));
}

#[test]
fn momentum_is_that_of_networks_on_either_level() {
    let (_, q, instance) = problems().into_iter().next().unwrap();
    let ball = HeavyBall::new(0.8, 0.05).unwrap();
    let balls = [(ball.clone(), false), (ball.with_nesterov(), true)];
    let levels = [Objective::Upper, Objective::Lower];
    for (objective, (ball, ahead)) in levels.into_iter().flat_map(|l| balls.clone().map(|b| (l, b)))
    {
        let (mut x, mut y) = (V::from(&X[..]), V::from(&Y[..]));
        let mut v = None;
        for k in 0..5 {
            let mut heavy = |at: &V, along: V| {
                let along = &along + &(0.05 * at);
                let next = match v.take() {
                    Some(before) => &along + &(0.8 * &before),
                    None => along.clone(),
                };
                let next = v.insert(next).clone();
                if ahead { &along + &(0.8 * &next) } else { next }
            };
            let mut along_x = q.upper_x(&x, &y);
            if objective == Objective::Upper {
                along_x = heavy(&x, along_x);
            }
            x = &x - &(STEP_X.at(k) * &along_x);
            let mut along_y = q.lower_y(&x, &y);
            if objective == Objective::Lower {
                along_y = heavy(&y, along_y);
            }
            y = &y - &(A.at(k) * &along_y);
        }
        let method = Alternating::new(rates(STEP_X, A));
        let (at_x, at_y) = (instance.x.clone(), instance.y.clone());
        let solver = JointSolver::new(&instance.oracle, method, at_x, at_y).unwrap();
        let variable = if objective == Objective::Upper { Variable::X } else { Variable::Y };
        let mut solver = solver.with_momentum(variable, ball);
        for k in 0..5 {
            solver.step(k).unwrap();
        }
        assert_near("x", &V::from(&solver.x().to_vec()[..]), &x, 1e-10);
        assert_near("y", &V::from(&solver.y().to_vec()[..]), &y, 1e-10);
    }
    for (momentum, decay, what) in [(1.0, 0.0, "momentum"), (0.9, -0.1, "weight decay")] {
        let refused = HeavyBall::new(momentum, decay).err().unwrap().to_string();
        assert!(refused.contains(what), "{refused}");
    }
}

#[test]
fn milestones_are_steps_down() {
    let schedule = Schedule::milestones(0.5, 0.1, [3, 5]);
    for (t, expected) in [0.5, 0.5, 0.5, 0.05, 0.05, 0.005, 0.005].into_iter().enumerate() {
        assert!((schedule.at(t) - expected).abs() < 1e-15, "step {t}");
    }
    assert!(Rates::new(Schedule::milestones(0.5, 0.0, [3, 5]), 1.0).is_err());
}

#[test]
fn steps_are_their_papers_formulas_and_cost_what_is_said() {
    for (problem, mut q, instance) in problems() {
        for (name, method, formulas, [upper, lower, products]) in written() {
            let name = format!("{name}, {problem}");
            let (mut x, mut y, mut kept) = (V::from(&X[..]), V::from(&Y[..]), None);
            for k in 0..3 {
                formulas(&q, k, &mut x, &mut y, &mut kept);
            }
            let before = instance.oracle.cost();
            let (found_x, found_y) = run(&instance, method, Sampler::full(), 3);
            assert_near(&format!("{name}, x"), &found_x, &x, 1e-10);
            assert_near(&format!("{name}, y"), &found_y, &y, 1e-10);
            let cost = instance.oracle.cost() - before;
            let calls = [cost.upper_gradients, cost.lower_gradients, cost.lower_products];
            assert_eq!(calls, [3 * upper, 3 * lower, 3 * products], "{name}");
            assert_eq!(cost.total(), calls.iter().sum::<u64>(), "{name}: no other calls");
        }
        // Where y is kept in a set, so is z.
        q.1 = 0.55;
        for (name, method, formulas, _) in written() {
            let (mut x, mut y, mut kept) = (V::from(&X[..]), q.inside(V::from(&Y[..])), None);
            for k in 0..3 {
                formulas(&q, k, &mut x, &mut y, &mut kept);
            }
            let (at_x, at_y) = (instance.x.clone(), instance.y.clone());
            let solver = JointSolver::new(&instance.oracle, method, at_x, at_y).unwrap();
            let mut solver = solver.with_lower_projection(Bounds::new(-q.1, q.1).unwrap());
            if name.starts_with("virtual-step") || name.starts_with("nsgame on all") {
                assert!(solver.step(0).is_err(), "{name} takes a step ahead");
                continue;
            }
            for k in 0..3 {
                solver.step(k).unwrap();
            }
            let name = format!("{name} in a box, {problem}");
            assert_near(&name, &V(solver.x().to_vec()), &x, 1e-10);
            assert_near(&name, &V(solver.y().to_vec()), &y, 1e-10);
        }
    }
}

/// On [`NsgameToy`], where y2 is the second part: `f_y1 = y1 - x`, `f_y2 = y2 - x`, `f_xy2 = -I`.
#[test]
fn the_game_is_its_formula_with_a_part_of_y() {
    let start = |sign: f64| std::array::from_fn(|i| sign * (0.3 + i as f64 / 4.0));
    let starts: [[f64; NsgameToy::SIZE]; 3] = [start(1.0), start(-0.7), start(1.6)];
    let [mut x, mut y1, mut y2] = starts.map(|v| V(v.to_vec()));
    let e = V(vec![NsgameToy::ANSWER; NsgameToy::SIZE]);
    for k in 0..3 {
        let (a, b) = (A.at(k), STEP_X.at(k));
        let next = [&y1 - &(a * &(&y1 - &x)), &y2 - &(a * &(&y2 - &x))];
        let along_x = &(&x - &y1) + &(a * &(&next[1] - &e));
        x = &x - &(b * &along_x);
        [y1, y2] = next;
    }
    let instance = NsgameToy::at(&starts[0], [&starts[1], &starts[2]], &device()).unwrap();
    let method = NsGame::new(rates(STEP_X, A), "second");
    let (found_x, found_y) = run(&instance, method, Sampler::full(), 3);
    assert_near("x", &found_x, &x, 1e-10);
    assert_near("y", &found_y, &V([y1.0, y2.0].concat()), 1e-10);

    let (x, y) = (instance.x.clone(), instance.y.clone());
    let method = NsGame::new(rates(STEP_X, A), "third");
    let refused = JointSolver::new(&instance.oracle, method, x, y).err().unwrap();
    assert!(refused.to_string().contains("`third`, where the lower module has first, second"));
}

/// The squared norm of the closed-form hypergradient after many steps.
fn slope_after(method: impl JointMethod + 'static, steps: usize) -> f64 {
    let (x, _) = run(&instance(), method, Sampler::full(), steps);
    problem().hypergradient(&x.0).iter().map(|g| g * g).sum()
}

/// A method, its number of steps, and a bound for the squared hypergradient at the end.
type Trial = (&'static str, Box<dyn JointMethod>, usize, f64);

/// Step sizes, penalties and numbers of steps with which each method comes close to the solution; the
/// remaining error is due to the penalty.
#[test]
fn methods_converge_to_the_answer() {
    let grow = |first: f64| Schedule::power(first, -0.5);
    let shrink = |first: f64| Schedule::power(first, 0.5);
    let penalty = || {
        let fall = |first| Schedule::geometric(first, 1.0 / 1.1);
        Penalty::new(
            rates(fall(0.05), fall(0.3)),
            PenaltySettings { steps: 10, gamma: 1.0, tolerance: 1.0 },
        )
        .unwrap()
    };
    let f2sa = F2sa::new(rates(shrink(0.5), shrink(0.5)), 10, 0.8, grow(2.0));
    let bome = Bome::new(rates(shrink(0.2), shrink(0.2)), 20, 0.8);
    let v_pbgd = VPbgd::new(rates(shrink(0.03), shrink(0.2)), 20, 0.8, grow(2.0));
    let g_pbgd = GPbgd::new(rates(shrink(0.1), shrink(0.2)), grow(1.0));
    let meha = Meha::new(rates(0.05, 0.2), 0.3, 2.0, grow(1.0));
    let gap = Gap::new(rates(0.05, 0.2), 0.3, (2.0, 1.0), grow(1.0));
    let constant =
        Penalty::new(rates(0.02, 0.1), PenaltySettings { steps: 10, gamma: 2.0, tolerance: 1.0 })
            .unwrap();
    let multipliers = constant.with_factors(1.001, 0.5).unwrap().with_multipliers();
    let table: Vec<Trial> = vec![
        ("f2sa", Box::new(f2sa.unwrap()), 1000, 5e-3),
        ("bome", Box::new(bome.unwrap()), 1000, 2e-2),
        ("v-pbgd", Box::new(v_pbgd.unwrap()), 1500, 5e-3),
        ("g-pbgd", Box::new(g_pbgd.unwrap()), 4000, 5e-3),
        ("meha", Box::new(meha.unwrap()), 5000, 2e-2),
        ("gap", Box::new(gap.unwrap()), 5000, 2e-2),
        ("penalty", Box::new(penalty()), 1500, 1e-1),
        ("penalty, multipliers", Box::new(multipliers), 1500, 1e-16),
    ];
    let mut late = Vec::new();
    for (name, method, steps, bar) in table {
        let begin = std::time::Instant::now();
        let slope = slope_after(method, steps);
        println!("{name}: squared hypergradient {slope:.1e} in {:?}", begin.elapsed());
        if slope.is_nan() || slope > bar {
            late.push((name, slope));
        }
    }
    assert!(late.is_empty(), "{late:?}");
    assert!(slope_after(Alternating::new(rates(0.1, 0.5)), 2000) > 1e-2, "the baseline fails");
}
