//! Runs the steps of one process: the sequence that is the same on every engine.
//!
//! - [`Guest`]: what an engine gives: accounts, calls, memory.
//! - [`Process`]: runs steps on it.

use std::{format, string::String, sync::Arc, vec::Vec};

use glasshouse_devices::{Context, StepCall, StepOutcome, StepReport, TrapKind};

use crate::{
    InstanceLimits, PAGE_BYTES,
    abi::{self, Account},
    rewrite::{Export, Needs},
    trap::{Failure, GuestTrap, StepTrap},
};

/// An instantiated module, as its engine gives it. Functions that are called are exported and of the right type: the
/// caller has looked them up in the module's [`Needs`].
pub(crate) trait Guest {
    fn account(&mut self, account: Account) -> i64;
    fn set_account(&mut self, account: Account, value: i64);
    /// Exchanges the context on which the guest's devices act.
    fn swap_context(&mut self, context: &mut Context);
    /// Calls `gh_start`.
    fn start(&mut self) -> Result<(), Failure>;
    /// Calls `gh_allocate`.
    fn allocate(&mut self, length: u32) -> Result<u32, Failure>;
    /// Calls the entry of this name.
    fn enter(&mut self, entry: &str, pointer: u32, length: u32) -> Result<u64, Failure>;
    /// Bytes of the linear memory.
    fn memory_bytes(&mut self) -> u64;
    /// Copies into the memory; the place lies in it.
    fn write(&mut self, pointer: u32, bytes: &[u8]);
    /// Copies out of the memory; the place lies in it.
    fn read(&mut self, pointer: u32, length: u32) -> Vec<u8>;
}

/// One process.
pub(crate) struct Process<G> {
    guest: G,
    needs: Arc<Needs>,
    output_bytes: u32,
    started: bool,
    poisoned: bool,
}

impl<G: Guest> Process<G> {
    /// Sets the limits of a fresh instance, which [`Needs::check`] has admitted.
    pub(crate) fn new(mut guest: G, needs: Arc<Needs>, limits: &InstanceLimits) -> Self {
        let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        guest.set_account(Account::MemoryPages, count(limits.memory_bytes / PAGE_BYTES));
        let elements = limits.table_elements.saturating_sub(needs.table_elements);
        guest.set_account(Account::TableElements, count(elements));
        Self { guest, needs, output_bytes: limits.output_bytes, started: false, poisoned: false }
    }

    /// See [`crate::Instance::step`].
    pub(crate) fn step(&mut self, call: &StepCall, context: &mut Context, fuel: u64) -> StepReport {
        let given = i64::try_from(fuel).unwrap_or(i64::MAX);
        let (result, left) = if self.poisoned {
            (Err(StepTrap::new(TrapKind::Poisoned, "the process was stopped in an earlier step")), given)
        } else {
            self.guest.swap_context(context);
            let result = self.run(call, given);
            self.guest.swap_context(context);
            (result, self.guest.account(Account::Fuel).clamp(0, given))
        };
        let outcome = match result {
            Ok(output) => StepOutcome::Returned(output),
            Err(StepTrap(outcome)) => {
                self.poisoned = true;
                outcome
            }
        };
        StepReport {
            outcome,
            fuel_used: (given - left) as u64,
            memory_bytes: self.guest.memory_bytes(),
            logs: context.take_logs(),
            events: context.take_events(),
            devices: context.take_report(),
        }
    }

    fn run(&mut self, call: &StepCall, fuel: i64) -> Result<Vec<u8>, StepTrap> {
        self.guest.set_account(Account::Fuel, fuel);
        self.guest.set_account(Account::MemoryRefused, 0);
        let entry = match call {
            StepCall::Start { entry, .. } => entry.as_str(),
            StepCall::Resume { .. } => abi::RESUME,
        };
        self.check_entry(entry)?;
        if !self.started {
            self.started = true;
            if self.needs.exports.contains_key(abi::START) {
                self.call(G::start)?;
            }
        }
        let input = call.input();
        let length = u32::try_from(input.len()).map_err(|_| {
            StepTrap::new(TrapKind::OutOfMemory, "the step's input does not fit a memory of 4 GiB")
        })?;
        let pointer = self.call(|guest| guest.allocate(length))?;
        self.check_place("gh_allocate", pointer, length)?;
        self.guest.write(pointer, input);
        let packed = self.call(|guest| guest.enter(entry, pointer, length))?;
        let (pointer, length) = ((packed >> 32) as u32, packed as u32);
        if length > self.output_bytes {
            return Err(StepTrap::new(
                TrapKind::MalformedResult,
                format!("the step returned {length} bytes; it may return {}", self.output_bytes),
            ));
        }
        self.check_place("the entry", pointer, length)?;
        Ok(self.guest.read(pointer, length))
    }

    /// Calls into the guest with the whole stack before it.
    fn call<R>(&mut self, act: impl FnOnce(&mut G) -> Result<R, Failure>) -> Result<R, StepTrap> {
        self.guest.set_account(Account::Stack, abi::STACK_BYTES.into());
        let result = act(&mut self.guest);
        // Not every segment is tested when it is paid for, so this comes before whatever happened since.
        if self.guest.account(Account::Fuel) < 0 {
            return Err(StepTrap::out_of_fuel());
        }
        result.map_err(|failure| match failure {
            Failure::Stopped(trap) => trap,
            // The stack's account tells the pass's own trap from the guest's.
            Failure::Guest(GuestTrap::Unreachable) if self.guest.account(Account::Stack) < 0 => {
                GuestTrap::StackOverflow.into()
            }
            // What an allocator does when it gets no more.
            Failure::Guest(GuestTrap::Unreachable) if self.guest.account(Account::MemoryRefused) > 0 => {
                StepTrap::new(TrapKind::OutOfMemory, "the guest needed more memory than it may have")
            }
            Failure::Guest(trap) => trap.into(),
        })
    }

    fn check_entry(&self, name: &str) -> Result<(), StepTrap> {
        let missing = |message: String| Err(StepTrap::new(TrapKind::MissingEntry, message));
        match self.needs.exports.get(name) {
            Some(Export::Entry) => Ok(()),
            Some(Export::Function) => {
                missing(format!("the module's export `{name}` is not of the type (i32, i32) -> (i64)"))
            }
            Some(Export::Other) => missing(format!("the module's export `{name}` is not a function")),
            None => missing(format!("the module does not export `{name}`")),
        }
    }

    fn check_place(&mut self, who: &str, pointer: u32, length: u32) -> Result<(), StepTrap> {
        if lies_within(pointer, length, self.guest.memory_bytes()) {
            return Ok(());
        }
        Err(StepTrap::new(
            TrapKind::MalformedResult,
            format!("{who} answered {length} bytes at {pointer}, which lie outside of the memory"),
        ))
    }
}

/// Whether `length` bytes from `pointer` on lie in a memory of `size` bytes.
fn lies_within(pointer: u32, length: u32, size: u64) -> bool {
    u64::from(pointer) + u64::from(length) <= size
}
