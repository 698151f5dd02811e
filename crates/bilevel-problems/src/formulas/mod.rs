//! Bilevel problems of a few numbers, as formulas in text.

mod value;

use std::str::FromStr;

use bilevel_core::{Answer, BilevelProblem, Conditions, Error, FullBatch, Objective, solve};
use burn::tensor::{Device, Tensor};
use exmex::{Express, FlatEx};
use serde::Deserialize;

use crate::Values;
use value::{Numbers, Operators, Value};

/// A bilevel problem of a few numbers: formulas in `x1, x2, ..., y1, y2, ...` with `+ - * / ^`, `sin`, `cos`, `tan`, `tanh`,
/// `exp`, `ln`, `sqrt`, `abs`, `pi` and brackets.
///
/// ```
/// use bilevel_problems::Formulas;
///
/// let problem: Formulas = r#"
///     F = "(x1 - 3)^2 + y1^2"
///     f = "(y1 - x1)^2"
///     g = ["x1 + y1 - 2"]       # at most 0 on the lower level; G on the upper, h and H are to be 0
///     x = [1.0]                 # the start
///     y = [0.0]
///     x-bounds = [[0, inf]]
/// "#.parse()?;
/// # Ok::<_, bilevel_problems::FormulaError>(())
/// ```
///
/// Derivatives are those of the recorded programs, as of any problem.
#[derive(Debug)]
pub struct Formulas {
    written: Written,
    upper: Formula,
    lower: Formula,
    /// Those of the upper level, then those of the lower: at most 0, and 0.
    constraints: [[Vec<Formula>; 2]; 2],
}

/// What a file says.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Written {
    #[serde(default)]
    name: String,
    #[serde(default)]
    source: String,
    #[serde(rename = "F")]
    upper: String,
    #[serde(rename = "f")]
    lower: String,
    #[serde(default, rename = "G")]
    upper_below: Vec<String>,
    #[serde(default, rename = "H")]
    upper_zero: Vec<String>,
    #[serde(default, rename = "g")]
    lower_below: Vec<String>,
    #[serde(default, rename = "h")]
    lower_zero: Vec<String>,
    x: Vec<f64>,
    y: Vec<f64>,
    #[serde(default)]
    x_bounds: Vec<[f64; 2]>,
    #[serde(default)]
    y_bounds: Vec<[f64; 2]>,
    /// The best known F and f.
    best: Option<[f64; 2]>,
}

/// The file of the problems with known answers.
#[derive(Deserialize)]
struct Table {
    problem: Vec<Written>,
}

/// What is wrong with formulas.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FormulaError {
    /// A file that is not TOML, or has other keys.
    #[error(
        "{0}: give F and f as texts, x and y as lists of numbers, and G, H, g, h as lists of texts"
    )]
    File(String),
    /// A formula that cannot be read.
    #[error("`{formula}`: {error}: write products with *, powers with ^ and numbers with a point")]
    Formula {
        /// The formula.
        formula: String,
        /// What is wrong.
        error: String,
    },
    /// A variable that there is not.
    #[error(
        "`{formula}` has the variable {found}, expected x1 to x{x} and y1 to y{y}: start x and y with as many numbers as they have"
    )]
    Variable {
        /// The formula.
        formula: String,
        /// The variable.
        found: String,
        /// The numbers of x.
        x: usize,
        /// The numbers of y.
        y: usize,
    },
    /// Bounds for other variables.
    #[error(
        "there are {found} bounds of {variable}, expected one pair for each of {expected} numbers, or none"
    )]
    Bounds {
        /// x or y.
        variable: &'static str,
        /// How many there are.
        found: usize,
        /// How many there should be.
        expected: usize,
    },
}

/// A formula, and where each of its variables stands.
#[derive(Debug)]
struct Formula {
    expression: FlatEx<Value, Operators, Numbers>,
    variables: Vec<Place>,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    X(usize),
    Y(usize),
}

impl Formula {
    fn new(formula: &str, [x, y]: [usize; 2]) -> Result<Self, FormulaError> {
        let expression = FlatEx::parse(&with_zeros(formula)).map_err(|error| {
            FormulaError::Formula { formula: formula.to_owned(), error: error.to_string() }
        })?;
        let place = |name: &String| {
            let number = |rest: &str| rest.parse::<usize>().ok().and_then(|k| k.checked_sub(1));
            let of = |letter, count: usize| {
                name.strip_prefix(letter).and_then(number).filter(|k| *k < count)
            };
            of('x', x).map(Place::X).or(of('y', y).map(Place::Y)).ok_or_else(|| {
                FormulaError::Variable { formula: formula.to_owned(), found: name.clone(), x, y }
            })
        };
        let variables = expression.var_names().iter().map(place).collect::<Result<_, _>>()?;
        Ok(Self { expression, variables })
    }

    fn at(&self, x: &Values, y: &Values) -> Tensor<1> {
        let values: Vec<_> = self
            .variables
            .iter()
            .map(|place| match *place {
                Place::X(k) => Value::Tensor(x.val().slice(k..k + 1)),
                Place::Y(k) => Value::Tensor(y.val().slice(k..k + 1)),
            })
            .collect();
        match self.expression.eval(&values).expect("a value for each variable") {
            Value::Tensor(value) => value,
            Value::Number(value) => y.val().slice(0..1) * 0.0 + value,
        }
    }
}

/// A minus that begins a formula or a bracket, as one between 0 and what follows: binary operators of the parser bind as in
/// mathematics, and unary ones tighter than powers.
fn with_zeros(formula: &str) -> String {
    let mut written = String::new();
    let mut begins = true;
    for letter in formula.chars() {
        if begins && letter == '-' {
            written.push('0');
        }
        written.push(letter);
        begins = letter == '(' || begins && letter.is_whitespace();
    }
    written
}

fn all(formulas: &[Formula], x: &Values, y: &Values) -> Vec<Tensor<1>> {
    formulas.iter().map(|formula| formula.at(x, y)).collect()
}

/// `low - v` and `v - high`, of the bounds that are finite.
fn excesses(bounds: &[[f64; 2]], v: Tensor<1>) -> impl Iterator<Item = Tensor<1>> + '_ {
    bounds.iter().enumerate().flat_map(move |(k, [low, high])| {
        let at = v.clone().slice(k..k + 1);
        let below = low.is_finite().then(|| -at.clone() + *low);
        below.into_iter().chain(high.is_finite().then(|| at - *high))
    })
}

impl TryFrom<Written> for Formulas {
    type Error = FormulaError;

    fn try_from(written: Written) -> Result<Self, FormulaError> {
        let sizes = [written.x.len(), written.y.len()];
        for (variable, found, expected) in
            [("x", written.x_bounds.len(), sizes[0]), ("y", written.y_bounds.len(), sizes[1])]
        {
            if found != 0 && found != expected {
                return Err(FormulaError::Bounds { variable, found, expected });
            }
        }
        let many = |formulas: &[String]| {
            formulas.iter().map(|formula| Formula::new(formula, sizes)).collect::<Result<_, _>>()
        };
        Ok(Self {
            upper: Formula::new(&written.upper, sizes)?,
            lower: Formula::new(&written.lower, sizes)?,
            constraints: [
                [many(&written.upper_below)?, many(&written.upper_zero)?],
                [many(&written.lower_below)?, many(&written.lower_zero)?],
            ],
            written,
        })
    }
}

impl FromStr for Formulas {
    type Err = FormulaError;

    fn from_str(text: &str) -> Result<Self, FormulaError> {
        let written: Written =
            toml::from_str(text).map_err(|error| FormulaError::File(error.to_string()))?;
        written.try_into()
    }
}

impl Formulas {
    /// Problems of the literature with known answers: `formulas/known.toml`.
    pub fn known() -> impl Iterator<Item = Self> {
        let table: Table = toml::from_str(include_str!("known.toml")).expect("a test reads it");
        table.problem.into_iter().map(|written| written.try_into().expect("a test reads it"))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.written.name
    }

    /// Where it is from.
    pub fn source(&self) -> &str {
        &self.written.source
    }

    /// The numbers of x and of y.
    pub fn sizes(&self) -> [usize; 2] {
        [self.written.x.len(), self.written.y.len()]
    }

    /// The best known F and f.
    pub fn best(&self) -> Option<[f64; 2]> {
        self.written.best
    }

    /// Solves it from its start.
    ///
    /// # Errors
    /// If a formula is not finite at the start.
    pub fn solve(&self, device: &Device) -> Result<Answer<Values, Values>, Error> {
        let (x, y) = (Values::new(&self.written.x, device), Values::new(&self.written.y, device));
        solve(self, &x, &y, FullBatch { upper: (), lower: () })
    }
}

impl BilevelProblem for Formulas {
    type Upper = Values;
    type Lower = Values;
    type Batch = ();

    fn upper_loss(&self, x: &Values, y: &Values, (): &()) -> Tensor<1> {
        self.upper.at(x, y)
    }

    fn lower_loss(&self, x: &Values, y: &Values, (): &()) -> Tensor<1> {
        self.lower.at(x, y)
    }

    fn constraints(&self, level: Objective, x: &Values, y: &Values, (): &()) -> Conditions {
        let (own, [below, zero]) = match level {
            Objective::Upper => (excesses(&self.written.x_bounds, x.val()), &self.constraints[0]),
            Objective::Lower => (excesses(&self.written.y_bounds, y.val()), &self.constraints[1]),
        };
        let joined = |all: Vec<Tensor<1>>| (!all.is_empty()).then(|| Tensor::cat(all, 0));
        Conditions {
            at_most_zero: joined(all(below, x, y).into_iter().chain(own).collect()),
            zero: joined(all(zero, x, y)),
        }
    }
}
