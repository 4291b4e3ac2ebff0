//! Gives a step its guest on wasmtime.

use std::{collections::HashMap, format, mem, string::String, vec::Vec};

use glasshouse_devices::{Context, TrapKind};
use wasmtime::{Store, Trap, TypedFunc, WasmParams, WasmResults};

use super::{Accounts, MemoryImage, State, memory::Memories};
use crate::{
    abi::{self, Account},
    budget::Budget,
    step::Guest,
    trap::{Failure, GuestTrap, StepTrap},
};

/// [`abi::BEGIN`].
type Begin = TypedFunc<(i64, u32), (u32, i64)>;
/// [`abi::ENTER`].
type Enter = TypedFunc<(u32, u32), (u64, i64)>;

/// An instance and what it keeps.
pub(super) struct WasmtimeGuest {
    pub(super) store: Store<State>,
    pub(super) instance: wasmtime::Instance,
    pub(super) accounts: Accounts,
    /// The module's functions that tables and globals may hold, by what the engine refers to them with. Filled when a
    /// snapshot first needs it.
    pub(super) functions: HashMap<usize, u32>,
    pub(super) memories: Memories,
    /// What the memory started as.
    pub(super) image: MemoryImage,
    /// What begins a step, once it was called.
    begin: Option<Begin>,
    /// What was entered last: it is nearly always entered again.
    entry: Option<(String, Enter)>,
}

impl WasmtimeGuest {
    pub(super) fn new(
        store: Store<State>,
        instance: wasmtime::Instance,
        accounts: Accounts,
        memories: Memories,
        image: MemoryImage,
    ) -> Self {
        Self {
            store,
            instance,
            accounts,
            functions: HashMap::new(),
            memories,
            image,
            begin: None,
            entry: None,
        }
    }

    fn typed<P: WasmParams, R: WasmResults>(&mut self, name: &str) -> Result<TypedFunc<P, R>, Failure> {
        self.instance.get_typed_func::<P, R>(&mut self.store, name).map_err(failure)
    }
}

impl Guest for WasmtimeGuest {
    fn account(&mut self, account: Account) -> i64 {
        self.accounts.get(&mut self.store, account)
    }

    fn set_account(&mut self, account: Account, value: i64) {
        self.accounts.set(&mut self.store, account, value);
    }

    #[inline]
    fn swap_context(&mut self, context: &mut Context) {
        mem::swap(&mut self.store.data_mut().context, context);
    }

    #[inline]
    fn budget<R>(&mut self, act: impl FnOnce(&mut Budget) -> R) -> R {
        act(&mut self.store.data_mut().budget)
    }

    fn procedure(&mut self, name: &str) -> Result<(), Failure> {
        let function = self.typed::<(), ()>(name)?;
        function.call(&mut self.store, ()).map_err(failure)
    }

    #[inline]
    fn begin(&mut self, fuel: i64, length: u32) -> Result<(u32, i64), Failure> {
        let function = match &self.begin {
            Some(function) => function,
            None => {
                let function = self.typed(abi::BEGIN)?;
                self.begin.insert(function)
            }
        };
        function.call(&mut self.store, (fuel, length)).map_err(failure)
    }

    #[inline]
    fn enter(&mut self, entry: &str, pointer: u32, length: u32) -> Result<(u64, i64), Failure> {
        let function = match &self.entry {
            Some((name, function)) if name == entry => function,
            _ => {
                let function = self.typed(&format!("{}{entry}", abi::ENTER))?;
                &self.entry.insert((entry.into(), function)).1
            }
        };
        function.call(&mut self.store, (pointer, length)).map_err(failure)
    }

    fn free(&mut self, pointer: u32, length: u32) -> Result<(), Failure> {
        let function = self.typed::<(u32, u32), ()>(abi::FREE)?;
        function.call(&mut self.store, (pointer, length)).map_err(failure)
    }

    #[inline]
    fn memory_bytes(&mut self) -> u64 {
        self.accounts.memory.data_size(&self.store) as u64
    }

    #[inline]
    fn write(&mut self, pointer: u32, bytes: &[u8]) -> Option<()> {
        let start = pointer as usize;
        let place = self.accounts.memory.data_mut(&mut self.store).get_mut(start..start + bytes.len())?;
        place.copy_from_slice(bytes);
        Some(())
    }

    #[inline]
    fn read(&mut self, pointer: u32, length: u32) -> Option<Vec<u8>> {
        let start = pointer as usize;
        Some(self.accounts.memory.data(&self.store).get(start..start + length as usize)?.to_vec())
    }
}

/// Why a call into the guest failed.
fn failure(error: wasmtime::Error) -> Failure {
    let error = match error.downcast::<StepTrap>() {
        Ok(trap) => return Failure::Stopped(trap),
        Err(error) => error,
    };
    let Some(trap) = error.downcast_ref::<Trap>() else {
        return Failure::Stopped(StepTrap::new(TrapKind::Engine, format!("the engine failed: {error:#}")));
    };
    Failure::Guest(match trap {
        Trap::UnreachableCodeReached => GuestTrap::Unreachable,
        Trap::StackOverflow => GuestTrap::StackOverflow,
        Trap::MemoryOutOfBounds | Trap::HeapMisaligned | Trap::TableOutOfBounds => GuestTrap::OutOfBounds,
        Trap::IndirectCallToNull | Trap::BadSignature => GuestTrap::IndirectCall,
        Trap::IntegerDivisionByZero => GuestTrap::DivideByZero,
        Trap::IntegerOverflow | Trap::BadConversionToInteger => GuestTrap::DoesNotFit,
        _ => return Failure::Stopped(StepTrap::engine()),
    })
}
