//! Finds what a path names in the in-memory tree.

use alloc::{borrow::ToOwned, collections::VecDeque, string::String, vec, vec::Vec};

use super::{
    FileError, FileKind,
    tree::{NodeId, Tree},
};

/// Symbolic links that one path may lead through, as on Linux.
const LINKS_MAXIMUM: u32 = 40;

/// What happens when the last name of a path is a symbolic link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Last {
    /// It is followed.
    Follow,
    /// It is what the path names, unless a slash comes behind it.
    NoFollow,
    /// It is what the path names.
    Keep,
}

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resolved {
    /// The directory and the name in it; `None` when the path is no name but `.`, `..` or such.
    pub(crate) place: Option<(NodeId, String)>,
    /// What is there.
    pub(crate) node: Option<NodeId>,
    /// Whether the path's last character says that it must be a directory.
    pub(crate) must_be_directory: bool,
}

impl Resolved {
    /// What is there, which has to be there.
    pub(crate) fn existing(&self, tree: &Tree) -> Result<NodeId, FileError> {
        let node = self.node.ok_or(FileError::NotFound)?;
        if self.must_be_directory && tree.kind(node)? != FileKind::Directory {
            return Err(FileError::NotDirectory);
        }
        Ok(node)
    }
}

/// Checks what holds for every path, in the tree or mounted.
pub(crate) fn check_path(path: &str, path_bytes: u32) -> Result<(), FileError> {
    if path.is_empty() {
        return Err(FileError::NotFound);
    }
    if path.len() > path_bytes as usize {
        return Err(FileError::NameTooLong);
    }
    if path.contains('\0') {
        return Err(FileError::Invalid);
    }
    if path.starts_with('/') {
        return Err(FileError::Outside);
    }
    Ok(())
}

impl Tree {
    /// Finds what `path` names, from the directory `base` on and never above it.
    pub(crate) fn resolve(&self, base: NodeId, path: &str, last: Last) -> Result<Resolved, FileError> {
        check_path(path, self.limits().path_bytes)?;
        if self.kind(base)? != FileKind::Directory {
            return Err(FileError::NotDirectory);
        }
        let mut must_be_directory = names_a_directory(path);
        let mut names: VecDeque<String> = VecDeque::new();
        push_names(&mut names, path, self.limits().path_depth)?;
        let mut directories: Vec<NodeId> = vec![base];
        let mut links = 0;
        let here = |directories: &[NodeId]| directories.last().copied().unwrap_or(base);
        while let Some(name) = names.pop_front() {
            if name == ".." {
                directories.pop();
                if directories.is_empty() {
                    return Err(FileError::Outside);
                }
                continue;
            }
            if name.len() > self.limits().name_bytes as usize {
                return Err(FileError::NameTooLong);
            }
            let directory = here(&directories);
            let node = self.lookup(directory, &name)?;
            let is_last = names.is_empty();
            let Some(id) = node else {
                if is_last {
                    return Ok(Resolved { place: Some((directory, name)), node, must_be_directory });
                }
                return Err(FileError::NotFound);
            };
            match self.kind(id)? {
                FileKind::SymbolicLink if !is_last || follows(last, must_be_directory) => {
                    links += 1;
                    if links > LINKS_MAXIMUM {
                        return Err(FileError::Loop);
                    }
                    let target = self.link_target(id)?;
                    check_path(target, self.limits().path_bytes)?;
                    must_be_directory |= is_last && names_a_directory(target);
                    let rest = core::mem::take(&mut names);
                    push_names(&mut names, target, self.limits().path_depth)?;
                    names.extend(rest);
                }
                _ if is_last => {
                    return Ok(Resolved { place: Some((directory, name)), node, must_be_directory });
                }
                FileKind::Directory => directories.push(id),
                _ => return Err(FileError::NotDirectory),
            }
        }
        Ok(Resolved { place: None, node: Some(here(&directories)), must_be_directory: true })
    }
}

/// Whether a symbolic link that is the last name is followed.
fn follows(last: Last, must_be_directory: bool) -> bool {
    match last {
        Last::Follow => true,
        Last::NoFollow => must_be_directory,
        Last::Keep => false,
    }
}

/// Whether a path ends so that it can only name a directory.
fn names_a_directory(path: &str) -> bool {
    path.ends_with('/') || path.ends_with("/.") || path.ends_with("/..") || path == "." || path == ".."
}

/// Appends the names of a path.
fn push_names(names: &mut VecDeque<String>, path: &str, limit: u32) -> Result<(), FileError> {
    for name in path.split('/').filter(|name| !name.is_empty() && *name != ".") {
        if names.len() >= limit as usize {
            return Err(FileError::NameTooLong);
        }
        names.push_back(name.to_owned());
    }
    Ok(())
}
