//! The machine of a browser: its own WebAssembly, from the worker in which this code itself runs as WebAssembly.
//!
//! - [`BrowserMachine`]: makes the devices once; modules and instances share them.
//! - [`CompiledModule`]: a module ready to be instantiated.
//! - [`BrowserInstance`]: one process.
//!
//! Everything here is synchronous: a step is one call into the guest's instance. Browsers compile large modules
//! synchronously in workers only, so that is where this belongs.
//!
//! An instance's memory is freed when the browser collects it, some time after the [`BrowserInstance`] is dropped.

mod bindings;
mod devices;
mod guest;

use std::{format, rc::Rc, string::String, sync::Arc};

use glasshouse_devices::{Context, StepCall, StepReport};
use js_sys::{Uint8Array, WebAssembly};
use wasm_bindgen::{JsCast, JsValue};

use crate::{
    Instance, InstanceLimits, Machine, ModuleError,
    rewrite::{self, Needs, RewriteConfig},
    step::Process,
};

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

impl Machine for BrowserMachine {
    type Module = CompiledModule;
    type Instance = BrowserInstance;

    fn compile(&self, module: &[u8]) -> Result<CompiledModule, ModuleError> {
        let rewritten = rewrite::rewrite(module, &self.config)?;
        let needs = Arc::new(rewrite::needs(&rewritten)?);
        let bytes = Uint8Array::from(rewritten.as_slice());
        let module = WebAssembly::Module::new(&bytes).map_err(engine_error)?;
        Ok(CompiledModule { module, needs })
    }

    fn instantiate(
        &self,
        module: &CompiledModule,
        limits: InstanceLimits,
    ) -> Result<BrowserInstance, ModuleError> {
        module.needs.check(&limits)?;
        let instance =
            WebAssembly::Instance::new(&module.module, self.devices.imports()).map_err(|error| {
                // Nothing of the module runs here, so this is about its data.
                if error.is_instance_of::<WebAssembly::RuntimeError>() {
                    ModuleError::does_not_fit()
                } else {
                    engine_error(error)
                }
            })?;
        let guest = guest::BrowserGuest::new(&instance, self.devices.clone()).map_err(engine_error)?;
        Ok(BrowserInstance(Process::new(guest, module.needs.clone(), &limits)))
    }
}

impl Instance for BrowserInstance {
    fn step(&mut self, call: &StepCall, context: &mut Context, fuel: u64) -> StepReport {
        self.0.step(call, context, fuel)
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
