//! Descents that look further ahead than y moves.

use bilevel_program::Vector;

use super::{Descent, Dynamics, State};
use crate::{Error, LowerProblem, Snapshot};

/// The T steps of a descent, of which y may keep only the first; the next call then goes on after those, with the
/// memory of the dynamics and the count of its steps.
#[derive(Clone, Debug)]
pub(crate) struct Lookahead {
    descent: Descent,
    /// The steps of a call that y keeps; none where it keeps all of them and each call starts afresh.
    kept: Option<usize>,
    reached: Option<Reached>,
    /// The y of the last call after the steps that are kept.
    y: Option<Vector>,
}

/// Where the next call goes on, besides y.
#[derive(Clone, Debug)]
struct Reached {
    /// The steps kept so far.
    steps: usize,
    memory: Vec<Vector>,
}

/// Catches the state after the steps that are kept, as the steps of a call go by.
pub(crate) struct Catch {
    /// The number of the first step of the call.
    first: usize,
    /// How many more steps are kept.
    left: usize,
    state: Option<State>,
}

impl Catch {
    /// Takes note of the state after a step.
    pub fn after_step(&mut self, state: &State) {
        if self.left == 1 {
            self.state = Some(state.clone());
        }
        self.left = self.left.saturating_sub(1);
    }
}

impl From<Descent> for Lookahead {
    fn from(descent: Descent) -> Self {
        Self { descent, kept: None, reached: None, y: None }
    }
}

impl Lookahead {
    /// With `steps` steps kept.
    ///
    /// # Errors
    /// If that is 0 or more than T.
    pub fn keeping(self, steps: usize) -> Result<Self, Error> {
        if (1..=self.descent.steps()).contains(&steps) {
            return Ok(Self { kept: Some(steps), ..self });
        }
        Err(Error::InvalidSetting {
            setting: "kept steps",
            found: format!("{steps} of {} lower steps", self.descent.steps()),
            expected: "at least 1 and at most all lower steps",
            cure: "keep fewer, or make more lower steps",
        })
    }

    /// The descent of a call.
    pub fn descent(&self) -> &Descent {
        &self.descent
    }

    /// Its name.
    pub fn describe(&self) -> String {
        let kept = self.kept.map_or(String::new(), |kept| format!(", the first {kept} kept"));
        self.descent.describe() + &kept
    }

    /// Whether a call goes on from the last one.
    pub fn goes_on(&self) -> bool {
        self.kept.is_some()
    }

    /// The dynamics, and the number of the last step of the next call.
    pub fn last_step(&self) -> (usize, &dyn Dynamics) {
        let (last, dynamics) = self.descent.last_step();
        let made = self.reached.as_ref().map_or(0, |reached| reached.steps);
        (made.saturating_add(last), dynamics)
    }

    /// Where a call from `y` begins: the number of its first step, and the state before it; and the catch for the state
    /// that is kept.
    ///
    /// # Errors
    /// As [`Descent::begin`].
    pub fn resume(
        &self,
        problem: &LowerProblem<'_>,
        y: &Vector,
    ) -> Result<((usize, State), Catch), Error> {
        let mut state = self.descent.begin(problem, y)?;
        let layouts = |memory: &[Vector]| -> Vec<_> {
            memory.iter().map(|vector| vector.layout().clone()).collect()
        };
        // The memory is none of this problem if it has other variables.
        let fits = |reached: &&Reached| layouts(&reached.memory) == layouts(&state.memory);
        let mut first = 0;
        if let Some(Reached { steps, memory }) = self.reached.as_ref().filter(fits) {
            (first, state.memory) = (*steps, memory.clone());
        }
        let catch = Catch { first, left: self.kept.unwrap_or(0), state: None };
        Ok(((first, state), catch))
    }

    /// Stores the state that was caught: there the next call goes on.
    pub fn store(&mut self, caught: Catch) {
        let (Some(State { y, memory }), Some(kept)) = (caught.state, self.kept) else { return };
        self.reached = Some(Reached { steps: caught.first + kept, memory });
        self.y = Some(y);
    }

    /// The y of the last call after the steps that are kept, if it keeps only some.
    pub fn kept(&self) -> Option<&Vector> {
        self.y.as_ref()
    }

    /// Writes what the next call needs besides y.
    pub fn save(&self, to: &mut Snapshot) {
        if let Some(Reached { steps, memory }) = &self.reached {
            to.put_count("made", *steps);
            to.put_vectors("memory", memory);
        }
    }

    /// Reads it back, for a lower variable like `y`.
    ///
    /// # Errors
    /// If it is not what such a descent needs.
    pub fn restore(&mut self, from: &mut Snapshot, y: &Vector) -> Result<(), Error> {
        (self.reached, self.y) = (None, None);
        if self.kept.is_some() && from.has("made") {
            let like = self.descent.dynamics().start(y).memory;
            let steps = from.take_count("made")?;
            self.reached = Some(Reached { steps, memory: from.take_vectors("memory", &like)? });
        }
        Ok(())
    }
}
