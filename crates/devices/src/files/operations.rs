//! The operations on files, in the tree or mounted.

use alloc::{format, string::String, vec::Vec};

use super::{
    Base, DirectoryItem, FileError, FileKind, Metadata, TimeChange,
    descriptors::{Mounted, Object},
    resolve::{Last, Resolved, check_path},
    tree::NewNode,
};
use crate::{
    Context,
    host::{Fault, FileAnswer, FileRequest, OpenOptions},
};

/// An answer of the host that does not fit the request.
const UNEXPECTED: Fault = Fault::File(FileError::InputOutput);

/// Whether the last name of a path is followed.
fn last(follow: bool) -> Last {
    if follow { Last::Follow } else { Last::NoFollow }
}

/// A path beneath another one.
pub(super) fn joined(base: &str, path: &str) -> String {
    if base.is_empty() { path.into() } else { format!("{}/{path}", base.trim_end_matches('/')) }
}

impl Context {
    /// Checks a path for the host, which checks where it leads.
    fn host_path(&self, path: &str) -> Result<(), FileError> {
        let limits = self.files.tree.limits();
        check_path(path, limits.path_bytes)?;
        let mut names = path.split('/').filter(|name| !name.is_empty());
        if names.clone().count() > limits.path_depth as usize
            || names.any(|name| name.len() > limits.name_bytes as usize)
        {
            return Err(FileError::NameTooLong);
        }
        Ok(())
    }

    /// The handle of a mounted directory to change something in.
    fn writable_base(&self, base: &super::MountBase, path: &str) -> Result<u32, FileError> {
        self.host_path(path)?;
        if base.writable { Ok(base.handle) } else { Err(FileError::ReadOnly) }
    }

    /// Performs an operation of the host that answers with nothing.
    fn host_does(&mut self, request: FileRequest<'_>) -> Result<(), Fault> {
        match self.link.file(request)? {
            FileAnswer::Done => Ok(()),
            _ => Err(UNEXPECTED),
        }
    }

    /// Opens what a path names.
    pub(crate) fn open_file(
        &mut self,
        base: &Base,
        path: &str,
        options: OpenOptions,
    ) -> Result<(Object, FileKind), Fault> {
        let makes_directory = options.directory && (options.create || options.exclusive || options.truncate);
        if makes_directory {
            return Err(FileError::Invalid.into());
        }
        match base {
            Base::Tree(directory) => {
                if options.create && path.ends_with('/') {
                    // No file can be made so, wherever a symbolic link would lead.
                    let found = self.files.tree.resolve(*directory, path, Last::Keep)?;
                    if found.place.is_some() {
                        return Err(FileError::IsDirectory.into());
                    }
                }
                let follow = options.follow && !(options.create && options.exclusive);
                let found = self.files.tree.resolve(*directory, path, last(follow))?;
                Ok(self.open_node(&found, options)?)
            }
            Base::Mount(base) => {
                self.host_path(path)?;
                if !base.writable && (options.write || options.truncate) {
                    return Err(FileError::ReadOnly.into());
                }
                if !base.writable && options.create {
                    return self.open_existing(base, path, options);
                }
                self.open_mounted(base, path, options)
            }
        }
    }

    fn open_node(&mut self, found: &Resolved, options: OpenOptions) -> Result<(Object, FileKind), FileError> {
        let now = self.clock_wall();
        let tree = &mut self.files.tree;
        if options.create && found.must_be_directory && found.place.is_some() {
            return Err(FileError::IsDirectory);
        }
        let node = match (found.node, &found.place) {
            (Some(_), _) if options.create && options.exclusive => return Err(FileError::Exists),
            (Some(node), _) => node,
            (None, Some((directory, name))) if options.create => {
                tree.create(*directory, name, NewNode::File, now)?
            }
            (None, _) => return Err(FileError::NotFound),
        };
        let kind = tree.kind(node)?;
        match kind {
            FileKind::SymbolicLink if options.directory => return Err(FileError::NotDirectory),
            FileKind::SymbolicLink => return Err(FileError::Loop),
            FileKind::Directory if options.write || options.truncate || options.create => {
                return Err(FileError::IsDirectory);
            }
            FileKind::Directory => {}
            _ if options.directory || found.must_be_directory => return Err(FileError::NotDirectory),
            _ => {}
        }
        if options.truncate {
            tree.set_size(node, 0, now)?;
        }
        tree.open(node)?;
        Ok((Object::Node(node), kind))
    }

    /// Opens a file of a read-only mount that would be made if it were not there.
    fn open_existing(
        &mut self,
        base: &super::MountBase,
        path: &str,
        mut options: OpenOptions,
    ) -> Result<(Object, FileKind), Fault> {
        let exclusive = options.exclusive;
        (options.create, options.exclusive) = (false, false);
        match self.open_mounted(base, path, options) {
            Ok((object, _)) if exclusive => {
                self.close_object(object)?;
                Err(FileError::Exists.into())
            }
            Err(Fault::File(FileError::NotFound)) => Err(FileError::ReadOnly.into()),
            opened => opened,
        }
    }

    fn open_mounted(
        &mut self,
        base: &super::MountBase,
        path: &str,
        options: OpenOptions,
    ) -> Result<(Object, FileKind), Fault> {
        let handle = self.link.new_handle();
        let request = FileRequest::Open { handle, base: base.handle, path, options };
        let FileAnswer::Opened(kind) = self.link.file(request)? else { return Err(UNEXPECTED) };
        let mounted = Mounted {
            handle: Some(handle),
            mount: base.mount.clone(),
            path: joined(&base.path, path),
            writable: base.writable,
            kind,
            options: OpenOptions { create: false, exclusive: false, truncate: false, ..options },
            listing: Vec::new(),
            listed: false,
        };
        Ok((Object::Mounted(mounted), kind))
    }

    /// The host's handle of a mounted file, which is opened again if the host does not have it open.
    pub(crate) fn mounted_handle(&mut self, mounted: &Mounted) -> Result<u32, Fault> {
        if let Some(handle) = mounted.handle {
            return Ok(handle);
        }
        let root = self.link.new_handle();
        let request = FileRequest::Mount { handle: root, name: &mounted.mount };
        let FileAnswer::Opened(_) = self.link.file(request)? else { return Err(UNEXPECTED) };
        if mounted.path.is_empty() {
            return Ok(root);
        }
        let handle = self.link.new_handle();
        let options = mounted.options;
        let opened = self.link.file(FileRequest::Open { handle, base: root, path: &mounted.path, options });
        self.host_does(FileRequest::Close { handle: root })?;
        match opened? {
            FileAnswer::Opened(kind) if kind == mounted.kind => Ok(handle),
            _ => Err(UNEXPECTED),
        }
    }

    /// Ends the use of what a descriptor referred to.
    pub(crate) fn close_object(&mut self, object: Object) -> Result<(), Fault> {
        match object {
            Object::Node(node) => self.files.tree.close(node),
            Object::Mounted(Mounted { handle: Some(handle), .. }) => {
                self.host_does(FileRequest::Close { handle })?;
            }
            Object::Mounted(_) | Object::Stdin | Object::Output(_) => {}
        }
        Ok(())
    }

    /// At most `limit` bytes of a mounted file.
    pub(crate) fn read_mounted(&mut self, handle: u32, offset: u64, limit: u32) -> Result<Vec<u8>, Fault> {
        let mut read = Vec::new();
        while read.len() < limit as usize {
            let limit = (limit - read.len() as u32).min(self.link.piece_bytes());
            let offset = offset.checked_add(read.len() as u64).ok_or(FileError::Invalid)?;
            let FileAnswer::Bytes(mut bytes) = self.link.file(FileRequest::Read { handle, offset, limit })?
            else {
                return Err(UNEXPECTED);
            };
            bytes.truncate(limit as usize);
            let is_short = bytes.len() < limit as usize;
            if read.is_empty() {
                read = bytes;
            } else {
                read.extend_from_slice(&bytes);
            }
            if is_short {
                break;
            }
        }
        Ok(read)
    }

    /// Writes to a mounted file; without an offset at its end. The position behind what was written.
    pub(crate) fn write_mounted(
        &mut self,
        mounted: &Mounted,
        handle: u32,
        offset: Option<u64>,
        bytes: &[u8],
    ) -> Result<u64, Fault> {
        if !mounted.writable {
            return Err(FileError::ReadOnly.into());
        }
        let end = match offset {
            Some(offset) => {
                let end = offset.checked_add(bytes.len() as u64).ok_or(FileError::TooLarge)?;
                self.host_does(FileRequest::Write { handle, offset, bytes })?;
                end
            }
            None => match self.link.file(FileRequest::Append { handle, bytes })? {
                FileAnswer::Position(end) => end,
                _ => return Err(UNEXPECTED),
            },
        };
        self.files.accesses.mounted(bytes);
        Ok(end)
    }

    /// Sets the size of a mounted file.
    pub(crate) fn set_mounted_size(
        &mut self,
        mounted: &Mounted,
        handle: u32,
        size: u64,
    ) -> Result<(), Fault> {
        if !mounted.writable {
            return Err(FileError::ReadOnly.into());
        }
        self.host_does(FileRequest::SetSize { handle, size })
    }

    /// Waits until what was written to a mounted file is stored.
    pub(crate) fn sync_mounted(&mut self, handle: u32, data_only: bool) -> Result<(), Fault> {
        self.host_does(FileRequest::Sync { handle, data_only })
    }

    /// Metadata of an open mounted file.
    pub(crate) fn mounted_metadata(&mut self, handle: u32) -> Result<Metadata, Fault> {
        match self.link.file(FileRequest::Metadata { handle })? {
            FileAnswer::Metadata(metadata) => Ok(metadata),
            _ => Err(UNEXPECTED),
        }
    }

    /// Changes an open mounted file's times.
    pub(crate) fn set_mounted_times(
        &mut self,
        mounted: &Mounted,
        handle: u32,
        accessed: TimeChange,
        modified: TimeChange,
    ) -> Result<(), Fault> {
        if !mounted.writable {
            return Err(FileError::ReadOnly.into());
        }
        self.host_does(FileRequest::SetTimes { handle, accessed, modified })
    }

    /// The entries of an open mounted directory but `.` and `..`.
    pub(crate) fn list_mounted(&mut self, handle: u32) -> Result<Vec<DirectoryItem>, Fault> {
        let limit = self.files.tree.limits().mounted_entries;
        match self.link.file(FileRequest::List { handle, limit })? {
            FileAnswer::Entries(entries) if entries.len() <= limit as usize => Ok(entries),
            FileAnswer::Entries(_) => Err(FileError::TooLarge.into()),
            _ => Err(UNEXPECTED),
        }
    }

    /// Metadata of what a path names.
    pub(crate) fn metadata_at(&mut self, base: &Base, path: &str, follow: bool) -> Result<Metadata, Fault> {
        match base {
            Base::Tree(directory) => {
                let tree = &self.files.tree;
                let node = tree.resolve(*directory, path, last(follow))?.existing(tree)?;
                Ok(tree.metadata(node)?)
            }
            Base::Mount(base) => {
                self.host_path(path)?;
                match self.link.file(FileRequest::MetadataAt { base: base.handle, path, follow })? {
                    FileAnswer::Metadata(metadata) => Ok(metadata),
                    _ => Err(UNEXPECTED),
                }
            }
        }
    }

    /// Changes the times of what a path names.
    pub(crate) fn set_times_at(
        &mut self,
        base: &Base,
        path: &str,
        follow: bool,
        accessed: TimeChange,
        modified: TimeChange,
    ) -> Result<(), Fault> {
        let now = self.clock_wall();
        match base {
            Base::Tree(directory) => {
                let tree = &mut self.files.tree;
                let node = tree.resolve(*directory, path, last(follow))?.existing(tree)?;
                Ok(tree.set_times(node, accessed, modified, now)?)
            }
            Base::Mount(base) => {
                let base = self.writable_base(base, path)?;
                self.host_does(FileRequest::SetTimesAt { base, path, follow, accessed, modified })
            }
        }
    }

    /// Makes a directory.
    pub(crate) fn create_directory_at(&mut self, base: &Base, path: &str) -> Result<(), Fault> {
        let now = self.clock_wall();
        match base {
            Base::Tree(directory) => {
                let tree = &mut self.files.tree;
                let found = tree.resolve(*directory, path, Last::Keep)?;
                match (found.node, &found.place) {
                    (None, Some((directory, name))) => {
                        tree.create(*directory, name, NewNode::Directory, now)?;
                        Ok(())
                    }
                    _ => Err(FileError::Exists.into()),
                }
            }
            Base::Mount(base) => {
                let base = self.writable_base(base, path)?;
                self.host_does(FileRequest::CreateDirectory { base, path })
            }
        }
    }

    /// Deletes an empty directory.
    pub(crate) fn remove_directory_at(&mut self, base: &Base, path: &str) -> Result<(), Fault> {
        let now = self.clock_wall();
        match base {
            Base::Tree(directory) => {
                let tree = &mut self.files.tree;
                let found = tree.resolve(*directory, path, Last::Keep)?;
                let node = found.existing(tree)?;
                if tree.kind(node)? != FileKind::Directory {
                    return Err(FileError::NotDirectory.into());
                }
                let (directory, name) = found.place.as_ref().ok_or(FileError::Invalid)?;
                Ok(tree.remove_directory(*directory, name, now)?)
            }
            Base::Mount(base) => {
                let base = self.writable_base(base, path)?;
                self.host_does(FileRequest::RemoveDirectory { base, path })
            }
        }
    }

    /// Deletes a name of a file or symbolic link.
    pub(crate) fn remove_file_at(&mut self, base: &Base, path: &str) -> Result<(), Fault> {
        let now = self.clock_wall();
        match base {
            Base::Tree(directory) => {
                let tree = &mut self.files.tree;
                let found = tree.resolve(*directory, path, Last::Keep)?;
                found.existing(tree)?;
                let (directory, name) = found.place.as_ref().ok_or(FileError::IsDirectory)?;
                Ok(tree.unlink(*directory, name, now)?)
            }
            Base::Mount(base) => {
                let base = self.writable_base(base, path)?;
                self.host_does(FileRequest::RemoveFile { base, path })
            }
        }
    }

    /// Moves what a path names.
    pub(crate) fn rename_at(
        &mut self,
        base: &Base,
        path: &str,
        to_base: &Base,
        to_path: &str,
    ) -> Result<(), Fault> {
        let now = self.clock_wall();
        match (base, to_base) {
            (Base::Tree(base), Base::Tree(to_base)) => {
                let tree = &mut self.files.tree;
                let from = tree.resolve(*base, path, Last::Keep)?;
                let to = tree.resolve(*to_base, to_path, Last::Keep)?;
                let (Some((directory, name)), Some((to_directory, to_name))) = (&from.place, &to.place)
                else {
                    return Err(FileError::Busy.into());
                };
                let node = from.existing(tree)?;
                if to.must_be_directory && tree.kind(node)? != FileKind::Directory {
                    return Err(FileError::NotDirectory.into());
                }
                Ok(tree.rename((*directory, name), (*to_directory, to_name), now)?)
            }
            (Base::Mount(base), Base::Mount(to)) if base.mount == to.mount => {
                let base = self.writable_base(base, path)?;
                let to_base = self.writable_base(to, to_path)?;
                self.host_does(FileRequest::Rename { base, path, to_base, to_path })
            }
            _ => Err(FileError::CrossDevice.into()),
        }
    }

    /// Gives a file one more name.
    pub(crate) fn link_at(
        &mut self,
        base: &Base,
        path: &str,
        to_base: &Base,
        to_path: &str,
    ) -> Result<(), Fault> {
        let now = self.clock_wall();
        match (base, to_base) {
            (Base::Tree(base), Base::Tree(to_base)) => {
                let tree = &mut self.files.tree;
                let from = tree.resolve(*base, path, Last::NoFollow)?;
                let to = tree.resolve(*to_base, to_path, Last::Keep)?;
                let node = from.existing(tree)?;
                let (directory, name) = free_place(&to)?;
                Ok(tree.link(node, directory, name, now)?)
            }
            (Base::Mount(base), Base::Mount(to)) if base.mount == to.mount => {
                let base = self.writable_base(base, path)?;
                let to_base = self.writable_base(to, to_path)?;
                self.host_does(FileRequest::Link { base, path, to_base, to_path })
            }
            _ => Err(FileError::CrossDevice.into()),
        }
    }

    /// Makes a symbolic link.
    pub(crate) fn symbolic_link_at(&mut self, target: &str, base: &Base, path: &str) -> Result<(), Fault> {
        let now = self.clock_wall();
        check_path(target, self.files.tree.limits().path_bytes)?;
        match base {
            Base::Tree(directory) => {
                let tree = &mut self.files.tree;
                let found = tree.resolve(*directory, path, Last::Keep)?;
                if found.must_be_directory {
                    tree.resolve(*directory, path, Last::NoFollow)?.existing(tree)?;
                }
                let (directory, name) = free_place(&found)?;
                tree.create(directory, name, NewNode::Link(target), now)?;
                Ok(())
            }
            Base::Mount(base) => {
                let base = self.writable_base(base, path)?;
                self.host_does(FileRequest::SymbolicLink { target, base, path })
            }
        }
    }

    /// What a symbolic link leads to.
    pub(crate) fn read_link_at(&mut self, base: &Base, path: &str) -> Result<String, Fault> {
        match base {
            Base::Tree(directory) => {
                let tree = &self.files.tree;
                let node = tree.resolve(*directory, path, Last::NoFollow)?.existing(tree)?;
                Ok(tree.link_target(node)?.into())
            }
            Base::Mount(base) => {
                self.host_path(path)?;
                match self.link.file(FileRequest::ReadLink { base: base.handle, path })? {
                    FileAnswer::Target(target) => Ok(target),
                    _ => Err(UNEXPECTED),
                }
            }
        }
    }
}

/// Where something can be made that is not a directory.
fn free_place(found: &Resolved) -> Result<(super::tree::NodeId, &str), FileError> {
    match (found.node, &found.place) {
        (None, Some((directory, name))) if !found.must_be_directory => Ok((*directory, name)),
        (None, _) => Err(FileError::NotFound),
        (Some(_), _) => Err(FileError::Exists),
    }
}
