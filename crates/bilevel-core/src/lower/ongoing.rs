//! Descents that look further ahead than y moves.

use bilevel_program::Vector;

use super::{Descent, State};
use crate::{Error, LowerProblem, Snapshot};

/// The T steps of a descent, of which y may keep only the first; the next call then goes on after those, with the memory
/// of the dynamics and the count of its steps.
#[derive(Clone, Debug)]
pub(crate) struct Ongoing {
    descent: Descent,
    /// The steps that are kept; none where each call keeps all of them and starts over.
    kept: Option<usize>,
    carried: Option<Carried>,
}

/// What one call passes to the next, besides y.
#[derive(Clone, Debug)]
struct Carried {
    /// The steps kept so far.
    made: usize,
    memory: Vec<Vector>,
}

/// The state after the steps that are kept, caught as the steps go by.
pub(crate) struct Kept {
    /// The number of the first step of this call.
    from: usize,
    /// How many more steps are kept.
    left: usize,
    state: Option<State>,
}

impl Kept {
    /// Sees the state after a step.
    pub fn see(&mut self, state: &State) {
        if self.left == 1 {
            self.state = Some(state.clone());
        }
        self.left = self.left.saturating_sub(1);
    }
}

impl From<Descent> for Ongoing {
    fn from(descent: Descent) -> Self {
        Self { descent, kept: None, carried: None }
    }
}

impl Ongoing {
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

    /// Where the steps of a call from `start` begin: the number of the first, and the state before it; and what is to
    /// see the states after them.
    ///
    /// # Errors
    /// As [`Descent::begin`].
    pub fn begin(
        &self,
        problem: &LowerProblem<'_>,
        start: &Vector,
    ) -> Result<((usize, State), Kept), Error> {
        let mut state = self.descent.begin(problem, start)?;
        let layouts = |memory: &[Vector]| -> Vec<_> {
            memory.iter().map(|vector| vector.layout().clone()).collect()
        };
        // The memory is none of this problem if it has other variables.
        let fits = |carried: &&Carried| layouts(&carried.memory) == layouts(&state.memory);
        let mut from = 0;
        if let Some(Carried { made, memory }) = self.carried.as_ref().filter(fits) {
            (from, state.memory) = (*made, memory.clone());
        }
        let kept = Kept { from, left: self.kept.unwrap_or(0), state: None };
        Ok(((from, state), kept))
    }

    /// Takes what the next call needs, and returns the y that is kept, unless it is the last one.
    pub fn carry(&mut self, kept: Kept) -> Option<Vector> {
        let state = kept.state?;
        let made = kept.from + self.kept?;
        self.carried = Some(Carried { made, memory: state.memory });
        Some(state.y)
    }

    /// Writes what the next call needs.
    pub fn save(&self, to: &mut Snapshot) {
        if let Some(Carried { made, memory }) = &self.carried {
            to.put_count("made", *made);
            to.put_vectors("memory", memory);
        }
    }

    /// Reads it back, for a lower variable like `y`.
    ///
    /// # Errors
    /// If it is not what such a descent needs.
    pub fn restore(&mut self, from: &mut Snapshot, y: &Vector) -> Result<(), Error> {
        self.carried = None;
        if self.kept.is_some() && from.has("made") {
            let like = self.descent.dynamics().start(y).memory;
            let made = from.take_count("made")?;
            self.carried = Some(Carried { made, memory: from.take_vectors("memory", &like)? });
        }
        Ok(())
    }
}
