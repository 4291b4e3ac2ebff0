//! Where a model comes from, as a person writes it.

use std::{fmt, str::FromStr};

use ureq::http::Uri;

use crate::{HubError, registry};

/// The longest source; longer is a mistake.
const MAXIMUM_SOURCE_BYTES: usize = 4096;

/// The longest name of a model or of a file: what every file system takes, with `.part.json.new` behind it.
const MAXIMUM_NAME_BYTES: usize = 200;

/// Where a model comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A repository of the hub, `hf:OWNER/REPO[:QUANT]`.
    Repository {
        /// Whose it is.
        owner: String,
        /// Its name.
        repository: String,
        /// The quantization, or a whole file name; `None` takes the default.
        quantization: Option<String>,
    },
    /// A file at an `http` or `https` address.
    Address(String),
    /// A model of the [`registry`].
    Registered(&'static registry::Entry),
}

impl FromStr for Source {
    type Err = HubError;

    fn from_str(text: &str) -> Result<Self, HubError> {
        let fail = |problem: &str| {
            Err(HubError::Source { text: text.chars().take(100).collect(), problem: problem.to_owned() })
        };
        if text.len() > MAXIMUM_SOURCE_BYTES {
            return fail("it is too long");
        }
        if let Some(rest) = text.strip_prefix("hf:") {
            let (path, quantization) = match rest.split_once(':') {
                Some((path, quantization)) => (path, Some(quantization)),
                None => (rest, None),
            };
            let Some((owner, repository)) = path.split_once('/') else {
                return fail("behind hf: there is no OWNER/REPO");
            };
            if check_name(owner).is_err() || check_name(repository).is_err() {
                return fail("owner and repository are letters, digits, `.`, `_` and `-`");
            }
            if quantization == Some("") {
                return fail("there is no quantization behind its colon");
            }
            return Ok(Self::Repository {
                owner: owner.to_owned(),
                repository: repository.to_owned(),
                quantization: quantization.map(str::to_owned),
            });
        }
        if text.contains("://") {
            return match text.parse::<Uri>() {
                Ok(uri) if !matches!(uri.scheme_str(), Some("http" | "https")) => {
                    fail("only http and https addresses can be read")
                }
                Ok(uri) if uri.host().is_none_or(str::is_empty) => fail("the address has no host"),
                Ok(_) => Ok(Self::Address(text.to_owned())),
                Err(error) => fail(&error.to_string()),
            };
        }
        match registry::find(text) {
            Some(entry) => Ok(Self::Registered(entry)),
            None => fail("no model of that name is registered"),
        }
    }
}

impl fmt::Display for Source {
    /// As it is written, so that it can be compared with where a stored model came from.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repository { owner, repository, quantization } => {
                write!(f, "hf:{owner}/{repository}")?;
                quantization.iter().try_for_each(|quantization| write!(f, ":{quantization}"))
            }
            // What stands behind `?` may be a signature, and is no part of what the file is.
            Self::Address(address) => f.write_str(address.split(['?', '#']).next().unwrap_or(address)),
            Self::Registered(entry) => f.write_str(entry.name),
        }
    }
}

/// Whether a model, an owner or a repository can be named so: one component of a path on any system.
///
/// # Errors
/// [`HubError::Name`].
pub fn check_name(name: &str) -> Result<(), HubError> {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "._-".contains(character);
    let problem = if name.is_empty() {
        "it is empty"
    } else if name.len() > MAXIMUM_NAME_BYTES {
        "it is too long"
    } else if !name.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        "it begins with something else than a letter or digit"
    } else if !name.chars().all(is_plain) {
        "it has something else than letters, digits, `.`, `_` and `-`"
    } else if name.ends_with('.') {
        "it ends in a dot"
    } else {
        return Ok(());
    };
    Err(HubError::Name { name: name.chars().take(100).collect(), problem: problem.to_owned() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_source_is_a_repository_an_address_or_a_registered_name() {
        let parse = |text: &str| text.parse::<Source>();
        assert_eq!(
            parse("hf:Owner/Some-Model.v2_GGUF:Q4_K_M").unwrap(),
            Source::Repository {
                owner: "Owner".into(),
                repository: "Some-Model.v2_GGUF".into(),
                quantization: Some("Q4_K_M".into()),
            }
        );
        assert_eq!(parse("hf:a/b").unwrap().to_string(), "hf:a/b");
        let address = parse("https://example.org/m.gguf?signature=secret").unwrap();
        assert_eq!(address.to_string(), "https://example.org/m.gguf");
        assert!(matches!(parse("bitnet-2b").unwrap(), Source::Registered(_)));
        for wrong in [
            "",
            "hf:",
            "hf:a",
            "hf:a/",
            "hf:/b",
            "hf:a/b/c",
            "hf:a/b:",
            "hf:../b",
            "ftp://example.org/m",
            "http://",
            "nothing",
        ] {
            let message = parse(wrong).unwrap_err().to_string();
            assert!(
                message.contains("is no source") && message.contains("hf:OWNER/REPO"),
                "{wrong}: {message}"
            );
        }
    }

    #[test]
    fn no_name_leads_out_of_the_store() {
        for wrong in
            ["", ".", "..", ".hidden", "a/b", "a\\b", "c:", "a\0", "a b", "é", "-rf", "a.", &"a".repeat(300)]
        {
            assert!(check_name(wrong).is_err(), "{wrong}");
        }
        assert!(check_name("Llama-3.2-1B_Instruct.Q4_0").is_ok());
    }

    proptest! {
        #[test]
        fn what_is_parsed_is_written_as_it_was(text in "(hf:)?[a-zA-Z0-9./:_-]{0,40}") {
            if let Ok(source) = text.parse::<Source>() {
                prop_assert_eq!(source.to_string(), text);
            }
        }
    }
}
