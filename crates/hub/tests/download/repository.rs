//! A repository of the hub.

use glasshouse_hub::{HubError, HubOptions};

use crate::bench::{Bench, bytes_of, content, digits, got, options, ranges};
use crate::server::{Reply, Request, Server};

/// A hub with one repository.
fn hub(files: &'static [(&'static str, usize)], wrong: Option<&'static str>) -> Server {
    let listing: Vec<String> = files
        .iter()
        .map(|(path, bytes)| {
            let of = if wrong == Some(path) { b"other".to_vec() } else { content(*bytes) };
            format!(
                r#"{{"type":"file","oid":"1","size":{bytes},"lfs":{{"oid":"{}","size":{bytes},"pointerSize":9}},"path":"{path}"}}"#,
                digits(&of)
            )
        })
        .collect();
    let listing = format!(r#"[{{"type":"directory","path":"d","size":0}},{}]"#, listing.join(","));
    Server::start(move |request: &Request| {
        if request.path == "/api/models/owner/repo/tree/main?recursive=true" {
            return Reply::new(200, listing.clone());
        }
        let file = files.iter().find(|(path, _)| request.path == format!("/owner/repo/resolve/main/{path}"));
        match file {
            Some((_, bytes)) => Reply::file(request, &content(*bytes), "\"one\""),
            None => Reply::new(404, ""),
        }
    })
}

#[test]
fn a_model_of_the_hub_is_chosen_by_its_quantization_and_held_against_the_checksum_there() {
    let server = hub(&[("model-a-Q4_0.gguf", 5_000), ("model-a-Q8_0.gguf", 9_000)], None);
    let options = || HubOptions { endpoint: server.address(""), ..options() };
    let bench = Bench::new(options());
    let pulled = bench.pull("hf:owner/repo:q8_0", None).unwrap();
    assert_eq!(got(&pulled), content(9_000));
    assert!(pulled.model.is_verified());
    assert_eq!(pulled.model.name, "repo-model-a-Q8_0");
    let error = bench.pull("hf:owner/repo", None).unwrap_err();
    assert!(error.to_string().contains("several models"), "{error}");
    let source = "hf:owner/repo:q8_0".parse().unwrap();
    assert!(bench.hub.stored(&source, None, &bench.store()).unwrap().is_some());
    assert!(matches!(bench.pull("hf:owner/gone", None).unwrap_err(), HubError::NotFound { .. }));
}

#[test]
fn a_split_model_is_whole_when_all_its_files_are_and_is_gone_on_with_file_by_file() {
    const FILES: &[(&str, usize)] = &[
        ("big-00001-of-00003.gguf", 3_500),
        ("big-00002-of-00003.gguf", 4_500),
        ("big-00003-of-00003.gguf", 2_500),
    ];
    let server = hub(FILES, Some("big-00003-of-00003.gguf"));
    let bench = Bench::new(HubOptions { endpoint: server.address(""), ..options() });
    let error = bench.pull("hf:owner/repo", None).unwrap_err();
    assert!(matches!(error, HubError::Checksum { .. }), "{error}");
    assert!(bench.store().find("big").unwrap().unwrap().manifest.is_none());

    let server = hub(FILES, None);
    let bench = bench.again(HubOptions { endpoint: server.address(""), ..options() });
    let pulled = bench.pull("hf:owner/repo", None).unwrap();
    let files = &pulled.model.manifest.as_ref().unwrap().files;
    assert_eq!(files.len(), 3);
    for (file, (name, bytes)) in files.iter().zip(FILES) {
        assert_eq!((&*file.name, file.verified), (*name, true));
        assert_eq!(bytes_of(&pulled.model.folder.join(name)), content(*bytes));
    }
    // What was whole already is not asked for again.
    assert!(server.requests().iter().all(|request| !request.path.contains("00001-of")));
}

#[test]
fn the_token_goes_to_the_hub_and_not_where_it_redirects() {
    let content = content(2_000);
    let elsewhere = ranges(&content);
    let there = elsewhere.address("/blob");
    let expected = digits(&content);
    let server = Server::start(move |request| {
        if request.path.starts_with("/api/") {
            return Reply::new(
                200,
                format!(
                    r#"[{{"type":"file","path":"m.gguf","size":2000,"lfs":{{"oid":"{expected}","size":2000}}}}]"#
                ),
            );
        }
        Reply::new(302, "").with("location", there.clone())
    });
    let bench =
        Bench::new(HubOptions { endpoint: server.address(""), token: Some("secret".into()), ..options() });
    assert_eq!(got(&bench.pull("hf:owner/repo", None).unwrap()), content);
    assert!(server.requests().iter().all(|request| request.header("authorization") == Some("Bearer secret")));
    assert!(!elsewhere.requests().is_empty());
    assert!(elsewhere.requests().iter().all(|request| request.header("authorization").is_none()));
}

#[test]
fn a_listing_that_goes_on_elsewhere_or_names_files_that_lead_out_is_refused() {
    let bench_of = |server: &Server| Bench::new(HubOptions { endpoint: server.address(""), ..options() });
    let server =
        Server::start(|_| Reply::new(200, "[]").with("link", r#"<http://127.0.0.1:1/next>; rel="next""#));
    let error = bench_of(&server).pull("hf:owner/repo", None).unwrap_err();
    assert!(error.to_string().contains("another host"), "{error}");
    for path in ["..\\\\..\\\\x.gguf", ".x.gguf", "a b.gguf"] {
        let listing = format!(r#"[{{"type":"file","path":"{path}","size":5}}]"#);
        let server = Server::start(move |_| Reply::new(200, listing.clone()));
        let error = bench_of(&server).pull("hf:owner/repo", None).unwrap_err();
        assert!(matches!(error, HubError::Name { .. }), "{path}: {error}");
    }
    let server = Server::start(|_| Reply::new(200, "<html>"));
    let error = bench_of(&server).pull("hf:owner/repo", None).unwrap_err();
    assert!(error.to_string().contains("no list of files"), "{error}");
}
