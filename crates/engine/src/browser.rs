//! The machine of a browser: its own WebAssembly, from the worker in which this code itself runs as WebAssembly.
//!
//! - [`BrowserMachine`]: makes the devices once; modules and instances share them.
//! - [`CompiledModule`]: a module ready to be instantiated.
//! - [`BrowserInstance`]: one process.
//! - [`MemoryImage`]: its memory in a snapshot.
//!
//! Everything here is synchronous: a step is one call into the guest's instance. Browsers compile large modules
//! synchronously in workers only, so that is where this belongs.
//!
//! An instance's memory is freed when the browser collects it, some time after the [`BrowserInstance`] is dropped.

mod bindings;
mod devices;
mod guest;
mod snapshot;

use std::{format, rc::Rc, string::String, sync::Arc};

use glasshouse_devices::{Context, ProcessMemory, StepCall, StepReport};
use js_sys::{Object, Uint8Array, WebAssembly};
use wasm_bindgen::{JsCast, JsValue};

use crate::{
    Instance, InstanceLimits, Machine, ModuleError, Snapshot, SnapshotError, StepLimits,
    rewrite::{self, Needs, RewriteConfig, Rewritten},
    step::Process,
};

pub use snapshot::MemoryImage;

/// Compiles and runs modules with the browser's WebAssembly. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct BrowserMachine {
    devices: Rc<devices::Devices>,
    config: RewriteConfig,
}

/// A module, validated, rewritten and compiled.
#[derive(Clone)]
pub struct CompiledModule {
    module: WebAssembly::Module,
    needs: Arc<Needs>,
    imports: Object,
    /// What its functions of the module `host` are.
    host_functions: Rc<[devices::HostClosure]>,
}

/// One process in a browser.
pub struct BrowserInstance(Process<guest::BrowserGuest>);

impl BrowserMachine {
    /// A machine with the default limits on modules.
    ///
    /// # Errors
    /// [`ModuleError::Engine`] when this host has no WebAssembly that this code may use.
    pub fn new() -> Result<Self, ModuleError> {
        Self::with_config(RewriteConfig::default())
    }

    /// A machine with the given limits on modules.
    ///
    /// # Errors
    /// [`ModuleError::Engine`] when this host has no WebAssembly that this code may use.
    pub fn with_config(config: RewriteConfig) -> Result<Self, ModuleError> {
        Ok(Self { devices: Rc::new(devices::Devices::new().map_err(engine_error)?), config })
    }
}

impl BrowserMachine {
    /// An instance whose memory and state are still those that the rewritten module starts with.
    fn start(&self, module: &CompiledModule) -> Result<guest::BrowserGuest, ModuleError> {
        let instance = WebAssembly::Instance::new(&module.module, &module.imports).map_err(|error| {
            // Nothing of the module runs here, so this is about its element segments.
            if error.is_instance_of::<WebAssembly::RuntimeError>() {
                ModuleError::does_not_fit()
            } else {
                engine_error(error)
            }
        })?;
        let host_functions = module.host_functions.clone();
        guest::BrowserGuest::new(&instance, self.devices.clone(), host_functions).map_err(engine_error)
    }
}

impl Machine for BrowserMachine {
    type Module = CompiledModule;
    type Image = MemoryImage;
    type Instance = BrowserInstance;

    fn compile(&self, module: &[u8]) -> Result<CompiledModule, ModuleError> {
        let Rewritten { module, needs } = rewrite::rewrite(module, &self.config)?;
        let bytes = Uint8Array::from(module.as_slice());
        let module = WebAssembly::Module::new(&bytes).map_err(engine_error)?;
        let (imports, closures) = self.devices.imports_with(&needs.host_functions).map_err(engine_error)?;
        Ok(CompiledModule { module, needs: Arc::new(needs), imports, host_functions: closures.into() })
    }

    fn needs<'a>(&self, module: &'a CompiledModule) -> &'a Needs {
        &module.needs
    }

    fn instantiate(
        &self,
        module: &CompiledModule,
        limits: InstanceLimits,
    ) -> Result<BrowserInstance, ModuleError> {
        module.needs.check(&limits)?;
        let guest = self.start(module)?;
        guest.write_data(&module.needs.data);
        Ok(BrowserInstance(Process::new(guest, module.needs.clone(), &limits)))
    }

    fn restore(
        &self,
        module: &CompiledModule,
        snapshot: &Snapshot<MemoryImage>,
        limits: InstanceLimits,
    ) -> Result<BrowserInstance, SnapshotError> {
        snapshot.check(&module.needs, &limits)?;
        let guest = self.start(module)?;
        guest.restore_memory(snapshot.memory())?;
        let process = Process::restored(guest, module.needs.clone(), &limits, snapshot.registers())?;
        Ok(BrowserInstance(process))
    }
}

impl Instance for BrowserInstance {
    type Image = MemoryImage;

    fn step(&mut self, call: &StepCall, context: &mut Context, limits: impl Into<StepLimits>) -> StepReport {
        self.0.step(call, context, &limits.into())
    }

    fn snapshot(&mut self) -> Result<Snapshot<MemoryImage>, SnapshotError> {
        self.0.snapshot()
    }

    fn memory(&mut self) -> &mut dyn ProcessMemory {
        &mut self.0
    }
}

/// The browser's error as one of this crate's.
fn engine_error(error: JsValue) -> ModuleError {
    ModuleError::Engine { reason: message(&error) }
}

/// What a thrown value says.
fn message(error: &JsValue) -> String {
    match error.dyn_ref::<js_sys::Error>() {
        Some(error) => error.message().into(),
        None => error.as_string().unwrap_or_else(|| format!("{error:?}")),
    }
}
