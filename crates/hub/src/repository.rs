//! The files of a repository of the hub, and which of them make the model that was asked for.

use serde::Deserialize;
use ureq::http::header::LINK;

use crate::{
    HubError,
    client::{Client, text},
    error::shown,
};

/// A page of a listing has at most some thousand files.
const MAXIMUM_LISTING_BYTES: u64 = 8 << 20;
/// Pages of a listing; repositories of models have one.
const MAXIMUM_PAGES: usize = 20;

/// What is taken where no quantization is asked for: small, and close to the full model.
const DEFAULT_QUANTIZATION: &str = "Q4_K_M";

/// A file of a repository, or a folder.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct RepositoryFile {
    /// Relative to the repository.
    pub(crate) path: String,
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    lfs: Option<LargeFile>,
}

/// What the hub knows of a large file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct LargeFile {
    /// SHA-256 of its content, in hexadecimal.
    oid: String,
    size: Option<u64>,
}

impl RepositoryFile {
    /// Its length in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.lfs.as_ref().and_then(|lfs| lfs.size).unwrap_or(self.size)
    }

    /// SHA-256 of its content, in hexadecimal, if the hub tells.
    pub(crate) fn sha256(&self) -> Option<&str> {
        self.lfs.as_ref().map(|lfs| lfs.oid.trim_start_matches("sha256:"))
    }
}

/// The address of a file.
pub(crate) fn address(endpoint: &str, owner: &str, repository: &str, path: &str) -> String {
    let mut address = format!("{endpoint}/{owner}/{repository}/resolve/main");
    for component in path.split('/') {
        address.push('/');
        for byte in component.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                address.push(char::from(byte));
            } else {
                address.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    address
}

/// All files of a repository.
pub(crate) fn list(client: &Client, owner: &str, repository: &str) -> Result<Vec<RepositoryFile>, HubError> {
    let endpoint = &client.options.endpoint;
    let mut address = format!("{endpoint}/api/models/{owner}/{repository}/tree/main?recursive=true");
    let mut files = Vec::new();
    for _ in 0..MAXIMUM_PAGES {
        let (page, headers) = client.get_text(&address, MAXIMUM_LISTING_BYTES)?;
        let page: Vec<RepositoryFile> = serde_json::from_str(&page).map_err(|error| HubError::Answer {
            address: shown(&address),
            problem: format!("it is no list of files ({error})"),
        })?;
        files.extend(page.into_iter().filter(|file| file.kind != "directory"));
        match text(&headers, &LINK).and_then(next_page) {
            // Another host would be given the token, and could list what it likes.
            Some(next) if next.strip_prefix(endpoint).is_some_and(|rest| rest.starts_with('/')) => {
                address = next.to_owned();
            }
            Some(_) => {
                return Err(HubError::Answer {
                    address: shown(&address),
                    problem: "its next page is on another host".to_owned(),
                });
            }
            None => return Ok(files),
        }
    }
    Ok(files)
}

/// The next page that a `Link` header names (RFC 8288).
fn next_page(header: &str) -> Option<&str> {
    header.split(',').find_map(|link| {
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let is_next =
            parameters.split(';').any(|parameter| matches!(parameter.trim(), "rel=\"next\"" | "rel=next"));
        is_next.then_some(target)
    })
}

/// A model of a repository: one file, or all files of a split one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Candidate<'f> {
    stem: &'f str,
    /// How many files it should have.
    of: usize,
    pub(crate) files: Vec<&'f RepositoryFile>,
}

impl Candidate<'_> {
    /// The path without `.gguf`, and without the number of a split model's file.
    pub(crate) fn stem(&self) -> &str {
        self.stem
    }

    fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes()).sum()
    }

    fn described(&self) -> String {
        let files = if self.of > 1 { format!(", {} files", self.of) } else { String::new() };
        format!("{} ({:.2} GB{files})", self.stem, self.bytes() as f64 / 1e9)
    }

    /// Whether its name has this quantization in it, as a word of its own.
    fn is_quantized_as(&self, quantization: &str) -> bool {
        let (name, wanted) = (file_name(self.stem).to_ascii_lowercase(), quantization.to_ascii_lowercase());
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        name.match_indices(&wanted).any(|(at, found)| {
            let (before, after) = (&name.as_bytes()[..at], &name.as_bytes()[at + found.len()..]);
            !before.last().copied().is_some_and(is_part) && !after.first().copied().is_some_and(is_part)
        })
    }
}

/// The last component of a path.
pub(crate) fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The name of a split model's file: what comes before the numbers, its number from 1 on, and how many there are.
pub(crate) fn split_parts(stem: &str) -> Option<(&str, usize, usize)> {
    let (rest, of) = stem.rsplit_once("-of-")?;
    let (prefix, number) = rest.rsplit_once('-')?;
    let digits = |text: &str| -> Option<usize> {
        (text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
    };
    Some((prefix, digits(number)?, digits(of)?))
}

/// The models among a repository's files, by name. Vision projectors and importance matrices are none.
fn candidates(files: &[RepositoryFile]) -> Vec<Candidate<'_>> {
    let mut candidates: Vec<Candidate<'_>> = Vec::new();
    let mut models: Vec<_> = files
        .iter()
        .filter_map(|file| Some((file.path.strip_suffix(".gguf")?, file)))
        .filter(|(stem, _)| {
            let name = file_name(stem).to_ascii_lowercase();
            !name.contains("mmproj") && !name.contains("imatrix")
        })
        .collect();
    models.sort_by_key(|(stem, _)| *stem);
    for (stem, file) in models {
        let (stem, of) = split_parts(stem).map_or((stem, 1), |(stem, _, of)| (stem, of));
        match candidates.last_mut().filter(|last| last.stem == stem && last.of == of && of > 1) {
            Some(candidate) => candidate.files.push(file),
            None => candidates.push(Candidate { stem, of, files: vec![file] }),
        }
    }
    candidates
}

/// The model of a repository that has this quantization in its name, or is named so; without one, the default.
pub(crate) fn choose<'f>(
    files: &'f [RepositoryFile],
    repository: &str,
    quantization: Option<&str>,
) -> Result<Candidate<'f>, HubError> {
    let candidates = candidates(files);
    let named = |wanted: &str| {
        let stem = wanted.strip_suffix(".gguf").unwrap_or(wanted);
        let stem = split_parts(stem).map_or(stem, |(stem, ..)| stem);
        candidates.iter().position(|candidate| candidate.stem == stem || file_name(candidate.stem) == stem)
    };
    let quantized = |wanted: &str| -> Vec<usize> {
        (0..candidates.len()).filter(|&index| candidates[index].is_quantized_as(wanted)).collect()
    };
    let found = match quantization {
        Some(wanted) => named(wanted).map_or_else(|| quantized(wanted), |index| vec![index]),
        None if candidates.len() == 1 => vec![0],
        None => quantized(DEFAULT_QUANTIZATION),
    };
    let listed = |indices: &[usize]| indices.iter().map(|&index| candidates[index].described()).collect();
    let all: Vec<usize> = (0..candidates.len()).collect();
    let fail = |problem: String, choices| {
        Err(HubError::Choice { repository: repository.to_owned(), problem, choices })
    };
    match (found.as_slice(), quantization) {
        _ if candidates.is_empty() => {
            fail("has no GGUF file; look for a repository that has".into(), Vec::new())
        }
        ([only], _) => {
            let candidate = candidates.into_iter().nth(*only);
            match candidate {
                Some(candidate) if candidate.files.len() == candidate.of => Ok(candidate),
                Some(candidate) => {
                    let problem = format!(
                        "has {} of the {} files of {}; choose another of its models",
                        candidate.files.len(),
                        candidate.of,
                        candidate.stem
                    );
                    fail(problem, Vec::new())
                }
                None => fail("has no such model".into(), Vec::new()),
            }
        }
        ([], Some(wanted)) => fail(
            format!("has no model with `{wanted}` in its name; put one of these behind a colon:"),
            listed(&all),
        ),
        ([], None) => {
            fail("has several models; put what one is named by behind a colon:".into(), listed(&all))
        }
        (several, _) => {
            fail("has several such models; put a whole name behind a colon:".into(), listed(several))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(paths: &[&str]) -> Vec<RepositoryFile> {
        let file =
            |path: &&str| RepositoryFile { path: (*path).into(), kind: "file".into(), size: 1, lfs: None };
        paths.iter().map(file).collect()
    }

    fn chosen(paths: &[&str], quantization: Option<&str>) -> Result<Vec<String>, String> {
        let files = files(paths);
        match choose(&files, "a/b", quantization) {
            Ok(candidate) => Ok(candidate.files.iter().map(|file| file.path.clone()).collect()),
            Err(error) => Err(error.to_string()),
        }
    }

    const SEVERAL: &[&str] = &[
        "README.md",
        "Model-Q4_0.gguf",
        "Model-Q4_K_M.gguf",
        "Model-Q4_K_S.gguf",
        "Model.IQ4_NL.gguf",
        "model-q8_0-00001-of-00002.gguf",
        "model-q8_0-00002-of-00002.gguf",
        "big/Model-F16-00002-of-00003.gguf",
        "big/Model-F16-00001-of-00003.gguf",
        "mmproj-Model-f16.gguf",
    ];

    #[test]
    fn a_quantization_is_found_in_any_case_and_as_a_whole_word() {
        assert_eq!(chosen(SEVERAL, Some("q4_0")).unwrap(), ["Model-Q4_0.gguf"]);
        assert_eq!(chosen(SEVERAL, Some("iq4_nl")).unwrap(), ["Model.IQ4_NL.gguf"]);
        assert_eq!(chosen(SEVERAL, Some("Model-Q4_K_S.gguf")).unwrap(), ["Model-Q4_K_S.gguf"]);
        assert_eq!(
            chosen(SEVERAL, Some("Q8_0")).unwrap(),
            ["model-q8_0-00001-of-00002.gguf", "model-q8_0-00002-of-00002.gguf"]
        );
        // Neither Q4_K_M nor Q4_K_S is meant by what both begin with.
        let message = chosen(SEVERAL, Some("Q4_K")).unwrap_err();
        assert!(message.contains("`Q4_K`") && message.contains("Model-Q4_K_M"), "{message}");
        assert!(!message.contains("mmproj"), "{message}");
    }

    #[test]
    fn without_a_quantization_it_is_the_default_or_the_only_one_or_a_choice() {
        assert_eq!(chosen(SEVERAL, None).unwrap(), ["Model-Q4_K_M.gguf"]);
        assert_eq!(chosen(&["ggml-model-i2_s.gguf", "README.md"], None).unwrap(), ["ggml-model-i2_s.gguf"]);
        let message = chosen(&["a-Q2_K.gguf", "a-Q3_K.gguf"], None).unwrap_err();
        assert!(message.contains("several models") && message.contains("\n  a-Q2_K"), "{message}");
        assert!(chosen(&["model.safetensors"], None).unwrap_err().contains("no GGUF file"));
    }

    #[test]
    fn a_split_model_with_a_file_missing_is_refused() {
        let message = chosen(SEVERAL, Some("F16")).unwrap_err();
        assert!(message.contains("2 of the 3 files"), "{message}");
    }

    #[test]
    fn a_path_is_written_into_an_address_with_nothing_that_could_end_it() {
        assert_eq!(
            address("http://h", "o", "r", "sub dir/ä?#%.gguf"),
            "http://h/o/r/resolve/main/sub%20dir/%C3%A4%3F%23%25.gguf"
        );
    }

    #[test]
    fn the_next_page_is_the_one_that_is_called_so() {
        assert_eq!(
            next_page(r#"<http://h/a>; rel="prev", <http://h/b?c=1>; rel="next""#),
            Some("http://h/b?c=1")
        );
        assert_eq!(next_page("nonsense"), None);
    }
}
