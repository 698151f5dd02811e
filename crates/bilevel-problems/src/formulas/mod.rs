//! Small bilevel problems, as formulas in text.

mod value;

use std::str::FromStr;

use bilevel_core::{
    Answer, BilevelProblem, Conditions, Error, FullBatch, Objective, solve, solve_pessimistic,
};
use burn::tensor::{Device, Tensor};
use exmex::{Express, FlatEx, MatchLiteral};
use serde::Deserialize;

use crate::Values;
use value::{NumberLiteral, Operators, Value};

/// A small bilevel problem: formulas in `x1, x2, ..., y1, y2, ...` with `+ - * / ^`, `sin`, `cos`, `tan`, `tanh`,
/// `exp`, `ln`, `sqrt`, `abs`, `pi` and brackets. A power of a power, and a sign after an operator, need brackets:
/// `x1^(-1)`.
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
/// Derivatives are those of the recorded programs, as for any problem.
#[derive(Debug)]
pub struct Formulas {
    written: Written,
    upper: Formula,
    lower: Formula,
    /// Those of the upper level, then those of the lower: inequalities (at most 0), and equalities.
    constraints: [[Vec<Formula>; 2]; 2],
}

/// The contents of a file.
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
    /// `a^b^c`, which is ambiguous.
    #[error(
        "`{0}` has a power of a power, expected brackets that say which comes first: write a^(b^c) or (a^b)^c"
    )]
    Powers(String),
    /// A sign that follows an operator.
    #[error(
        "`{0}` has a sign after an operator, expected brackets around what it belongs to: write x1^(-1) or 2*(-x1)"
    )]
    Sign(String),
    /// An empty start, or one that is not finite.
    #[error(
        "{variable} starts at {found:?}, expected one finite number or more: write as `{variable} = [0.0]`"
    )]
    Start {
        /// x or y.
        variable: &'static str,
        /// The start.
        found: Vec<f64>,
    },
    /// A variable that does not exist.
    #[error(
        "`{formula}` has the variable {found}, expected x1 to x{x} and y1 to y{y}: start x and y with as many numbers as they have"
    )]
    Variable {
        /// The formula.
        formula: String,
        /// The variable.
        found: String,
        /// The dimension of x.
        x: usize,
        /// The dimension of y.
        y: usize,
    },
    /// Bounds with no number between them.
    #[error(
        "the bounds of {variable} are {found:?}, expected the smallest and the largest value: write -inf and inf \
         where there \
         is none"
    )]
    Between {
        /// The variable, such as x1.
        variable: String,
        /// Its bounds.
        found: [f64; 2],
    },
    /// Bounds for the wrong number of variables.
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

/// A formula, and the position of each of its variables.
#[derive(Debug)]
struct Formula {
    expression: FlatEx<Value, Operators, NumberLiteral>,
    variables: Vec<Place>,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    X(usize),
    Y(usize),
}

impl Formula {
    fn new(formula: &str, [x, y]: [usize; 2]) -> Result<Self, FormulaError> {
        let expression = FlatEx::parse(&with_zeros(formula)?).map_err(|error| {
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

/// A minus that begins a formula or a bracket, as a subtraction from 0: binary operators of the parser bind as in
/// mathematics, and unary ones tighter than powers. Signs elsewhere, and powers of powers, which the parser reads from
/// the left, are refused.
fn with_zeros(formula: &str) -> Result<String, FormulaError> {
    let mut written = String::new();
    // Whether the last operator is a power, at each depth of brackets.
    let mut powers = vec![false];
    let (mut before, mut rest) = ("(", formula);
    while let Some(letter) = rest.chars().next() {
        let name = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
        let end = NumberLiteral::is_literal(rest).map_or(name.max(letter.len_utf8()), str::len);
        let (token, after) = rest.split_at(end);
        let is_power = powers.last().copied().unwrap_or_default();
        match token {
            "+" | "-" if matches!(before, "+" | "-" | "*" | "/" | "^") => {
                return Err(FormulaError::Sign(formula.to_owned()));
            }
            "^" if is_power => return Err(FormulaError::Powers(formula.to_owned())),
            "(" => powers.push(false),
            ")" => {
                powers.pop();
            }
            "+" | "-" | "*" | "/" | "^" => {
                if let Some(last) = powers.last_mut() {
                    *last = token == "^";
                }
            }
            _ => {}
        }
        if token == "-" && before == "(" {
            written.push('0');
        }
        written.push_str(token);
        if !letter.is_whitespace() {
            before = token;
        }
        rest = after;
    }
    Ok(written)
}

fn all(formulas: &[Formula], x: &Values, y: &Values) -> Vec<Tensor<1>> {
    formulas.iter().map(|formula| formula.at(x, y)).collect()
}

/// `low - v` and `v - high`, for the finite bounds.
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
        for (variable, start, bounds) in
            [("x", &written.x, &written.x_bounds), ("y", &written.y, &written.y_bounds)]
        {
            if start.is_empty() || start.iter().any(|v| !v.is_finite()) {
                return Err(FormulaError::Start { variable, found: start.clone() });
            }
            let (found, expected) = (bounds.len(), start.len());
            if found != 0 && found != expected {
                return Err(FormulaError::Bounds { variable, found, expected });
            }
            let some = |[low, high]: &[f64; 2]| {
                low <= high && *low < f64::INFINITY && *high > f64::NEG_INFINITY
            };
            if let Some(k) = bounds.iter().position(|pair| !some(pair)) {
                let variable = format!("{variable}{}", k + 1);
                return Err(FormulaError::Between { variable, found: bounds[k] });
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

    /// Its source.
    pub fn source(&self) -> &str {
        &self.written.source
    }

    /// The dimensions of x and of y.
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
    /// If a formula is not finite at the start, or the default float type of `device` is not f64.
    pub fn solve(&self, device: &Device) -> Result<Answer<Values, Values>, Error> {
        let [x, y] = self.start(device);
        solve(self, &x, &y, FullBatch { upper: (), lower: () })
    }

    /// The same for the [worst of the lower solutions](solve_pessimistic).
    ///
    /// # Errors
    /// Those of [`Formulas::solve`].
    pub fn solve_pessimistic(&self, device: &Device) -> Result<Answer<Values, Values>, Error> {
        let [x, y] = self.start(device);
        solve_pessimistic(self, &x, &y, FullBatch { upper: (), lower: () })
    }

    /// The starts of x and y.
    pub fn start(&self, device: &Device) -> [Values; 2] {
        [&self.written.x, &self.written.y].map(|v| Values::new(v, device))
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
