//! Which pages of a private mapping were written, as the kernel tells in `/proc/self/pagemap`.
//!
//! A page of a private mapping that is still the file's is a page of a file; once written it is the process's own,
//! anonymous, whether it is present or swapped out. The format is described in the kernel's documentation,
//! `admin-guide/mm/pagemap.rst`.

use std::{fs::File, io, os::fd::AsFd, sync::OnceLock, vec, vec::Vec};

use rustix::io::pread;

use crate::native::image::PAGE_BYTES;

/// Bytes of an entry.
const ENTRY_BYTES: usize = 8;
const IS_PRESENT: u64 = 1 << 63;
const IS_SWAPPED: u64 = 1 << 62;
/// A page of a file, or of shared memory.
const IS_FILE: u64 = 1 << 61;

/// The pages of a mapped memory that may have been written; none when the kernel does not tell. A page of zeros that was
/// only read may be among them.
pub(super) fn written_pages(memory: &[u8]) -> Option<Vec<bool>> {
    /// Opened once: it speaks of the address space of whoever opened it.
    static PAGEMAP: OnceLock<Option<File>> = OnceLock::new();
    let file = PAGEMAP.get_or_init(|| File::open("/proc/self/pagemap").ok()).as_ref()?;
    read(file, memory).ok()
}

fn read(file: impl AsFd, memory: &[u8]) -> io::Result<Vec<bool>> {
    let first = memory.as_ptr().addr() / PAGE_BYTES;
    let mut entries = vec![0; memory.len() / PAGE_BYTES * ENTRY_BYTES];
    let mut read = 0;
    while read < entries.len() {
        match pread(&file, &mut entries[read..], (first * ENTRY_BYTES + read) as u64)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            more => read += more,
        }
    }
    let is_written = |entry: &[u8]| {
        let entry = entry.try_into().map_or(IS_PRESENT, u64::from_ne_bytes);
        entry & (IS_PRESENT | IS_SWAPPED) != 0 && entry & IS_FILE == 0
    };
    Ok(entries.chunks_exact(ENTRY_BYTES).map(is_written).collect())
}
