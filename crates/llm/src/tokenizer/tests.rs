use proptest::prelude::*;

use super::testing::{CONTROL, END, data, texts, tokenizer};
use super::*;
use crate::gguf::{GgufWriter, MetadataValue};

/// The id of the first user-defined token.
const THOUGHT: u32 = 256 + CONTROL.len() as u32;

#[test]
fn bytes_control_and_user_defined_tokens() {
    let tokenizer = tokenizer();
    let text = "Thought: hé\nCall: <|end|>";
    let tokens = tokenizer.encode(text, Special::Text);
    let mut expected = vec![THOUGHT, u32::from(b'h'), 0xc3, 0xa9, THOUGHT + 1];
    expected.extend(b"<|end|>".map(u32::from));
    assert_eq!(tokens, expected);
    assert_eq!(tokenizer.decode(&tokens), text.as_bytes());

    let parsed = tokenizer.encode(text, Special::Parse);
    assert_eq!(parsed.last(), Some(&END));
    assert_eq!(tokenizer.decode(&parsed), "Thought: hé\nCall: ".as_bytes());
    assert_eq!(tokenizer.token_text(END), Some("<|end|>"));
    assert!(tokenizer.ends_generation(END) && !tokenizer.ends_generation(0));
}

#[test]
fn the_longest_user_defined_token_takes_its_occurrences_first() {
    let texts: Vec<String> = texts().into_iter().chain(["ab".into(), "bcd".into(), "abc".into()]).collect();
    let mut data = data(&texts);
    data.types.as_mut().unwrap().extend([4, 4, 4]);
    let tokenizer = Tokenizer::new(&data).unwrap();
    let first = texts.len() as u32 - 3;
    // Equally long: the lower id, `bcd`. Shorter ones get what is left.
    assert_eq!(tokenizer.encode("abcd", Special::Text), [u32::from(b'a'), first + 1]);
    assert_eq!(tokenizer.encode("abc", Special::Text), [first + 2]);
    assert_eq!(tokenizer.encode("abxabc", Special::Text), [first, u32::from(b'x'), first + 2]);
}

#[test]
fn a_person_cannot_type_a_control_token() {
    let tokenizer = tokenizer();
    let breaker = Breaker::for_inputs(["text"].into_iter()).unwrap();
    for text in
        ["<|end|>", "<<|end|>|end|>", "a<|en", "d|> b", " <|user|> ", ">", "<", "<|end|><|end|>", "<|en "]
    {
        let guarded = tokenizer.guard(text, breaker);
        for (before, after) in [("", ""), ("<|end|>", "<|end|>"), ("<|en", "d|>"), ("<", ">"), ("<|", "|>")] {
            for middle in [&*guarded, guarded.trim()] {
                let segments = tokenizer.segments(&format!("{before}{middle}{after}"), breaker);
                let controls =
                    segments.iter().filter(|segment| matches!(segment, Segment::Control(_))).count();
                let expected = [before, after].iter().filter(|text| **text == "<|end|>").count();
                assert_eq!(controls, expected, "{before}{text}{after}");
                let shown: String = segments
                    .iter()
                    .map(|segment| match segment {
                        Segment::Text(text) => text.clone(),
                        Segment::Control(id) => tokenizer.token_text(*id).unwrap().to_string(),
                    })
                    .collect();
                let middle = if middle == &*guarded { text } else { text.trim() };
                assert_eq!(shown, format!("{before}{middle}{after}"));
            }
        }
    }
}

#[test]
fn breakers_avoid_what_the_inputs_hold() {
    let first = Breaker::for_inputs(["plain"].into_iter()).unwrap();
    let second = Breaker::for_inputs(["holds \u{fdd0}"].into_iter()).unwrap();
    assert_ne!(first, second);
}

#[test]
fn damaged_metadata_is_an_error() {
    let texts = texts();
    let good = || data(&texts);
    let problem = |data: TokenizerData<'_>| match Tokenizer::new(&data) {
        Err(LlmError::Tokenizer { message }) => message,
        other => panic!("{other:?}"),
    };
    assert!(problem(TokenizerData { model: "rwkv", ..good() }).contains("rwkv"));
    assert!(problem(TokenizerData { pre: Some("x"), ..good() }).contains("`x`"));
    assert!(problem(TokenizerData { tokens: vec![], types: None, ..good() }).contains("0 tokens"));
    assert!(problem(TokenizerData { types: Some(vec![1; 3]), ..good() }).contains("token_type has 3"));
    assert!(problem(TokenizerData { types: Some(vec![9; texts.len()]), ..good() }).contains("token_type 9"));
    assert!(problem(TokenizerData { scores: Some(vec![]), ..good() }).contains("scores has 0"));
    assert!(problem(TokenizerData { end: Some(9999), ..good() }).contains("eos_token_id is 9999"));
    assert!(
        problem(TokenizerData { begin: None, add_begin: Some(true), ..good() }).contains("add_bos_token")
    );
    assert!(problem(TokenizerData { merges: vec!["ab"], ..good() }).contains("merge 0"));
    assert!(problem(TokenizerData { merges: vec!["a b"], ..good() }).contains("merge 0"));
    assert!(problem(TokenizerData { merges: vec!["a nope"], ..good() }).contains("merge 0"));
    let mut duplicate = good();
    duplicate.tokens[1] = duplicate.tokens[0];
    assert!(problem(duplicate).contains("tokens 0 and 1"));
    let mut hole = good();
    hole.tokens[7] = "aa";
    assert!(problem(hole).contains("byte 0x07"));
    let byte = |token: &'static str| TokenizerData {
        model: "llama",
        tokens: vec!["<unk>", token],
        types: Some(vec![2, 6]),
        ..TokenizerData::default()
    };
    assert!(problem(byte("<0xZZ>")).contains("<0xZZ>"));
    assert!(Tokenizer::new(&byte("<0x0A>")).is_ok());
    let scores = TokenizerData { scores: Some(vec![0.0, f32::NAN]), ..byte("<0x0A>") };
    assert!(problem(scores).contains("score of token 1"));
}

#[test]
fn end_tokens_are_control_whatever_their_type() {
    let texts: Vec<String> = texts().into_iter().chain(["<|im_end|>".into()]).collect();
    let mut data = data(&texts);
    data.types.as_mut().unwrap().push(4);
    let tokenizer = Tokenizer::new(&data).unwrap();
    let id = texts.len() as u32 - 1;
    assert_eq!(tokenizer.kind(id), Some(TokenKind::Control));
    assert_eq!(tokenizer.end_tokens(), [END, id]);
    assert_eq!(tokenizer.encode("<|im_end|>", Special::Text).len(), 10);
    assert_eq!(tokenizer.encode("<|im_end|>", Special::Parse), [id]);
}

#[test]
fn merges_go_by_rank_then_from_the_left() {
    let texts: Vec<String> = texts().into_iter().chain(["aa".into(), "aab".into(), "ab".into()]).collect();
    let mut data = data(&texts);
    data.types.as_mut().unwrap().extend([1, 1, 1]);
    data.merges = vec!["a a", "aa b", "a b"];
    let tokenizer = Tokenizer::new(&data).unwrap();
    let aa = texts.len() as u32 - 3;
    let (a, b) = (u32::from(b'a'), u32::from(b'b'));
    assert_eq!(tokenizer.encode("aaa", Special::Text), [aa, a]);
    assert_eq!(tokenizer.encode("aaab", Special::Text), [aa, aa + 2]);
    assert_eq!(tokenizer.encode("aab", Special::Text), [aa + 1]);
    assert_eq!(tokenizer.encode("bab", Special::Text), [b, aa + 2]);
}

#[test]
fn long_input_is_not_quadratic() {
    let texts: Vec<String> = texts().into_iter().chain(["aa".into(), "aaaa".into()]).collect();
    let mut data = data(&texts);
    data.types.as_mut().unwrap().extend([1, 1]);
    data.merges = vec!["a a", "aa aa"];
    let bpe = Tokenizer::new(&data).unwrap();
    // Quadratic work would be 10^12 steps here and would not end within any test's patience.
    assert_eq!(bpe.encode(&"a".repeat(1 << 20), Special::Text).len(), 1 << 18);

    let tokens = ["<unk>", "<s>", "</s>", "a", "aa", "aaaa"];
    let spm = Tokenizer::new(&TokenizerData {
        model: "llama",
        tokens: tokens.to_vec(),
        types: Some(vec![2, 3, 3, 1, 1, 1]),
        scores: Some(vec![0.0, 0.0, 0.0, -3.0, -1.0, -2.0]),
        add_space_prefix: Some(false),
        ..TokenizerData::default()
    })
    .unwrap();
    assert_eq!(spm.encode(&"a".repeat(1 << 20), Special::Text).len(), 1 << 18);
}

/// Metadata of a vocabulary with these tokens and types, unknown and end first.
fn small<'a>(model: &'a str, tokens: &[&'a str], types: &[i32], scores: &[f32]) -> TokenizerData<'a> {
    TokenizerData {
        model,
        tokens: [&["<unk>", "</s>"], tokens].concat(),
        types: Some([&[2, 3], types].concat()),
        scores: Some([&[0.0, 0.0], scores].concat()),
        unknown: Some(0),
        end: Some(1),
        ..TokenizerData::default()
    }
}

#[test]
fn metadata_is_read_from_a_file() {
    let text = |text: &str| MetadataValue::String(text.into());
    let values = [
        ("model", text("t5")),
        ("tokens", MetadataValue::Strings(["<unk>", "</s>", "a", "<P>", "<R>"].map(String::from).into())),
        ("token_type", MetadataValue::I32s(vec![2, 3, 1, 3, 3])),
        // Whole numbers, as some files have.
        ("scores", MetadataValue::I32s(vec![0, 0, -1, 0, 0])),
        ("unknown_token_id", MetadataValue::U32(0)),
        ("eos_token_id", MetadataValue::U32(1)),
        ("prefix_token_id", MetadataValue::U32(3)),
        ("fim_rep_token_id", MetadataValue::U32(4)),
        ("precompiled_charsmap", MetadataValue::I32s(vec![4, 0, 0, 0, 0, 0, 0, 0, 0])),
        ("add_eos_token", MetadataValue::Bool(false)),
    ];
    let metadata: Vec<_> =
        values.into_iter().map(|(name, value)| (format!("tokenizer.ggml.{name}"), value)).collect();
    let mut bytes = Vec::new();
    GgufWriter::new(&mut bytes, &metadata, Vec::new()).unwrap().finish().unwrap();
    let tokenizer = Tokenizer::from_gguf(&Gguf::from_vec(bytes).unwrap()).unwrap();
    let expected = FillInMiddle { prefix: Some(3), repository: Some(4), ..FillInMiddle::default() };
    assert_eq!(tokenizer.fill_in_middle(), expected);
    assert_eq!(tokenizer.end_tokens(), [1, 4]);
    assert_eq!(tokenizer.with_begin_and_end(tokenizer.encode("ab", Special::Text)), [2, 0]);
}

#[test]
fn long_input_of_other_models_is_not_quadratic() {
    let text = "a".repeat(1 << 20);
    let data = small("t5", &["a", "aa", "aaaa"], &[1; 3], &[-3.0, -2.0, -1.0]);
    assert_eq!(Tokenizer::new(&data).unwrap().encode(&text, Special::Text).len(), 1 << 18);
    let data = small("bert", &["\u{2581}a", "aaaa", "a"], &[1; 3], &[0.0; 3]);
    assert_eq!(Tokenizer::new(&data).unwrap().encode(&text, Special::Text).len(), (1 << 18) + 3);
    let mut data = small("gemma4", &["a", "aa", "aaaa"], &[1; 3], &[0.0; 3]);
    data.merges = vec!["a a", "aa aa"];
    assert_eq!(Tokenizer::new(&data).unwrap().encode(&text, Special::Text).len(), 1 << 18);
}

#[test]
fn unigram_takes_the_best_sum_and_joins_what_is_unknown() {
    let mut data =
        small("t5", &["\u{2581}", "a", "b", "ab", "\u{2581}a"], &[1; 5], &[-2.0, -1.0, -1.0, -2.5, -2.0]);
    let tokenizer = Tokenizer::new(&data).unwrap();
    assert_eq!(tokenizer.encode("ab", Special::Text), [3, 4]);
    assert_eq!(tokenizer.encode("a xyz b", Special::Text), [3, 2, 0, 2, 4]);
    assert_eq!(tokenizer.with_begin_and_end(vec![3]), [3, 1]);
    data.add_space_prefix = Some(true);
    data.remove_extra_whitespaces = Some(true);
    let tokenizer = Tokenizer::new(&data).unwrap();
    assert_eq!(tokenizer.encode("  a   b  ", Special::Text), [6, 2, 4]);
    assert_eq!(tokenizer.decode(&[6, 2, 4]), b" a b");
}

#[test]
fn wordpiece_takes_the_longest_or_the_whole_word_is_unknown() {
    let tokens = ["[CLS]", "[SEP]", "\u{2581}ete", "\u{2581}e", "te", "s", "\u{2581}!", "\u{2581}你"];
    let data = TokenizerData {
        begin: Some(2),
        separator: Some(3),
        ..small("bert", &tokens, &[3, 3, 1, 1, 1, 1, 1, 1], &[0.0; 8])
    };
    let tokenizer = Tokenizer::new(&data).unwrap();
    assert_eq!(tokenizer.encode("Étés!", Special::Text), [4, 7, 8]);
    assert_eq!(tokenizer.encode("ete etex 你ete", Special::Text), [4, 0, 9, 4]);
    assert_eq!(tokenizer.with_begin_and_end(tokenizer.encode("", Special::Text)), [2, 3]);
    let data = TokenizerData { lowercase: Some(false), ..data };
    let tokenizer = Tokenizer::new(&data).unwrap();
    assert_eq!(tokenizer.encode("été ete", Special::Text), [0, 4]);
    let data = TokenizerData { unknown: None, ..data };
    assert!(Tokenizer::new(&data).unwrap_err().to_string().contains("unknown_token_id"));
}

#[test]
fn merges_that_make_a_control_token_are_left_out() {
    let texts: Vec<String> = texts().into_iter().chain(["<s>".into(), "<s".into()]).collect();
    let mut data = data(&texts);
    data.types.as_mut().unwrap().extend([3, 1]);
    data.merges = vec!["< s", "<s >"];
    data.pre = Some("superbpe");
    let tokenizer = Tokenizer::new(&data).unwrap();
    let control = texts.len() as u32 - 2;
    assert_eq!(tokenizer.encode("<s>", Special::Text), [control + 1, u32::from(b'>')]);
    assert_eq!(tokenizer.encode("<s>", Special::Parse), [control]);
}

#[test]
fn the_beginning_and_the_end_are_never_doubled() {
    let texts = texts();
    let data = TokenizerData { add_begin: Some(true), add_end: Some(true), ..data(&texts) };
    let tokenizer = Tokenizer::new(&data).unwrap();
    for text in ["<|begin|>a<|end|>", "a<|end|>", "<|begin|>a", "a"] {
        let tokens = tokenizer.encode(text, Special::Parse);
        assert_eq!(tokenizer.with_begin_and_end(tokens), [256, u32::from(b'a'), END]);
    }
    assert_eq!(tokenizer.with_begin_and_end(Vec::new()), [256, END]);
}

#[test]
fn tokens_take_white_space_from_beside_them_in_the_models_that_do_so() {
    let phi =
        TokenizerData { name: Some("Phi-3-mini"), ..small("llama", &["a", "<|user|>"], &[1, 3], &[0.0; 2]) };
    let tokenizer = Tokenizer::new(&TokenizerData { add_space_prefix: Some(false), ..phi }).unwrap();
    assert_eq!(tokenizer.encode("a<|user|> \n a", Special::Parse), [2, 3, 2]);
    let mask = small("t5", &["a", "<mask>", "\u{2581}"], &[1, 3, 1], &[0.0; 3]);
    let tokenizer = Tokenizer::new(&TokenizerData { architecture: Some("jina-bert-v3"), ..mask }).unwrap();
    assert_eq!(tokenizer.encode("a <mask> a", Special::Parse), [2, 3, 4, 2]);
}

#[test]
fn sentencepiece_tokens_may_cross_words() {
    let data = TokenizerData {
        add_space_prefix: Some(false),
        ..small("llama", &["a", "\u{2581}", "\u{2581}a", "a\u{2581}"], &[1; 4], &[0.0, 0.0, -2.0, -1.0])
    };
    assert_eq!(Tokenizer::new(&data).unwrap().encode("a a", Special::Text), [5, 2]);
}

#[test]
fn sentencepiece_puts_a_space_first_and_falls_back_to_bytes() {
    let bytes: Vec<String> = (0..=255).map(|byte| format!("<0x{byte:02X}>")).collect();
    let mut tokens = vec!["<unk>", "<s>", "</s>"];
    tokens.extend(bytes.iter().map(String::as_str));
    tokens.extend(["\u{2581}", "a", "\u{2581}a", "</", "s>"]);
    let mut types = vec![2, 3, 3];
    types.extend([6; 256]);
    types.extend([1; 5]);
    let count = tokens.len();
    let tokenizer = Tokenizer::new(&TokenizerData {
        model: "llama",
        tokens,
        types: Some(types),
        scores: Some(vec![0.0; count]),
        ..TokenizerData::default()
    })
    .unwrap();
    let space = 3 + 256;
    assert_eq!(tokenizer.encode("a", Special::Text), [space + 2]);
    assert_eq!(tokenizer.encode("aé", Special::Text), [space + 2, 3 + 0xc3, 3 + 0xa9]);
    assert_eq!(tokenizer.encode("", Special::Text), [0u32; 0]);
    assert_eq!(tokenizer.encode("a</s>a", Special::Parse), [space + 2, 2, space + 2]);
    // The pieces `</` and `s>` must not merge to the control token.
    assert_eq!(tokenizer.encode("</s>", Special::Text), [space, space + 3, space + 4]);
    // What looks like a byte token is six characters.
    assert!(!tokenizer.encode("<0x41>", Special::Text).contains(&(3 + 0x41)));
    assert_eq!(tokenizer.with_begin_and_end(vec![5]), [1, 5]);
    assert_eq!(tokenizer.decode(&[space + 2, 3 + 0xc3, 3 + 0xa9, 2]), " aé".as_bytes());
}

proptest! {
    #[test]
    fn byte_level_encoding_is_lossless(text in "\\PC*|[ \\n<|>endThougt:]{0,40}") {
        let tokenizer = tokenizer();
        let tokens = tokenizer.encode(&text, Special::Text);
        prop_assert_eq!(tokenizer.decode(&tokens), text.as_bytes());
        prop_assert!(tokens.iter().all(|&id| tokenizer.kind(id) != Some(TokenKind::Control)));
    }

    #[test]
    fn guarded_text_never_holds_control_tokens(text in "[<|>end ]{0,30}", before in "[<|>end ]{0,4}", after in "[<|>end ]{0,4}") {
        let tokenizer = tokenizer();
        prop_assume!(!text.is_empty());
        let breaker = Breaker::for_inputs([text.as_str()].into_iter()).unwrap();
        let guarded = tokenizer.guard(&text, breaker);
        let rendered = format!("{before}{guarded}{after}");
        let segments = tokenizer.segments(&rendered, breaker);
        prop_assert!(segments.iter().all(|segment| matches!(segment, Segment::Text(_))));
        prop_assert_eq!(rendered.replace(breaker.0, ""), format!("{before}{text}{after}"));
    }

    #[test]
    fn arbitrary_metadata_does_not_panic(
        model in prop_oneof![Just("gpt2"), Just("llama"), Just("gemma4"), Just("t5"), Just("bert")],
        pre in prop_oneof![Just(None), Just(Some("superbpe")), Just(Some("sarvam-moe"))],
        tokens in proptest::collection::vec("[ab]{0,3}|<0x[0-9A-F]{1,3}>|<\\|end\\|>|\\PC{0,2}|\u{2581}", 0..40),
        types in proptest::option::of(proptest::collection::vec(-1i32..8, 0..40)),
        scores in proptest::option::of(proptest::collection::vec(any::<f32>(), 0..40)),
        merges in proptest::collection::vec("[ab]{1,2} [ab]{1,2}|\\PC{0,3}", 0..5),
        ids in proptest::collection::vec(proptest::option::of(0u32..50), 6),
        flags in proptest::collection::vec(proptest::option::of(any::<bool>()), 6),
        name in prop_oneof![Just(None), Just(Some("phi3")), Just(Some("modern-bert"))],
        charsmap in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40)),
        text in "[ab <|>end]{0,20}|\\PC{0,10}",
        fit in any::<bool>(),
    ) {
        let fitted = |length: Option<usize>| length.filter(|_| fit).map(|_| tokens.len());
        let data = TokenizerData {
            model,
            pre,
            tokens: tokens.iter().map(String::as_str).collect(),
            types: types.map(|mut types| { if let Some(length) = fitted(Some(types.len())) { types.resize(length, 1) }; types }),
            scores: scores.map(|mut scores| { if let Some(length) = fitted(Some(scores.len())) { scores.resize(length, 0.0) }; scores }),
            merges: merges.iter().map(String::as_str).collect(),
            begin: ids[0], end: ids[1], end_of_turn: ids[2], end_of_message: ids[3], unknown: ids[4], padding: ids[5],
            add_begin: flags[0], add_end: flags[1], add_space_prefix: flags[2],
            remove_extra_whitespaces: flags[3], lowercase: flags[4], strip_accents: flags[5],
            name, charsmap,
            ..TokenizerData::default()
        };
        if let Ok(tokenizer) = Tokenizer::new(&data) {
            for special in [Special::Parse, Special::Text] {
                let tokens = tokenizer.with_begin_and_end(tokenizer.encode(&text, special));
                prop_assert!(tokens.iter().all(|&id| (id as usize) < tokenizer.vocabulary_size()));
                tokenizer.decode(&tokens);
            }
            let plain = tokenizer.encode(&text, Special::Text);
            prop_assert!(plain.iter().all(|&id| tokenizer.kind(id) != Some(TokenKind::Control)) || data.unknown.is_some());
        }
    }
}
