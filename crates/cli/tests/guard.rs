//! `glasshouse guard` and `glasshouse ask --guard` from outside.

mod support;

use std::{fs, process::Output};

use serde_json::Value;
use support::glasshouse;
use tempfile::TempDir;

fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = TempDir::new().unwrap();
    for (name, content) in files {
        fs::write(directory.path().join(name), content).unwrap();
    }
    directory
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// The objects that a command printed, one a line.
fn objects(output: &Output) -> Vec<Value> {
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Lines of tokens with these scores, written as they stand.
fn lines(scores: &[&str]) -> String {
    scores.iter().map(|score| format!("{{\"token\":\"word \",\"score\":{score}}}\n")).collect()
}

/// What `guard check` says about these lines.
fn check(directory: &TempDir, arguments: &[&str], input: &str) -> Vec<Value> {
    let output = glasshouse(directory.path(), &[&["guard", "check"], arguments].concat(), input);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    objects(&output)
}

#[test]
fn the_vectors_of_the_reference_come_out_of_the_command_line() {
    let vectors: Value = serde_json::from_str(include_str!("../../halt/tests/vectors.json")).unwrap();
    let directory = directory(&[]);
    for vector in vectors.as_array().unwrap() {
        let mut config = vector["config"].clone();
        config["trend"] = "least_squares".into();
        fs::write(directory.path().join("config.json"), config.to_string()).unwrap();
        let scores: Vec<String> = vector["scores"].as_array().unwrap().iter().map(Value::to_string).collect();
        let input = lines(&scores.iter().map(String::as_str).collect::<Vec<_>>());
        let decisions = check(&directory, &["--config", "config.json"], &input);
        assert_eq!(decisions.len(), scores.len());
        let halt = decisions.iter().find(|decision| decision["decision"] == "halt");
        let expected = &vector["least_squares"];
        assert_eq!(
            halt.map_or(&Value::Null, |halt| &halt["index"]),
            &expected["index"],
            "{}",
            vector["number"]
        );
        assert_eq!(halt.map_or(&Value::Null, |halt| &halt["rule"]), &expected["rule"]);
    }
}

#[test]
fn what_is_no_score_halts_and_says_so() {
    let directory = directory(&[]);
    for (score, rule) in [
        ("NaN", "invalid_score"),
        ("-Infinity", "invalid_score"),
        ("1.5", "invalid_score"),
        ("\"0.9\"", "invalid_score"),
        ("null", "missing_score"),
    ] {
        let decisions = check(&directory, &[], &lines(&["0.9", score, "0.9"]));
        let seen: Vec<_> =
            decisions.iter().map(|one| (one["decision"].clone(), one["rule"].clone())).collect();
        let expected = [("continue", Value::Null), ("halt", rule.into()), ("halt", "after_end".into())];
        assert_eq!(seen, expected.map(|(decision, rule)| (Value::from(decision), rule)), "{score}");
        assert!(decisions.iter().all(|decision| decision["released"] == 1));
    }
    let gap = "{\"index\":0,\"score\":0.9}\n{\"index\":2,\"score\":0.9}\n";
    assert_eq!(check(&directory, &[], gap)[1]["rule"], "out_of_order");
}

#[test]
fn a_soft_halt_is_warned_of_and_confirmed_at_the_end() {
    let config = "halt_mode = \"soft\"\nwindow_size = 2\nwindow_threshold = 0.8\n";
    let directory = directory(&[("guard.toml", config)]);
    let decisions = check(&directory, &["--config", "guard.toml"], &lines(&["0.9", "0.6", "0.9"]));
    let names: Vec<_> = decisions.iter().map(|decision| decision["decision"].as_str().unwrap()).collect();
    assert_eq!(names, ["continue", "warn", "warn", "halt"]);
    assert_eq!((&decisions[3]["at_end"], &decisions[3]["rule"]), (&true.into(), &"window_avg".into()));
    assert_eq!(decisions[3]["reason"], "window_avg (0.7500 < 0.8)");
}

#[test]
fn a_drawing_shows_the_stream_and_the_halt() {
    let directory = directory(&[]);
    let scores: Vec<String> =
        (0..2_000).map(|index| format!("{:.4}", 0.95 - f64::from(index) * 0.00025)).collect();
    let input = lines(&scores.iter().map(String::as_str).collect::<Vec<_>>());
    check(&directory, &["--plot", "out.svg"], &input);
    let svg = fs::read_to_string(directory.path().join("out.svg")).unwrap();
    assert!(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""));
    for part in [
        "<title>score</title>",
        "<title>mean of the window</title>",
        "halt at ",
        "window_avg (0.5499 &lt; 0.55)",
    ] {
        assert!(svg.contains(part), "{part}");
    }
    assert!(svg.len() < 100_000);
    // No tokens, and one.
    for input in [String::new(), lines(&["0.1"])] {
        check(&directory, &["--plot", "out.svg"], &input);
        let svg = fs::read_to_string(directory.path().join("out.svg")).unwrap();
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
}

#[test]
fn what_cannot_be_used_is_refused_with_its_place() {
    let files = [
        ("zero.toml", "window_size = 0\n"),
        ("unknown.toml", "windw_size = 3\n"),
        ("broken.toml", "window_size = \n"),
        ("scorer.json", "{\"scorer\": \"guess\"}"),
        ("error.toml", "invalid_input = \"error\"\n"),
    ];
    let directory = directory(&files);
    for (arguments, input, part) in [
        (&["--config", "zero.toml"][..], "", "`window_size` is 0; it must be a whole number from 1 to 65536"),
        (&["--config", "unknown.toml"], "", "`windw_size` is no field"),
        (&["--config", "broken.toml"], "", "broken.toml cannot be used"),
        (&["--config", "scorer.json"], "", "`scorer` is \"guess\""),
        (&["--config", "none.toml"], "", "none.toml cannot be read"),
        (
            &["--config", "error.toml"],
            "{\"score\":0.9}\n{\"score\":NaN}\n",
            "line 2: token 1 is not taken: invalid_score",
        ),
        (&[], "{\"score\":0.9}\nhello\n", "line 2 is no token with a score"),
        (&["--plot", "nowhere/out.svg"], "", "nowhere/out.svg cannot be written"),
    ] {
        let output = glasshouse(directory.path(), &[&["guard", "check"], arguments].concat(), input);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(text(&output.stderr).contains(part), "{}", text(&output.stderr));
    }
}

#[test]
fn an_answer_that_the_facts_do_not_have_is_halted_and_the_log_repeats_it() {
    let directory = directory(&[("facts.txt", "The Eiffel Tower is in Paris."), ("empty.toml", "")]);
    let question = "What is the capital of France?";
    let ask =
        |arguments: &[&str]| glasshouse(directory.path(), &[&["ask"], arguments, &[question]].concat(), "");

    let output = ask(&["--json", "--guard", "empty.toml", "--facts", "facts.txt", "--trace", "run.log"]);
    assert_eq!(output.status.code(), Some(1));
    let lines = objects(&output);
    let halt = lines.iter().find(|line| line["event"] == "generation_halted").unwrap();
    let trace = halt["halt"]["trace"].as_array().unwrap();
    assert_eq!(trace.last().unwrap()["decision"], "halt");
    assert_eq!(trace.last().unwrap()["index"], halt["halt"]["index"]);
    assert!(lines.iter().any(|line| line["outcome"]["end"]["kind"] == "halted"), "{lines:?}");
    assert!(text(&output.stderr).contains("the guard halted the model: "), "{}", text(&output.stderr));

    let replayed = glasshouse(directory.path(), &["replay", "run.log"], "");
    assert_eq!(replayed.status.code(), Some(0), "{}", text(&replayed.stderr));

    // A number that the facts do not have is halted, one that they have is not.
    for (facts, code) in [("17 * 23 is 391.", 0), ("17 * 23 is 392.", 1)] {
        fs::write(directory.path().join("sums.txt"), facts).unwrap();
        let arguments = ["ask", "--facts", "sums.txt", "What is 17 * 23?"];
        assert_eq!(glasshouse(directory.path(), &arguments, "").status.code(), Some(code), "{facts}");
    }

    // Without facts, the small model is sure of what it says.
    let unguarded = ask(&[]);
    let guarded = ask(&["--guard", "empty.toml"]);
    assert_eq!((unguarded.status.code(), &unguarded.stdout), (Some(0), &guarded.stdout));
}

#[test]
fn a_token_that_took_too_long_is_halted_there_again() {
    let limits = "hard_limit = 0\nwindow_threshold = 0\ntrend_threshold = 2\nlogit_entropy_limit = 99\ndeadline_ms = 1e-9\n";
    let directory = directory(&[("late.toml", limits)]);
    // The first token waits for the prompt, which takes some milliseconds.
    let long = format!("What is 17 * 23? {}", "Please be so kind. ".repeat(40));
    let output =
        glasshouse(directory.path(), &["ask", "--guard", "late.toml", "--trace", "run.log", &long], "");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("deadline_ms ("), "{}", text(&output.stderr));
    for _ in 0..2 {
        let replayed = glasshouse(directory.path(), &["replay", "run.log"], "");
        assert_eq!(replayed.status.code(), Some(0), "{}", text(&replayed.stderr));
    }
}
