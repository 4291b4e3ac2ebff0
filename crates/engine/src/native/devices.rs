//! The imports of a guest: the functions of the module `glasshouse`, on the context of the process.

use glasshouse_devices::TrapKind;
use wasmtime::{Caller, Linker, Val};

use super::{Accounts, State, instance::StepTrap};
use crate::abi;

type Guest<'a> = Caller<'a, State>;

/// Defines the imports that every process is given.
pub(super) fn define(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.func_wrap(abi::IMPORT_MODULE, "clock_now", |guest: Guest<'_>| guest.data().context.clock_now())?;
    linker.func_wrap(abi::IMPORT_MODULE, "random_fill", random_fill)?;
    linker.func_wrap(abi::IMPORT_MODULE, "log", log)?;
    linker.func_wrap(abi::IMPORT_MODULE, "emit", emit)?;
    Ok(())
}

fn random_fill(mut guest: Guest<'_>, pointer: u32, length: u32) -> wasmtime::Result<()> {
    let accounts = pay(&mut guest, length)?;
    let (memory, state) = accounts.memory.data_and_store_mut(&mut guest);
    let bytes = location(pointer, length, memory.len()).and_then(|range| memory.get_mut(range));
    state.context.random_fill(bytes.ok_or_else(|| outside("random_fill", pointer, length))?);
    Ok(())
}

fn log(mut guest: Guest<'_>, level: u32, pointer: u32, length: u32) -> wasmtime::Result<()> {
    let accounts = pay(&mut guest, length)?;
    let (memory, state) = accounts.memory.data_and_store_mut(&mut guest);
    let text = location(pointer, length, memory.len()).and_then(|range| memory.get(range));
    let text = text.ok_or_else(|| outside("log", pointer, length))?;
    // No more than what is kept is copied; the extra bytes let a cut character be seen as such.
    let kept = text.len().min(state.context.log_line_limit() as usize + 4);
    state.context.log_bytes(level, &text[..kept]).map_err(|error| device(&error))
}

fn emit(mut guest: Guest<'_>, pointer: u32, length: u32) -> wasmtime::Result<()> {
    let accounts = pay(&mut guest, length)?;
    let (memory, state) = accounts.memory.data_and_store_mut(&mut guest);
    let event = location(pointer, length, memory.len()).and_then(|range| memory.get(range));
    state.context.emit(event.ok_or_else(|| outside("emit", pointer, length))?).map_err(|error| device(&error))
}

/// Charges for the bytes of a call, before they are touched.
fn pay(guest: &mut Guest<'_>, bytes: u32) -> wasmtime::Result<Accounts> {
    let Some(accounts) = guest.data().accounts else {
        return Err(StepTrap::new(TrapKind::Engine, "a device was called before the process started").into());
    };
    let fuel = accounts.fuel.get(&mut *guest).i64().unwrap_or(0);
    let cost = u64::from(bytes) * abi::FUEL_PER_DEVICE_BYTE;
    let left = fuel.saturating_sub_unsigned(cost);
    accounts.fuel.set(&mut *guest, Val::I64(left))?;
    if left < 0 {
        return Err(StepTrap::out_of_fuel().into());
    }
    Ok(accounts)
}

/// The bytes from `pointer` on, if they lie in a memory of `size` bytes.
pub(super) fn location(pointer: u32, length: u32, size: usize) -> Option<std::ops::Range<usize>> {
    let end = (pointer as usize).checked_add(length as usize)?;
    (end <= size).then_some(pointer as usize..end)
}

fn outside(function: &str, pointer: u32, length: u32) -> StepTrap {
    StepTrap::new(
        TrapKind::DeviceFailure,
        std::format!("`{function}` was given {length} bytes at {pointer}, which lie outside of the memory"),
    )
}

fn device(error: &glasshouse_devices::DeviceError) -> wasmtime::Error {
    StepTrap::new(TrapKind::DeviceFailure, std::format!("{error}")).into()
}
