//! Ternary instruct models: what they are, what they need, and which of them suit a machine.
//!
//! The figures follow from the models' published shapes: a ternary weight takes two bits in these files; the token
//! embedding, and the output matrix of the models that have one of their own, stay in half precision, which is more than
//! half of the smaller files. For Falcon-E they are estimates, rounded up.
//! They are there to choose by; exact lengths and checksums come from the hub when a model is got.

/// A registered model.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is called here.
    pub name: &'static str,
    /// Whose repository of the hub it is in.
    pub owner: &'static str,
    /// The repository.
    pub repository: &'static str,
    /// The file.
    pub file: &'static str,
    /// About so many bytes.
    pub file_bytes: u64,
    /// SHA-256 of the file, in hexadecimal; `None` where none is published outside the hub: the hub's is taken then.
    pub sha256: Option<&'static str>,
    /// Weights, in millions.
    pub million_weights: u32,
    /// The longest conversation, in tokens.
    pub context_length: u32,
    /// Bytes of keys and values that one token of a conversation takes: layers × heads × length × 2 × 2 bytes.
    pub token_bytes: u64,
    /// ISO 639-1 codes of what it speaks.
    pub languages: &'static [&'static str],
}

/// The file of all these repositories.
const FILE: &str = "ggml-model-i2_s.gguf";

const FALCON3_LANGUAGES: &[&str] = &["en", "fr", "es", "pt"];

/// Every registered model, the smallest first.
pub const ENTRIES: &[Entry] = &[
    Entry {
        name: "falcon-e-1b",
        owner: "tiiuae",
        repository: "Falcon-E-1B-Instruct-GGUF",
        file: FILE,
        file_bytes: 666_000_000,
        sha256: None,
        million_weights: 1_800,
        context_length: 8192,
        token_bytes: 49_152,
        languages: &["en"],
    },
    Entry {
        name: "falcon-e-3b",
        owner: "tiiuae",
        repository: "Falcon-E-3B-Instruct-GGUF",
        file: FILE,
        file_bytes: 1_001_000_000,
        sha256: None,
        million_weights: 3_000,
        context_length: 8192,
        token_bytes: 65_536,
        languages: &["en"],
    },
    Entry {
        name: "bitnet-2b",
        owner: "microsoft",
        repository: "bitnet-b1.58-2B-4T-gguf",
        file: FILE,
        file_bytes: 1_187_000_000,
        sha256: None,
        million_weights: 2_400,
        context_length: 4096,
        token_bytes: 76_800,
        languages: &["en"],
    },
    Entry {
        name: "falcon3-1b",
        owner: "tiiuae",
        repository: "Falcon3-1B-Instruct-1.58bit-GGUF",
        file: FILE,
        file_bytes: 1_360_000_000,
        sha256: None,
        million_weights: 1_670,
        context_length: 8192,
        token_bytes: 73_728,
        languages: FALCON3_LANGUAGES,
    },
    Entry {
        name: "falcon3-3b",
        owner: "tiiuae",
        repository: "Falcon3-3B-Instruct-1.58bit-GGUF",
        file: FILE,
        file_bytes: 2_220_000_000,
        sha256: None,
        million_weights: 3_230,
        context_length: 8192,
        token_bytes: 90_112,
        languages: FALCON3_LANGUAGES,
    },
    Entry {
        name: "falcon3-7b",
        owner: "tiiuae",
        repository: "Falcon3-7B-Instruct-1.58bit-GGUF",
        file: FILE,
        file_bytes: 3_280_000_000,
        sha256: None,
        million_weights: 7_460,
        context_length: 32_768,
        token_bytes: 114_688,
        languages: FALCON3_LANGUAGES,
    },
    Entry {
        name: "falcon3-10b",
        owner: "tiiuae",
        repository: "Falcon3-10B-Instruct-1.58bit-GGUF",
        file: FILE,
        file_bytes: 3_990_000_000,
        sha256: None,
        million_weights: 10_300,
        context_length: 32_768,
        token_bytes: 163_840,
        languages: FALCON3_LANGUAGES,
    },
];

/// Tokens of a conversation that a need is told for: a long one, of which most models can hold several.
pub const TOLD_CONTEXT: u32 = 4096;

/// Memory that a program takes beside weights and conversations.
const BESIDE_BYTES: u64 = 200_000_000;

/// Memory that is left to everybody else when a model is recommended, in parts of what is free.
const SPARED_PART: u64 = 8;

impl Entry {
    /// Bytes of memory that it takes with a conversation of [`TOLD_CONTEXT`] tokens.
    pub fn memory_bytes(&self) -> u64 {
        self.file_bytes + u64::from(TOLD_CONTEXT.min(self.context_length)) * self.token_bytes + BESIDE_BYTES
    }

    /// Whether a machine with so many free bytes of memory runs it and keeps some for everybody else.
    pub fn suits(&self, free_bytes: u64) -> bool {
        self.memory_bytes() <= free_bytes - free_bytes / SPARED_PART
    }
}

/// The model of this name.
pub fn find(name: &str) -> Option<&'static Entry> {
    ENTRIES.iter().find(|entry| entry.name == name)
}

/// The model to choose with so many free bytes of memory: the one with the most weights of those that suit.
pub fn recommend(free_bytes: u64) -> Option<&'static Entry> {
    ENTRIES.iter().filter(|entry| entry.suits(free_bytes)).max_by_key(|entry| entry.million_weights)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check_name;

    #[test]
    fn every_entry_can_be_a_name_and_is_found_by_it() {
        for entry in ENTRIES {
            assert!(check_name(entry.name).is_ok());
            assert_eq!(find(entry.name), Some(entry));
            assert!(entry.sha256.is_none_or(|digits| digits.len() == 64));
            assert!(entry.memory_bytes() > entry.file_bytes);
        }
        assert!(ENTRIES.windows(2).all(|pair| pair[0].file_bytes <= pair[1].file_bytes));
        assert_eq!(find("gpt"), None);
    }

    #[test]
    fn the_recommended_model_is_the_largest_that_leaves_memory_to_others() {
        let names: Vec<_> = [500, 1_300, 2_000, 2_500, 3_500, 5_000, 64_000]
            .map(|megabytes| recommend(megabytes * 1_000_000).map(|entry| entry.name))
            .into();
        assert_eq!(
            names,
            [
                None,
                Some("falcon-e-1b"),
                Some("falcon-e-3b"),
                Some("falcon-e-3b"),
                Some("falcon3-3b"),
                Some("falcon3-7b"),
                Some("falcon3-10b"),
            ]
        );
        for free in (0..8_000_000_000).step_by(100_000_000) {
            assert!(recommend(free).is_none_or(|entry| entry.memory_bytes() < free));
        }
    }
}
