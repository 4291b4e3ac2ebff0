//! Functions that act on a descriptor itself, or on the file behind it as a whole.

use super::{
    Errno, Fault, Rights,
    memory::{file_type, filestat, flags, wide, words},
};
use crate::{
    Call, Context, FileKind, FileOperation, Metadata, TimeChange,
    files::{Descriptor, Mounted, Object, Target},
    host,
};

/// All descriptor flags: append, dsync, nonblock, rsync, sync.
pub(super) const ALL_FLAGS: u16 = 0b1_1111;
/// Writes go to the end.
pub(super) const APPEND: u16 = 1;
/// Writes wait until their bytes are stored.
pub(super) const DSYNC: u16 = 1 << 1;
/// Reads wait like writes.
pub(super) const RSYNC: u16 = 1 << 3;
/// Writes wait until all is stored.
pub(super) const SYNC: u16 = 1 << 4;

/// The number of the last advice.
const ADVICE_MAXIMUM: u32 = 5;

impl Context {
    /// An open descriptor that has all these rights.
    pub(super) fn descriptor(&mut self, number: u32, rights: Rights) -> Result<&mut Descriptor, Errno> {
        let descriptor = self.files.descriptors.get_mut(number).ok_or(Errno::BadDescriptor)?;
        if rights.within(descriptor.rights) { Ok(descriptor) } else { Err(Errno::NotCapable) }
    }

    /// What an open descriptor refers to.
    pub(super) fn kind(&self, number: u32) -> Result<FileKind, Errno> {
        let descriptor = self.files.descriptors.get(number).ok_or(Errno::BadDescriptor)?;
        Ok(match &descriptor.object {
            Object::Stdin => self.stream_kind(0),
            Object::Output(stream) => self.stream_kind(1 + *stream as usize),
            Object::Node(node) => self.files.tree.kind(*node)?,
            Object::Mounted(mounted) => mounted.kind,
        })
    }

    fn stream_kind(&self, stream: usize) -> FileKind {
        if self.stdio.is_terminal(stream) { FileKind::CharacterDevice } else { FileKind::Other }
    }

    /// The descriptor of a file with content, with these rights. Others have errors of their own, as in POSIX.
    pub(super) fn file(&mut self, number: u32, rights: Rights) -> Result<&mut Descriptor, Errno> {
        if self.kind(number)? == FileKind::Directory {
            return Err(Errno::IsDirectory);
        }
        self.descriptor(number, rights)
    }

    /// Notes the use of an open file for the step's report.
    pub(super) fn note_use<T>(
        &mut self,
        operation: FileOperation,
        number: u32,
        bytes: u64,
        result: &Result<T, host::Fault>,
    ) {
        if let Some(descriptor) = self.files.descriptors.get(number) {
            let path = descriptor.path.clone();
            self.accessed(operation, path, "", bytes, result);
        }
    }

    /// The open file behind a mounted file's descriptor, and the host's handle of it.
    pub(super) fn mounted(&mut self, number: u32) -> Result<(Mounted, u32), Fault> {
        let descriptor = self.files.descriptors.get_mut(number).ok_or(Errno::BadDescriptor)?;
        let Object::Mounted(mounted) = &mut descriptor.object else {
            return Err(Errno::BadDescriptor.into());
        };
        // A listing is not needed to use a file, and may be long.
        let listing = core::mem::take(&mut mounted.listing);
        let mut copy = mounted.clone();
        mounted.listing = listing;
        let handle = self.mounted_handle(&copy)?;
        if copy.handle.is_none() {
            copy.handle = Some(handle);
            if let Some(descriptor) = self.files.descriptors.get_mut(number)
                && let Object::Mounted(mounted) = &mut descriptor.object
            {
                mounted.handle = Some(handle);
            }
        }
        Ok((copy, handle))
    }
}

/// `fd_advise(fd, offset, len, advice)`: there is nothing to prepare.
pub(super) fn fd_advise(call: &mut Call<'_>, arguments: &[u64]) -> Result<(), Fault> {
    let [fd, _, _, advice] = words(arguments);
    call.context.file(fd, Rights::FD_ADVISE)?;
    wide(arguments, 1).checked_add(wide(arguments, 2)).ok_or(Errno::Invalid)?;
    if advice > ADVICE_MAXIMUM { Err(Errno::Invalid.into()) } else { Ok(()) }
}

/// `fd_allocate(fd, offset, len)`: makes a file at least as large as that.
pub(super) fn fd_allocate(call: &mut Call<'_>, arguments: &[u64]) -> Result<(), Fault> {
    let [fd] = words(arguments);
    let descriptor = call.context.file(fd, Rights::FD_ALLOCATE)?;
    let target = descriptor.object.target();
    let length = wide(arguments, 2);
    if length == 0 {
        return Err(Errno::Invalid.into());
    }
    let size = wide(arguments, 1).checked_add(length).ok_or(Errno::TooLarge)?;
    let old = metadata(call.context, fd, target)?.size;
    if size <= old {
        return Ok(());
    }
    resize(call, fd, target, old, size)
}

/// `fd_filestat_set_size(fd, size)`.
pub(super) fn fd_filestat_set_size(call: &mut Call<'_>, arguments: &[u64]) -> Result<(), Fault> {
    let [fd] = words(arguments);
    let target = call.context.file(fd, Rights::FD_FILESTAT_SET_SIZE)?.object.target();
    let size = wide(arguments, 1);
    let old = match target {
        Target::Node(node) => call.context.files.tree.metadata(node)?.size,
        Target::Mounted | Target::Stream => size,
    };
    resize(call, fd, target, old, size)
}

fn resize(call: &mut Call<'_>, fd: u32, target: Target, old: u64, size: u64) -> Result<(), Fault> {
    let now = call.context.clock_wall();
    let result = match target {
        Target::Node(node) => {
            // Zeros take time and room too, but not those that the quota refuses.
            if size <= call.context.files.tree.limits().bytes {
                call.pay(size.saturating_sub(old))?;
            }
            call.context.files.tree.set_size(node, size, now).map_err(host::Fault::from)
        }
        Target::Mounted => {
            let (mounted, handle) = call.context.mounted(fd)?;
            call.context.set_mounted_size(&mounted, handle, size)
        }
        Target::Stream => return Err(Errno::Invalid.into()),
    };
    call.context.note_use(FileOperation::SetSize, fd, size, &result);
    Ok(result?)
}

/// `fd_close(fd)`.
pub(super) fn fd_close(call: &mut Call<'_>, arguments: &[u64]) -> Result<(), Fault> {
    let [fd] = words(arguments);
    let descriptor = call.context.files.descriptors.remove(fd).ok_or(Errno::BadDescriptor)?;
    Ok(call.context.close_object(descriptor.object)?)
}

/// `fd_renumber(fd, to)`.
pub(super) fn fd_renumber(call: &mut Call<'_>, arguments: &[u64]) -> Result<(), Fault> {
    let [fd, to] = words(arguments);
    let descriptors = &mut call.context.files.descriptors;
    if descriptors.get(fd).is_none() || descriptors.get(to).is_none() {
        return Err(Errno::BadDescriptor.into());
    }
    if fd == to {
        return Ok(());
    }
    let moved = descriptors.remove(fd).ok_or(Errno::BadDescriptor)?;
    match descriptors.replace(to, moved) {
        Some(replaced) => Ok(call.context.close_object(replaced.object)?),
        None => Ok(()),
    }
}

/// `fd_sync(fd)`.
pub(super) fn fd_sync(call: &mut Call<'_>, arguments: &[u64]) -> Result<(), Fault> {
    sync(call, arguments, Rights::FD_SYNC, false)
}

/// `fd_datasync(fd)`.
pub(super) fn fd_datasync(call: &mut Call<'_>, arguments: &[u64]) -> Result<(), Fault> {
    sync(call, arguments, Rights::FD_DATASYNC, true)
}

fn sync(call: &mut Call<'_>, arguments: &[u64], rights: Rights, data_only: bool) -> Result<(), Fault> {
    let [fd] = words(arguments);
    match call.context.descriptor(fd, rights)?.object.target() {
        Target::Node(_) => Ok(()),
        Target::Mounted => {
            let (_, handle) = call.context.mounted(fd)?;
            Ok(call.context.sync_mounted(handle, data_only)?)
        }
        Target::Stream => Err(Errno::Invalid.into()),
    }
}

/// `fd_fdstat_get(fd, stat)`.
pub(super) fn fd_fdstat_get(call: &mut Call<'_>, arguments: &[u64]) -> Result<(), Fault> {
    let [fd, result] = words(arguments);
    let kind = call.context.kind(fd)?;
    let descriptor = call.context.descriptor(fd, Rights::NONE)?;
    let mut record = [0; 24];
    record[0] = file_type(kind);
    record[2..4].copy_from_slice(&descriptor.flags.to_le_bytes());
    record[8..16].copy_from_slice(&descriptor.rights.to_le_bytes());
    record[16..24].copy_from_slice(&descriptor.inheriting.to_le_bytes());
    call.store(result, &record)
}

/// `fd_fdstat_set_flags(fd, flags)`.
pub(super) fn fd_fdstat_set_flags(call: &mut Call<'_>, arguments: &[u64]) -> Result<(), Fault> {
    let [fd, value] = words(arguments);
    let descriptor = call.context.descriptor(fd, Rights::FD_FDSTAT_SET_FLAGS)?;
    descriptor.flags = flags(value, ALL_FLAGS)?;
    Ok(())
}

/// `fd_fdstat_set_rights(fd, base, inheriting)`: rights can be given up only.
pub(super) fn fd_fdstat_set_rights(call: &mut Call<'_>, arguments: &[u64]) -> Result<(), Fault> {
    let [fd] = words(arguments);
    let (rights, inheriting) = (wide(arguments, 1), wide(arguments, 2));
    let descriptor = call.context.descriptor(fd, Rights::NONE)?;
    if rights & !descriptor.rights != 0 || inheriting & !descriptor.inheriting != 0 {
        return Err(Errno::NotCapable.into());
    }
    (descriptor.rights, descriptor.inheriting) = (rights, inheriting);
    Ok(())
}

/// `fd_filestat_get(fd, stat)`.
pub(super) fn fd_filestat_get(call: &mut Call<'_>, arguments: &[u64]) -> Result<(), Fault> {
    let [fd, result] = words(arguments);
    let target = call.context.descriptor(fd, Rights::FD_FILESTAT_GET)?.object.target();
    let metadata = metadata(call.context, fd, target)?;
    call.store(result, &filestat(&metadata))
}

/// Metadata of an open file.
pub(super) fn metadata(context: &mut Context, fd: u32, target: Target) -> Result<Metadata, Fault> {
    match target {
        Target::Node(node) => Ok(context.files.tree.metadata(node)?),
        Target::Mounted => {
            let (_, handle) = context.mounted(fd)?;
            Ok(context.mounted_metadata(handle)?)
        }
        Target::Stream => {
            let kind = context.kind(fd)?;
            let nothing = Metadata {
                device: 0,
                inode: 0,
                kind,
                links: 0,
                size: 0,
                accessed: 0,
                modified: 0,
                changed: 0,
            };
            Ok(nothing)
        }
    }
}

/// How times change, from WASI's flags.
pub(super) fn time_changes(
    accessed: u64,
    modified: u64,
    value: u32,
) -> Result<(TimeChange, TimeChange), Errno> {
    let flags = flags(value, 0b1111)?;
    let change = |bits: u16, time: u64| match bits & 0b11 {
        0 => Ok(TimeChange::Keep),
        0b01 => Ok(TimeChange::To(time)),
        0b10 => Ok(TimeChange::Now),
        _ => Err(Errno::Invalid),
    };
    Ok((change(flags, accessed)?, change(flags >> 2, modified)?))
}

/// `fd_filestat_set_times(fd, atim, mtim, flags)`.
pub(super) fn fd_filestat_set_times(call: &mut Call<'_>, arguments: &[u64]) -> Result<(), Fault> {
    let [fd, _, _, value] = words(arguments);
    let target = call.context.descriptor(fd, Rights::FD_FILESTAT_SET_TIMES)?.object.target();
    let (accessed, modified) = time_changes(wide(arguments, 1), wide(arguments, 2), value)?;
    let now = call.context.clock_wall();
    let result = match target {
        Target::Node(node) => {
            call.context.files.tree.set_times(node, accessed, modified, now).map_err(host::Fault::from)
        }
        Target::Mounted => {
            let (mounted, handle) = call.context.mounted(fd)?;
            call.context.set_mounted_times(&mounted, handle, accessed, modified)
        }
        Target::Stream => return Err(Errno::Invalid.into()),
    };
    call.context.note_use(FileOperation::SetTimes, fd, 0, &result);
    Ok(result?)
}

/// `sock_*(fd, …)`: no descriptor is a socket.
pub(super) fn not_a_socket(call: &mut Call<'_>, arguments: &[u64]) -> Result<(), Fault> {
    let [fd] = words(arguments);
    call.context.descriptor(fd, Rights::NONE)?;
    Err(Errno::NotSocket.into())
}
