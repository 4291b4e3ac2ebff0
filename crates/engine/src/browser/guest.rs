//! Gives a step its guest in a browser.

use std::{mem, rc::Rc, string::String, vec::Vec};

use glasshouse_devices::Context;
use js_sys::{Object, Reflect, WebAssembly, WebAssembly::Table};
use wasm_bindgen::{JsCast, JsValue};

use super::{
    bindings::Exported,
    devices::{Devices, HostClosure, Live},
    message,
};
use crate::{
    abi::{self, Account},
    budget::Budget,
    step::Guest,
    trap::{Failure, GuestTrap, StepTrap},
};

/// An instance and what it keeps.
pub(super) struct BrowserGuest {
    pub(super) live: Rc<Live>,
    devices: Rc<Devices>,
    pub(super) exports: Object,
    /// The module's functions that tables and globals may hold, with their indices. Filled when a snapshot first needs
    /// it.
    pub(super) functions: Option<js_sys::Map>,
    /// What its functions of the module `host` are: an instance can outlive its module.
    _host_functions: Rc<[HostClosure]>,
    /// The entry that was called last: it is nearly always called again.
    entry: Option<(String, Exported)>,
}

impl BrowserGuest {
    pub(super) fn new(
        instance: &WebAssembly::Instance,
        devices: Rc<Devices>,
        host_functions: Rc<[HostClosure]>,
    ) -> Result<Self, JsValue> {
        let exports = instance.exports();
        let live = Rc::new(Live::new(&exports)?);
        let hooks: Table = Reflect::get(&exports, &abi::HOOKS.into())?.unchecked_into();
        hooks.set(0, devices.hook())?;
        Ok(Self { live, devices, exports, functions: None, _host_functions: host_functions, entry: None })
    }

    /// Makes a call of the guest while the devices act on it.
    fn call<R>(&self, call: impl FnOnce() -> Result<R, JsValue>) -> Result<R, Failure> {
        self.devices.with(&self.live, call).map_err(|error| match self.live.take_stopped() {
            Some(trap) => Failure::Stopped(trap),
            None => failure(&error),
        })
    }
}

impl Guest for BrowserGuest {
    fn account(&mut self, account: Account) -> i64 {
        self.live.account(account)
    }

    fn set_account(&mut self, account: Account, value: i64) {
        self.live.set_account(account, value);
    }

    fn swap_context(&mut self, context: &mut Context) {
        // A guest that overflowed the browser's own stack inside a device may have left the context locked: it is lost,
        // and so is the process.
        if let Ok(mut own) = self.live.context.try_borrow_mut() {
            mem::swap(&mut *own, context);
        }
    }

    fn budget<R>(&mut self, act: impl FnOnce(&mut Budget) -> R) -> R {
        self.live.budget(act)
    }

    fn procedure(&mut self, name: &str) -> Result<(), Failure> {
        let procedure = exported(&self.exports, name).map_err(|error| failure(&error))?;
        self.call(|| procedure.procedure(&JsValue::UNDEFINED))
    }

    fn allocate(&mut self, length: u32) -> Result<u32, Failure> {
        let allocate = exported(&self.exports, abi::ALLOCATE).map_err(|error| failure(&error))?;
        self.call(|| allocate.allocate(&JsValue::UNDEFINED, length))
    }

    fn enter(&mut self, entry: &str, pointer: u32, length: u32) -> Result<u64, Failure> {
        let function = match self.entry.take() {
            Some((name, function)) if name == entry => function,
            _ => exported(&self.exports, entry).map_err(|error| failure(&error))?,
        };
        let packed = self.call(|| function.enter(&JsValue::UNDEFINED, pointer, length));
        self.entry = Some((entry.into(), function));
        packed.map(|packed| packed as u64)
    }

    fn memory_bytes(&mut self) -> u64 {
        self.live.memory_bytes()
    }

    fn write(&mut self, pointer: u32, bytes: &[u8]) {
        self.live.write(pointer as usize, bytes);
    }

    fn read(&mut self, pointer: u32, length: u32) -> Vec<u8> {
        self.live.read(pointer as usize, length as usize)
    }
}

pub(super) fn exported(exports: &Object, name: &str) -> Result<Exported, JsValue> {
    Ok(Reflect::get(exports, &name.into())?.unchecked_into())
}

/// Why a call into the guest failed.
fn failure(error: &JsValue) -> Failure {
    match GuestTrap::from_browser(&message(error)) {
        Some(trap) => Failure::Guest(trap),
        None => Failure::Stopped(StepTrap::engine()),
    }
}
