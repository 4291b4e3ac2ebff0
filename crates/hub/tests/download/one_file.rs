//! A file at an address.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use glasshouse_hub::{HubError, HubOptions, Pulled, Timeouts};

use crate::bench::{Bench, PIECE, bytes_of, content, digits, got, options, ranges};
use crate::server::{Reply, Server};

#[test]
fn a_file_is_read_in_ranges_and_is_whole_under_its_name() {
    let content = content(12_345);
    let server = ranges(&content);
    let bench = Bench::new(options());
    let pulled = bench.pull(&server.address("/some/m.gguf"), Some(&digits(&content))).unwrap();
    assert_eq!(got(&pulled), content);
    assert!(!pulled.was_there && pulled.model.is_verified());
    assert_eq!(pulled.model.name, "m");
    assert_eq!(server.requests().len(), 13);
    let mut files: Vec<_> =
        fs::read_dir(bench.file("m")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, [".lock", "m.gguf", "model.json"]);
    // A second time, nothing is asked.
    assert!(bench.pull(&server.address("/some/m.gguf"), None).unwrap().was_there);
    assert_eq!(server.requests().len(), 13);
}

#[test]
fn several_ranges_are_read_at_the_same_time() {
    let content = content(8 * PIECE as usize);
    let meeting = std::sync::Arc::new(AtomicUsize::new(0));
    let server = {
        let (content, meeting) = (content.clone(), std::sync::Arc::clone(&meeting));
        Server::start(move |request| {
            if request.number > 0 {
                meeting.fetch_add(1, Ordering::SeqCst);
                let begin = Instant::now();
                // One connection alone would never be joined by another.
                while meeting.load(Ordering::SeqCst) < 3 && begin.elapsed() < Duration::from_secs(4) {
                    std::thread::yield_now();
                }
            }
            Reply::file(request, &content, "\"one\"")
        })
    };
    let bench = Bench::new(options());
    assert_eq!(got(&bench.pull(&server.address("/m.gguf"), None).unwrap()), content);
    assert!(server.busiest() >= 3, "{}", server.busiest());
    assert!(server.busiest() <= 5, "{}", server.busiest());
}

#[test]
fn a_server_without_ranges_is_read_in_one_go() {
    let content = content(5_000);
    let server = {
        let content = content.clone();
        Server::start(move |_| Reply::new(200, content.clone()))
    };
    let bench = Bench::new(options());
    let pulled = bench.pull(&server.address("/m.gguf"), None).unwrap();
    assert_eq!(got(&pulled), content);
    assert!(!pulled.model.is_verified());
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_file_without_an_announced_length_is_read_to_its_end() {
    let content = content(300);
    let chunked = [b"12c\r\n".as_slice(), &content, b"\r\n0\r\n\r\n"].concat();
    let server =
        Server::start(move |_| Reply::new(200, chunked.clone()).with("transfer-encoding", "chunked"));
    let bench = Bench::new(options());
    assert_eq!(got(&bench.pull(&server.address("/m.gguf"), None).unwrap()), content);
}

#[test]
fn a_connection_that_breaks_off_is_gone_on_with_where_it_was() {
    let content = content(200_000);
    let server = {
        let content = content.clone();
        Server::start(move |request| {
            let mut reply = Reply::file(request, &content, "\"one\"");
            // Each connection brings 70,000 bytes at most.
            reply.cut_after = Some(70_000);
            reply
        })
    };
    let bench = Bench::new(HubOptions { piece_bytes: 1 << 20, ..options() });
    let pulled = bench.pull(&server.address("/m.gguf"), Some(&digits(&content))).unwrap();
    assert_eq!(got(&pulled), content);
    let starts: Vec<usize> = server.requests().iter().map(|request| request.range().unwrap().0).collect();
    assert_eq!(starts, [0, 70_000, 140_000]);
    assert_eq!(bench.told("waiting"), 2);
}

#[test]
fn a_connection_that_always_breaks_off_is_given_up_and_what_came_is_kept_for_the_next_time() {
    let content = content(10_000);
    let server = {
        let content = content.clone();
        Server::start(move |request| {
            let mut reply = Reply::file(request, &content, "\"one\"");
            if request.range().is_some_and(|(first, _)| first >= 4000) {
                reply.cut_after = Some(0);
            }
            reply
        })
    };
    let address = server.address("/m.gguf");
    let bench = Bench::new(HubOptions { connections: 1, ..options() });
    let error = bench.pull(&address, None).unwrap_err();
    assert!(matches!(error, HubError::Network { .. }), "{error}");
    assert_eq!(server.requests().len(), 4 + 4);
    // Not under its name, and not as a model.
    assert!(!bench.file("m/m.gguf").exists() && bench.file("m/m.gguf.part").exists());
    assert!(bench.store().find("m").unwrap().unwrap().manifest.is_none());

    // The next time, another server has the same file at the same address.
    let record = String::from_utf8(bytes_of(&bench.file("m/m.gguf.part.json"))).unwrap();
    drop(server);
    let server = ranges(&content);
    let moved = record.replace(&address, &server.address("/m.gguf"));
    fs::write(bench.file("m/m.gguf.part.json"), moved).unwrap();
    let bench = bench.again(options());
    let pulled = bench.pull(&server.address("/m.gguf"), Some(&digits(&content))).unwrap();
    assert_eq!(got(&pulled), content);
    let requests = server.requests();
    assert_eq!(requests.len(), 6);
    assert!(requests.iter().all(|request| request.range().unwrap().0 >= 4000));
    assert!(requests.iter().all(|request| request.header("if-range") == Some("\"one\"")));
}

/// Gets half of one file, then the server has another.
fn change(
    first: Vec<u8>,
    second: Vec<u8>,
    etags: [&'static str; 2],
) -> (Bench, Server, Result<Pulled, HubError>) {
    let failed = std::sync::Arc::new(AtomicUsize::new(0));
    let server = {
        let failed = std::sync::Arc::clone(&failed);
        Server::start(move |request| {
            if failed.load(Ordering::SeqCst) >= 4 {
                return Reply::file(request, &second, etags[1]);
            }
            if request.range().is_some_and(|(at, _)| at >= 3000) {
                failed.fetch_add(1, Ordering::SeqCst);
                return Reply::new(503, "");
            }
            Reply::file(request, &first, etags[0])
        })
    };
    let bench = Bench::new(HubOptions { connections: 1, ..options() });
    let error = bench.pull(&server.address("/m.gguf"), None).unwrap_err();
    assert!(matches!(error, HubError::Status { status: 503, .. }), "{error}");
    let bench = bench.again(options());
    let pulled = bench.pull(&server.address("/m.gguf"), None);
    (bench, server, pulled)
}

#[test]
fn a_file_that_changed_between_two_attempts_is_begun_anew() {
    let mut other = content(6_000);
    other[10] ^= 1;
    let (bench, _server, pulled) = change(content(6_000), other.clone(), ["\"one\"", "\"two\""]);
    assert_eq!(got(&pulled.unwrap()), other);
    assert_eq!(bench.told("restarted"), 1);
}

#[test]
fn a_server_that_ignores_the_condition_is_seen_through_by_its_tag_or_its_length() {
    for (length, etags) in [(6_000, ["\"one\"", "\"two\""]), (7_000, ["\"one\"", "\"one\""])] {
        let (first, mut second) = (content(6_000), content(length));
        second[10] ^= 1;
        let other = second.clone();
        let server = Server::start(move |request| {
            // The first piece is of one file, all others of another.
            let (content, etag) = if request.number == 0 { (&first, etags[0]) } else { (&second, etags[1]) };
            let (start, end) = request.range().unwrap();
            Reply::part(content, start..end.min(content.len())).with("etag", etag)
        });
        let bench = Bench::new(options());
        let pulled = bench.pull(&server.address("/m.gguf"), None).unwrap();
        assert_eq!(got(&pulled), other);
        assert_eq!(bench.told("restarted"), 1);
    }
}

#[test]
fn a_file_that_changes_at_every_request_is_given_up() {
    let content = content(3_000);
    let server = Server::start(move |request| {
        let (start, end) = request.range().unwrap();
        Reply::part(&content, start..end.min(content.len())).with("etag", format!("\"{}\"", request.number))
    });
    let bench = Bench::new(options());
    let error = bench.pull(&server.address("/m.gguf"), None).unwrap_err();
    assert!(matches!(error, HubError::Changing { .. }), "{error}");
}

#[test]
fn without_a_tag_a_date_or_a_checksum_a_partial_file_is_not_gone_on_with() {
    let content = content(6_000);
    let server = {
        let content = content.clone();
        Server::start(move |request| {
            let (start, end) = request.range().unwrap();
            if start >= 3000 && request.number < 14 {
                return Reply::new(503, "");
            }
            Reply::part(&content, start..end.min(content.len()))
        })
    };
    let bench = Bench::new(HubOptions { connections: 1, ..options() });
    bench.pull(&server.address("/m.gguf"), None).unwrap_err();
    let before = server.requests().len();
    let bench = bench.again(HubOptions { connections: 1, ..options() });
    bench.pull(&server.address("/m.gguf"), None).unwrap_err();
    assert_eq!(server.requests()[before].range().unwrap().0, 0);
    // With a checksum, mixing two files would be noticed.
    let before = server.requests().len();
    let bench = bench.again(options());
    let pulled = bench.pull(&server.address("/m.gguf"), Some(&digits(&content))).unwrap();
    assert_eq!(got(&pulled), content);
    assert!(server.requests()[before].range().unwrap().0 > 0);
}

#[test]
fn a_length_that_is_claimed_too_large_is_no_whole_file() {
    let content = content(2_000);
    let server = Server::start(move |_| {
        let mut reply = Reply::new(200, content.clone());
        reply.claimed_length = Some(3_000);
        reply
    });
    let bench = Bench::new(options());
    let error = bench.pull(&server.address("/m.gguf"), None).unwrap_err();
    assert!(matches!(error, HubError::Network { .. }), "{error}");
    assert!(!bench.file("m/m.gguf").exists());
    assert_eq!(server.requests().len(), 4);
}

#[test]
fn a_length_that_is_claimed_too_small_does_not_pass_the_checksum() {
    let content = content(2_000);
    let expected = digits(&content);
    let server = Server::start(move |_| {
        let mut reply = Reply::new(200, content.clone());
        reply.claimed_length = Some(1_500);
        reply
    });
    let bench = Bench::new(options());
    let error = bench.pull(&server.address("/m.gguf"), Some(&expected)).unwrap_err();
    assert!(matches!(error, HubError::Checksum { .. }), "{error}");
    assert!(!bench.file("m/m.gguf").exists() && !bench.file("m/m.gguf.part").exists());
}

#[test]
fn a_total_length_that_grows_from_range_to_range_is_a_changed_file() {
    let content = content(6_000);
    let server = Server::start(move |request| {
        let (start, end) = request.range().unwrap();
        let mut reply = Reply::part(&content, start..end.min(content.len())).with("etag", "\"one\"");
        reply.headers[0].1 = format!("bytes {start}-{}/{}", end.min(6_000) - 1, 6_000 + request.number);
        reply
    });
    let bench = Bench::new(options());
    let error = bench.pull(&server.address("/m.gguf"), None).unwrap_err();
    assert!(matches!(error, HubError::Changing { .. }), "{error}");
}

#[test]
fn a_range_that_was_not_asked_for_is_refused() {
    let content = content(6_000);
    let server = Server::start(move |_| Reply::part(&content, 500..1000));
    let bench = Bench::new(options());
    let error = bench.pull(&server.address("/m.gguf"), None).unwrap_err();
    assert!(error.to_string().contains("asked for byte 0, it begins at byte 500"), "{error}");
}

#[test]
fn a_wrong_checksum_leaves_nothing_behind() {
    let content = content(4_000);
    let server = ranges(&content);
    let bench = Bench::new(options());
    let wrong = digits(b"something else");
    let error = bench.pull(&server.address("/m.gguf"), Some(&wrong)).unwrap_err();
    assert!(
        matches!(&error, HubError::Checksum { expected, found, .. } if *expected == wrong && *found == digits(&content)),
        "{error}"
    );
    assert!(!bench.file("m/m.gguf").exists());
    assert!(!bench.file("m/m.gguf.part").exists() && !bench.file("m/m.gguf.part.json").exists());
}

#[test]
fn what_is_no_model_is_refused_though_it_came_whole() {
    let server = Server::start(|_| Reply::new(200, "<html>please log in</html>"));
    let bench = Bench::new(options());
    let error = bench.pull(&server.address("/m.gguf"), None).unwrap_err();
    assert!(matches!(error, HubError::NotAModel { .. }), "{error}");
    assert!(!bench.file("m/m.gguf").exists());

    let server = ranges(&content(100));
    let plan = bench.plan(&server.address("/m.gguf"), None).unwrap();
    let refuse = |_: &Path| Err("its header is cut off".to_owned());
    let error = bench.hub.pull(&plan, &bench.store(), &refuse, &|_| ()).unwrap_err();
    assert!(error.to_string().contains("its header is cut off"), "{error}");
    assert!(!bench.file("m/m.gguf").exists());
}

#[test]
fn an_empty_file_is_refused() {
    let server = Server::start(|request| Reply::file(request, b"", "\"one\""));
    let bench = Bench::new(options());
    let error = bench.pull(&server.address("/m.gguf"), None).unwrap_err();
    assert!(error.to_string().contains("the file is empty"), "{error}");
}

#[test]
fn redirects_are_followed_and_circles_are_not() {
    let content = content(3_000);
    let target = ranges(&content);
    let there = target.address("/file");
    let server = Server::start(move |request| match request.path.as_str() {
        "/m.gguf" => Reply::new(302, "").with("location", "/next"),
        "/next" => Reply::new(307, "").with("location", there.clone()),
        "/round/m.gguf" => Reply::new(302, "").with("location", "/round/about"),
        "/round/about" => Reply::new(302, "").with("location", "m.gguf"),
        _ => Reply::new(301, ""),
    });
    let bench = Bench::new(options());
    assert_eq!(got(&bench.pull(&server.address("/m.gguf"), None).unwrap()), content);
    let before = server.requests().len();
    let bench = Bench::new(options());
    let error = bench.pull(&server.address("/round/m.gguf"), None).unwrap_err();
    assert!(error.to_string().contains("redirects in circles"), "{error}");
    assert_eq!(server.requests().len() - before, 11);
    let error = bench.pull(&server.address("/nowhere/m.gguf"), None).unwrap_err();
    assert!(error.to_string().contains("redirects to nowhere"), "{error}");
}

#[test]
fn a_busy_server_is_asked_again_after_a_wait() {
    let content = content(3_000);
    let server = {
        let content = content.clone();
        Server::start(move |request| match request.number {
            0 => Reply::new(429, "").with("retry-after", "0"),
            1 => Reply::new(503, ""),
            3 => Reply::new(500, ""),
            _ => Reply::file(request, &content, "\"one\""),
        })
    };
    let bench = Bench::new(options());
    assert_eq!(got(&bench.pull(&server.address("/m.gguf"), None).unwrap()), content);
    assert_eq!(bench.told("waiting"), 3);
}

#[test]
fn each_refusal_has_its_own_error_with_a_way_out_and_is_not_repeated_in_vain() {
    for (status, requests, words) in [
        (401, 1, "HF_TOKEN"),
        (403, 1, "accept the model's terms"),
        (404, 1, "check owner, repository and file"),
        (400, 1, "status 400"),
        (429, 4, "asked too often"),
        (502, 4, "status 502"),
    ] {
        let server = Server::start(move |_| Reply::new(status, ""));
        let bench = Bench::new(options());
        let error = bench.pull(&server.address("/m.gguf"), None).unwrap_err();
        assert!(error.to_string().contains(words), "{status}: {error}");
        assert_eq!(server.requests().len(), requests, "{status}");
        assert!(bench.store().list().unwrap().is_empty(), "{status}");
    }
}

/// A server whose bytes come this far apart is given up soon.
fn is_given_up(apart: Duration) {
    let content = content(3_000);
    let server = Server::start(move |request| {
        let mut reply = Reply::file(request, &content, "\"one\"");
        reply.trickle = Some(apart);
        reply
    });
    let bench = Bench::new(HubOptions { connections: 1, ..options() });
    let begin = Instant::now();
    let error = bench.pull(&server.address("/m.gguf"), None).unwrap_err();
    assert!(matches!(error, HubError::Network { .. }), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
}

#[test]
fn a_server_that_sends_a_byte_now_and_then_is_given_up() {
    is_given_up(Duration::from_millis(60));
}

#[test]
fn a_server_that_falls_silent_is_given_up() {
    is_given_up(Duration::from_secs(60));
}

#[test]
fn offline_nothing_is_asked_not_even_a_connection_made() {
    let server = Server::start(|_| Reply::new(500, ""));
    let offline = || HubOptions { offline: true, endpoint: server.address(""), ..options() };
    let bench = Bench::new(offline());
    for source in [server.address("/m.gguf"), "hf:a/b".to_owned(), "bitnet-2b".to_owned()] {
        let error = bench.pull(&source, None).unwrap_err();
        assert!(matches!(error, HubError::Offline { .. }), "{error}");
    }
    assert!(server.requests().is_empty() && server.busiest() == 0);
    assert!(!bench.store().folder().exists());
}

#[test]
fn a_file_that_does_not_fit_on_the_disk_is_not_begun() {
    let server = Server::start(|request| {
        let mut reply = Reply::part(&content(10_000), 0..1000);
        reply.headers[0].1 = format!("bytes 0-999/{}", 1u64 << 60);
        assert_eq!(request.number, 0);
        reply
    });
    let bench = Bench::new(options());
    let error = bench.pull(&server.address("/m.gguf"), None).unwrap_err();
    assert!(matches!(error, HubError::Space { needed, .. } if needed == 1 << 60), "{error}");
}

#[test]
fn a_stopped_download_ends_at_once_and_is_gone_on_with() {
    let content = content(5_000);
    let server = {
        let content = content.clone();
        Server::start(move |request| {
            let mut reply = Reply::file(request, &content, "\"one\"");
            if request.number == 2 {
                reply.trickle = Some(Duration::from_secs(60));
            }
            reply
        })
    };
    let slow = || HubOptions {
        connections: 1,
        timeouts: Timeouts { stall: Duration::from_secs(60), ..options().timeouts },
        ..options()
    };
    let bench = Bench::new(slow());
    let stop = bench.hub.stop();
    let begin = Instant::now();
    let plan = bench.plan(&server.address("/m.gguf"), None).unwrap();
    let error = std::thread::scope(|scope| {
        let pulling = scope.spawn(|| bench.hub.pull(&plan, &bench.store(), &|_| Ok(()), &|_| ()));
        while server.requests().len() < 3 {
            std::thread::yield_now();
        }
        stop.stop();
        pulling.join().unwrap().unwrap_err()
    });
    assert!(matches!(error, HubError::Stopped), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(30));
    let bench = bench.again(slow());
    assert_eq!(got(&bench.pull(&server.address("/m.gguf"), None).unwrap()), content);
    assert!(server.requests()[3].range().unwrap().0 >= 2000);
}

#[test]
fn a_record_that_is_not_of_the_partial_file_is_not_believed() {
    let content = content(5_000);
    let server = ranges(&content);
    let address = server.address("/m.gguf");
    for record in [
        "not json".to_owned(),
        format!(
            r#"{{"address":"{address}","total":5000,"validator":{{"etag":"\"one\"","last_modified":null}},"done":[{{"start":0,"end":5000}}]}}"#
        ),
        format!(
            r#"{{"address":"{address}","total":5000,"validator":{{"etag":"\"one\"","last_modified":null}},"done":[{{"start":4,"end":3}}]}}"#
        ),
        r#"{"address":"http://elsewhere/m.gguf","total":5000,"validator":{"etag":"\"one\"","last_modified":null},"done":[{"start":0,"end":3}]}"#.to_owned(),
    ] {
        let bench = Bench::new(options());
        fs::create_dir_all(bench.file("m")).unwrap();
        fs::write(bench.file("m/m.gguf.part"), b"short").unwrap();
        fs::write(bench.file("m/m.gguf.part.json"), record).unwrap();
        assert_eq!(got(&bench.pull(&address, None).unwrap()), content);
    }
}
