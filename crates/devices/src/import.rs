//! The functions that a guest may import: one table, which every engine binds, and what their code is written against.
//!
//! - [`HostFunction`]: name, type and code of one function; [`functions`] lists all, [`find`] looks one up.
//! - [`Guest`]: what an engine gives of the guest that calls: its memory and its fuel.
//! - [`Call`]: a call in progress, with checked and paid access to both and to the [`Context`].
//! - [`Stop`]: why a call does not return to the guest.

use alloc::{format, string::String, vec, vec::Vec};

use crate::{Context, DeviceError, audio, clock, display, host, hud, input, own, timer, wasi};

/// Fuel for each byte that a host function moves into or out of the guest's memory.
pub const FUEL_PER_BYTE: u64 = 1;

/// The type of a parameter or result. Pointers and lengths are [`ValueType::I32`], read as unsigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueType {
    /// `i32`.
    I32,
    /// `i64`.
    I64,
}

/// The code of a host function. Arguments come as their bits, an `i32` in the low half; so does the result, which is
/// not looked at when the function has none.
pub type Handler = fn(&mut Call<'_>, &[u64]) -> Result<u64, Stop>;

/// A function that a guest may import.
#[derive(Debug, Clone, Copy)]
pub struct HostFunction {
    /// The module that the guest imports it from.
    pub module: &'static str,
    /// Its name in that module.
    pub name: &'static str,
    /// The types of its parameters.
    pub parameters: &'static [ValueType],
    /// The type of its result, if it has one.
    pub result: Option<ValueType>,
    /// What it does.
    pub handler: Handler,
}

/// The tables of all modules, in the order in which [`functions`] lists them.
const TABLES: &[&[HostFunction]] = &[
    clock::FUNCTIONS,
    own::FUNCTIONS,
    timer::FUNCTIONS,
    input::FUNCTIONS,
    display::FUNCTIONS,
    audio::FUNCTIONS,
    hud::FUNCTIONS,
    wasi::FUNCTIONS,
];

/// Every function that a guest may import by a name that is known here, in an order that is the same in every build.
pub fn functions() -> impl Iterator<Item = &'static HostFunction> {
    TABLES.iter().copied().flatten()
}

/// The function of this name in the module of this name. In the module `host` every name has one, whose call is made with
/// [`Call::run_named`]: only the host knows its functions.
pub fn find(module: &str, name: &str) -> Option<&'static HostFunction> {
    if module == host::HOST_MODULE {
        return Some(&host::HOST_FUNCTION);
    }
    functions().find(|function| function.module == module && function.name == name)
}

/// The guest that calls a host function, as its engine gives it.
pub trait Guest {
    /// Bytes of the linear memory.
    fn memory_size(&self) -> u64;
    /// Copies out of the memory; the place lies in it.
    fn read(&self, start: usize, bytes: &mut [u8]);
    /// Copies into the memory; the place lies in it.
    fn write(&mut self, start: usize, bytes: &[u8]);
    /// Takes fuel.
    ///
    /// # Errors
    /// [`Stop::OutOfFuel`] when there is less; and whatever else stops a step where its fuel is looked at.
    fn pay(&mut self, fuel: u64) -> Result<(), Stop>;
}

/// Why a host function does not return to the guest: the step ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// The step's fuel is used up.
    OutOfFuel,
    /// The step was interrupted from outside.
    Interrupted,
    /// The guest misused a device.
    Misused(String),
    /// The guest gave up: an error object of the protocol as JSON, not checked here.
    Failed(Vec<u8>),
    /// The guest ended its process with this exit code.
    Exit(u32),
}

impl From<DeviceError> for Stop {
    fn from(error: DeviceError) -> Self {
        Self::Misused(format!("{error}"))
    }
}

/// A call of a host function in progress.
pub struct Call<'a> {
    name: &'a str,
    guest: &'a mut dyn Guest,
    /// The devices of the process that calls.
    pub context: &'a mut Context,
}

impl<'a> Call<'a> {
    /// Runs a host function for a guest: its result's bits.
    ///
    /// # Errors
    /// Whatever stops the step.
    pub fn run(
        function: &'static HostFunction,
        arguments: &[u64],
        guest: &'a mut dyn Guest,
        context: &'a mut Context,
    ) -> Result<u64, Stop> {
        Self::run_named(function, function.name, arguments, guest, context)
    }

    /// Like [`Call::run`] for a function that the guest imports by a name that is not in the table.
    ///
    /// # Errors
    /// Whatever stops the step.
    pub fn run_named(
        function: &'static HostFunction,
        name: &'a str,
        arguments: &[u64],
        guest: &'a mut dyn Guest,
        context: &'a mut Context,
    ) -> Result<u64, Stop> {
        (function.handler)(&mut Call { name, guest, context }, arguments)
    }

    /// The name of the function, as the guest imports it.
    pub fn name(&self) -> &str {
        self.name
    }

    /// Takes fuel for `bytes` bytes that are about to be moved.
    ///
    /// # Errors
    /// [`Stop::OutOfFuel`] and what [`Guest::pay`] says.
    pub fn pay(&mut self, bytes: u64) -> Result<(), Stop> {
        if bytes == 0 { Ok(()) } else { self.guest.pay(bytes.saturating_mul(FUEL_PER_BYTE)) }
    }

    /// Bytes of the guest's linear memory.
    pub fn memory_size(&self) -> u64 {
        self.guest.memory_size()
    }

    /// Whether `length` bytes from `pointer` on lie in the guest's memory.
    pub fn contains(&self, pointer: u32, length: u32) -> bool {
        u64::from(pointer) + u64::from(length) <= self.guest.memory_size()
    }

    /// Copies `bytes.len()` bytes out of the guest's memory without charging for them; false, and nothing is copied,
    /// when they do not lie in it.
    #[must_use]
    pub fn try_read(&self, pointer: u32, bytes: &mut [u8]) -> bool {
        let inside = u32::try_from(bytes.len()).is_ok_and(|length| self.contains(pointer, length));
        if inside {
            self.guest.read(pointer as usize, bytes);
        }
        inside
    }

    /// Copies bytes into the guest's memory without charging for them; false, and nothing is copied, when they do not
    /// fit there.
    #[must_use]
    pub fn try_write(&mut self, pointer: u32, bytes: &[u8]) -> bool {
        let inside = u32::try_from(bytes.len()).is_ok_and(|length| self.contains(pointer, length));
        if inside {
            self.guest.write(pointer as usize, bytes);
        }
        inside
    }

    /// Checks that a place lies in the guest's memory.
    ///
    /// # Errors
    /// [`Stop::Misused`] when it does not.
    pub fn check(&self, pointer: u32, length: u32) -> Result<(), Stop> {
        if self.contains(pointer, length) {
            return Ok(());
        }
        Err(Stop::Misused(format!(
            "`{}` was given {length} bytes at {pointer}, which lie outside of the memory",
            self.name
        )))
    }

    /// Pays for a place and copies at most `limit` bytes of it.
    ///
    /// # Errors
    /// [`Stop::OutOfFuel`], [`Stop::Misused`] when it does not lie in the guest's memory.
    pub fn read_up_to(&mut self, pointer: u32, length: u32, limit: u32) -> Result<Vec<u8>, Stop> {
        self.pay(length.into())?;
        self.check(pointer, length)?;
        let mut bytes = vec![0; length.min(limit) as usize];
        self.guest.read(pointer as usize, &mut bytes);
        Ok(bytes)
    }

    /// Pays for a place and copies it.
    ///
    /// # Errors
    /// [`Stop::OutOfFuel`], [`Stop::Misused`] when it does not lie in the guest's memory.
    pub fn read(&mut self, pointer: u32, length: u32) -> Result<Vec<u8>, Stop> {
        self.read_up_to(pointer, length, length)
    }

    /// Pays for bytes and copies them into the guest's memory.
    ///
    /// # Errors
    /// [`Stop::OutOfFuel`], [`Stop::Misused`] when they do not fit there.
    pub fn write(&mut self, pointer: u32, bytes: &[u8]) -> Result<(), Stop> {
        self.pay(bytes.len() as u64)?;
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.check(pointer, length)?;
        self.guest.write(pointer as usize, bytes);
        Ok(())
    }
}
