//! How arguments and results lie in the guest's memory.

use alloc::{string::String, vec, vec::Vec};

use super::{Errno, Fault};
use crate::{Call, FileKind, Metadata};

/// Buffers of one scattered read or gathered write, as on Linux.
const BUFFERS_MAXIMUM: u32 = 1024;

/// Bytes of a buffer's place and length.
const BUFFER_BYTES: u32 = 8;

/// A place in the guest's memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Buffer {
    pub(super) pointer: u32,
    pub(super) length: u32,
}

/// The first arguments, each as an `i32`'s bits.
pub(super) fn words<const N: usize>(arguments: &[u64]) -> [u32; N] {
    core::array::from_fn(|index| wide(arguments, index) as u32)
}

/// One argument as an `i64`'s bits.
pub(super) fn wide(arguments: &[u64], index: usize) -> u64 {
    arguments.get(index).copied().unwrap_or_default()
}

/// Flags of 16 bits, all of which must be known.
pub(super) fn flags(value: u32, known: u16) -> Result<u16, Errno> {
    u16::try_from(value).ok().filter(|flags| flags & !known == 0).ok_or(Errno::Invalid)
}

/// Little-endian numbers out of a record.
pub(super) fn word_at(bytes: &[u8], offset: usize) -> u32 {
    wide_at(bytes, offset, 4) as u32
}

/// A little-endian number of up to eight bytes out of a record.
pub(super) fn wide_at(bytes: &[u8], offset: usize, size: usize) -> u64 {
    let bytes = bytes.get(offset..offset + size).unwrap_or_default();
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

impl Call<'_> {
    /// Fails when a place does not lie in the guest's memory.
    pub(super) fn place(&self, pointer: u32, length: u32) -> Result<(), Errno> {
        if self.contains(pointer, length) { Ok(()) } else { Err(Errno::Fault) }
    }

    /// Copies a record out of the guest's memory.
    pub(super) fn load(&mut self, pointer: u32, length: u32) -> Result<Vec<u8>, Fault> {
        self.place(pointer, length)?;
        self.pay(length.into())?;
        let mut bytes = vec![0; length as usize];
        // The place was checked.
        let _ = self.try_read(pointer, &mut bytes);
        Ok(bytes)
    }

    /// Copies a record into the guest's memory.
    pub(super) fn store(&mut self, pointer: u32, bytes: &[u8]) -> Result<(), Fault> {
        self.pay(bytes.len() as u64)?;
        if self.try_write(pointer, bytes) { Ok(()) } else { Err(Errno::Fault.into()) }
    }

    pub(super) fn store_u32(&mut self, pointer: u32, value: u32) -> Result<(), Fault> {
        self.store(pointer, &value.to_le_bytes())
    }

    pub(super) fn store_u64(&mut self, pointer: u32, value: u64) -> Result<(), Fault> {
        self.store(pointer, &value.to_le_bytes())
    }

    /// A path, or a symbolic link's target.
    pub(super) fn path(&mut self, pointer: u32, length: u32) -> Result<String, Fault> {
        self.place(pointer, length)?;
        if length > self.context.files.tree.limits().path_bytes {
            return Err(Errno::NameTooLong.into());
        }
        let bytes = self.load(pointer, length)?;
        String::from_utf8(bytes).map_err(|_| Errno::IllegalSequence.into())
    }

    /// The buffers of a scattered read or gathered write, all of which lie in the guest's memory; and their length, which
    /// fits the guest's `i32`.
    pub(super) fn buffers(&mut self, pointer: u32, count: u32) -> Result<(Vec<Buffer>, u32), Fault> {
        if count > BUFFERS_MAXIMUM {
            return Err(Errno::Invalid.into());
        }
        let records = self.load(pointer, count * BUFFER_BYTES)?;
        let mut total = 0_u32;
        let mut buffers = Vec::with_capacity(count as usize);
        for record in records.chunks_exact(BUFFER_BYTES as usize) {
            let buffer = Buffer { pointer: word_at(record, 0), length: word_at(record, 4) };
            self.place(buffer.pointer, buffer.length)?;
            total = total.checked_add(buffer.length).ok_or(Errno::Invalid)?;
            buffers.push(buffer);
        }
        Ok((buffers, total))
    }

    /// Copies what was read into the buffers.
    pub(super) fn scatter(&mut self, buffers: &[Buffer], mut bytes: &[u8]) -> Result<(), Fault> {
        for buffer in buffers {
            let (now, rest) = bytes.split_at(bytes.len().min(buffer.length as usize));
            self.store(buffer.pointer, now)?;
            bytes = rest;
        }
        Ok(())
    }

    /// Copies at most `limit` bytes of the buffers.
    pub(super) fn gather(&mut self, buffers: &[Buffer], limit: u32) -> Result<Vec<u8>, Fault> {
        let total: u64 = buffers.iter().map(|buffer| u64::from(buffer.length)).sum();
        let mut bytes = vec![0; total.min(limit.into()) as usize];
        self.pay(bytes.len() as u64)?;
        let mut done = 0;
        for buffer in buffers {
            let length = (buffer.length as usize).min(bytes.len() - done);
            // The buffers were checked.
            let _ = self.try_read(buffer.pointer, &mut bytes[done..done + length]);
            done += length;
        }
        Ok(bytes)
    }
}

/// WASI's number for a kind of file.
pub(super) fn file_type(kind: FileKind) -> u8 {
    match kind {
        FileKind::Other => 0,
        FileKind::BlockDevice => 1,
        FileKind::CharacterDevice => 2,
        FileKind::Directory => 3,
        FileKind::Regular => 4,
        FileKind::SymbolicLink => 7,
    }
}

/// The record `filestat`.
pub(super) fn filestat(metadata: &Metadata) -> [u8; 64] {
    let mut record = [0; 64];
    for (index, number) in [
        metadata.device,
        metadata.inode,
        file_type(metadata.kind).into(),
        metadata.links,
        metadata.size,
        metadata.accessed,
        metadata.modified,
        metadata.changed,
    ]
    .into_iter()
    .enumerate()
    {
        record[8 * index..8 * (index + 1)].copy_from_slice(&number.to_le_bytes());
    }
    record
}
