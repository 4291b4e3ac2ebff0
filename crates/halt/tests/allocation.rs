//! What deciding costs the allocator: nothing, once the kernel is made.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    hint::black_box,
};

use glasshouse_halt::{Config, HaltMode, Kernel, Token, Trend};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counting for each thread.
struct Counting;

// SAFETY: everything is the system allocator's; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps to the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(act: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    act();
    ALLOCATIONS.get() - before
}

#[test]
fn the_counter_sees_an_allocation() {
    assert_eq!(allocations(|| drop(black_box(Box::new(1)))), 1);
}

#[test]
fn no_token_and_no_end_allocates() {
    for halt_mode in [HaltMode::Hard, HaltMode::Soft] {
        let config = Config {
            halt_mode,
            trend: Trend::LeastSquares,
            hold_back: 100,
            keep_text: true,
            soft_limit: Some(0.95),
            soft_halt_tokens: 3,
            ..Config::default()
        };
        let mut kernel = Kernel::new(&config).unwrap();
        let count = allocations(|| {
            for index in 0..100_000_u64 {
                // Falls so slowly that only the mean stops it, and there are tokens after that, right and wrong.
                let score = 0.9 - index as f64 / 200_000.0;
                let token = Token { index, score: Some(score), text: Some("a word."), ..Token::default() };
                let _ = black_box(kernel.process(&token));
                let _ =
                    black_box((kernel.mean(), kernel.drop_over_window(), kernel.trace().next().is_some()));
            }
            let _ = black_box(kernel.process_token(7, f64::NAN));
            black_box(kernel.finish());
        });
        assert_eq!(count, 0);
        assert!(kernel.halt().is_some());
    }
}
