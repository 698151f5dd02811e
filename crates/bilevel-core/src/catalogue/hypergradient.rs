//! The methods of the folder `hypergradient`, with the linear solvers of `linear`.

use super::{Calls, Entry, Exact, Family, Made, Needs, Settings, along};
use crate::constrained::AugmentedLagrangian;
use crate::{
    Aggregated, ApproxGrad, Armijo, Barrier, BiCgStab, Cg, Dense, Descent, Error, Fad, FirstOrder,
    Fista, FixedPoint, Fomaml, Gd, Gmres, Iaptt, Identity, Iga, Imaml, Implicit, Kkt, Lbfgs,
    LinearSolver, LowerSolve, Maml, Minres, Nesterov, Neumann, Newton, NormalCg, Nystrom,
    Objective, OneStage, OneStageFd, OnlineFad, Reptile, ReversibleMomentum, ReversibleRad,
    Schedule, Unrolled, Weight,
};

/// A residual that no number of iterations here reaches: all of them are made.
const EXACT: f64 = 1e-12;

const fn calls(
    lower_gradients: &'static str,
    lower_products: &'static str,
    upper_gradients: &'static str,
) -> Calls {
    Calls { lower_gradients, lower_products, upper_gradients, constraints: "" }
}

/// What most entries have in common.
const UNROLLED: Entry = Entry {
    name: "",
    aliases: &[],
    family: Family::Hypergradient,
    summary: "",
    exact: Exact::LowerSteps,
    calls: calls("T", "T", "1"),
    memory: "the states and linearisations of a plan, one replay",
    needs: Needs::Nothing,
    constraints: &[],
    reads: &["lower-steps", "step-size"],
    make: |_, _| unreachable!("every entry has a constructor"),
};

const IMPLICIT: Entry = Entry {
    exact: Exact::SolvedLowerLevel,
    calls: calls("T + 1", "k + 1", "1"),
    memory: "a few vectors, one linearisation",
    reads: &["lower-steps", "step-size", "solver-iterations", "tolerance", "warm-start"],
    ..UNROLLED
};

/// T is the number of steps that it took to reach the tolerance.
const SOLVED: Entry = Entry {
    calls: calls("about T + 2", "k + 1", "1"),
    reads: &["lower-steps", "solver-iterations", "tolerance", "warm-start"],
    ..IMPLICIT
};

pub(super) const METHODS: &[Entry] = &[
    Entry {
        name: "rad",
        aliases: &["rhg", "reverse"],
        summary: "back through all lower steps (reverse mode, RHG)",
        reads: &["lower-steps", "step-size", "stored-states", "dynamics", "kept-steps", "momentum"],
        make: |s, _| unrolled(s, Unrolled::rad(s.chosen_descent()?).with_plan(s.plan())),
        ..UNROLLED
    },
    Entry {
        name: "trad",
        aliases: &["t-rhg"],
        summary: "back through the last M lower steps (truncated, T-RHG)",
        exact: Exact::Other("M = T; error `(1 - s mu)^M`"),
        calls: calls("T", "M", "1"),
        memory: "M states, one replay",
        reads: &["lower-steps", "step-size", "truncated", "dynamics", "kept-steps", "momentum"],
        make: |s, _| {
            unrolled(s, Unrolled::trad(s.chosen_descent()?, s.truncated.min(s.lower_steps))?)
        },
        ..UNROLLED
    },
    Entry {
        name: "bda",
        summary: "back through lower steps that descend both losses",
        exact: Exact::Other("T aggregated steps"),
        calls: calls("T", "T", "T + 1, and T products of F"),
        reads: &["lower-steps", "step-size", "aggregation"],
        make: |s, _| along(Unrolled::rad(s.aggregated()?)),
        ..UNROLLED
    },
    Entry {
        name: "pbda",
        summary: "back through lower steps that descend f and ascend F: the worst of many solutions",
        exact: Exact::Other("T pessimistic steps"),
        calls: calls("T", "T", "T + 1, and T products of F"),
        reads: &["lower-steps", "step-size", "aggregation"],
        make: |s, _| {
            let weight = Weight::Decaying(s.aggregation);
            let steps = Aggregated::pessimistic(s.step_size, s.step_size, weight)?;
            along(Unrolled::rad(Descent::new(steps, s.lower_steps)?))
        },
        ..UNROLLED
    },
    Entry {
        name: "ia-gm",
        summary: "`rad`, and the start of the lower steps is learned too",
        make: |s, _| along(Unrolled::ia_gm(s.descent()?)),
        ..UNROLLED
    },
    Entry {
        name: "ia-gm-a",
        summary: "`ia-gm` through Nesterov's steps",
        exact: Exact::Other("T Nesterov steps, in the start too"),
        make: |s, _| {
            along(Unrolled::ia_gm(Descent::new(Nesterov::new(s.step_size)?, s.lower_steps)?))
        },
        ..UNROLLED
    },
    Entry {
        name: "iaptt",
        summary: "`ia-gm` through the first m lower steps, to where F is greatest",
        exact: Exact::Other("the steps to `argmax_k F(x, y_k)`, in the start too"),
        calls: calls("T", "m", "1, and T values"),
        make: |s, _| along(Iaptt::new(s.descent()?)),
        ..UNROLLED
    },
    Entry {
        name: "fad",
        aliases: &["forward"],
        summary: "forward through all lower steps (forward mode)",
        calls: calls("b T", "n T", "1"),
        memory: "`ceil(n / b)` states of b blocks, one linearisation",
        make: |s, _| along(Fad::new(s.descent()?)),
        ..UNROLLED
    },
    Entry {
        name: "rtho",
        summary: "`fad` on one descent that never restarts (real-time)",
        exact: Exact::Other("all steps so far, if x does not move"),
        calls: calls("T", "n T", "1"),
        memory: "n states, one linearisation",
        make: |s, _| along(OnlineFad::new(s.descent()?)),
        ..UNROLLED
    },
    Entry {
        name: "reversible-rad",
        exact: Exact::Other("T momentum steps"),
        summary: "`rad` through momentum steps that are reversed on the way back",
        calls: calls("2 T", "T", "1"),
        memory: "a few vectors and bits, one replay",
        reads: &["lower-steps", "step-size", "momentum"],
        make: |s, _| {
            let steps = ReversibleMomentum::new(s.step_size, s.momentum)?;
            along(ReversibleRad::new(steps, s.lower_steps)?)
        },
        ..UNROLLED
    },
    Entry {
        name: "one-stage",
        aliases: &["darts"],
        summary: "back through one lower step",
        exact: Exact::Other("T = 1"),
        calls: calls("1", "1", "1"),
        memory: "one state, one replay",
        reads: &["step-size"],
        make: |s, _| along(OneStage::new(Gd::new(s.step_size)?)),
        ..UNROLLED
    },
    Entry {
        name: "one-stage-fd",
        summary: "`one-stage` by a difference of two gradients",
        exact: Exact::Other("T = 1 up to `O(r^2)`"),
        calls: calls("3", "0", "1"),
        memory: "one state, one replay of a gradient",
        reads: &["step-size"],
        make: |s, _| along(OneStageFd::new(Gd::new(s.step_size)?)),
        ..UNROLLED
    },
    Entry {
        name: "first-order",
        summary: "the direct part F_x alone, after T lower steps",
        exact: Exact::Other("`F_y = 0`"),
        calls: calls("T", "0", "1"),
        memory: "one state, one replay of a gradient",
        reads: &["lower-steps", "step-size", "dynamics", "kept-steps", "momentum"],
        make: |s, _| {
            let method = FirstOrder::new(s.chosen_descent()?);
            along(if s.kept_steps == 0 { method } else { method.keeping(s.kept_steps)? })
        },
        ..UNROLLED
    },
    Entry {
        name: "maml",
        summary: "`rad` in x as the start of the lower steps",
        exact: Exact::Other("T lower steps from x"),
        needs: Needs::StartInX,
        make: |s, _| along(Maml::new(s.descent()?)),
        ..UNROLLED
    },
    Entry {
        name: "fomaml",
        summary: "`maml` without second derivatives",
        exact: Exact::Other("`s -> 0`"),
        calls: calls("T", "0", "1"),
        memory: "one state, one replay of a gradient",
        needs: Needs::StartInX,
        make: |s, _| along(Fomaml::new(s.descent()?)),
        ..UNROLLED
    },
    Entry {
        name: "reptile",
        summary: "x follows the lower steps from it",
        exact: Exact::Other("no loss: `(x - y_T) / a`"),
        calls: calls("T", "0", "0; 1 value"),
        memory: "one state, one replay of a gradient",
        needs: Needs::StartInX,
        reads: &["lower-steps", "step-size", "proximity"],
        make: |s, _| along(Reptile::new(s.descent()?, s.proximity)?),
        ..UNROLLED
    },
    Entry {
        name: "cg",
        aliases: &["ls", "hoag"],
        summary: "implicit function theorem, by conjugate gradients (LS)",
        reads: &[
            "lower-steps",
            "step-size",
            "solver-iterations",
            "tolerance",
            "damping",
            "warm-start",
        ],
        make: |s, _| {
            implicit(s, Cg::new(s.solver_iterations, s.tolerance)?.with_damping(s.damping)?)
        },
        ..IMPLICIT
    },
    Entry {
        name: "newton",
        summary: "`cg` after Newton steps in a trust region, to a tolerance",
        make: |s, _| solved(s, Newton::new(s.lower_steps, s.tolerance)?),
        calls: calls("T + 2", "k T + k + 1", "1"),
        ..SOLVED
    },
    Entry {
        name: "lbfgs",
        summary: "`cg` after quasi-Newton steps, to a tolerance",
        memory: "20 vectors, one linearisation",
        make: |s, _| solved(s, Lbfgs::new(s.lower_steps, s.tolerance)?),
        ..SOLVED
    },
    Entry {
        name: "armijo",
        summary: "`cg` after gradient steps with backtracking, to a tolerance",
        calls: calls("T + 2, and about T values", "k + 1", "1"),
        make: |s, _| solved(s, Armijo::new(s.lower_steps, s.tolerance)?),
        ..SOLVED
    },
    Entry {
        name: "fista",
        summary: "`cg` after Nesterov's steps with backtracking and restarts, to a tolerance",
        calls: calls("about T + 2, and T values", "k + 1", "1"),
        make: |s, _| solved(s, Fista::new(s.lower_steps, s.tolerance)?),
        ..SOLVED
    },
    Entry {
        name: "normal-cg",
        summary: "implicit, by conjugate gradients on the normal equations",
        calls: calls("T + 1", "2 k + 1", "1"),
        make: |s, _| implicit(s, NormalCg::new(s.solver_iterations, s.tolerance)?),
        ..IMPLICIT
    },
    Entry {
        name: "gmres",
        summary: "implicit, by GMRES",
        calls: calls("T + 1", "k + r + 1, r restarts", "1"),
        memory: "a vector per iteration between restarts, one linearisation",
        make: |s, _| implicit(s, Gmres::new(s.solver_iterations, s.tolerance)?),
        ..IMPLICIT
    },
    Entry {
        name: "minres",
        summary: "implicit, by minimal residuals, for indefinite Hessians too",
        reads: &[
            "lower-steps",
            "step-size",
            "solver-iterations",
            "tolerance",
            "damping",
            "warm-start",
        ],
        make: |s, _| {
            implicit(s, Minres::new(s.solver_iterations, s.tolerance)?.with_damping(s.damping)?)
        },
        ..IMPLICIT
    },
    Entry {
        name: "bicgstab",
        summary: "implicit, by BiCGSTAB",
        calls: calls("T + 1", "2 k + 1", "1"),
        make: |s, _| implicit(s, BiCgStab::new(s.solver_iterations, s.tolerance)?),
        ..IMPLICIT
    },
    Entry {
        name: "neumann",
        aliases: &["ns"],
        summary: "implicit, by a Neumann series (NS)",
        reads: &["lower-steps", "step-size", "solver-iterations", "warm-start"],
        make: |s, _| implicit(s, Neumann::new(s.step_size, s.solver_iterations, EXACT)?),
        ..IMPLICIT
    },
    Entry {
        name: "approx-grad",
        summary: "implicit, by gradient descent on the normal equations",
        calls: calls("T + 1", "2 k + 1", "1"),
        reads: &["lower-steps", "step-size", "solver-iterations", "warm-start"],
        make: |s, _| implicit(s, ApproxGrad::gd(s.step_size / 2.0, s.solver_iterations, EXACT)?),
        ..IMPLICIT
    },
    Entry {
        name: "nystrom",
        summary: "implicit, with a low-rank Hessian from k of its columns",
        exact: Exact::Other("approximate"),
        calls: calls("T + 1", "k + 2", "1"),
        memory: "k vectors, one linearisation",
        reads: &["lower-steps", "step-size", "solver-iterations", "damping"],
        make: |s, at| {
            // Without damping its core is singular.
            let damping = if s.damping > 0.0 { s.damping } else { 0.01 };
            let columns = s.solver_iterations.min(at.y.layout().size());
            implicit(s, Nystrom::new(columns, damping, at.seed)?)
        },
        ..IMPLICIT
    },
    Entry {
        name: "dense",
        summary: "implicit, with the Hessian written out",
        calls: calls("T + 1", "m + 1", "1"),
        memory: "a matrix, one linearisation",
        reads: &["lower-steps", "step-size"],
        make: |s, _| implicit(s, Dense::new()),
        ..IMPLICIT
    },
    Entry {
        name: "identity",
        summary: "implicit, with I for the Hessian",
        exact: Exact::Other("approximate"),
        calls: calls("T + 1", "1", "1"),
        memory: "one linearisation",
        reads: &["lower-steps", "step-size"],
        make: |s, _| implicit(s, Identity),
        ..IMPLICIT
    },
    Entry {
        name: "fixed-point",
        summary: "back through the last lower step, repeatedly",
        memory: "a few states, one linearisation",
        reads: &["lower-steps", "step-size", "solver-iterations"],
        make: |s, _| along(FixedPoint::new(s.descent()?, s.solver_iterations, EXACT)?),
        ..IMPLICIT
    },
    Entry {
        name: "kkt",
        summary: "implicit, through the KKT conditions of the constrained lower problem",
        calls: Calls {
            constraints: "of values 3 T, of gradients and products as of f",
            ..calls("T + 2", "(k + m) T + m + 1", "1")
        },
        constraints: &[Objective::Lower],
        memory: "a matrix, or a few vectors where y is large, one linearisation",
        reads: &["lower-steps", "tolerance"],
        make: |s, at| {
            let lower = AugmentedLagrangian::new(s.lower_steps, s.tolerance)?;
            along(Kkt::new(lower.for_size(at.y.layout().size())?))
        },
        ..IMPLICIT
    },
    Entry {
        name: "barrier",
        summary: "implicit, with a barrier for constraints whose weight decreases from call to call",
        calls: Calls {
            constraints: "a gradient and a value with each of f, a gradient and a product with each product",
            ..calls("T + 2", "k T + k + 1", "1")
        },
        constraints: &[Objective::Lower],
        make: |s, _| {
            let newton = Newton::new(s.lower_steps, s.tolerance)?;
            let cg = Cg::new(s.solver_iterations, s.tolerance)?;
            let implicit = Implicit::new(newton, cg);
            along(Barrier::new(Schedule::geometric(1.0, 0.8), s.tolerance, implicit)?)
        },
        reads: &["lower-steps", "solver-iterations", "tolerance"],
        ..IMPLICIT
    },
    Entry {
        name: "iga",
        summary: "implicit, with a rank-one Gauss-Newton Hessian",
        exact: Exact::Other("approximate"),
        calls: calls("T + 1", "0", "1"),
        memory: "one replay of a gradient",
        reads: &["lower-steps", "step-size"],
        make: |s, _| along(Iga::new(s.descent()?)),
        ..IMPLICIT
    },
    Entry {
        name: "imaml",
        summary: "implicit, with `mu/2 norm(y - x)^2` added to f",
        exact: Exact::Other("a solved lower level, with the proximity term"),
        needs: Needs::StartInX,
        reads: &["lower-steps", "step-size", "solver-iterations", "tolerance", "proximity"],
        make: |s, _| {
            let cg = Cg::new(s.solver_iterations, s.tolerance)?;
            along(Imaml::new(Implicit::new(s.descent()?, cg), s.proximity)?)
        },
        ..IMPLICIT
    },
];

fn unrolled(settings: &Settings, method: Unrolled) -> Result<Made, Error> {
    let kept = settings.kept_steps;
    along(if kept == 0 { method } else { method.keeping(kept)? })
}

fn solved(settings: &Settings, minimiser: impl Into<LowerSolve>) -> Result<Made, Error> {
    let cg = Cg::new(settings.solver_iterations, settings.tolerance)?;
    made(settings, Implicit::new(minimiser, cg))
}

fn implicit(settings: &Settings, solver: impl LinearSolver + 'static) -> Result<Made, Error> {
    made(settings, Implicit::new(settings.descent()?, solver))
}

fn made(settings: &Settings, implicit: Implicit) -> Result<Made, Error> {
    along(if settings.warm_start { implicit.with_warm_start() } else { implicit })
}
