//! From a source to a model in the store.
//!
//! - [`Hub`]: [`Hub::plan`] finds out which files a source is, [`Hub::pull`] gets them.
//! - [`Event`]: what is told meanwhile.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use sha2::{Digest, Sha256};

use crate::{
    HubError, HubOptions, Manifest, Source, Stop, Store, StoredFile, StoredModel,
    client::{Client, MAXIMUM_CONNECTIONS},
    record::Record,
    repository::{self, file_name, split_parts},
    source::check_name,
    store::part_of,
    transfer::{Step, Transfer},
};

/// What every GGUF file begins with.
const MAGIC: &[u8; 4] = b"GGUF";
/// Hexadecimal digits of a SHA-256.
const CHECKSUM_DIGITS: usize = 64;
/// Files that a model may be split into: the largest published ones have some dozens.
const MAXIMUM_FILES: usize = 1000;

/// A file to get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedFile {
    /// Its name in the model's folder.
    pub name: String,
    /// Where it is.
    pub address: String,
    /// Its length, if it is known.
    pub bytes: Option<u64>,
    /// Its SHA-256 in hexadecimal, if it is known.
    pub sha256: Option<String>,
}

/// Which files a source is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What the model is called in the store.
    pub name: String,
    /// The source.
    pub source: String,
    /// Its files, in order.
    pub files: Vec<PlannedFile>,
}

/// What is told while a model is got; `file` is a name in the model's folder.
#[derive(Debug)]
pub enum Event<'e> {
    /// So many bytes of a file are here, of so many if that is known. Told often.
    Bytes {
        /// The file.
        file: &'e str,
        /// Bytes that are here.
        done: u64,
        /// Bytes of the whole file.
        total: Option<u64>,
    },
    /// Something failed, and is tried again after a wait.
    Waiting {
        /// The file.
        file: &'e str,
        /// What failed.
        problem: &'e HubError,
        /// The wait.
        delay: Duration,
    },
    /// The file at its source is another one than before: it begins anew.
    Restarted {
        /// The file.
        file: &'e str,
    },
    /// All bytes are here; their checksum is computed.
    Checking {
        /// The file.
        file: &'e str,
    },
    /// The file is whole.
    Finished {
        /// The file.
        file: &'e str,
        /// Its SHA-256.
        sha256: &'e str,
        /// Whether that was known before.
        verified: bool,
    },
}

/// What [`Hub::pull`] came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// The model.
    pub model: StoredModel,
    /// Whether nothing had to be got.
    pub was_there: bool,
}

/// Gets models.
pub struct Hub {
    client: Client,
}

impl Hub {
    /// A hub that is reached so.
    pub fn new(options: HubOptions) -> Self {
        Self { client: Client::new(options) }
    }

    /// Stops everything that this hub does, from another thread.
    pub fn stop(&self) -> Stop {
        self.client.stop.clone()
    }

    /// The model in the store that came from this source, if it is whole: nothing is asked for it.
    ///
    /// # Errors
    /// [`HubError::File`] when the store cannot be read.
    pub fn stored(
        &self,
        source: &Source,
        name: Option<&str>,
        store: &Store,
    ) -> Result<Option<StoredModel>, HubError> {
        let source = source.to_string();
        Ok(store.list()?.into_iter().find(|model| {
            name.is_none_or(|name| model.name == name)
                && model.manifest.as_ref().is_some_and(|manifest| manifest.source == source)
        }))
    }

    /// Finds out which files a source is; a repository is asked for its list. `name` is what the model is to be called,
    /// `sha256` its checksum, where they are given.
    ///
    /// # Errors
    /// [`HubError`] when the source has no such model, or cannot be asked.
    pub fn plan(&self, source: &Source, name: Option<&str>, sha256: Option<&str>) -> Result<Plan, HubError> {
        let given = sha256.map(checksum).transpose()?;
        let (own_name, mut files) = match source {
            Source::Address(address) => address_file(address)?,
            Source::Repository { owner, repository, quantization } => {
                self.repository_files(owner, repository, quantization.as_deref())?
            }
            Source::Registered(entry) => {
                let (_, mut files) =
                    self.repository_files(entry.owner, entry.repository, Some(entry.file))?;
                if let (Some(registered), [file]) = (entry.sha256, files.as_mut_slice()) {
                    file.sha256 = Some(registered.to_owned());
                }
                (entry.name.to_owned(), files)
            }
        };
        if let Some(given) = given {
            match files.as_mut_slice() {
                [file] => file.sha256 = Some(given),
                several => {
                    return Err(HubError::BadChecksum {
                        problem: format!("the model has {} files", several.len()),
                    });
                }
            }
        }
        let name = name.map_or(own_name, str::to_owned);
        check_name(&name)?;
        Ok(Plan { name, source: source.to_string(), files })
    }

    fn repository_files(
        &self,
        owner: &str,
        repository: &str,
        quantization: Option<&str>,
    ) -> Result<(String, Vec<PlannedFile>), HubError> {
        let files = repository::list(&self.client, owner, repository)?;
        let described = format!("{owner}/{repository}");
        let chosen = repository::choose(&files, &described, quantization)?;
        let planned = chosen.files.iter().map(|file| {
            let name = file_name(&file.path);
            check_name(name)?;
            Ok(PlannedFile {
                name: name.to_owned(),
                address: repository::address(&self.client.options.endpoint, owner, repository, &file.path),
                bytes: Some(file.bytes()),
                sha256: file.sha256().map(checksum).transpose()?,
            })
        });
        let planned: Vec<PlannedFile> = planned.collect::<Result<_, HubError>>()?;
        if planned.len() > MAXIMUM_FILES {
            return Err(HubError::Choice {
                repository: described,
                problem: format!(
                    "has a model of {} files, more than {MAXIMUM_FILES}; choose another",
                    planned.len()
                ),
                choices: Vec::new(),
            });
        }
        Ok((repository_model_name(repository, chosen.stem()), planned))
    }

    /// Gets the files of a plan into the store. What is there already of them is not got again. `inspect` looks at the first
    /// file once all are whole, and may say what is wrong with it; `tell` is called from several threads.
    ///
    /// # Errors
    /// [`HubError`]. What came until then stays, unless it is known to be wrong, and the next pull goes on with it.
    pub fn pull(
        &self,
        plan: &Plan,
        store: &Store,
        inspect: &dyn Fn(&Path) -> Result<(), String>,
        tell: &(dyn Fn(Event<'_>) + Sync),
    ) -> Result<Pulled, HubError> {
        if let Some(model) = store.find(&plan.name)?
            && let Some(manifest) = &model.manifest
        {
            if manifest.source == plan.source {
                return Ok(Pulled { model, was_there: true });
            }
            return Err(HubError::NameTaken {
                name: plan.name.clone(),
                source_text: manifest.source.clone(),
            });
        }
        // Before anything is created.
        plan.files.iter().try_for_each(|file| self.client.check_online(&file.address))?;
        let _held = store.lock(&plan.name)?;
        let folder = store.folder().join(&plan.name);
        // What brought nothing leaves nothing behind.
        let files = self.sound_files(plan, &folder, inspect, tell).inspect_err(|_| store.tidy(&plan.name))?;
        store.keep(&plan.name, &Manifest { source: plan.source.clone(), files })?;
        match store.find(&plan.name)? {
            Some(model) => Ok(Pulled { model, was_there: false }),
            None => Err(HubError::Unknown { name: plan.name.clone(), folder }),
        }
    }

    /// Gets all files and has them looked at.
    fn sound_files(
        &self,
        plan: &Plan,
        folder: &Path,
        inspect: &dyn Fn(&Path) -> Result<(), String>,
        tell: &(dyn Fn(Event<'_>) + Sync),
    ) -> Result<Vec<StoredFile>, HubError> {
        let files = self.files(plan, folder, tell)?;
        if let Some(first) = files.first()
            && let Err(problem) = inspect(&folder.join(&first.name))
        {
            for file in &files {
                let _ = fs::remove_file(folder.join(&file.name));
            }
            return Err(HubError::NotAModel { file: first.name.clone(), problem });
        }
        Ok(files)
    }

    /// Gets all files, several at a time.
    fn files(
        &self,
        plan: &Plan,
        folder: &Path,
        tell: &(dyn Fn(Event<'_>) + Sync),
    ) -> Result<Vec<StoredFile>, HubError> {
        let connections = self.client.options.connections.clamp(1, MAXIMUM_CONNECTIONS);
        let at_once = connections.min(plan.files.len()).max(1);
        let next = AtomicUsize::new(0);
        let outcomes = Mutex::new(plan.files.iter().map(|_| None).collect::<Vec<_>>());
        thread::scope(|scope| {
            for _ in 0..at_once {
                scope.spawn(|| {
                    while let Some((index, file)) = Some(next.fetch_add(1, Ordering::Relaxed))
                        .and_then(|index| Some((index, plan.files.get(index)?)))
                    {
                        let outcome = self.file(file, folder, connections / at_once, tell);
                        if outcome.is_err() {
                            // The others finish what they are at, so that it is not lost, and begin no more.
                            next.store(plan.files.len(), Ordering::Relaxed);
                        }
                        outcomes.lock().unwrap_or_else(PoisonError::into_inner)[index] = Some(outcome);
                    }
                });
            }
        });
        let outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
        // A file that nobody began stands behind the failure that is the reason.
        let (failed, got): (Vec<_>, Vec<_>) = outcomes
            .into_iter()
            .flatten()
            .partition(|outcome: &Result<StoredFile, HubError>| outcome.is_err());
        match failed.into_iter().next() {
            Some(failure) => failure.map(|_| Vec::new()),
            None => got.into_iter().collect(),
        }
    }

    /// Gets one file, checks it, and gives it its name.
    fn file(
        &self,
        planned: &PlannedFile,
        folder: &Path,
        connections: usize,
        tell: &(dyn Fn(Event<'_>) + Sync),
    ) -> Result<StoredFile, HubError> {
        let name = planned.name.as_str();
        let path = folder.join(name);
        let part = part_of(&path);
        if let Ok(metadata) = fs::metadata(&path)
            && planned.bytes.is_none_or(|bytes| bytes == metadata.len())
        {
            // Whole since an earlier pull, of which another file failed.
            tell(Event::Checking { file: name });
            if let Ok(file) = self.checked(planned, &path) {
                return Ok(file);
            }
        }
        let file = File::options().create(true).truncate(false).read(true).write(true).open(&part);
        let file = file.map_err(HubError::file(&part, "created"))?;
        let length = Transfer {
            client: &self.client,
            address: &planned.address,
            announced: planned.bytes,
            is_checked: planned.sha256.is_some(),
            part: &part,
            connections,
            tell: &|step| {
                tell(match step {
                    Step::Bytes { done, total } => Event::Bytes { file: name, done, total },
                    Step::Waiting { problem, delay } => Event::Waiting { file: name, problem, delay },
                    Step::Restarted => Event::Restarted { file: name },
                });
            },
        }
        .run(&file)?;
        file.set_len(length).and_then(|()| file.sync_all()).map_err(HubError::file(&part, "written"))?;
        tell(Event::Checking { file: name });
        let checked = self.checked(planned, &part).inspect_err(|error| {
            if !matches!(error, HubError::Stopped | HubError::File { .. }) {
                let _ = fs::remove_file(&part);
                Record::remove(&part);
            }
        })?;
        fs::rename(&part, &path).map_err(HubError::file(&path, "written"))?;
        Record::remove(&part);
        tell(Event::Finished { file: name, sha256: &checked.sha256, verified: checked.verified });
        Ok(checked)
    }

    /// Holds a whole file against what is known of it.
    fn checked(&self, planned: &PlannedFile, path: &Path) -> Result<StoredFile, HubError> {
        let failed = || HubError::file(path, "read");
        let mut file = File::open(path).map_err(failed())?;
        let mut hasher = Sha256::new();
        let mut chunk = vec![0; 1 << 20];
        let (mut bytes, mut begins) = (0, false);
        loop {
            self.client.check_stop()?;
            let read = match file.read(&mut chunk) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(failed()(error)),
            };
            if bytes == 0 {
                begins = chunk[..read].starts_with(MAGIC);
            }
            hasher.update(&chunk[..read]);
            bytes += read as u64;
        }
        let name = planned.name.clone();
        if let Some(expected) = planned.bytes.filter(|expected| *expected != bytes) {
            return Err(HubError::Length { file: name, expected, found: bytes });
        }
        let found = hexadecimal(&hasher.finalize());
        if let Some(expected) = planned.sha256.as_ref().filter(|expected| **expected != found) {
            return Err(HubError::Checksum { file: name, expected: expected.clone(), found });
        }
        if !begins {
            return Err(HubError::NotAModel {
                file: name,
                problem: "it does not begin with GGUF".to_owned(),
            });
        }
        Ok(StoredFile { name, bytes, sha256: found, verified: planned.sha256.is_some() })
    }
}

/// The name of the model and the file at an address.
fn address_file(address: &str) -> Result<(String, Vec<PlannedFile>), HubError> {
    let path = address.split(['?', '#']).next().unwrap_or(address);
    let name = file_name(path);
    let fail = |problem: &str| Err(HubError::Source { text: path.to_owned(), problem: problem.to_owned() });
    let Some(stem) = name.strip_suffix(".gguf").filter(|_| check_name(name).is_ok()) else {
        return fail("the address does not end in the name of a .gguf file");
    };
    let Some((prefix, _, of)) = split_parts(stem) else {
        let file =
            PlannedFile { name: name.to_owned(), address: address.to_owned(), bytes: None, sha256: None };
        return Ok((stem.to_owned(), vec![file]));
    };
    if of == 0 || of > MAXIMUM_FILES {
        return fail("no model has so many files");
    }
    // All files of a split model are beside one another.
    let (beside, query) = (&path[..path.len() - name.len()], &address[path.len()..]);
    let files = (1..=of).map(|number| {
        let name = format!("{prefix}-{number:05}-of-{of:05}.gguf");
        PlannedFile { address: format!("{beside}{name}{query}"), name, bytes: None, sha256: None }
    });
    Ok((prefix.to_owned(), files.collect()))
}

/// What a repository's model is called: as its file, unless that is named like any other.
fn repository_model_name(repository: &str, stem: &str) -> String {
    let stem = file_name(stem);
    let is_generic =
        ["ggml-model", "model"].iter().any(|generic| stem.to_ascii_lowercase().starts_with(generic));
    if is_generic { format!("{repository}-{stem}") } else { stem.to_owned() }
}

/// A checksum as it is compared: 64 small hexadecimal digits.
fn checksum(text: &str) -> Result<String, HubError> {
    let text = text.trim();
    if text.len() == CHECKSUM_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(text.to_ascii_lowercase());
    }
    Err(HubError::BadChecksum {
        problem: format!("it has {} characters, or others than digits and a to f", text.len()),
    })
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_one_file_of_a_split_model_means_all_of_them() {
        let (name, files) = address_file("https://h/d/big-00002-of-00003.gguf?key=1").unwrap();
        assert_eq!(name, "big");
        let addresses: Vec<_> = files.iter().map(|file| file.address.as_str()).collect();
        assert_eq!(addresses[0], "https://h/d/big-00001-of-00003.gguf?key=1");
        assert_eq!(addresses.len(), 3);
        let (name, files) = address_file("https://h/m.gguf").unwrap();
        assert_eq!((name.as_str(), files.len()), ("m", 1));
        for wrong in [
            "https://h/",
            "https://h/m.bin",
            "https://h/.gguf",
            "https://h/a%2fb.gguf",
            "https://h/m-00001-of-99999.gguf",
        ] {
            assert!(address_file(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_model_is_named_as_its_file_unless_that_is_named_like_any_other() {
        assert_eq!(repository_model_name("Llama-GGUF", "sub/Llama-Q4_K_M"), "Llama-Q4_K_M");
        assert_eq!(repository_model_name("bitnet-gguf", "ggml-model-i2_s"), "bitnet-gguf-ggml-model-i2_s");
    }

    #[test]
    fn a_checksum_has_64_hexadecimal_digits() {
        assert_eq!(checksum(&"AB".repeat(32)).unwrap(), "ab".repeat(32));
        for wrong in ["", "ab", &"g".repeat(64), &"a".repeat(65)] {
            assert!(checksum(wrong).is_err());
        }
    }
}
