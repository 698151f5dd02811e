//! Joint methods with barriers and with constraints.

use super::*;

// ---- bvfim ----------------------------------------------------------------------------------------

#[test]
fn a_step_of_bvfim_is_its_formula() {
    // Small enough that no step is halved.
    let small = Schedule::power(0.01, 0.5);
    let problems = problems();
    let cases = problems.iter().flat_map(|at| [1.0, -1.0].map(|sign| (at, sign)));
    for ((problem, q, instance), sign) in cases {
        let (mut x, mut y) = (V::from(&X[..]), V::from(&Y[..]));
        for k in 0..3 {
            let m = 0.3 * 0.9_f64.powf(k as f64);
            let mut z = y.clone();
            for _ in 0..4 {
                z = &z - &(C.at(k) * &(&q.lower_y(&x, &z) + &(m * &z)));
            }
            let ceiling = q.lower(&x, &z) + m / 2.0 * z.dot(&z) + m;
            y.clone_from(&z);
            let slack = |y: &V| ceiling - q.lower(&x, y);
            for _ in 0..3 {
                let along = &(sign * &q.upper_y(&x, &y)) + &(m * &y);
                let along = &along + &((m / slack(&y)) * &q.lower_y(&x, &y));
                y = &y - &(small.at(k) * &along);
            }
            let gap = &q.lower_x(&x, &y) - &q.lower_x(&x, &z);
            let along_x = &q.upper_x(&x, &y) + &((sign * m / slack(&y)) * &gap);
            x = &x - &(STEP_X.at(k) * &along_x);
        }

        let relaxation = Relaxation::geometric(0.3, 0.9).unwrap();
        let method = Bvfim::new(
            rates(STEP_X, small),
            BvfimSettings { lower_steps: 4, lower_rate: C, steps: 3, relaxation },
        )
        .unwrap();
        let method = if sign < 0.0 { method.pessimistic() } else { method };
        let (found_x, found_y) = run(instance, method, Sampler::full(), 3);
        assert_near(&format!("{problem}, sign {sign}, x"), &found_x, &x, 1e-10);
        assert_near(&format!("{problem}, sign {sign}, y"), &found_y, &y, 1e-10);
    }
}

/// Steps of any length, halved as often as it takes, end where what they descend is stationary.
#[test]
fn the_barrier_problem_of_bvfim_is_solved_by_steps_of_any_length() {
    for (problem, q, instance) in problems() {
        for rate in [0.5, 4.0] {
            let (x, m) = (V::from(&X[..]), 0.3);
            let relaxation = Relaxation::geometric(m, 0.9).unwrap();
            let (lower_steps, lower_rate, steps) = (200, Schedule::Constant(rate), 1000);
            let settings = BvfimSettings { lower_steps, lower_rate, steps, relaxation };
            let method = Bvfim::new(rates(1e-9, rate), settings).unwrap();
            let (_, y) = run(&instance, method, Sampler::full(), 1);
            let mut z = V::from(&Y[..]);
            for _ in 0..2000 {
                z = &z - &(0.05 * &(&q.lower_y(&x, &z) + &(m * &z)));
            }
            let slack = q.lower(&x, &z) + m / 2.0 * z.dot(&z) + m - q.lower(&x, &y);
            let along = &(&q.upper_y(&x, &y) + &(m * &y)) + &(m / slack * &q.lower_y(&x, &y));
            assert!(along.norm() < 1e-4, "{problem}, rate {rate}: {:e}", along.norm());
        }
    }
}

/// The remaining error is due to the relaxation: the squared norm of the hypergradient decreases with it.
#[test]
fn bvfim_converges_to_the_answer() {
    let slope = |steps| {
        let relaxation = Relaxation::geometric(1.0, 0.95).unwrap();
        let method = Bvfim::new(
            rates(0.05, 0.2),
            BvfimSettings { lower_steps: 20, lower_rate: 0.8.into(), steps: 50, relaxation },
        )
        .unwrap();
        slope_after(method, steps)
    };
    let (early, late) = (slope(100), slope(150));
    println!("bvfim: squared hypergradient {early:.1e}, then {late:.1e}");
    assert!(early <= 1.0 && late <= 0.1, "{early:e} {late:e}");
}

// ---- constraints ----------------------------------------------------------------------------------

const FREE: [f64; 3] = [0.2, -0.5, 0.1];

/// x and y after many steps from an interior point.
fn constrained(method: impl JointMethod + 'static, instance: &Instance, steps: usize) -> (V, V) {
    run(instance, method, Sampler::full(), steps)
}

fn by_multipliers() -> Penalty {
    let settings = PenaltySettings { steps: 5, gamma: 2.0, tolerance: 1.0 };
    let method = Penalty::new(rates(0.05, 0.1), settings).unwrap();
    method.with_multipliers().with_factors(1.001, 0.5).unwrap()
}

#[test]
fn penalty_reaches_the_kkt_point_of_a_constraint() {
    let (upper, lower) = (Constrained::UPPER, Constrained::LOWER);
    for (problem, answer) in [
        (upper, Constrained::upper_answer()),
        (upper.equal(), Constrained::upper_answer()),
        (lower, Constrained::lower_answer()),
        (lower.equal(), Constrained::lower_answer()),
    ] {
        let instance = problem.at(&FREE, &FREE, &device()).unwrap();
        let (x, y) = constrained(by_multipliers(), &instance, 3000);
        assert_near(&format!("{problem:?}, x"), &x, &V::from(&answer.x[..]), 1e-8);
        assert_near(&format!("{problem:?}, y"), &y, &V::from(&answer.y[..]), 1e-8);
        assert!(Constrained::violation(&y.0) <= 1e-8, "{problem:?}");
    }
    // Where an inactive constraint is makes no difference.
    let far = |bound| {
        let problem = Constrained { bound, ..upper };
        constrained(by_multipliers(), &problem.at(&FREE, &FREE, &device()).unwrap(), 50)
    };
    assert_eq!(far(100.0), far(200.0));
}

/// One step with equality constraints and multipliers: `F~ = F + g/2 (h^2 + norm(f_y)^2)`, and once the
/// tolerance has been met, `+ nu'f_y + n h`.
#[test]
fn the_steps_of_a_constrained_penalty_are_its_formulas() {
    let (c, d, r, s) = (V(vec![2.0, -1.0, 1.0]), V(vec![1.5, 1.0, 2.0]), 0.5, 1.0);
    let e = V(vec![1.0; 3]);
    let (mut x, mut y) = (V::from(&FREE[..]), V::from(&FREE[..]));
    let (mut g, mut nu, mut n) = (0.8, 0.0 * &e, 0.0);
    for _ in 0..3 {
        let slope = &y - &x;
        let h = y.dot(&e) - s;
        // f_yy = I and f_xy = -I.
        let along = &(&(&y - &c) + &(g * &slope)) + &nu;
        let along = &along + &((g * h + n) * &e);
        y = &y - &(0.1 * &along);
        let slope = &y - &x;
        let along_x = &(r * &(&x - &d)) - &(&(g * &slope) + &nu);
        let h = y.dot(&e) - s;
        x = &x - &(0.05 * &along_x);
        // Any gradient is within the tolerance.
        nu = &nu + &(g * &slope);
        n += g * h;
        g *= 1.1;
    }
    let instance = Constrained::UPPER.equal().at(&FREE, &FREE, &device()).unwrap();
    let method =
        Penalty::new(rates(0.05, 0.1), PenaltySettings { steps: 1, gamma: 0.8, tolerance: 1e9 })
            .unwrap()
            .with_multipliers();
    let (found_x, found_y) = constrained(method, &instance, 3);
    assert_near("x", &found_x, &x, 1e-10);
    assert_near("y", &found_y, &y, 1e-10);
}

/// The same of an inequality `c = sum(y) - s` on the lower level, whose multiplier l moves with y:
/// `F~ = F + g/2 (norm(L_y)^2 + p^2)`, and then `+ nu'L_y + n p`.
#[test]
fn the_steps_of_penalty_with_a_lower_constraint_are_its_formulas() {
    // Tolerances that any gradient is within, that none is, and that those in x and y alone are within at first.
    for tolerance in [|_| 1e9, |_| 1e-9, |[xy, all]: [f64; 2]| (xy + all) / 2.0] {
        one_of_penalty(tolerance);
    }
}

/// The same with a tolerance that depends on the norms of the first gradients in x and y, and in l too.
fn one_of_penalty(first: fn([f64; 2]) -> f64) {
    let (c, d, r, s) = (V(vec![2.0, -1.0, 1.0]), V(vec![1.5, 1.0, 2.0]), 0.5, -0.6);
    let e = V(vec![1.0; 3]);
    let (mut x, mut y, mut l) = (V::from(&FREE[..]), V::from(&FREE[..]), 0.0_f64);
    let (mut g, mut nu, mut n) = (0.8, 0.0 * &e, 0.0);
    let before = Constrained { bound: s, ..Constrained::LOWER }.at(&FREE, &FREE, &device());
    let instance = before.unwrap();
    // The tolerance of the first step, and that of the next.
    let (mut begins, mut tolerance) = (f64::NAN, f64::NAN);
    for k in 0..3 {
        // g L_y + nu and g p + n, then the directions of x, y and l. L_yy = I and c_y = e.
        let weights = |x: &V, y: &V, l: f64| {
            let value = y.dot(&e) - s;
            let slope = &(y - x) + &(l * &e);
            (&(g * &slope) + &nu, g * (l.hypot(value) - l + value) + n)
        };
        let along = |x: &V, y: &V, l: f64| {
            let value = y.dot(&e) - s;
            let (w, q) = weights(x, y, l);
            let [in_l, in_c] = [l / l.hypot(value) - 1.0, value / l.hypot(value) + 1.0];
            let along_y = &(&(y - &c) + &w) + &(q * in_c * &e);
            (&(r * &(x - &d)) - &w, along_y, q * in_l + w.dot(&e))
        };
        let (_, along_y, along_l) = along(&x, &y, l);
        y = &y - &(0.1 * &along_y);
        l -= 0.1 * along_l;
        let (next_nu, next_n) = weights(&x, &y, l);
        let (along_x, along_y, along_l) = along(&x, &y, l);
        let of_both = along_x.norm().hypot(along_y.norm());
        if k == 0 {
            begins = first([of_both, of_both.hypot(along_l)]);
            tolerance = begins;
        }
        x = &x - &(0.05 * &along_x);
        if of_both.hypot(along_l) <= tolerance {
            (nu, n, g, tolerance) = (next_nu, next_n, 1.1 * g, 0.9 * tolerance);
        }
    }
    let settings = PenaltySettings { steps: 1, gamma: 0.8, tolerance: begins };
    let method = Penalty::new(rates(0.05, 0.1), settings).unwrap().with_multipliers();
    let (found_x, found_y) = constrained(method, &instance, 3);
    assert_near("x", &found_x, &x, 1e-10);
    assert_near("y", &found_y, &y, 1e-10);
    let cost = instance.oracle.cost();
    let calls = [cost.lower_gradients, cost.lower_products, cost.constraint_gradients];
    assert_eq!((calls, cost.constraint_products, cost.constraint_values), ([6; 3], 6, 0));
}

fn bvfim(rate: f64, ratio: f64) -> Bvfim {
    let relaxation = Relaxation::geometric(1.0, ratio).unwrap();
    let settings = BvfimSettings { lower_steps: 20, lower_rate: 0.8.into(), steps: 25, relaxation };
    Bvfim::new(rates(rate, 0.2), settings).unwrap()
}

/// From inside and from outside of the constraint.
#[test]
fn bvfim_nears_the_kkt_point_of_an_upper_constraint_from_any_start() {
    let answer = Constrained::upper_answer();
    for start in [FREE, [2.0; 3]] {
        let instance = Constrained::UPPER.at(&start, &start, &device()).unwrap();
        let (x, y) = constrained(bvfim(0.02, 0.97), &instance, 200);
        assert!(Constrained::violation(&y.0) < 0.0, "{start:?}: {y:?}");
        assert_near("x", &x, &V::from(&answer.x[..]), 0.1);
        assert_near("y", &y, &V::from(&answer.y[..]), 0.1);
    }
}

/// With both problems solved and steps of x that do not climb, ten times as near, on either level.
#[test]
fn bvfim_by_a_minimiser_reaches_the_kkt_point_of_a_constraint() {
    for (problem, answer, start) in [
        (Constrained::UPPER, Constrained::upper_answer(), FREE),
        (Constrained::LOWER, Constrained::lower_answer(), [2.0; 3]),
    ] {
        let instance = problem.at(&start, &start, &device()).unwrap();
        let method = bvfim(0.03, 0.97).solved_by(Lbfgs::new(200, 1e-9).unwrap());
        let (x, y) = constrained(method, &instance, 400);
        assert_near(&format!("{problem:?}, x"), &x, &V::from(&answer.x[..]), 0.01);
        assert_near(&format!("{problem:?}, y"), &y, &V::from(&answer.y[..]), 0.01);
    }
}

/// By hand: the worst lower solution is y2 = pi / 2, where F is `(x - 2)^2 / 2 + x`.
#[test]
fn bvfim_by_a_minimiser_nears_the_pessimistic_solution() {
    let text =
        "F = '(x1 - 2)^2 / 2 + x1 * sin(y2)'\nf = '(y1 - x1)^2 / 2'\nx = [1.5]\ny = [0, 0.2]";
    let problem: Formulas = text.parse().unwrap();
    let [x, y] = [&[1.5][..], &[0.0, 0.2]].map(|v| Values::new(v, &device()));
    let instance = Instance::new(problem, &x, &y, ()).unwrap();
    let method = bvfim(0.1, 0.95).pessimistic().solved_by(Lbfgs::new(200, 1e-9).unwrap());
    let (x, y) = run(&instance, method, Sampler::full(), 150);
    assert_near("x", &x, &V::from(&[1.0][..]), 0.02);
    assert!((y.0[1] - std::f64::consts::FRAC_PI_2).abs() < 0.05, "{y:?}");
}

#[test]
fn bvfim_by_a_minimiser_refuses_a_set_of_y() {
    let instance = Constrained::LOWER.at(&FREE, &FREE, &device()).unwrap();
    let method = bvfim(0.03, 0.97).solved_by(Lbfgs::new(200, 1e-9).unwrap());
    let (x, y) = (instance.x.clone(), instance.y.clone());
    let solver = JointSolver::new(&instance.oracle, method, x, y).unwrap();
    let mut solver = solver.with_lower_projection(Bounds::new(-1.0, 1.0).unwrap());
    let error = solver.step(0).unwrap_err();
    assert!(matches!(error, Error::InvalidSetting { setting: "lower projection", .. }), "{error}");
}

#[test]
fn bvfim_says_where_there_is_no_interior() {
    let instance = Constrained::LOWER.at(&[2.0; 3], &[2.0; 3], &device()).unwrap();
    // Less room than the rounding of f.
    let nothing = Schedule::Constant(1e-300);
    let relaxation =
        Relaxation { lower: nothing, room: nothing, ..Relaxation::geometric(1e-3, 0.9).unwrap() };
    let settings = BvfimSettings { lower_steps: 10, lower_rate: 0.5.into(), steps: 5, relaxation };
    let method = Bvfim::new(rates(0.05, 0.2), settings).unwrap();
    let (x, y) = (instance.x.clone(), instance.y.clone());
    let mut solver = JointSolver::new(&instance.oracle, method, x, y).unwrap();
    assert_eq!(solver.step(0), Err(Error::NoInterior { step: 1 }));
}

#[test]
fn gap_takes_a_lower_constraint() {
    let answer = Constrained::lower_answer();
    let instance = Constrained::LOWER.at(&FREE, &FREE, &device()).unwrap();
    let weight = Schedule::power(1.0, -0.5);
    let method = Gap::new(rates(0.1, 0.2), 0.3, (2.0, 1.0), weight).unwrap();
    let (x, y) = constrained(method.with_bound(100.0).unwrap(), &instance, 4000);
    assert_near("x", &x, &V::from(&answer.x[..]), 0.05);
    assert_near("y", &y, &V::from(&answer.y[..]), 0.05);
}

/// y is the projection of x onto a line or a half plane, and the nearest point to (2, 0) is (1.5, -0.5). The multiplier is 1,
/// and that of the equality -1.
#[test]
fn lower_constraints_of_the_problem_are_kept() {
    let weight = || Schedule::power(1.0, -0.5);
    let gap = || Gap::new(rates(0.1, 0.2), 0.3, (2.0, 1.0), weight()).unwrap();
    for (constraint, sum, expected) in [("g", "- 3", [2.5, 0.5]), ("h", "+ 1", [0.5, -1.5])] {
        let text = format!(
            "F = '(y1 - 2)^2 + y2^2 + (x1 + x2 {sum})^2 / 2'\nf = '(y1 - x1)^2 / 2 + (y2 - x2)^2 / 2'\n\
             {constraint} = ['y1 + y2 - 1']\nx = [0, 0]\ny = [0, 0]"
        );
        let methods: [(Box<dyn JointMethod>, f64, usize, f64); 4] = [
            (Box::new(by_multipliers()), 0.0, 3000, 1e-8),
            (Box::new(gap()), 0.0, 3000, 0.05),
            (Box::new(bvfim(0.03, 0.98)), 0.0, 250, 0.05),
            // From outside.
            (Box::new(bvfim(0.03, 0.98)), 3.0, 250, 0.05),
        ];
        for (method, start, steps, tolerance) in methods {
            let name = format!("{}, {constraint}", method.name());
            let problem: Formulas = text.parse().unwrap();
            let [x, y] = [0.0, start].map(|v| Values::new(&[v; 2], &device()));
            let instance = Instance::new(problem, &x, &y, ()).unwrap();
            let (x, y) = run(&instance, method, Sampler::full(), steps);
            assert_near(&format!("{name}, x"), &x, &V::from(&expected[..]), tolerance);
            assert_near(&format!("{name}, y"), &y, &V::from(&[1.5, -0.5][..]), tolerance);
        }
    }
}

#[test]
fn steps_of_gap_with_a_constraint_are_its_formulas() {
    // A constraint that does not hold at the start, one that holds on the way, and one that holds by far.
    for (s, bound) in [(-0.6, 0.05), (-0.6, 1e-3), (0.1, 0.05), (3.0, 0.05)] {
        one_of_gap(s, bound);
    }
}

/// The same with the constraint `sum(y) <= s` and multipliers of at most `bound`.
fn one_of_gap(s: f64, bound: f64) {
    let (c, d, r) = (V(vec![2.0, -1.0, 1.0]), V(vec![1.5, 1.0, 2.0]), 0.5);
    let e = V(vec![1.0; 3]);
    let (g1, g2, share) = (2.0, 1.5, 0.8);
    let (mut x, mut y) = (V::from(&FREE[..]), V::from(&FREE[..]));
    let (mut z, mut n) = (y.clone(), 0.0_f64);
    for _ in 0..3 {
        let along_z = &(&(&z - &x) + &((1.0 / g1) * &(&z - &y))) + &(n * &e);
        z = &z - &(0.3 * &along_z);
        let l = (n + g2 * (y.dot(&e) - s)).max(0.0);
        let along_x = &(share * &(r * &(&x - &d))) - &(&(&y - &x) - &(&z - &x));
        let along_y = &(share * &(&y - &c)) + &(&y - &x);
        let along_y = &(&along_y + &(l * &e)) - &((1.0 / g1) * &(&y - &z));
        n = (n - 0.2 * ((l - n) / g2 - (z.dot(&e) - s))).clamp(0.0, bound);
        x = &x - &(0.1 * &along_x);
        y = &y - &(0.2 * &along_y);
    }
    let problem = Constrained { bound: s, ..Constrained::LOWER };
    let instance = problem.at(&FREE, &FREE, &device()).unwrap();
    let method = Gap::new(rates(0.1, 0.2), 0.3, (g1, g2), 1.0 / share).unwrap();
    let (found_x, found_y) = constrained(method.with_bound(bound).unwrap(), &instance, 3);
    assert_near("x", &found_x, &x, 1e-10);
    assert_near("y", &found_y, &y, 1e-10);
    let cost = instance.oracle.cost();
    assert_eq!([cost.constraint_gradients, cost.constraint_values], [9, 3]);
}
