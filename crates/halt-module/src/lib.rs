//! The streaming halt kernel as a WebAssembly module that needs nothing of its host: no imports, no initialization.
//!
//! - [`exports`]: what a host calls, in C's types. `README.md` describes it, `halt.h` declares it.
//! - [`Module`]: the kernels and configurations of an instance, and where it leaves its answers.
//! - [`Slab`]: values by handle. A handle that names nothing is an error, whatever its number.
//!
//! **Invariant: no call trusts a number from outside.** Handles are looked up, text is read only inside the one buffer that
//! the host may write to, and what is wrong is answered with [`Status::Misuse`].
//!
//! **Invariant: an instance that trapped never goes on.** The lock around its state is still held then, and every call
//! after it answers [`Status::Misuse`].

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

pub mod exports;
mod module;
mod slab;
mod words;

pub use module::{ANSWER_NUMBERS, Module, Status, TRACE_ENTRY_BYTES, given};
pub use slab::Slab;

#[cfg(target_arch = "wasm32")]
mod bare {
    #[global_allocator]
    static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        core::arch::wasm32::unreachable()
    }
}
