//! Gives a step its guest in a browser.

use std::{format, mem, rc::Rc, string::String, vec::Vec};

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

    /// Answers if a place lies in the memory.
    fn lies_within(&self, pointer: u32, length: usize) -> Option<()> {
        (u64::from(pointer) + length as u64 <= self.live.memory_bytes()).then_some(())
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

    fn begin(&mut self, fuel: i64, length: u32) -> Result<(u32, i64), Failure> {
        let begin = exported(&self.exports, abi::BEGIN).map_err(|error| failure(&error))?;
        let answer = self.call(|| begin.begin(&JsValue::UNDEFINED, fuel, length))?;
        Ok((answer.place(), answer.fuel()))
    }

    fn enter(&mut self, entry: &str, pointer: u32, length: u32) -> Result<(u64, i64), Failure> {
        let function = match self.entry.take() {
            Some((name, function)) if name == entry => function,
            _ => {
                exported(&self.exports, &format!("{}{entry}", abi::ENTER)).map_err(|error| failure(&error))?
            }
        };
        let answer = self.call(|| function.enter(&JsValue::UNDEFINED, pointer, length));
        self.entry = Some((entry.into(), function));
        answer.map(|answer| (answer.packed() as u64, answer.fuel()))
    }

    fn free(&mut self, pointer: u32, length: u32) -> Result<(), Failure> {
        let function = exported(&self.exports, abi::FREE).map_err(|error| failure(&error))?;
        self.call(|| function.free(&JsValue::UNDEFINED, pointer, length))
    }

    fn memory_bytes(&mut self) -> u64 {
        self.live.memory_bytes()
    }

    fn write(&mut self, pointer: u32, bytes: &[u8]) -> Option<()> {
        self.lies_within(pointer, bytes.len())?;
        self.live.write(pointer as usize, bytes);
        Some(())
    }

    fn read(&mut self, pointer: u32, length: u32) -> Option<Vec<u8>> {
        self.lies_within(pointer, length as usize)?;
        Some(self.live.read(pointer as usize, length as usize))
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
