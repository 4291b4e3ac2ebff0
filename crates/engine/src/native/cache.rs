//! Compiled modules, kept for the next time.
//!
//! - [`Key`]: what a compiled module depends on: the module's bytes, the rewriting pass, the engine.
//! - [`Cache`]: those in memory, bounded by their bytes; the one that was used longest ago goes first.
//! - [`Disk`]: those in a directory, which outlive the program.
//!
//! Threads that ask for the same module at the same time wait for one of them to compile it; others go on.

mod disk;

use std::{
    collections::{HashMap, hash_map},
    hash::{Hash, Hasher},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use wasmtime::Engine;

use crate::{ModuleError, rewrite::RewriteConfig};

pub(super) use disk::Disk;

/// Identifies a compiled module by everything that it depends on: BLAKE3.
pub(super) type Key = [u8; 32];

/// What a module's hash is combined with: the pass and the engine.
#[derive(Clone, Copy)]
pub(super) struct Environment(Key);

impl Environment {
    pub(super) fn new(engine: &Engine, modules: &RewriteConfig) -> Self {
        /// Feeds whatever is hashed to BLAKE3.
        struct Feed(blake3::Hasher);
        impl Hasher for Feed {
            fn write(&mut self, bytes: &[u8]) {
                self.0.update(bytes);
            }
            fn finish(&self) -> u64 {
                0
            }
        }
        let mut feed = Feed(blake3::Hasher::new());
        env!("GLASSHOUSE_PASS").hash(&mut feed);
        env!("CARGO_PKG_VERSION").hash(&mut feed);
        (modules.module_bytes, modules.function_bytes).hash(&mut feed);
        engine.precompile_compatibility_hash().hash(&mut feed);
        Self(*feed.0.finalize().as_bytes())
    }

    /// The key of the module with this BLAKE3 hash.
    pub(super) fn key(&self, module: &[u8; 32]) -> Key {
        *blake3::keyed_hash(&self.0, module).as_bytes()
    }
}

/// Compiled modules in memory.
pub(super) struct Cache<V> {
    state: Mutex<State<V>>,
    /// Bytes that all of them together may have.
    bytes_maximum: u64,
}

struct State<V> {
    entries: HashMap<Key, Entry<V>>,
    /// Bytes of all entries.
    bytes: u64,
    /// Counts uses.
    uses: u64,
    in_flight: HashMap<Key, Arc<Flight<V>>>,
}

struct Entry<V> {
    value: V,
    bytes: u64,
    last_use: u64,
}

/// A module that a thread is compiling.
struct Flight<V> {
    landed: Mutex<Landed<V>>,
    changed: Condvar,
}

enum Landed<V> {
    NotYet,
    With(Result<V, ModuleError>),
    /// The thread panicked.
    Never,
}

impl<V: Clone> Cache<V> {
    pub(super) fn new(bytes_maximum: u64) -> Self {
        let state = State { entries: HashMap::new(), bytes: 0, uses: 0, in_flight: HashMap::new() };
        Self { state: Mutex::new(state), bytes_maximum }
    }

    /// The module of this key, made by `make` if it is not here, with its bytes.
    pub(super) fn get(
        &self,
        key: Key,
        make: impl FnOnce() -> Result<(V, u64), ModuleError>,
    ) -> Result<V, ModuleError> {
        loop {
            let mut state = lock(&self.state);
            state.uses += 1;
            let now = state.uses;
            if let Some(entry) = state.entries.get_mut(&key) {
                entry.last_use = now;
                return Ok(entry.value.clone());
            }
            let flight = match state.in_flight.entry(key) {
                hash_map::Entry::Occupied(flight) => Arc::clone(flight.get()),
                hash_map::Entry::Vacant(place) => {
                    let flight = Flight { landed: Mutex::new(Landed::NotYet), changed: Condvar::new() };
                    let flight = Arc::clone(place.insert(Arc::new(flight)));
                    drop(state);
                    return Landing { cache: self, key, flight, made: None }.make(make);
                }
            };
            drop(state);
            if let Some(result) = flight.wait() {
                return result;
            }
        }
    }

    fn insert(&self, key: Key, value: V, bytes: u64) {
        if bytes > self.bytes_maximum {
            return;
        }
        let mut state = lock(&self.state);
        let state = &mut *state;
        while state.bytes + bytes > self.bytes_maximum {
            let Some(oldest) =
                state.entries.iter().min_by_key(|(_, entry)| entry.last_use).map(|(key, _)| *key)
            else {
                break;
            };
            state.bytes -= state.entries.remove(&oldest).map_or(0, |entry| entry.bytes);
        }
        state.bytes += bytes;
        let replaced = state.entries.insert(key, Entry { value, bytes, last_use: state.uses });
        state.bytes -= replaced.map_or(0, |entry| entry.bytes);
    }

    /// How many modules there are, and their bytes.
    pub(super) fn size(&self) -> (usize, u64) {
        let state = lock(&self.state);
        (state.entries.len(), state.bytes)
    }
}

impl<V: Clone> Flight<V> {
    /// What the other thread made; none if it did not come to an end.
    fn wait(&self) -> Option<Result<V, ModuleError>> {
        let mut landed = lock(&self.landed);
        loop {
            match &*landed {
                Landed::NotYet => {
                    landed = self.changed.wait(landed).unwrap_or_else(PoisonError::into_inner);
                }
                Landed::With(result) => return Some(result.clone()),
                Landed::Never => return None,
            }
        }
    }
}

/// Ends a flight, also when compiling panics.
struct Landing<'a, V> {
    cache: &'a Cache<V>,
    key: Key,
    flight: Arc<Flight<V>>,
    made: Option<Result<V, ModuleError>>,
}

impl<V: Clone> Landing<'_, V> {
    fn make(mut self, make: impl FnOnce() -> Result<(V, u64), ModuleError>) -> Result<V, ModuleError> {
        let result = make().map(|(value, bytes)| {
            self.cache.insert(self.key, value.clone(), bytes);
            value
        });
        self.made = Some(result.clone());
        result
    }
}

impl<V> Drop for Landing<'_, V> {
    fn drop(&mut self) {
        lock(&self.cache.state).in_flight.remove(&self.key);
        *lock(&self.flight.landed) = match self.made.take() {
            Some(result) => Landed::With(result),
            None => Landed::Never,
        };
        self.flight.changed.notify_all();
    }
}

/// No thread can panic while it changes what these locks hold.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        sync::{
            Barrier,
            atomic::{AtomicU32, Ordering},
        },
        thread,
    };

    use super::*;

    fn key(number: u8) -> Key {
        [number; 32]
    }

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let cache = Cache::new(100);
        let made = AtomicU32::new(0);
        let get = |number: u8, bytes: u64| {
            let make = || {
                made.fetch_add(1, Ordering::Relaxed);
                Ok((number, bytes))
            };
            assert_eq!(cache.get(key(number), make), Ok(number));
            made.swap(0, Ordering::Relaxed) == 1
        };
        assert!(get(1, 40) && get(2, 40));
        assert!(!get(1, 40));
        assert!(get(3, 40));
        assert_eq!(cache.size(), (2, 80));
        assert!(!get(1, 40) && !get(3, 40));
        assert!(get(2, 40));
        // Larger than everything: it is made each time, and nothing goes for it.
        assert!(get(4, 101) && get(4, 101));
        assert_eq!(cache.size(), (2, 80));
        assert!(get(5, 100));
        assert_eq!(cache.size(), (1, 100));
    }

    #[test]
    fn threads_that_want_the_same_module_compile_it_once() {
        const THREADS: usize = 8;
        let (cache, made, all) = (Cache::new(100), AtomicU32::new(0), Barrier::new(THREADS));
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    all.wait();
                    let make = || {
                        thread::yield_now();
                        made.fetch_add(1, Ordering::Relaxed);
                        Ok((7, 1))
                    };
                    assert_eq!(cache.get(key(7), make), Ok(7));
                });
            }
        });
        assert_eq!(made.into_inner(), 1);
    }

    #[test]
    fn different_modules_are_compiled_at_the_same_time() {
        let (cache, both) = (Cache::new(100), Barrier::new(2));
        thread::scope(|scope| {
            for number in [1, 2] {
                let (cache, both) = (&cache, &both);
                // Neither returns before the other has begun.
                scope.spawn(move || {
                    cache.get(key(number), || {
                        both.wait();
                        Ok((number, 1))
                    })
                });
            }
        });
        assert_eq!(cache.size(), (2, 2));
    }

    #[test]
    fn a_module_that_does_not_compile_is_told_to_all_who_wait_and_is_not_kept() {
        let (cache, begun) = (Cache::<u8>::new(100), Barrier::new(2));
        thread::scope(|scope| {
            scope.spawn(|| {
                let failed = cache.get(key(1), || {
                    begun.wait();
                    while Arc::strong_count(&lock(&cache.state).in_flight[&key(1)]) < 3 {
                        thread::yield_now();
                    }
                    Err(ModuleError::NotWasm)
                });
                assert_eq!(failed, Err(ModuleError::NotWasm));
            });
            begun.wait();
            assert_eq!(cache.get(key(1), || unreachable!("it is in flight")), Err(ModuleError::NotWasm));
        });
        assert_eq!(cache.get(key(1), || Ok((3, 1))), Ok(3));
    }

    #[test]
    fn a_panic_while_compiling_leaves_the_module_to_the_next_who_asks() {
        let cache = Cache::new(100);
        let panicked = catch_unwind(AssertUnwindSafe(|| cache.get(key(1), || panic!("a compiler's bug"))));
        assert!(panicked.is_err());
        assert_eq!(cache.get(key(1), || Ok((3, 1))), Ok(3));
    }
}
