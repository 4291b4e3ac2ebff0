//! `glasshouse generate`, `chat` and `model perplexity` from outside, with the built-in model.

mod support;

use std::{env, fs, path::Path, process::Output};

use serde_json::Value;
use support::glasshouse;
use tempfile::TempDir;

fn printed(directory: &Path, arguments: &[&str], input: &str) -> String {
    let output = glasshouse(directory, arguments, input);
    assert!(output.status.success(), "{arguments:?}\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_text_is_gone_on_with_from_the_command_line_and_from_standard_input_alike() {
    let at = env::temp_dir();
    let json = |arguments: &[&str], input: &str| -> Value {
        let arguments = [&["generate", "--json", "--max-tokens", "12"], arguments].concat();
        serde_json::from_str(&printed(&at, &arguments, input)).unwrap()
    };
    let typed = json(&["The capital"], "");
    assert_eq!(typed, json(&[], "The capital\n"));
    assert_eq!(typed, json(&["-"], "The capital"));
    assert!(typed["tokens"].as_array().is_some_and(|tokens| !tokens.is_empty() && tokens.len() <= 12));
    let text = printed(&at, &["generate", "--max-tokens", "12", "The capital"], "");
    assert_eq!(text.trim_end_matches('\n'), typed["text"].as_str().unwrap().trim_end_matches('\n'));
    // With a draw, the seed decides.
    let drawn = |seed| json(&["--temperature", "5", "--seed", seed, "The capital"], "");
    assert_eq!(drawn("1"), drawn("1"));
    assert_ne!(drawn("1")["tokens"], drawn("2")["tokens"]);
}

#[test]
fn guesses_change_nothing_of_what_is_generated() {
    let at = TempDir::new().unwrap();
    let generate = |arguments: &[&str]| {
        let text = "one two three one two three one two";
        printed(at.path(), &[&["generate", "--json", "--max-tokens", "40", text], arguments].concat(), "")
    };
    let plain = generate(&[]);
    assert_eq!(generate(&["--draft", "lookup"]), plain);
    let pocket = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/pocket/pocket.gguf");
    assert_eq!(generate(&["--draft", pocket]), plain);
    let drawn = ["--temperature", "3", "--seed", "9"];
    assert_eq!(generate(&[&drawn[..], &["--draft", pocket]].concat()), generate(&drawn));
}

#[test]
fn an_output_keeps_to_its_schema_its_grammar_and_its_stop_text() {
    let directory = TempDir::new().unwrap();
    let at = directory.path();
    let schema = r#"{"type":"object","properties":{"a":{"enum":[1,2]}},"required":["a"],"additionalProperties":false}"#;
    fs::write(at.join("schema.json"), schema).unwrap();
    fs::write(at.join("grammar.lark"), r#"start: "yes" | "no""#).unwrap();
    let text = printed(at, &["generate", "--schema", "schema.json", "Give a number:"], "");
    assert!(serde_json::from_str::<Value>(&text).unwrap()["a"].is_i64(), "{text}");
    let text = printed(at, &["generate", "--grammar", "grammar.lark", "Is it so?"], "");
    assert!(["yes\n", "no\n"].contains(&text.as_str()), "{text}");
    fs::write(at.join("grammar.gbnf"), r#"root ::= "maybe" | "never""#).unwrap();
    let text = printed(at, &["generate", "--grammar", "grammar.gbnf", "Is it so?"], "");
    assert!(matches!(text.trim_end(), "maybe" | "never"), "{text}");
    let text = printed(at, &["generate", "--regex", "[0-9]{3}-x", "A code:"], "");
    let (digits, rest) = text.split_at(3);
    assert!(digits.bytes().all(|digit| digit.is_ascii_digit()) && rest == "-x\n", "{text}");
    let whole = printed(at, &["generate", "--max-tokens", "30", "one two three one two three"], "");
    let character = whole.chars().find(|character| character.is_alphanumeric()).unwrap().to_string();
    let text = printed(
        at,
        &["generate", "--max-tokens", "30", "--stop", &character, "one two three one two three"],
        "",
    );
    assert!(!text.contains(&character), "{whole:?} {text:?}");
}

#[test]
fn each_token_is_told_with_its_probability_and_every_way_of_sampling_can_be_typed() {
    let at = env::temp_dir();
    let json = |arguments: &[&str]| -> Value {
        let arguments =
            [&["generate", "--json", "--ignore-eos", "--max-tokens", "8", "x"], arguments].concat();
        serde_json::from_str(&printed(&at, &arguments, "")).unwrap()
    };
    let told = json(&["--logprobs", "2"]);
    let (tokens, logprobs) = (told["tokens"].as_array().unwrap(), told["logprobs"].as_array().unwrap());
    assert_eq!((tokens.len(), logprobs.len()), (8, 8));
    for (token, logprob) in tokens.iter().zip(logprobs) {
        assert_eq!(&logprob["token"], token);
        assert!(logprob["logprob"].as_f64().unwrap() <= 0.0);
        assert_eq!(logprob["top"].as_array().unwrap().len(), 2);
    }
    // Greedily the most probable token comes; a bias takes it out of question.
    let first = tokens[0].to_string();
    let biased = json(&["--logit-bias", &format!("{first}=-100")]);
    assert_ne!(biased["tokens"][0], tokens[0]);
    let drawn = ["--temperature", "3", "--seed", "5"];
    let plain = json(&drawn);
    for further in [
        &["--top-k", "1"][..],
        &["--min-p", "0.9", "--order", "min_p,temperature"],
        &["--typical-p", "0.05"],
        &["--mirostat-tau", "0.1"],
        &["--xtc-probability", "1", "--xtc-threshold", "0.000001"],
        &["--presence-penalty", "50", "--frequency-penalty", "50"],
        &["--dry-multiplier", "50", "--dry-allowed-length", "1", "--temperature", "0.01"],
    ] {
        let drawn: Vec<&str> =
            drawn.iter().filter(|_| !further.contains(&"--temperature")).copied().collect();
        assert_ne!(json(&[&drawn, further].concat())["tokens"], plain["tokens"], "{further:?}");
    }
}

#[test]
fn what_cannot_be_generated_is_refused_with_a_way_out() {
    let directory = TempDir::new().unwrap();
    let at = directory.path();
    fs::write(at.join("broken.json"), "{").unwrap();
    for (arguments, words) in [
        (&["generate", ""][..], "the prompt is empty"),
        (&["generate", "--schema", "broken.json", "x"], "is not JSON"),
        (&["generate", "--schema", "absent.json", "x"], "cannot be read"),
        (&["generate", "--model", "absent", "x"], "no model of that name in the store"),
        (&["generate", "--draft", "absent", "x"], "no model of that name in the store"),
    ] {
        let message = refused(&glasshouse(at, arguments, ""));
        assert!(message.starts_with("error: ") && message.contains(words), "{arguments:?} {message}");
    }
}

#[test]
fn a_chat_goes_turn_by_turn_and_knows_its_commands() {
    let directory = TempDir::new().unwrap();
    let said = printed(
        directory.path(),
        &["chat"],
        "What is 17 * 23?\n/tools\n/memory\nRemember that the gate code is 4417\n/memory\n/save talk.json\n/exit\nnever",
    );
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].contains("391"), "{said}");
    assert!(lines.iter().any(|line| line.starts_with("calculate\t")), "{said}");
    assert!(lines.contains(&"nothing is remembered"), "{said}");
    assert!(lines.iter().any(|line| line.starts_with("1\t") && line.contains("4417")), "{said}");
    assert!(lines.last().unwrap().contains("saved 4 messages"), "{said}");
    let saved: Value =
        serde_json::from_str(&fs::read_to_string(directory.path().join("talk.json")).unwrap()).unwrap();
    assert_eq!(saved["messages"][0], serde_json::json!({"role": "user", "content": "What is 17 * 23?"}));
    assert!(saved["messages"][1]["content"].as_str().unwrap().contains("391"));
    let said =
        printed(directory.path(), &["chat"], "/load talk.json\n/save again.json\n/clear\n/save empty.json\n");
    assert_eq!(said, "loaded 4 messages\nsaved 4 messages\nsaved 0 messages\n");
    assert_eq!(
        fs::read(directory.path().join("talk.json")).unwrap(),
        fs::read(directory.path().join("again.json")).unwrap()
    );
}

#[test]
fn a_message_may_have_several_lines() {
    let directory = TempDir::new().unwrap();
    printed(
        directory.path(),
        &["chat", "--max-tokens", "200"],
        "What is\\\n17 * 23?\n\"\"\"\nWhat is\n\n2 + 2?\n\"\"\"\n/save talk.json\n",
    );
    let saved: Value =
        serde_json::from_str(&fs::read_to_string(directory.path().join("talk.json")).unwrap()).unwrap();
    let messages = saved["messages"].as_array().unwrap();
    let asked: Vec<&str> = messages
        .iter()
        .filter(|message| message["role"] == "user")
        .map(|message| message["content"].as_str().unwrap())
        .collect();
    assert_eq!(asked, ["What is\n17 * 23?", "What is\n\n2 + 2?"]);
}

#[test]
fn what_fails_in_a_chat_does_not_end_it_and_is_told_at_the_end() {
    let directory = TempDir::new().unwrap();
    let output =
        glasshouse(directory.path(), &["chat"], "/nothing\n/save\n/load absent.json\nWhat is 17 * 23?\n");
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("there is no /nothing; /help says"), "{told}");
    assert!(told.contains("/save needs the name of a file"), "{told}");
    assert!(told.contains("absent.json cannot be read"), "{told}");
    assert!(String::from_utf8(output.stdout).unwrap().contains("391"));
}

#[test]
fn what_is_granted_in_a_chat_can_be_used_and_nothing_else() {
    let directory = TempDir::new().unwrap();
    fs::create_dir(directory.path().join("notes")).unwrap();
    fs::write(directory.path().join("notes/todo.txt"), "buy milk\n").unwrap();
    let question = "What does todo.txt say?\n";
    let granted = printed(directory.path(), &["chat", "--mount", "notes"], question);
    assert!(granted.contains("buy milk"), "{granted}");
    let output = glasshouse(directory.path(), &["chat"], question);
    assert!(!String::from_utf8_lossy(&output.stdout).contains("buy milk"));
}

#[test]
fn perplexity_is_the_same_with_any_kernel_and_less_for_a_text_that_the_model_knows() {
    let directory = TempDir::new().unwrap();
    let at = directory.path();
    let known =
        "Thought: I should calculate this.\nCall: calculate {\"expression\":\"17 * 23\"}\n".repeat(20);
    let random: String = (0..1500u32)
        .map(|index| char::from(b'!' + (index.wrapping_mul(2_654_435_761) >> 25) as u8 % 90))
        .collect();
    fs::write(at.join("known.txt"), known).unwrap();
    fs::write(at.join("random.txt"), random).unwrap();
    let score = |text: &str, further: &[&str]| -> Value {
        let arguments = ["model", "perplexity", "--text", text, "--context", "64", "--json"];
        serde_json::from_str(&printed(at, &[&arguments, further].concat(), "")).unwrap()
    };
    let found = score("known.txt", &[]);
    let scalar = score("known.txt", &["--kernel", "scalar", "--threads", "1"]);
    assert_eq!((&found["perplexity"], &found["error"]), (&scalar["perplexity"], &scalar["error"]));
    let random = score("random.txt", &[]);
    assert!(
        found["perplexity"].as_f64().unwrap() * 5.0 < random["perplexity"].as_f64().unwrap(),
        "{found} {random}"
    );
    let said =
        printed(at, &["model", "perplexity", "--text", "known.txt", "--context", "64", "--windows", "2"], "");
    assert!(said.starts_with("[1]") && said.contains(",[2]") && said.contains("\nperplexity "), "{said}");
    assert!(said.contains(" ± ") && said.contains("62 tokens in 2 windows of 64"), "{said}");
    let output = glasshouse(at, &["model", "perplexity", "--text", "known.txt", "--context", "5000"], "");
    assert!(refused(&output).contains("known.txt cannot be scored"), "{output:?}");
}
