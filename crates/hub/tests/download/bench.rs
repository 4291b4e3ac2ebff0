//! A hub, a store, and what was told; and the files that they are tried with.

use std::{fs, path::Path, sync::Mutex, time::Duration};

use glasshouse_hub::{Event, Hub, HubError, HubOptions, Patience, Plan, Pulled, Source, Store, Timeouts};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::server::{Reply, Server};

/// Bytes of one range in these tests.
pub const PIECE: u64 = 1000;

/// A model as far as a download is concerned.
pub fn content(bytes: usize) -> Vec<u8> {
    let noise = (0..bytes as u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8);
    b"GGUF".iter().copied().chain(noise).take(bytes).collect()
}

/// Their SHA-256, in hexadecimal.
pub fn digits(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Short patience.
pub fn options() -> HubOptions {
    HubOptions {
        piece_bytes: PIECE,
        timeouts: Timeouts {
            connect: Duration::from_secs(5),
            response: Duration::from_secs(5),
            stall: Duration::from_millis(300),
            least_bytes: 64,
        },
        patience: Patience {
            tries: 4,
            first_delay: Duration::from_millis(1),
            longest_delay: Duration::from_millis(20),
        },
        ..HubOptions::default()
    }
}

/// A hub, a store, and what was told.
pub struct Bench {
    pub directory: TempDir,
    pub hub: Hub,
    told: Mutex<Vec<String>>,
}

impl Bench {
    pub fn new(options: HubOptions) -> Self {
        Self { directory: TempDir::new().unwrap(), hub: Hub::new(options), told: Mutex::default() }
    }

    pub fn store(&self) -> Store {
        Store::new(self.directory.path().join("models"))
    }

    pub fn plan(&self, source: &str, sha256: Option<&str>) -> Result<Plan, HubError> {
        self.hub.plan(&source.parse::<Source>()?, None, sha256)
    }

    pub fn pull(&self, source: &str, sha256: Option<&str>) -> Result<Pulled, HubError> {
        let plan = self.plan(source, sha256)?;
        self.hub.pull(&plan, &self.store(), &|_| Ok(()), &|event| {
            let said = match event {
                Event::Bytes { .. } => return,
                Event::Waiting { problem, .. } => format!("waiting: {problem}"),
                Event::Restarted { .. } => "restarted".to_owned(),
                Event::Checking { .. } => "checking".to_owned(),
                Event::Finished { verified, .. } => format!("finished: {verified}"),
            };
            self.told.lock().unwrap().push(said);
        })
    }

    pub fn told(&self, what: &str) -> usize {
        self.told.lock().unwrap().iter().filter(|said| said.starts_with(what)).count()
    }

    /// The same store, on the way to another hub.
    pub fn again(self, options: HubOptions) -> Self {
        Self { hub: Hub::new(options), told: Mutex::default(), ..self }
    }

    pub fn file(&self, name: &str) -> std::path::PathBuf {
        self.store().folder().join(name)
    }
}

pub fn bytes_of(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap()
}

/// The whole bytes of a model that was got.
pub fn got(pulled: &Pulled) -> Vec<u8> {
    bytes_of(&pulled.model.path().unwrap())
}

/// A server of one file that knows ranges.
pub fn ranges(content: &[u8]) -> Server {
    let content = content.to_vec();
    Server::start(move |request| Reply::file(request, &content, "\"one\""))
}
