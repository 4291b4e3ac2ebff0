//! Mounted directories: text files of the directories that the host mounted, and nothing else.
//!
//! Every path is resolved by `cap-std` beneath the mount's directory handle, so neither `..` nor a symbolic link
//! leads out of it. With one mount, paths are relative to it; with several, the first component is the mount's name.

use std::{
    io::{self, Read, Write},
    path::{Component, Path, PathBuf},
};

use cap_std::{
    ambient_authority,
    fs::{Dir, OpenOptions},
};
use glasshouse_kernel::Capability;
use glasshouse_protocol::{
    DirectoryEntry, EntryKind, ErrorData, FileText, FileWritten, SearchMatch, SearchMatches,
};

use crate::{RuntimeError, services::FileSystem};

/// A larger file is cut: its text goes into the event log and a model's prompt.
const MAXIMUM_READ_BYTES: u64 = 256 * 1024;
/// A larger file is skipped by a search.
const MAXIMUM_SEARCHED_FILE_BYTES: u64 = 4 * 1024 * 1024;
/// A search stops after this many matches; more are of no use in a prompt.
const MAXIMUM_MATCHES: usize = 100;
/// A search looks at no more directory entries than this, so that a huge tree cannot hold up a run.
const MAXIMUM_SEARCHED_ENTRIES: usize = 20_000;
/// Directories nested deeper than this are not searched.
const MAXIMUM_SEARCH_DEPTH: usize = 32;
/// A matching line is cut to this many characters.
const MAXIMUM_LINE_CHARACTERS: usize = 240;
/// A directory with more entries is listed up to here.
const MAXIMUM_LISTED_ENTRIES: usize = 2_000;

/// A directory that a command line or an embedder grants to processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The host directory.
    pub directory: PathBuf,
    /// Whether files may be created and replaced.
    pub writable: bool,
}

impl Mount {
    /// Reads `DIR`, `DIR:ro` or `DIR:rw`.
    pub fn parse(text: &str) -> Self {
        let (directory, writable) = match text.rsplit_once(':') {
            Some((directory, "rw")) => (directory, true),
            Some((directory, "ro")) => (directory, false),
            _ => (text, false),
        };
        Self { directory: PathBuf::from(directory), writable }
    }
}

struct OpenMount {
    name: String,
    directory: Dir,
}

/// The mounted directories, opened.
#[derive(Default)]
pub struct Files {
    mounts: Vec<OpenMount>,
    capabilities: Vec<Capability>,
}

impl Files {
    /// Opens every mount; two directories of the same name get distinct mount names (`notes`, `notes-2`).
    pub fn open(mounts: &[Mount]) -> Result<Self, RuntimeError> {
        let mut files = Self::default();
        for mount in mounts {
            let unreadable = |source| RuntimeError::Mount { directory: mount.directory.clone(), source };
            let canonical = mount.directory.canonicalize().map_err(unreadable)?;
            let directory = Dir::open_ambient_dir(&canonical, ambient_authority()).map_err(unreadable)?;
            directory.entries().map_err(unreadable)?;
            let base = canonical
                .file_name()
                .map_or_else(|| "root".into(), |name| name.to_string_lossy().into_owned());
            let mut name = base.clone();
            let mut count = 1;
            while files.mounts.iter().any(|other| other.name == name) {
                count += 1;
                name = format!("{base}-{count}");
            }
            files.capabilities.push(Capability::Mount { name: name.clone(), writable: mount.writable });
            files.mounts.push(OpenMount { name, directory });
        }
        Ok(files)
    }

    fn granted(&self, grants: &[Capability]) -> Vec<&OpenMount> {
        let is_granted = |mount: &&OpenMount| {
            grants.iter().any(|grant| matches!(grant, Capability::Mount { name, .. } if *name == mount.name))
        };
        self.mounts.iter().filter(is_granted).collect()
    }

    /// The mount a path lies in and the path beneath it, if `grants` allow the access.
    fn resolve(
        &self,
        grants: &[Capability],
        path: &str,
        access: Access,
    ) -> Result<(&Dir, PathBuf), ErrorData> {
        let relative = normal_components(path)?;
        let granted = self.granted(grants);
        let (mount, relative) = match granted.as_slice() {
            [] => return Err(ErrorData::new("no_mount", "no folder is mounted; start with --mount DIR")),
            [only] => (*only, relative),
            several => {
                let mut components = relative.components();
                let first = components.next().map(|first| first.as_os_str().to_string_lossy().into_owned());
                let named = several.iter().find(|mount| Some(&mount.name) == first.as_ref());
                let Some(mount) = named else {
                    let names: Vec<&str> = several.iter().map(|mount| mount.name.as_str()).collect();
                    return Err(ErrorData::new(
                        "not_found",
                        format!(
                            "{path} is in none of the mounted folders; begin with one of {}",
                            names.join(", ")
                        ),
                    ));
                };
                (*mount, components.as_path().to_owned())
            }
        };
        let writable = |grant: &Capability| matches!(grant, Capability::Mount { name, writable: true } if *name == mount.name);
        if access == Access::Write && !grants.iter().any(writable) {
            return Err(ErrorData::new(
                "read_only",
                format!("{} is mounted read-only; start with --mount DIR:rw to write", mount.name),
            ));
        }
        Ok((&mount.directory, relative))
    }
}

impl FileSystem for Files {
    fn capabilities(&self) -> &[Capability] {
        &self.capabilities
    }

    /// At most [`MAXIMUM_READ_BYTES`].
    fn read(&self, grants: &[Capability], path: &str) -> Result<FileText, ErrorData> {
        let (directory, relative) = self.resolve(grants, path, Access::Read)?;
        let fail = |error: io::Error| file_error(path, &error);
        let bytes = regular_file(directory, &relative, path)?;
        let mut content = Vec::new();
        let file = directory.open(&relative).map_err(fail)?;
        if !file.metadata().map_err(fail)?.is_file() {
            return Err(not_a_file(path));
        }
        file.take(MAXIMUM_READ_BYTES).read_to_end(&mut content).map_err(fail)?;
        let truncated = (content.len() as u64) < bytes;
        let content = match String::from_utf8(content) {
            Ok(text) => text,
            // The cut may fall inside a character; anything else that is not UTF-8 is not text.
            Err(error) if truncated && error.utf8_error().error_len().is_none() => {
                let valid = error.utf8_error().valid_up_to();
                String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned()
            }
            Err(_) => {
                return Err(ErrorData::new(
                    "not_text",
                    format!("{path} is not a text file (it is not UTF-8)"),
                ));
            }
        };
        Ok(FileText { content, bytes, truncated })
    }

    /// The new content appears whole or not at all.
    fn write(&self, grants: &[Capability], path: &str, content: &str) -> Result<FileWritten, ErrorData> {
        let (directory, relative) = self.resolve(grants, path, Access::Write)?;
        let fail = |error: io::Error| file_error(path, &error);
        let Some(name) = relative.file_name().filter(|_| !path.ends_with('/')) else {
            return Err(not_a_file(path));
        };
        if directory.metadata(&relative).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(not_a_file(path));
        }
        if let Some(parent) = relative.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            directory.create_dir_all(parent).map_err(fail)?;
        }
        let temporary =
            relative.with_file_name(format!(".{}.{}.partial", name.to_string_lossy(), std::process::id()));
        let written = (|| {
            let mut options = OpenOptions::new();
            let mut file =
                directory.open_with(&temporary, options.write(true).create(true).truncate(true))?;
            file.write_all(content.as_bytes())?;
            file.sync_all()?;
            directory.rename(&temporary, directory, &relative)
        })();
        if let Err(error) = written {
            // Nothing more can be done if this fails too; the error that matters is the first.
            let _ = directory.remove_file(&temporary);
            return Err(fail(error));
        }
        Ok(FileWritten { bytes: content.len() as u64 })
    }

    /// With several mounts, `.` lists the mounts.
    fn list(&self, grants: &[Capability], path: &str) -> Result<Vec<DirectoryEntry>, ErrorData> {
        let granted = self.granted(grants);
        if granted.len() > 1 && normal_components(path)?.as_os_str().is_empty() {
            return Ok(granted
                .iter()
                .map(|mount| DirectoryEntry {
                    name: mount.name.clone(),
                    kind: EntryKind::Directory,
                    bytes: 0,
                })
                .collect());
        }
        let (directory, relative) = self.resolve(grants, path, Access::Read)?;
        list_directory(directory, &relative).map_err(|error| file_error(path, &error))
    }

    /// Symbolic links are not followed.
    fn search(&self, grants: &[Capability], query: &str, path: &str) -> Result<SearchMatches, ErrorData> {
        if query.trim().is_empty() {
            return Err(ErrorData::new("empty_query", "the text to search for is empty"));
        }
        let needle = query.trim().to_lowercase();
        let mut search =
            Search { needle, found: SearchMatches { matches: Vec::new(), truncated: false }, entries: 0 };
        let granted = self.granted(grants);
        if granted.len() > 1 && normal_components(path)?.as_os_str().is_empty() {
            for mount in granted {
                search.directory(&mount.directory, Path::new(""), &mount.name, 0);
            }
        } else {
            let (directory, relative) = self.resolve(grants, path, Access::Read)?;
            let metadata =
                directory.metadata(or_root(&relative)).map_err(|error| file_error(path, &error))?;
            let shown = if relative.as_os_str().is_empty() { String::new() } else { clean(path) };
            if metadata.is_file() {
                search.file(directory, &relative, &shown);
            } else {
                search.directory(directory, &relative, &shown, 0);
            }
        }
        Ok(search.found)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

/// `path` without `.` components; anything that could lead out of a mount is refused before the host sees it.
fn normal_components(path: &str) -> Result<PathBuf, ErrorData> {
    if path.contains('\0') {
        return Err(ErrorData::new("bad_path", "a path cannot contain a zero byte"));
    }
    let mut normal = PathBuf::new();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => normal.push(name),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return Err(outside(path)),
        }
    }
    Ok(normal)
}

fn clean(path: &str) -> String {
    path.trim_start_matches("./").trim_end_matches('/').to_owned()
}

/// `cap-std` names a directory itself `.`, not the empty path.
fn or_root(relative: &Path) -> &Path {
    if relative.as_os_str().is_empty() { Path::new(".") } else { relative }
}

fn regular_file(directory: &Dir, relative: &Path, path: &str) -> Result<u64, ErrorData> {
    // Checked before opening: opening a pipe would wait for a writer that may never come.
    let metadata = directory.metadata(or_root(relative)).map_err(|error| file_error(path, &error))?;
    if metadata.is_file() { Ok(metadata.len()) } else { Err(not_a_file(path)) }
}

fn list_directory(directory: &Dir, relative: &Path) -> io::Result<Vec<DirectoryEntry>> {
    let mut entries = Vec::new();
    for entry in directory.read_dir(or_root(relative))? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        let (kind, bytes) = if metadata.is_dir() {
            (EntryKind::Directory, 0)
        } else if metadata.is_file() {
            (EntryKind::File, metadata.len())
        } else {
            (EntryKind::Other, 0)
        };
        entries.push(DirectoryEntry { name: entry.file_name().to_string_lossy().into_owned(), kind, bytes });
    }
    // The host's order is arbitrary; sorted before cutting, so that the same directory gives the same list.
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    entries.truncate(MAXIMUM_LISTED_ENTRIES);
    Ok(entries)
}

struct Search {
    needle: String,
    found: SearchMatches,
    entries: usize,
}

impl Search {
    fn directory(&mut self, directory: &Dir, relative: &Path, shown: &str, depth: usize) {
        if depth > MAXIMUM_SEARCH_DEPTH {
            self.found.truncated = true;
            return;
        }
        // A directory that cannot be read has no lines to find.
        let Ok(entries) = list_directory(directory, relative) else { return };
        for entry in entries {
            self.entries += 1;
            if self.entries > MAXIMUM_SEARCHED_ENTRIES || self.found.matches.len() >= MAXIMUM_MATCHES {
                self.found.truncated = true;
                return;
            }
            let child = relative.join(&entry.name);
            let child_shown =
                if shown.is_empty() { entry.name.clone() } else { format!("{shown}/{}", entry.name) };
            match entry.kind {
                EntryKind::Directory => self.directory(directory, &child, &child_shown, depth + 1),
                EntryKind::File if entry.bytes <= MAXIMUM_SEARCHED_FILE_BYTES => {
                    self.file(directory, &child, &child_shown);
                }
                EntryKind::File => self.found.truncated = true,
                EntryKind::Other => {}
            }
        }
    }

    fn file(&mut self, directory: &Dir, relative: &Path, shown: &str) {
        // A file that is not readable text has no lines to find.
        let Ok(text) = directory.read_to_string(relative) else { return };
        for (number, line) in (1..).zip(text.lines()) {
            if !line.to_lowercase().contains(&self.needle) {
                continue;
            }
            if self.found.matches.len() >= MAXIMUM_MATCHES {
                self.found.truncated = true;
                return;
            }
            let text = line.trim().chars().take(MAXIMUM_LINE_CHARACTERS).collect();
            self.found.matches.push(SearchMatch { path: shown.to_owned(), line: number, text });
        }
    }
}

fn not_a_file(path: &str) -> ErrorData {
    ErrorData::new("not_a_file", format!("{path} is not a file"))
}

fn outside(path: &str) -> ErrorData {
    ErrorData::new("outside_mount", format!("{path} leads out of the mounted folder"))
}

fn file_error(path: &str, error: &io::Error) -> ErrorData {
    match error.kind() {
        io::ErrorKind::NotFound => ErrorData::new("not_found", format!("no such file or folder: {path}")),
        io::ErrorKind::NotADirectory => ErrorData::new("not_a_directory", format!("{path} is not a folder")),
        // `cap-std` reports an escape as a permission error without an operating system code.
        io::ErrorKind::PermissionDenied if error.raw_os_error().is_none() => outside(path),
        io::ErrorKind::PermissionDenied => {
            ErrorData::new("permission_denied", format!("no permission to use {path}"))
        }
        _ => ErrorData::from_error("file_error", error),
    }
}
