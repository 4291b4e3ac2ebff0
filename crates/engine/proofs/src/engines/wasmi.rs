//! Worlds on wasmi.

use std::rc::Rc;

use wasmi::{
    Caller, Config, Engine, Extern, Func, Global, Instance, Memory, Module, Ref, Store, StoreLimits,
    StoreLimitsBuilder, Table, TrapCode, Val, ValType,
    errors::{ErrorKind, InstantiationError, TableError},
};

use super::{Compiled, Exports, Hook, Imports, Item, Names, World};
use crate::value::{Failure, Kind, Trap, Value};

/// More nested calls and bytes than the accounts allow.
const RECURSION_DEPTH: usize = 1 << 20;
const STACK_BYTES: usize = 64 << 20;

pub(super) fn config() -> Config {
    let mut config = Config::default();
    config.set_max_recursion_depth(RECURSION_DEPTH).set_max_stack_height(STACK_BYTES);
    config
}

/// Instances in one store.
pub(super) struct WasmiWorld {
    compiled: Rc<Compiled<Engine, Module>>,
    store: Store<StoreLimits>,
    functions: Vec<Func>,
    globals: Vec<Global>,
    tables: Vec<Table>,
    memories: Vec<Memory>,
    /// By how a function's handle is printed: handles cannot be compared.
    names: Names<String>,
}

impl WasmiWorld {
    pub(super) fn new(compiled: Rc<Compiled<Engine, Module>>, memory_bytes: usize) -> Self {
        let mut store =
            Store::new(&compiled.engine, StoreLimitsBuilder::new().memory_size(memory_bytes).build());
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

    fn add(&mut self, item: Extern) -> Item {
        match item {
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
        }
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

    fn reference(&self, function: Ref<Func>) -> Value {
        Value::Function(function.val().map(|function| self.names.of(&format!("{function:?}"))))
    }

    fn value(&self, value: &Val) -> Value {
        match value {
            Val::I32(value) => Value::I32(*value),
            Val::I64(value) => Value::I64(*value),
            Val::F32(value) => Value::F32(value.to_bits()),
            Val::F64(value) => Value::F64(value.to_bits()),
            Val::V128(value) => Value::V128(value.as_u128()),
            Val::FuncRef(function) => self.reference(*function),
            other => panic!("{other:?} is not a value of a rewritten module"),
        }
    }
}

impl World for WasmiWorld {
    fn instantiate(&mut self, module: &[u8], imports: &Imports) -> Result<Exports, Failure> {
        let module = self
            .compiled
            .module(module, |engine| Module::new(engine, module))
            .map_err(|error| Failure::Link(error.to_string()))?;
        let given = module
            .imports()
            .map(|import| {
                let item = imports.get(&(import.module().to_owned(), import.name().to_owned()));
                item.map(|item| self.item(*item))
                    .ok_or_else(|| Failure::Link(format!("no {}.{}", import.module(), import.name())))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let instance = Instance::new(&mut self.store, &module, &given).map_err(|error| failure(&error))?;
        let mut names: Vec<String> = module.exports().map(|export| export.name().to_owned()).collect();
        names.sort();
        let mut found = Vec::new();
        for name in names {
            let Some(export) = instance.get_export(&self.store, &name) else { continue };
            if let Extern::Func(function) = export {
                self.names.add(format!("{function:?}"), &name);
            }
            found.push((name, self.add(export)));
        }
        self.names.instances += 1;
        Ok(found)
    }

    fn parameters(&mut self, function: Item) -> Vec<Kind> {
        let kind = |kind: &ValType| match kind {
            ValType::I32 => Kind::I32,
            ValType::I64 => Kind::I64,
            ValType::F32 => Kind::F32,
            ValType::F64 => Kind::F64,
            ValType::V128 => Kind::V128,
            ValType::FuncRef => Kind::Function,
            ValType::ExternRef => Kind::Other,
        };
        self.function(function).ty(&self.store).params().iter().map(kind).collect()
    }

    fn call(&mut self, function: Item, arguments: &[Value]) -> Result<Vec<Value>, Failure> {
        let function = self.function(function);
        let arguments: Vec<Val> = arguments.iter().map(given).collect();
        let mut results: Vec<Val> =
            function.ty(&self.store).results().iter().map(|kind| Val::default(*kind)).collect();
        function.call(&mut self.store, &arguments, &mut results).map_err(|error| failure(&error))?;
        Ok(results.iter().map(|value| self.value(value)).collect())
    }

    fn global(&mut self, global: Item) -> Value {
        self.value(&self.global_of(global).get(&self.store))
    }

    fn set_global(&mut self, global: Item, value: &Value) {
        self.global_of(global).set(&mut self.store, given(value)).expect("a mutable global of this type");
    }

    fn table(&mut self, table: Item) -> Vec<Value> {
        let Item::Table(index) = table else { panic!("{table:?} is not a table") };
        let table = self.tables[index];
        (0..table.size(&self.store))
            .map(|index| match table.get(&self.store, index) {
                Some(Val::FuncRef(function)) => self.reference(function),
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
            let account = |global: Global| global.get(&caller).i64().expect("accounts are 64-bit integers");
            let left = hook.call(account(fuel), account(stack)).map_err(wasmi::Error::host)?;
            fuel.set(&mut caller, Val::I64(left)).expect("accounts are mutable");
            Ok::<(), wasmi::Error>(())
        });
        let slot = Val::FuncRef(Ref::Val(function));
        self.tables[index].set(&mut self.store, 0, slot).expect("a table with a slot");
    }
}

fn given(value: &Value) -> Val {
    match value {
        Value::I32(value) => Val::I32(*value),
        Value::I64(value) => Val::I64(*value),
        Value::F32(bits) => Val::F32(wasmi::F32::from_bits(*bits)),
        Value::F64(bits) => Val::F64(wasmi::F64::from_bits(*bits)),
        Value::V128(bits) => Val::V128((*bits).into()),
        Value::Function(None) => Val::FuncRef(Ref::Null),
        Value::Function(Some(name)) => panic!("the function {name} cannot be given"),
    }
}

fn failure(error: &wasmi::Error) -> Failure {
    if let Some(trap) = error.downcast_ref::<Trap>() {
        return Failure::Trap(*trap);
    }
    let Some(code) = error.as_trap_code() else {
        return match error.kind() {
            // An active segment that does not fit: a trap like any other, elsewhere.
            ErrorKind::Instantiation(InstantiationError::ElementSegmentDoesNotFit { .. }) => {
                Failure::Trap(Trap::TableOutOfBounds)
            }
            // `table.copy`, which has no code of its own.
            ErrorKind::Table(TableError::CopyOutOfBounds) => Failure::Trap(Trap::TableOutOfBounds),
            _ => Failure::Link(error.to_string()),
        };
    };
    Failure::Trap(match code {
        TrapCode::UnreachableCodeReached => Trap::Unreachable,
        TrapCode::StackOverflow => Trap::StackOverflow,
        TrapCode::MemoryOutOfBounds => Trap::MemoryOutOfBounds,
        TrapCode::TableOutOfBounds => Trap::TableOutOfBounds,
        TrapCode::IndirectCallToNull => Trap::IndirectCallToNull,
        TrapCode::BadSignature => Trap::BadSignature,
        TrapCode::IntegerDivisionByZero => Trap::DivideByZero,
        TrapCode::IntegerOverflow => Trap::IntegerOverflow,
        TrapCode::BadConversionToInteger => Trap::BadConversionToInteger,
        other => return Failure::Link(format!("{other:?}")),
    })
}
