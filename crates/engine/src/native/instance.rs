//! Runs the steps of one process on wasmtime.

use std::{mem, string::String, vec::Vec};

use glasshouse_devices::{Context, StepCall, StepOutcome, StepReport, TrapKind};
use thiserror::Error;
use wasmtime::{Extern, Store, Trap, TypedFunc, Val, WasmParams, WasmResults};

use super::{Accounts, State, devices::location};
use crate::{Instance, abi};

/// Why a step was stopped; also what a device function fails with.
#[derive(Debug, Error)]
#[error("{message}")]
pub(super) struct StepTrap {
    kind: TrapKind,
    message: String,
}

impl StepTrap {
    pub(super) fn new(kind: TrapKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub(super) fn out_of_fuel() -> Self {
        Self::new(TrapKind::OutOfFuel, "the step used up its fuel")
    }
}

/// One process.
pub(super) struct WasmtimeInstance {
    store: Store<State>,
    instance: wasmtime::Instance,
    accounts: Accounts,
    started: bool,
    poisoned: bool,
}

impl WasmtimeInstance {
    pub(super) fn new(store: Store<State>, instance: wasmtime::Instance, accounts: Accounts) -> Self {
        Self { store, instance, accounts, started: false, poisoned: false }
    }
}

impl Instance for WasmtimeInstance {
    fn step(&mut self, call: &StepCall, context: &mut Context, fuel: u64) -> StepReport {
        let given = i64::try_from(fuel).unwrap_or(i64::MAX);
        mem::swap(&mut self.store.data_mut().context, context);
        let result = if self.poisoned {
            Err(StepTrap::new(TrapKind::Poisoned, "the process was stopped in an earlier step"))
        } else {
            self.run(call, given)
        };
        mem::swap(&mut self.store.data_mut().context, context);
        let left = if self.poisoned { given } else { self.fuel_left().clamp(0, given) };
        let outcome = match result {
            Ok(output) => StepOutcome::Returned(output),
            Err(StepTrap { kind, message }) => {
                self.poisoned = true;
                StepOutcome::Trapped { kind, message }
            }
        };
        StepReport {
            outcome,
            fuel_used: (given - left) as u64,
            memory_bytes: self.accounts.memory.data_size(&self.store) as u64,
            logs: context.take_logs(),
            events: context.take_events(),
        }
    }
}

impl WasmtimeInstance {
    fn run(&mut self, call: &StepCall, fuel: i64) -> Result<Vec<u8>, StepTrap> {
        self.accounts.fuel.set(&mut self.store, Val::I64(fuel)).map_err(|error| engine(&error))?;
        self.store.data_mut().memory_refused = false;
        let entry = match call {
            StepCall::Start { entry, .. } => entry.as_str(),
            StepCall::Resume { .. } => abi::RESUME,
        };
        let entry = self.function::<(u32, u32), u64>(entry, "(i32, i32) -> (i64)")?;
        let allocate = self.function::<u32, u32>(abi::ALLOCATE, "(i32) -> (i32)")?;
        if !self.started {
            self.started = true;
            if self.instance.get_func(&mut self.store, abi::START).is_some() {
                let start = self.function::<(), ()>(abi::START, "() -> ()")?;
                self.call(&start, ())?;
            }
        }
        let input = call.input();
        let length = u32::try_from(input.len()).map_err(|_| {
            StepTrap::new(TrapKind::OutOfMemory, "the step's input does not fit a memory of 4 GiB")
        })?;
        let pointer = self.call(&allocate, length)?;
        let memory = self.accounts.memory.data_mut(&mut self.store);
        match location(pointer, length, memory.len()).and_then(|range| memory.get_mut(range)) {
            Some(room) => room.copy_from_slice(input),
            None => return Err(malformed("gh_allocate", pointer, length)),
        }
        let packed = self.call(&entry, (pointer, length))?;
        let (pointer, length) = ((packed >> 32) as u32, packed as u32);
        let limit = self.store.data().limits.output_bytes;
        if length > limit {
            return Err(StepTrap::new(
                TrapKind::MalformedResult,
                std::format!("the step returned {length} bytes; it may return {limit}"),
            ));
        }
        let memory = self.accounts.memory.data(&self.store);
        match location(pointer, length, memory.len()).and_then(|range| memory.get(range)) {
            Some(output) => Ok(output.to_vec()),
            None => Err(malformed("the entry", pointer, length)),
        }
    }

    /// Calls into the guest with the whole stack before it.
    fn call<P: WasmParams, R: WasmResults>(
        &mut self,
        function: &TypedFunc<P, R>,
        parameters: P,
    ) -> Result<R, StepTrap> {
        let stack = Val::I64(abi::STACK_BYTES.into());
        self.accounts.stack.set(&mut self.store, stack).map_err(|error| engine(&error))?;
        let result = function.call(&mut self.store, parameters);
        // Not every segment is tested when it is paid for, so this comes before whatever happened since.
        if self.fuel_left() < 0 {
            return Err(StepTrap::out_of_fuel());
        }
        result.map_err(|error| self.trap(error))
    }

    /// The exported function of this name and type.
    fn function<P: WasmParams, R: WasmResults>(
        &mut self,
        name: &str,
        kind: &str,
    ) -> Result<TypedFunc<P, R>, StepTrap> {
        let missing = |message| StepTrap::new(TrapKind::MissingEntry, message);
        match self.instance.get_export(&mut self.store, name) {
            Some(Extern::Func(function)) => function
                .typed(&self.store)
                .map_err(|_| missing(std::format!("the module's export `{name}` is not of the type {kind}"))),
            Some(_) => Err(missing(std::format!("the module's export `{name}` is not a function"))),
            None => Err(missing(std::format!("the module does not export `{name}`"))),
        }
    }

    fn fuel_left(&mut self) -> i64 {
        self.accounts.fuel.get(&mut self.store).i64().unwrap_or(0)
    }

    fn stack_left(&mut self) -> i64 {
        self.accounts.stack.get(&mut self.store).i64().unwrap_or(0)
    }

    /// Why a call into the guest failed. The stack's account tells the pass's own trap from the guest's.
    fn trap(&mut self, error: wasmtime::Error) -> StepTrap {
        let error = match error.downcast::<StepTrap>() {
            Ok(trap) => return trap,
            Err(error) => error,
        };
        let Some(trap) = error.downcast_ref::<Trap>() else { return engine(&error) };
        let (kind, message) = match trap {
            Trap::UnreachableCodeReached if self.stack_left() < 0 => {
                (TrapKind::StackOverflow, "the step's calls are nested too deeply")
            }
            Trap::StackOverflow => (TrapKind::StackOverflow, "the step's calls are nested too deeply"),
            // What an allocator does when it gets no more.
            Trap::UnreachableCodeReached if self.store.data().memory_refused => {
                (TrapKind::OutOfMemory, "the guest needed more memory than it may have")
            }
            Trap::UnreachableCodeReached => {
                (TrapKind::Unreachable, "the guest executed `unreachable`, as a panic does")
            }
            Trap::MemoryOutOfBounds | Trap::HeapMisaligned => {
                (TrapKind::OutOfBounds, "the guest accessed memory out of bounds")
            }
            Trap::TableOutOfBounds => (TrapKind::OutOfBounds, "the guest accessed a table out of bounds"),
            Trap::IndirectCallToNull => {
                (TrapKind::IndirectCall, "the guest called through an empty table slot")
            }
            Trap::BadSignature => {
                (TrapKind::IndirectCall, "the guest called through a table with the wrong signature")
            }
            Trap::IntegerDivisionByZero => (TrapKind::DivideByZero, "the guest divided an integer by zero"),
            Trap::IntegerOverflow => {
                (TrapKind::IntegerOverflow, "the result of an integer operation does not fit")
            }
            Trap::BadConversionToInteger => {
                (TrapKind::BadConversion, "the guest converted a number to an integer that cannot hold it")
            }
            other => {
                return StepTrap::new(TrapKind::Engine, std::format!("the engine stopped the step: {other}"));
            }
        };
        StepTrap::new(kind, message)
    }
}

fn engine(error: &wasmtime::Error) -> StepTrap {
    StepTrap::new(TrapKind::Engine, std::format!("the engine failed: {error:#}"))
}

fn malformed(who: &str, pointer: u32, length: u32) -> StepTrap {
    StepTrap::new(
        TrapKind::MalformedResult,
        std::format!("{who} answered {length} bytes at {pointer}, which lie outside of the memory"),
    )
}
