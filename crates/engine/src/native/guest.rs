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

/// The function of an entry: the place of its input, the packed place of its output.
type Entry = TypedFunc<(u32, u32), u64>;

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
    /// `gh_allocate`, once it was called.
    allocate: Option<TypedFunc<u32, u32>>,
    /// The entry that was called last: it is nearly always called again.
    entry: Option<(String, Entry)>,
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
            allocate: None,
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

    fn swap_context(&mut self, context: &mut Context) {
        mem::swap(&mut self.store.data_mut().context, context);
    }

    fn budget<R>(&mut self, act: impl FnOnce(&mut Budget) -> R) -> R {
        act(&mut self.store.data_mut().budget)
    }

    fn procedure(&mut self, name: &str) -> Result<(), Failure> {
        let function = self.typed::<(), ()>(name)?;
        function.call(&mut self.store, ()).map_err(failure)
    }

    fn allocate(&mut self, length: u32) -> Result<u32, Failure> {
        let function = match &self.allocate {
            Some(function) => function.clone(),
            None => {
                let function = self.typed(abi::ALLOCATE)?;
                self.allocate.insert(function).clone()
            }
        };
        function.call(&mut self.store, length).map_err(failure)
    }

    fn enter(&mut self, entry: &str, pointer: u32, length: u32) -> Result<u64, Failure> {
        let function = match &self.entry {
            Some((name, function)) if name == entry => function.clone(),
            _ => {
                let function = self.typed(entry)?;
                self.entry.insert((entry.into(), function)).1.clone()
            }
        };
        function.call(&mut self.store, (pointer, length)).map_err(failure)
    }

    fn memory_bytes(&mut self) -> u64 {
        self.accounts.memory.data_size(&self.store) as u64
    }

    fn write(&mut self, pointer: u32, bytes: &[u8]) {
        let start = pointer as usize;
        self.accounts.memory.data_mut(&mut self.store)[start..start + bytes.len()].copy_from_slice(bytes);
    }

    fn read(&mut self, pointer: u32, length: u32) -> Vec<u8> {
        let start = pointer as usize;
        self.accounts.memory.data(&self.store)[start..start + length as usize].to_vec()
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
