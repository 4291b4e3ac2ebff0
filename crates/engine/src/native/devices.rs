//! Gives the devices their guest on wasmtime.

use std::ops::Range;

use glasshouse_devices::{Context, TrapKind};
use wasmtime::{Func, Linker, Store};

use super::{Accounts, State};
use crate::{
    abi::{self, Account},
    budget::Budget,
    devices::{self, Caller},
    trap::{StepTrap, Stop},
};

/// Defines the imports that every process is given.
pub(super) fn define(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.func_wrap(abi::IMPORT_MODULE, "clock_now", |guest: Guest<'_>| {
        Ok(devices::clock_now(&mut Calling::of(guest)?))
    })?;
    linker.func_wrap(abi::IMPORT_MODULE, "random_fill", |guest: Guest<'_>, pointer: u32, length: u32| {
        Ok(devices::random_fill(&mut Calling::of(guest)?, pointer, length).map_err(Stop::from)?)
    })?;
    linker.func_wrap(
        abi::IMPORT_MODULE,
        "log",
        |guest: Guest<'_>, level: u32, pointer: u32, length: u32| {
            Ok(devices::log(&mut Calling::of(guest)?, level, pointer, length).map_err(Stop::from)?)
        },
    )?;
    linker.func_wrap(abi::IMPORT_MODULE, "emit", |guest: Guest<'_>, pointer: u32, length: u32| {
        Ok(devices::emit(&mut Calling::of(guest)?, pointer, length).map_err(Stop::from)?)
    })?;
    Ok(())
}

/// What a module calls at a checkpoint where its fuel or stack is below zero.
pub(super) fn hook(store: &mut Store<State>) -> Func {
    Func::wrap(store, |guest: Guest<'_>| -> wasmtime::Result<()> {
        Ok(devices::checkpoint(&mut Calling::of(guest)?).map_err(Stop::from)?)
    })
}

type Guest<'a> = wasmtime::Caller<'a, State>;

struct Calling<'a> {
    guest: Guest<'a>,
    accounts: Accounts,
}

impl<'a> Calling<'a> {
    fn of(guest: Guest<'a>) -> wasmtime::Result<Self> {
        match guest.data().accounts {
            Some(accounts) => Ok(Self { guest, accounts }),
            None => {
                let trap = StepTrap::new(TrapKind::Engine, "a device was called before the process started");
                Err(Stop::from(trap).into())
            }
        }
    }
}

impl Caller for Calling<'_> {
    fn fuel(&mut self) -> i64 {
        self.accounts.get(&mut self.guest, Account::Fuel)
    }

    fn set_fuel(&mut self, fuel: i64) {
        self.accounts.set(&mut self.guest, Account::Fuel, fuel);
    }

    fn stack(&mut self) -> i64 {
        self.accounts.get(&mut self.guest, Account::Stack)
    }

    fn budget<R>(&mut self, act: impl FnOnce(&mut Budget) -> R) -> R {
        act(&mut self.guest.data_mut().budget)
    }

    fn memory_bytes(&mut self) -> u64 {
        self.accounts.memory.data_size(&self.guest) as u64
    }

    fn read<R>(&mut self, range: Range<usize>, act: impl FnOnce(&mut Context, &[u8]) -> R) -> R {
        let (memory, state) = self.accounts.memory.data_and_store_mut(&mut self.guest);
        act(&mut state.context, &memory[range])
    }

    fn write<R>(&mut self, range: Range<usize>, act: impl FnOnce(&mut Context, &mut [u8]) -> R) -> R {
        let (memory, state) = self.accounts.memory.data_and_store_mut(&mut self.guest);
        act(&mut state.context, &mut memory[range])
    }

    fn context<R>(&mut self, act: impl FnOnce(&mut Context) -> R) -> R {
        act(&mut self.guest.data_mut().context)
    }
}
