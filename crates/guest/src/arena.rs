//! Memory for what lives within one step: allocated by moving a pointer, given back all at once when the next step
//! begins.
//!
//! ```
//! use glasshouse_guest::arena::{self, Vec};
//!
//! let sum: u32 = arena::with(|arena| {
//!     let mut squares = Vec::new_in(arena);
//!     squares.extend((1..=3).map(|number: u32| number * number));
//!     squares.iter().sum()
//! });
//! assert_eq!(sum, 14);
//! ```
//!
//! What is in the arena can be used inside the closure only, so nothing points to it when it is reset. This does not
//! compile, since the text would leave the closure:
//!
//! ```compile_fail,E0515
//! # use glasshouse_guest::arena;
//! let text: &str = arena::with(|arena| &*arena.alloc_str(&String::from("gone with the step")));
//! ```
//!
//! Nor can it be held across an `.await`, behind which another step may run: the closure is not `async`,
//!
//! ```compile_fail,E0728
//! # use glasshouse_guest::{ErrorData, arena, files};
//! async fn entry(path: String) -> Result<usize, ErrorData> {
//!     arena::with(|arena| {
//!         let name = arena.alloc_str(&path);
//!         let file = files::read(&*name).await?;
//!         Ok(name.len() + file.content.len())
//!     })
//! }
//! ```
//!
//! and a future that borrows from the arena cannot leave it:
//!
//! ```compile_fail
//! # use glasshouse_guest::{ErrorData, arena, files};
//! async fn entry(path: String) -> Result<usize, ErrorData> {
//!     let waiting = arena::with(|arena| async move {
//!         let name = arena.alloc_str(&path);
//!         files::read("other").await.map(|file| name.len() + file.content.len())
//!     });
//!     waiting.await
//! }
//! ```

use std::cell::RefCell;

/// The arena itself: `alloc`, `alloc_str`, `alloc_slice_copy` and their kin.
pub use bumpalo::Bump as Arena;

/// A vector in the arena: `Vec::new_in(arena)`.
pub type Vec<'arena, T> = allocator_api2::vec::Vec<T, &'arena Arena>;

/// The largest capacity that is kept for the next step, in bytes: one big step does not occupy memory for ever.
const RETAINED: usize = 1 << 20;

thread_local! {
    static ARENA: RefCell<Arena> = RefCell::new(Arena::new());
}

/// Gives the process's arena to `act`. What `act` returns cannot borrow from it. Calls may be nested; all of a step
/// share one arena.
///
/// Destructors of what was put into the arena do not run; a [`Vec`] drops its elements as usual.
pub fn with<R>(act: impl FnOnce(&Arena) -> R) -> R {
    ARENA.with_borrow(act)
}

/// A step begins: all space is free again.
pub(crate) fn reset() {
    ARENA.with(|arena| {
        // While somebody uses it, another step can begin only in native tests, which may call an entry anywhere. What is
        // in use stays.
        let Ok(mut arena) = arena.try_borrow_mut() else { return };
        // Of several chunks the largest is kept, so the next step of the same kind has one.
        arena.reset();
        if arena.allocated_bytes() > RETAINED {
            *arena = Arena::new();
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allocated() -> usize {
        with(Arena::allocated_bytes)
    }

    #[test]
    fn the_space_of_a_step_is_used_again_by_the_next() {
        let step = || {
            reset();
            with(|arena| {
                for number in 0..1_000_u64 {
                    arena.alloc([number; 8]);
                }
            });
        };
        step();
        step();
        let after_two = allocated();
        for _ in 0..10_000 {
            step();
            assert!(allocated() <= after_two);
        }
    }

    #[test]
    fn a_large_step_does_not_keep_its_space() {
        with(|arena| arena.alloc_slice_fill_copy(8 << 20, 1_u8).len());
        assert!(allocated() > RETAINED);
        reset();
        assert_eq!(allocated(), 0);
    }

    #[test]
    fn what_is_in_use_is_not_reset() {
        with(|arena| {
            let text = arena.alloc_str("still here");
            reset();
            arena.alloc_str("overwritten");
            assert_eq!(text, "still here");
        });
    }
}
