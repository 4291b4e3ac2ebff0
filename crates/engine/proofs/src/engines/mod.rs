//! What runs modules, spelled alike: wasmtime's compiler, its interpreter Pulley, and wasmi.
//!
//! - [`World`]: the instances of one run, in one store of an engine.
//! - [`Item`]: something that an instance exports.
//! - [`Engines`]: makes worlds of every kind.

mod wasmi;
mod wasmtime;

use std::{
    cell::RefCell,
    collections::BTreeMap,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use crate::value::{Failure, Kind, Trap, Value};

/// Something that an instance exports, by its number in its world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item {
    /// A function.
    Function(usize),
    /// A global.
    Global(usize),
    /// A table.
    Table(usize),
    /// A memory.
    Memory(usize),
}

/// What an instance exports, by name: engines do not agree on another order.
pub type Exports = Vec<(String, Item)>;

/// What an instance can import, by module and name.
pub type Imports = BTreeMap<(String, String), Item>;

/// The instances of one run. Items of one world are of no use in another; the wrong kind of item is a mistake of the
/// caller, and panics.
pub trait World {
    /// Compiles and instantiates a module. Runs its start function if it has one.
    ///
    /// # Errors
    /// [`Failure`].
    fn instantiate(&mut self, module: &[u8], imports: &Imports) -> Result<Exports, Failure>;

    /// The types of a function's parameters.
    fn parameters(&mut self, function: Item) -> Vec<Kind>;

    /// Calls a function. References can be given as null only.
    ///
    /// # Errors
    /// [`Failure::Trap`].
    fn call(&mut self, function: Item, arguments: &[Value]) -> Result<Vec<Value>, Failure>;

    /// A global's value.
    fn global(&mut self, global: Item) -> Value;

    /// Sets a number global.
    fn set_global(&mut self, global: Item, value: &Value);

    /// The elements of a table.
    fn table(&mut self, table: Item) -> Vec<Value>;

    /// The bytes of a memory.
    fn memory(&mut self, memory: Item) -> &mut [u8];

    /// Puts a host's function into the first slot of a table.
    fn set_hook(&mut self, table: Item, hook: Hook);
}

/// What a module calls where its fuel or stack is below zero, as a host does it: hands out more fuel, or traps.
#[derive(Clone)]
pub struct Hook {
    /// The instance's account of fuel.
    pub fuel: Item,
    /// The instance's account of stack.
    pub stack: Item,
    /// Fuel that was not handed out yet, not below zero.
    pub reserve: Arc<AtomicI64>,
    /// Fuel that is handed out at once, if that is enough.
    pub slice: i64,
}

impl Hook {
    /// What the account of fuel is to show next.
    fn call(&self, fuel: i64, stack: i64) -> Result<i64, Trap> {
        let reserve = self.reserve.load(Ordering::Relaxed);
        if fuel + reserve < 0 {
            return Err(Trap::OutOfFuel);
        }
        if stack < 0 {
            return Err(Trap::StackOverflow);
        }
        let amount = self.slice.max(-fuel).min(reserve);
        self.reserve.store(reserve - amount, Ordering::Relaxed);
        Ok(fuel + amount)
    }
}

/// A kind of world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineKind {
    /// wasmtime's compiler, which settles all NaNs by itself: for modules that were not rewritten.
    Settling,
    /// wasmtime's compiler.
    Compiler,
    /// wasmtime's interpreter, Pulley.
    Interpreter,
    /// wasmi, an interpreter that shares no code with wasmtime.
    Wasmi,
}

impl EngineKind {
    /// Those that run rewritten modules.
    pub const REWRITTEN: [Self; 3] = [Self::Compiler, Self::Interpreter, Self::Wasmi];
}

/// Makes worlds.
pub struct Engines {
    settling: Rc<Compiled<::wasmtime::Engine, ::wasmtime::Module>>,
    compiler: Rc<Compiled<::wasmtime::Engine, ::wasmtime::Module>>,
    interpreter: Rc<Compiled<::wasmtime::Engine, ::wasmtime::Module>>,
    wasmi: Rc<Compiled<::wasmi::Engine, ::wasmi::Module>>,
}

/// An engine, and what it has compiled last: many runs are of one module.
struct Compiled<E, M> {
    engine: E,
    last: RefCell<Option<(Vec<u8>, M)>>,
}

impl<E, M: Clone> Compiled<E, M> {
    fn new(engine: E) -> Rc<Self> {
        Rc::new(Self { engine, last: RefCell::new(None) })
    }

    fn module<R>(&self, bytes: &[u8], compile: impl FnOnce(&E) -> Result<M, R>) -> Result<M, R> {
        if let Some((last, module)) = &*self.last.borrow()
            && last == bytes
        {
            return Ok(module.clone());
        }
        let module = compile(&self.engine)?;
        *self.last.borrow_mut() = Some((bytes.to_vec(), module.clone()));
        Ok(module)
    }
}

impl Engines {
    /// One engine of each kind.
    pub fn new() -> Self {
        let mut settling = wasmtime::config();
        settling.cranelift_nan_canonicalization(true);
        let mut interpreter = wasmtime::config();
        interpreter.target("pulley64").expect("the interpreter's target is known");
        let engine = |config: &::wasmtime::Config| {
            Compiled::new(::wasmtime::Engine::new(config).expect("a supported host"))
        };
        Self {
            settling: engine(&settling),
            compiler: engine(&wasmtime::config()),
            interpreter: engine(&interpreter),
            wasmi: Compiled::new(::wasmi::Engine::new(&wasmi::config())),
        }
    }

    /// A world without instances, whose memories have at most this many bytes each.
    pub fn world(&self, kind: EngineKind, memory_bytes: usize) -> Box<dyn World> {
        match kind {
            EngineKind::Settling => {
                Box::new(wasmtime::WasmtimeWorld::new(self.settling.clone(), memory_bytes))
            }
            EngineKind::Compiler => {
                Box::new(wasmtime::WasmtimeWorld::new(self.compiler.clone(), memory_bytes))
            }
            EngineKind::Interpreter => {
                Box::new(wasmtime::WasmtimeWorld::new(self.interpreter.clone(), memory_bytes))
            }
            EngineKind::Wasmi => Box::new(wasmi::WasmiWorld::new(self.wasmi.clone(), memory_bytes)),
        }
    }
}

impl Default for Engines {
    fn default() -> Self {
        Self::new()
    }
}

/// The names of functions: instance and first export, in the order in which the world has seen them.
#[derive(Default)]
struct Names<K> {
    names: BTreeMap<K, String>,
    instances: usize,
}

impl<K: Ord> Names<K> {
    fn add(&mut self, key: K, export: &str) {
        // The pass exports functions under names of its own.
        if !glasshouse_engine::abi::is_reserved(export) {
            self.names.entry(key).or_insert_with(|| format!("{}.{export}", self.instances));
        }
    }

    fn of(&self, key: &K) -> String {
        self.names.get(key).cloned().unwrap_or_else(|| "not exported".into())
    }
}
