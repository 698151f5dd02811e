//! Results of an evaluation that later ones at the same point take instead of computing them again.
//!
//! A second-order product begins with the computations that a gradient at its point began with. Whoever evaluates
//! both opens a [`Scope`], and evaluates losses by [`keeping`] where a result may serve again, by [`taking`] where
//! it may have served before. Which results are worth their memory, and what makes two of them the same, a backend
//! decides by [`keep`] and [`find`]; one that calls neither is not affected. All of it is a matter of one thread.

use std::any::Any;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::marker::PhantomData;

thread_local! {
    static KEPT: RefCell<Kept> = const { RefCell::new(Kept::nothing()) };
}

struct Kept {
    budget: usize,
    bytes: usize,
    phase: Phase,
    /// The oldest first, each with its bytes.
    results: VecDeque<(usize, Box<dyn Any>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Outside,
    Keeping,
    Taking,
}

impl Kept {
    const fn nothing() -> Self {
        Self { budget: 0, bytes: 0, phase: Phase::Outside, results: VecDeque::new() }
    }
}

/// As long as it lives, results are kept; then they are dropped. A scope within another hides it.
#[must_use = "what is kept goes with the scope"]
pub struct Scope {
    outer: Option<Kept>,
    /// Of the thread that opened it.
    thread: PhantomData<*const ()>,
}

impl Scope {
    /// A scope that keeps results of so many bytes at most, the youngest ones.
    pub fn new(bytes: usize) -> Self {
        let kept = Kept { budget: bytes, ..Kept::nothing() };
        Self { outer: Some(KEPT.replace(kept)), thread: PhantomData }
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        if let Some(outer) = self.outer.take() {
            // Not dropped while the cell is borrowed: results are of other crates.
            drop(KEPT.replace(outer));
        }
    }
}

/// Evaluates something whose results may serve again, or have served before.
pub fn keeping<R>(evaluate: impl FnOnce() -> R) -> R {
    within(Phase::Keeping, evaluate)
}

/// Evaluates something whose results may have served before.
pub fn taking<R>(evaluate: impl FnOnce() -> R) -> R {
    within(Phase::Taking, evaluate)
}

fn within<R>(phase: Phase, evaluate: impl FnOnce() -> R) -> R {
    struct Back(Phase);
    impl Drop for Back {
        fn drop(&mut self) {
            KEPT.with_borrow_mut(|kept| kept.phase = self.0);
        }
    }
    let before = KEPT.with_borrow_mut(|kept| std::mem::replace(&mut kept.phase, phase));
    let _back = Back(before);
    evaluate()
}

/// What `found` makes of the first kept result of type `T` that it recognises.
pub fn find<T: 'static, R>(found: impl Fn(&T) -> Option<R>) -> Option<R> {
    KEPT.with_borrow(|kept| {
        if kept.phase == Phase::Outside {
            return None;
        }
        kept.results.iter().rev().find_map(|(_, result)| found(result.downcast_ref()?))
    })
}

/// Keeps a result of so many bytes, if this is the time and there is room for it.
pub fn keep<T: 'static>(bytes: usize, result: impl FnOnce() -> T) {
    let wanted = KEPT.with_borrow(|kept| kept.phase == Phase::Keeping && bytes <= kept.budget);
    if !wanted {
        return;
    }
    let result: Box<dyn Any> = Box::new(result());
    let mut old = Vec::new();
    KEPT.with_borrow_mut(|kept| {
        while kept.bytes + bytes > kept.budget {
            let Some(oldest) = kept.results.pop_front() else { break };
            kept.bytes -= oldest.0;
            old.push(oldest);
        }
        kept.bytes += bytes;
        kept.results.push_back((bytes, result));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(name: &str) -> bool {
        find(|kept: &String| (kept == name).then_some(())).is_some()
    }

    fn make(name: &str, bytes: usize) {
        keep(bytes, || name.to_string());
    }

    #[test]
    fn results_serve_where_they_are_asked_for_and_no_longer_than_their_scope() {
        keeping(|| make("before", 1));
        let scope = Scope::new(10);
        make("outside", 1);
        taking(|| make("on the way back", 1));
        keeping(|| make("kept", 4));
        assert!(!known("kept"), "outside of an evaluation nothing is taken");
        taking(|| {
            assert!(known("kept"));
            assert!(!known("before") && !known("outside") && !known("on the way back"));
        });
        {
            let _inner = Scope::new(10);
            taking(|| assert!(!known("kept")));
        }
        taking(|| assert!(known("kept")));
        drop(scope);
        taking(|| assert!(!known("kept")));
    }

    #[test]
    fn the_oldest_results_go_first_when_the_room_is_full() {
        let _scope = Scope::new(10);
        keeping(|| {
            for name in ["a", "b", "c"] {
                make(name, 4);
            }
            make("too large", 11);
            assert!(!known("a") && known("b") && known("c") && !known("too large"));
        });
    }

    #[test]
    fn an_evaluation_that_panics_ends_its_phase() {
        let _scope = Scope::new(10);
        let panicked = std::panic::catch_unwind(|| keeping(|| panic!("on purpose")));
        assert!(panicked.is_err());
        make("late", 1);
        taking(|| assert!(!known("late")));
    }
}
