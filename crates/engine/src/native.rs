//! The machine of native hosts: wasmtime.
//!
//! - [`Wasmtime`]: one engine, shared by all modules and instances, with the modules that it has compiled.
//! - [`EngineConfig`]: how it is set up.
//! - [`CompiledModule`]: a module ready to be instantiated.
//! - [`WasmtimeInstance`]: one process.
//! - [`MemoryImage`]: its memory in a snapshot.
//!
//! A process's memory starts as an image (`image`), mapped copy-on-write where the host can (`memory`). Compiled modules
//! are kept in memory and, if there is a directory for them, on disk (`cache`).

mod cache;
mod config;
mod devices;
mod guest;
mod image;
mod memory;
mod snapshot;

use std::{
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use glasshouse_devices::{Context, ProcessMemory, StepCall, StepReport};
use wasmtime::{Engine, InstancePre, Linker, Memory, Module, Ref, Store, Trap};

use crate::{
    Instance, InstanceLimits, Machine, ModuleError, PAGE_BYTES, Snapshot, SnapshotError, StepLimits,
    abi::{self, Account},
    budget::Budget,
    rewrite::{self, Needs, Rewritten},
    step::Process,
};
use cache::{Cache, Disk, Environment, Key};
pub use config::{EngineConfig, Profile};
pub use image::MemoryImage;
use memory::Memories;

/// Compiles and runs modules with wasmtime. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Wasmtime(Arc<Shared>);

struct Shared {
    config: EngineConfig,
    engine: Engine,
    linker: Linker<State>,
    memories: Memories,
    environment: Environment,
    cache: Cache<CompiledModule>,
    disk: Option<Disk>,
    /// Instances that are alive.
    instances: Arc<AtomicU32>,
}

/// A module, validated, rewritten and compiled. Cheap to clone.
#[derive(Clone)]
pub struct CompiledModule(Arc<Compiled>);

struct Compiled {
    ready: InstancePre<State>,
    needs: Arc<Needs>,
    /// What its memory starts as, made for the first instance.
    image: OnceLock<MemoryImage>,
}

/// One process on wasmtime. It may move between threads.
pub struct WasmtimeInstance {
    process: Process<guest::WasmtimeGuest>,
    _alive: Alive,
}

/// Counts an instance while it is alive.
struct Alive(Arc<AtomicU32>);

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
    /// A machine as [`EngineConfig::deterministic`] says.
    ///
    /// # Errors
    /// [`ModuleError::Engine`] when wasmtime does not support this host.
    pub fn new() -> Result<Self, ModuleError> {
        Self::with_config(EngineConfig::deterministic())
    }

    /// A machine that is set up like this. A cache directory that cannot be used is not: compiled modules are then kept in
    /// memory only.
    ///
    /// # Errors
    /// [`ModuleError::Engine`] when wasmtime does not support this host.
    pub fn with_config(config: EngineConfig) -> Result<Self, ModuleError> {
        let memories = Memories::new(config.copy_on_write);
        let engine = Engine::new(&config.engine(&memories)?).map_err(engine_error)?;
        let mut linker = Linker::new(&engine);
        devices::define(&mut linker).map_err(engine_error)?;
        Ok(Self(Arc::new(Shared {
            environment: Environment::new(&engine, &config.modules),
            cache: Cache::new(config.cache_bytes),
            disk: config.cache_directory.as_deref().and_then(|directory| Disk::open(directory).ok()),
            instances: Arc::default(),
            config,
            engine,
            linker,
            memories,
        })))
    }

    /// How it is set up.
    pub fn config(&self) -> &EngineConfig {
        &self.0.config
    }

    /// How many compiled modules are kept in memory, and the bytes of their code.
    pub fn cached(&self) -> (usize, u64) {
        self.0.cache.size()
    }
}

impl Shared {
    /// A module that is not in memory: from the disk, or compiled. With the bytes of its code.
    fn load_or_compile(&self, key: &Key, module: &[u8]) -> Result<(CompiledModule, u64), ModuleError> {
        if let Some(loaded) = self.load(key) {
            return Ok(loaded);
        }
        let Rewritten { module, needs } = rewrite::rewrite(module, &self.config.modules)?;
        let compiled = Module::from_binary(&self.engine, &module).map_err(engine_error)?;
        if let Some(disk) = &self.disk
            && let (Ok(encoded), Ok(code)) = (postcard::to_allocvec(&needs), compiled.serialize())
        {
            // A cache that cannot be written, on a full disk perhaps, is no reason not to run.
            let _ = disk.store(key, &encoded, &code);
        }
        self.ready(&compiled, needs)
    }

    fn load(&self, key: &Key) -> Option<(CompiledModule, u64)> {
        let file = self.disk.as_ref()?.load(key)?;
        let needs = postcard::from_bytes(file.needs()).ok()?;
        // SAFETY: somebody who could read the cache's secret, which only this user can, made exactly these bytes for this
        // key, and this program writes nothing else there than what `Module::serialize` gives.
        let compiled = unsafe { Module::deserialize_open_file(&self.engine, file.into_file()) }.ok()?;
        self.ready(&compiled, needs).ok()
    }

    fn ready(&self, compiled: &Module, needs: Needs) -> Result<(CompiledModule, u64), ModuleError> {
        let ready = if needs.host_functions.is_empty() {
            self.linker.instantiate_pre(compiled)
        } else {
            let mut linker = self.linker.clone();
            devices::define_host_functions(&mut linker, &needs.host_functions).map_err(engine_error)?;
            linker.instantiate_pre(compiled)
        };
        let ready = ready.map_err(engine_error)?;
        let code = compiled.image_range();
        let bytes = code.end.addr() - code.start.addr();
        let compiled = Compiled { ready, needs: Arc::new(needs), image: OnceLock::new() };
        Ok((CompiledModule(Arc::new(compiled)), bytes as u64))
    }

    /// Counts one more instance.
    fn admit(&self) -> Result<Alive, ModuleError> {
        let limit = self.config.instances;
        let alive = Alive(Arc::clone(&self.instances));
        // The guard takes back what is one too many.
        if self.instances.fetch_add(1, Ordering::Relaxed) >= limit {
            return Err(ModuleError::TooManyInstances { limit });
        }
        Ok(alive)
    }

    /// Fails when a memory may become larger than what is reserved for it: growing would fail, here and not on other hosts.
    fn check_reservation(&self, limits: &InstanceLimits) -> Result<(), ModuleError> {
        let limit = self.config.memory_reservation_bytes;
        let size = limits.memory_bytes.min(config::ADDRESSABLE_BYTES);
        if size > limit {
            let what = "the memory that the process may have, in bytes,".into();
            return Err(ModuleError::TooLarge { what, size, limit });
        }
        Ok(())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn engine_error(error: wasmtime::Error) -> ModuleError {
    ModuleError::Engine { reason: std::format!("{error:#}") }
}

fn memory_error(error: io::Error) -> ModuleError {
    ModuleError::Engine { reason: std::format!("the host gives no memory: {error}") }
}

impl Compiled {
    /// What the memory of an instance starts as. [`Needs::check`] has seen that the data fits.
    fn image(&self, memories: &Memories) -> Result<&MemoryImage, ModuleError> {
        if let Some(image) = self.image.get() {
            return Ok(image);
        }
        let data = self.needs.data.iter();
        let segments: Vec<_> = data.map(|data| (data.offset as usize, data.bytes.as_slice())).collect();
        let made = memories.of_data(self.needs.memory_bytes as usize, &segments).map_err(memory_error)?;
        Ok(self.image.get_or_init(|| made))
    }
}

impl Shared {
    /// An instance whose memory is this image, which is not smaller than what the module starts with. Its other state is
    /// still that of the rewritten module.
    fn start(&self, module: &Compiled, image: &MemoryImage) -> Result<guest::WasmtimeGuest, ModuleError> {
        let state = State { context: Context::new(0, [0; 32]), accounts: None, budget: Budget::default() };
        let mut store = Store::new(&self.engine, state);
        let instance = self.memories.creating(image, || module.ready.instantiate(&mut store));
        let instance = instance.map_err(|error| {
            if error.downcast_ref::<Trap>().is_some() {
                ModuleError::does_not_fit()
            } else {
                engine_error(error)
            }
        })?;
        let missing = |name: &str| ModuleError::MissingExport { name: name.into() };
        let memory = instance.get_memory(&mut store, abi::MEMORY).ok_or_else(|| missing(abi::MEMORY))?;
        let grown = (image.bytes() as u64).saturating_sub(memory.data_size(&store) as u64);
        if grown > 0 {
            memory.grow(&mut store, grown / PAGE_BYTES).map_err(engine_error)?;
        }
        self.memories.fill(image, memory.data_mut(&mut store)).map_err(memory_error)?;
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
        Ok(guest::WasmtimeGuest::new(store, instance, accounts, self.memories.clone(), image.clone()))
    }
}

impl Machine for Wasmtime {
    type Module = CompiledModule;
    type Image = MemoryImage;
    type Instance = WasmtimeInstance;

    const KEEPS_MODULES: bool = true;

    fn compile(&self, module: &[u8]) -> Result<CompiledModule, ModuleError> {
        self.compile_known(blake3::hash(module).as_bytes(), module)
    }

    fn compile_known(&self, hash: &[u8; 32], module: &[u8]) -> Result<CompiledModule, ModuleError> {
        let key = self.0.environment.key(hash);
        self.0.cache.get(key, || self.0.load_or_compile(&key, module))
    }

    fn needs<'a>(&self, module: &'a CompiledModule) -> &'a Needs {
        &module.0.needs
    }

    fn instantiate(
        &self,
        module: &CompiledModule,
        limits: InstanceLimits,
    ) -> Result<WasmtimeInstance, ModuleError> {
        let needs = &module.0.needs;
        needs.check(&limits)?;
        self.0.check_reservation(&limits)?;
        let alive = self.0.admit()?;
        let guest = self.0.start(&module.0, module.0.image(&self.0.memories)?)?;
        Ok(WasmtimeInstance { process: Process::new(guest, needs.clone(), &limits), _alive: alive })
    }

    fn restore(
        &self,
        module: &CompiledModule,
        snapshot: &Snapshot<MemoryImage>,
        limits: InstanceLimits,
    ) -> Result<WasmtimeInstance, SnapshotError> {
        let needs = &module.0.needs;
        snapshot.check(needs, &limits)?;
        self.0.check_reservation(&limits)?;
        let alive = self.0.admit()?;
        let image = self.0.memories.for_use(snapshot.memory());
        let guest = self.0.start(&module.0, image)?;
        let process = Process::restored(guest, needs.clone(), &limits, snapshot.registers())?;
        Ok(WasmtimeInstance { process, _alive: alive })
    }
}

impl Instance for WasmtimeInstance {
    type Image = MemoryImage;

    fn step(&mut self, call: &StepCall, context: &mut Context, limits: impl Into<StepLimits>) -> StepReport {
        self.process.step(call, context, &limits.into())
    }

    fn snapshot(&mut self) -> Result<Snapshot<MemoryImage>, SnapshotError> {
        self.process.snapshot()
    }

    fn memory(&mut self) -> &mut dyn ProcessMemory {
        &mut self.process
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
