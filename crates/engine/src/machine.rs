//! What runs modules: one trait, so that a native engine and a browser's are used and tested alike.

use glasshouse_devices::{Context, ProcessMemory, StepCall, StepReport};

use crate::{
    ModuleError, SnapshotError, StepLimits,
    rewrite::Needs,
    snapshot::{Image, SavedProcess, Snapshot},
};

/// Bytes of a WebAssembly page.
pub const PAGE_BYTES: u64 = 65_536;

/// Fuel of a process where nobody says how much: some minutes of computation, so that what never ends does end.
pub const DEFAULT_FUEL: u64 = 100_000_000_000;

/// How much one instance may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstanceLimits {
    /// Bytes of linear memory. A `memory.grow` beyond answers -1.
    pub memory_bytes: u64,
    /// Elements of all tables together. A `table.grow` beyond answers -1.
    pub table_elements: u64,
    /// Bytes that a step may return.
    pub output_bytes: u32,
}

impl Default for InstanceLimits {
    /// 64 MiB of memory; 65,536 table elements, ten times what large guests have; 16 MiB of output, as much as is
    /// sensible to keep in a log.
    fn default() -> Self {
        Self { memory_bytes: 64 << 20, table_elements: 1 << 16, output_bytes: 16 << 20 }
    }
}

/// Compiles modules and makes instances of them.
pub trait Machine {
    /// A compiled module; cheap to clone.
    type Module: Clone;
    /// A memory as a snapshot holds it; cheap to clone.
    type Image: Image;
    /// One process's memory, tables and globals.
    type Instance: Instance<Image = Self::Image>;

    /// Whether the machine keeps what it has compiled, so that [`Machine::compile_known`] is fast the second time.
    const KEEPS_MODULES: bool = false;

    /// Validates, rewrites and compiles a module.
    ///
    /// # Errors
    /// Whatever [`crate::rewrite::rewrite`] refuses; [`ModuleError::Engine`].
    fn compile(&self, module: &[u8]) -> Result<Self::Module, ModuleError>;

    /// The same for a module whose BLAKE3 hash is known: machines that keep compiled modules find it faster.
    ///
    /// # Errors
    /// Those of [`Machine::compile`].
    fn compile_known(&self, hash: &[u8; 32], module: &[u8]) -> Result<Self::Module, ModuleError> {
        let _ = hash;
        self.compile(module)
    }

    /// What the module needs of its host.
    fn needs<'a>(&self, module: &'a Self::Module) -> &'a Needs;

    /// Makes an instance. None of the module's code runs before the first step.
    ///
    /// # Errors
    /// [`ModuleError::TooLarge`] when it starts with more memory or table elements than allowed, or may have more memory
    /// than this machine can give; [`ModuleError::TooManyInstances`];
    /// [`ModuleError::Start`] when its data does not fit its memory or tables; [`ModuleError::Engine`].
    fn instantiate(
        &self,
        module: &Self::Module,
        limits: InstanceLimits,
    ) -> Result<Self::Instance, ModuleError>;

    /// Makes an instance that continues where the snapshot was taken, as often as one likes: that is a fork.
    ///
    /// # Errors
    /// [`SnapshotError`]: when the snapshot is of another module, or larger than the limits allow.
    fn restore(
        &self,
        module: &Self::Module,
        snapshot: &Snapshot<Self::Image>,
        limits: InstanceLimits,
    ) -> Result<Self::Instance, SnapshotError>;

    /// Makes an instance of what another host may have saved.
    ///
    /// # Errors
    /// [`SnapshotError`].
    fn restore_saved(
        &self,
        module: &Self::Module,
        saved: &SavedProcess,
        limits: InstanceLimits,
    ) -> Result<Self::Instance, SnapshotError> {
        self.restore(module, &saved.to_snapshot(self.needs(module), &limits)?, limits)
    }
}

/// The linear memory, tables and globals of one process. A native one may move between threads; a browser's belongs to
/// the worker that made it.
pub trait Instance {
    /// A memory as a snapshot holds it.
    type Image: Image;

    /// Runs one step within these limits; a number is fuel alone. Takes the step's log and events out of the context.
    /// After a step that trapped or exited, every further one reports [`glasshouse_devices::TrapKind::Poisoned`].
    fn step(&mut self, call: &StepCall, context: &mut Context, limits: impl Into<StepLimits>) -> StepReport;

    /// What the instance is between two steps. Its devices are the caller's, in the [`Context`].
    ///
    /// # Errors
    /// [`SnapshotError::Engine`] when the engine does not give away what it must.
    fn snapshot(&mut self) -> Result<Snapshot<Self::Image>, SnapshotError>;

    /// The linear memory, for its host between two steps. A process may be lost to what is written there; its host is not.
    fn memory(&mut self) -> &mut dyn ProcessMemory;
}
