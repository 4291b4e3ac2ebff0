//! What a constraint costs at a vocabulary of 128k tokens: its preparation, once, and the mask of each token.
//!
//! `cargo bench -p glasshouse-llm --bench constraint`

use std::collections::HashMap;
use std::time::{Duration, Instant};

use glasshouse_llm::constraint::ConstraintFactory;
use glasshouse_llm::tokenizer::{Tokenizer, TokenizerData};
use glasshouse_protocol::Constraint as Description;
use serde_json::json;

/// As many as Llama 3 has.
const VOCABULARY: usize = 128_256;
/// Each output is generated so often.
const TURNS: usize = 30;

fn main() {
    let texts = vocabulary();
    let types = (0..texts.len()).map(|id| if id + 1 == texts.len() { 3 } else { 1 }).collect();
    let tokenizer = Tokenizer::new(&TokenizerData {
        model: "gpt2",
        pre: Some("default"),
        tokens: texts.iter().map(String::as_str).collect(),
        types: Some(types),
        end: Some(texts.len() as u32 - 1),
        ..TokenizerData::default()
    })
    .expect("a vocabulary");
    let mut ids = HashMap::new();
    for id in 0..texts.len() as u32 {
        ids.insert(tokenizer.token_bytes(id).to_vec(), id);
    }
    let factory = ConstraintFactory::default();
    let start = Instant::now();
    factory.constraint(&tokenizer, &Description::Regex("a".to_owned())).expect("a constraint");
    println!("once for a vocabulary of {}: {:.1?}", texts.len(), start.elapsed());
    println!("{:34} {:>10} {:>10} {:>10} {:>10} {:>8}", "", "prepared", "median", "p99", "most", "masks");
    for (name, description, outputs) in cases() {
        let start = Instant::now();
        let prepared =
            factory.constraint(&tokenizer, &description).expect("a grammar").expect("a constraint");
        let preparation = start.elapsed();
        let mut times = Vec::new();
        for turn in 0..TURNS {
            let mut constraint = prepared.clone();
            let output = &outputs[turn % outputs.len()];
            for token in longest_tokens(&ids, output.as_bytes()) {
                let start = Instant::now();
                let mask = constraint.mask().expect("a mask");
                times.push(start.elapsed());
                assert!(mask.allows(token), "{name}: {output}");
                constraint.accept(token).expect("an allowed token");
            }
        }
        times.sort();
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        let most = times.last().copied().unwrap_or(Duration::ZERO);
        println!(
            "{name:34} {preparation:>10.1?} {:>10.1?} {:>10.1?} {most:>10.1?} {:>8}",
            at(0.5),
            at(0.99),
            times.len()
        );
    }
}

/// Grammars, and outputs that they allow.
fn cases() -> Vec<(&'static str, Description, Vec<String>)> {
    let schema = json!({
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "age": {"type": "integer", "minimum": 0},
            "kind": {"enum": ["person", "company", "other"]},
            "tags": {"type": "array", "items": {"type": "string"}},
            "place": {
                "type": "object",
                "properties": {"lat": {"type": "number"}, "lon": {"type": "number"}},
                "required": ["lat", "lon"],
                "additionalProperties": false,
            },
        },
        "required": ["name", "age", "kind", "tags", "place"],
        "additionalProperties": false,
    });
    let records: Vec<String> = [
        ("Ada Lovelace", "the first programmer of an engine"),
        ("Grüße 🦊", "quotes \\\" and \\n"),
    ]
    .map(|(name, tag)| {
        format!(
            "{{\"name\":\"{name}\",\"age\":36,\"kind\":\"person\",\"tags\":[\"{tag}\",\"second thing here\"],\
                 \"place\":{{\"lat\":51.5074,\"lon\":-0.1278}}}}"
        )
    })
    .to_vec();
    let any_json = json!({"type": "object"});
    let prose =
        "It was the best of times, it was the worst of times; nobody could tell which, or why.".to_owned();
    let gbnf = "root ::= object\nvalue ::= object | array | string | number | (\"true\" | \"false\" | \"null\") ws\n\
        object ::= \"{\" ws (string \":\" ws value (\",\" ws string \":\" ws value)*)? \"}\" ws\n\
        array ::= \"[\" ws (value (\",\" ws value)*)? \"]\" ws\n\
        string ::= \"\\\"\" ([^\"\\\\\\x7F\\x00-\\x1F] | \"\\\\\" ([\"\\\\bfnrt] | \"u\" [0-9a-fA-F]{4}))* \"\\\"\" ws\n\
        number ::= (\"-\"? ([0-9] | [1-9] [0-9]{0,15})) (\".\" [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws\n\
        ws ::= | \" \" | \"\\n\" [ \\t]{0,20}";
    let agent = "start: (\"Thought: \" /[^\\n]{1,300}/ \"\\n\")? (\"Call: calculate \" %json {\"type\":\"object\",\"properties\":{\"expression\":{\"type\":\"string\"}},\
        \"required\":[\"expression\"],\"additionalProperties\":false} | \"Answer: \" /(?s:.{1,400})/)";
    vec![
        ("JSON schema: a record", Description::JsonSchema(schema), records.clone()),
        ("JSON schema: any object", Description::JsonSchema(any_json), records.clone()),
        (
            "regex: an address",
            Description::Regex("[a-z.]{1,40}@([a-z]+\\.)+[a-z]{2,6}".to_owned()),
            vec!["ada.lovelace@engines.example.org".to_owned()],
        ),
        (
            "regex: lines of prose",
            Description::Regex("([A-Z][^.\\n]{0,200}\\.\\n?){1,9}".to_owned()),
            vec![prose.clone()],
        ),
        (
            "regex: a date",
            Description::Regex("[0-9]{4}-(0[1-9]|1[0-2])-[0-3][0-9]T[0-9:]{8}Z".to_owned()),
            vec!["2026-11-29T02:30:00Z".to_owned()],
        ),
        ("GBNF: llama.cpp's JSON", Description::Gbnf(gbnf.to_owned()), records),
        (
            "Lark: an agent's step",
            Description::Lark(agent.to_owned()),
            vec![format!("Thought: {prose}\nAnswer: {prose}")],
        ),
    ]
}

/// The longest token at each place.
fn longest_tokens(ids: &HashMap<Vec<u8>, u32>, mut text: &[u8]) -> Vec<u32> {
    let mut tokens = Vec::new();
    while !text.is_empty() {
        let (length, id) = (1..=text.len().min(24))
            .rev()
            .find_map(|length| Some((length, *ids.get(&text[..length])?)))
            .expect("every byte is a token");
        tokens.push(id);
        text = &text[length..];
    }
    tokens
}

/// Bytes, common words and made-up ones with and without a space before them, numbers, indentation and punctuation, and
/// letters of other scripts: about the mixture that vocabularies of this size have.
fn vocabulary() -> Vec<String> {
    let spelling = |text: &str| text.bytes().map(byte_character).collect::<String>();
    let mut texts: Vec<String> = (0..=255).map(|byte| byte_character(byte).to_string()).collect();
    let mut known: std::collections::HashSet<String> = texts.iter().cloned().collect();
    let mut add = |text: &str, texts: &mut Vec<String>| {
        let text = spelling(text);
        if texts.len() < VOCABULARY - 1 && known.insert(text.clone()) {
            texts.push(text);
        }
    };
    for number in 0..1000 {
        add(&number.to_string(), &mut texts);
    }
    for width in 2..80 {
        add(&" ".repeat(width), &mut texts);
        add(&"\n".repeat(width), &mut texts);
        add(&format!("\n{}", " ".repeat(width)), &mut texts);
    }
    for a in [
        "\"", "'", "(", ")", "{", "}", "[", "]", ",", ".", ":", ";", "=", "-", "<", ">", "/", "\\", "#", "_",
        "!", "?",
    ] {
        for b in ["\"", "(", ")", "{", "}", "[", "]", ",", ":", ";", "\n", " ", "=", ">", "/", "\\", "-"] {
            add(&format!("{a}{b}"), &mut texts);
            add(&format!(" {a}{b}"), &mut texts);
            add(&format!("{a}{b}{a}"), &mut texts);
        }
    }
    let words = "the of and to in is it was that for on are with as his they at be this have from or one had by word but not what \
        all were we when your can said there use an each which she do how their if will up other about out many then them these \
        so some her would make like him into time has look two more write go see number no way could people my than first water \
        been call who oil its now find long down day did get come made may part name age kind person company place lat lon tags \
        best worst times nobody tell why programmer engine second thing here Thought Call Answer calculate expression";
    for word in words.split_whitespace() {
        add(word, &mut texts);
        add(&format!(" {word}"), &mut texts);
        add(&format!("\"{word}"), &mut texts);
    }
    let mut state = 7u64;
    let mut random = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let syllables = [
        "an", "ber", "ca", "de", "en", "fi", "ga", "hu", "in", "jo", "ka", "li", "mo", "ne", "or", "pe",
        "qu", "ra", "st", "ti", "un", "ve", "wi", "xe", "yl", "zo", "s", "ed", "ing", "tion",
    ];
    let scripts = [
        'а', 'б', 'в', 'г', 'д', 'е', 'が', 'の', '中', '国', '人', '的', 'é', 'ü', 'ß', 'ن', 'ا', '한',
        '국', '🦊',
    ];
    while texts.len() < VOCABULARY - 1 {
        let mut text = String::new();
        if random(5) < 3 {
            text.push(' ');
        }
        if random(8) == 0 {
            for _ in 0..1 + random(4) {
                text.push(scripts[random(20) as usize]);
            }
        } else {
            for _ in 0..1 + random(4) {
                text.push_str(syllables[random(30) as usize]);
            }
            match random(12) {
                0 => text = text.to_uppercase(),
                1 => text.push(['.', ',', '(', '"', ':', '_'][random(6) as usize]),
                _ => {}
            }
        }
        add(&text, &mut texts);
    }
    texts.push("<|end|>".to_owned());
    texts
}

/// GPT-2's spelling of a byte.
fn byte_character(byte: u8) -> char {
    let printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let code = match printable(byte) {
        true => u32::from(byte),
        false => 0x100 + (0..byte).filter(|&other| !printable(other)).count() as u32,
    };
    char::from_u32(code).unwrap_or('?')
}
