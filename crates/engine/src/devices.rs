//! The imports of a guest, the functions of the module `glasshouse`, on the context of the process.
//!
//! What they do and cost is written here once. An engine implements [`Caller`]: how they get at the guest.

use std::{format, ops::Range};

use glasshouse_devices::{Context, TrapKind};

use crate::{
    abi,
    budget::Budget,
    trap::{GuestTrap, StepTrap},
};

/// Random bytes that are drawn at once: bounds the copies that an engine makes. A multiple of the random stream's word,
/// so that the pieces are what the whole would be.
const RANDOM_PIECE_BYTES: usize = 64 << 10;

/// The guest that calls a device, as its engine gives it.
pub(crate) trait Caller {
    /// Fuel that is handed out and left.
    fn fuel(&mut self) -> i64;
    fn set_fuel(&mut self, fuel: i64);
    /// Stack that is left.
    fn stack(&mut self) -> i64;
    /// Acts on the step's fuel.
    fn budget<R>(&mut self, act: impl FnOnce(&mut Budget) -> R) -> R;
    /// Bytes of the linear memory.
    fn memory_bytes(&mut self) -> u64;
    /// Shows the bytes of a range that lies in the memory.
    fn read<R>(&mut self, range: Range<usize>, act: impl FnOnce(&mut Context, &[u8]) -> R) -> R;
    /// Lets a range that lies in the memory be overwritten.
    fn write<R>(&mut self, range: Range<usize>, act: impl FnOnce(&mut Context, &mut [u8]) -> R) -> R;
    /// Acts on the context alone.
    fn context<R>(&mut self, act: impl FnOnce(&mut Context) -> R) -> R;
}

/// What the hook does that a module calls when its fuel or stack is below zero.
pub(crate) fn checkpoint(caller: &mut impl Caller) -> Result<(), StepTrap> {
    let fuel = caller.fuel();
    if caller.stack() < 0 && caller.budget(|budget| budget.total(fuel)) >= 0 {
        return Err(GuestTrap::StackOverflow.into());
    }
    pay_fuel(caller, 0)
}

/// Charges for what a call does, before it is done.
pub(crate) fn pay_fuel(caller: &mut impl Caller, cost: u64) -> Result<(), StepTrap> {
    let left = caller.fuel().saturating_sub_unsigned(cost);
    caller.set_fuel(left);
    if left < 0 {
        let left = caller.budget(|budget| budget.checkpoint(left))?;
        caller.set_fuel(left);
    }
    Ok(())
}

pub(crate) fn clock_now(caller: &mut impl Caller) -> u64 {
    caller.context(|context| context.clock_now())
}

pub(crate) fn random_fill(caller: &mut impl Caller, pointer: u32, length: u32) -> Result<(), StepTrap> {
    let range = pay(caller, "random_fill", pointer, length)?;
    for start in range.clone().step_by(RANDOM_PIECE_BYTES) {
        let piece = start..range.end.min(start.saturating_add(RANDOM_PIECE_BYTES));
        caller.write(piece, |context, bytes| context.random_fill(bytes));
    }
    Ok(())
}

pub(crate) fn log(caller: &mut impl Caller, level: u32, pointer: u32, length: u32) -> Result<(), StepTrap> {
    let range = pay(caller, "log", pointer, length)?;
    // No more than what is kept is copied; the extra bytes let a cut character be seen as such.
    let limit = caller.context(|context| context.log_line_limit()) as usize + 4;
    let kept = range.start..range.end.min(range.start.saturating_add(limit));
    caller.read(kept, |context, text| context.log_bytes(level, text)).map_err(|error| misused(&error))
}

pub(crate) fn emit(caller: &mut impl Caller, pointer: u32, length: u32) -> Result<(), StepTrap> {
    let range = pay(caller, "emit", pointer, length)?;
    // Asked before anything is copied.
    caller.context(|context| context.can_emit(length)).map_err(|error| misused(&error))?;
    caller.read(range, |context, event| context.emit(event)).map_err(|error| misused(&error))
}

/// Charges for the bytes of a call before they are touched; answers where they lie in the memory.
fn pay(
    caller: &mut impl Caller,
    function: &str,
    pointer: u32,
    length: u32,
) -> Result<Range<usize>, StepTrap> {
    let cost = u64::from(length) * abi::FUEL_PER_DEVICE_BYTE;
    pay_fuel(caller, cost)?;
    if !lies_within(pointer, length, caller.memory_bytes()) {
        return Err(StepTrap::new(
            TrapKind::DeviceFailure,
            format!("`{function}` was given {length} bytes at {pointer}, which lie outside of the memory"),
        ));
    }
    Ok(pointer as usize..pointer as usize + length as usize)
}

/// Whether `length` bytes from `pointer` on lie in a memory of `size` bytes.
pub(crate) fn lies_within(pointer: u32, length: u32, size: u64) -> bool {
    u64::from(pointer) + u64::from(length) <= size
}

fn misused(error: &glasshouse_devices::DeviceError) -> StepTrap {
    StepTrap::new(TrapKind::DeviceFailure, format!("{error}"))
}
