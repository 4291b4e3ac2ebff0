//! Runs the steps of one process: the sequence that is the same on every engine.
//!
//! - [`Guest`]: what an engine gives: accounts, calls, memory.
//! - [`Process`]: runs steps on it.

use std::{format, string::String, sync::Arc, vec::Vec};

use glasshouse_devices::{Context, ProcessMemory, StepCall, StepOutcome, StepReport, TrapKind};

use crate::{
    InstanceLimits, PAGE_BYTES, SnapshotError, StepLimits,
    abi::{self, Account},
    budget::Budget,
    rewrite::{Export, Needs},
    snapshot::{Image, Registers, Snapshot, guest::State},
    trap::{Failure, GuestTrap, StepTrap},
};

/// An instantiated module, as its engine gives it. Functions that are called are exported and of the right type: the
/// caller has looked them up in the module's [`Needs`].
pub(crate) trait Guest: State {
    fn account(&mut self, account: Account) -> i64;
    fn set_account(&mut self, account: Account, value: i64);
    /// Acts on the step's fuel.
    fn budget<R>(&mut self, act: impl FnOnce(&mut Budget) -> R) -> R;
    /// Exchanges the context on which the guest's devices act.
    fn swap_context(&mut self, context: &mut Context);
    /// Calls the function of this name, which has no parameters and no results.
    fn procedure(&mut self, name: &str) -> Result<(), Failure>;
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
    ended: bool,
}

impl<G: Guest> Process<G> {
    /// A process of a fresh instance, which [`Needs::check`] has admitted. The data is in its memory.
    pub(crate) fn new(guest: G, needs: Arc<Needs>, limits: &InstanceLimits) -> Self {
        let elements = needs.table_elements;
        Self::with_limits(guest, needs, limits, elements)
    }

    /// A process that continues with these registers, which [`Snapshot::check`] has admitted. Its memory is in the
    /// instance, which is fresh otherwise.
    pub(crate) fn restored(
        guest: G,
        needs: Arc<Needs>,
        limits: &InstanceLimits,
        registers: &Registers,
    ) -> Result<Self, SnapshotError> {
        let elements = registers.table_elements(&needs);
        let mut process = Self::with_limits(guest, needs, limits, elements);
        process.guest.load(&process.needs, registers)?;
        process.started = registers.started;
        process.ended = registers.ended;
        Ok(process)
    }

    /// Sets the limits of an instance that has so many table elements.
    fn with_limits(mut guest: G, needs: Arc<Needs>, limits: &InstanceLimits, elements: u64) -> Self {
        let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        guest.set_account(Account::MemoryPages, count(limits.memory_bytes / PAGE_BYTES));
        guest.set_account(Account::TableElements, count(limits.table_elements.saturating_sub(elements)));
        Self { guest, needs, output_bytes: limits.output_bytes, started: false, ended: false }
    }

    /// See [`crate::Instance::snapshot`].
    pub(crate) fn snapshot<I: Image>(&mut self) -> Result<Snapshot<I>, SnapshotError>
    where
        G: State<Image = I>,
    {
        let mut registers = self.guest.save(&self.needs)?;
        registers.started = self.started;
        registers.ended = self.ended;
        let memory = self.guest.image()?;
        Ok(Snapshot { hash: self.needs.hash, registers: registers.into(), memory })
    }

    /// See [`crate::Instance::step`].
    pub(crate) fn step(&mut self, call: &StepCall, context: &mut Context, limits: &StepLimits) -> StepReport {
        let budget = Budget::new(limits);
        let given = budget.given();
        let (result, left) = if self.ended {
            let trap = StepTrap::new(TrapKind::Poisoned, "the process was stopped in an earlier step");
            (Err(trap), given)
        } else {
            self.guest.swap_context(context);
            self.guest.budget(|own| *own = budget);
            let result = self.run(call);
            self.guest.swap_context(context);
            (result, self.fuel_left().clamp(0, given))
        };
        let outcome = match result {
            Ok(output) => StepOutcome::Returned(output),
            Err(StepTrap(outcome)) => {
                self.ended = true;
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

    /// What is left of the step's fuel; below zero when more was paid than there is.
    fn fuel_left(&mut self) -> i64 {
        let account = self.guest.account(Account::Fuel);
        self.guest.budget(|budget| budget.total(account))
    }

    /// Hands out the first slice of the step's fuel.
    fn begin(&mut self) -> Result<(), StepTrap> {
        self.guest.set_account(Account::MemoryRefused, 0);
        let fuel = self.guest.budget(|budget| budget.checkpoint(0));
        // Nothing was handed out where it may not even start.
        self.guest.set_account(Account::Fuel, *fuel.as_ref().unwrap_or(&0));
        fuel.map(|_| ())
    }

    fn run(&mut self, call: &StepCall) -> Result<Vec<u8>, StepTrap> {
        self.begin()?;
        let entry = match call {
            StepCall::Start { entry, .. } => entry.as_str(),
            StepCall::Resume { .. } => abi::RESUME,
        };
        let is_command = entry == abi::COMMAND;
        self.check_entry(entry, if is_command { Export::Procedure } else { Export::Entry })?;
        if !self.started {
            self.started = true;
            if self.needs.starts {
                self.call(|guest| guest.procedure(abi::START))?;
            }
            if !is_command && self.needs.exports.contains_key(abi::INITIALIZE) {
                self.call(|guest| guest.procedure(abi::INITIALIZE))?;
            }
        }
        if is_command {
            self.call(|guest| guest.procedure(abi::COMMAND))?;
            return Err(StepTrap(StepOutcome::Exited { code: 0 }));
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
            let message = format!("the step returned {length} bytes; it may return {}", self.output_bytes);
            return Err(StepTrap::new(TrapKind::MalformedResult, message));
        }
        self.check_place("the entry", pointer, length)?;
        Ok(self.guest.read(pointer, length))
    }

    /// Calls into the guest with the whole stack before it.
    fn call<R>(&mut self, act: impl FnOnce(&mut G) -> Result<R, Failure>) -> Result<R, StepTrap> {
        self.guest.set_account(Account::Stack, abi::STACK_BYTES.into());
        let result = act(&mut self.guest);
        // Not every segment is tested when it is paid for, so this comes before whatever happened since.
        if self.fuel_left() < 0 {
            return Err(StepTrap::out_of_fuel());
        }
        result.map_err(|failure| match failure {
            Failure::Stopped(trap) => trap,
            // What an allocator does when it gets no more.
            Failure::Guest(GuestTrap::Unreachable) if self.guest.account(Account::MemoryRefused) > 0 => {
                StepTrap::new(TrapKind::OutOfMemory, "the guest needed more memory than it may have")
            }
            Failure::Guest(trap) => StepTrap::from(trap),
        })
    }

    fn check_entry(&self, name: &str, kind: Export) -> Result<(), StepTrap> {
        let missing = |message: String| Err(StepTrap::new(TrapKind::MissingEntry, message));
        if kind == Export::Entry && !self.needs.is_reactor() {
            return missing(format!("the module has no entries: it does not export `{}`", abi::ALLOCATE));
        }
        match self.needs.exports.get(name) {
            Some(found) if *found == kind => Ok(()),
            Some(Export::Memory | Export::Other) => {
                missing(format!("the module's export `{name}` is not a function"))
            }
            Some(_) => {
                missing(format!("the module's export `{name}` is not of the type (i32, i32) -> (i64)"))
            }
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

/// Fuel for finding a place in the memory of a process that runs no step.
const ALLOCATION_FUEL: u64 = 1_000_000;

impl<G: Guest> ProcessMemory for Process<G> {
    fn size(&mut self) -> u64 {
        self.guest.memory_bytes()
    }

    fn read(&mut self, offset: u64, bytes: &mut [u8]) {
        bytes.copy_from_slice(&self.guest.read(offset as u32, bytes.len() as u32));
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) {
        self.guest.write(offset as u32, bytes);
    }

    fn allocate(&mut self, length: u32) -> Result<u32, String> {
        if self.ended || !self.needs.is_reactor() {
            return Err("the process has ended, or it has no `gh_allocate`".into());
        }
        self.guest.budget(|budget| *budget = Budget::new(&StepLimits::new(ALLOCATION_FUEL)));
        let allocated = self.begin().and_then(|()| self.call(|guest| guest.allocate(length)));
        allocated.map_err(|StepTrap(outcome)| format!("{outcome:?}"))
    }
}

/// Whether `length` bytes from `pointer` on lie in a memory of `size` bytes.
fn lies_within(pointer: u32, length: u32, size: u64) -> bool {
    u64::from(pointer) + u64::from(length) <= size
}
