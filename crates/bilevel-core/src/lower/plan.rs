//! Memory plans: which states of a descent are kept, and how the others are recovered.

use std::collections::VecDeque;

use super::{Dynamics, State, Stepped, step, step_and_curvature};
use crate::error::at_least_one;
use crate::{Curvature, Error, LowerProblem};

/// What a reverse sweep over T steps keeps of the forward pass. A state that was not kept is recomputed by the same
/// steps from the last one before it that was kept: on the CPU every plan gives the same bits.
///
/// Every plan also keeps what the gradient of the last step computed, for the product with which the backward pass
/// begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// The state before every step: T of them, no step is repeated.
    Trajectory,
    /// The state before every step, and up to this many bytes of what the gradients of the last steps computed in the
    /// forward pass and the products of the backward pass would recompute; that of the last step in any case. 256 MiB is
    /// the default.
    Results(
        /// Bytes.
        usize,
    ),
    /// Every `ceil(sqrt(T))`-th state, and one such segment at a time: about `2 sqrt(T)` states, each step is repeated
    /// once.
    Sqrt,
    /// At most this many states, placed so that the fewest steps are repeated: with c of them and `T <= C(c + r, c)`,
    /// no step is made more than r + 1 times.
    ///
    /// Source: A. Griewank and A. Walther, "Algorithm 799: revolve", 2000.
    Binomial(
        /// c
        usize,
    ),
}

impl Default for Plan {
    fn default() -> Self {
        Self::Results(256 << 20)
    }
}

impl Plan {
    /// [`Plan::Binomial`] with this many states.
    ///
    /// # Errors
    /// If there are none.
    pub fn binomial(states: usize) -> Result<Self, Error> {
        Ok(Self::Binomial(at_least_one("states of the binomial plan", states)?))
    }

    /// [`Plan::Binomial`] with `log2(T)` states and one.
    pub fn logarithmic(steps: usize) -> Self {
        Self::Binomial(steps.max(2).ilog2() as usize + 1)
    }

    /// Such as `, plan sqrt`; nothing for the default.
    pub(crate) fn suffix(self) -> String {
        match self {
            default if default == Self::default() => String::new(),
            Self::Trajectory => ", plan trajectory".into(),
            Self::Results(bytes) => format!(", plan results({bytes} bytes)"),
            Self::Sqrt => ", plan sqrt".into(),
            Self::Binomial(states) => format!(", plan binomial({states})"),
        }
    }

    /// How many steps to make before the next state is kept, on the way to one that is `distance` ahead, with `kept`
    /// states already.
    fn stride(self, steps: usize, distance: usize, kept: usize) -> usize {
        match self {
            Self::Trajectory | Self::Results(_) => 1,
            Self::Sqrt => {
                let stretch = steps.isqrt() + usize::from(steps.isqrt().pow(2) < steps);
                if distance > stretch { stretch } else { 1 }
            }
            Self::Binomial(states) => {
                split(distance + 1, states.saturating_sub(kept)).min(distance)
            }
        }
    }
}

/// How far to go from a kept state before keeping the next one, to reverse `steps` steps with `free` more states.
fn split(steps: usize, free: usize) -> usize {
    if free == 0 || steps <= 1 {
        return steps;
    }
    // The smallest sufficient number of repetitions.
    let states = free + 1;
    let mut r = 1;
    while reach(states, r) < steps {
        r += 1;
    }
    // The steps after the next state have one state fewer, those before it one repetition fewer.
    let least = steps.saturating_sub(reach(free, r));
    least.max(reach(states, r.saturating_sub(2))).clamp(1, steps - 1)
}

/// `C(c + r, c)`: the steps that can be reversed with c states and r repetitions.
fn reach(c: usize, r: usize) -> usize {
    (1..=c.min(r)).fold(1_usize, |product, k| product.saturating_mul(c + r + 1 - k) / k)
}

/// The states of a descent, from the last to the first.
pub struct Tape<'a> {
    plan: Plan,
    problem: LowerProblem<'a>,
    dynamics: &'a dyn Dynamics,
    /// One more than the step before which the next state stands.
    next: usize,
    steps: usize,
    /// The step before which the forward pass ends.
    end: usize,
    kept: Vec<(usize, State)>,
    /// The Hessians at the last steps, by step: at one, or more by [`Plan::Results`].
    curvatures: VecDeque<(usize, Curvature<'a>)>,
    /// Their bytes.
    held: usize,
}

impl<'a> Tape<'a> {
    /// A tape that starts with `state` before step `from`, for a forward pass to before step `to`.
    pub(crate) fn new(
        plan: Plan,
        problem: LowerProblem<'a>,
        dynamics: &'a dyn Dynamics,
        from: (usize, State),
        to: usize,
    ) -> Self {
        Self {
            plan,
            problem,
            dynamics,
            next: from.0,
            steps: to - from.0,
            end: to,
            kept: vec![from],
            curvatures: VecDeque::new(),
            held: 0,
        }
    }

    /// Goes from the last kept state to before step `to`, keeping states on the way; `seen` gets every step.
    pub(crate) fn advance(&mut self, to: usize, mut seen: impl FnMut(&Stepped)) -> State {
        let (mut t, mut state) = self.kept.last().cloned().expect("a tape keeps its first state");
        while t < to {
            for _ in 0..self.plan.stride(self.steps, to - t, self.kept.len()) {
                let stepped = self.step(t, &state);
                t += 1;
                seen(&stepped);
                state = stepped.state;
            }
            if t < to {
                self.kept.push((t, state.clone()));
            }
        }
        self.next = to;
        state
    }

    fn step(&mut self, t: usize, state: &State) -> Stepped {
        let least = usize::from(t + 1 == self.end);
        let bytes = match self.plan {
            Plan::Results(bytes) => bytes,
            _ if least == 1 => 0,
            _ => return step(&self.problem, self.dynamics, t, state),
        };
        let (stepped, curvature) = step_and_curvature(&self.problem, self.dynamics, t, state);
        self.held += curvature.bytes();
        self.curvatures.push_back((t, curvature));
        while self.held > bytes
            && self.curvatures.len() > least
            && let Some((_, first)) = self.curvatures.pop_front()
        {
            self.held -= first.bytes();
        }
        stepped
    }

    /// [`Tape::pop`], with the Hessian at that step if it was kept.
    pub(crate) fn pop_with_curvature(&mut self) -> Option<(usize, State, Option<Curvature<'a>>)> {
        let (t, state) = self.pop()?;
        self.forget(t + 1);
        // They are those of the last steps without a gap: the last one is that of step t, if there is any.
        Some((t, state, self.last_curvature()))
    }

    /// Drops the Hessians of the steps from `t` on, which were taken back, or made again.
    fn forget(&mut self, t: usize) {
        while self.curvatures.back().is_some_and(|(at, _)| *at >= t) {
            self.last_curvature();
        }
    }

    fn last_curvature(&mut self) -> Option<Curvature<'a>> {
        let (_, last) = self.curvatures.pop_back()?;
        self.held -= last.bytes();
        Some(last)
    }

    /// The next state towards the start, and the step that was made from it.
    pub fn pop(&mut self) -> Option<(usize, State)> {
        while self.kept.last().is_some_and(|(t, _)| *t >= self.next) {
            self.kept.pop();
        }
        let target = self.next.checked_sub(1)?;
        let (last, _) = self.kept.last()?;
        if *last == target {
            self.next = target;
            return self.kept.pop();
        }
        let state = self.advance(target, |_| ());
        Some((target, state))
    }

    /// Takes the state before step `to` as the end of the forward pass, and returns it.
    pub(crate) fn shorten(&mut self, to: usize) -> State {
        self.kept.retain(|(t, _)| *t <= to);
        self.forget(to);
        self.advance(to, |_| ())
    }

    /// How many states are currently held.
    pub fn kept(&self) -> usize {
        self.kept.len()
    }
}

#[cfg(test)]
mod tests {
    use super::{reach, split};

    /// The greatest number of times that one of `steps` steps is made when they are reversed from a kept state with
    /// `free` more, including the forward pass.
    fn repetitions(steps: usize, free: usize) -> usize {
        if steps <= 1 || free == 0 {
            return steps;
        }
        let far = split(steps, free);
        (1 + repetitions(far, free)).max(repetitions(steps - far, free - 1))
    }

    #[test]
    fn the_binomial_split_needs_no_more_repetitions_than_the_theory_says() {
        for states in 1..7 {
            for r in 1..6 {
                let steps = reach(states, r);
                let found = repetitions(steps, states - 1);
                assert!(found <= r + 1, "{steps} steps, {states} states: {found} > {r} + 1");
            }
        }
        assert_eq!((reach(3, 2), reach(10, 0)), (10, 1));
    }
}
