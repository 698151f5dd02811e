//! Independent computations on several threads.

use std::panic::resume_unwind;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, ScopedJoinHandle};

use rayon::{ThreadPool, ThreadPoolBuilder};

/// The results of `run` on each of `items`, in their order, on as many threads as the current pool of rayon has.
///
/// For independent hypergradients: those of several methods, tasks or folds. Each thread has a pool of its own, of one
/// thread, so that kernels on large tensors hand over no work. Items that are left when every thread has had equally many
/// run on threads outside of any pool, whose kernels use rayon's global pool. These pools, and the buffers of their threads, are kept for the next call.
///
/// ```
/// use bilevel_core::side_by_side;
///
/// assert_eq!(side_by_side(vec![1, 2, 3], |n| n * n), [1, 4, 9]);
/// ```
///
/// # Panics
/// If `run` does.
pub fn side_by_side<T: Send, R: Send>(mut items: Vec<T>, run: impl Fn(T) -> R + Sync) -> Vec<R> {
    let threads = rayon::current_num_threads();
    if threads == 1 || items.len() == 1 {
        return items.into_iter().map(run).collect();
    }
    let left = items.split_off(items.len() - items.len() % threads);
    let mut found = in_pools(items, threads, &run);
    found.extend(in_one_pool(left, &run));
    found
}

/// On threads that compute alone, each of which takes the next item when it is done with one.
fn in_pools<T: Send, R: Send>(
    items: Vec<T>,
    threads: usize,
    run: &(impl Fn(T) -> R + Sync),
) -> Vec<R> {
    if items.is_empty() {
        return Vec::new();
    }
    let found = Mutex::new(items.iter().map(|_| None).collect::<Vec<_>>());
    let queue = Mutex::new(items.into_iter().enumerate());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || {
        while let Some((place, item)) = next() {
            let result = run(item);
            found.lock().unwrap_or_else(PoisonError::into_inner)[place] = Some(result);
        }
    };
    let pools = take(threads);
    on_each(&pools, &work);
    IDLE.lock().unwrap_or_else(PoisonError::into_inner).extend(pools);
    // What is left if there is no pool, for want of threads.
    work();
    found.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().flatten().collect()
}

/// Pools of one thread that nobody uses now.
static IDLE: Mutex<Vec<ThreadPool>> = Mutex::new(Vec::new());

/// Pools of one thread, fewer where there are no more threads to be had.
fn take(count: usize) -> Vec<ThreadPool> {
    let mut idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
    let kept = idle.len().saturating_sub(count);
    let mut pools = idle.split_off(kept);
    drop(idle);
    let pool = |_| ThreadPoolBuilder::new().num_threads(1).build().ok();
    pools.extend((pools.len()..count).map_while(pool));
    pools
}

/// `work` in all pools at once.
fn on_each(pools: &[ThreadPool], work: &(impl Fn() + Sync)) {
    if let [pool, others @ ..] = pools {
        pool.in_place_scope(|scope| {
            scope.spawn(|_| work());
            on_each(others, work);
        });
    }
}

/// On threads whose kernels use the global pool. They do not belong to a pool: one of its threads that
/// waits for a kernel would take up another item while it holds what that one waits for.
fn in_one_pool<T: Send, R: Send>(items: Vec<T>, run: &(impl Fn(T) -> R + Sync)) -> Vec<R> {
    thread::scope(|scope| {
        let mut items = items.into_iter();
        let own = items.next();
        let others: Vec<_> = items.map(|item| scope.spawn(move || run(item))).collect();
        let join =
            |other: ScopedJoinHandle<'_, R>| other.join().unwrap_or_else(|p| resume_unwind(p));
        own.map(run).into_iter().chain(others.into_iter().map(join)).collect()
    })
}
