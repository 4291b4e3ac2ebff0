//! The descriptors of a process: what its open files are known by.

use alloc::{string::String, vec::Vec};

use super::{DirectoryItem, FileError, FileKind, tree::NodeId};
use crate::{OpenOptions, OutputStream};

/// What a descriptor refers to.
#[derive(Debug, Clone)]
pub(crate) enum Object {
    Stdin,
    Output(OutputStream),
    Node(NodeId),
    Mounted(Mounted),
}

/// What a descriptor refers to, in short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Stream,
    Node(NodeId),
    Mounted,
}

impl Object {
    pub(crate) fn target(&self) -> Target {
        match self {
            Self::Stdin | Self::Output(_) => Target::Stream,
            Self::Node(node) => Target::Node(*node),
            Self::Mounted(_) => Target::Mounted,
        }
    }
}

/// An open file or directory of a mounted directory.
#[derive(Debug, Clone)]
pub(crate) struct Mounted {
    /// The host's handle; none when the host has not opened it yet.
    pub(crate) handle: Option<u32>,
    /// The name of the mounted directory.
    pub(crate) mount: String,
    /// Where the file is beneath it; empty for the mounted directory itself.
    pub(crate) path: String,
    pub(crate) writable: bool,
    pub(crate) kind: FileKind,
    /// How it is opened again.
    pub(crate) options: OpenOptions,
    /// The entries of a directory as they were when its listing began.
    pub(crate) listing: Vec<DirectoryItem>,
    /// Whether there is a listing.
    pub(crate) listed: bool,
}

/// An open file.
#[derive(Debug, Clone)]
pub(crate) struct Descriptor {
    pub(crate) object: Object,
    /// What may be done with it, as WASI's bits.
    pub(crate) rights: u64,
    /// What may be done with what is opened through it.
    pub(crate) inheriting: u64,
    /// WASI's descriptor flags.
    pub(crate) flags: u16,
    /// Where the next read or write is.
    pub(crate) position: u64,
    /// Whether the process began with it, and so may ask for its name.
    pub(crate) preopened: bool,
    /// How the process names it.
    pub(crate) path: String,
}

/// All descriptors of a process, by their numbers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Descriptors {
    slots: Vec<Option<Descriptor>>,
}

impl Descriptors {
    pub(crate) fn get(&self, number: u32) -> Option<&Descriptor> {
        self.slots.get(number as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut Descriptor> {
        self.slots.get_mut(number as usize)?.as_mut()
    }

    /// Whether there is room for one more.
    pub(crate) fn has_room(&self, limit: u32) -> bool {
        self.slots.len() < limit as usize || self.slots.iter().any(Option::is_none)
    }

    /// Adds a descriptor under the lowest free number.
    pub(crate) fn insert(&mut self, descriptor: Descriptor, limit: u32) -> Result<u32, FileError> {
        let free = self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len());
        if free >= limit as usize {
            return Err(FileError::TooManyOpen);
        }
        if free == self.slots.len() {
            self.slots.push(None);
        }
        self.slots[free] = Some(descriptor);
        Ok(free as u32)
    }

    pub(crate) fn remove(&mut self, number: u32) -> Option<Descriptor> {
        let removed = self.slots.get_mut(number as usize)?.take();
        while matches!(self.slots.last(), Some(None)) {
            self.slots.pop();
        }
        removed
    }

    /// Puts a descriptor in the place of an open one, which is returned.
    pub(crate) fn replace(&mut self, number: u32, descriptor: Descriptor) -> Option<Descriptor> {
        self.slots.get_mut(number as usize)?.replace(descriptor)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Descriptor> {
        self.slots.iter_mut().flatten()
    }

    /// All places, free ones too.
    pub(super) fn slots(&self) -> &[Option<Descriptor>] {
        &self.slots
    }

    pub(super) fn from_slots(slots: Vec<Option<Descriptor>>) -> Self {
        Self { slots }
    }
}
