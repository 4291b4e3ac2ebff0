//! What is kept.

use std::{fs, time::Duration};

use glasshouse_hub::{Hub, HubError, HubOptions, Timeouts};

use crate::bench::{Bench, content, options, ranges};
use crate::server::{Reply, Server};

#[test]
fn two_models_do_not_share_a_name_and_two_pulls_not_a_model() {
    let server = ranges(&content(2_000));
    let bench = Bench::new(options());
    bench.pull(&server.address("/a/m.gguf"), None).unwrap();
    let error = bench.pull(&server.address("/b/m.gguf"), None).unwrap_err();
    assert!(matches!(error, HubError::NameTaken { .. }), "{error}");

    let held = Server::start(move |request| {
        let mut reply = Reply::file(request, &content(2_000), "\"one\"");
        reply.trickle = Some(Duration::from_millis(1));
        reply
    });
    let slow = Bench::new(HubOptions { timeouts: Timeouts::default(), ..options() });
    let other = Hub::new(options());
    let plan = slow.plan(&held.address("/n.gguf"), None).unwrap();
    std::thread::scope(|scope| {
        let pulling = scope.spawn(|| slow.hub.pull(&plan, &slow.store(), &|_| Ok(()), &|_| ()));
        while held.requests().is_empty() {
            std::thread::yield_now();
        }
        let error = other.pull(&plan, &slow.store(), &|_| Ok(()), &|_| ()).unwrap_err();
        assert!(matches!(error, HubError::Busy { .. }), "{error}");
        assert!(matches!(slow.store().remove("n").unwrap_err(), HubError::Busy { .. }));
        pulling.join().unwrap().unwrap();
    });
}

#[test]
fn a_model_is_removed_whole_or_in_part() {
    let server = ranges(&content(2_000));
    let bench = Bench::new(options());
    bench.pull(&server.address("/m.gguf"), None).unwrap();
    fs::create_dir_all(bench.file("half")).unwrap();
    fs::write(bench.file("half/x.gguf.part"), b"GG").unwrap();
    let names: Vec<_> = bench.store().list().unwrap().into_iter().map(|model| model.name).collect();
    assert_eq!(names, ["half", "m"]);
    assert!(bench.store().remove("m").unwrap() >= 2_000);
    bench.store().remove("half").unwrap();
    assert!(bench.store().list().unwrap().is_empty());
    for wrong in ["m", "..", "../models", ""] {
        assert!(matches!(bench.store().remove(wrong).unwrap_err(), HubError::Unknown { .. }), "{wrong}");
    }
    assert!(bench.store().folder().exists());
}

#[test]
fn a_model_whose_file_was_cut_or_whose_manifest_leads_out_is_not_whole() {
    let server = ranges(&content(2_000));
    let bench = Bench::new(options());
    let model = bench.pull(&server.address("/m.gguf"), None).unwrap().model;
    fs::write(model.path().unwrap(), b"GGUF").unwrap();
    assert!(bench.store().find("m").unwrap().unwrap().manifest.is_none());
    let manifest = r#"{"source":"s","files":[{"name":"../../x","bytes":1,"sha256":"","verified":true}]}"#;
    fs::write(bench.directory.path().join("x"), b"x").unwrap();
    fs::write(bench.file("m/model.json"), manifest).unwrap();
    assert!(bench.store().find("m").unwrap().unwrap().manifest.is_none());
}
