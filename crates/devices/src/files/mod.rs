//! Files: an in-memory tree of the process's own, and directories that the host has mounted.
//!
//! - [`Files`]: the files of a process: tree, descriptors, what the step's report will say.
//! - `tree`, `resolve`: the in-memory tree and how paths lead through it; `operations`: what works on both.
//! - [`Metadata`], [`DirectoryItem`], [`FileError`]: what processes and hosts see of files.
//! - [`FileReport`]: what a step's report says of them.
//!
//! A process sees preopened directories only: each is a directory of the tree or a mounted one, under a name that the
//! embedder chooses. No path leads out of the directory that it starts from.

mod access;
mod descriptors;
mod error;
mod metadata;
mod operations;
mod resolve;
mod saved;
mod tree;

use alloc::{
    borrow::ToOwned,
    string::{String, ToString},
    vec::Vec,
};

pub(crate) use access::Accesses;
pub use access::{FileAccess, FileOperation, FileReport};
pub(crate) use descriptors::{Descriptor, Descriptors, Mounted, Object, Target};
pub use error::FileError;
pub use metadata::{DirectoryItem, FileKind, FileLimits, Metadata, TimeChange};
use resolve::Last;
pub use saved::{SavedContent, SavedDescriptor, SavedFiles, SavedNode, SavedObject};
pub(crate) use tree::{NodeId, Tree};

use crate::{Context, OpenOptions, OutputStream, host::Fault, wasi::Rights};

/// The files of a process.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub(crate) tree: Tree,
    pub(crate) descriptors: Descriptors,
    pub(crate) accesses: Accesses,
}

/// Where a path starts from.
#[derive(Debug, Clone)]
pub(crate) enum Base {
    Tree(NodeId),
    Mount(MountBase),
}

/// An open directory of a mount.
#[derive(Debug, Clone)]
pub(crate) struct MountBase {
    handle: u32,
    mount: String,
    path: String,
    writable: bool,
}

impl MountBase {
    pub(crate) fn new(handle: u32, mounted: &Mounted) -> Self {
        Self { handle, mount: mounted.mount.clone(), path: mounted.path.clone(), writable: mounted.writable }
    }
}

impl Default for Files {
    /// An empty tree, and descriptors of the standard streams.
    fn default() -> Self {
        let limits = FileLimits::default();
        let mut descriptors = Descriptors::default();
        let streams =
            [Object::Stdin, Object::Output(OutputStream::Output), Object::Output(OutputStream::Error)];
        let names = ["stdin", "stdout", "stderr"];
        for (object, name) in streams.into_iter().zip(names) {
            let rights = if matches!(object, Object::Stdin) { Rights::STDIN } else { Rights::OUTPUT };
            let descriptor = Descriptor {
                object,
                rights: rights.0,
                inheriting: 0,
                flags: 0,
                position: 0,
                preopened: false,
                path: name.to_owned(),
            };
            // Three are never too many.
            let _ = descriptors.insert(descriptor, u32::MAX);
        }
        Self { tree: Tree::new(limits), descriptors, accesses: Accesses::default() }
    }
}

impl Context {
    /// Sets how much the process may keep in its files. What it has already stays.
    pub fn set_file_limits(&mut self, limits: FileLimits) {
        self.files.tree.set_limits(limits);
    }

    /// Bytes that the contents of the in-memory tree take.
    pub fn file_bytes(&self) -> u64 {
        self.files.tree.bytes
    }

    /// Gives the process a directory of its in-memory tree, which is made if it is not there, under the name `guest`.
    /// The first directory gets descriptor 3.
    ///
    /// # Errors
    /// Why it cannot be made.
    pub fn preopen_tree(&mut self, guest: &str, path: &str) -> Result<(), FileError> {
        let node = self.create_tree_directory(path)?;
        self.preopen(guest, Object::Node(node))?;
        self.files.tree.open(node)
    }

    /// Gives the process the directory that the host has mounted as `mount`, under the name `guest`. It is opened when
    /// it is first used.
    ///
    /// # Errors
    /// [`FileError::TooManyOpen`].
    pub fn preopen_mount(&mut self, guest: &str, mount: &str, writable: bool) -> Result<(), FileError> {
        let mounted = Mounted {
            handle: None,
            mount: mount.to_owned(),
            path: String::new(),
            writable,
            kind: FileKind::Directory,
            options: OpenOptions { directory: true, ..OpenOptions::default() },
            listing: Vec::new(),
            listed: false,
        };
        self.preopen(guest, Object::Mounted(mounted))
    }

    fn preopen(&mut self, guest: &str, object: Object) -> Result<(), FileError> {
        let descriptor = Descriptor {
            object,
            rights: Rights::DIRECTORY.0,
            inheriting: Rights::DIRECTORY_INHERITING.0,
            flags: 0,
            position: 0,
            preopened: true,
            path: guest.to_owned(),
        };
        let limit = self.files.tree.limits().descriptors;
        self.files.descriptors.insert(descriptor, limit).map(|_| ())
    }

    /// Makes a directory of the in-memory tree and all that it lies in.
    fn create_tree_directory(&mut self, path: &str) -> Result<NodeId, FileError> {
        let now = self.clock_wall();
        let tree = &mut self.files.tree;
        let mut directory = tree::ROOT;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let found = tree.resolve(directory, name, Last::Follow)?;
            directory = match (found.node, found.place) {
                (Some(node), _) => node,
                (None, Some((parent, name))) => tree.create(parent, &name, tree::NewNode::Directory, now)?,
                (None, None) => return Err(FileError::NotFound),
            };
            if tree.kind(directory)? != FileKind::Directory {
                return Err(FileError::NotDirectory);
            }
        }
        Ok(directory)
    }

    /// Puts a file into the in-memory tree, and the directories that it lies in; what was there is replaced.
    ///
    /// # Errors
    /// Why it cannot be made.
    pub fn write_file(&mut self, path: &str, content: &[u8]) -> Result<(), FileError> {
        let path = path.trim_start_matches('/');
        let (parents, name) = path.rsplit_once('/').unwrap_or(("", path));
        let directory = self.create_tree_directory(parents)?;
        let now = self.clock_wall();
        let tree = &mut self.files.tree;
        let found = tree.resolve(directory, name, Last::Follow)?;
        let node = match (found.node, found.place) {
            (Some(node), _) => node,
            (None, Some((parent, name))) => tree.create(parent, &name, tree::NewNode::File, now)?,
            (None, None) => return Err(FileError::NotFound),
        };
        tree.set_size(node, 0, now)?;
        tree.write(node, 0, content, now)
    }

    /// The content of a file of the in-memory tree.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn read_file(&self, path: &str) -> Result<&[u8], FileError> {
        let tree = &self.files.tree;
        let node = tree.resolve(tree::ROOT, path.trim_start_matches('/'), Last::Follow)?.existing(tree)?;
        match &tree.node(node)?.content {
            tree::Content::File(bytes) => Ok(bytes),
            _ => Err(FileError::IsDirectory),
        }
    }

    /// The entries of a directory of the in-memory tree, in the order in which they were made.
    ///
    /// # Errors
    /// Why it cannot be listed.
    pub fn list_directory(&self, path: &str) -> Result<Vec<DirectoryItem>, FileError> {
        let tree = &self.files.tree;
        let path = path.trim_start_matches('/');
        let path = if path.is_empty() { "." } else { path };
        let node = tree.resolve(tree::ROOT, path, Last::Follow)?.existing(tree)?;
        Ok(tree.entries_after(node, 0)?.map(|(_, item)| item).collect())
    }

    /// Notes the use of a file for the step's report, unless it ended the step.
    pub(crate) fn accessed<T>(
        &mut self,
        operation: FileOperation,
        path: String,
        other: &str,
        bytes: u64,
        result: &Result<T, Fault>,
    ) {
        let outcome = match result {
            Ok(_) => Ok(()),
            Err(Fault::File(error)) => Err(*error),
            Err(Fault::Stop(_)) => return,
        };
        let limit = self.files.tree.limits().accesses;
        let access = FileAccess { operation, path, other: other.to_string(), bytes, outcome };
        self.files.accesses.push(access, limit);
    }

    /// The host knows no handle any more: mounted files are opened again when they are next used.
    pub(crate) fn forget_mounted_handles(&mut self) {
        for descriptor in self.files.descriptors.iter_mut() {
            if let Object::Mounted(mounted) = &mut descriptor.object {
                mounted.handle = None;
            }
        }
    }
}

/// How a process names what a path behind one of its descriptors leads to.
pub(crate) fn shown_path(base: &str, path: &str) -> String {
    operations::joined(base, path)
}
