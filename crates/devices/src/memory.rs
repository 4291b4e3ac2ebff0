//! The memory of a process as a device of the host: checked access from outside, between steps.
//!
//! - [`ProcessMemory`]: what an engine gives of a process; [`MemoryDevice`]: checked access to it.
//! - [`MemoryError`]: why an access is refused. Nothing is read or written then.

use alloc::{string::String, vec, vec::Vec};

use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::{DeviceEvent, MemoryAccess};

/// Bytes that are hashed at once: bounds the copy.
const PIECE_BYTES: u64 = 64 << 10;

/// The memory of a process, as its engine gives it.
pub trait ProcessMemory {
    /// Bytes of the linear memory.
    fn size(&mut self) -> u64;
    /// Copies out of the memory; the place lies in it.
    fn read(&mut self, offset: u64, bytes: &mut [u8]);
    /// Copies into the memory; the place lies in it.
    fn write(&mut self, offset: u64, bytes: &[u8]);
    /// Lets the guest's own `gh_allocate` find a place: where it says that it is, which is not checked here.
    ///
    /// # Errors
    /// Why the guest could not.
    fn allocate(&mut self, length: u32) -> Result<u32, String>;
    /// Lets the guest's own `gh_free` take back a place that it allocated.
    ///
    /// # Errors
    /// Why the guest could not.
    fn free(&mut self, offset: u32, length: u32) -> Result<(), String>;
}

/// Why an access to a process's memory is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MemoryError {
    /// The place does not lie in the memory.
    #[error("{length} bytes at {offset} do not lie in a memory of {size} bytes")]
    OutOfRange {
        /// Where, in bytes.
        offset: u64,
        /// How much, in bytes.
        length: u64,
        /// Bytes of the memory.
        size: u64,
    },
    /// More than a guest can allocate at once.
    #[error("{length} bytes are more than a process can allocate")]
    TooLong {
        /// How much, in bytes.
        length: u64,
    },
    /// The guest did not allocate.
    #[error("the process allocated no {length} bytes: {reason}")]
    NotAllocated {
        /// How much, in bytes.
        length: u32,
        /// Why.
        reason: String,
    },
    /// The guest did not take a place back.
    #[error("the process did not free {length} bytes at {offset}: {reason}")]
    NotFreed {
        /// Where, in bytes.
        offset: u32,
        /// How much, in bytes.
        length: u32,
        /// Why.
        reason: String,
    },
}

/// Checked access to a process's memory. Every access that happens is told to the observer, after it.
pub struct MemoryDevice<'a, O> {
    memory: &'a mut dyn ProcessMemory,
    observe: O,
}

impl<'a, O: FnMut(DeviceEvent)> MemoryDevice<'a, O> {
    /// The memory of a process and who is told.
    pub fn new(memory: &'a mut dyn ProcessMemory, observe: O) -> Self {
        Self { memory, observe }
    }

    /// Bytes of the memory.
    pub fn size(&mut self) -> u64 {
        self.memory.size()
    }

    /// Copies `length` bytes from `offset` on.
    ///
    /// # Errors
    /// [`MemoryError::OutOfRange`].
    pub fn read(&mut self, offset: u64, length: u64) -> Result<Vec<u8>, MemoryError> {
        self.check(offset, length)?;
        // Never more than the memory itself, which the host holds too.
        let mut bytes = vec![0; length as usize];
        self.memory.read(offset, &mut bytes);
        self.tell(MemoryAccess::Read, offset, length);
        Ok(bytes)
    }

    /// Writes bytes from `offset` on.
    ///
    /// # Errors
    /// [`MemoryError::OutOfRange`].
    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), MemoryError> {
        let length = bytes.len() as u64;
        self.check(offset, length)?;
        self.memory.write(offset, bytes);
        self.tell(MemoryAccess::Write, offset, length);
        Ok(())
    }

    /// Puts bytes where the guest itself allocates a place for them: the offset.
    ///
    /// # Errors
    /// [`MemoryError::TooLong`], [`MemoryError::NotAllocated`]; [`MemoryError::OutOfRange`] when the guest names a place
    /// outside of its memory.
    pub fn allocate(&mut self, bytes: &[u8]) -> Result<u32, MemoryError> {
        let length = bytes.len() as u64;
        let short = u32::try_from(length).map_err(|_| MemoryError::TooLong { length })?;
        let allocated = self.memory.allocate(short);
        let offset = allocated.map_err(|reason| MemoryError::NotAllocated { length: short, reason })?;
        self.write(offset.into(), bytes)?;
        Ok(offset)
    }

    /// Gives back `length` bytes at `offset`, which were allocated: the guest may use the place for something else.
    ///
    /// # Errors
    /// [`MemoryError::OutOfRange`]; [`MemoryError::NotFreed`], also when the guest has no `gh_free`.
    pub fn free(&mut self, offset: u32, length: u32) -> Result<(), MemoryError> {
        self.check(offset.into(), length.into())?;
        let freed = self.memory.free(offset, length);
        freed.map_err(|reason| MemoryError::NotFreed { offset, length, reason })?;
        self.tell(MemoryAccess::Free, offset.into(), length.into());
        Ok(())
    }

    /// SHA-256 of the whole memory.
    pub fn sha256(&mut self) -> [u8; 32] {
        let size = self.size();
        let mut hash = Sha256::new();
        let mut piece = vec![0; size.min(PIECE_BYTES) as usize];
        let mut offset = 0;
        while offset < size {
            let bytes = &mut piece[..(size - offset).min(PIECE_BYTES) as usize];
            self.memory.read(offset, bytes);
            hash.update(&*bytes);
            offset += bytes.len() as u64;
        }
        self.tell(MemoryAccess::Read, 0, size);
        hash.finalize().into()
    }

    fn check(&mut self, offset: u64, length: u64) -> Result<(), MemoryError> {
        let size = self.size();
        match offset.checked_add(length) {
            Some(end) if end <= size => Ok(()),
            _ => Err(MemoryError::OutOfRange { offset, length, size }),
        }
    }

    fn tell(&mut self, access: MemoryAccess, offset: u64, length: u64) {
        (self.observe)(DeviceEvent::MemoryAccessed { access, offset, length });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A memory whose guest allocates at the place that is given, if one is.
    struct Fake(Vec<u8>, Option<u32>);

    impl ProcessMemory for Fake {
        fn size(&mut self) -> u64 {
            self.0.len() as u64
        }

        fn read(&mut self, offset: u64, bytes: &mut [u8]) {
            bytes.copy_from_slice(&self.0[offset as usize..][..bytes.len()]);
        }

        fn write(&mut self, offset: u64, bytes: &[u8]) {
            self.0[offset as usize..][..bytes.len()].copy_from_slice(bytes);
        }

        fn allocate(&mut self, _: u32) -> Result<u32, String> {
            self.1.ok_or_else(|| "no room".into())
        }

        fn free(&mut self, offset: u32, _: u32) -> Result<(), String> {
            if self.1.take() == Some(offset) { Ok(()) } else { Err("not allocated".into()) }
        }
    }

    #[test]
    fn what_is_written_is_read_and_every_access_is_told() {
        let mut told = Vec::new();
        let mut fake = Fake(vec![0; 16], Some(10));
        let mut device = MemoryDevice::new(&mut fake, |event| told.push(event));
        device.write(3, b"abc").unwrap();
        assert_eq!(device.read(2, 5).unwrap(), b"\0abc\0");
        assert_eq!(device.allocate(b"xy"), Ok(10));
        assert_eq!(device.read(10, 6).unwrap(), b"xy\0\0\0\0");
        assert_eq!(device.free(10, 2), Ok(()));
        let again = MemoryError::NotFreed { offset: 10, length: 2, reason: "not allocated".into() };
        assert_eq!(device.free(10, 2), Err(again));
        assert_eq!(device.free(15, 2), Err(MemoryError::OutOfRange { offset: 15, length: 2, size: 16 }));
        let accesses = [
            (MemoryAccess::Write, 3, 3),
            (MemoryAccess::Read, 2, 5),
            (MemoryAccess::Write, 10, 2),
            (MemoryAccess::Read, 10, 6),
            (MemoryAccess::Free, 10, 2),
        ];
        let events =
            accesses.map(|(access, offset, length)| DeviceEvent::MemoryAccessed { access, offset, length });
        assert_eq!(told, events);
        assert_eq!(told[0].name(), "MemoryAccessed");
    }

    #[test]
    fn what_does_not_lie_in_the_memory_is_refused_and_not_told() {
        let mut told = Vec::new();
        let mut fake = Fake(vec![7; 16], None);
        let mut device = MemoryDevice::new(&mut fake, |event| told.push(event));
        for (offset, length) in [(16, 1), (0, 17), (u64::MAX, 1), (1, u64::MAX)] {
            let error = MemoryError::OutOfRange { offset, length, size: 16 };
            assert_eq!(device.read(offset, length), Err(error));
        }
        assert_eq!(
            device.write(14, b"abc"),
            Err(MemoryError::OutOfRange { offset: 14, length: 3, size: 16 })
        );
        assert_eq!(device.read(16, 0), Ok(vec![]));
        let refused = MemoryError::NotAllocated { length: 1, reason: "no room".into() };
        assert_eq!(device.allocate(b"a"), Err(refused));
        assert_eq!(told.len(), 1);
        assert_eq!(fake.0, [7; 16]);
    }

    #[test]
    fn a_guest_that_allocates_outside_of_its_memory_is_not_believed() {
        let mut fake = Fake(vec![0; 16], Some(15));
        let mut device = MemoryDevice::new(&mut fake, |_| {});
        assert_eq!(device.allocate(b"ab"), Err(MemoryError::OutOfRange { offset: 15, length: 2, size: 16 }));
    }

    #[test]
    fn the_hash_is_that_of_the_whole_memory() {
        let bytes: Vec<u8> = (0..200_000_u32).map(|number| (number % 251) as u8).collect();
        let mut fake = Fake(bytes.clone(), None);
        let mut told = Vec::new();
        let hash = MemoryDevice::new(&mut fake, |event| told.push(event)).sha256();
        assert_eq!(hash, <[u8; 32]>::from(Sha256::digest(&bytes)));
        let access = MemoryAccess::Read;
        assert_eq!(told, [DeviceEvent::MemoryAccessed { access, offset: 0, length: 200_000 }]);
    }
}
