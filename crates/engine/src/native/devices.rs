//! Binds the functions that a guest may import to wasmtime.

use std::{mem::MaybeUninit, string::String, sync::Arc};

use glasshouse_devices::{Call, HOST_MODULE, HostFunction, Stop, TrapKind, ValueType};
use wasmtime::{Func, FuncType, Linker, Store, ValRaw, ValType};

use super::{Accounts, State};
use crate::{abi::Account, budget::Budget, trap::StepTrap};

/// The most parameters that a function of the table has.
const PARAMETERS_MAXIMUM: usize = 16;

/// Defines the imports that every process is given.
pub(super) fn define(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    glasshouse_devices::functions().try_for_each(|function| define_as(linker, function, function.name.into()))
}

/// Defines functions of the module `host`, by the names under which a guest imports them.
pub(super) fn define_host_functions(linker: &mut Linker<State>, names: &[String]) -> wasmtime::Result<()> {
    for name in names {
        if let Some(function) = glasshouse_devices::find(HOST_MODULE, name) {
            define_as(linker, function, name.as_str().into())?;
        }
    }
    Ok(())
}

fn define_as(
    linker: &mut Linker<State>,
    function: &'static HostFunction,
    name: Arc<str>,
) -> wasmtime::Result<()> {
    let kind = |kind: &ValueType| match kind {
        ValueType::I32 => ValType::I32,
        ValueType::I64 => ValType::I64,
    };
    let results = function.result.iter().map(kind);
    let kind = FuncType::new(linker.engine(), function.parameters.iter().map(kind), results);
    let own_name = Arc::clone(&name);
    // SAFETY: `kind` has the function's parameters and its result, and `call` reads and writes the slots as those.
    unsafe {
        linker.func_new_unchecked(function.module, &name, kind, move |guest, slots| {
            call(function, &own_name, guest, slots)
        })?;
    }
    Ok(())
}

/// What a module calls at a checkpoint where its fuel or stack is below zero.
pub(super) fn hook(store: &mut Store<State>) -> Func {
    Func::wrap(store, |mut guest: wasmtime::Caller<'_, State>| -> wasmtime::Result<()> {
        let accounts = accounts(&guest)?;
        let mut fuel = accounts.get(&mut guest, Account::Fuel);
        let stack = accounts.get(&mut guest, Account::Stack);
        let result = guest.data_mut().budget.hook(&mut fuel, stack);
        accounts.set(&mut guest, Account::Fuel, fuel);
        Ok(result?)
    })
}

/// The accounts of the guest that calls.
fn accounts(guest: &wasmtime::Caller<'_, State>) -> Result<Accounts, StepTrap> {
    let message = "a device was called before the process started";
    guest.data().accounts.ok_or_else(|| StepTrap::new(TrapKind::Engine, message))
}

/// Calls a function with its parameters in the first slots; its result goes into the first one.
fn call(
    function: &'static HostFunction,
    name: &str,
    mut guest: wasmtime::Caller<'_, State>,
    slots: &mut [MaybeUninit<ValRaw>],
) -> wasmtime::Result<()> {
    let mut arguments = [0; PARAMETERS_MAXIMUM];
    let arguments = &mut arguments[..function.parameters.len()];
    for ((argument, kind), slot) in arguments.iter_mut().zip(function.parameters).zip(&*slots) {
        // SAFETY: the engine has put the parameters there, of the types that the function was defined with.
        let slot = unsafe { slot.assume_init_ref() };
        *argument = match kind {
            ValueType::I32 => slot.get_u32().into(),
            ValueType::I64 => slot.get_u64(),
        };
    }
    let accounts = accounts(&guest)?;
    let fuel = accounts.get(&mut guest, Account::Fuel);
    let (memory, State { context, budget, .. }) = accounts.memory.data_and_store_mut(&mut guest);
    let mut calling = Calling { memory, fuel, budget, stopped: None };
    let result = Call::run_named(function, name, arguments, &mut calling, context);
    let Calling { fuel: left, stopped, .. } = calling;
    if left != fuel {
        accounts.set(&mut guest, Account::Fuel, left);
    }
    // Where the fuel was looked at it is known better why the step stops.
    let result = result.map_err(|stop| stopped.unwrap_or_else(|| stop.into()))?;
    if let (Some(kind), Some(slot)) = (function.result, slots.first_mut()) {
        slot.write(match kind {
            ValueType::I32 => ValRaw::u32(result as u32),
            ValueType::I64 => ValRaw::u64(result),
        });
    }
    Ok(())
}

/// The guest that calls.
struct Calling<'a> {
    memory: &'a mut [u8],
    fuel: i64,
    budget: &'a mut Budget,
    /// Why it was stopped when it paid.
    stopped: Option<StepTrap>,
}

impl glasshouse_devices::Guest for Calling<'_> {
    fn memory_size(&self) -> u64 {
        self.memory.len() as u64
    }

    fn read(&self, start: usize, bytes: &mut [u8]) {
        bytes.copy_from_slice(&self.memory[start..start + bytes.len()]);
    }

    fn write(&mut self, start: usize, bytes: &[u8]) {
        self.memory[start..start + bytes.len()].copy_from_slice(bytes);
    }

    fn pay(&mut self, fuel: u64) -> Result<(), Stop> {
        self.budget.pay(&mut self.fuel, fuel).map_err(|trap| {
            self.stopped = Some(trap);
            Stop::Interrupted
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_function_has_more_parameters_than_there_is_room_for() {
        for function in glasshouse_devices::functions() {
            assert!(function.parameters.len() <= PARAMETERS_MAXIMUM, "{}", function.name);
        }
    }
}
