//! A small thread pool for row-parallel loops with microsecond dispatch.
//!
//! [`ThreadPool::run`] opens a job; workers that notice it join, take task numbers from a shared counter until none
//! are left, and leave. The caller works too, closes the job when the counter is exhausted and waits only for those
//! workers that joined: a worker that the system has not woken yet delays nobody.

use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;

use crate::host;

/// Times that a worker looks for a job before it sleeps: tens of microseconds, the pause between two layers' jobs.
const SPINS_BEFORE_SLEEP: u32 = 4_000;
/// Times that the caller looks for its workers to leave before it offers its core to them.
const SPINS_BEFORE_YIELD: u32 = 2_000;

/// State word: bits 0–15 workers inside, bit 16 job open, bits 17–63 job number.
const INSIDE: u64 = 0xffff;
const OPEN: u64 = 1 << 16;
const NUMBER: u64 = 1 << 17;

type Task<'a> = dyn Fn(usize) + Sync + 'a;

struct Shared {
    state: AtomicU64,
    /// The open job: its tasks, as a pointer to a `&Task` on the caller's stack. Read only by workers that joined.
    task: AtomicPtr<()>,
    /// Next task number.
    next: AtomicUsize,
    /// Number of tasks.
    count: AtomicUsize,
    /// A task panicked.
    panicked: AtomicBool,
    stop: AtomicBool,
    sleepers: AtomicUsize,
    sleep: Mutex<()>,
    wake: Condvar,
}

/// Worker threads that share loops with the caller.
pub struct ThreadPool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// One job at a time.
    caller: Mutex<()>,
}

impl std::fmt::Debug for ThreadPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ThreadPool").field("threads", &self.threads()).finish()
    }
}

impl ThreadPool {
    /// A pool of `threads` threads, the caller's included; 0 takes one for each core. Never more than cores, since
    /// a job waits for its slowest thread; fewer when the system refuses to start them.
    pub fn new(threads: usize) -> Self {
        let cores = host::cores();
        let threads = if threads == 0 { cores } else { threads.min(cores) };
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            task: AtomicPtr::new(std::ptr::null_mut()),
            next: AtomicUsize::new(0),
            count: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            sleepers: AtomicUsize::new(0),
            sleep: Mutex::new(()),
            wake: Condvar::new(),
        });
        let spawn = |number: usize| {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new().name(format!("llm-{number}")).spawn(move || shared.work()).ok()
        };
        let workers = (1..threads).map_while(spawn).collect();
        Self { shared, workers, caller: Mutex::new(()) }
    }

    /// The pool of so many threads that this process has already, or a new one: models that compute at the same time take
    /// turns, job by job, instead of starting more threads than there are cores.
    pub fn shared(threads: usize) -> Arc<Self> {
        static POOLS: Mutex<Vec<(usize, Weak<ThreadPool>)>> = Mutex::new(Vec::new());
        let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|(_, pool)| pool.strong_count() > 0);
        let wanted = pools.iter().find(|(count, _)| *count == threads);
        if let Some(pool) = wanted.and_then(|(_, pool)| pool.upgrade()) {
            return pool;
        }
        let pool = Arc::new(Self::new(threads));
        pools.push((threads, Arc::downgrade(&pool)));
        pool
    }

    /// Number of threads, the caller's included.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Runs `task(0)` to `task(count - 1)`, in any order and on any thread; returns when all are done.
    ///
    /// # Panics
    /// When a task panics.
    pub fn run(&self, count: usize, task: &Task<'_>) {
        if self.workers.is_empty() || count <= 1 {
            (0..count).for_each(task);
            return;
        }
        let _one_job = self.caller.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = &*self.shared;
        let reference: &Task<'_> = task;
        shared.task.store(std::ptr::from_ref(&reference).cast_mut().cast(), Ordering::Relaxed);
        shared.next.store(0, Ordering::Relaxed);
        shared.count.store(count, Ordering::Relaxed);
        // Closes the job and waits for the workers inside, also when a task panics on this thread.
        let closing = Closing(shared);
        // Nobody is inside a closed job, so the new state is the old number plus one, open, with nobody inside.
        let number = shared.state.load(Ordering::Relaxed) & !(INSIDE | OPEN);
        shared.state.store(number.wrapping_add(NUMBER) | OPEN, Ordering::SeqCst);
        if shared.sleepers.load(Ordering::SeqCst) > 0 {
            let _asleep = shared.sleep.lock().unwrap_or_else(PoisonError::into_inner);
            shared.wake.notify_all();
        }
        shared.take_tasks(task);
        drop(closing);
        if shared.panicked.swap(false, Ordering::Relaxed) {
            panic!("a task of the thread pool panicked");
        }
    }
}

struct Closing<'a>(&'a Shared);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        // After a panic the remaining tasks are given up.
        self.0.next.fetch_add(usize::MAX / 2, Ordering::Relaxed);
        self.0.state.fetch_and(!OPEN, Ordering::AcqRel);
        let mut spins = 0;
        while self.0.state.load(Ordering::Acquire) & INSIDE != 0 {
            spins += 1;
            if spins < SPINS_BEFORE_YIELD { std::hint::spin_loop() } else { std::thread::yield_now() }
        }
    }
}

impl Shared {
    fn take_tasks(&self, task: &Task<'_>) {
        let count = self.count.load(Ordering::Relaxed);
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return;
            }
            task(number);
        }
    }

    /// A worker's life.
    fn work(&self) {
        let mut done = 0;
        let mut spins = 0;
        while !self.stop.load(Ordering::Relaxed) {
            let state = self.state.load(Ordering::Acquire);
            let number = state & !(INSIDE | OPEN);
            if state & OPEN != 0 && number != done {
                let joined =
                    self.state.compare_exchange(state, state + 1, Ordering::AcqRel, Ordering::Relaxed);
                if joined.is_err() {
                    continue;
                }
                let pointer: *const &Task<'_> = self.task.load(Ordering::Relaxed).cast_const().cast();
                // SAFETY: the job was open when this worker joined, and `run` does not return before every worker
                // that joined has left, so the reference on its stack is alive.
                let task: &Task<'_> = unsafe { *pointer };
                let outcome =
                    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.take_tasks(task)));
                if outcome.is_err() {
                    self.panicked.store(true, Ordering::Relaxed);
                }
                self.state.fetch_sub(1, Ordering::AcqRel);
                done = number;
                spins = 0;
            } else if spins < SPINS_BEFORE_SLEEP {
                spins += 1;
                std::hint::spin_loop();
            } else {
                self.sleep_until_open(done);
                spins = 0;
            }
        }
    }

    fn sleep_until_open(&self, done: u64) {
        let mut asleep = self.sleep.lock().unwrap_or_else(PoisonError::into_inner);
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        loop {
            let state = self.state.load(Ordering::SeqCst);
            let open = state & OPEN != 0 && state & !(INSIDE | OPEN) != done;
            if open || self.stop.load(Ordering::SeqCst) {
                break;
            }
            asleep = self.wake.wait(asleep).unwrap_or_else(PoisonError::into_inner);
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        {
            let _asleep = self.shared.sleep.lock().unwrap_or_else(PoisonError::into_inner);
            self.shared.wake.notify_all();
        }
        for worker in self.workers.drain(..) {
            // A worker catches the panics of its tasks, so it ends normally.
            let _ = worker.join();
        }
    }
}

/// A slice that several threads write, each to places of its own.
pub(crate) struct SharedSlice<'a, T> {
    pointer: *mut T,
    length: usize,
    _borrow: std::marker::PhantomData<&'a mut [T]>,
}

// SAFETY: the slice is only reached through `range`, whose callers promise disjoint ranges.
unsafe impl<T: Send> Sync for SharedSlice<'_, T> {}

impl<'a, T> SharedSlice<'a, T> {
    pub fn new(slice: &'a mut [T]) -> Self {
        Self { pointer: slice.as_mut_ptr(), length: slice.len(), _borrow: std::marker::PhantomData }
    }

    /// The elements `start .. start + length`, to be written.
    ///
    /// # Safety
    /// No two ranges that overlap are alive at a time.
    #[expect(clippy::mut_from_ref, reason = "the point of the type; the contract forbids overlap")]
    pub unsafe fn range(&self, start: usize, length: usize) -> &mut [T] {
        assert!(start.checked_add(length).is_some_and(|end| end <= self.length), "the range is in the slice");
        // SAFETY: in bounds, and not shared by this function's contract.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.add(start), length) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_exactly_once_over_many_jobs() {
        let pool = ThreadPool::new(0);
        for round in 0..2_000 {
            let count = round % 17;
            let runs: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
            pool.run(count, &|number| {
                runs[number].fetch_add(1, Ordering::Relaxed);
            });
            assert!(runs.iter().all(|run| run.load(Ordering::Relaxed) == 1));
        }
    }

    #[test]
    fn models_of_as_many_threads_share_them_and_take_turns() {
        let (one, other) = (ThreadPool::shared(2), ThreadPool::shared(2));
        assert!(Arc::ptr_eq(&one, &other));
        assert!(!Arc::ptr_eq(&one, &ThreadPool::shared(1)));
        let sum = AtomicUsize::new(0);
        let work = |pool: &ThreadPool| {
            for _ in 0..500 {
                pool.run(7, &|number| {
                    sum.fetch_add(number, Ordering::Relaxed);
                });
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| work(&one));
            scope.spawn(|| work(&other));
        });
        assert_eq!(sum.into_inner(), 2 * 500 * 21);
    }

    #[test]
    fn a_panicking_task_is_reported_and_leaves_the_pool_usable() {
        let pool = ThreadPool::new(0);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            pool.run(8, &|number| assert!(number != 3, "on purpose"));
        }));
        assert!(outcome.is_err());
        let sum = AtomicUsize::new(0);
        pool.run(10, &|number| {
            sum.fetch_add(number, Ordering::Relaxed);
        });
        assert_eq!(sum.into_inner(), 45);
    }
}
