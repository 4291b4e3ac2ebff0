//! Worlds on wasmtime, compiled or interpreted.

use std::rc::Rc;

use wasmtime::{
    Caller, Config, Engine, Extern, ExternType, Func, Global, HeapType, Instance, Memory, Module, Ref, Store,
    StoreLimits, StoreLimitsBuilder, Table, Val, ValType,
};

use super::{Compiled, Exports, Hook, Imports, Item, Names, World};
use crate::value::{Failure, Kind, Trap, Value};

/// Native stack for code: twice what the accounts allow, as processes have it.
const STACK_BYTES: usize = 2 * glasshouse_engine::abi::STACK_BYTES as usize;

pub(super) fn config() -> Config {
    let mut config = Config::new();
    config.max_wasm_stack(STACK_BYTES).wasm_backtrace_max_frames(None);
    config
}

/// Instances in one store.
pub(super) struct WasmtimeWorld {
    compiled: Rc<Compiled<Engine, Module>>,
    store: Store<StoreLimits>,
    functions: Vec<Func>,
    globals: Vec<Global>,
    tables: Vec<Table>,
    memories: Vec<Memory>,
    /// By the address of what the engine knows of a function.
    names: Names<usize>,
}

impl WasmtimeWorld {
    pub(super) fn new(compiled: Rc<Compiled<Engine, Module>>, memory_bytes: usize) -> Self {
        let limits = StoreLimitsBuilder::new().memory_size(memory_bytes).build();
        let mut store = Store::new(&compiled.engine, limits);
        store.limiter(|limits| limits);
        Self {
            compiled,
            store,
            functions: Vec::new(),
            globals: Vec::new(),
            tables: Vec::new(),
            memories: Vec::new(),
            names: Names { names: Default::default(), instances: 0 },
        }
    }

    fn add(&mut self, item: Extern) -> Option<Item> {
        Some(match item {
            Extern::Func(function) => {
                self.functions.push(function);
                Item::Function(self.functions.len() - 1)
            }
            Extern::Global(global) => {
                self.globals.push(global);
                Item::Global(self.globals.len() - 1)
            }
            Extern::Table(table) => {
                self.tables.push(table);
                Item::Table(self.tables.len() - 1)
            }
            Extern::Memory(memory) => {
                self.memories.push(memory);
                Item::Memory(self.memories.len() - 1)
            }
            _ => return None,
        })
    }

    fn item(&self, item: Item) -> Extern {
        match item {
            Item::Function(index) => self.functions[index].into(),
            Item::Global(index) => self.globals[index].into(),
            Item::Table(index) => self.tables[index].into(),
            Item::Memory(index) => self.memories[index].into(),
        }
    }

    fn function(&self, item: Item) -> Func {
        let Item::Function(index) = item else { panic!("{item:?} is not a function") };
        self.functions[index]
    }

    fn global_of(&self, item: Item) -> Global {
        let Item::Global(index) = item else { panic!("{item:?} is not a global") };
        self.globals[index]
    }

    fn reference(&mut self, function: Option<Func>) -> Value {
        Value::Function(function.map(|function| self.names.of(&(function.to_raw(&mut self.store) as usize))))
    }

    fn value(&mut self, value: &Val) -> Value {
        match value {
            Val::I32(value) => Value::I32(*value),
            Val::I64(value) => Value::I64(*value),
            Val::F32(bits) => Value::F32(*bits),
            Val::F64(bits) => Value::F64(*bits),
            Val::V128(bits) => Value::V128(bits.as_u128()),
            Val::FuncRef(function) => self.reference(*function),
            other => panic!("{other:?} is not a value of a rewritten module"),
        }
    }
}

impl World for WasmtimeWorld {
    fn instantiate(&mut self, module: &[u8], imports: &Imports) -> Result<Exports, Failure> {
        let module = self
            .compiled
            .module(module, |engine| Module::from_binary(engine, module))
            .map_err(|error| Failure::Link(format!("{error:#}")))?;
        let given = module
            .imports()
            .map(|import| {
                let item = imports.get(&(import.module().to_owned(), import.name().to_owned()));
                item.map(|item| self.item(*item))
                    .ok_or_else(|| Failure::Link(format!("no {}.{}", import.module(), import.name())))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let instance = Instance::new(&mut self.store, &module, &given).map_err(|error| failure(&error))?;
        let mut exports: Vec<(String, Extern)> = instance
            .exports(&mut self.store)
            .map(|export| (export.name().to_owned(), export.into_extern()))
            .collect();
        exports.sort_by(|one, other| one.0.cmp(&other.0));
        let mut found = Vec::new();
        for (name, export) in exports {
            if let Extern::Func(function) = export {
                self.names.add(function.to_raw(&mut self.store) as usize, &name);
            }
            found.extend(self.add(export).map(|item| (name, item)));
        }
        self.names.instances += 1;
        Ok(found)
    }

    fn parameters(&mut self, function: Item) -> Vec<Kind> {
        let kind = |kind: ValType| match kind {
            ValType::I32 => Kind::I32,
            ValType::I64 => Kind::I64,
            ValType::F32 => Kind::F32,
            ValType::F64 => Kind::F64,
            ValType::V128 => Kind::V128,
            ValType::Ref(reference) if matches!(reference.heap_type(), HeapType::Func) => Kind::Function,
            ValType::Ref(_) => Kind::Other,
        };
        let ExternType::Func(function) = self.item(function).ty(&self.store) else { return Vec::new() };
        function.params().map(kind).collect()
    }

    fn call(&mut self, function: Item, arguments: &[Value]) -> Result<Vec<Value>, Failure> {
        let function = self.function(function);
        let arguments: Vec<Val> = arguments.iter().map(given).collect();
        let mut results = vec![Val::I32(0); function.ty(&self.store).results().len()];
        function.call(&mut self.store, &arguments, &mut results).map_err(|error| failure(&error))?;
        Ok(results.iter().map(|value| self.value(value)).collect())
    }

    fn global(&mut self, global: Item) -> Value {
        let value = self.global_of(global).get(&mut self.store);
        self.value(&value)
    }

    fn set_global(&mut self, global: Item, value: &Value) {
        self.global_of(global).set(&mut self.store, given(value)).expect("a mutable global of this type");
    }

    fn table(&mut self, table: Item) -> Vec<Value> {
        let Item::Table(index) = table else { panic!("{table:?} is not a table") };
        let table = self.tables[index];
        (0..table.size(&self.store))
            .map(|index| match table.get(&mut self.store, index) {
                Some(Ref::Func(function)) => self.reference(function),
                other => panic!("{other:?} is not an element of a rewritten module"),
            })
            .collect()
    }

    fn memory(&mut self, memory: Item) -> &mut [u8] {
        let Item::Memory(index) = memory else { panic!("{memory:?} is not a memory") };
        self.memories[index].data_mut(&mut self.store)
    }

    fn set_hook(&mut self, table: Item, hook: Hook) {
        let Item::Table(index) = table else { panic!("{table:?} is not a table") };
        let (fuel, stack) = (self.global_of(hook.fuel), self.global_of(hook.stack));
        let function = Func::wrap(&mut self.store, move |mut caller: Caller<'_, StoreLimits>| {
            let mut account =
                |global: Global| global.get(&mut caller).i64().expect("accounts are 64-bit integers");
            let left = hook.call(account(fuel), account(stack))?;
            fuel.set(&mut caller, Val::I64(left))
        });
        self.tables[index].set(&mut self.store, 0, Ref::Func(Some(function))).expect("a table with a slot");
    }
}

fn given(value: &Value) -> Val {
    match value {
        Value::I32(value) => Val::I32(*value),
        Value::I64(value) => Val::I64(*value),
        Value::F32(bits) => Val::F32(*bits),
        Value::F64(bits) => Val::F64(*bits),
        Value::V128(bits) => Val::V128((*bits).into()),
        Value::Function(None) => Val::FuncRef(None),
        Value::Function(Some(name)) => panic!("the function {name} cannot be given"),
    }
}

fn failure(error: &wasmtime::Error) -> Failure {
    use wasmtime::Trap as Code;
    if let Some(trap) = error.downcast_ref::<Trap>() {
        return Failure::Trap(*trap);
    }
    let Some(code) = error.downcast_ref::<Code>() else { return Failure::Link(format!("{error:#}")) };
    Failure::Trap(match code {
        Code::UnreachableCodeReached => Trap::Unreachable,
        Code::StackOverflow => Trap::StackOverflow,
        Code::MemoryOutOfBounds => Trap::MemoryOutOfBounds,
        Code::TableOutOfBounds => Trap::TableOutOfBounds,
        Code::IndirectCallToNull => Trap::IndirectCallToNull,
        Code::BadSignature => Trap::BadSignature,
        Code::IntegerDivisionByZero => Trap::DivideByZero,
        Code::IntegerOverflow => Trap::IntegerOverflow,
        Code::BadConversionToInteger => Trap::BadConversionToInteger,
        other => return Failure::Link(format!("{other}")),
    })
}
