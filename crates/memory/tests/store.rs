//! The promises of a memory store, through its public face.

use std::fs;

use glasshouse_memory::{MAX_TEXT_BYTES, MemoryError, MemoryStore};
use proptest::prelude::*;

fn filled(texts: &[&str]) -> MemoryStore {
    let mut store = MemoryStore::open_in_memory().unwrap();
    for text in texts {
        store.store(text, None).unwrap();
    }
    store
}

fn found(store: &MemoryStore, query: &str) -> Vec<String> {
    store.search(query, 10).unwrap().into_iter().map(|memory| memory.text).collect()
}

#[test]
fn a_question_finds_the_fact_that_answers_it() {
    let store = filled(&[
        "my sister's name is Ana",
        "The meeting is on Tuesday at 10",
        "what a lovely day it is",
        "my favourite colour is green",
    ]);
    assert_eq!(found(&store, "what is my sister's name"), ["my sister's name is Ana"]);
    assert_eq!(found(&store, "When is the meeting?"), ["The meeting is on Tuesday at 10"]);
    assert_eq!(found(&store, "sisters"), ["my sister's name is Ana"]);
    assert_eq!(found(&store, "colour i like"), ["my favourite colour is green"]);
    assert_eq!(found(&store, "gree"), ["my favourite colour is green"]);
    assert!(found(&store, "giraffe").is_empty());
}

#[test]
fn a_question_finds_the_only_memory() {
    let store = filled(&["my sister's name is Ana"]);
    assert_eq!(found(&store, "what is my sister's name").len(), 1);
}

#[test]
fn all_words_beat_some_and_equal_scores_keep_the_order_of_storing() {
    let store = filled(&["red apple", "red pear", "red pear", "green pear"]);
    assert_eq!(found(&store, "red pear"), ["red pear", "red pear"]);
    let ids: Vec<i64> = store.search("pear red", 10).unwrap().iter().map(|memory| memory.id).collect();
    assert_eq!(ids, [2, 3]);
    assert_eq!(found(&store, "apple banana"), ["red apple"]);
    assert_eq!(store.search("pear", 2).unwrap().len(), 2);
    assert!(store.search("pear", 0).unwrap().is_empty());
}

#[test]
fn scores_fall_along_the_results() {
    let store =
        filled(&["tea", "tea tea and more tea", "coffee", "milk", "water", "juice and tea with milk"]);
    let scores: Vec<f64> = store.search("tea milk", 10).unwrap().iter().map(|memory| memory.score).collect();
    assert!(scores.is_sorted_by(|left, right| left >= right), "{scores:?}");
}

#[test]
fn accents_scripts_and_emoji_are_found() {
    let store =
        filled(&["El niño vive en Bogotá", "我的生日是五月三日", "party 🎉 on Friday", "Привет, Анна"]);
    assert_eq!(found(&store, "bogota").len(), 1);
    assert_eq!(found(&store, "生日"), ["我的生日是五月三日"]);
    assert_eq!(found(&store, "🎉"), ["party 🎉 on Friday"]);
    assert_eq!(found(&store, "анна"), ["Привет, Анна"]);
}

#[test]
fn memories_survive_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("memory.db");
    let id =
        MemoryStore::open(&path).unwrap().store("the key is under the mat", Some(1_700_000_000_000)).unwrap();
    let mut store = MemoryStore::open(&path).unwrap();
    let record = store.get(id).unwrap().unwrap();
    assert_eq!((record.text.as_str(), record.unix_ms), ("the key is under the mat", Some(1_700_000_000_000)));
    assert_eq!(store.count().unwrap(), 1);
    assert!(store.delete(id).unwrap());
    assert!(!store.delete(id).unwrap());
    drop(store);
    let mut store = MemoryStore::open(&path).unwrap();
    assert_eq!(store.count().unwrap(), 0);
    assert!(store.get(id).unwrap().is_none());
    assert!(store.store("another", None).unwrap() > id, "an id is never used again");
}

#[test]
fn many_stores_share_one_file() {
    let folder = tempfile::tempdir().unwrap();
    // Many new files: what can go wrong goes wrong while the first stores open and make the schema at the same time.
    for round in 0..12 {
        let path = folder.path().join(format!("memory-{round}.db"));
        let start = std::sync::Barrier::new(4);
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let (path, start) = (&path, &start);
                scope.spawn(move || {
                    start.wait();
                    let mut store = MemoryStore::open(path).unwrap();
                    for number in 0..2 {
                        store.store(&format!("note {number} of writer {writer}"), None).unwrap();
                    }
                });
            }
        });
        assert_eq!(MemoryStore::open(&path).unwrap().count().unwrap(), 8);
    }
}

#[test]
fn a_file_that_is_no_database_is_refused_and_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    for content in [b"x".to_vec(), b"not a database\n".repeat(1000)] {
        fs::write(&path, &content).unwrap();
        let error = MemoryStore::open(&path).unwrap_err();
        assert!(matches!(error, MemoryError::NotADatabase { .. }), "{error:?}");
        assert!(error.to_string().contains("notes.txt"));
        assert_eq!(fs::read(&path).unwrap(), content);
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside the file");
}

#[test]
fn a_damaged_database_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("memory.db");
    let mut store = MemoryStore::open(&path).unwrap();
    for number in 0..200 {
        store.store(&format!("fact number {number} about something"), None).unwrap();
    }
    drop(store);
    let mut content = fs::read(&path).unwrap();
    content[100..].fill(0xa5);
    fs::write(&path, &content).unwrap();
    let error = MemoryStore::open(&path).map(|_| ()).unwrap_err();
    assert!(matches!(error, MemoryError::Corrupt(_)), "{error:?}");
    assert_eq!(fs::read(&path).unwrap(), content);
}

#[test]
fn a_database_of_another_program_is_refused_and_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.db");
    rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE contacts (name TEXT)").unwrap();
    let before = fs::read(&path).unwrap();
    let error = MemoryStore::open(&path).unwrap_err();
    assert!(matches!(error, MemoryError::ForeignDatabase { .. }), "{error:?}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_path_that_cannot_be_a_file_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().to_owned(), folder.path().join("missing").join("memory.db")] {
        let error = MemoryStore::open(&path).unwrap_err();
        assert!(matches!(error, MemoryError::CannotOpen { .. }), "{error:?}");
    }
}

#[test]
fn empty_and_oversized_texts_are_refused() {
    let mut store = MemoryStore::open_in_memory().unwrap();
    assert!(matches!(store.store(" \n\t", None), Err(MemoryError::EmptyText)));
    assert!(store.store(&"a".repeat(MAX_TEXT_BYTES), None).is_ok());
    let error = store.store(&"a".repeat(MAX_TEXT_BYTES + 1), None).unwrap_err();
    assert!(matches!(error, MemoryError::TextTooLong { .. }));
    assert_eq!(store.count().unwrap(), 1);
}

#[test]
fn a_word_with_a_mark_that_is_no_letter_is_found_before_what_only_begins_alike() {
    let mut store = filled(&["something else entirely"]);
    let id = store.store("\u{1e8d0}e", None).unwrap();
    let found = store.search("\u{1e8d0}e", 10).unwrap();
    assert_eq!(found.iter().map(|memory| memory.id).collect::<Vec<_>>(), [id]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_query_is_an_error(query in any::<String>(), operators in "[\"'*^(){}:+ A-Z0-9\u{0}%_-]{0,60}") {
        let store = filled(&["one fact", "two facts AND more", "NEAR the end"]);
        store.search(&query, 5).unwrap();
        store.search(&operators, 5).unwrap();
    }

    #[test]
    fn what_is_stored_comes_back_and_is_found_by_its_own_text(text in "\\PC{1,80}") {
        prop_assume!(!text.trim().is_empty());
        let mut store = filled(&["something else entirely"]);
        let id = store.store(&text, None).unwrap();
        prop_assert_eq!(store.get(id).unwrap().unwrap().text, text.clone());
        prop_assert!(store.search(&text, 10).unwrap().iter().any(|memory| memory.id == id));
    }
}
