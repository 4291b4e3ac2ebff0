//! The store of models from outside: `glasshouse model pull`, `list` and `rm`, and models by their names.

#[path = "../../hub/tests/download/server.rs"]
#[allow(dead_code, reason = "not everything that the server can do is done here")]
mod server;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use server::{Reply, Server};
use tempfile::TempDir;

/// The model file that is part of the repository.
fn pocket() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/pocket/pocket.gguf")
}

/// SHA-256 of that file, as whoever published it would say it; the program computes its own.
fn checksum(bench: &Bench, server: &Server) -> String {
    let plain = bench.objects(&["pull", "--json", &server.address("/plain.gguf")]);
    let stored = plain.last().unwrap();
    stored["files"][0]["sha256"].as_str().unwrap().to_owned()
}

struct Bench {
    directory: TempDir,
    endpoint: String,
}

impl Bench {
    fn new(server: &Server) -> Self {
        Self { directory: TempDir::new().unwrap(), endpoint: server.address("") }
    }

    fn command(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_glasshouse"));
        command.current_dir(self.directory.path()).args(arguments).stdin(Stdio::null());
        command.env("GLASSHOUSE_HOME", self.directory.path().join("home"));
        command.env("HF_ENDPOINT", &self.endpoint).env("HF_TOKEN", "").env("NO_COLOR", "1");
        command.env("NO_PROXY", "127.0.0.1");
        command.output().unwrap()
    }

    fn model(&self, arguments: &[&str]) -> Output {
        self.command(&[&["model"], arguments].concat())
    }

    fn printed(&self, arguments: &[&str]) -> String {
        let output = self.model(arguments);
        assert!(output.status.success(), "{arguments:?}\n{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn objects(&self, arguments: &[&str]) -> Vec<Value> {
        self.printed(arguments).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Fails with one message, which is given without what differs from run to run.
    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.model(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(message.starts_with("error: ") && !message.contains("panicked"), "{message}");
        let folder = self.directory.path().display().to_string();
        message.replace(&self.endpoint, "http://hub").replace(&folder, "FOLDER")
    }
}

/// A server of the model file under several paths, of a hub, and of what is no model.
fn server() -> Server {
    let content = fs::read(pocket()).unwrap();
    Server::start(move |request| match request.path.as_str() {
        "/api/models/owner/repo/tree/main?recursive=true" => {
            let size = content.len();
            let file = |path| format!(r#"{{"type":"file","path":"{path}","size":{size}}}"#);
            Reply::new(200, format!("[{},{}]", file("small-Q4_0.gguf"), file("small-Q8_0.gguf")))
        }
        "/plain.gguf" | "/same.gguf" | "/owner/repo/resolve/main/small-Q8_0.gguf" => {
            Reply::file(request, &content, "\"one\"")
        }
        "/login.gguf" => Reply::new(200, "<html>please log in</html>"),
        "/cut.gguf" => Reply::file(request, &content[..5000], "\"one\""),
        "/private.gguf" => Reply::new(401, ""),
        _ => Reply::new(404, ""),
    })
}

#[test]
fn a_model_is_pulled_listed_used_by_its_name_and_removed() {
    let server = server();
    let bench = Bench::new(&server);
    let said = bench.printed(&["pull", &server.address("/plain.gguf")]);
    assert!(said.starts_with("plain is in the store: ") && said.contains("not verified"), "{said}");
    let said = bench.printed(&["pull", &server.address("/plain.gguf")]);
    assert!(said.contains("is in the store already"), "{said}");
    let said = bench.printed(&["pull", "hf:owner/repo:q8_0", "--name", "mine"]);
    assert!(said.starts_with("mine is in the store: "), "{said}");

    let listed = bench.printed(&["list"]);
    let lines: Vec<Vec<&str>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["name", "size", "type", "architecture", "context", "verified"]);
    assert_eq!((lines[1][0], lines[2][0]), ("mine", "plain"));
    let objects = bench.objects(&["list", "--json"]);
    assert_eq!((&objects[0]["name"], &objects[0]["source"]), (&"mine".into(), &"hf:owner/repo:q8_0".into()));
    assert_eq!(objects[1]["whole"], true);

    // By its name wherever a file could stand; a file of that name comes first.
    let by_name = bench.printed(&["info", "plain"]);
    assert_eq!(by_name, bench.printed(&["info", pocket().to_str().unwrap()]));
    let tokens = bench.printed(&["tokenize", "--model", "plain", "hello"]);
    assert_eq!(tokens, bench.printed(&["tokenize", "hello"]));
    fs::write(bench.directory.path().join("plain"), "no model").unwrap();
    assert!(bench.refused(&["info", "plain"]).contains("not GGUF"));
    fs::remove_file(bench.directory.path().join("plain")).unwrap();

    assert!(bench.refused(&["rm", "plain"]).contains("--yes"));
    assert!(bench.printed(&["rm", "--yes", "plain"]).starts_with("removed plain"));
    assert_eq!(bench.objects(&["list", "--json"]).len(), 1);
    assert!(bench.directory.path().join("home/models/mine").is_dir());
    assert!(!bench.directory.path().join("home/models/plain").exists());
}

#[test]
fn the_agent_answers_with_a_stored_model() {
    let server = server();
    let bench = Bench::new(&server);
    bench.printed(&["pull", &server.address("/plain.gguf")]);
    let output = bench.command(&["ask", "--quiet", "--model", "plain", "What is 17 * 23?"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("391"), "{output:?}");
}

#[test]
fn a_checksum_that_is_given_is_held_against_what_came() {
    let server = server();
    let bench = Bench::new(&server);
    let digits = checksum(&bench, &server);
    let said = bench.printed(&["pull", "--sha256", &digits, &server.address("/same.gguf")]);
    assert!(said.contains(", verified,"), "{said}");
    let wrong = "0".repeat(64);
    bench.printed(&["rm", "-y", "same"]);
    let message = bench.refused(&["pull", "--sha256", &wrong, &server.address("/same.gguf")]);
    assert!(message.contains(&digits) && message.contains(&wrong), "{message}");
}

#[test]
fn a_program_is_told_each_event_as_one_object() {
    let server = server();
    let bench = Bench::new(&server);
    let events = bench.objects(&["pull", "--json", &server.address("/plain.gguf")]);
    let kinds: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(kinds.first(), Some(&"progress"));
    assert_eq!(kinds[kinds.len() - 3..], ["checking", "finished", "stored"]);
    let size = fs::metadata(pocket()).unwrap().len();
    let last = events.iter().rfind(|event| event["event"] == "progress").unwrap();
    assert_eq!((&last["bytes"], &last["total"]), (&size.into(), &size.into()));
    let output = bench.model(&["pull", "--json", &server.address("/gone.gguf")]);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&told["event"], &told["code"]), (&"error".into(), &"model_not_found".into()));
}

#[test]
fn what_cannot_be_pulled_is_refused_with_a_way_out() {
    let server = server();
    let bench = Bench::new(&server);
    let address = |path: &str| server.address(path);
    for (name, arguments) in [
        ("unknown_name", vec!["pull".to_owned(), "nothing".into()]),
        ("not_found", vec!["pull".into(), address("/gone.gguf")]),
        ("unauthorized", vec!["pull".into(), address("/private.gguf")]),
        ("no_model", vec!["pull".into(), address("/login.gguf")]),
        ("cut_off", vec!["pull".into(), address("/cut.gguf")]),
        ("several_models", vec!["pull".into(), "hf:owner/repo".into()]),
        ("offline", vec!["pull".into(), "--offline".into(), "falcon3-3b".into()]),
        ("bad_checksum", vec!["pull".into(), "--sha256".into(), "12".into(), address("/plain.gguf")]),
        ("not_stored", vec!["info".into(), "nothing".into()]),
        ("nothing_to_remove", vec!["rm".into(), "nothing".into()]),
    ] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        insta::assert_snapshot!(format!("refused_{name}"), bench.refused(&arguments));
    }
    assert_eq!(bench.printed(&["list"]), "");
}

#[test]
fn the_recommended_model_is_the_largest_that_the_memory_takes() {
    let server = server();
    let bench = Bench::new(&server);
    insta::assert_snapshot!("available", bench.printed(&["list", "--available", "--memory", "3.4"]));
    let objects = bench.objects(&["list", "--available", "--memory", "0.1", "--json"]);
    assert!(objects.iter().all(|object| object["recommended"] == false && object["suits"] == false));
    let message = bench.refused(&["pull"]);
    assert!(message.contains("list --available"), "{message}");
    assert!(server.requests().is_empty());
}
