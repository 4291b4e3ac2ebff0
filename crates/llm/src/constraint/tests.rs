use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::sampler::answer_seed;
use crate::tokenizer::testing::{END, spelled, tokenizer};
use crate::tokenizer::{Special, TokenizerData};

fn constraint(description: &Description) -> Result<Constraint, LlmError> {
    ConstraintFactory::default().constraint(&tokenizer(), description).map(Option::unwrap)
}

/// Whether the grammar takes `text` token by token, and whether the output may end after it.
fn takes(description: &Description, text: &str) -> (bool, bool) {
    let mut constraint = constraint(description).unwrap();
    for token in tokenizer().encode(text, Special::Text) {
        if !constraint.mask().unwrap().allows(token) {
            return (false, false);
        }
        constraint.accept(token).unwrap();
    }
    let ends = constraint.mask().unwrap().allows(END);
    assert_eq!(ends, constraint.is_accepting());
    (true, ends)
}

#[test]
fn grammars_of_the_agent_hold() {
    let grammar = Description::Lark(
        r#"start: thought? (call | answer)
thought: "Thought: " /[^\n]{1,300}/ "\n"
call: "Call: " (c0 | c1)
c0: "calculate " %json {"type":"object","properties":{"expression":{"type":"string"}},"required":["expression"],"additionalProperties":false,"x-guidance":{"whitespace_flexible":false}}
c1: "get_time " %json {"type":"object","properties":{},"additionalProperties":false,"x-guidance":{"whitespace_flexible":false}}
answer: "Answer: " /(?s:.{1,20})/
"#
        .to_string(),
    );
    let taken = |text: &str| takes(&grammar, text);
    assert_eq!(taken("Call: calculate {\"expression\":\"1+1\"}"), (true, true));
    assert_eq!(taken("Thought: I see.\nCall: get_time {}"), (true, true));
    assert_eq!(taken("Thought: I see.\nAnswer: é\nb"), (true, true));
    assert_eq!(taken("Answer: "), (true, false));
    assert_eq!(taken("Call: calculate {"), (true, false));
    assert_eq!(taken("Call: calculate { \"expression\":\"1\"}"), (false, false));
    assert_eq!(taken("Call: remove {}"), (false, false));
    assert_eq!(taken("Hello"), (false, false));
    assert_eq!(taken("Answer: 12345678901234567890"), (true, true));
    assert_eq!(taken("Answer: 123456789012345678901"), (false, false));
}

#[test]
fn schemas_are_written_without_white_space() {
    let schema = Description::JsonSchema(json!({
        "type": "object", "properties": {"a": {"type": "integer"}, "b": {"enum": ["x", "y"]}},
        "required": ["a", "b"], "additionalProperties": false,
    }));
    assert_eq!(takes(&schema, r#"{"a":-12,"b":"y"}"#), (true, true));
    assert_eq!(takes(&schema, r#"{"a":-12,"#), (true, false));
    assert_eq!(takes(&schema, r#"{"a": 1"#), (false, false));
    assert_eq!(takes(&schema, r#"{"b":"#), (false, false));
    assert_eq!(takes(&schema, r#"{"a":1,"b":"z"#), (false, false));
}

#[test]
fn control_tokens_match_no_text() {
    let anything = Description::Lark("start: /(?s:.*)/".to_string());
    let mask = constraint(&anything).unwrap().mask().unwrap();
    for id in 256..END {
        assert!(!mask.allows(id), "{id}");
    }
    assert!(mask.allows(END) && mask.allows(b'a'.into()) && mask.allows(END + 1));
}

#[test]
fn when_nothing_may_follow_only_the_end_is_allowed() {
    let mut constraint = constraint(&Description::Lark("start: \"ab\"".to_string())).unwrap();
    assert!(!constraint.mask().unwrap().allows(END));
    for byte in b"ab" {
        constraint.accept(u32::from(*byte)).unwrap();
    }
    let mask = constraint.mask().unwrap();
    let allowed: Vec<u32> = (0..300).filter(|&id| mask.allows(id)).collect();
    assert_eq!(allowed, [END]);
}

#[test]
fn grammars_that_cannot_be_compiled_are_errors() {
    let problem = |description: Description| match constraint(&description) {
        Err(LlmError::Grammar { message }) => message,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("compiled: {description:?}"),
    };
    let lark = |grammar: &str| problem(Description::Lark(grammar.to_string()));
    assert!(lark("start: missing").contains("missing"));
    assert!(!lark("").is_empty());
    assert!(!lark("start: /(/").is_empty());
    assert!(!lark("start: \"a").is_empty());
    assert!(lark(&format!("start: {}\"a\"{}", "(".repeat(1000), ")".repeat(1000))).contains("nest"));
    assert!(lark(&"a: \"b\"\n".repeat(10_000)).contains("rules"));
    assert!(lark(&" ".repeat(2 << 20)).contains("bytes"));
    assert!(!problem(Description::JsonSchema(json!({"type": "nonsense"}))).is_empty());
    assert!(!problem(Description::JsonSchema(json!({"type": "string", "pattern": "("}))).is_empty());
    for message in [lark("start: missing"), lark("start: /(/")] {
        assert!(!message.contains("<non-verbose") && !message.contains("backtrace"), "{message}");
    }
}

#[test]
fn long_chains_of_rules_do_not_exhaust_the_stack() {
    let count = GRAMMAR_LIMITS.rules - 1;
    let mut grammar = "start: r0\n".to_string();
    for rule in 0..count - 1 {
        grammar.push_str(&format!("r{rule}: r{} \"a\"\n", rule + 1));
    }
    grammar.push_str(&format!("r{}: \"b\"\n", count - 1));
    // Whether it compiles is the compiler's choice.
    let _ = constraint(&Description::Lark(grammar));
}

#[test]
fn long_chains_of_definitions_do_not_exhaust_the_stack() {
    let links = [
        |next: &str| json!({"type": "object", "properties": {"a": {"$ref": next}}, "required": ["a"]}),
        |next: &str| json!({"anyOf": [{"$ref": next}, {"const": next}]}),
        |next: &str| json!({"allOf": [{"$ref": next}]}),
        |next: &str| json!({"$ref": next}),
        |next: &str| json!({"type": "array", "items": {"$ref": next}}),
    ];
    for link in links {
        let mut definitions = serde_json::Map::new();
        let last = GRAMMAR_LIMITS.references - 1;
        for index in 0..last {
            definitions.insert(format!("d{index}"), link(&format!("#/$defs/d{}", index + 1)));
        }
        definitions.insert(format!("d{last}"), json!({"const": 1}));
        let mut schema = json!({"$ref": "#/$defs/d0", "$defs": definitions});
        // Whether it compiles is the compiler's choice.
        let _ = constraint(&Description::JsonSchema(schema.clone()));
        schema["properties"] = json!({"more": {"$ref": "#/$defs/d1"}});
        assert!(matches!(constraint(&Description::JsonSchema(schema)), Err(LlmError::Grammar { .. })));
    }
}

#[test]
fn deep_schemas_do_not_exhaust_the_stack() {
    // As deep as JSON text may be to be read at all.
    let wraps = [
        |inner: serde_json::Value| json!({"items": inner}),
        |inner: serde_json::Value| json!({"anyOf": [inner, {"const": 2}]}),
        |inner: serde_json::Value| json!({"allOf": [inner]}),
        |inner: serde_json::Value| json!({"properties": {"a": inner}}),
    ];
    for wrap in wraps {
        let mut schema = json!({"const": 1});
        for _ in 0..60 {
            schema = wrap(schema);
        }
        let _ = constraint(&Description::JsonSchema(schema));
    }
}

#[test]
fn masks_are_the_same_every_time() {
    let schema =
        Description::JsonSchema(json!({"type": "array", "items": {"type": ["number", "string", "null"]}}));
    let run = || {
        let mut constraint = constraint(&schema).unwrap();
        let mut masks = Vec::new();
        for token in tokenizer().encode("[1.5,\"a\\n\",null]", Special::Text) {
            masks.push(constraint.mask().unwrap());
            constraint.accept(token).unwrap();
        }
        masks
    };
    assert_eq!(run(), run());
}

#[test]
fn of_tokens_with_the_same_bytes_one_is_used() {
    let tokenizer = tokenizer();
    let words = trie_words(&tokenizer);
    assert_eq!(words[END as usize], b"\xff<|end|>");
    assert_eq!(words.len(), tokenizer.vocabulary_size());
    assert_eq!(trie_nodes(&[b"ab".to_vec(), b"abc".to_vec(), b"b".to_vec(), vec![]]), 1 + 4);
}

/// llama.cpp's published example for JSON, as its grammar is: the white space, the numbers and all.
const JSON: &str = r##"root   ::= object
value  ::= object | array | string | number | ("true" | "false" | "null") ws

object ::=
  "{" ws (
            string ":" ws value
    ("," ws string ":" ws value)*
  )? "}" ws

array  ::=
  "[" ws (
            value
    ("," ws value)*
  )? "]" ws

string ::=
  "\"" (
    [^"\\\x7F\x00-\x1F] |
    "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}) # escapes
  )* "\"" ws

number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws

# Optional space: by convention, applied in this grammar after literal chars when allowed
ws ::= | " " | "\n" [ \t]{0,20}
"##;

#[test]
fn grammars_in_gbnf_take_what_they_say() {
    let json = Description::Gbnf(JSON.to_string());
    assert_eq!(takes(&json, "{ }\n  "), (true, true));
    for whole in ["{}", "{\"a\": [1, -2.5e+3, true], \"é\\u00e9\\n\":{\"b\":null}}"] {
        assert_eq!(takes(&json, whole), (true, true), "{whole}");
        for (end, _) in whole.char_indices().skip(1) {
            assert_eq!(takes(&json, &whole[..end]), (true, false), "{}", &whole[..end]);
        }
    }
    for wrong in
        ["[", "{,", "{\"a\"  :", "{\"a\":1,}", "{\"a\":01", "{\"\u{7f}\"", "{\"\\x\"", "{}  ", "{\"a\":tru "]
    {
        assert_eq!(takes(&json, wrong), (false, false), "{wrong}");
    }

    // llama.cpp's examples of arithmetic, lists and chess: recursion, comments, sets, counts.
    let arithmetic = Description::Gbnf(
        "root  ::= (expr \"=\" ws term \"\\n\")+\nexpr  ::= term ([-+*/] term)*\nterm  ::= ident | num | \"(\" ws expr \")\" ws\n\
        ident ::= [a-z] [a-z0-9_]* ws\nnum   ::= [0-9]+ ws\nws    ::= [ \\t\\n]*"
            .to_string(),
    );
    assert_eq!(takes(&arithmetic, "x1 +(2*y) = 3\n"), (true, true));
    assert_eq!(takes(&arithmetic, "x+1=2\nb=c\n"), (true, true));
    assert_eq!(takes(&arithmetic, "x+1=2\n\n\nb=c\n\n"), (true, true));
    assert_eq!(takes(&arithmetic, "x+1=2"), (true, false));
    assert_eq!(takes(&arithmetic, "x+="), (false, false));
    let list = Description::Gbnf("root ::= item+\n\n# Excludes various line break characters\nitem ::= \"- \" [^\\r\\n\\x0b\\x0c\\x85\\u2028\\u2029]+ \"\\n\"".to_string());
    assert_eq!(takes(&list, "- a\n- ü 🦊\n"), (true, true));
    assert_eq!(takes(&list, "- a\u{2028}"), (false, false));
    assert_eq!(takes(&list, "- \n"), (false, false));
    let chess = Description::Gbnf(
        "root   ::= \"1. \" move \" \" move \"\\n\" ([1-9] [0-9]? \". \" move \" \" move \"\\n\")+\nmove   ::= (pawn | nonpawn | castle) [+#]?\n\
        nonpawn ::= [NBKQR] [a-h]? [1-8]? \"x\"? [a-h] [1-8]\npawn   ::= ([a-h] \"x\")? [a-h] [1-8] (\"=\" [NBKQR])?\ncastle ::= \"O-O\" \"-O\"?"
            .to_string(),
    );
    assert_eq!(takes(&chess, "1. e4 e5\n2. Nf3 Nc6\n3. O-O-O exd8=Q+\n"), (true, true));
    assert_eq!(takes(&chess, "1. e4 e9"), (false, false));
}

#[test]
fn grammars_in_gbnf_need_no_lexer() {
    // Where the longest match is the wrong one, and where a rule is recursive to the left or only through itself.
    let gbnf = |text: &str| Description::Gbnf(text.to_string());
    let keyword = gbnf("root ::= word (\" \" root)? | \"if\" \"i\" root\nword ::= [a-z]+");
    assert_eq!(takes(&keyword, "ifi if"), (true, true));
    let greedy = gbnf("root ::= [a-z]* \"end\" root?");
    assert_eq!(takes(&greedy, "spendend"), (true, true));
    assert_eq!(takes(&greedy, "spenden"), (true, false));
    let left = gbnf("root ::= root \"a\" | \"b\"");
    assert_eq!(takes(&left, "baaa"), (true, true));
    let spaces = gbnf("root ::= ws \"x\" ws\nws ::= ([ \\t] ws)?");
    assert_eq!(takes(&spaces, "  x\t"), (true, true));
    let palindrome = gbnf("root ::= \"a\" root \"a\" | \"b\" root \"b\" | [ab]?");
    assert_eq!(takes(&palindrome, "abaaba"), (true, true));
    assert_eq!(takes(&palindrome, "abaab"), (true, false));
}

/// Whether `grammar` matches all of `text`: tries everything, as the definition reads.
fn matches(grammar: &gbnf::Grammar, text: &str) -> bool {
    fn ends(
        grammar: &gbnf::Grammar,
        expression: &gbnf::Expression,
        text: &[char],
        start: usize,
        depth: usize,
    ) -> std::collections::BTreeSet<usize> {
        use gbnf::Expression::{Choice, Class, Repeat, Rule, Sequence};
        if depth > 60 {
            return Default::default();
        }
        let after = |starts: std::collections::BTreeSet<usize>, item: &gbnf::Expression| {
            starts.into_iter().flat_map(|start| ends(grammar, item, text, start, depth + 1)).collect()
        };
        match expression {
            Class(class) => {
                let holds = |character: char| {
                    class.0.iter().any(|(first, last)| (*first..=*last).contains(&character.into()))
                };
                text.get(start)
                    .filter(|character| holds(**character))
                    .map(|_| start + 1)
                    .into_iter()
                    .collect()
            }
            Sequence(items) => items.iter().fold([start].into(), after),
            Choice(items) => {
                items.iter().flat_map(|item| ends(grammar, item, text, start, depth + 1)).collect()
            }
            Repeat(item, least, most) => {
                let mut all = std::collections::BTreeSet::new();
                let mut now: std::collections::BTreeSet<usize> = [start].into();
                for count in 0..=most.unwrap_or(10 + least) {
                    if count >= *least {
                        all.extend(&now);
                    }
                    now = after(now, item);
                }
                all
            }
            Rule(rule) => ends(grammar, &grammar.rules[*rule], text, start, depth + 1),
        }
    }
    let text: Vec<char> = text.chars().collect();
    ends(grammar, &gbnf::Expression::Rule(0), &text, 0, 0).contains(&text.len())
}

fn random_expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("\"a\"".to_string()),
        Just("\"ab\"".to_string()),
        Just("\"b\"".to_string()),
        Just("[ab]".to_string()),
        Just("[^b]".to_string()),
        Just("\"\"".to_string()),
        Just("x".to_string()),
        Just("(\"b\" y)".to_string()),
        Just("(\"a\" root \"b\")".to_string()),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 1..4).prop_map(|items| format!("({})", items.join(" "))),
            proptest::collection::vec(inner.clone(), 2..4)
                .prop_map(|items| format!("({})", items.join(" | "))),
            (inner, proptest::sample::select(vec!["*", "+", "?", "{2}", "{1,2}", "{2,}"]))
                .prop_map(|(item, sign)| format!("{item}{sign}")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn translated_grammars_take_exactly_what_the_original_says(
        root in random_expression(), x in proptest::sample::select(vec!["[ab]+", "\"ab\" | \"a\"", "\"b\"*", "\"a\" y?"]), y in random_expression(),
    ) {
        let text = format!("root ::= {root}\nx ::= {x}\ny ::= {}", y.replace('x', "\"a\""));
        let grammar = gbnf::Grammar::parse(&text).unwrap();
        let factory = shared_factory();
        let built = factory.constraint(&tokenizer(), &Description::Gbnf(text.clone()));
        let strings = (0..=5u32).flat_map(|length| (0..1u32 << length).map(move |bits| {
            (0..length).map(|place| if bits >> place & 1 == 1 { 'a' } else { 'b' }).collect::<String>()
        }));
        for string in strings {
            let expected = matches(&grammar, &string);
            let taken = match &built {
                Err(_) => false,
                Ok(constraint) => {
                    let mut constraint = constraint.clone().unwrap();
                    let mut mask = constraint.mask().unwrap();
                    let goes_on = string.bytes().all(|byte| {
                        let allowed = mask.allows(byte.into());
                        if allowed {
                            constraint.accept(byte.into()).unwrap();
                            mask = constraint.mask().unwrap();
                        }
                        allowed
                    });
                    goes_on && mask.allows(END)
                }
            };
            prop_assert_eq!(taken, expected, "{:?} of\n{}", string, text);
        }
    }
}

fn shared_factory() -> &'static ConstraintFactory {
    static FACTORY: OnceLock<ConstraintFactory> = OnceLock::new();
    FACTORY.get_or_init(ConstraintFactory::default)
}

#[test]
fn regular_expressions_match_the_whole_output() {
    let date = Description::Regex("[0-9]{4}-(0[1-9]|1[0-2])/\\d\"?".to_string());
    assert_eq!(takes(&date, "2026-11/3"), (true, true));
    assert_eq!(takes(&date, "2026-11/3\""), (true, true));
    assert_eq!(takes(&date, "2026-1"), (true, false));
    assert_eq!(takes(&date, "2026-13"), (false, false));
    assert_eq!(takes(&Description::Regex("(?s:.)*".to_string()), "é\n🦊"), (true, true));
    assert_eq!(takes(&Description::Regex("a#b //".to_string()), "a#b //"), (true, true));
}

#[test]
fn what_cannot_be_used_is_an_error_and_never_no_constraint() {
    let regex = |text: &str| Description::Regex(text.to_string());
    let gbnf = |text: &str| Description::Gbnf(text.to_string());
    for description in [
        regex("("),
        regex("[z-a]"),
        regex("a{2"),
        regex("(?=a)b"),
        regex("\\1"),
        regex("a\\"),
        regex(&"(".repeat(2000)),
        regex(&"a".repeat(2 << 20)),
        regex("(?P<"),
        gbnf(""),
        gbnf("root ::= missing"),
        gbnf("root ::= ("),
        gbnf(&"#".repeat(2 << 20)),
        gbnf("root ::= \"a\"{1,99999}"),
    ] {
        let text = format!("{description:?}").chars().take(60).collect::<String>();
        assert!(matches!(constraint(&description), Err(LlmError::Grammar { .. })), "{text}");
    }
    // What contradicts itself allows nothing.
    for description in [
        regex("[^\\s\\S]"),
        gbnf("root ::= \"a\" root"),
        Description::JsonSchema(json!({"allOf": [{"type": "string"}, {"type": "integer"}]})),
    ] {
        let outcome = constraint(&description);
        assert!(
            matches!(outcome, Err(LlmError::Grammar { .. } | LlmError::NothingAllowed)),
            "{description:?}"
        );
    }
}

#[test]
fn a_grammar_that_becomes_too_complex_ends_in_an_error() {
    // Behind two letters, there are more ways to go on than a parser may keep in mind.
    let ways: Vec<String> = (0..2500).map(|way| format!("\"a{way}\" \"b\"")).collect();
    let many = Description::Lark(format!("start: \"y\" \"y\" ({})", ways.join(" | ")));
    let mut constraint = constraint(&many).unwrap();
    let mut outcome = Ok(());
    for _ in 0..2 {
        outcome = constraint.mask().and_then(|mask| {
            assert!(mask.allows(b'y'.into()) && !mask.allows(b'z'.into()));
            constraint.accept(b'y'.into())
        });
    }
    let outcome = outcome.and_then(|()| constraint.mask().map(drop));
    assert!(matches!(outcome, Err(LlmError::Grammar { .. })), "{outcome:?}");
    // And it stays one.
    assert!(constraint.mask().is_err() && constraint.accept(b'a'.into()).is_err());
}

/// A vocabulary that is large enough for slices: bytes, and texts of all the kinds that slices tell apart.
fn large_tokenizer() -> Tokenizer {
    let pieces =
        ["a", "the", "Ada", " ", "1", ".", "\"", "\\", "\n", "é", "語", "\u{1}", "-", "{\"", "zzzzzzzzzzz"];
    let mut seen = std::collections::HashSet::new();
    let mut texts: Vec<String> = (0..=255).map(|byte| spelled(&[byte])).collect();
    for (first, second, third) in
        (0..pieces.len().pow(3)).map(|number| (number % 15, number / 15 % 15, number / 225))
    {
        for text in
            [[pieces[first], pieces[second], pieces[third]].concat(), pieces[first].repeat(second + third)]
        {
            if text.len() > 1 && seen.insert(text.clone()) {
                texts.push(spelled(text.as_bytes()));
            }
        }
    }
    // Parts of characters.
    texts.extend((0x80..0xc0).flat_map(|byte| [spelled(&[0xe8, byte]), spelled(&[0xe9, byte])]));
    texts.push("<|end|>".to_owned());
    let end = texts.len() as u32 - 1;
    let types = (0..=end).map(|id| if id == end { 3 } else { 1 }).collect();
    Tokenizer::new(&TokenizerData {
        model: "gpt2",
        pre: Some("default"),
        tokens: texts.iter().map(String::as_str).collect(),
        types: Some(types),
        end: Some(end),
        ..TokenizerData::default()
    })
    .unwrap()
}

#[test]
fn slices_change_no_mask() {
    let tokenizer = large_tokenizer();
    let count = tokenizer.vocabulary_size();
    assert!(count >= MINIMUM_SLICED_VOCABULARY, "{count} tokens");
    let sliced = ConstraintFactory::default();
    let plain = ConstraintFactory { parsers: OnceLock::from(parser_factory(&tokenizer, &[])) };
    let regex = |regex: &str| Description::Regex(regex.to_owned());
    for description in [
        Description::JsonSchema(json!({"type": "object"})),
        Description::Lark(
            r#"start: ("Thought: " /[^\n]{1,40}/ "\n")? ("Answer: " /(?s:.{1,25})/ | /[0-9]+/)"#.to_owned(),
        ),
        Description::Lark("start: /[^\\n]*/ (\"\\n\" /[^\"]*/)*".to_owned()),
        regex(r"[a-z.]{1,15}@([a-z]+\.)+[a-z]{2,6}"),
        regex(r"([A-Z][^.\n]{0,30}\.\n?){1,9}"),
        regex(r"(?s:.)*"),
        regex(r"[^\x00-\x1F]{3,12}"),
        regex("(語|é| )+a"),
    ] {
        let make =
            |factory: &ConstraintFactory| factory.constraint(&tokenizer, &description).unwrap().unwrap();
        for walk in 0..6 {
            let (mut sliced, mut plain) = (make(&sliced), make(&plain));
            for place in 0..12 {
                let masks = [sliced.mask().unwrap(), plain.mask().unwrap()];
                let [allowed, expected] =
                    masks.map(|mask| (0..count as u32).filter(|&id| mask.allows(id)).collect::<Vec<u32>>());
                assert_eq!(allowed, expected, "{description:?}, place {place}");
                let token = allowed[(answer_seed(walk, place + 1) % allowed.len() as u64) as usize];
                if tokenizer.ends_generation(token) {
                    break;
                }
                sliced.accept(token).unwrap();
                plain.accept(token).unwrap();
            }
        }
    }
}
