//! Files of a process as data, for saving a process and going on with it.
//!
//! Mounted files are kept by their paths: they are opened again when they are next used.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use super::{
    Accesses, Descriptor, DirectoryItem, FileError, FileKind, FileLimits, Files, Mounted, Object,
    descriptors::Descriptors,
    tree::{Content, Directory, Entry, Node, NodeId, ROOT, Tree},
};
use crate::{Context, OpenOptions, OutputStream};

/// One file, directory or symbolic link of the in-memory tree.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SavedNode {
    /// Its number.
    pub inode: u64,
    /// When it was last read, in nanoseconds.
    pub accessed: u64,
    /// When its content last changed.
    pub modified: u64,
    /// When it itself last changed.
    pub changed: u64,
    /// What it holds.
    pub content: SavedContent,
}

/// What a node holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SavedContent {
    /// The bytes of a file.
    File(Vec<u8>),
    /// The entries of a directory: cookie, name, inode; in the order of cookies.
    Directory {
        /// The directory that it lies in.
        parent: u64,
        /// The cookie of the next entry.
        next_cookie: u64,
        /// The entries.
        entries: Vec<(u64, String, u64)>,
    },
    /// The target of a symbolic link.
    Link(String),
}

/// What a descriptor refers to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SavedObject {
    /// Standard input.
    Stdin,
    /// Standard output or standard error.
    Output(OutputStream),
    /// A node of the in-memory tree.
    Node(u64),
    /// A mounted file or directory.
    Mounted {
        /// The name of the mounted directory.
        mount: String,
        /// Where it is beneath it.
        path: String,
        /// Whether the mount can be changed.
        writable: bool,
        /// What it is.
        kind: FileKind,
        /// How it is opened.
        options: OpenOptions,
        /// The entries of a directory, as they were when its listing began.
        listing: Vec<DirectoryItem>,
        /// Whether there is a listing.
        listed: bool,
    },
}

/// An open file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SavedDescriptor {
    /// Its number.
    pub number: u32,
    /// What it refers to.
    pub object: SavedObject,
    /// WASI's rights.
    pub rights: u64,
    /// WASI's inheriting rights.
    pub inheriting: u64,
    /// WASI's descriptor flags.
    pub flags: u16,
    /// Where the next read or write is.
    pub position: u64,
    /// Whether the process began with it.
    pub preopened: bool,
    /// How the process names it.
    pub path: String,
}

/// All files of a process.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SavedFiles {
    /// The nodes of the in-memory tree, by their numbers.
    pub nodes: Vec<SavedNode>,
    /// The number of the next node.
    pub next: u64,
    /// The quotas.
    pub limits: FileLimits,
    /// The descriptors, by their numbers.
    pub descriptors: Vec<SavedDescriptor>,
}

impl Context {
    /// The files of the process, as data.
    pub fn save_files(&self) -> SavedFiles {
        let tree = &self.files.tree;
        let nodes = tree.nodes.iter().map(|(inode, node)| save_node(*inode, node)).collect();
        let slots = self.files.descriptors.slots().iter();
        let descriptors =
            (0..).zip(slots).filter_map(|(number, slot)| save_descriptor(number, slot.as_ref()?));
        SavedFiles { nodes, next: tree.next, limits: tree.limits, descriptors: descriptors.collect() }
    }

    /// Takes saved files in place of the process's own. Everything is checked first; nothing changes when it fails.
    ///
    /// # Errors
    /// [`FileError::Invalid`] when they contradict themselves, such as a name that leads to no node.
    pub fn restore_files(&mut self, saved: &SavedFiles) -> Result<(), FileError> {
        let mut tree = restore_tree(saved)?;
        let descriptors = restore_descriptors(saved, &mut tree)?;
        let is_lost = |node: &Node| node.links == 0 && node.open == 0;
        if tree.nodes.values().any(is_lost) {
            return Err(FileError::Invalid);
        }
        *self.files = Files { tree, descriptors, accesses: Accesses::default() };
        Ok(())
    }
}

fn save_node(inode: NodeId, node: &Node) -> SavedNode {
    let content = match &node.content {
        Content::File(bytes) => SavedContent::File(bytes.clone()),
        Content::Link(target) => SavedContent::Link(target.clone()),
        Content::Directory(directory) => {
            let entries = directory.order.iter().filter_map(|(cookie, name)| {
                Some((*cookie, name.clone(), directory.entries.get(name)?.node))
            });
            SavedContent::Directory {
                parent: directory.parent,
                next_cookie: directory.next_cookie,
                entries: entries.collect(),
            }
        }
    };
    SavedNode { inode, accessed: node.accessed, modified: node.modified, changed: node.changed, content }
}

fn save_descriptor(number: u32, descriptor: &Descriptor) -> Option<SavedDescriptor> {
    let object = match &descriptor.object {
        Object::Stdin => SavedObject::Stdin,
        Object::Output(stream) => SavedObject::Output(*stream),
        Object::Node(node) => SavedObject::Node(*node),
        Object::Mounted(mounted) => SavedObject::Mounted {
            mount: mounted.mount.clone(),
            path: mounted.path.clone(),
            writable: mounted.writable,
            kind: mounted.kind,
            options: mounted.options,
            listing: mounted.listing.clone(),
            listed: mounted.listed,
        },
    };
    Some(SavedDescriptor {
        number,
        object,
        rights: descriptor.rights,
        inheriting: descriptor.inheriting,
        flags: descriptor.flags,
        position: descriptor.position,
        preopened: descriptor.preopened,
        path: descriptor.path.clone(),
    })
}

/// The tree with the links that its directories say, and no node open.
fn restore_tree(saved: &SavedFiles) -> Result<Tree, FileError> {
    let mut tree = Tree::new(saved.limits);
    tree.next = saved.next;
    tree.nodes = saved.nodes.iter().map(restore_node).collect::<Result<_, _>>()?;
    if tree.nodes.len() != saved.nodes.len() || tree.nodes.keys().any(|inode| *inode >= saved.next) {
        return Err(FileError::Invalid);
    }
    // What each name leads to, and the directory that it lies in.
    let named: Vec<(NodeId, NodeId)> = tree
        .nodes
        .iter()
        .filter_map(|(inode, node)| match &node.content {
            Content::Directory(directory) => Some((*inode, directory)),
            _ => None,
        })
        .flat_map(|(inode, directory)| directory.entries.values().map(move |entry| (inode, entry.node)))
        .collect();
    tree.names = named.len() as u64;
    for (parent, inode) in named {
        let node = tree.nodes.get_mut(&inode).ok_or(FileError::Invalid)?;
        node.links = node.links.checked_add(1).ok_or(FileError::Invalid)?;
        if let Content::Directory(directory) = &node.content {
            if directory.parent != parent || node.links > 1 {
                return Err(FileError::Invalid);
            }
            if let Some(Node { content: Content::Directory(parent), .. }) = tree.nodes.get_mut(&parent) {
                parent.directories += 1;
            }
        }
    }
    let Some(Node { content: Content::Directory(root), links, .. }) = tree.nodes.get_mut(&ROOT) else {
        return Err(FileError::Invalid);
    };
    if root.parent != ROOT || *links != 0 {
        return Err(FileError::Invalid);
    }
    *links = 1;
    tree.bytes = 0;
    for node in tree.nodes.values() {
        let size = match &node.content {
            Content::File(bytes) => bytes.len(),
            Content::Link(target) => target.len(),
            Content::Directory(_) => 0,
        };
        tree.bytes = tree.bytes.saturating_add(size as u64);
    }
    check_parents(&tree)?;
    Ok(tree)
}

/// Every directory lies in the root, and in no circle.
fn check_parents(tree: &Tree) -> Result<(), FileError> {
    let mut known: BTreeMap<NodeId, ()> = BTreeMap::from([(ROOT, ())]);
    for (inode, node) in &tree.nodes {
        // A deleted directory that is still open has a parent that may be gone.
        if !matches!(node.content, Content::Directory(_)) || node.links == 0 {
            continue;
        }
        let mut path = Vec::new();
        let mut above = *inode;
        while !known.contains_key(&above) {
            if path.len() > tree.nodes.len() {
                return Err(FileError::Invalid);
            }
            path.push(above);
            above = tree.parent(above).map_err(|_| FileError::Invalid)?;
        }
        known.extend(path.into_iter().map(|inode| (inode, ())));
    }
    Ok(())
}

fn restore_node(saved: &SavedNode) -> Result<(NodeId, Node), FileError> {
    let content = match &saved.content {
        SavedContent::File(bytes) => Content::File(bytes.clone()),
        SavedContent::Link(target) => Content::Link(target.clone()),
        SavedContent::Directory { parent, next_cookie, entries } => {
            let mut directory = Directory::new(*parent);
            for (cookie, name, inode) in entries {
                let is_name = !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0']);
                let entry = Entry { node: *inode, cookie: *cookie };
                let is_new = directory.entries.insert(name.clone(), entry).is_none()
                    && directory.order.insert(*cookie, name.clone()).is_none();
                if !is_name || !is_new || *cookie < directory.next_cookie || cookie >= next_cookie {
                    return Err(FileError::Invalid);
                }
            }
            directory.next_cookie = (*next_cookie).max(directory.next_cookie);
            Content::Directory(directory)
        }
    };
    let node = Node {
        content,
        links: 0,
        open: 0,
        accessed: saved.accessed,
        modified: saved.modified,
        changed: saved.changed,
    };
    Ok((saved.inode, node))
}

fn restore_descriptors(saved: &SavedFiles, tree: &mut Tree) -> Result<Descriptors, FileError> {
    let mut slots: Vec<Option<Descriptor>> = Vec::new();
    for descriptor in &saved.descriptors {
        let number = descriptor.number as usize;
        if descriptor.number >= saved.limits.descriptors || number < slots.len() {
            return Err(FileError::Invalid);
        }
        let object = match &descriptor.object {
            SavedObject::Stdin => Object::Stdin,
            SavedObject::Output(stream) => Object::Output(*stream),
            SavedObject::Node(node) => {
                tree.open(*node).map_err(|_| FileError::Invalid)?;
                Object::Node(*node)
            }
            SavedObject::Mounted { mount, path, writable, kind, options, listing, listed } => {
                Object::Mounted(Mounted {
                    handle: None,
                    mount: mount.clone(),
                    path: path.clone(),
                    writable: *writable,
                    kind: *kind,
                    options: *options,
                    listing: listing.clone(),
                    listed: *listed,
                })
            }
        };
        slots.resize_with(number, || None);
        slots.push(Some(Descriptor {
            object,
            rights: descriptor.rights,
            inheriting: descriptor.inheriting,
            flags: descriptor.flags,
            position: descriptor.position,
            preopened: descriptor.preopened,
            path: descriptor.path.clone(),
        }));
    }
    Ok(Descriptors::from_slots(slots))
}
