//! A process without an engine: what the tests of the devices call host functions with.

use alloc::{string::String, vec, vec::Vec};

use crate::{Call, Context, Guest, MODULE, Stop, find, queue::RECORD_BYTES};

/// A guest whose memory is a vector, and its devices.
pub(crate) struct Machine {
    pub(crate) memory: Vec<u8>,
    pub(crate) context: Context,
    /// Fuel that was taken.
    pub(crate) paid: u64,
    /// Fuel that there is.
    pub(crate) fuel: u64,
}

struct FakeGuest<'a> {
    memory: &'a mut Vec<u8>,
    paid: &'a mut u64,
    fuel: u64,
}

impl Guest for FakeGuest<'_> {
    fn memory_size(&self) -> u64 {
        self.memory.len() as u64
    }

    fn read(&self, start: usize, bytes: &mut [u8]) {
        bytes.copy_from_slice(&self.memory[start..start + bytes.len()]);
    }

    fn write(&mut self, start: usize, bytes: &[u8]) {
        self.memory[start..start + bytes.len()].copy_from_slice(bytes);
    }

    fn pay(&mut self, fuel: u64) -> Result<(), Stop> {
        *self.paid = self.paid.saturating_add(fuel);
        if *self.paid > self.fuel { Err(Stop::OutOfFuel) } else { Ok(()) }
    }
}

impl Machine {
    /// 64 KiB of memory, as much fuel as there can be.
    pub(crate) fn new() -> Self {
        Self::with(Context::new(0, [0; 32]))
    }

    pub(crate) fn with(context: Context) -> Self {
        Self { memory: vec![0; 64 << 10], context, paid: 0, fuel: u64::MAX }
    }

    /// Calls a function of the module `glasshouse`.
    pub(crate) fn call(&mut self, name: &str, arguments: &[u64]) -> Result<u64, Stop> {
        let function = find(MODULE, name).unwrap();
        assert_eq!(function.parameters.len(), arguments.len(), "{name}");
        let mut guest = FakeGuest { memory: &mut self.memory, paid: &mut self.paid, fuel: self.fuel };
        Call::run(function, arguments, &mut guest, &mut self.context)
    }

    /// Calls a function with bytes that are put at the start of the memory.
    pub(crate) fn call_with(&mut self, name: &str, bytes: &[u8]) -> Result<u64, Stop> {
        if self.memory.len() < bytes.len() {
            self.memory.resize(bytes.len(), 0);
        }
        self.memory[..bytes.len()].copy_from_slice(bytes);
        self.call(name, &[0, bytes.len() as u64])
    }

    /// Takes all records out of the queue.
    pub(crate) fn records(&mut self) -> Vec<Vec<u8>> {
        let mut records = Vec::new();
        loop {
            let taken = self.call("input_next", &[0, 256]).unwrap() as usize;
            records.extend(self.memory[..taken].chunks(RECORD_BYTES).map(<[u8]>::to_vec));
            if taken == 0 {
                return records;
            }
        }
    }
}

/// What a misuse says.
pub(crate) fn misuse(result: Result<u64, Stop>) -> String {
    match result {
        Err(Stop::Misused(message)) => message,
        other => panic!("no misuse: {other:?}"),
    }
}
