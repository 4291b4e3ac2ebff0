//! The names and types that a module and a host agree on.
//!
//! ```text
//! exports  memory                          the linear memory
//!  of a reactor
//!          gh_allocate(len) -> ptr         where the host may write `len` bytes of input
//!          <entry>(ptr, len) -> ptr<<32|len   the first step
//!          gh_resume(ptr, len) -> ptr<<32|len every later step
//!          gh_free(ptr, len)               if there is one: the host no longer needs a place that `gh_allocate` gave
//!          _initialize()                   if there is one: run once, before the first entry
//!  of a command
//!          _start()                        the only step
//! imports  what [`glasshouse_devices::functions`] lists
//!          host.<name>(ptr, len) -> len    functions of the embedder, looked up when they are called; the answer, of so
//!                                          many bytes, is fetched with glasshouse.take_answer(ptr, len)
//! section  glasshouse.abi                  the version of this contract: u32, little-endian; absent means 1
//! added    gh_fuel: global (mut i64)            fuel that is handed out and left; below zero: used up
//!          gh_stack: global (mut i64)           stack that is left, in estimated bytes; below zero: used up
//!          gh_memory_pages: global (mut i64)    pages that the memory may have
//!          gh_memory_refused: global (mut i64)  how often `memory.grow` has answered -1
//!          gh_table_elements: global (mut i64)  elements that all tables together may still grow by
//!          gh_hooks: table 1 1 funcref          slot 0: the host's `() -> ()`, called at a checkpoint where fuel or stack
//!                                               is below zero; it adds fuel or traps
//!          gh_start()                           the start function, if there is one: run first in the first step
//!          gh_begin(fuel, len) -> (ptr, fuel)   sets the accounts of a step and calls gh_allocate; fuel is i64 and what
//!                                               the account shows behind the call
//!          gh_enter_<entry>(ptr, len) -> (ptr<<32|len, fuel)   calls the entry with the whole stack before it
//! added for snapshots
//!          gh_global_<N>: global (mut t)        each mutable global of the module, by index
//!          gh_read_<N>() -> i64                 its bits, if it is an f32 or f64: browsers show numbers only
//!          gh_write_<N>(i64)
//!          gh_read_<N>() -> (i64, i64)          its halves, lower first, if it is a v128
//!          gh_write_<N>(i64, i64)
//!          gh_table_<N>: table                  each table that an operator changes, by index
//!          gh_function_<N>                      each function that such a table or a global may hold, by index
//!          gh_dropped_<K>: global (mut i64)     one bit for each segment that an operator drops, set when it was
//!          gh_drop()                            drops every segment whose bit is set
//! ```

use wasmparser::ValType;

/// The custom section with the version of this contract.
pub const VERSION_SECTION: &str = "glasshouse.abi";
/// The version of this contract.
pub const VERSION: u32 = 1;
/// Export: the linear memory.
pub const MEMORY: &str = "memory";
/// Export: gives room for a step's input.
pub const ALLOCATE: &str = "gh_allocate";
/// Export: takes back what [`ALLOCATE`] gave.
pub const FREE: &str = "gh_free";
/// Export: continues with the answer to a request.
pub const RESUME: &str = "gh_resume";
/// Export: runs a command.
pub const COMMAND: &str = "_start";
/// Export: makes a reactor ready.
pub const INITIALIZE: &str = "_initialize";
/// Added export: the start function.
pub const START: &str = "gh_start";
/// Added export: begins a step in one call.
pub const BEGIN: &str = "gh_begin";
/// Added exports: enter a step's entry in one call; the entry's name follows.
pub const ENTER: &str = "gh_enter_";
/// Added export: the table of the host's hook.
pub const HOOKS: &str = "gh_hooks";
/// Added export: drops the segments that had been dropped.
pub const DROP: &str = "gh_drop";
/// Added exports: mutable globals; an index follows.
pub const GLOBAL: &str = "gh_global_";
/// Added exports: functions that answer a global's bits; an index follows.
pub const READ_GLOBAL: &str = "gh_read_";
/// Added exports: functions that set a global's bits; an index follows.
pub const WRITE_GLOBAL: &str = "gh_write_";
/// Added exports: tables that can change; an index follows.
pub const TABLE: &str = "gh_table_";
/// Added exports: functions that changing tables and globals may hold; an index follows.
pub const FUNCTION: &str = "gh_function_";
/// Added exports: globals that record what was dropped; a number follows.
pub const DROPPED: &str = "gh_dropped_";

/// The globals that the rewriting pass adds, all of type `(mut i64)` and zero until a host sets them, in the order in
/// which they lie behind the module's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Account {
    /// Fuel that is handed out and left; below zero: used up.
    Fuel,
    /// Stack that is left, in estimated bytes; below zero: used up.
    Stack,
    /// Pages that the memory may have.
    MemoryPages,
    /// How often `memory.grow` has answered -1 since this was set to zero: when a step begins, and by the host.
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
    [START, BEGIN, HOOKS, DROP].contains(&name)
        || Account::ALL.iter().any(|account| account.export() == name)
        || [ENTER, GLOBAL, READ_GLOBAL, WRITE_GLOBAL, TABLE, FUNCTION, DROPPED]
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

/// Stack that a step may use, in the estimated bytes that the rewriting pass counts. Small enough that twice as much,
/// together with the host's own frames, fits on a thread of 2 MiB and into the stack of a browser's worker.
pub const STACK_BYTES: u32 = 512 << 10;

/// Parameters and results of a function.
pub(crate) type Signature = (&'static [ValType], &'static [ValType]);

/// The entries.
pub(crate) const ENTRY_SIGNATURE: Signature = (&[ValType::I32, ValType::I32], &[ValType::I64]);

/// `_start` and `_initialize`.
pub(crate) const PROCEDURE_SIGNATURE: Signature = (&[], &[]);

/// `gh_allocate`.
pub(crate) const ALLOCATE_SIGNATURE: Signature = (&[ValType::I32], &[ValType::I32]);

/// `gh_free`.
pub(crate) const FREE_SIGNATURE: Signature = (&[ValType::I32, ValType::I32], &[]);
