//! What the ranks of a run agree on after each step.

use std::hash::{DefaultHasher, Hasher};

use bilevel_program::Vector;

use super::{Group, GroupError};

/// Reasons to end a run that a rank has by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Votes {
    /// An observer requests it.
    pub observer: bool,
    /// The time limit is reached.
    pub time: bool,
}

/// Whether any rank votes to end the run; and whether all have the same x and y. One message of `2 + 2 P` numbers.
pub(crate) fn agree(
    group: &dyn Group,
    votes: Votes,
    (x, y): (&Vector, &Vector),
) -> Result<Votes, GroupError> {
    // The sums are exact: of votes, and of numbers of which all but one are zero.
    let mut numbers = vec![0.0; 2 + 2 * group.size()];
    numbers[0] = f64::from(u8::from(votes.observer));
    numbers[1] = f64::from(u8::from(votes.time));
    let own = 2 + 2 * group.rank();
    numbers[own..own + 2].copy_from_slice(&fingerprint(x, y));
    group.sum_f64(&mut numbers)?;
    let (votes, prints) = numbers.split_at(2);
    match prints.chunks(2).position(|print| print != &prints[..2]) {
        Some(rank) => Err(GroupError::Apart { what: "x and y".to_owned(), rank }),
        None => Ok(Votes { observer: votes[0] > 0.0, time: votes[1] > 0.0 }),
    }
}

/// 64 bits of x and y, as two numbers that f64 represents exactly.
fn fingerprint(x: &Vector, y: &Vector) -> [f64; 2] {
    let mut hasher = DefaultHasher::new();
    for data in x.to_data().into_iter().chain(y.to_data()) {
        hasher.write(data.as_bytes());
    }
    let print = hasher.finish();
    [(print >> 32) as u32, print as u32].map(f64::from)
}
