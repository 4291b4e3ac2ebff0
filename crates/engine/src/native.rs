//! The machine of native hosts: wasmtime.
//!
//! - [`Wasmtime`]: one engine, shared by all modules and instances.
//! - [`CompiledModule`]: a module ready to be instantiated.
//! - [`WasmtimeInstance`]: one process.
//! - [`MemoryImage`]: its memory in a snapshot.
//!
//! The rewriting pass accounts for fuel, stack and growth and settles NaNs, so the engine's own counters, limits and
//! canonicalization are off; its stack limit is a net below the counted one.

mod devices;
mod guest;
mod snapshot;

use std::sync::Arc;

use glasshouse_devices::{Context, StepCall, StepReport};
use wasmtime::{Config, Engine, InstancePre, Linker, Memory, Module, Ref, Store, Trap};

use crate::{
    Instance, InstanceLimits, Machine, ModuleError, Snapshot, SnapshotError, StepLimits,
    abi::{self, Account},
    budget::Budget,
    rewrite::{self, Needs, RewriteConfig, Rewritten},
    step::Process,
};

pub use snapshot::MemoryImage;

/// Native stack for guest code. The counted limit is half of this, in an estimate that is generous for what compilers
/// emit; threads have at least 2 MiB.
const NATIVE_STACK_BYTES: usize = 2 * abi::STACK_BYTES as usize;

/// Compiles and runs modules with wasmtime. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Wasmtime {
    engine: Engine,
    linker: Arc<Linker<State>>,
    config: RewriteConfig,
}

/// A module, validated, rewritten and compiled.
#[derive(Clone)]
pub struct CompiledModule {
    ready: InstancePre<State>,
    needs: Arc<Needs>,
}

/// One process on wasmtime. It may move between threads.
pub struct WasmtimeInstance(Process<guest::WasmtimeGuest>);

/// What the engine keeps for an instance: its devices, where its accounts are, and the fuel of its step.
struct State {
    context: Context,
    accounts: Option<Accounts>,
    budget: Budget,
}

/// The parts of an instance that the host reads and writes.
#[derive(Clone, Copy)]
struct Accounts {
    memory: Memory,
    /// In the order of [`Account::ALL`].
    globals: [wasmtime::Global; Account::ALL.len()],
}

impl Wasmtime {
    /// An engine with the default limits on modules.
    ///
    /// # Errors
    /// [`ModuleError::Engine`] when wasmtime does not support this machine.
    pub fn new() -> Result<Self, ModuleError> {
        Self::with_config(RewriteConfig::default())
    }

    /// An engine with the given limits on modules.
    ///
    /// # Errors
    /// [`ModuleError::Engine`] when wasmtime does not support this machine.
    pub fn with_config(config: RewriteConfig) -> Result<Self, ModuleError> {
        let engine = Engine::new(&engine_config()).map_err(engine_error)?;
        let mut linker = Linker::new(&engine);
        devices::define(&mut linker).map_err(engine_error)?;
        Ok(Self { engine, linker: Arc::new(linker), config })
    }
}

fn engine_config() -> Config {
    let mut config = Config::new();
    config
        .max_wasm_stack(NATIVE_STACK_BYTES)
        .wasm_backtrace_max_frames(None)
        .wasm_simd(true)
        .wasm_relaxed_simd(false)
        .wasm_multi_memory(false)
        .wasm_memory64(false)
        .wasm_tail_call(false)
        .wasm_extended_const(true);
    config
}

fn engine_error(error: wasmtime::Error) -> ModuleError {
    ModuleError::Engine { reason: std::format!("{error:#}") }
}

impl Wasmtime {
    /// An instance whose memory and state are still those that the rewritten module starts with.
    fn start(&self, module: &CompiledModule) -> Result<guest::WasmtimeGuest, ModuleError> {
        let state = State { context: Context::new(0, [0; 32]), accounts: None, budget: Budget::default() };
        let mut store = Store::new(&self.engine, state);
        let instance = module.ready.instantiate(&mut store).map_err(|error| {
            if error.downcast_ref::<Trap>().is_some() {
                ModuleError::does_not_fit()
            } else {
                engine_error(error)
            }
        })?;
        let missing = |name: &str| ModuleError::MissingExport { name: name.into() };
        let memory = instance.get_memory(&mut store, abi::MEMORY).ok_or_else(|| missing(abi::MEMORY))?;
        let mut global = |account: Account| {
            instance.get_global(&mut store, account.export()).ok_or_else(|| missing(account.export()))
        };
        let globals = [
            global(Account::Fuel)?,
            global(Account::Stack)?,
            global(Account::MemoryPages)?,
            global(Account::MemoryRefused)?,
            global(Account::TableElements)?,
        ];
        let accounts = Accounts { memory, globals };
        store.data_mut().accounts = Some(accounts);
        let hooks = instance.get_table(&mut store, abi::HOOKS).ok_or_else(|| missing(abi::HOOKS))?;
        let hook = devices::hook(&mut store);
        hooks.set(&mut store, 0, Ref::Func(Some(hook))).map_err(engine_error)?;
        Ok(guest::WasmtimeGuest::new(store, instance, accounts))
    }
}

impl Machine for Wasmtime {
    type Module = CompiledModule;
    type Image = MemoryImage;
    type Instance = WasmtimeInstance;

    fn compile(&self, module: &[u8]) -> Result<CompiledModule, ModuleError> {
        let Rewritten { module, needs } = rewrite::rewrite(module, &self.config)?;
        let compiled = Module::from_binary(&self.engine, &module).map_err(engine_error)?;
        let ready = self.linker.instantiate_pre(&compiled).map_err(engine_error)?;
        Ok(CompiledModule { ready, needs: Arc::new(needs) })
    }

    fn needs<'a>(&self, module: &'a CompiledModule) -> &'a Needs {
        &module.needs
    }

    fn instantiate(
        &self,
        module: &CompiledModule,
        limits: InstanceLimits,
    ) -> Result<WasmtimeInstance, ModuleError> {
        module.needs.check(&limits)?;
        let mut guest = self.start(module)?;
        guest.write_data(&module.needs.data);
        Ok(WasmtimeInstance(Process::new(guest, module.needs.clone(), &limits)))
    }

    fn restore(
        &self,
        module: &CompiledModule,
        snapshot: &Snapshot<MemoryImage>,
        limits: InstanceLimits,
    ) -> Result<WasmtimeInstance, SnapshotError> {
        snapshot.check(&module.needs, &limits)?;
        let mut guest = self.start(module)?;
        guest.restore_memory(snapshot.memory())?;
        let process = Process::restored(guest, module.needs.clone(), &limits, snapshot.registers())?;
        Ok(WasmtimeInstance(process))
    }
}

impl Instance for WasmtimeInstance {
    type Image = MemoryImage;

    fn step(&mut self, call: &StepCall, context: &mut Context, limits: impl Into<StepLimits>) -> StepReport {
        self.0.step(call, context, &limits.into())
    }

    fn snapshot(&mut self) -> Result<Snapshot<MemoryImage>, SnapshotError> {
        self.0.snapshot()
    }
}

impl Accounts {
    fn get(&self, store: impl wasmtime::AsContextMut, account: Account) -> i64 {
        // The pass makes all of them 64-bit integers.
        self.globals[account as usize].get(store).i64().unwrap_or(0)
    }

    fn set(&self, store: impl wasmtime::AsContextMut, account: Account, value: i64) {
        self.globals[account as usize]
            .set(store, wasmtime::Val::I64(value))
            .expect("the pass makes every account mutable and a 64-bit integer");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_native_may_move_between_threads() {
        fn is_send<T: Send>() {}
        is_send::<Wasmtime>();
        is_send::<CompiledModule>();
        is_send::<WasmtimeInstance>();
    }
}
