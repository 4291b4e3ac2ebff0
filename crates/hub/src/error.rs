//! The one error type of the crate.

use std::{io, path::PathBuf, time::Duration};

use ureq::http::Uri;

/// Why a model could not be got or kept. Every message names the thing, the reason and a way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// What was given as a source is none.
    #[error(
        "`{text}` is no source of a model: {problem}; give hf:OWNER/REPO[:QUANT], an http or https address, or a name that `glasshouse model list --available` shows"
    )]
    Source {
        /// What was given.
        text: String,
        /// Why it is none.
        problem: String,
    },
    /// A name that no model can have in the store.
    #[error("`{name}` cannot name a model: {problem}; choose another with --name")]
    Name {
        /// The name.
        name: String,
        /// Why not.
        problem: String,
    },
    /// The network is refused, and something would have to be asked there.
    #[error(
        "{address} cannot be asked: the network is turned off by --offline; leave it out, or give a model that is on this machine"
    )]
    Offline {
        /// What would have been asked.
        address: String,
    },
    /// Status 401.
    #[error("{address} wants to know who you are (401); set HF_TOKEN to a token of your account there{}", if *had_token { ", the one that is set is not accepted" } else { "" })]
    Unauthorized {
        /// What was asked.
        address: String,
        /// Whether a token was sent.
        had_token: bool,
    },
    /// Status 403.
    #[error(
        "{address} refuses access (403); accept the model's terms on its page, and set HF_TOKEN to a token of the account that did"
    )]
    Forbidden {
        /// What was asked.
        address: String,
    },
    /// Status 404.
    #[error(
        "there is nothing at {address} (404); check owner, repository and file, or set HF_TOKEN if it is private"
    )]
    NotFound {
        /// What was asked.
        address: String,
    },
    /// Status 429, after all patience.
    #[error("{address} is asked too often (429); wait some minutes, or set HF_TOKEN, which raises the limit")]
    TooManyRequests {
        /// What was asked.
        address: String,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
    /// Another status that is no success.
    #[error("{address} answers with status {status}; try again later, or another source")]
    Status {
        /// What was asked.
        address: String,
        /// The status.
        status: u16,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
    /// The connection failed, or broke off.
    #[error(
        "{address} cannot be read: {problem}; check the network and try again, what is here already stays"
    )]
    Network {
        /// What was asked.
        address: String,
        /// What happened.
        problem: String,
    },
    /// Redirected in circles, or to where one must not follow.
    #[error("{address} redirects {problem}; give the address of the file itself")]
    Redirect {
        /// What was asked.
        address: String,
        /// How.
        problem: &'static str,
    },
    /// The answer is not what it should be.
    #[error("{address} gives an answer that cannot be used: {problem}; try another source")]
    Answer {
        /// What was asked.
        address: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The file changed while it was read, again and again.
    #[error("the file at {address} changes while it is read; try again later")]
    Changing {
        /// What was asked.
        address: String,
    },
    /// The repository has no model that was asked for, or several.
    #[error("{repository} {problem}{}", listed(.choices))]
    Choice {
        /// The repository.
        repository: String,
        /// What is wrong.
        problem: String,
        /// What there is.
        choices: Vec<String>,
    },
    /// The file has another length than announced.
    #[error(
        "{file} has {found} bytes and not the {expected} that were announced; what came of it is removed, try again"
    )]
    Length {
        /// The file.
        file: String,
        /// Announced.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// The file has another checksum.
    #[error(
        "{file} has the SHA-256 {found} and not {expected}; what came of it is removed, try again or distrust the source"
    )]
    Checksum {
        /// The file.
        file: String,
        /// What it should be, in hexadecimal.
        expected: String,
        /// What it is.
        found: String,
    },
    /// A checksum was given that cannot be one, or for several files.
    #[error(
        "the checksum cannot be used: {problem}; give --sha256 the 64 hexadecimal digits of a model in one file"
    )]
    BadChecksum {
        /// Why.
        problem: String,
    },
    /// The file is no model.
    #[error("{file} is not a model file: {problem}; what came of it is removed, check the source")]
    NotAModel {
        /// The file.
        file: String,
        /// Why.
        problem: String,
    },
    /// The disk is too full.
    #[error("{needed} bytes do not fit on the disk of {}, which has {available} free; remove something (`glasshouse model rm NAME`), or choose another folder with --store", folder.display())]
    Space {
        /// The folder of the store.
        folder: PathBuf,
        /// Bytes that are missing yet.
        needed: u64,
        /// Bytes that are free.
        available: u64,
    },
    /// Somebody else downloads the same file.
    #[error("{} is being downloaded by another process; wait for it, or stop it", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// The store has another model of that name.
    #[error(
        "the store has a model named {name} from {source_text}; choose another name with --name, or remove that one with `glasshouse model rm {name}`"
    )]
    NameTaken {
        /// The name.
        name: String,
        /// Where that one is from.
        source_text: String,
    },
    /// No such model in the store.
    #[error("there is no model named {name} in {}; `glasshouse model list` shows what is there", folder.display())]
    Unknown {
        /// The name.
        name: String,
        /// The store.
        folder: PathBuf,
    },
    /// A file or folder cannot be used.
    #[error("{} cannot be {action}: {source}; check the path, its permissions and the disk", path.display())]
    File {
        /// The path.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The system names no folder for data.
    #[error(
        "this system names no folder for an application's data; choose one with --store or GLASSHOUSE_HOME"
    )]
    NoFolder,
    /// A person stopped it.
    #[error("the download was stopped; the same command goes on with it")]
    Stopped,
}

fn listed(choices: &[String]) -> String {
    choices.iter().map(|choice| format!("\n  {choice}")).collect()
}

impl HubError {
    /// A stable name of the error, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Source { .. } | Self::Name { .. } | Self::BadChecksum { .. } => "invalid_source",
            Self::Offline { .. } => "offline",
            Self::Unauthorized { .. } | Self::Forbidden { .. } => "access_denied",
            Self::NotFound { .. } | Self::Choice { .. } => "model_not_found",
            Self::TooManyRequests { .. } => "rate_limited",
            Self::Status { .. }
            | Self::Network { .. }
            | Self::Redirect { .. }
            | Self::Answer { .. }
            | Self::Changing { .. } => "network",
            Self::Length { .. } | Self::Checksum { .. } | Self::NotAModel { .. } => "damaged_download",
            Self::Space { .. } => "disk_full",
            Self::Busy { .. } | Self::NameTaken { .. } => "model_busy",
            Self::Unknown { .. } => "unknown_model",
            Self::File { .. } | Self::NoFolder => "model_store",
            Self::Stopped => "stopped",
        }
    }

    /// Whether the same request may succeed a little later.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Network { .. } | Self::TooManyRequests { .. } => true,
            Self::Status { status, .. } => matches!(status, 408 | 500 | 502..=504),
            _ => false,
        }
    }

    /// How long the server asks to wait before the next try.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooManyRequests { retry_after, .. } | Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Wraps what the system said about a path.
    pub(crate) fn file(path: impl Into<PathBuf>, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, action, source }
    }
}

/// An address as it may be shown: without a user, a password or a query, which may hold a signature.
pub(crate) fn shown(address: &str) -> String {
    let Ok(uri) = address.parse::<Uri>() else { return address.to_owned() };
    match (uri.scheme_str(), uri.host()) {
        (Some(scheme), Some(host)) => {
            let port = uri.port().map(|port| format!(":{port}")).unwrap_or_default();
            format!("{scheme}://{host}{port}{}", uri.path())
        }
        _ => address.to_owned(),
    }
}
