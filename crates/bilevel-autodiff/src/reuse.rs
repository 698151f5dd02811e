//! Results of an evaluation that later ones at the same point take instead of computing them again.
//!
//! A second-order product begins with the computations that a gradient at its point began with. Whoever evaluates
//! both does so within a [`scope`], and evaluates losses by [`keeping`] where a result may serve again, by [`taking`]
//! where it may have served before. Which results are worth their memory, and what makes two of them the same, a
//! backend decides by [`keep`] and [`find`]; one that calls neither is not affected. All of it is a matter of one
//! thread.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

thread_local! {
    static KEPT: RefCell<Kept> = const { RefCell::new(Kept::nothing()) };
    static FOUND: Cell<usize> = const { Cell::new(0) };
}

/// A result that may serve again.
pub trait Reusable: Any {
    /// Whether it can be asked for still, as a product can whose factors live. A result that cannot is dropped
    /// before others have to go.
    fn is_alive(&self) -> bool;
}

struct Kept {
    budget: usize,
    phase: Phase,
    /// The oldest first, each with its bytes.
    results: VecDeque<(usize, Box<dyn Reusable>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Outside,
    Keeping,
    Taking,
}

impl Kept {
    const fn nothing() -> Self {
        Self { budget: 0, phase: Phase::Outside, results: VecDeque::new() }
    }

    fn bytes(&self) -> usize {
        self.results.iter().map(|(bytes, _)| bytes).sum()
    }

    /// Takes out what cannot be asked for any more.
    fn take_dead(&mut self) -> VecDeque<(usize, Box<dyn Reusable>)> {
        let results = std::mem::take(&mut self.results);
        let (alive, dead) = results.into_iter().partition(|(_, result)| result.is_alive());
        self.results = alive;
        dead
    }
}

/// Evaluates something during which results are kept, of so many bytes at most, the youngest ones; then they are
/// dropped. A scope within another hides it.
pub fn scope<R>(bytes: usize, evaluate: impl FnOnce() -> R) -> R {
    struct Back(Option<Kept>);
    impl Drop for Back {
        fn drop(&mut self) {
            if let Some(outer) = self.0.take() {
                // Not dropped while the cell is borrowed: results are of other crates.
                drop(KEPT.replace(outer));
            }
        }
    }
    let _back = Back(Some(KEPT.replace(Kept { budget: bytes, ..Kept::nothing() })));
    evaluate()
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
    let (before, dead) =
        KEPT.with_borrow_mut(|kept| (std::mem::replace(&mut kept.phase, phase), kept.take_dead()));
    let _back = Back(before);
    drop(dead);
    evaluate()
}

/// What `found` makes of the youngest kept result of type `T` that it recognises.
pub fn find<T: Reusable, R>(found: impl Fn(&T) -> Option<R>) -> Option<R> {
    let found = KEPT.with_borrow(|kept| {
        if kept.phase == Phase::Outside {
            return None;
        }
        let recognise = |result: &dyn Any| found(result.downcast_ref()?);
        kept.results.iter().rev().find_map(|(_, result)| recognise(result.as_ref()))
    });
    FOUND.set(FOUND.get() + usize::from(found.is_some()));
    found
}

/// How often [`find`] has found a result on this thread, since the thread began.
pub fn times_found() -> usize {
    FOUND.get()
}

/// Keeps a result of so many bytes, if this is the time and there is room for it: those that cannot be asked for any
/// more give way, then the oldest.
pub fn keep<T: Reusable>(bytes: usize, result: impl FnOnce() -> T) {
    let wanted = KEPT.with_borrow(|kept| {
        kept.phase == Phase::Keeping && kept.budget > 0 && bytes <= kept.budget
    });
    if !wanted {
        return;
    }
    let result = Box::new(result());
    let old = KEPT.with_borrow_mut(|kept| {
        let mut old = kept.take_dead();
        let mut held = kept.bytes();
        while held > kept.budget - bytes {
            let Some(oldest) = kept.results.pop_front() else { break };
            held -= oldest.0;
            old.push_back(oldest);
        }
        kept.results.push_back((bytes, result));
        old
    });
    drop(old);
}

#[cfg(test)]
mod tests {
    use std::rc::{Rc, Weak};

    use super::*;

    /// Lives as long as the count.
    struct Named(&'static str, Weak<()>);

    impl Reusable for Named {
        fn is_alive(&self) -> bool {
            self.1.strong_count() > 0
        }
    }

    thread_local! {
        static LIFE: Rc<()> = Rc::new(());
    }

    fn known(name: &str) -> bool {
        find(|kept: &Named| (kept.0 == name).then_some(())).is_some()
    }

    fn make(name: &'static str, bytes: usize) {
        LIFE.with(|life| make_with(name, bytes, life));
    }

    fn make_with(name: &'static str, bytes: usize, life: &Rc<()>) {
        keep(bytes, || Named(name, Rc::downgrade(life)));
    }

    fn held() -> usize {
        KEPT.with_borrow(Kept::bytes)
    }

    #[test]
    fn results_serve_where_they_are_asked_for_and_no_longer_than_their_scope() {
        keeping(|| make("before", 1));
        scope(10, || {
            make("outside", 1);
            taking(|| make("on the way back", 1));
            keeping(|| make("kept", 4));
            assert!(!known("kept"), "outside of an evaluation nothing is taken");
            taking(|| {
                assert!(known("kept"));
                assert!(!known("before") && !known("outside") && !known("on the way back"));
            });
            scope(10, || taking(|| assert!(!known("kept"))));
            taking(|| assert!(known("kept")));
        });
        taking(|| assert!(!known("kept")));
        assert_eq!(held(), 0);
    }

    #[test]
    fn the_oldest_results_go_first_when_the_room_is_full() {
        scope(10, || {
            keeping(|| {
                for name in ["a", "b", "c"] {
                    make(name, 4);
                }
                make("too large", 11);
                assert!(!known("a") && known("b") && known("c") && !known("too large"));
            });
        });
    }

    #[test]
    fn results_that_cannot_be_asked_for_give_way_first() {
        scope(10, || {
            let life = Rc::new(());
            keeping(|| {
                make("oldest", 4);
                make_with("dead", 6, &life);
                drop(life);
                make("new", 6);
                assert!(known("oldest") && known("new") && !known("dead"));
            });
        });
    }

    #[test]
    fn results_that_cannot_be_asked_for_go_before_the_next_evaluation() {
        scope(usize::MAX, || {
            let life = Rc::new(());
            keeping(|| make_with("short", 6, &life));
            assert_eq!(held(), 6);
            drop(life);
            taking(|| assert_eq!(held(), 0));
        });
    }

    #[test]
    fn without_a_budget_nothing_is_kept() {
        let nothing = || {
            keeping(|| {
                make("empty", 0);
                assert!(!known("empty"));
            });
        };
        nothing();
        scope(0, nothing);
    }

    #[test]
    fn a_scope_within_an_evaluation_leaves_it_as_it_was() {
        scope(10, || {
            keeping(|| {
                scope(10, || make("outside of one", 1));
                make("kept", 1);
            });
            make("late", 1);
            taking(|| assert!(known("kept") && !known("outside of one") && !known("late")));
        });
    }

    #[test]
    fn an_evaluation_that_panics_ends_its_phase_and_its_scope() {
        let panics = |evaluate: fn()| assert!(std::panic::catch_unwind(evaluate).is_err());
        scope(10, || {
            keeping(|| make("kept", 1));
            panics(|| keeping(|| panic!("on purpose")));
            panics(|| scope(5, || keeping(|| panic!("on purpose"))));
            make("late", 1);
            taking(|| assert!(known("kept") && !known("late")));
        });
        assert_eq!(held(), 0);
    }

    #[test]
    fn what_is_found_is_counted() {
        let before = times_found();
        scope(10, || {
            keeping(|| make("kept", 1));
            taking(|| assert!(known("kept") && known("kept") && !known("unknown")));
        });
        assert_eq!(times_found() - before, 2);
    }
}
