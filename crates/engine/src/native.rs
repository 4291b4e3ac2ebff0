//! The machine of native hosts: wasmtime.
//!
//! - [`Wasmtime`]: one engine, shared by all modules and instances.
//! - [`CompiledModule`]: a module ready to be instantiated.
//!
//! The rewriting pass accounts for fuel and stack, so the engine's own counters are off; its stack limit is a net below
//! the counted one. NaNs are canonicalized by the engine.

mod devices;
mod instance;

use std::{boxed::Box, string::ToString, sync::Arc};

use glasshouse_devices::Context;
use wasmtime::{Config, Engine, InstancePre, Linker, Memory, Module, ResourceLimiter, Store, Trap};

use crate::{
    Instance, InstanceLimits, Machine, ModuleError, abi,
    rewrite::{self, Needs, RewriteConfig},
};

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
    needs: Needs,
}

/// What the engine keeps for an instance: its devices, its limits, and where its accounts are.
struct State {
    context: Context,
    limits: InstanceLimits,
    /// Elements of all tables.
    table_elements: u64,
    /// Whether the guest asked for more memory in this step than it may have.
    memory_refused: bool,
    accounts: Option<Accounts>,
}

/// The parts of an instance that the host reads and writes.
#[derive(Clone, Copy)]
struct Accounts {
    memory: Memory,
    fuel: wasmtime::Global,
    stack: wasmtime::Global,
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
        .cranelift_nan_canonicalization(true)
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

impl Machine for Wasmtime {
    type Module = CompiledModule;

    fn compile(&self, module: &[u8]) -> Result<CompiledModule, ModuleError> {
        let rewritten = rewrite::rewrite(module, &self.config)?;
        let needs = rewrite::needs(&rewritten)?;
        let compiled = Module::from_binary(&self.engine, &rewritten).map_err(engine_error)?;
        let ready = self.linker.instantiate_pre(&compiled).map_err(engine_error)?;
        Ok(CompiledModule { ready, needs })
    }

    fn instantiate(
        &self,
        module: &CompiledModule,
        limits: InstanceLimits,
    ) -> Result<Box<dyn Instance>, ModuleError> {
        module.needs.check(&limits)?;
        let state = State {
            context: Context::new(0, [0; 32]),
            limits,
            table_elements: 0,
            memory_refused: false,
            accounts: None,
        };
        let mut store = Store::new(&self.engine, state);
        store.limiter(|state| state);
        let instance =
            module.ready.instantiate(&mut store).map_err(|error| match error.downcast_ref::<Trap>() {
                Some(trap) => ModuleError::Start { reason: trap.to_string() },
                None => engine_error(error),
            })?;
        let missing = |name: &str| ModuleError::MissingExport { name: name.into() };
        let memory = instance.get_memory(&mut store, abi::MEMORY).ok_or_else(|| missing(abi::MEMORY))?;
        let fuel = instance.get_global(&mut store, abi::FUEL).ok_or_else(|| missing(abi::FUEL))?;
        let stack = instance.get_global(&mut store, abi::STACK).ok_or_else(|| missing(abi::STACK))?;
        let accounts = Accounts { memory, fuel, stack };
        store.data_mut().accounts = Some(accounts);
        Ok(Box::new(instance::WasmtimeInstance::new(store, instance, accounts)))
    }
}

impl ResourceLimiter for State {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let allowed =
            desired as u64 <= self.limits.memory_bytes && maximum.is_none_or(|maximum| desired <= maximum);
        self.memory_refused |= !allowed;
        Ok(allowed)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let elements = (self.table_elements + desired as u64).saturating_sub(current as u64);
        let allowed =
            elements <= self.limits.table_elements && maximum.is_none_or(|maximum| desired <= maximum);
        if allowed {
            self.table_elements = elements;
        }
        Ok(allowed)
    }
}
