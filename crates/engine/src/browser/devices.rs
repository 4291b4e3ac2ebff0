//! Binds the functions that a guest may import, in a browser.
//!
//! - [`Devices`]: the imports of every guest, made once for a machine. They act on the instance that is running.
//! - [`Live`]: the parts of an instance that devices and steps read and write.
//!
//! The imports are WebAssembly functions of a small module made here, one for each function of the table, of exactly its
//! type. Such a function puts its arguments into that module's memory and calls one JavaScript function with its number.
//! The hook for checkpoints is another function of that module.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    string::String,
    vec::Vec,
};

use glasshouse_devices::{Call, Context, Guest, HOST_MODULE, HostFunction, Stop, ValueType};
use js_sys::{DataView, Function as Callable, Object, Reflect, Uint8Array, WebAssembly};
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use wasm_encoder::{
    CodeSection, EntityType, ExportKind, ExportSection, Function, FunctionSection, ImportSection, MemArg,
    MemArgTarget, MemorySection, MemoryType, Module, TypeSection, ValType,
};

use super::bindings::{self, Bytes, Memory};
use crate::{
    abi::{self, Account},
    budget::Budget,
    trap::StepTrap,
};

/// The imports of every guest. The function behind them lives as long as the machine and all of its instances.
pub(super) struct Devices {
    imports: Object,
    /// What lies in the table of every guest's hook. A WebAssembly function, since a table takes no other.
    hook: Callable,
    running: Rc<Running>,
    _call: Closure<dyn FnMut(u32) -> Result<u32, JsValue>>,
    _checkpoint: Closure<dyn FnMut() -> Result<(), JsValue>>,
}

/// A function of the module `host`.
pub(super) type HostClosure = Closure<dyn FnMut(u32, u32) -> Result<u64, JsValue>>;

/// The instance that is running; none between calls. A cell, not a borrow: a guest that overflows the browser's own
/// stack inside a device leaves without returning through this code, and must not leave anything locked.
#[derive(Default)]
struct Running {
    live: Cell<Option<Rc<Live>>>,
    /// The memory of the module of imports; set right after it is made.
    slots: RefCell<Option<DataView>>,
}

/// The parts of an instance that the host reads and writes.
pub(super) struct Live {
    pub(super) context: RefCell<Context>,
    /// The step's fuel; taken out while it is looked at.
    budget: Cell<Budget>,
    memory: Memory,
    /// The memory's bytes; another object after each growth.
    bytes: RefCell<Bytes>,
    /// In the order of [`Account::ALL`].
    accounts: [bindings::Account; Account::ALL.len()],
    /// Why a device has stopped the step: what is thrown through the guest only says that one has.
    stopped: Cell<Option<StepTrap>>,
}

/// Where the module of imports gets its one function from, and the names of its function and its memory.
const HOST: &str = "host";
const CALL: &str = "call";
const CHECKPOINT: &str = "checkpoint";
const SLOTS: &str = "slots";

/// Bytes of one argument, or of the result, in the slots.
const SLOT_BYTES: usize = 8;

impl Devices {
    pub(super) fn new() -> Result<Self, JsValue> {
        let running = Rc::new(Running::default());
        let current = running.clone();
        let call = Closure::<dyn FnMut(u32) -> Result<u32, JsValue>>::new(move |number: u32| {
            match glasshouse_devices::functions().nth(number as usize) {
                Some(function) => current.call(function),
                None => Err(JsValue::from_str("there is no such function")),
            }
        });
        let current = running.clone();
        let checkpoint = Closure::<dyn FnMut() -> Result<(), JsValue>>::new(move || current.checkpoint());
        let functions = Object::new();
        Reflect::set(&functions, &CALL.into(), call.as_ref())?;
        Reflect::set(&functions, &CHECKPOINT.into(), checkpoint.as_ref())?;
        let needed = Object::new();
        Reflect::set(&needed, &HOST.into(), &functions)?;
        let module = WebAssembly::Module::new(&Uint8Array::from(trampolines().as_slice()))?;
        let exports = WebAssembly::Instance::new(&module, &needed)?.exports();
        let slots: WebAssembly::Memory = Reflect::get(&exports, &SLOTS.into())?.unchecked_into();
        let slots = DataView::new(slots.buffer().unchecked_ref(), 0, SLOT_BYTES * slot_count());
        running.slots.replace(Some(slots));

        let imports = Object::new();
        for (number, function) in glasshouse_devices::functions().enumerate() {
            let module = Reflect::get(&imports, &function.module.into())?;
            let module = if module.is_undefined() {
                let module = Object::new();
                Reflect::set(&imports, &function.module.into(), &module)?;
                module.into()
            } else {
                module
            };
            let export = Reflect::get(&exports, &number.to_string().into())?;
            Reflect::set(&module, &function.name.into(), &export)?;
        }
        let hook = Reflect::get(&exports, &CHECKPOINT.into())?.unchecked_into();
        Ok(Self { imports, hook, running, _call: call, _checkpoint: checkpoint })
    }

    /// What lies in the table of every guest's hook.
    pub(super) fn hook(&self) -> &Callable {
        &self.hook
    }

    /// The object of which instances are made, with functions of the module `host`, by the names under which a guest imports them. They work as long
    /// as what comes with it is kept.
    pub(super) fn imports_with(&self, names: &[String]) -> Result<(Object, Vec<HostClosure>), JsValue> {
        let functions = Object::new();
        let mut closures = Vec::new();
        for name in names {
            let (running, own_name) = (self.running.clone(), name.clone());
            let call = HostClosure::new(move |pointer, length| running.call_host(&own_name, pointer, length));
            Reflect::set(&functions, &name.as_str().into(), call.as_ref())?;
            closures.push(call);
        }
        let imports = Object::assign(&Object::new(), &self.imports);
        Reflect::set(&imports, &HOST_MODULE.into(), &functions)?;
        Ok((imports, closures))
    }

    /// Calls into the guest while the devices act on it.
    pub(super) fn with<R>(&self, live: &Rc<Live>, call: impl FnOnce() -> R) -> R {
        self.running.live.set(Some(live.clone()));
        let result = call();
        self.running.live.set(None);
        result
    }
}

fn slot_count() -> usize {
    glasshouse_devices::functions().map(|function| function.parameters.len()).max().unwrap_or(0).max(1)
}

/// The module of imports: an export for each function of the table, named by its number, and the hook.
fn trampolines() -> Vec<u8> {
    let value = |kind: &ValueType| match kind {
        ValueType::I32 => ValType::I32,
        ValueType::I64 => ValType::I64,
    };
    let (mut types, mut functions) = (TypeSection::new(), FunctionSection::new());
    let (mut exports, mut code) = (ExportSection::new(), CodeSection::new());
    let mut imports = ImportSection::new();
    types.ty().function([ValType::I32], [ValType::I32]);
    types.ty().function([], []);
    imports.import(HOST, CALL, EntityType::Function(0));
    imports.import(HOST, CHECKPOINT, EntityType::Function(1));
    exports.export(CHECKPOINT, ExportKind::Func, 1);
    let target = MemArgTarget::Memory(0);
    let place = |slot: usize| MemArg { offset: (slot * SLOT_BYTES) as u64, align: 3, target, ordering: None };
    for (number, function) in (0u32..).zip(glasshouse_devices::functions()) {
        types.ty().function(function.parameters.iter().map(value), function.result.iter().map(value));
        functions.function(number + 2);
        let mut body = Function::new([]);
        let mut operators = body.instructions();
        for (local, kind) in (0u32..).zip(function.parameters) {
            operators.i32_const(0).local_get(local);
            if *kind == ValueType::I32 {
                operators.i64_extend_i32_u();
            }
            operators.i64_store(place(local as usize));
        }
        operators.i32_const(number.cast_signed()).call(0);
        match function.result {
            Some(ValueType::I32) => {}
            Some(ValueType::I64) => {
                operators.drop().i32_const(0).i64_load(place(0));
            }
            None => {
                operators.drop();
            }
        }
        operators.end();
        code.function(&body);
        exports.export(&number.to_string(), ExportKind::Func, number + 2);
    }
    let mut memories = MemorySection::new();
    let memory_type =
        MemoryType { minimum: 1, maximum: Some(1), memory64: false, shared: false, page_size_log2: None };
    memories.memory(memory_type);
    exports.export(SLOTS, ExportKind::Memory, 0);
    let mut module = Module::new();
    module.section(&types).section(&imports).section(&functions).section(&memories).section(&exports);
    module.section(&code);
    module.finish()
}

impl Running {
    /// Runs a function for the instance that is running. What it fails with is kept beside the thrown value.
    fn call(&self, function: &'static HostFunction) -> Result<u32, JsValue> {
        self.act(|live| self.run(function, live).map_err(|stop| live.why(stop)))
    }

    /// Calls a function of the module `host` for the instance that is running.
    fn call_host(&self, name: &str, pointer: u32, length: u32) -> Result<u64, JsValue> {
        let Some(function) = glasshouse_devices::find(HOST_MODULE, name) else {
            return Err(JsValue::from_str("there is no such function"));
        };
        self.act(|live| {
            let mut context = live.context.borrow_mut();
            let arguments = [pointer.into(), length.into()];
            let result = Call::run_named(function, name, &arguments, &mut &*live, &mut context);
            result.map_err(|stop| live.why(stop))
        })
    }

    /// The hook of the instance that is running.
    fn checkpoint(&self) -> Result<(), JsValue> {
        self.act(|live| {
            let stack = live.account(Account::Stack);
            live.fuel(|budget, fuel| budget.hook(fuel, stack))
        })
    }

    /// Acts on the instance that is running.
    fn act<R>(&self, act: impl FnOnce(&Live) -> Result<R, StepTrap>) -> Result<R, JsValue> {
        let Some(live) = self.live.take() else {
            return Err(JsValue::from_str("a device was called outside of a step"));
        };
        let thrown = act(&live).map_err(|trap| {
            live.stopped.set(Some(trap));
            JsValue::from_str("a device stopped the step")
        });
        self.live.set(Some(live));
        thrown
    }

    fn run(&self, function: &'static HostFunction, live: &Live) -> Result<u32, Stop> {
        // A copy of the reference, so that nothing stays borrowed while the guest's devices run.
        let slots = self.slots.borrow().clone();
        let Some(slots) = slots else { return Err(Stop::Misused("the devices are not ready".into())) };
        let number = |slot: usize| {
            let low = slots.get_uint32_endian(slot * SLOT_BYTES, true);
            let high = slots.get_uint32_endian(slot * SLOT_BYTES + 4, true);
            u64::from(high) << 32 | u64::from(low)
        };
        let arguments: Vec<u64> = (0..function.parameters.len()).map(number).collect();
        let mut context = live.context.borrow_mut();
        let result = Call::run(function, &arguments, &mut &*live, &mut context)?;
        if function.result == Some(ValueType::I64) {
            slots.set_uint32_endian(0, result as u32, true);
            slots.set_uint32_endian(4, (result >> 32) as u32, true);
        }
        Ok(result as u32)
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
            budget: Cell::default(),
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

    /// Acts on the step's fuel.
    pub(super) fn budget<R>(&self, act: impl FnOnce(&mut Budget) -> R) -> R {
        let mut budget = self.budget.take();
        let result = act(&mut budget);
        self.budget.set(budget);
        result
    }

    /// Acts on the step's fuel and on the account of what is handed out.
    fn fuel<R>(&self, act: impl FnOnce(&mut Budget, &mut i64) -> R) -> R {
        let mut fuel = self.account(Account::Fuel);
        let result = self.budget(|budget| act(budget, &mut fuel));
        self.set_account(Account::Fuel, fuel);
        result
    }

    /// Why a function stops the step: where the fuel was looked at it is known better.
    fn why(&self, stop: Stop) -> StepTrap {
        self.stopped.take().unwrap_or_else(|| stop.into())
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

    /// Makes the memory larger.
    pub(super) fn grow(&self, pages: u32) -> Result<u32, JsValue> {
        self.memory.grow(pages)
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

impl Guest for &Live {
    fn memory_size(&self) -> u64 {
        self.memory_bytes()
    }

    fn read(&self, start: usize, bytes: &mut [u8]) {
        if !bytes.is_empty() {
            self.view(start, bytes.len()).copy_to(bytes);
        }
    }

    fn write(&mut self, start: usize, bytes: &[u8]) {
        Live::write(self, start, bytes);
    }

    fn pay(&mut self, fuel: u64) -> Result<(), Stop> {
        self.fuel(|budget, account| budget.pay(account, fuel)).map_err(|trap| {
            self.stopped.set(Some(trap));
            Stop::Interrupted
        })
    }
}
