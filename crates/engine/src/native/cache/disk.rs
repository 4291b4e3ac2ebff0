//! Compiled modules in a directory of the host.
//!
//! ```text
//! secret        32 random bytes, readable by their owner alone
//! KEY.module    code (wasmtime) | needs (postcard)
//!               | magic "GHMODULE" | version u32 | key 32 | bytes of the code u64 | bytes of the needs u64
//!               | BLAKE3 of everything else, keyed with the secret
//! ```
//!
//! Code that is loaded is executed, so a file is opened only if somebody who can read the secret wrote exactly these bytes
//! for exactly this key. Everything else is no error but a file that is not there: it is written anew. A file is written
//! under another name and renamed when it is complete, and never changed, so no reader sees a part of one. The code comes
//! first so that the engine can map the file itself. Who could change it after it was verified could have read the secret:
//! nobody else may write to the directory.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

use memmap2::Mmap;

use super::Key;

const MAGIC: &[u8; 8] = b"GHMODULE";
const VERSION: u32 = 1;
const SECRET: &str = "secret";
const SECRET_BYTES: usize = 32;
const HASH_BYTES: usize = 32;
const TRAILER_BYTES: usize = MAGIC.len() + 4 + 32 + 8 + 8 + HASH_BYTES;
/// Larger files are none of ours.
const FILE_BYTES_MAXIMUM: u64 = 1 << 30;
/// Bytes of all files together. Beyond, those that were used longest ago are removed.
const DIRECTORY_BYTES_MAXIMUM: u64 = 1 << 30;
/// After so long an incomplete file is no longer being written.
const ABANDONED: Duration = Duration::from_secs(3600);

/// A directory of compiled modules.
pub(in super::super) struct Disk {
    directory: PathBuf,
    secret: [u8; SECRET_BYTES],
}

/// A file that is whole.
pub(in super::super) struct Loaded {
    file: File,
    /// All of it.
    map: Mmap,
    /// Bytes of the code, with which it begins.
    code: usize,
}

impl Loaded {
    /// What a host must know of the module, encoded.
    pub(in super::super) fn needs(&self) -> &[u8] {
        &self.map[self.code..self.map.len() - TRAILER_BYTES]
    }

    /// The file, which begins with the compiled module, serialized.
    pub(in super::super) fn into_file(self) -> File {
        self.file
    }
}

impl Disk {
    /// Opens a directory, and makes it and its secret if they are not there.
    ///
    /// # Errors
    /// When it cannot be made or read, or when others may write to it or read its secret.
    pub(in super::super) fn open(directory: &Path) -> io::Result<Self> {
        create_directory(directory)?;
        check_private(directory, 0o022)?;
        let path = directory.join(SECRET);
        let secret = match read_secret(&path) {
            Ok(secret) => secret,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => {
                if error.kind() == io::ErrorKind::InvalidData {
                    fs::remove_file(&path)?;
                }
                let mut secret = [0; SECRET_BYTES];
                getrandom::fill(&mut secret).map_err(io::Error::other)?;
                let incomplete = directory.join(incomplete_name("secret"));
                write_new(&incomplete, &secret)?;
                // Unlike a rename, a link never takes the place of what another process made meanwhile.
                let linked = fs::hard_link(&incomplete, &path);
                fs::remove_file(&incomplete)?;
                match linked {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                    _ => read_secret(&path)?,
                }
            }
            Err(error) => return Err(error),
        };
        Ok(Self { directory: directory.to_path_buf(), secret })
    }

    /// The file of this key, if it is whole.
    pub(in super::super) fn load(&self, key: &Key) -> Option<Loaded> {
        let file = File::open(self.path(key)).ok()?;
        let length = file.metadata().ok().map(|metadata| metadata.len())?;
        if length > FILE_BYTES_MAXIMUM {
            return None;
        }
        // SAFETY: nobody changes the file: this program renames a complete one to its place, and no other user may write
        // to the directory.
        let map = unsafe { Mmap::map(&file) }.ok()?;
        let code = self.check(&map, key)?;
        // Best effort: only the order in which files are removed depends on it.
        let _ = file.set_modified(SystemTime::now());
        Some(Loaded { file, map, code })
    }

    /// The length of the code, when the file is whole and ours.
    fn check(&self, bytes: &[u8], key: &Key) -> Option<usize> {
        let (content, trailer) = bytes.split_at_checked(bytes.len().checked_sub(TRAILER_BYTES)?)?;
        let (start, hash) = trailer.split_at(TRAILER_BYTES - HASH_BYTES);
        let code = u64::from_le_bytes(start[44..52].try_into().ok()?);
        let needs = u64::from_le_bytes(start[52..60].try_into().ok()?);
        let is_expected = start == trailer_start(key, code, needs)
            && code.checked_add(needs) == Some(content.len() as u64)
            // Compared in constant time.
            && self.hash(&bytes[..bytes.len() - HASH_BYTES]) == blake3::Hash::from_slice(hash).ok()?;
        if is_expected { usize::try_from(code).ok() } else { None }
    }

    /// Writes the file of this key.
    ///
    /// # Errors
    /// When the directory cannot be written. What was there is there still.
    pub(in super::super) fn store(&self, key: &Key, needs: &[u8], code: &[u8]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(code.len() + needs.len() + TRAILER_BYTES);
        bytes.extend_from_slice(code);
        bytes.extend_from_slice(needs);
        bytes.extend_from_slice(&trailer_start(key, code.len() as u64, needs.len() as u64));
        let hash = self.hash(&bytes);
        bytes.extend_from_slice(hash.as_bytes());
        let incomplete = self.directory.join(incomplete_name("module"));
        let written = write_new(&incomplete, &bytes).and_then(|()| fs::rename(&incomplete, self.path(key)));
        if written.is_err() {
            let _ = fs::remove_file(&incomplete);
        }
        written?;
        self.sweep(DIRECTORY_BYTES_MAXIMUM)
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.directory.join(format!("{}.module", blake3::Hash::from_bytes(*key).to_hex()))
    }

    /// On all processors: a file has some megabytes, and a program may be waiting for it to start.
    fn hash(&self, bytes: &[u8]) -> blake3::Hash {
        blake3::Hasher::new_keyed(&self.secret).update_rayon(bytes).finalize()
    }

    /// Removes files until the others have no more than so many bytes, and incomplete files that nobody writes any more.
    fn sweep(&self, bytes_maximum: u64) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            // Another process may have removed it.
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            let modified = metadata.modified()?;
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("module") => files.push((modified, metadata.len(), path)),
                Some("incomplete") if modified.elapsed().is_ok_and(|elapsed| elapsed > ABANDONED) => {
                    let _ = fs::remove_file(path);
                }
                _ => {}
            }
        }
        files.sort();
        let mut bytes: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, length, path) in files {
            if bytes <= bytes_maximum {
                break;
            }
            let _ = fs::remove_file(path);
            bytes -= length;
        }
        Ok(())
    }
}

/// The trailer but for the hash.
fn trailer_start(key: &Key, code: u64, needs: u64) -> Vec<u8> {
    let mut start = MAGIC.to_vec();
    start.extend_from_slice(&VERSION.to_le_bytes());
    start.extend_from_slice(key);
    start.extend_from_slice(&code.to_le_bytes());
    start.extend_from_slice(&needs.to_le_bytes());
    start
}

/// A name that no other process or thread writes to.
fn incomplete_name(what: &str) -> String {
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let write = WRITES.fetch_add(1, Ordering::Relaxed);
    format!("{what}-{}-{write}.incomplete", std::process::id())
}

/// Writes a file that is not there yet, down to the disk.
fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).or_else(|error| {
        // A process of the same number that is no more left it.
        if error.kind() != io::ErrorKind::AlreadyExists {
            return Err(error);
        }
        fs::remove_file(path)?;
        options.open(path)
    })?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn create_directory(directory: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

fn read_secret(path: &Path) -> io::Result<[u8; SECRET_BYTES]> {
    let bytes = fs::read(path)?;
    check_private(path, 0o077)?;
    bytes.try_into().map_err(|_| io::ErrorKind::InvalidData.into())
}

/// Fails when others than the user who runs this program may do what these bits of the mode say.
fn check_private(path: &Path, bits: u32) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let metadata = fs::metadata(path)?;
        if metadata.mode() & bits != 0 {
            let message = format!("{} may be used by others", path.display());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
        }
    }
    let _ = (path, bits);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::thread;

    use tempfile::TempDir;

    use super::*;

    const KEY: Key = [3; 32];

    fn stored() -> (TempDir, Disk) {
        let directory = tempfile::tempdir().unwrap();
        let disk = Disk::open(&directory.path().join("modules")).unwrap();
        disk.store(&KEY, b"needs", &[9; 5000]).unwrap();
        (directory, disk)
    }

    fn code(loaded: &Loaded) -> &[u8] {
        &loaded.map[..loaded.code]
    }

    fn names(disk: &Disk) -> Vec<String> {
        let entries = fs::read_dir(&disk.directory).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_was_stored_is_loaded_also_by_another_process() {
        let (_directory, disk) = stored();
        let again = Disk::open(&disk.directory).unwrap();
        for disk in [&disk, &again] {
            let loaded = disk.load(&KEY).unwrap();
            assert_eq!(loaded.needs(), b"needs");
            assert_eq!(code(&loaded), [9; 5000]);
        }
        assert!(disk.load(&[4; 32]).is_none());
        assert_eq!(names(&disk).len(), 2);
    }

    #[test]
    fn a_file_with_any_bit_flipped_is_not_loaded_and_can_be_stored_anew() {
        let (_directory, disk) = stored();
        let path = disk.path(&KEY);
        let whole = fs::read(&path).unwrap();
        let end = whole.len() - TRAILER_BYTES - 50;
        for place in (0..end).step_by(97).chain(end..whole.len()) {
            let mut changed = whole.clone();
            changed[place] ^= 1 << (place % 8);
            fs::write(&path, changed).unwrap();
            assert!(disk.load(&KEY).is_none(), "byte {place}");
        }
        disk.store(&KEY, b"needs", &[9; 5000]).unwrap();
        assert!(disk.load(&KEY).is_some());
    }

    #[test]
    fn a_file_of_any_other_length_is_not_loaded() {
        let (_directory, disk) = stored();
        let path = disk.path(&KEY);
        let whole = fs::read(&path).unwrap();
        for length in (0..TRAILER_BYTES + 20).chain([whole.len() - 1]) {
            fs::write(&path, &whole[..length]).unwrap();
            assert!(disk.load(&KEY).is_none(), "{length} bytes");
        }
        fs::write(&path, [whole.as_slice(), b"x"].concat()).unwrap();
        assert!(disk.load(&KEY).is_none());
    }

    #[test]
    fn a_file_of_another_key_or_another_directory_is_not_loaded() {
        let (_directory, disk) = stored();
        let (_other_directory, other) = stored();
        fs::copy(disk.path(&KEY), disk.path(&[4; 32])).unwrap();
        assert!(disk.load(&[4; 32]).is_none());
        fs::copy(other.path(&KEY), disk.path(&KEY)).unwrap();
        assert!(disk.load(&KEY).is_none());
    }

    #[test]
    fn threads_that_write_the_same_file_at_once_leave_it_whole() {
        let (_directory, disk) = stored();
        let again = Disk::open(&disk.directory).unwrap();
        thread::scope(|scope| {
            for disk in [&disk, &again] {
                scope.spawn(|| {
                    for _ in 0..50 {
                        disk.store(&KEY, b"needs", &[9; 5000]).unwrap();
                    }
                });
                scope.spawn(|| {
                    for _ in 0..500 {
                        assert_eq!(code(&disk.load(&KEY).unwrap()), [9; 5000]);
                    }
                });
            }
        });
        assert_eq!(names(&disk).len(), 2);
    }

    #[test]
    fn processes_that_open_a_new_directory_at_once_agree_on_its_secret() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("modules");
        let secrets: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| Disk::open(&path).unwrap().secret)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(secrets.iter().all(|secret| *secret == secrets[0]));
        assert_ne!(secrets[0], [0; SECRET_BYTES]);
        assert_eq!(fs::read_dir(&path).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_secret_is_made_anew_and_old_files_count_no_more() {
        let (_directory, disk) = stored();
        let secret = disk.directory.join(SECRET);
        let whole = fs::read(&secret).unwrap();
        fs::write(&secret, &whole[..31]).unwrap();
        let again = Disk::open(&disk.directory).unwrap();
        assert_ne!(again.secret, disk.secret);
        assert!(again.load(&KEY).is_none());
    }

    #[cfg(unix)]
    #[test]
    fn a_directory_or_a_secret_that_others_may_use_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let (_directory, disk) = stored();
        let secret = disk.directory.join(SECRET);
        for (path, open, closed) in [(&secret, 0o644, 0o600), (&disk.directory, 0o770, 0o700)] {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, closed);
            fs::set_permissions(path, fs::Permissions::from_mode(open)).unwrap();
            let refused = Disk::open(&disk.directory).err().unwrap();
            assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
            fs::set_permissions(path, fs::Permissions::from_mode(closed)).unwrap();
        }
        assert!(Disk::open(&disk.directory).is_ok());
    }

    #[test]
    fn the_files_used_longest_ago_are_swept_away_and_abandoned_ones() {
        let (_directory, disk) = stored();
        let hour = Duration::from_secs(3601);
        for (number, age) in [(10, 30), (11, 10), (12, 20)] {
            disk.store(&[number; 32], b"", &[1; 1000]).unwrap();
            let file = File::options().write(true).open(disk.path(&[number; 32])).unwrap();
            file.set_modified(SystemTime::now() - hour * age).unwrap();
        }
        let abandoned = disk.directory.join("module-1-1.incomplete");
        fs::write(&abandoned, b"x").unwrap();
        File::options().write(true).open(&abandoned).unwrap().set_modified(SystemTime::now() - hour).unwrap();
        fs::write(disk.directory.join("module-1-2.incomplete"), b"x").unwrap();
        // A use makes it young again.
        assert!(disk.load(&[10; 32]).is_some());
        disk.sweep(2 * 1200 + 5200).unwrap();
        assert!(!abandoned.exists());
        assert!(disk.load(&[12; 32]).is_none());
        for number in [3, 10, 11] {
            assert!(disk.load(&[number; 32]).is_some(), "{number}");
        }
        assert_eq!(names(&disk).len(), 5);
    }
}
