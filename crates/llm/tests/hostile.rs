//! The checks of the fuzz targets, on every compiler: changed copies of generated models, in bounded memory.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

#[path = "../fuzz/checks.rs"]
mod checks;

/// How many models are tried, times the effort of [`EFFORT`].
const CASES: u64 = 600;
/// Multiplies the number of cases, for runs by hand.
const EFFORT: &str = "GLASSHOUSE_FUZZ_EFFORT";
/// Another seed gives other cases.
const SEED: &str = "GLASSHOUSE_FUZZ_SEED";
/// What a hostile file may make this program hold beyond the generated models: they have a few megabytes each, and a
/// vocabulary's trie, a cache and activations come with them.
const MOST_BYTES: usize = 256 << 20;

/// The system's allocator, which notes how much is held at most.
struct Measuring;

static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is the system allocator's; measuring allocates nothing.
unsafe impl GlobalAlloc for Measuring {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(held, Ordering::Relaxed);
        // SAFETY: the caller keeps to the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(held, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Measuring = Measuring;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("the variable holds a number"))
}

/// Marsaglia's xorshift64.
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

#[test]
fn hostile_model_files_never_panic_and_never_take_much_memory() {
    let seed = number(SEED, 0x5eed);
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    // The originals are made at the first case, and held from then on.
    checks::changed(&0u32.to_le_bytes());
    let before = HELD.load(Ordering::Relaxed);
    for case in 0..CASES * number(EFFORT, 1) {
        MOST.store(HELD.load(Ordering::Relaxed), Ordering::Relaxed);
        let words = 1 + 3 * (1 + random(&mut state) as usize % 4);
        let description: Vec<u8> =
            (0..words).flat_map(|_| (random(&mut state) as u32).to_le_bytes()).collect();
        let outcome = std::panic::catch_unwind(|| checks::changed(&description));
        assert!(outcome.is_ok(), "case {case} of seed {seed} panicked: {description:?}");
        let most = MOST.load(Ordering::Relaxed).saturating_sub(before);
        assert!(most < MOST_BYTES, "case {case} of seed {seed} took {most} bytes: {description:?}");
    }
}

#[test]
fn bytes_that_are_no_model_are_refused() {
    for bytes in [&b""[..], b"GGUF", b"GGUF\x03\0\0\0", b"not a model", &[0xff; 64]] {
        checks::model(bytes.to_vec());
    }
}
