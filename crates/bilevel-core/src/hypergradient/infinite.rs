//! Derivatives that are not finite.

use std::fmt::{Display, Formatter};

use bilevel_program::{Layout, Vector};
use serde::{Deserialize, Serialize};

use crate::{Cost, Direction, LowerProblem, Objective, Variable, Wrt};

/// A derivative of a loss that is not finite where a hypergradient was taken, such as the second derivative of `|y|^p`
/// with `p < 2`, of a norm or of a root at 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Infinite {
    /// The loss.
    pub loss: Objective,
    /// 1 for its gradient, 2 for its Hessian.
    pub order: u8,
    /// The module of the variable.
    pub of: Variable,
    /// Which of its variables, by their order in the layout.
    pub variable: usize,
}

impl Infinite {
    /// The derivative at fault at the start or the end of a descent, if there is one. Only the derivatives in `taken`
    /// are computed.
    pub(super) fn find(
        problem: &LowerProblem<'_>,
        ends: [&Vector; 2],
        taken: Cost,
    ) -> Option<Self> {
        let second = [
            (Objective::Lower, taken.lower_products > 0),
            (Objective::Upper, taken.upper_products > 0),
        ];
        let products =
            second.into_iter().filter(|(_, taken)| *taken).map(|(objective, _)| (objective, 2));
        let all: Vec<_> = products.chain([(Objective::Upper, 1), (Objective::Lower, 1)]).collect();
        let mut places = ends.into_iter().flat_map(|y| all.iter().map(move |at| (y, *at)));
        places.find_map(|(y, (loss, order))| {
            let partials = if order == 1 {
                problem.gradient(loss, y, Wrt::Both).1
            } else {
                // Along 0 a finite Hessian gives 0, whatever overflows along other directions.
                problem.product(loss, y, Direction::in_y(&y.zeros_like()), Wrt::Both)
            };
            let (x, y) = partials.into_both();
            [(Variable::Y, y), (Variable::X, x)].into_iter().find_map(|(of, part)| {
                part.first_not_finite().map(|variable| Self { loss, order, of, variable })
            })
        })
    }

    /// What is at fault and the cure, the variable by its path in the layout of x or y.
    pub(crate) fn describe(&self, upper: &Layout, lower: &Layout) -> String {
        let layout = if self.of == Variable::X { upper } else { lower };
        let path = layout.leaves().get(self.variable).map_or("", |leaf| leaf.path.as_str());
        self.text(&if path.is_empty() {
            self.unnamed()
        } else {
            format!("`{path}` of {}", self.of)
        })
    }

    fn unnamed(&self) -> String {
        format!("variable {} of {}", self.variable, self.of)
    }

    fn text(&self, variable: &str) -> String {
        let order = if self.order == 1 { "first" } else { "second" };
        format!(
            "the {order} derivative of the {} loss is not finite in {variable}, as that of a norm, of |y|^p with p < \
             {} or of a root is not at 0: start y elsewhere, or smooth the loss there, as by sqrt(y^2 + e)",
            self.loss, self.order
        )
    }
}

impl Display for Infinite {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text(&self.unnamed()))
    }
}
