//! Many processes, one run: the data is divided among ranks, and everything else is the same on all of them.
//!
//! ```text
//! rank 0: its shards -> loss, partials \                             / the same steps of x and y
//! rank 1: its shards -> loss, partials  > one message, summed in a    > the same steps of x and y
//! rank 2: its shards -> loss, partials /  tree, the same on all ranks \ the same steps of x and y
//! ```
//!
//! A loss that is a mean over data is the mean of the losses on S equal parts of it, its shards, and so are its
//! gradients and second-order products. [`DataParallel`] is an oracle of that mean: each rank evaluates its own shards,
//! and the sums go through a [`Group`], one message per call. Methods, solvers and observers run on every rank as they
//! do on one. They see the same numbers, so they make the same decisions; on what a rank decides by itself, such as by
//! its clock, the ranks vote in the [`Executor`](crate::Executor), which also compares a fingerprint of x and y
//! ([`Executor::in_group`](crate::Executor::in_group)).
//!
//! # The same bits on any number of ranks
//!
//! Sums of floating-point numbers depend on their order. Here it is that of a [`tree`] over shards, not over ranks:
//! rank r of P has shards `r S / P` to `(r + 1) S / P - 1`. Where `S / P` is a power of two, the sum over the shards of
//! a rank is a branch of the tree, and the sum of the branches is the tree over ranks. So a run has the same bits on
//! every number of ranks that divides the shards into powers of two, including one rank, and a run that was saved on
//! four ranks resumes on two. Another S is another order, and differs by rounding. Processors of different kinds may
//! round differently: the fingerprints detect it.
//!
//! # Cost
//!
//! The messages follow from the oracle's calls, and so from the method: `docs/SCALING.md` has the table, and what it
//! means for many machines. [`Metered`] counts them.
//!
//! | group | ranks are |
//! |---|---|
//! | [`Alone`] | one process |
//! | [`InProcess`] | threads of one process |
//! | `Mpi` of the crate `bilevel-mpi` | processes on many machines |

mod agreement;
mod data_parallel;
mod exchange;
mod group;
mod in_process;
mod metered;

pub(crate) use agreement::{Votes, agree};
pub use data_parallel::DataParallel;
pub(crate) use exchange::{divided, dtype, gather, in_tree, means, sums};
pub use group::{Alone, Group, GroupError};
pub use in_process::InProcess;
pub use metered::{Metered, Traffic};

/// The sum of `terms` by a binary tree in their order: of neighbours first, then of neighbouring pairs, and so on. If
/// their number is not a power of two, the largest power of two comes first, then the tree of the rest.
///
/// A tree of trees of `2^k` terms each is the tree of all terms.
///
/// ```
/// use bilevel_core::parallel::tree;
///
/// let join = |a: String, b: String| format!("({a}{b})");
/// let of = |letters: &str| tree(letters.chars().map(String::from), join);
/// assert_eq!(of("abcdefg").unwrap(), "(((ab)(cd))((ef)g))");
/// assert_eq!(tree([of("abcd"), of("efg")].into_iter().flatten(), join), of("abcdefg"));
/// ```
pub fn tree<T>(terms: impl IntoIterator<Item = T>, add: impl Fn(T, T) -> T) -> Option<T> {
    // Sums of 2^k terms, by k: the binary digits of how many there were.
    let mut sums: Vec<(u32, T)> = Vec::new();
    for mut sum in terms {
        let mut k = 0;
        while let Some((_, left)) = sums.pop_if(|(of, _)| *of == k) {
            sum = add(left, sum);
            k += 1;
        }
        sums.push((k, sum));
    }
    sums.into_iter().rev().map(|(_, sum)| sum).reduce(|right, left| add(left, right))
}
