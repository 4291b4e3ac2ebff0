//! The in-memory tree: nodes, their contents and their names.
//!
//! - [`Tree`]: all nodes of a process, with the quotas that bound them.
//! - [`Node`], [`Content`], [`Directory`]: one file, directory or symbolic link.
//!
//! **Invariant:** a node lives while a name or a descriptor refers to it, so a file that was deleted can be used until it
//! is closed. `bytes` is the sum of the contents of all nodes.

use alloc::{borrow::ToOwned, collections::BTreeMap, string::String, vec::Vec};

use super::{DirectoryItem, FileError, FileKind, FileLimits, Metadata, TimeChange};

/// A node's number, which is also its inode number. Never used twice.
pub(crate) type NodeId = u64;

/// The device number of the in-memory tree.
const DEVICE: u64 = 1;

/// The root directory.
pub(crate) const ROOT: NodeId = 1;

/// The first cookie of a named entry: `.` and `..` come before.
const FIRST_COOKIE: u64 = 3;

/// One file, directory or symbolic link.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(super) content: Content,
    /// Names that refer to it; of a directory 1 until it is removed.
    pub(super) links: u32,
    /// Descriptors that refer to it.
    pub(super) open: u32,
    pub(super) accessed: u64,
    pub(super) modified: u64,
    pub(super) changed: u64,
}

#[derive(Debug, Clone)]
pub(crate) enum Content {
    File(Vec<u8>),
    Directory(Directory),
    Link(String),
}

/// The entries of a directory. Each has a cookie, larger than those of all entries made before it: listing by cookie
/// neither skips nor repeats an entry that stays, whatever happens to others meanwhile.
#[derive(Debug, Clone)]
pub(crate) struct Directory {
    pub(super) parent: NodeId,
    pub(super) entries: BTreeMap<String, Entry>,
    pub(super) order: BTreeMap<u64, String>,
    pub(super) next_cookie: u64,
    /// Entries that are directories.
    pub(super) directories: u32,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) node: NodeId,
    pub(super) cookie: u64,
}

impl Directory {
    pub(super) fn new(parent: NodeId) -> Self {
        Self {
            parent,
            entries: BTreeMap::new(),
            order: BTreeMap::new(),
            next_cookie: FIRST_COOKIE,
            directories: 0,
        }
    }
}

impl Node {
    pub(super) fn kind(&self) -> FileKind {
        match self.content {
            Content::File(_) => FileKind::Regular,
            Content::Directory(_) => FileKind::Directory,
            Content::Link(_) => FileKind::SymbolicLink,
        }
    }

    fn size(&self) -> u64 {
        match &self.content {
            Content::File(bytes) => bytes.len() as u64,
            Content::Directory(_) => 0,
            Content::Link(target) => target.len() as u64,
        }
    }
}

/// The in-memory tree of a process.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    pub(super) nodes: BTreeMap<NodeId, Node>,
    pub(super) next: NodeId,
    pub(super) bytes: u64,
    /// Entries of all directories: hard links are names without nodes.
    pub(super) names: u64,
    pub(super) limits: FileLimits,
}

impl Tree {
    pub(crate) fn new(limits: FileLimits) -> Self {
        let root = Node {
            content: Content::Directory(Directory::new(ROOT)),
            links: 1,
            open: 0,
            accessed: 0,
            modified: 0,
            changed: 0,
        };
        Self { nodes: BTreeMap::from([(ROOT, root)]), next: ROOT + 1, bytes: 0, names: 0, limits }
    }

    pub(crate) fn limits(&self) -> &FileLimits {
        &self.limits
    }

    pub(crate) fn set_limits(&mut self, limits: FileLimits) {
        self.limits = limits;
    }

    pub(crate) fn node(&self, id: NodeId) -> Result<&Node, FileError> {
        self.nodes.get(&id).ok_or(FileError::NotFound)
    }

    fn node_mut(&mut self, id: NodeId) -> Result<&mut Node, FileError> {
        self.nodes.get_mut(&id).ok_or(FileError::NotFound)
    }

    pub(crate) fn kind(&self, id: NodeId) -> Result<FileKind, FileError> {
        Ok(self.node(id)?.kind())
    }

    pub(super) fn directory(&self, id: NodeId) -> Result<&Directory, FileError> {
        match &self.node(id)?.content {
            Content::Directory(directory) => Ok(directory),
            _ => Err(FileError::NotDirectory),
        }
    }

    fn directory_mut(&mut self, id: NodeId) -> Result<&mut Directory, FileError> {
        match &mut self.node_mut(id)?.content {
            Content::Directory(directory) => Ok(directory),
            _ => Err(FileError::NotDirectory),
        }
    }

    fn file_mut(&mut self, id: NodeId) -> Result<&mut Vec<u8>, FileError> {
        match &mut self.node_mut(id)?.content {
            Content::File(bytes) => Ok(bytes),
            Content::Directory(_) => Err(FileError::IsDirectory),
            Content::Link(_) => Err(FileError::Invalid),
        }
    }

    /// What a symbolic link leads to.
    pub(crate) fn link_target(&self, id: NodeId) -> Result<&str, FileError> {
        match &self.node(id)?.content {
            Content::Link(target) => Ok(target),
            _ => Err(FileError::Invalid),
        }
    }

    pub(crate) fn metadata(&self, id: NodeId) -> Result<Metadata, FileError> {
        let node = self.node(id)?;
        let links = match &node.content {
            Content::Directory(directory) if node.links > 0 => 2 + u64::from(directory.directories),
            _ => node.links.into(),
        };
        Ok(Metadata {
            device: DEVICE,
            inode: id,
            kind: node.kind(),
            links,
            size: node.size(),
            accessed: node.accessed,
            modified: node.modified,
            changed: node.changed,
        })
    }

    pub(crate) fn set_times(
        &mut self,
        id: NodeId,
        accessed: TimeChange,
        modified: TimeChange,
        now: u64,
    ) -> Result<(), FileError> {
        let node = self.node_mut(id)?;
        node.accessed = accessed.apply(node.accessed, now);
        node.modified = modified.apply(node.modified, now);
        node.changed = now;
        Ok(())
    }

    /// Bytes that a read of at most `limit` bytes from `offset` on would give.
    pub(crate) fn readable(&self, id: NodeId, offset: u64, limit: u64) -> Result<u64, FileError> {
        Ok(self.node(id)?.size().saturating_sub(offset).min(limit))
    }

    /// At most `limit` bytes from `offset` on; none at or behind the end.
    pub(crate) fn read(&mut self, id: NodeId, offset: u64, limit: u64, now: u64) -> Result<&[u8], FileError> {
        let node = self.node_mut(id)?;
        let bytes = match &node.content {
            Content::File(bytes) => bytes,
            Content::Directory(_) => return Err(FileError::IsDirectory),
            Content::Link(_) => return Err(FileError::Invalid),
        };
        node.accessed = now;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let count = usize::try_from(limit).unwrap_or(usize::MAX).min(bytes.len() - start);
        Ok(&bytes[start..start + count])
    }

    /// Writes at `offset`; what lies between the end and there becomes zeros.
    pub(crate) fn write(&mut self, id: NodeId, offset: u64, bytes: &[u8], now: u64) -> Result<(), FileError> {
        if bytes.is_empty() {
            return Ok(());
        }
        let end = offset.checked_add(bytes.len() as u64).ok_or(FileError::TooLarge)?;
        let size = self.file_mut(id)?.len() as u64;
        if end > size {
            self.charge(end - size)?;
        }
        let content = self.file_mut(id)?;
        let (start, end) = (offset as usize, end as usize);
        if end > content.len() {
            content.resize(end, 0);
        }
        content[start..end].copy_from_slice(bytes);
        self.touch(id, now)
    }

    /// Cuts a file or extends it with zeros.
    pub(crate) fn set_size(&mut self, id: NodeId, size: u64, now: u64) -> Result<(), FileError> {
        let old = self.file_mut(id)?.len() as u64;
        if size > old {
            self.charge(size - old)?;
        } else {
            self.bytes -= old - size;
        }
        let content = self.file_mut(id)?;
        content.resize(size as usize, 0);
        if size < old {
            content.shrink_to_fit();
        }
        self.touch(id, now)
    }

    /// Takes bytes of the quota.
    fn charge(&mut self, bytes: u64) -> Result<(), FileError> {
        match self.bytes.checked_add(bytes) {
            Some(sum) if sum <= self.limits.bytes => {
                self.bytes = sum;
                Ok(())
            }
            _ => Err(FileError::NoSpace),
        }
    }

    /// Notes that a node's content has changed.
    fn touch(&mut self, id: NodeId, now: u64) -> Result<(), FileError> {
        let node = self.node_mut(id)?;
        (node.modified, node.changed) = (now, now);
        Ok(())
    }

    /// A directory's entries with a cookie above `after`, in order, with their cookies.
    pub(crate) fn entries_after(
        &self,
        id: NodeId,
        after: u64,
    ) -> Result<impl Iterator<Item = (u64, DirectoryItem)>, FileError> {
        let directory = self.directory(id)?;
        Ok(directory.order.range(after.saturating_add(1)..).filter_map(|(cookie, name)| {
            let node = directory.entries.get(name)?.node;
            let kind = self.kind(node).ok()?;
            Some((*cookie, DirectoryItem { name: name.clone(), kind, inode: node }))
        }))
    }

    /// The directory that a directory lies in; of the root itself.
    pub(crate) fn parent(&self, id: NodeId) -> Result<NodeId, FileError> {
        Ok(self.directory(id)?.parent)
    }

    pub(crate) fn lookup(&self, directory: NodeId, name: &str) -> Result<Option<NodeId>, FileError> {
        Ok(self.directory(directory)?.entries.get(name).map(|entry| entry.node))
    }

    /// Makes a node and gives it a name that is free.
    pub(crate) fn create(
        &mut self,
        directory: NodeId,
        name: &str,
        kind: NewNode<'_>,
        now: u64,
    ) -> Result<NodeId, FileError> {
        self.can_hold(directory, name)?;
        self.can_have_one_more()?;
        let content = match kind {
            NewNode::File => Content::File(Vec::new()),
            NewNode::Directory => {
                if self.depth(directory)? >= self.limits.path_depth {
                    return Err(FileError::NameTooLong);
                }
                Content::Directory(Directory::new(directory))
            }
            NewNode::Link(target) => {
                if target.len() > self.limits.path_bytes as usize {
                    return Err(FileError::NameTooLong);
                }
                self.charge(target.len() as u64)?;
                Content::Link(target.to_owned())
            }
        };
        let id = self.next;
        self.next += 1;
        let node = Node { content, links: 0, open: 0, accessed: now, modified: now, changed: now };
        self.nodes.insert(id, node);
        self.attach(directory, name, id, now)?;
        Ok(id)
    }

    /// Whether a directory can take an entry of this name: it was not removed, and the name is short enough.
    fn can_hold(&self, directory: NodeId, name: &str) -> Result<(), FileError> {
        if name.len() > self.limits.name_bytes as usize {
            return Err(FileError::NameTooLong);
        }
        let node = self.node(directory)?;
        if node.kind() != FileKind::Directory {
            return Err(FileError::NotDirectory);
        }
        if node.links == 0 { Err(FileError::NotFound) } else { Ok(()) }
    }

    /// Whether the quota has room for one more node, or one more name of a node.
    fn can_have_one_more(&self) -> Result<(), FileError> {
        let limit = u64::from(self.limits.nodes);
        if self.nodes.len() as u64 >= limit || self.names >= limit { Err(FileError::NoSpace) } else { Ok(()) }
    }

    /// How many directories a directory lies in.
    fn depth(&self, mut id: NodeId) -> Result<u32, FileError> {
        let mut depth = 0;
        while id != ROOT {
            id = self.parent(id)?;
            depth += 1;
        }
        Ok(depth)
    }

    /// Whether a directory is another node or lies somewhere in it.
    fn lies_in(&self, mut directory: NodeId, id: NodeId) -> Result<bool, FileError> {
        while directory != id && directory != ROOT {
            directory = self.parent(directory)?;
        }
        Ok(directory == id)
    }

    /// How many directories lie in each other below a directory, and itself; `None` when more than `limit`.
    fn height(&self, id: NodeId, limit: u32) -> Result<Option<u32>, FileError> {
        let mut level = alloc::vec![id];
        let mut height = 0;
        while !level.is_empty() {
            height += 1;
            if height > limit {
                return Ok(None);
            }
            let mut next = Vec::new();
            for id in level {
                let directory = self.directory(id)?;
                if directory.directories > 0 {
                    let nodes = directory.entries.values().map(|entry| entry.node);
                    next.extend(nodes.filter(|node| self.kind(*node) == Ok(FileKind::Directory)));
                }
            }
            level = next;
        }
        Ok(Some(height))
    }

    /// Gives a node a name that is free.
    fn attach(&mut self, directory: NodeId, name: &str, id: NodeId, now: u64) -> Result<(), FileError> {
        let is_directory = self.kind(id)? == FileKind::Directory;
        let entries = self.directory_mut(directory)?;
        let cookie = entries.next_cookie;
        entries.next_cookie += 1;
        entries.entries.insert(name.to_owned(), Entry { node: id, cookie });
        entries.order.insert(cookie, name.to_owned());
        entries.directories += u32::from(is_directory);
        self.names += 1;
        self.touch(directory, now)?;
        let node = self.node_mut(id)?;
        node.links = node.links.checked_add(1).ok_or(FileError::TooManyLinks)?;
        node.changed = now;
        if let Content::Directory(moved) = &mut node.content {
            moved.parent = directory;
        }
        Ok(())
    }

    /// Takes a name from whatever has it; the node goes when nothing refers to it any more.
    fn detach(&mut self, directory: NodeId, name: &str, now: u64) -> Result<(), FileError> {
        let entries = self.directory_mut(directory)?;
        let entry = entries.entries.remove(name).ok_or(FileError::NotFound)?;
        entries.order.remove(&entry.cookie);
        self.names -= 1;
        let is_directory = self.kind(entry.node)? == FileKind::Directory;
        self.directory_mut(directory)?.directories -= u32::from(is_directory);
        self.touch(directory, now)?;
        let node = self.node_mut(entry.node)?;
        node.links -= 1;
        node.changed = now;
        Ok(())
    }

    /// Removes a node that nothing refers to.
    fn collect(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.get(&id)
            && node.links == 0
            && node.open == 0
        {
            self.bytes -= node.size();
            self.nodes.remove(&id);
        }
    }

    /// Notes that a descriptor refers to a node.
    pub(crate) fn open(&mut self, id: NodeId) -> Result<(), FileError> {
        let node = self.node_mut(id)?;
        node.open = node.open.checked_add(1).ok_or(FileError::TooManyOpen)?;
        Ok(())
    }

    /// Notes that a descriptor does not refer to a node any more.
    pub(crate) fn close(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.open = node.open.saturating_sub(1);
        }
        self.collect(id);
    }

    /// Deletes a name of a file or symbolic link.
    pub(crate) fn unlink(&mut self, directory: NodeId, name: &str, now: u64) -> Result<(), FileError> {
        let id = self.lookup(directory, name)?.ok_or(FileError::NotFound)?;
        if self.kind(id)? == FileKind::Directory {
            return Err(FileError::IsDirectory);
        }
        self.detach(directory, name, now)?;
        self.collect(id);
        Ok(())
    }

    /// Deletes an empty directory.
    pub(crate) fn remove_directory(
        &mut self,
        directory: NodeId,
        name: &str,
        now: u64,
    ) -> Result<(), FileError> {
        let id = self.lookup(directory, name)?.ok_or(FileError::NotFound)?;
        if !self.directory(id)?.entries.is_empty() {
            return Err(FileError::NotEmpty);
        }
        self.detach(directory, name, now)?;
        self.collect(id);
        Ok(())
    }

    /// Gives a file or symbolic link one more name, which is free.
    pub(crate) fn link(
        &mut self,
        id: NodeId,
        directory: NodeId,
        name: &str,
        now: u64,
    ) -> Result<(), FileError> {
        let node = self.node(id)?;
        if node.kind() == FileKind::Directory {
            return Err(FileError::NotPermitted);
        }
        if node.links == 0 {
            return Err(FileError::NotFound);
        }
        if node.links == u32::MAX {
            return Err(FileError::TooManyLinks);
        }
        self.can_hold(directory, name)?;
        self.can_have_one_more()?;
        self.attach(directory, name, id, now)
    }

    /// Moves what has a name to another name, in place of what had that one.
    pub(crate) fn rename(
        &mut self,
        from: (NodeId, &str),
        to: (NodeId, &str),
        now: u64,
    ) -> Result<(), FileError> {
        let id = self.lookup(from.0, from.1)?.ok_or(FileError::NotFound)?;
        let replaced = self.lookup(to.0, to.1)?;
        if replaced == Some(id) {
            // Two names of one file stay as they are, says POSIX.
            return Ok(());
        }
        self.can_hold(to.0, to.1)?;
        let is_directory = self.kind(id)? == FileKind::Directory;
        if is_directory {
            if self.lies_in(to.0, id)? {
                return Err(FileError::Invalid);
            }
            let room = self.limits.path_depth.saturating_sub(self.depth(to.0)?);
            if self.height(id, room)?.is_none() {
                return Err(FileError::NameTooLong);
            }
        }
        if let Some(replaced) = replaced {
            if self.lies_in(from.0, replaced)? {
                return Err(FileError::NotEmpty);
            }
            match (is_directory, self.kind(replaced)? == FileKind::Directory) {
                (true, false) => return Err(FileError::NotDirectory),
                (false, true) => return Err(FileError::IsDirectory),
                (true, true) => self.remove_directory(to.0, to.1, now)?,
                (false, false) => self.unlink(to.0, to.1, now)?,
            }
        }
        self.detach(from.0, from.1, now)?;
        self.attach(to.0, to.1, id, now)
    }
}

/// What [`Tree::create`] makes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum NewNode<'a> {
    File,
    Directory,
    Link(&'a str),
}
