//! The names and types that a module and a host agree on.
//!
//! ```text
//! exports  memory                          the linear memory
//!          gh_allocate(len) -> ptr         where the host may write `len` bytes of input
//!          <entry>(ptr, len) -> ptr<<32|len   the first step
//!          gh_resume(ptr, len) -> ptr<<32|len every later step
//! imports  what [`glasshouse_devices::functions`] lists
//! added    gh_fuel: global (mut i64)            fuel that is left; below zero: used up
//!          gh_stack: global (mut i64)           stack that is left, in estimated bytes; below zero: used up
//!          gh_memory_pages: global (mut i64)    pages that the memory may have
//!          gh_memory_refused: global (mut i64)  how often `memory.grow` has answered -1
//!          gh_table_elements: global (mut i64)  elements that all tables together may still grow by
//!          gh_start()                           the start function, if there is one: run first in the first step
//! ```

use wasmparser::ValType;

/// Export: the linear memory.
pub const MEMORY: &str = "memory";
/// Export: gives room for a step's input.
pub const ALLOCATE: &str = "gh_allocate";
/// Export: continues with the answer to a request.
pub const RESUME: &str = "gh_resume";
/// Added export: the start function.
pub const START: &str = "gh_start";

/// The globals that the rewriting pass adds, all of type `(mut i64)` and zero until a host sets them, in the order in
/// which they lie behind the module's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Account {
    /// Fuel that is left; below zero: used up.
    Fuel,
    /// Stack that is left, in estimated bytes; below zero: used up.
    Stack,
    /// Pages that the memory may have.
    MemoryPages,
    /// How often `memory.grow` has answered -1 since the host set this to zero.
    MemoryRefused,
    /// Elements that all tables together may still grow by.
    TableElements,
}

impl Account {
    /// All of them, in order.
    pub const ALL: [Self; 5] =
        [Self::Fuel, Self::Stack, Self::MemoryPages, Self::MemoryRefused, Self::TableElements];

    /// The name under which the account is exported.
    pub const fn export(self) -> &'static str {
        match self {
            Self::Fuel => "gh_fuel",
            Self::Stack => "gh_stack",
            Self::MemoryPages => "gh_memory_pages",
            Self::MemoryRefused => "gh_memory_refused",
            Self::TableElements => "gh_table_elements",
        }
    }
}

/// Whether only the rewriting pass may export something under this name.
pub fn is_reserved(name: &str) -> bool {
    name == START || Account::ALL.iter().any(|account| account.export() == name)
}

/// Stack that a step may use, in the estimated bytes that the rewriting pass counts. Small enough that twice as much,
/// together with the host's own frames, fits on a thread of 2 MiB and into the stack of a browser's worker.
pub const STACK_BYTES: u32 = 512 << 10;

/// Parameters and results of a function.
pub(crate) type Signature = (&'static [ValType], &'static [ValType]);

/// The entries.
pub(crate) const ENTRY_SIGNATURE: Signature = (&[ValType::I32, ValType::I32], &[ValType::I64]);

/// `gh_allocate`.
pub(crate) const ALLOCATE_SIGNATURE: Signature = (&[ValType::I32], &[ValType::I32]);
