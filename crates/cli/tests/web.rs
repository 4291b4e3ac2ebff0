//! `glasshouse web` from outside: what a browser gets.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

/// A running server; it ends with the test.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(directory: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_glasshouse"))
            .args(["web", "--port", "0", "--directory"])
            .arg(directory)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("http://").unwrap().trim_end_matches('/').to_owned();
        Self { child, address }
    }

    /// Sends a request as it stands; the answer's head in lower case, and its body.
    fn request(&self, method: &str, path: &str, headers: &str) -> (String, Vec<u8>) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{headers}\r\n",
            self.address
        )
        .unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        (String::from_utf8_lossy(&answer[..end]).to_lowercase(), answer[end + 4..].to_vec())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A page in a folder, beside a file that is nobody's business.
fn page() -> (TempDir, Server) {
    let directory = TempDir::new().unwrap();
    let page = directory.path().join("page");
    fs::create_dir_all(page.join("wasm")).unwrap();
    for (name, content) in [
        ("page/index.html", "<!doctype html><title>page</title>"),
        ("page/page.js", "export {};"),
        ("page/wasm/engine.wasm", "\0asm plain"),
        ("page/wasm/engine.wasm.br", "brotli"),
        ("page/wasm/engine.wasm.gz", "gzip"),
        ("page/pocket.gguf", "GGUF"),
        ("secret.txt", "secret"),
    ] {
        fs::write(directory.path().join(name), content).unwrap();
    }
    let server = Server::start(&page);
    (directory, server)
}

#[test]
fn every_answer_isolates_the_page_and_has_its_type() {
    let (_directory, server) = page();
    for (path, kind) in [
        ("/", "text/html"),
        ("/page.js", "text/javascript"),
        ("/wasm/engine.wasm", "application/wasm"),
        ("/pocket.gguf", "application/octet-stream"),
    ] {
        let (head, _) = server.request("GET", path, "");
        assert!(head.starts_with("http/1.1 200"), "{path}: {head}");
        assert!(head.contains(&format!("content-type: {kind}")), "{path}: {head}");
        for header in [
            "cross-origin-opener-policy: same-origin",
            "cross-origin-embedder-policy: require-corp",
            "cross-origin-resource-policy: same-origin",
            "x-content-type-options: nosniff",
            "cache-control: no-cache",
            "script-src 'self' 'wasm-unsafe-eval'",
        ] {
            assert!(head.contains(header), "{path} lacks {header}: {head}");
        }
    }
}

#[test]
fn a_compressed_file_is_sent_to_whoever_takes_it() {
    let (_directory, server) = page();
    for (accepted, encoding, body) in [("br, gzip", "br", "brotli"), ("gzip", "gzip", "gzip")] {
        let (head, sent) =
            server.request("GET", "/wasm/engine.wasm", &format!("Accept-Encoding: {accepted}\r\n"));
        assert!(head.contains(&format!("content-encoding: {encoding}")), "{head}");
        assert!(head.contains("content-type: application/wasm"), "{head}");
        assert_eq!(sent, body.as_bytes());
    }
    let (head, sent) = server.request("GET", "/wasm/engine.wasm", "");
    assert!(!head.contains("content-encoding"), "{head}");
    assert_eq!(sent, b"\0asm plain");
}

#[test]
fn an_unchanged_file_is_not_sent_again() {
    let (_directory, server) = page();
    let (head, _) = server.request("GET", "/page.js", "");
    let line = head.lines().find(|line| line.starts_with("etag: ")).unwrap();
    let known = line.replace("etag", "If-None-Match");
    let (head, body) = server.request("GET", "/page.js", &format!("{known}\r\n"));
    assert!(head.starts_with("http/1.1 304") && body.is_empty(), "{head}");
}

#[test]
fn a_head_request_gets_the_length_and_no_body() {
    let (_directory, server) = page();
    let (head, body) = server.request("HEAD", "/pocket.gguf", "");
    assert!(head.starts_with("http/1.1 200") && head.contains("content-length: 4"), "{head}");
    assert!(body.is_empty());
}

#[test]
fn no_path_leads_out_of_the_directory() {
    let (_directory, server) = page();
    for path in [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/wasm/..%2f..%2fsecret.txt",
        "/..%5csecret.txt",
        "//secret.txt",
    ] {
        let (head, body) = server.request("GET", path, "");
        assert!(head.starts_with("http/1.1 4"), "{path}: {head}");
        assert!(!String::from_utf8_lossy(&body).contains("secret"), "{path}");
    }
}

#[test]
fn what_is_not_there_and_what_is_not_allowed_is_said() {
    let (_directory, server) = page();
    let (head, body) = server.request("GET", "/absent.js", "");
    assert!(head.starts_with("http/1.1 404"), "{head}");
    assert_eq!(body, b"There is nothing at this address.\n");
    let (head, _) = server.request("POST", "/", "Content-Length: 0\r\n");
    assert!(head.starts_with("http/1.1 405") && head.contains("allow: get,head"), "{head}");
}

#[test]
fn a_port_in_use_and_a_folder_without_a_page_are_refused_with_a_way_out() {
    let (directory, server) = page();
    let port = server.address.rsplit(':').next().unwrap();
    let refused = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_glasshouse"))
            .current_dir(directory.path())
            .arg("web")
            .args(arguments)
            .env("NO_COLOR", "1")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let message = refused(&["--port", port, "--directory", "page"]);
    assert!(message.contains("is in use") && message.contains("--port"), "{message}");
    assert!(refused(&["--directory", "wasm"]).contains("cargo xtask web"));
    assert!(refused(&[]).contains("--directory"));
}
