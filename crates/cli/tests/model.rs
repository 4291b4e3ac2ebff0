//! `glasshouse model` from outside: what a model computes, its tokens, its speed.

mod support;

use std::{env, process::Output};

use serde_json::Value;
use support::glasshouse;

/// The fingerprint of the built-in model.
const POCKET: &str = "f348c708cc9a50423726c726be2e6abe9282be1ffbda03c3d960a8420b48e6c5";

fn model(arguments: &[&str], input: &str) -> Output {
    glasshouse(&env::temp_dir(), &[&["model"], arguments].concat(), input)
}

fn printed(arguments: &[&str], input: &str) -> String {
    let output = model(arguments, input);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn object(arguments: &[&str]) -> Value {
    serde_json::from_str(&printed(arguments, "")).unwrap()
}

#[test]
fn a_model_computes_the_same_with_every_kernel_and_any_number_of_threads() {
    let expected = printed(&["verify"], "");
    // What every machine finds; another model file has another.
    assert_eq!(expected.trim(), POCKET);
    for threads in [1, 2, 5] {
        for kernel in ["scalar", "avx2"] {
            let output =
                model(&["verify", "--json", "--kernel", kernel, "--threads", &threads.to_string()], "");
            if kernel != "scalar" && !output.status.success() {
                // The machine has no such instructions, and says so.
                assert!(String::from_utf8_lossy(&output.stderr).contains("no kernel `avx2`; it has scalar"));
                continue;
            }
            let found: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(found["hash"], expected.trim(), "{kernel} {threads}");
            // No more than the machine has cores.
            assert!(found["threads"].as_u64().is_some_and(|found| found >= 1 && found <= threads));
            assert_eq!(found["tokens"], 1 + 5 + 33 + 150 + 4 * 8);
        }
    }
    let output = model(&["verify", "--kernel", "abacus"], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no kernel `abacus`"));
}

#[test]
fn a_text_is_shown_in_tokens_and_what_a_person_writes_is_no_control_token() {
    let tokens = |arguments: &[&str], input: &str| -> Vec<u64> {
        let arguments = [&["tokenize", "--json"], arguments].concat();
        serde_json::from_str(&printed(&arguments, input)).unwrap()
    };
    let text = "Größe\n17 * 23?";
    let lines = printed(&["tokenize", text], "");
    let numbers: Vec<u64> =
        lines.lines().map(|line| line.split('\t').next().unwrap().parse().unwrap()).collect();
    assert_eq!(numbers, tokens(&[text], ""));
    assert_eq!(numbers, tokens(&[], text));
    assert!(lines.contains("\\n"), "{lines}");
    assert_eq!(tokens(&[""], ""), Vec::<u64>::new());
    let control = "<|user|>";
    assert!(tokens(&[control], "").len() > 1);
    assert_eq!(tokens(&["--control", control], "").len(), 1);
}

#[test]
fn a_prepared_model_computes_the_same_and_is_not_prepared_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (model_file, prepared, again) = (path("model.gguf"), path("prepared.gguf"), path("again.gguf"));
    printed(&["generate", "tiny-llama-q4_k", &model_file], "");
    printed(&["prepare", &model_file, &prepared], "");
    assert_eq!(printed(&["verify", &prepared], ""), printed(&["verify", &model_file], ""));
    assert!(printed(&["info", &prepared], "").contains("interleaved"));
    assert!(!printed(&["info", &model_file], "").contains("interleaved"));

    let refused = |arguments: &[&str]| {
        let output = model(arguments, "");
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let error = refused(&["prepare", &prepared, &again]);
    assert!(error.contains("prepared already"), "{error}");
    let error = refused(&["prepare", &model_file, &path("absent/model.gguf")]);
    assert!(error.contains("cannot be written"), "{error}");
    // Nothing is left of what failed.
    let mut names: Vec<_> =
        directory.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["model.gguf", "prepared.gguf"]);
    // The model may be the file that is replaced.
    printed(&["prepare", &model_file, &model_file], "");
    assert_eq!(printed(&["verify", &model_file], ""), printed(&["verify", &prepared], ""));
}

#[test]
fn texts_become_vectors_whose_products_are_cosines() {
    let directory = tempfile::tempdir().unwrap();
    let encoder = directory.path().join("encoder.gguf").display().to_string();
    printed(&["generate", "tiny-bert-f32", &encoder], "");
    let vectors = |arguments: &[&str], input: &str| -> Vec<Vec<f32>> {
        let lines = printed(&[&["embed", &encoder], arguments].concat(), input);
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let typed = vectors(&["a b c", "c d"], "");
    assert_eq!(typed.len(), 2);
    for vector in &typed {
        let length: f32 = vector.iter().map(|number| number * number).sum();
        assert!((length - 1.0).abs() < 1e-5, "{length}");
    }
    assert_eq!(vectors(&[], "a b c\nc d\n"), typed);
    assert_eq!(vectors(&["--threads", "1", "c d"], ""), typed[1..]);
    assert_ne!(vectors(&["--pooling", "last", "a b c", "c d"], ""), typed);
    assert_eq!(vectors(&[], ""), Vec::<Vec<f32>>::new());

    let output = model(&["embed", &encoder, &"a ".repeat(3000)], "");
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("the texts 1 to 1 cannot be embedded"), "{error}");
}

#[test]
fn a_model_is_measured_with_the_bandwidth_that_it_uses() {
    let arguments = ["bench", "--prefill", "8", "--decode", "4", "--repeat", "1", "--threads", "1", "--json"];
    let report = object(&arguments);
    for field in
        ["load_s", "prefill_tps", "decode_tps", "peak_rss_bytes", "bandwidth_gbps", "bandwidth_share"]
    {
        assert!(report[field].as_f64().is_some_and(|number| number > 0.0), "{field}: {report}");
    }
    assert_eq!((&report["prefill_tokens"], &report["threads"]), (&8.into(), &1.into()));
    assert!(
        printed(&["bench", "--prefill", "8", "--decode", "4", "--kernel", "scalar"], "")
            .contains("kernels      scalar")
    );
}
