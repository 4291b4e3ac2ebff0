//! What is known of a file that is not whole yet, kept beside it: which bytes are here, and of which file they are.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use ureq::http::{
    HeaderMap,
    header::{ETAG, LAST_MODIFIED},
};

use crate::{HubError, client::text, ranges::Ranges};

/// A record is some hundred bytes; what is larger is none.
const MAXIMUM_RECORD_BYTES: u64 = 1 << 20;

/// What makes two answers parts of one file (RFC 9110, section 8.8).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Validator {
    etag: Option<String>,
    last_modified: Option<String>,
}

impl Validator {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let header = |name| text(headers, name).map(str::to_owned);
        Self { etag: header(&ETAG), last_modified: header(&LAST_MODIFIED) }
    }

    /// What `If-Range` takes: a strong entity tag, or else the date.
    pub(crate) fn condition(&self) -> Option<&str> {
        let strong = self.etag.as_deref().filter(|etag| etag.starts_with('"'));
        strong.or(self.last_modified.as_deref())
    }

    /// Whether both may be of the same file, by the best that both tell.
    pub(crate) fn agrees_with(&self, other: &Self) -> bool {
        match (&self.etag, &other.etag) {
            (Some(own), Some(others)) => own == others,
            _ => match (&self.last_modified, &other.last_modified) {
                (Some(own), Some(others)) => own == others,
                _ => true,
            },
        }
    }
}

/// What is known of a partial file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    /// Where it comes from.
    pub(crate) address: String,
    /// Its length.
    pub(crate) total: u64,
    pub(crate) validator: Validator,
    /// The bytes that are on the disk.
    pub(crate) done: Ranges,
}

impl Record {
    /// The record of a partial file, if it can be one and that file has the bytes.
    pub(crate) fn load(part: &Path) -> Option<Self> {
        let mut text = String::new();
        let file = fs::File::open(path(part)).ok()?;
        file.take(MAXIMUM_RECORD_BYTES).read_to_string(&mut text).ok()?;
        let record: Self = serde_json::from_str(&text).ok()?;
        let length = fs::metadata(part).ok()?.len();
        (record.done.is_valid(record.total) && record.done.end() <= length).then_some(record)
    }

    /// Keeps it beside the partial file, whole or not at all.
    pub(crate) fn save(&self, part: &Path) -> Result<(), HubError> {
        let path = path(part);
        write_whole(&path, &serde_json::to_vec(self).unwrap_or_default())
    }

    /// Forgets it.
    pub(crate) fn remove(part: &Path) {
        let _ = fs::remove_file(path(part));
    }
}

fn path(part: &Path) -> PathBuf {
    let mut name = part.as_os_str().to_owned();
    name.push(".json");
    name.into()
}

/// Replaces a small file in one step.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), HubError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    fs::write(&new, bytes).map_err(HubError::file(&new, "written"))?;
    fs::rename(&new, path).map_err(HubError::file(path, "written"))
}
