//! Functions that act on what a path names.

use alloc::string::String;

use super::{
    Errno, Fault, Rights,
    descriptor::{ALL_FLAGS, DSYNC, RSYNC, SYNC, time_changes},
    memory::{filestat, flags, wide, words},
};
use crate::{
    Call, Context, FileKind, FileOperation, OpenOptions,
    files::{Base, Descriptor, MountBase, Target, shown_path},
};

/// A symbolic link at the path's end is followed.
const FOLLOW: u16 = 1;

/// Open flags.
const CREATE: u16 = 1;
const DIRECTORY: u16 = 1 << 1;
const EXCLUSIVE: u16 = 1 << 2;
const TRUNCATE: u16 = 1 << 3;
const OPEN_FLAGS: u16 = 0b1111;

/// Where a path starts from, the path, and how the process names what it leads to.
struct Start {
    base: Base,
    path: String,
    shown: String,
}

impl Context {
    /// The directory behind a descriptor that has these rights.
    fn base(&mut self, fd: u32, rights: Rights) -> Result<Base, Fault> {
        if self.kind(fd)? != FileKind::Directory {
            return Err(Errno::NotDirectory.into());
        }
        match self.descriptor(fd, rights)?.object.target() {
            Target::Node(node) => Ok(Base::Tree(node)),
            Target::Mounted | Target::Stream => {
                let (mounted, handle) = self.mounted(fd)?;
                Ok(Base::Mount(MountBase::new(handle, &mounted)))
            }
        }
    }
}

/// Reads a path that starts from the directory behind `fd`.
fn start(call: &mut Call<'_>, fd: u32, place: [u32; 2], rights: Rights) -> Result<Start, Fault> {
    let base = call.context.base(fd, rights)?;
    let path = call.path(place[0], place[1])?;
    let shown = shown_path(&call.context.descriptor(fd, rights)?.path, &path);
    Ok(Start { base, path, shown })
}

/// `path_create_directory(fd, path, path_len)`.
pub(super) fn path_create_directory(call: &mut Call<'_>, arguments: &[u64]) -> Result<(), Fault> {
    let [fd, path, length] = words(arguments);
    let start = start(call, fd, [path, length], Rights::PATH_CREATE_DIRECTORY)?;
    let result = call.context.create_directory_at(&start.base, &start.path);
    call.context.accessed(FileOperation::CreateDirectory, start.shown, "", 0, &result);
    Ok(result?)
}

/// `path_remove_directory(fd, path, path_len)`.
pub(super) fn path_remove_directory(call: &mut Call<'_>, arguments: &[u64]) -> Result<(), Fault> {
    let [fd, path, length] = words(arguments);
    let start = start(call, fd, [path, length], Rights::PATH_REMOVE_DIRECTORY)?;
    let result = call.context.remove_directory_at(&start.base, &start.path);
    call.context.accessed(FileOperation::RemoveDirectory, start.shown, "", 0, &result);
    Ok(result?)
}

/// `path_unlink_file(fd, path, path_len)`.
pub(super) fn path_unlink_file(call: &mut Call<'_>, arguments: &[u64]) -> Result<(), Fault> {
    let [fd, path, length] = words(arguments);
    let start = start(call, fd, [path, length], Rights::PATH_UNLINK_FILE)?;
    let result = call.context.remove_file_at(&start.base, &start.path);
    call.context.accessed(FileOperation::RemoveFile, start.shown, "", 0, &result);
    Ok(result?)
}

/// `path_filestat_get(fd, flags, path, path_len, stat)`.
pub(super) fn path_filestat_get(call: &mut Call<'_>, arguments: &[u64]) -> Result<(), Fault> {
    let [fd, lookup, path, length, result] = words(arguments);
    let follow = flags(lookup, FOLLOW)? != 0;
    let start = start(call, fd, [path, length], Rights::PATH_FILESTAT_GET)?;
    call.place(result, 64)?;
    let metadata = call.context.metadata_at(&start.base, &start.path, follow);
    call.context.accessed(FileOperation::Metadata, start.shown, "", 0, &metadata);
    call.store(result, &filestat(&metadata?))
}

/// `path_filestat_set_times(fd, flags, path, path_len, atim, mtim, fst_flags)`.
pub(super) fn path_filestat_set_times(call: &mut Call<'_>, arguments: &[u64]) -> Result<(), Fault> {
    let [fd, lookup, path, length, _, _, change] = words(arguments);
    let follow = flags(lookup, FOLLOW)? != 0;
    let (accessed, modified) = time_changes(wide(arguments, 4), wide(arguments, 5), change)?;
    let start = start(call, fd, [path, length], Rights::PATH_FILESTAT_SET_TIMES)?;
    let result = call.context.set_times_at(&start.base, &start.path, follow, accessed, modified);
    call.context.accessed(FileOperation::SetTimes, start.shown, "", 0, &result);
    Ok(result?)
}

/// `path_link(old_fd, old_flags, old_path, old_path_len, new_fd, new_path, new_path_len)`. Symbolic links cannot be
/// followed here, as in other hosts.
pub(super) fn path_link(call: &mut Call<'_>, arguments: &[u64]) -> Result<(), Fault> {
    let [fd, lookup, path, length, to_fd, to_path, to_length] = words(arguments);
    flags(lookup, 0)?;
    let from = start(call, fd, [path, length], Rights::PATH_LINK_SOURCE)?;
    let to = start(call, to_fd, [to_path, to_length], Rights::PATH_LINK_TARGET)?;
    let result = call.context.link_at(&from.base, &from.path, &to.base, &to.path);
    call.context.accessed(FileOperation::Link, from.shown, &to.shown, 0, &result);
    Ok(result?)
}

/// `path_rename(fd, old_path, old_path_len, new_fd, new_path, new_path_len)`.
pub(super) fn path_rename(call: &mut Call<'_>, arguments: &[u64]) -> Result<(), Fault> {
    let [fd, path, length, to_fd, to_path, to_length] = words(arguments);
    let from = start(call, fd, [path, length], Rights::PATH_RENAME_SOURCE)?;
    let to = start(call, to_fd, [to_path, to_length], Rights::PATH_RENAME_TARGET)?;
    let result = call.context.rename_at(&from.base, &from.path, &to.base, &to.path);
    call.context.accessed(FileOperation::Rename, from.shown, &to.shown, 0, &result);
    Ok(result?)
}

/// `path_symlink(old_path, old_path_len, fd, new_path, new_path_len)`.
pub(super) fn path_symlink(call: &mut Call<'_>, arguments: &[u64]) -> Result<(), Fault> {
    let [target, target_length, fd, path, length] = words(arguments);
    let target = call.path(target, target_length)?;
    let start = start(call, fd, [path, length], Rights::PATH_SYMLINK)?;
    let result = call.context.symbolic_link_at(&target, &start.base, &start.path);
    call.context.accessed(FileOperation::SymbolicLink, start.shown, &target, 0, &result);
    Ok(result?)
}

/// `path_readlink(fd, path, path_len, buf, buf_len, bufused)`: as much of the target as fits.
pub(super) fn path_readlink(call: &mut Call<'_>, arguments: &[u64]) -> Result<(), Fault> {
    let [fd, path, length, buffer, room, result] = words(arguments);
    let start = start(call, fd, [path, length], Rights::PATH_READLINK)?;
    call.place(buffer, room)?;
    call.place(result, 4)?;
    let target = call.context.read_link_at(&start.base, &start.path);
    call.context.accessed(FileOperation::ReadLink, start.shown, "", 0, &target);
    let target = target?;
    let count = target.len().min(room as usize);
    call.store(buffer, &target.as_bytes()[..count])?;
    call.store_u32(result, count as u32)
}

/// `path_open(fd, dirflags, path, path_len, oflags, rights_base, rights_inheriting, fdflags, opened)`.
pub(super) fn path_open(call: &mut Call<'_>, arguments: &[u64]) -> Result<(), Fault> {
    let [fd, lookup, path, length, how, _, _, descriptor_flags, result] = words(arguments);
    let (rights, inheriting) = (wide(arguments, 5), wide(arguments, 6));
    let follow = flags(lookup, FOLLOW)? != 0;
    let how = flags(how, OPEN_FLAGS)?;
    let descriptor_flags = flags(descriptor_flags, ALL_FLAGS)?;
    let mut needed = Rights::PATH_OPEN;
    if how & CREATE != 0 {
        needed = needed | Rights::PATH_CREATE_FILE;
    }
    if how & TRUNCATE != 0 {
        needed = needed | Rights::PATH_FILESTAT_SET_SIZE;
    }
    let start = start(call, fd, [path, length], needed)?;
    call.place(result, 4)?;
    // What is opened has no right that is not passed on, and flags need the rights to what they do.
    let passed_on = call.context.descriptor(fd, needed)?.inheriting;
    let of_flags = [(DSYNC, Rights::FD_DATASYNC), (RSYNC | SYNC, Rights::FD_SYNC)];
    let of_flags = of_flags
        .into_iter()
        .all(|(flag, right)| descriptor_flags & flag == 0 || (right | Rights::FD_SYNC).any_in(passed_on));
    if (rights | inheriting) & !passed_on != 0 || !of_flags {
        return Err(Errno::NotCapable.into());
    }
    let limit = call.context.files.tree.limits().descriptors;
    if !call.context.files.descriptors.has_room(limit) {
        return Err(Errno::TooManyOpen.into());
    }
    let options = OpenOptions {
        read: (Rights::FD_READ | Rights::FD_READDIR).any_in(rights),
        write: Rights::CHANGES_CONTENT.any_in(rights),
        create: how & CREATE != 0,
        exclusive: how & EXCLUSIVE != 0,
        directory: how & DIRECTORY != 0,
        truncate: how & TRUNCATE != 0,
        follow,
    };
    let opened = call.context.open_file(&start.base, &start.path, options);
    call.context.accessed(FileOperation::Open, start.shown.clone(), "", 0, &opened);
    let (object, kind) = opened?;
    let (applicable, passed_on) = match kind {
        FileKind::Directory => (Rights::DIRECTORY, inheriting),
        _ => (Rights::FILE, 0),
    };
    let descriptor = Descriptor {
        object,
        rights: rights & applicable.0,
        inheriting: passed_on,
        flags: descriptor_flags,
        position: 0,
        preopened: false,
        path: start.shown,
    };
    let number = call.context.files.descriptors.insert(descriptor, limit)?;
    call.store_u32(result, number)
}
