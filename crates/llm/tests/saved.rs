//! Sessions as bytes: they go on as if they had never been away, and bytes that are not a session are refused.

mod support;

use std::sync::{Arc, LazyLock};

use glasshouse_llm::generate_random::{Preset, write_to};
use glasshouse_llm::gguf::{Gguf, TensorType};
use glasshouse_llm::{CacheOptions, KvType, LlmError, LoadedModel, Session};
use glasshouse_protocol::{GenerateRequest, GenerateResponse, Role};
use proptest::prelude::*;
use support::*;

/// A model with heads of whole Q8_0 blocks.
fn model(kv_type: KvType) -> Arc<LoadedModel> {
    let mut bytes = Vec::new();
    write_to(&mut bytes, Preset::TinyLlama(TensorType::Q8_0)).unwrap();
    let options = CacheOptions { kv_type, prefix_bytes: 0 };
    Arc::new(LoadedModel::load_with(Arc::new(Gguf::from_vec(bytes).unwrap()), 1, options).unwrap())
}

fn ask(text: &str, answers: &[&GenerateResponse]) -> GenerateRequest {
    let mut messages = vec![(Role::User, text)];
    for answer in answers {
        messages.extend([(Role::Assistant, answer.text.as_str()), (Role::User, "and then?")]);
    }
    request(&messages, "start: /[a-z ]{200}/", 9)
}

const QUESTION: &str = "How does it go on, and where does it end?";

/// A session with a turn in it, and the turn.
fn talked(model: &Arc<LoadedModel>) -> (Session, GenerateResponse) {
    let mut session = Session::new(Arc::clone(model));
    let response = generate(&mut session, &ask(QUESTION, &[])).unwrap();
    (session, response)
}

/// Bytes whose hash is right.
fn sealed(mut content: Vec<u8>) -> Vec<u8> {
    let hash = blake3::hash(&content);
    content.extend_from_slice(hash.as_bytes());
    content
}

fn problem(model: &Arc<LoadedModel>, bytes: &[u8]) -> String {
    match Session::restore(Arc::clone(model), bytes) {
        Err(error @ LlmError::SavedSession { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_restored_session_goes_on_as_the_saved_one() {
    for kv_type in [KvType::F16, KvType::Q8_0] {
        let model = model(kv_type);
        let (mut session, first) = talked(&model);
        let bytes = session.save();
        let mut restored = Session::restore(Arc::clone(&model), &bytes).unwrap();
        assert_eq!(restored.save(), bytes);
        assert_eq!(restored.tokens(), session.tokens());
        restored.verify().unwrap();
        let next = ask(QUESTION, &[&first]);
        let expected = generate(&mut session, &next).unwrap();
        assert_eq!(generate(&mut restored, &next).unwrap(), expected);
        assert!(expected.usage.cached_tokens > 40, "{:?}", expected.usage);
        // What a longer conversation left behind is not in the bytes of a shorter one.
        let mut shorter = Session::restore(Arc::clone(&model), &bytes).unwrap();
        let mut generation = shorter.start(&ask(QUESTION, &[]), 1).unwrap();
        generation.cancel(&mut shorter).unwrap();
        Session::restore(Arc::clone(&model), &shorter.save()).unwrap().verify().unwrap();
    }
    let empty = Session::new(model(KvType::F16));
    let restored = Session::restore(Arc::clone(empty.model()), &empty.save()).unwrap();
    assert!(restored.tokens().is_empty());
    restored.verify().unwrap();
}

#[test]
fn a_session_of_another_model_or_kind_is_refused() {
    let (session, _) = talked(&model(KvType::F16));
    let bytes = session.save();
    assert!(problem(&load(), &bytes).contains("another model"));
    assert!(problem(&model(KvType::Q8_0), &bytes).contains("Q8_0"));
    assert!(problem(session.model(), b"").contains("too early"));
    assert!(problem(session.model(), &[7; 100]).contains("no saved session"));
    let mut newer = bytes;
    newer[7] = 9;
    assert!(problem(session.model(), &newer).contains("another version"));
}

#[test]
fn keys_and_values_that_the_model_did_not_compute_are_found_by_verifying() {
    let (session, _) = talked(&model(KvType::F16));
    let mut content = session.save();
    content.truncate(content.len() - 32);
    // A value of the first page.
    let place = content.len() - session.tokens().len().div_ceil(32) * 32 * 2 * 2 * 128 * 2 + 100;
    content[place] ^= 1;
    let restored = Session::restore(Arc::clone(session.model()), &sealed(content)).unwrap();
    assert!(restored.verify().unwrap_err().to_string().contains("what the model computes"));
}

static SAVED: LazyLock<(Arc<LoadedModel>, Vec<u8>)> = LazyLock::new(|| {
    let model = model(KvType::Q8_0);
    let (session, _) = talked(&model);
    (model, session.save())
});

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_damage_is_found(place: proptest::sample::Index, bit in 0u8..8, cut: proptest::sample::Index) {
        let (model, bytes) = &*SAVED;
        let mut flipped = bytes.clone();
        flipped[place.index(bytes.len())] ^= 1 << bit;
        problem(model, &flipped);
        problem(model, &bytes[..cut.index(bytes.len())]);
        problem(model, &[&bytes[..], &[0]].concat());
    }

    #[test]
    fn bytes_made_up_to_harm_are_refused_or_harmless(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
        early in any::<bool>(),
        cut in proptest::option::of(any::<proptest::sample::Index>()),
    ) {
        let (model, bytes) = &*SAVED;
        let mut content = bytes[..bytes.len() - 32].to_vec();
        for (place, value) in changes {
            // Numbers are in front of the pages.
            let range = if early { 700 } else { content.len() };
            content[place.index(range)] = value;
        }
        if let Some(cut) = cut {
            content.truncate(cut.index(content.len()));
        }
        if let Ok(mut session) = Session::restore(Arc::clone(model), &sealed(content)) {
            let _ = generate(&mut session, &ask(QUESTION, &[]));
        }
    }
}
