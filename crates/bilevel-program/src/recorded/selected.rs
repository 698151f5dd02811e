//! Some of the variables of x and y.

use std::sync::Arc;

use crate::{Direction, Layout, Wrt};

/// Some of the variables of x and y, by their positions among the inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Selected {
    pub x: Option<Range>,
    pub y: Option<Range>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Range {
    All,
    Part(Vec<usize>),
}

impl Selected {
    /// The positions among the inputs, given the numbers of variables of x and y.
    pub fn positions(&self, [upper, lower]: [usize; 2]) -> Vec<usize> {
        let range = |range: &Option<Range>, from: usize, len: usize| match range {
            None => Vec::new(),
            Some(Range::All) => (from..from + len).collect(),
            Some(Range::Part(positions)) => positions.iter().map(|at| from + at).collect(),
        };
        [range(&self.x, 0, upper), range(&self.y, upper, lower)].concat()
    }
}

/// The variables of a derivative, y having the layout `lower`.
pub fn selected(lower: &Arc<Layout>, wrt: Wrt<'_>) -> Selected {
    let all = |wanted: bool| wanted.then_some(Range::All);
    match wrt {
        Wrt::X => Selected { x: all(true), y: None },
        Wrt::Y => Selected { x: None, y: all(true) },
        Wrt::Both => Selected { x: all(true), y: all(true) },
        Wrt::Part(part) => Selected { x: all(true), y: Some(range(lower, part)) },
    }
}

/// The variables that move along a direction.
pub fn moving(lower: &Arc<Layout>, along: Direction<'_>) -> Selected {
    Selected { x: along.x.map(|_| Range::All), y: along.y.map(|y| range(lower, y.layout())) }
}

fn range(lower: &Arc<Layout>, part: &Arc<Layout>) -> Range {
    if Arc::ptr_eq(part, lower) || **part == **lower {
        return Range::All;
    }
    lower.check_part(part);
    let positions = part.leaves().iter().filter_map(|leaf| lower.position(leaf.id));
    Range::Part(positions.collect())
}
