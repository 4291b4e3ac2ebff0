//! The names and types that a module and a host agree on.
//!
//! ```text
//! exports  memory                          the linear memory
//!          gh_allocate(len) -> ptr         where the host may write `len` bytes of input
//!          <entry>(ptr, len) -> ptr<<32|len   the first step
//!          gh_resume(ptr, len) -> ptr<<32|len every later step
//! imports  glasshouse.clock_now() -> i64   virtual nanoseconds
//!          glasshouse.random_fill(ptr, len)
//!          glasshouse.log(level, ptr, len)
//!          glasshouse.emit(ptr, len)
//! added    gh_fuel: global (mut i64)       fuel that is left; below zero: used up
//!          gh_stack: global (mut i64)      stack that is left, in estimated bytes; below zero: used up
//!          gh_start()                      the module's start function, if it has one: run first in the first step
//! ```

use wasmparser::ValType;

/// The module name of all imports.
pub const IMPORT_MODULE: &str = "glasshouse";
/// Export: the linear memory.
pub const MEMORY: &str = "memory";
/// Export: gives room for a step's input.
pub const ALLOCATE: &str = "gh_allocate";
/// Export: continues with the answer to a request.
pub const RESUME: &str = "gh_resume";
/// Added export: fuel that is left.
pub const FUEL: &str = "gh_fuel";
/// Added export: stack that is left.
pub const STACK: &str = "gh_stack";
/// Added export: the start function.
pub const START: &str = "gh_start";
/// Exports that only the rewriting pass may add.
pub const RESERVED: [&str; 3] = [FUEL, STACK, START];

/// Stack that a step may use, in the estimated bytes that the rewriting pass counts. Small enough that twice as much,
/// together with the host's own frames, fits on a thread of 2 MiB and into the stack of a browser's worker.
pub const STACK_BYTES: u32 = 512 << 10;

/// Fuel for each byte that `random_fill`, `log` or `emit` moves, charged when it is called.
pub const FUEL_PER_DEVICE_BYTE: u64 = 1;

/// Parameters and results of a function.
pub(crate) type Signature = (&'static [ValType], &'static [ValType]);

/// `gh_allocate`.
pub(crate) const ALLOCATE_SIGNATURE: Signature = (&[ValType::I32], &[ValType::I32]);

/// The type of the import of this name, if it is granted.
pub(crate) fn import_signature(name: &str) -> Option<Signature> {
    use ValType::{I32, I64};
    match name {
        "clock_now" => Some((&[], &[I64])),
        "random_fill" => Some((&[I32, I32], &[])),
        "log" => Some((&[I32, I32, I32], &[])),
        "emit" => Some((&[I32, I32], &[])),
        _ => None,
    }
}
