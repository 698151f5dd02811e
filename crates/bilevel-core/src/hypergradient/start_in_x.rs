//! A start of the lower level that is x, or a part of it.

use bilevel_program::{Layout, Leaf, Vector};

use crate::{Error, LowerProblem};

/// The part of x that the lower level starts at: the variables at a path or below it.
#[derive(Clone, Debug, Default)]
pub(crate) struct StartInX {
    /// All of x if empty.
    pub path: String,
}

impl StartInX {
    /// As `, start initial.layers`; nothing for all of x.
    pub fn suffix(&self) -> String {
        if self.path.is_empty() { String::new() } else { format!(", start {}", self.path) }
    }

    /// The positions of the part among the variables of x, and the part as a y.
    pub fn find(&self, problem: &LowerProblem<'_>) -> Result<(Vec<usize>, Vector), Error> {
        let (upper, lower) = (problem.oracle.upper_layout(), problem.oracle.lower_layout());
        let positions = self.positions(upper, lower)?;
        let start = problem.x.part(&positions, lower);
        Ok((positions, start))
    }

    fn positions(&self, upper: &Layout, lower: &Layout) -> Result<Vec<usize>, Error> {
        let positions = upper.under(&self.path);
        let part = || positions.iter().map(|&at| &upper.leaves()[at]);
        let kind = |leaf: &Leaf| (leaf.shape.clone(), leaf.dtype);
        if part().map(kind).eq(lower.leaves().iter().map(kind)) {
            return Ok(positions);
        }
        let name =
            |leaf: &Leaf| format!("{} {:?} {:?}", leaf.path, leaf.shape.to_vec(), leaf.dtype);
        Err(Error::StartShapes {
            part: match self.path.as_str() {
                "" => "x".to_owned(),
                path => format!("the part `{path}` of x"),
            },
            found: part().map(name).collect(),
            expected: lower.leaves().iter().map(name).collect(),
        })
    }
}
