//! Runs the steps of one process: the sequence that is the same on every engine.
//!
//! - [`Guest`]: what an engine gives: accounts, calls, memory.
//! - [`Process`]: runs steps on it.

use std::{format, string::String, sync::Arc, vec::Vec};

use glasshouse_devices::{
    Context, DeviceReport, ProcessMemory, StepCall, StepOutcome, StepReport, Stop, TrapKind,
};

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
    /// Calls [`abi::BEGIN`]: the place for so many bytes, and the fuel on the account.
    fn begin(&mut self, fuel: i64, length: u32) -> Result<(u32, i64), Failure>;
    /// Calls [`abi::ENTER`] for the entry of this name: the packed place of its output, and the fuel on the account.
    fn enter(&mut self, entry: &str, pointer: u32, length: u32) -> Result<(u64, i64), Failure>;
    /// Calls `gh_free`.
    fn free(&mut self, pointer: u32, length: u32) -> Result<(), Failure>;
    /// Bytes of the linear memory.
    fn memory_bytes(&mut self) -> u64;
    /// Copies into the memory, if the place lies in it.
    fn write(&mut self, pointer: u32, bytes: &[u8]) -> Option<()>;
    /// Copies out of the memory, if the place lies in it.
    fn read(&mut self, pointer: u32, length: u32) -> Option<Vec<u8>>;
}

/// One process.
pub(crate) struct Process<G> {
    guest: G,
    needs: Arc<Needs>,
    is_reactor: bool,
    output_bytes: u32,
    /// What the account of fuel shows.
    fuel: i64,
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
        Self {
            guest,
            is_reactor: needs.is_reactor(),
            needs,
            output_bytes: limits.output_bytes,
            fuel: 0,
            started: false,
            ended: false,
        }
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
        let mut left = given;
        let outcome = if self.ended {
            *StepTrap::new(TrapKind::Poisoned, "the process was stopped in an earlier step").0
        } else {
            self.guest.swap_context(context);
            self.guest.budget(|own| *own = budget);
            let outcome = match self.run(call) {
                Ok(output) => StepOutcome::Returned(output),
                Err(StepTrap(outcome)) => {
                    self.ended = true;
                    *outcome
                }
            };
            self.guest.swap_context(context);
            left = self.fuel_left().clamp(0, given);
            outcome
        };
        let mut report = StepReport {
            outcome,
            fuel_used: (given - left) as u64,
            memory_bytes: self.guest.memory_bytes(),
            logs: context.take_logs(),
            events: context.take_events(),
            devices: DeviceReport::default(),
        };
        context.report_to(&mut report.devices);
        report
    }

    /// What is left of the step's fuel; below zero when more was paid than there is.
    fn fuel_left(&mut self) -> i64 {
        let account = self.fuel;
        self.guest.budget(|budget| budget.total(account))
    }

    /// Takes the first slice of the step's fuel.
    fn take_fuel(&mut self) -> Result<(), StepTrap> {
        // Nothing was handed out where it may not even start.
        self.fuel = 0;
        self.fuel = self.guest.budget(|budget| budget.checkpoint(0))?;
        Ok(())
    }

    fn run(&mut self, call: &StepCall) -> Result<Vec<u8>, StepTrap> {
        self.take_fuel()?;
        let entry = match call {
            StepCall::Start { entry, .. } => entry.as_str(),
            StepCall::Resume { .. } => abi::RESUME,
        };
        let is_command = entry == abi::COMMAND;
        self.check_entry(entry, if is_command { Export::Procedure } else { Export::Entry })?;
        if !self.started {
            self.started = true;
            if self.needs.starts {
                self.procedure(abi::START)?;
            }
            if !is_command && self.needs.exports.contains_key(abi::INITIALIZE) {
                self.procedure(abi::INITIALIZE)?;
            }
        }
        if is_command {
            self.procedure(abi::COMMAND)?;
            return Err(Stop::Exit(0).into());
        }
        let input = call.input();
        let length = u32::try_from(input.len()).map_err(|_| {
            StepTrap::new(TrapKind::OutOfMemory, "the step's input does not fit a memory of 4 GiB")
        })?;
        let pointer = self.allocate_place(length)?;
        self.guest.write(pointer, input).ok_or_else(|| outside("gh_allocate", pointer, length))?;
        let packed = self.guest.enter(entry, pointer, length);
        let packed = self.settle(packed)?;
        let (pointer, length) = ((packed >> 32) as u32, packed as u32);
        if length > self.output_bytes {
            let message = format!("the step returned {length} bytes; it may return {}", self.output_bytes);
            return Err(StepTrap::new(TrapKind::MalformedResult, message));
        }
        self.guest.read(pointer, length).ok_or_else(|| outside("the entry", pointer, length))
    }

    /// Runs a procedure.
    fn procedure(&mut self, name: &str) -> Result<(), StepTrap> {
        self.call(|guest| guest.procedure(name))
    }

    /// Calls into the guest with the whole stack before it.
    fn call(&mut self, act: impl FnOnce(&mut G) -> Result<(), Failure>) -> Result<(), StepTrap> {
        self.guest.set_account(Account::Fuel, self.fuel);
        self.guest.set_account(Account::Stack, abi::STACK_BYTES.into());
        self.guest.set_account(Account::MemoryRefused, 0);
        let result = act(&mut self.guest).map(|()| ((), self.guest.account(Account::Fuel)));
        self.settle(result)
    }

    /// Where the guest wants so many bytes.
    fn allocate_place(&mut self, length: u32) -> Result<u32, StepTrap> {
        let result = self.guest.begin(self.fuel, length);
        self.settle(result)
    }

    /// What a call into the guest answered beside the fuel that it left.
    fn settle<R>(&mut self, result: Result<(R, i64), Failure>) -> Result<R, StepTrap> {
        self.fuel = match &result {
            Ok((_, fuel)) => *fuel,
            Err(_) => self.guest.account(Account::Fuel),
        };
        // Not every segment is tested when it is paid for, so this comes before whatever happened since.
        if self.fuel_left() < 0 {
            return Err(StepTrap::out_of_fuel());
        }
        result.map(|(answer, _)| answer).map_err(|failure| match failure {
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
        match self.needs.exports.get(name) {
            _ if kind == Export::Entry && !self.is_reactor => {
                missing(format!("the module has no entries: it does not export `{}`", abi::ALLOCATE))
            }
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
}

fn outside(who: &str, pointer: u32, length: u32) -> StepTrap {
    StepTrap::new(
        TrapKind::MalformedResult,
        format!("{who} answered {length} bytes at {pointer}, which lie outside of the memory"),
    )
}

/// Fuel for finding a place in the memory of a process that runs no step, or for giving it back.
const ALLOCATION_FUEL: u64 = 1_000_000;

impl<G: Guest> Process<G> {
    /// Calls into the guest with fuel of its own.
    fn between_steps<R>(&mut self, act: impl FnOnce(&mut Self) -> Result<R, StepTrap>) -> Result<R, String> {
        self.guest.budget(|budget| *budget = Budget::new(&StepLimits::new(ALLOCATION_FUEL)));
        let result = self.take_fuel().and_then(|()| act(self));
        result.map_err(|StepTrap(outcome)| format!("{outcome:?}"))
    }
}

impl<G: Guest> ProcessMemory for Process<G> {
    fn size(&mut self) -> u64 {
        self.guest.memory_bytes()
    }

    fn read(&mut self, offset: u64, bytes: &mut [u8]) {
        if let Some(found) = self.guest.read(offset as u32, bytes.len() as u32) {
            bytes.copy_from_slice(&found);
        }
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) {
        self.guest.write(offset as u32, bytes);
    }

    fn allocate(&mut self, length: u32) -> Result<u32, String> {
        if self.ended || !self.is_reactor {
            return Err("the process has ended, or it has no `gh_allocate`".into());
        }
        self.between_steps(|process| process.allocate_place(length))
    }

    fn free(&mut self, pointer: u32, length: u32) -> Result<(), String> {
        if self.ended || !self.needs.exports.contains_key(abi::FREE) {
            return Err("the process has ended, or it has no `gh_free`".into());
        }
        self.between_steps(|process| process.call(|guest| guest.free(pointer, length)))
    }
}
