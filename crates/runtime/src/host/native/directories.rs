//! Host directories that processes may use as their own: the operations of a [`FileRequest`] on real files.
//!
//! Every path is resolved by `cap-std` beneath a directory's handle, so neither `..` nor a symbolic link leads out of it.

use std::{
    collections::HashMap,
    fs,
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use cap_fs_ext::{
    DirExt, FollowSymlinks, MetadataExt, OpenOptionsFollowExt, OpenOptionsMaybeDirExt, OpenOptionsSyncExt,
    SystemTimeSpec,
};
use cap_std::{
    ambient_authority,
    fs::{Dir, FileType, OpenOptions},
};
use glasshouse_devices::{
    DirectoryItem, FileAnswer, FileError, FileKind, FileRequest, Metadata, OpenOptions as Opening, TimeChange,
};

/// An open file or directory.
enum Handle {
    Directory(Dir, bool),
    File(fs::File, bool),
}

/// A directory of the host under the name by which a process's mount refers to it.
struct Shared {
    directory: Dir,
    writable: bool,
}

/// The shared directories and what is open in them.
#[derive(Default)]
pub(super) struct Directories {
    shared: HashMap<String, Shared>,
    handles: HashMap<u32, Handle>,
}

impl Directories {
    /// Shares a directory.
    pub(super) fn share(&mut self, name: &str, directory: &Path, writable: bool) -> io::Result<()> {
        let directory = Dir::open_ambient_dir(directory, ambient_authority())?;
        // A directory that cannot be listed is a mistake to be told at once.
        directory.entries()?;
        self.shared.insert(name.to_owned(), Shared { directory, writable });
        Ok(())
    }

    /// Performs an operation.
    pub(super) fn perform(&mut self, request: FileRequest<'_>) -> Result<FileAnswer, FileError> {
        let done = |()| FileAnswer::Done;
        match request {
            FileRequest::Mount { handle, name } => {
                let shared = self.shared.get(name).ok_or(FileError::NotFound)?;
                let directory = shared.directory.try_clone().map_err(error)?;
                self.handles.insert(handle, Handle::Directory(directory, shared.writable));
                Ok(FileAnswer::Opened(FileKind::Directory))
            }
            FileRequest::Open { handle, base, path, options } => {
                let (directory, writable) = self.directory(base)?;
                let opened = open(directory, writable, path, options)?;
                let kind = match &opened {
                    Handle::Directory(..) => FileKind::Directory,
                    Handle::File(file, _) => file_kind(file)?,
                };
                self.handles.insert(handle, opened);
                Ok(FileAnswer::Opened(kind))
            }
            FileRequest::Close { handle } => {
                self.handles.remove(&handle);
                Ok(FileAnswer::Done)
            }
            FileRequest::Read { handle, offset, limit } => self.read(handle, offset, limit),
            FileRequest::Write { handle, offset, bytes } => {
                let file = self.writable_file(handle)?;
                file.seek(SeekFrom::Start(offset)).map_err(error)?;
                file.write_all(bytes).map(done).map_err(error)
            }
            FileRequest::Append { handle, bytes } => {
                let file = self.writable_file(handle)?;
                let end = file.seek(SeekFrom::End(0)).map_err(error)?;
                file.write_all(bytes).map_err(error)?;
                Ok(FileAnswer::Position(end + bytes.len() as u64))
            }
            FileRequest::SetSize { handle, size } => {
                self.writable_file(handle)?.set_len(size).map(done).map_err(error)
            }
            FileRequest::Sync { handle, data_only } => match self.handle(handle)? {
                Handle::File(file, _) if data_only => file.sync_data().map(done).map_err(error),
                Handle::File(file, _) => file.sync_all().map(done).map_err(error),
                Handle::Directory(directory, _) => {
                    let directory = directory.try_clone().map_err(error)?.into_std_file();
                    // Some systems cannot sync a directory; what was written to files in it is safe all the same.
                    let _ = directory.sync_all();
                    Ok(FileAnswer::Done)
                }
            },
            FileRequest::Metadata { handle } => {
                let metadata = match self.handle(handle)? {
                    Handle::Directory(directory, _) => directory.dir_metadata(),
                    Handle::File(file, _) => {
                        file.try_clone().and_then(|file| cap_std::fs::File::from_std(file).metadata())
                    }
                };
                metadata.map(|metadata| FileAnswer::Metadata(describe(&metadata))).map_err(error)
            }
            FileRequest::SetTimes { handle, accessed, modified } => {
                self.set_times(handle, accessed, modified).map(done)
            }
            FileRequest::List { handle, limit } => list(self.directory(handle)?.0, limit),
            FileRequest::MetadataAt { base, path, follow } => {
                let (directory, _) = self.directory(base)?;
                let metadata = if follows(path, follow) {
                    directory.metadata(path)
                } else {
                    directory.symlink_metadata(path)
                };
                metadata.map(|metadata| FileAnswer::Metadata(describe(&metadata))).map_err(error)
            }
            FileRequest::SetTimesAt { base, path, follow, accessed, modified } => {
                let directory = self.writable_directory(base)?;
                let (accessed, modified) = (time_spec(accessed)?, time_spec(modified)?);
                let set = if follows(path, follow) {
                    DirExt::set_times(directory, path, accessed, modified)
                } else {
                    directory.set_symlink_times(path, accessed, modified)
                };
                set.map(done).map_err(error)
            }
            FileRequest::CreateDirectory { base, path } => {
                self.writable_directory(base)?.create_dir(path).map(done).map_err(error)
            }
            FileRequest::RemoveDirectory { base, path } => {
                // A slash at the end says what must be so anyway; `cap-std` refuses it.
                let path = path.trim_end_matches('/');
                self.writable_directory(base)?.remove_dir(path).map(done).map_err(error)
            }
            FileRequest::RemoveFile { base, path } => {
                self.writable_directory(base)?.remove_file(path).map(done).map_err(error)
            }
            FileRequest::Rename { base, path, to_base, to_path } => {
                let (from, to) = (self.writable_directory(base)?, self.writable_directory(to_base)?);
                // Only a directory can be named with a slash behind it; `cap-std` does not look.
                let name = to_path.trim_end_matches('/');
                if name.len() < to_path.len()
                    && [path, name].iter().all(|path| ends_with_a_name(path))
                    && from.symlink_metadata(path).is_ok_and(|metadata| !metadata.is_dir())
                    && to.metadata(parent(name)).is_ok()
                {
                    return Err(FileError::NotDirectory);
                }
                from.rename(path, to, to_path).map(done).map_err(error)
            }
            FileRequest::Link { base, path, to_base, to_path } => {
                let (from, to) = (self.writable_directory(base)?, self.writable_directory(to_base)?);
                from.hard_link(path, to, to_path).map(done).map_err(error)
            }
            FileRequest::SymbolicLink { target, base, path } => {
                DirExt::symlink(self.writable_directory(base)?, target, path).map(done).map_err(error)
            }
            FileRequest::ReadLink { base, path } => {
                let target = self.directory(base)?.0.read_link(path).map_err(error)?;
                let target = target.into_os_string().into_string();
                target.map(FileAnswer::Target).map_err(|_| FileError::InvalidName)
            }
        }
    }

    fn handle(&mut self, handle: u32) -> Result<&mut Handle, FileError> {
        self.handles.get_mut(&handle).ok_or(FileError::InputOutput)
    }

    /// An open directory, and whether it may be changed.
    fn directory(&self, handle: u32) -> Result<(&Dir, bool), FileError> {
        match self.handles.get(&handle) {
            Some(Handle::Directory(directory, writable)) => Ok((directory, *writable)),
            Some(Handle::File(..)) => Err(FileError::NotDirectory),
            None => Err(FileError::InputOutput),
        }
    }

    fn writable_directory(&self, handle: u32) -> Result<&Dir, FileError> {
        match self.directory(handle)? {
            (directory, true) => Ok(directory),
            (_, false) => Err(FileError::ReadOnly),
        }
    }

    fn file(&mut self, handle: u32) -> Result<(&mut fs::File, bool), FileError> {
        match self.handle(handle)? {
            Handle::File(file, writable) => Ok((file, *writable)),
            Handle::Directory(..) => Err(FileError::IsDirectory),
        }
    }

    fn writable_file(&mut self, handle: u32) -> Result<&mut fs::File, FileError> {
        match self.file(handle)? {
            (file, true) => Ok(file),
            (_, false) => Err(FileError::ReadOnly),
        }
    }

    fn read(&mut self, handle: u32, offset: u64, limit: u32) -> Result<FileAnswer, FileError> {
        let (file, _) = self.file(handle)?;
        file.seek(SeekFrom::Start(offset)).map_err(error)?;
        let mut bytes = vec![0; limit as usize];
        let mut read = 0;
        while read < bytes.len() {
            match file.read(&mut bytes[read..]) {
                Ok(0) => break,
                Ok(count) => read += count,
                Err(interrupted) if interrupted.kind() == io::ErrorKind::Interrupted => {}
                Err(failed) => return Err(error(failed)),
            }
        }
        bytes.truncate(read);
        Ok(FileAnswer::Bytes(bytes))
    }

    fn set_times(
        &mut self,
        handle: u32,
        accessed: TimeChange,
        modified: TimeChange,
    ) -> Result<(), FileError> {
        let times = fs::FileTimes::new();
        let times = match time(accessed)? {
            Some(time) => times.set_accessed(time),
            None => times,
        };
        let times = match time(modified)? {
            Some(time) => times.set_modified(time),
            None => times,
        };
        match self.handle(handle)? {
            Handle::File(_, false) | Handle::Directory(_, false) => Err(FileError::ReadOnly),
            Handle::File(file, true) => file.set_times(times).map_err(error),
            Handle::Directory(directory, true) => {
                directory.try_clone().and_then(|file| file.into_std_file().set_times(times)).map_err(error)
            }
        }
    }
}

/// Whether a symbolic link that is the last name of a path is followed: with a slash behind it, it always is.
fn follows(path: &str, follow: bool) -> bool {
    follow || path.ends_with('/') || path.ends_with("/.")
}

/// Whether a path ends with a name, and with nothing behind it.
fn ends_with_a_name(path: &str) -> bool {
    !matches!(path.rsplit('/').next(), Some("" | "." | ".."))
}

/// The directory that a path's last name is looked up in.
fn parent(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some((parent, _)) if !parent.is_empty() => parent,
        _ => ".",
    }
}

/// Opens a file or directory.
fn open(directory: &Dir, writable: bool, path: &str, opening: Opening) -> Result<Handle, FileError> {
    if !writable && (opening.write || opening.create || opening.truncate) {
        return Err(FileError::ReadOnly);
    }
    let follow = follows(path, opening.follow);
    if opening.directory {
        let opened = if follow { directory.open_dir(path) } else { directory.open_dir_nofollow(path) };
        let opened = opened.map_err(error)?;
        // A directory's content cannot be written.
        return if opening.write {
            Err(FileError::IsDirectory)
        } else {
            Ok(Handle::Directory(opened, writable))
        };
    }
    let changes = opening.write || opening.truncate || opening.create;
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(changes)
        .create(opening.create && !opening.exclusive)
        .create_new(opening.create && opening.exclusive)
        .truncate(opening.truncate)
        .follow(if follow { FollowSymlinks::Yes } else { FollowSymlinks::No })
        .maybe_dir(true)
        // A pipe without a writer would be waited for.
        .nonblock(true);
    let opened = match directory.open_with(path, &options) {
        Err(denied) if denied.raw_os_error().is_some() && is_denied(&denied) && changes => {
            if opening.write && !opening.read {
                // It may be written and not be read.
                directory.open_with(path, options.read(false))
            } else if !opening.write && !opening.truncate && !opening.exclusive {
                // It was to be made if it were not there. It is, and may not be written.
                directory.open_with(path, options.write(false).create(false)).map_err(|_| denied)
            } else {
                Err(denied)
            }
        }
        opened => opened,
    };
    let file = opened.map_err(error)?.into_std();
    let metadata = file.metadata().map_err(error)?;
    if metadata.is_dir() {
        return Ok(Handle::Directory(Dir::from_std_file(file), writable));
    }
    Ok(Handle::File(file, writable && changes))
}

fn is_denied(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

/// What an open file is.
fn file_kind(file: &fs::File) -> Result<FileKind, FileError> {
    let file = file.try_clone().map_err(error)?;
    let metadata = cap_std::fs::File::from_std(file).metadata().map_err(error)?;
    Ok(kind(metadata.file_type()))
}

fn kind(kind: FileType) -> FileKind {
    if kind.is_file() {
        return FileKind::Regular;
    }
    if kind.is_dir() {
        return FileKind::Directory;
    }
    if kind.is_symlink() {
        return FileKind::SymbolicLink;
    }
    #[cfg(unix)]
    {
        use cap_std::fs::FileTypeExt;
        if kind.is_char_device() {
            return FileKind::CharacterDevice;
        }
        if kind.is_block_device() {
            return FileKind::BlockDevice;
        }
    }
    FileKind::Other
}

fn describe(metadata: &cap_std::fs::Metadata) -> Metadata {
    let nanoseconds = |time: io::Result<cap_std::time::SystemTime>| {
        let since = time.ok().and_then(|time| time.into_std().duration_since(UNIX_EPOCH).ok());
        since.and_then(|since| u64::try_from(since.as_nanos()).ok()).unwrap_or_default()
    };
    Metadata {
        device: metadata.dev(),
        inode: metadata.ino(),
        kind: kind(metadata.file_type()),
        links: metadata.nlink(),
        size: metadata.len(),
        accessed: nanoseconds(metadata.accessed()),
        modified: nanoseconds(metadata.modified()),
        changed: changed(metadata).unwrap_or_else(|| nanoseconds(metadata.modified())),
    }
}

/// When a file itself last changed.
#[cfg(unix)]
fn changed(metadata: &cap_std::fs::Metadata) -> Option<u64> {
    use cap_std::fs::MetadataExt;
    let seconds = u64::try_from(metadata.ctime()).ok()?;
    let rest = u64::try_from(metadata.ctime_nsec()).ok()?;
    seconds.checked_mul(1_000_000_000)?.checked_add(rest)
}

/// Not every system says.
#[cfg(not(unix))]
fn changed(_: &cap_std::fs::Metadata) -> Option<u64> {
    None
}

/// The entries of a directory, sorted by name, since a host's order is arbitrary. Names that are not UTF-8 cannot be
/// told to a process and are left out.
fn list(directory: &Dir, limit: u32) -> Result<FileAnswer, FileError> {
    let mut items = Vec::new();
    for entry in directory.entries().map_err(error)? {
        let entry = entry.map_err(error)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if items.len() >= limit as usize {
            return Err(FileError::TooLarge);
        }
        let metadata = match directory.symlink_metadata(&name) {
            Ok(metadata) => metadata,
            // It was deleted meanwhile.
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => continue,
            Err(failed) => return Err(error(failed)),
        };
        items.push(DirectoryItem { name, kind: kind(metadata.file_type()), inode: metadata.ino() });
    }
    items.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(FileAnswer::Entries(items))
}

/// The time that a file is given, if it changes.
fn time(change: TimeChange) -> Result<Option<SystemTime>, FileError> {
    match change {
        TimeChange::Keep => Ok(None),
        TimeChange::Now => Ok(Some(SystemTime::now())),
        TimeChange::To(nanoseconds) => {
            let since = Duration::from_nanos(nanoseconds);
            UNIX_EPOCH.checked_add(since).map(Some).ok_or(FileError::Invalid)
        }
    }
}

fn time_spec(change: TimeChange) -> Result<Option<SystemTimeSpec>, FileError> {
    if change == TimeChange::Now {
        return Ok(Some(SystemTimeSpec::SymbolicNow));
    }
    let absolute = |time| SystemTimeSpec::Absolute(cap_std::time::SystemTime::from_std(time));
    Ok(time(change)?.map(absolute))
}

/// What a failure of the host means to a process.
fn error(error: io::Error) -> FileError {
    #[cfg(unix)]
    if let Some(known) = error.raw_os_error().and_then(of_system) {
        return known;
    }
    match error.kind() {
        io::ErrorKind::NotFound => FileError::NotFound,
        io::ErrorKind::AlreadyExists => FileError::Exists,
        io::ErrorKind::NotADirectory => FileError::NotDirectory,
        io::ErrorKind::IsADirectory => FileError::IsDirectory,
        io::ErrorKind::DirectoryNotEmpty => FileError::NotEmpty,
        // `cap-std` reports an escape as a permission error without an operating system code.
        io::ErrorKind::PermissionDenied if error.raw_os_error().is_none() => FileError::Outside,
        io::ErrorKind::PermissionDenied => FileError::Denied,
        io::ErrorKind::ReadOnlyFilesystem => FileError::ReadOnly,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FileError::NoSpace,
        io::ErrorKind::FileTooLarge => FileError::TooLarge,
        io::ErrorKind::CrossesDevices => FileError::CrossDevice,
        io::ErrorKind::TooManyLinks => FileError::TooManyLinks,
        io::ErrorKind::InvalidFilename => FileError::NameTooLong,
        io::ErrorKind::InvalidInput => FileError::Invalid,
        io::ErrorKind::ResourceBusy => FileError::Busy,
        io::ErrorKind::Unsupported => FileError::NotSupported,
        _ => FileError::InputOutput,
    }
}

/// What the standard library has no name for.
#[cfg(unix)]
fn of_system(code: i32) -> Option<FileError> {
    use rustix::io::Errno;
    match Errno::from_raw_os_error(code) {
        Errno::LOOP => Some(FileError::Loop),
        Errno::NAMETOOLONG => Some(FileError::NameTooLong),
        Errno::PERM => Some(FileError::NotPermitted),
        Errno::MFILE | Errno::NFILE => Some(FileError::TooManyOpen),
        Errno::NOTSUP => Some(FileError::NotSupported),
        Errno::ILSEQ => Some(FileError::InvalidName),
        _ => None,
    }
}
