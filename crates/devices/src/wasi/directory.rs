//! Preopened directories and the entries of directories.

use alloc::vec::Vec;

use super::{
    Errno, Fault, Rights,
    descriptor::metadata,
    memory::{file_type, wide, words},
};
use crate::{
    Call, DirectoryItem, FileKind, FileOperation,
    files::{Object, Target},
};

/// Bytes of a directory entry before its name.
const ENTRY_BYTES: usize = 24;

/// The cookies of `.` and `..`; those of named entries follow.
const HERE: u64 = 1;
const ABOVE: u64 = 2;

/// `fd_prestat_get(fd, prestat)`.
pub(super) fn fd_prestat_get(call: &mut Call<'_>, arguments: &[u64]) -> Result<(), Fault> {
    let [fd, result] = words(arguments);
    let length = preopened(call, fd)?.len() as u32;
    // The tag 0 says that it is a directory.
    let mut record = [0; 8];
    record[4..8].copy_from_slice(&length.to_le_bytes());
    call.store(result, &record)
}

/// `fd_prestat_dir_name(fd, path, path_len)`.
pub(super) fn fd_prestat_dir_name(call: &mut Call<'_>, arguments: &[u64]) -> Result<(), Fault> {
    let [fd, pointer, length] = words(arguments);
    let name = preopened(call, fd)?;
    if name.len() > length as usize {
        return Err(Errno::NameTooLong.into());
    }
    call.store(pointer, &name)
}

/// The name of a preopened directory.
fn preopened(call: &mut Call<'_>, fd: u32) -> Result<Vec<u8>, Fault> {
    let descriptor = call.context.descriptor(fd, Rights::NONE)?;
    if descriptor.preopened {
        Ok(descriptor.path.clone().into_bytes())
    } else {
        // What a program that looks for preopened directories expects behind the last one.
        Err(Errno::BadDescriptor.into())
    }
}

/// `fd_readdir(fd, buf, buf_len, cookie, bufused)`.
pub(super) fn fd_readdir(call: &mut Call<'_>, arguments: &[u64]) -> Result<(), Fault> {
    let [fd, buffer, length, _, result] = words(arguments);
    let cookie = wide(arguments, 3);
    if call.context.kind(fd)? != FileKind::Directory {
        return Err(Errno::NotDirectory.into());
    }
    let target = call.context.descriptor(fd, Rights::FD_READDIR)?.object.target();
    call.place(buffer, length)?;
    call.place(result, 4)?;
    let length = length as usize;
    let mut bytes = Vec::new();
    if cookie < ABOVE {
        let (here, above) = match target {
            Target::Node(node) => (node, call.context.files.tree.parent(node)?),
            Target::Mounted | Target::Stream => {
                let inode = metadata(call.context, fd, target)?.inode;
                (inode, inode)
            }
        };
        for (number, name, inode) in [(HERE, ".", here), (ABOVE, "..", above)] {
            let item = DirectoryItem { name: name.into(), kind: FileKind::Directory, inode };
            if number > cookie {
                append(&mut bytes, number, &item, length);
            }
        }
    }
    match target {
        Target::Node(node) => {
            for (number, item) in call.context.files.tree.entries_after(node, cookie.max(ABOVE))? {
                if !append(&mut bytes, number, &item, length) {
                    break;
                }
            }
            if cookie == 0 {
                call.context.note_use(FileOperation::List, fd, 0, &Ok(()));
            }
        }
        Target::Mounted | Target::Stream => {
            mounted_entries(call, fd, cookie, &mut bytes, length)?;
        }
    }
    call.store(buffer, &bytes)?;
    call.store_u32(result, bytes.len() as u32)
}

/// Appends the entries of a mounted directory. They are asked for when a listing begins, and stay the same until one
/// begins anew, so that cookies stay what they are.
fn mounted_entries(
    call: &mut Call<'_>,
    fd: u32,
    cookie: u64,
    bytes: &mut Vec<u8>,
    length: usize,
) -> Result<(), Fault> {
    let (mounted, handle) = call.context.mounted(fd)?;
    if cookie == 0 || !mounted.listed {
        let entries = call.context.list_mounted(handle);
        call.context.note_use(FileOperation::List, fd, 0, &entries);
        let entries = entries?;
        if let Object::Mounted(mounted) = &mut call.context.descriptor(fd, Rights::NONE)?.object {
            (mounted.listing, mounted.listed) = (entries, true);
        }
    }
    if let Object::Mounted(mounted) = &call.context.descriptor(fd, Rights::NONE)?.object {
        let first = usize::try_from(cookie.saturating_sub(ABOVE)).unwrap_or(usize::MAX);
        for (number, item) in (ABOVE + 1..).zip(&mounted.listing).skip(first) {
            if !append(bytes, number, item, length) {
                break;
            }
        }
    }
    Ok(())
}

/// Appends an entry, or as much of it as fits; whether more fits.
fn append(bytes: &mut Vec<u8>, cookie: u64, item: &DirectoryItem, limit: usize) -> bool {
    let mut record = [0; ENTRY_BYTES];
    record[..8].copy_from_slice(&cookie.to_le_bytes());
    record[8..16].copy_from_slice(&item.inode.to_le_bytes());
    record[16..20].copy_from_slice(&(item.name.len() as u32).to_le_bytes());
    record[20] = file_type(item.kind);
    for part in [record.as_slice(), item.name.as_bytes()] {
        let room = limit - bytes.len();
        bytes.extend_from_slice(&part[..part.len().min(room)]);
    }
    bytes.len() < limit
}
