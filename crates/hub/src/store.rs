//! The models on this machine: a folder with a folder for each.
//!
//! ```text
//! models/
//!   NAME/
//!     model.json            what the model is: only of a whole one
//!     weights.gguf          one file, or all files of a split model
//!     weights.gguf.part     a file that is not whole, and .part.json, what is known of it
//!     .lock                 held by whoever downloads
//! ```

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use etcetera::BaseStrategy;
use serde::{Deserialize, Serialize};

use crate::{HubError, record::write_whole, source::check_name};

/// The variable that names another folder for everything that is kept.
const HOME_VARIABLE: &str = "GLASSHOUSE_HOME";
/// The file that says what a model is.
const MANIFEST: &str = "model.json";
/// A manifest has some hundred bytes for each file.
const MAXIMUM_MANIFEST_BYTES: u64 = 1 << 20;
const LOCK: &str = ".lock";
const PART_EXTENSION: &str = "part";

/// What a stored model is, as `model.json` says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Where it came from, as [`crate::Source`] writes it.
    pub source: String,
    /// Its files, in order.
    pub files: Vec<StoredFile>,
}

/// One file of a stored model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredFile {
    /// Its name in the model's folder.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of what was downloaded, in hexadecimal.
    pub sha256: String,
    /// Whether that was known before and is the same.
    pub verified: bool,
}

/// A model in the store, whole or in part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredModel {
    /// Its name.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// What it is; `None` if it is not whole.
    pub manifest: Option<Manifest>,
    /// Bytes that its folder takes.
    pub bytes: u64,
}

impl StoredModel {
    /// The file to open: the first one, or `None` if the model is not whole.
    pub fn path(&self) -> Option<PathBuf> {
        let first = self.manifest.as_ref()?.files.first()?;
        Some(self.folder.join(&first.name))
    }

    /// Whether every file has a checksum that was known before the download.
    pub fn is_verified(&self) -> bool {
        self.manifest.as_ref().is_some_and(|manifest| manifest.files.iter().all(|file| file.verified))
    }
}

/// The folder of models. Nothing is created before something is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// The store in this folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The user's store: in the folder that `GLASSHOUSE_HOME` names, or else in the system's folder for data.
    ///
    /// # Errors
    /// [`HubError::NoFolder`].
    pub fn of_user() -> Result<Self, HubError> {
        let home = match env::var_os(HOME_VARIABLE).filter(|value| !value.is_empty()) {
            Some(home) => PathBuf::from(home),
            None => {
                let folders = etcetera::choose_base_strategy().map_err(|_| HubError::NoFolder)?;
                folders.data_dir().join("glasshouse")
            }
        };
        Ok(Self::new(home.join("models")))
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Every model, by name.
    ///
    /// # Errors
    /// [`HubError::File`] when the folder is there and cannot be read.
    pub fn list(&self) -> Result<Vec<StoredModel>, HubError> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(HubError::file(&self.folder, "read")(error)),
        };
        let mut models = Vec::new();
        for entry in entries {
            let entry = entry.map_err(HubError::file(&self.folder, "read"))?;
            let name = entry.file_name();
            // Other folders are somebody else's.
            if let Some(name) = name.to_str().filter(|name| check_name(name).is_ok())
                && let Some(model) = self.find(name)?
            {
                models.push(model);
            }
        }
        models.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(models)
    }

    /// The model of this name, whole or in part. What cannot be a name is none.
    ///
    /// # Errors
    /// [`HubError::File`] when it is there and cannot be read.
    pub fn find(&self, name: &str) -> Result<Option<StoredModel>, HubError> {
        if check_name(name).is_err() {
            return Ok(None);
        }
        let folder = self.folder.join(name);
        if !folder.is_dir() {
            return Ok(None);
        }
        let mut bytes = 0;
        for entry in fs::read_dir(&folder).map_err(HubError::file(&folder, "read"))? {
            let entry = entry.map_err(HubError::file(&folder, "read"))?;
            bytes += entry.metadata().map_err(HubError::file(entry.path(), "read"))?.len();
        }
        let manifest = read_manifest(&folder);
        Ok(Some(StoredModel { name: name.to_owned(), folder, manifest, bytes }))
    }

    /// Removes a model, whole or in part; says how many bytes that freed.
    ///
    /// # Errors
    /// [`HubError::Unknown`], [`HubError::Busy`] while it is downloaded, [`HubError::File`].
    pub fn remove(&self, name: &str) -> Result<u64, HubError> {
        let Some(model) = self.find(name)? else {
            return Err(HubError::Unknown { name: name.to_owned(), folder: self.folder.clone() });
        };
        drop(self.lock(name)?);
        fs::remove_dir_all(&model.folder).map_err(HubError::file(&model.folder, "removed"))?;
        Ok(model.bytes)
    }

    /// Makes the folder of a model and holds it, against others that download into it, until the file is dropped.
    pub(crate) fn lock(&self, name: &str) -> Result<fs::File, HubError> {
        check_name(name)?;
        let folder = self.folder.join(name);
        fs::create_dir_all(&folder).map_err(HubError::file(&folder, "created"))?;
        let path = folder.join(LOCK);
        let lock = fs::File::create(&path).map_err(HubError::file(&path, "created"))?;
        match lock.try_lock() {
            Ok(()) => Ok(lock),
            Err(fs::TryLockError::WouldBlock) => Err(HubError::Busy { path: folder }),
            Err(fs::TryLockError::Error(error)) => Err(HubError::file(&path, "locked")(error)),
        }
    }

    /// Removes the folder of a model if nothing has come of it. Whoever calls holds it.
    pub(crate) fn tidy(&self, name: &str) {
        let folder = self.folder.join(name);
        let Ok(entries) = fs::read_dir(&folder) else { return };
        let is_nothing = |entry: &fs::DirEntry| {
            let is_empty_part =
                Path::new(&entry.file_name()).extension().is_some_and(|of| of == PART_EXTENSION)
                    && entry.metadata().is_ok_and(|metadata| metadata.len() == 0);
            is_empty_part || entry.file_name() == LOCK
        };
        let Ok(entries) = entries.collect::<io::Result<Vec<_>>>() else { return };
        if entries.iter().all(is_nothing) {
            // If that fails, there is a folder too much.
            let _ = fs::remove_dir_all(&folder);
        }
    }

    /// Says that a model is whole.
    pub(crate) fn keep(&self, name: &str, manifest: &Manifest) -> Result<(), HubError> {
        let path = self.folder.join(name).join(MANIFEST);
        write_whole(&path, &serde_json::to_vec_pretty(manifest).unwrap_or_default())
    }
}

/// Where a file is until it is whole.
pub(crate) fn part_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(PART_EXTENSION);
    name.into()
}

/// The manifest of a whole model: all its files are there and have the length that it says.
fn read_manifest(folder: &Path) -> Option<Manifest> {
    let path = folder.join(MANIFEST);
    if fs::metadata(&path).ok()?.len() > MAXIMUM_MANIFEST_BYTES {
        return None;
    }
    let manifest: Manifest = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    let is_whole = |file: &StoredFile| {
        check_name(&file.name).is_ok()
            && fs::metadata(folder.join(&file.name)).is_ok_and(|found| found.len() == file.bytes)
    };
    (!manifest.files.is_empty() && manifest.files.iter().all(is_whole)).then_some(manifest)
}
