//! Derivatives in two modules: in which variables, along which directions, and their results.

use std::fmt::{Display, Formatter};
use std::ops::Add;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Layout, Vector};

/// One of the two losses of a bilevel problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Objective {
    /// F, the loss of the upper level.
    Upper,
    /// f, the loss of the lower level.
    Lower,
}

impl Display for Objective {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Objective::Upper => "upper",
            Objective::Lower => "lower",
        })
    }
}

/// One of the two variables of a bilevel problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Variable {
    /// x, the variable of the upper level.
    X,
    /// y, the variable of the lower level.
    Y,
}

impl Display for Variable {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Variable::X => "x",
            Variable::Y => "y",
        })
    }
}

/// A direction in the space of both variables; `None` is zero and costs nothing.
#[derive(Clone, Copy, Debug)]
pub struct Direction<'a> {
    /// Its part in x.
    pub x: Option<&'a Vector>,
    /// Its part in y: a vector of y, or of a [part](Layout::part) of it, zero in the rest.
    pub y: Option<&'a Vector>,
}

impl<'a> Direction<'a> {
    /// A direction in y alone.
    pub fn in_y(y: &'a Vector) -> Self {
        Self { x: None, y: Some(y) }
    }
}

/// The variables of a derivative. Others are not computed.
#[derive(Clone, Copy, Debug)]
pub enum Wrt<'a> {
    /// Only x.
    X,
    /// Only y.
    Y,
    /// x and y.
    Both,
    /// x and a [part](Layout::part) of y. The derivative in y is a vector of that part.
    Part(&'a Arc<Layout>),
}

impl Wrt<'_> {
    /// x, and y if `y`.
    pub fn x_and(y: bool) -> Self {
        if y { Wrt::Both } else { Wrt::X }
    }

    /// Whether a variable, or a part of it, is among them.
    pub fn includes(self, variable: Variable) -> bool {
        matches!(
            (self, variable),
            (Wrt::Both | Wrt::Part(_), _) | (Wrt::X, Variable::X) | (Wrt::Y, Variable::Y)
        )
    }
}

/// A derivative in the requested variables.
#[derive(Clone, Debug)]
pub struct Partials {
    /// In x, if requested.
    pub x: Option<Vector>,
    /// In y, if requested.
    pub y: Option<Vector>,
}

impl Add for Partials {
    type Output = Self;

    /// The sum of two derivatives in the same variables.
    fn add(self, other: Self) -> Self {
        let sum = |a: Option<Vector>, b: Option<Vector>| Some(a?.add(&b?));
        Self { x: sum(self.x, other.x), y: sum(self.y, other.y) }
    }
}

impl Partials {
    /// The part in x.
    ///
    /// # Panics
    /// If it was not requested.
    pub fn into_x(self) -> Vector {
        self.x.expect("the derivative in x was asked for")
    }

    /// The part in y.
    ///
    /// # Panics
    /// If it was not requested.
    pub fn into_y(self) -> Vector {
        self.y.expect("the derivative in y was asked for")
    }

    /// Both parts.
    ///
    /// # Panics
    /// If one was not requested.
    pub fn into_both(self) -> (Vector, Vector) {
        let Self { x, y } = self;
        (Self { x, y: None }.into_x(), Self { x: None, y }.into_y())
    }
}
