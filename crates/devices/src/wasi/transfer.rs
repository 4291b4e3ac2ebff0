//! Reading, writing and seeking.

use alloc::vec::Vec;

use super::{
    Errno, Fault, Rights,
    descriptor::{APPEND, DSYNC, SYNC, metadata},
    memory::{Buffer, wide, words},
};
use crate::{
    Call, FileOperation, OutputStream,
    files::{Object, Target},
    host,
};

/// Bytes that one call transfers at most; a program is told how many they were and asks again.
const TRANSFER_MAXIMUM: u32 = 64 << 20;

/// Where a transfer takes place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// At the descriptor's position, which moves.
    Current,
    /// At an offset; the descriptor's position stays.
    At(u64),
}

/// `fd_read(fd, iovs, iovs_len, nread)`.
pub(super) fn fd_read(call: &mut Call<'_>, arguments: &[u64]) -> Result<(), Fault> {
    let [fd, buffers, count, result] = words(arguments);
    read(call, fd, [buffers, count, result], Place::Current)
}

/// `fd_pread(fd, iovs, iovs_len, offset, nread)`.
pub(super) fn fd_pread(call: &mut Call<'_>, arguments: &[u64]) -> Result<(), Fault> {
    let [fd, buffers, count, _, result] = words(arguments);
    read(call, fd, [buffers, count, result], Place::At(wide(arguments, 3)))
}

/// `fd_write(fd, iovs, iovs_len, nwritten)`.
pub(super) fn fd_write(call: &mut Call<'_>, arguments: &[u64]) -> Result<(), Fault> {
    let [fd, buffers, count, result] = words(arguments);
    write(call, fd, [buffers, count, result], Place::Current)
}

/// `fd_pwrite(fd, iovs, iovs_len, offset, nwritten)`.
pub(super) fn fd_pwrite(call: &mut Call<'_>, arguments: &[u64]) -> Result<(), Fault> {
    let [fd, buffers, count, _, result] = words(arguments);
    write(call, fd, [buffers, count, result], Place::At(wide(arguments, 3)))
}

/// Checks a transfer before anything happens: the target, the buffers and their length.
fn prepare(
    call: &mut Call<'_>,
    fd: u32,
    [pointer, count, result]: [u32; 3],
    place: Place,
    rights: Rights,
) -> Result<(Target, Vec<Buffer>, u32), Fault> {
    let target = call.context.file(fd, Rights::NONE)?.object.target();
    let rights = match (place, target) {
        (Place::At(_), Target::Stream) => return Err(Errno::InvalidSeek.into()),
        (Place::At(_), _) => rights | Rights::FD_SEEK,
        (Place::Current, _) => rights,
    };
    call.context.file(fd, rights)?;
    call.place(result, 4)?;
    let (buffers, total) = call.buffers(pointer, count)?;
    Ok((target, buffers, total.min(TRANSFER_MAXIMUM)))
}

fn read(call: &mut Call<'_>, fd: u32, memory: [u32; 3], place: Place) -> Result<(), Fault> {
    let (target, buffers, limit) = prepare(call, fd, memory, place, Rights::FD_READ)?;
    let offset = match place {
        Place::Current => call.context.file(fd, Rights::FD_READ)?.position,
        Place::At(offset) => offset,
    };
    let bytes = match target {
        Target::Stream => {
            let limit = limit.min(call.context.link.piece_bytes());
            call.context.read_stdin(limit).map_err(crate::Stop::from)?
        }
        Target::Node(node) => {
            let tree = &mut call.context.files.tree;
            let count = tree.readable(node, offset, limit.into())?;
            call.pay(count)?;
            let now = call.context.clock_wall();
            call.context.files.tree.read(node, offset, count, now)?.to_vec()
        }
        Target::Mounted => {
            let (_, handle) = call.context.mounted(fd)?;
            let read = call.context.read_mounted(handle, offset, limit);
            if let Err(error) = read {
                let error = Err::<(), _>(error);
                call.context.note_use(FileOperation::Read, fd, 0, &error);
                return Ok(error?);
            }
            read?
        }
    };
    call.scatter(&buffers, &bytes)?;
    let count = bytes.len() as u64;
    if place == Place::Current {
        call.context.file(fd, Rights::NONE)?.position = offset.saturating_add(count);
    }
    if target != Target::Stream {
        call.context.note_use(FileOperation::Read, fd, count, &Ok(()));
    }
    // No more than `TRANSFER_MAXIMUM`.
    call.store_u32(memory[2], count as u32)
}

fn write(call: &mut Call<'_>, fd: u32, memory: [u32; 3], place: Place) -> Result<(), Fault> {
    let (target, buffers, limit) = prepare(call, fd, memory, place, Rights::FD_WRITE)?;
    let descriptor = call.context.file(fd, Rights::FD_WRITE)?;
    let (flags, position) = (descriptor.flags, descriptor.position);
    let stream = match descriptor.object {
        Object::Output(stream) => stream,
        _ => OutputStream::Output,
    };
    let bytes = call.gather(&buffers, limit)?;
    let offset = match place {
        Place::Current if flags & APPEND != 0 => None,
        Place::Current => Some(position),
        Place::At(offset) => Some(offset),
    };
    let written = match target {
        Target::Stream => {
            call.context.write_output(stream, &bytes);
            Ok(position)
        }
        Target::Node(node) => {
            let size = call.context.files.tree.metadata(node)?.size;
            let offset = offset.unwrap_or(size);
            // The zeros between the end and the offset take time and room too, but not those that the quota refuses.
            if offset <= call.context.files.tree.limits().bytes {
                call.pay(offset.saturating_sub(size))?;
            }
            let now = call.context.clock_wall();
            let tree = &mut call.context.files.tree;
            let written = tree.write(node, offset, &bytes, now);
            written.map(|()| offset + bytes.len() as u64).map_err(host::Fault::from)
        }
        Target::Mounted => {
            let (mounted, handle) = call.context.mounted(fd)?;
            let written = call.context.write_mounted(&mounted, handle, offset, &bytes);
            if written.is_ok() && flags & (SYNC | DSYNC) != 0 {
                call.context.sync_mounted(handle, flags & SYNC == 0)?;
            }
            written
        }
    };
    let count = bytes.len() as u64;
    if target != Target::Stream {
        call.context.note_use(FileOperation::Write, fd, count, &written);
    }
    let end = written?;
    if place == Place::Current {
        call.context.file(fd, Rights::NONE)?.position = end;
    }
    call.store_u32(memory[2], count as u32)
}

/// `fd_seek(fd, offset, whence, newoffset)`.
pub(super) fn fd_seek(call: &mut Call<'_>, arguments: &[u64]) -> Result<(), Fault> {
    const SET: u32 = 0;
    const CURRENT: u32 = 1;
    const END: u32 = 2;
    let [fd, _, whence, result] = words(arguments);
    let distance = wide(arguments, 1).cast_signed();
    let descriptor = call.context.file(fd, Rights::NONE)?;
    let target = descriptor.object.target();
    if target == Target::Stream {
        return Err(Errno::InvalidSeek.into());
    }
    // The right to tell is one to seek nowhere.
    let needed = if whence == CURRENT && distance == 0 {
        if Rights::FD_SEEK.within(descriptor.rights) { Rights::FD_SEEK } else { Rights::FD_TELL }
    } else {
        Rights::FD_SEEK
    };
    let position = call.context.file(fd, needed)?.position;
    call.place(result, 8)?;
    let from = match whence {
        SET => 0,
        CURRENT => position,
        END => metadata(call.context, fd, target)?.size,
        _ => return Err(Errno::Invalid.into()),
    };
    let position = from.checked_add_signed(distance).ok_or(Errno::Invalid)?;
    if position > i64::MAX as u64 {
        return Err(Errno::Invalid.into());
    }
    call.context.file(fd, needed)?.position = position;
    call.store_u64(result, position)
}

/// `fd_tell(fd, offset)`.
pub(super) fn fd_tell(call: &mut Call<'_>, arguments: &[u64]) -> Result<(), Fault> {
    let [fd, result] = words(arguments);
    let descriptor = call.context.file(fd, Rights::NONE)?;
    if descriptor.object.target() == Target::Stream {
        return Err(Errno::InvalidSeek.into());
    }
    if !(Rights::FD_TELL | Rights::FD_SEEK).any_in(descriptor.rights) {
        return Err(Errno::NotCapable.into());
    }
    let position = descriptor.position;
    call.store_u64(result, position)
}
