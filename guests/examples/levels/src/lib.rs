//! An example: the levels of the guest SDK, its arena, and functions of the host.
//!
//! | entry | level | what it does |
//! |---|---|---|
//! | `count` | `async` | counts the words of a file |
//! | `longest` | typed, one step | finds a text's longest word |
//! | `repeat` | typed, one step | repeats a text |
//! | `element` | typed, one step | an element of a list; panics where there is none |
//! | `reverse` | bytes | returns the payload's bytes in reverse |
//! | `define` | typed, one step | asks the host function `lookup` what a word means |
//! | `whisper` | bytes, encrypted | the reverse of an encrypted message, encrypted (feature `aead`) |

use std::collections::BTreeMap;

use glasshouse_guest::{
    ErrorData, arena, entry,
    envelope::Flags,
    files, host_args, host_externs,
    raw::{return_envelope, with_envelope},
    return_err, return_ok,
};
use serde::{Deserialize, Serialize};

/// How often each word of a file occurs. A request and its answer are an `.await`.
pub async fn count(path: String) -> Result<BTreeMap<String, u32>, ErrorData> {
    let file = files::read(path).await?;
    let mut words = BTreeMap::new();
    for word in file.content.split_whitespace() {
        *words.entry(word.to_lowercase()).or_insert(0) += 1;
    }
    Ok(words)
}

entry!(count);

/// The longest word of a text, by characters; of several, the first.
///
/// What is made on the way lies in the arena.
#[unsafe(no_mangle)]
pub extern "C" fn longest(pointer: u32, length: u32) -> u64 {
    let text: String = match host_args(pointer, length) {
        Ok(text) => text,
        Err(error) => return return_err(error),
    };
    arena::with(|arena| {
        let mut words = arena::Vec::new_in(arena);
        words.extend(text.split_whitespace().map(|word| (word.chars().count(), word)));
        words.sort_by_key(|(characters, _)| std::cmp::Reverse(*characters));
        match words.first() {
            Some((_, word)) => return_ok(*word),
            None => return_err("the text has no words"),
        }
    })
}

/// What [`repeat`] takes.
#[derive(Deserialize)]
struct Repetition {
    text: String,
    times: usize,
}

/// A text, again and again. A result may be as large as an envelope.
#[unsafe(no_mangle)]
pub extern "C" fn repeat(pointer: u32, length: u32) -> u64 {
    match host_args::<Repetition>(pointer, length) {
        Ok(Repetition { text, times })
            if text.len().checked_mul(times).is_some_and(|bytes| bytes <= 64 << 20) =>
        {
            return_ok(&text.repeat(times))
        }
        Ok(_) => return_err(ErrorData::new("too_long", "the repeated text would have more than 64 MiB")),
        Err(error) => return_err(error),
    }
}

/// What [`element`] takes.
#[derive(Deserialize)]
struct Place {
    list: Vec<i64>,
    index: usize,
}

/// An element of a list. Where there is none it panics, and the host learns where in this file.
#[unsafe(no_mangle)]
pub extern "C" fn element(pointer: u32, length: u32) -> u64 {
    match host_args::<Place>(pointer, length) {
        Ok(place) => return_ok(&place.list[place.index]),
        Err(error) => return_err(error),
    }
}

/// The payload's bytes in reverse, which need not be JSON.
#[unsafe(no_mangle)]
pub extern "C" fn reverse(pointer: u32, length: u32) -> u64 {
    let reversed = with_envelope(pointer, length, |envelope| {
        envelope.map(|envelope| envelope.payload.iter().rev().copied().collect())
    });
    match reversed {
        Ok(payload) => return_envelope(Flags::NONE, payload),
        Err(error) => return_err(error),
    }
}

/// What `lookup` takes.
#[derive(Debug, Serialize, Deserialize)]
pub struct Query {
    /// The word.
    pub word: String,
}

/// What `lookup` answers.
#[derive(Debug, Serialize, Deserialize)]
pub struct Definition {
    /// What the word means.
    pub meaning: String,
}

host_externs! {
    /// Looks a word up in the host's dictionary.
    pub fn lookup(Query) -> Result<Definition>;
}

/// What a word means, as the host says.
#[unsafe(no_mangle)]
pub extern "C" fn define(pointer: u32, length: u32) -> u64 {
    let defined = host_args(pointer, length).and_then(lookup);
    match defined {
        Ok(Definition { meaning }) => return_ok(&meaning),
        Err(error) => return_err(error),
    }
}

/// An entry that speaks encrypted with whoever knows the process's key.
#[cfg(feature = "aead")]
mod whisper {
    use std::cell::RefCell;

    use glasshouse_guest::{
        ErrorData,
        envelope::{Decoder, Encoder, Flags, Key, Sender},
        host_args,
        raw::{return_bytes, with_bytes},
        return_err, return_ok,
    };

    thread_local! {
        /// What reads and writes under the key.
        static CHANNEL: RefCell<Option<(Decoder, Encoder)>> = const { RefCell::new(None) };
    }

    /// Takes the key, 32 numbers from 0 to 255, for this process's messages.
    #[unsafe(no_mangle)]
    pub extern "C" fn take_key(pointer: u32, length: u32) -> u64 {
        match host_args::<[u8; 32]>(pointer, length) {
            Ok(bytes) => {
                let key = Key::new(&bytes);
                let reading = Decoder::new().decrypt(key.clone(), Sender::Host);
                CHANNEL.set(Some((reading, Encoder::new().encrypt(key, Sender::Guest))));
                return_ok(&())
            }
            Err(error) => return_err(error),
        }
    }

    /// The bytes of an encrypted message in reverse, encrypted.
    #[unsafe(no_mangle)]
    pub extern "C" fn whisper(pointer: u32, length: u32) -> u64 {
        let answer = CHANNEL.with_borrow_mut(|channel| {
            let no_key = || ErrorData::new("no_key", "the process was not given a key");
            let (reading, writing) = channel.as_mut().ok_or_else(no_key)?;
            let refused = |error| ErrorData::from_error("malformed_envelope", &error);
            with_bytes(pointer, length, |bytes| {
                let message = reading.decode(bytes).map_err(refused)?;
                let reversed: Vec<u8> = message.content.iter().rev().copied().collect();
                writing.encode(Flags::NONE, &reversed).map_err(refused)
            })
        });
        match answer {
            Ok(bytes) => return_bytes(bytes),
            Err::<_, ErrorData>(error) => return_err(error),
        }
    }
}
