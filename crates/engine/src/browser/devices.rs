//! Gives the devices their guest in a browser.
//!
//! - [`Devices`]: the functions that guests import, made once for a machine. They act on the instance that is running.
//! - [`Live`]: the parts of an instance that devices and steps read and write.

use std::{
    cell::{Cell, RefCell},
    ops::Range,
    rc::Rc,
    vec::Vec,
};

use glasshouse_devices::Context;
use js_sys::{Object, Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue, closure::Closure};

use super::bindings::{self, Bytes, Memory};
use crate::{
    abi::{self, Account},
    devices::{self, Caller},
    trap::StepTrap,
};

/// The imports of every guest. The closures live as long as the machine and all of its instances.
pub(super) struct Devices {
    imports: Object,
    running: Rc<Running>,
    _clock_now: Closure<dyn FnMut() -> u64>,
    _random_fill: Closure<dyn FnMut(u32, u32) -> Result<(), JsValue>>,
    _log: Closure<dyn FnMut(u32, u32, u32) -> Result<(), JsValue>>,
    _emit: Closure<dyn FnMut(u32, u32) -> Result<(), JsValue>>,
}

/// The instance that is running; none between calls. A cell, not a borrow: a guest that overflows the browser's own
/// stack inside a device leaves without returning through this code, and must not leave anything locked.
#[derive(Default)]
struct Running {
    live: Cell<Option<Rc<Live>>>,
}

/// The parts of an instance that the host reads and writes.
pub(super) struct Live {
    pub(super) context: RefCell<Context>,
    memory: Memory,
    /// The memory's bytes; another object after each growth.
    bytes: RefCell<Bytes>,
    /// In the order of [`Account::ALL`].
    accounts: [bindings::Account; Account::ALL.len()],
    /// Why a device has stopped the step: what is thrown through the guest only says that one has.
    stopped: Cell<Option<StepTrap>>,
}

impl Devices {
    pub(super) fn new() -> Result<Self, JsValue> {
        let running = Rc::new(Running::default());
        let current = running.clone();
        let clock_now = Closure::<dyn FnMut() -> u64>::new(move || {
            let mut now = 0;
            // Nothing to throw: reading the clock cannot fail.
            let _ = current.device(|caller| {
                now = devices::clock_now(caller);
                Ok(())
            });
            now
        });
        let current = running.clone();
        let random_fill =
            Closure::<dyn FnMut(u32, u32) -> Result<(), JsValue>>::new(move |pointer, length| {
                current.device(|caller| devices::random_fill(caller, pointer, length))
            });
        let current = running.clone();
        let log =
            Closure::<dyn FnMut(u32, u32, u32) -> Result<(), JsValue>>::new(move |level, pointer, length| {
                current.device(|caller| devices::log(caller, level, pointer, length))
            });
        let current = running.clone();
        let emit = Closure::<dyn FnMut(u32, u32) -> Result<(), JsValue>>::new(move |pointer, length| {
            current.device(|caller| devices::emit(caller, pointer, length))
        });
        let functions = Object::new();
        for (name, function) in [
            ("clock_now", clock_now.as_ref()),
            ("random_fill", random_fill.as_ref()),
            ("log", log.as_ref()),
            ("emit", emit.as_ref()),
        ] {
            Reflect::set(&functions, &name.into(), function)?;
        }
        let imports = Object::new();
        Reflect::set(&imports, &abi::IMPORT_MODULE.into(), &functions)?;
        Ok(Self {
            imports,
            running,
            _clock_now: clock_now,
            _random_fill: random_fill,
            _log: log,
            _emit: emit,
        })
    }

    /// The object of which instances are made.
    pub(super) fn imports(&self) -> &Object {
        &self.imports
    }

    /// Calls into the guest while the devices act on it.
    pub(super) fn with<R>(&self, live: &Rc<Live>, call: impl FnOnce() -> R) -> R {
        self.running.live.set(Some(live.clone()));
        let result = call();
        self.running.live.set(None);
        result
    }
}

impl Running {
    /// Runs a device; what it fails with is kept beside the thrown value.
    fn device(&self, act: impl FnOnce(&mut &Live) -> Result<(), StepTrap>) -> Result<(), JsValue> {
        let Some(live) = self.live.take() else {
            return Err(JsValue::from_str("a device was called outside of a step"));
        };
        let result = act(&mut &*live);
        let thrown = result.map_err(|trap| {
            live.stopped.set(Some(trap));
            JsValue::from_str("a device stopped the step")
        });
        self.live.set(Some(live));
        thrown
    }
}

impl Live {
    /// The parts of an instance with these exports.
    pub(super) fn new(exports: &JsValue) -> Result<Self, JsValue> {
        let account = |account: Account| -> Result<bindings::Account, JsValue> {
            Ok(Reflect::get(exports, &account.export().into())?.unchecked_into())
        };
        let accounts = [
            account(Account::Fuel)?,
            account(Account::Stack)?,
            account(Account::MemoryPages)?,
            account(Account::MemoryRefused)?,
            account(Account::TableElements)?,
        ];
        let memory: Memory = Reflect::get(exports, &abi::MEMORY.into())?.unchecked_into();
        Ok(Self {
            context: RefCell::new(Context::new(0, [0; 32])),
            bytes: RefCell::new(memory.buffer()),
            memory,
            accounts,
            stopped: Cell::new(None),
        })
    }

    pub(super) fn account(&self, account: Account) -> i64 {
        self.accounts[account as usize].value()
    }

    pub(super) fn set_account(&self, account: Account, value: i64) {
        self.accounts[account as usize].set_value(value);
    }

    pub(super) fn take_stopped(&self) -> Option<StepTrap> {
        self.stopped.take()
    }

    /// Bytes of the linear memory.
    pub(super) fn memory_bytes(&self) -> u64 {
        let size = self.bytes.borrow().size();
        if size > 0.0 {
            return size as u64;
        }
        // The memory has grown, or is empty.
        let bytes = self.memory.buffer();
        let size = bytes.size() as u64;
        self.bytes.replace(bytes);
        size
    }

    /// Shows a range that lies in the memory, as the browser sees it.
    fn view(&self, start: usize, length: usize) -> Uint8Array {
        self.memory_bytes();
        Uint8Array::new_with_byte_offset_and_length(&self.bytes.borrow(), start as u32, length as u32)
    }

    /// Copies out of the memory; the place lies in it.
    pub(super) fn read(&self, start: usize, length: usize) -> Vec<u8> {
        if length == 0 { Vec::new() } else { self.view(start, length).to_vec() }
    }

    /// Copies into the memory; the place lies in it.
    pub(super) fn write(&self, start: usize, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.view(start, bytes.len()).copy_from(bytes);
        }
    }
}

impl Caller for &Live {
    fn fuel(&mut self) -> i64 {
        self.account(Account::Fuel)
    }

    fn set_fuel(&mut self, fuel: i64) {
        self.set_account(Account::Fuel, fuel);
    }

    fn memory_bytes(&mut self) -> u64 {
        Live::memory_bytes(self)
    }

    fn read<R>(&mut self, range: Range<usize>, act: impl FnOnce(&mut Context, &[u8]) -> R) -> R {
        let bytes = Live::read(self, range.start, range.len());
        act(&mut self.context.borrow_mut(), &bytes)
    }

    fn write<R>(&mut self, range: Range<usize>, act: impl FnOnce(&mut Context, &mut [u8]) -> R) -> R {
        let mut bytes = Live::read(self, range.start, range.len());
        let result = act(&mut self.context.borrow_mut(), &mut bytes);
        Live::write(self, range.start, &bytes);
        result
    }

    fn context<R>(&mut self, act: impl FnOnce(&mut Context) -> R) -> R {
        act(&mut self.context.borrow_mut())
    }
}
