//! The module in wasmtime, through its C interface alone: the reference's vectors, the golden streams, and misuse.

#[path = "../../halt/tests/pseudo/mod.rs"]
mod pseudo;

use std::{env, fs, path::Path, process::Command, sync::LazyLock};

use pseudo::{Outcome, Subject, Summary, Token, Value};
use serde_json::Value as Json;
use wasmtime::{
    Engine, Instance, Memory, Module, Store, StoreLimits, StoreLimitsBuilder, Val, ValType, WasmParams,
    WasmResults,
};

static ENGINE: LazyLock<Engine> = LazyLock::new(Engine::default);
static MODULE: LazyLock<Module> =
    LazyLock::new(|| Module::new(&ENGINE, build()).expect("wasmtime takes the module"));

/// Builds the module as it is published, but for `wasm-opt`.
fn build() -> Vec<u8> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("halt");
    let package = env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs the tests");
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["build", "--profile", "guest", "--locked", "--quiet", "--target", "wasm32-unknown-unknown"])
        .args(["--package", "glasshouse-halt-module", "--target-dir"])
        .arg(&target)
        .current_dir(Path::new(&package).join("../.."));
    // What applies to the host build must not leak into this one.
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"] {
        cargo.env_remove(name);
    }
    assert!(cargo.status().expect("cargo starts").success(), "the module does not build");
    fs::read(target.join("wasm32-unknown-unknown/guest/glasshouse_halt_module.wasm")).expect("it was built")
}

/// An instance, and the stream that it is at.
struct Host {
    store: Store<StoreLimits>,
    instance: Instance,
    memory: Memory,
    kernel: u32,
}

impl Host {
    fn new() -> Self {
        Self::with_memory(usize::MAX)
    }

    /// One whose memory has so many bytes at most.
    fn with_memory(bytes: usize) -> Self {
        let mut store = Store::new(&ENGINE, StoreLimitsBuilder::new().memory_size(bytes).build());
        store.limiter(|limits| limits);
        // No imports are given: none may be asked for.
        let instance = Instance::new(&mut store, &MODULE, &[]).expect("it needs nothing");
        let memory = instance.get_memory(&mut store, "memory").expect("its memory is exported");
        Self { store, instance, memory, kernel: 0 }
    }

    fn try_call<P: WasmParams, R: WasmResults>(&mut self, name: &str, parameters: P) -> wasmtime::Result<R> {
        let function = self.instance.get_typed_func::<P, R>(&mut self.store, name)?;
        function.call(&mut self.store, parameters)
    }

    fn call<P: WasmParams, R: WasmResults>(&mut self, name: &str, parameters: P) -> R {
        self.try_call(name, parameters).unwrap_or_else(|error| panic!("{name}: {error:?}"))
    }

    /// Writes texts one after the other and answers where they are.
    fn write<const N: usize>(&mut self, texts: [&[u8]; N]) -> [(u32, u32); N] {
        let length = texts.iter().map(|text| text.len() as u32).sum::<u32>();
        let mut address: u32 = self.call("halt_buffer", length);
        assert_ne!(address, 0);
        texts.map(|text| {
            self.memory.write(&mut self.store, address as usize, text).unwrap();
            let place = (address, text.len() as u32);
            address += place.1;
            place
        })
    }

    fn bytes(&mut self, address: u32, length: u32) -> Vec<u8> {
        let mut bytes = vec![0; length as usize];
        self.memory.read(&self.store, address as usize, &mut bytes).unwrap();
        bytes
    }

    fn text(&mut self) -> Vec<u8> {
        let (address, length) = (self.call("halt_text", ()), self.call("halt_text_length", ()));
        self.bytes(address, length)
    }

    fn words(&mut self) -> String {
        String::from_utf8(self.text()).unwrap()
    }

    fn answer(&mut self) -> Outcome {
        let address = self.call("halt_answer", ());
        let bytes = self.bytes(address, 7 * 8);
        let number = |place: usize| f64::from_le_bytes(bytes[place * 8..][..8].try_into().unwrap());
        Outcome {
            index: number(0),
            verdict: number(1) as i32,
            rule: number(2) as u32,
            value: number(3),
            limit: number(4),
            released: number(5),
            trigger: number(6),
        }
    }

    fn set(&mut self, config: u32, field: &str, value: Value) -> i32 {
        match value {
            Value::Number(number) => {
                let [(name, length)] = self.write([field.as_bytes()]);
                self.call("halt_config_set_number", (config, name, length, number))
            }
            Value::Text(text) => {
                let [(name, length), (text, text_length)] = self.write([field.as_bytes(), text.as_bytes()]);
                self.call("halt_config_set_text", (config, name, length, text, text_length))
            }
        }
    }

    fn process_with(&mut self, token: &Token, text: &[u8], unknown: u32) -> i32 {
        let [(address, length)] = self.write([text]);
        let given = u32::from(token.score.is_some())
            | u32::from(token.entropy_bits.is_some()) << 1
            | u32::from(token.elapsed_ms.is_some()) << 2
            | u32::from(token.text.is_some()) << 3
            | unknown;
        let number = |number: Option<f64>| number.unwrap_or_default();
        let (score, entropy, elapsed) =
            (number(token.score), number(token.entropy_bits), number(token.elapsed_ms));
        let index = f64::from(token.index);
        self.call("halt_process", (self.kernel, index, score, entropy, elapsed, address, length, given))
    }
}

impl Subject for Host {
    fn start(&mut self, fields: &[(&'static str, Value)]) {
        if self.kernel != 0 {
            assert_eq!(self.call::<_, i32>("halt_kernel_free", self.kernel), 0);
        }
        let config = self.call("halt_config_new", ());
        for (field, value) in fields {
            assert_eq!(self.set(config, field, *value), 0, "{field}");
        }
        self.kernel = self.call("halt_kernel_new", config);
        assert_ne!(self.kernel, 0);
        assert_eq!(self.call::<_, i32>("halt_config_free", config), 0);
    }

    fn process_token(&mut self, index: u32, score: f64) -> Outcome {
        let verdict: i32 = self.call("halt_process_token", (self.kernel, f64::from(index), score));
        let answer = self.answer();
        assert_eq!(answer.verdict, verdict);
        answer
    }

    fn process(&mut self, token: &Token) -> Outcome {
        let verdict = self.process_with(token, token.text.unwrap_or_default().as_bytes(), 0);
        let answer = self.answer();
        assert_eq!(answer.verdict, verdict);
        answer
    }

    fn finish(&mut self) -> Option<Outcome> {
        let found: i32 = self.call("halt_finish", self.kernel);
        let halted: i32 = self.call("halt_halted", self.kernel);
        assert_eq!(found, halted);
        (found == 1).then(|| self.answer())
    }
}

#[test]
fn it_asks_nothing_of_its_host() {
    assert_eq!(MODULE.imports().count(), 0);
    assert_eq!(Host::new().call::<_, u32>("halt_abi_version", ()), 1);
}

#[test]
fn the_header_declares_what_is_exported() {
    let header = include_str!("../halt.h");
    for export in MODULE.exports().filter(|export| export.name().starts_with("halt_")) {
        assert!(header.contains(&format!("{}(", export.name())), "{}", export.name());
    }
    let declared = header.lines().filter(|line| line.ends_with(");")).count();
    assert_eq!(declared, MODULE.exports().filter(|export| export.name().starts_with("halt_")).count());
}

#[test]
fn the_vectors_of_the_reference() {
    let vectors: Json = serde_json::from_str(include_str!("../../halt/tests/vectors.json")).unwrap();
    let mut host = Host::new();
    let mut compared = 0;
    for vector in vectors.as_array().unwrap() {
        for trend in ["endpoint", "least_squares"] {
            let config = vector["config"].as_object().unwrap();
            let mut fields = vec![("trend", Value::Text(trend))];
            for (field, value) in config {
                fields.push((String::leak(field.clone()), Value::Number(value.as_f64().unwrap())));
            }
            host.start(&fields);
            for (index, score) in vector["scores"].as_array().unwrap().iter().enumerate() {
                if host.process_token(index as u32, score.as_f64().unwrap()).verdict == 2 {
                    break;
                }
            }
            let found = host.finish();
            let expected = &vector[trend];
            let number = &vector["number"];
            match found {
                None => assert!(expected.is_null(), "vector {number} by {trend}"),
                Some(halt) => {
                    assert_eq!(host.call::<_, i32>("halt_rule", halt.rule), 0);
                    let rule = host.words();
                    let value: f64 = format!("{:.4}", halt.value).parse().unwrap();
                    let found = serde_json::json!({"index": halt.index as u64, "rule": rule, "value": value});
                    assert_eq!(&found, expected, "vector {number} by {trend}");
                    host.call::<_, ()>("halt_cause", ());
                    assert!(host.words().starts_with(&format!("{rule} ({:.4} ", halt.value)));
                }
            }
            compared += 1;
        }
    }
    assert_eq!(compared, 2 * 37);
}

#[test]
fn pseudo_random_streams_have_the_golden_hash() {
    let golden: Json = serde_json::from_str(include_str!("../../halt/tests/golden.json")).unwrap();
    let number = |name: &str| golden[name].as_u64().unwrap() as u32;
    let expected = Summary {
        streams: number("streams"),
        decisions: number("decisions"),
        halts: number("halts"),
        hash: golden["hash"].as_str().unwrap().to_owned(),
    };
    assert_eq!(pseudo::run(&mut Host::new(), number("streams")), expected);
}

#[test]
fn what_is_refused_is_said_in_words() {
    let mut host = Host::new();
    let config: u32 = host.call("halt_config_new", ());
    assert_eq!(host.set(config, "window_size", Value::Number(0.0)), -1);
    assert_eq!(host.words(), "`window_size` is 0; it must be a whole number from 1 to 65536");
    assert_eq!(host.set(config, "trend", Value::Text("steepest")), -1);
    assert_eq!(host.words(), "`trend` is \"steepest\"; it must be \"endpoint\" or \"least_squares\"");
    assert_eq!(host.set(config, "limit", Value::Number(0.5)), -1);
    assert!(host.words().starts_with("`limit` is no field of the configuration; the fields are coherence"));
    let [(name, length)] = host.write([b"keep_text"]);
    assert_eq!(host.call::<_, i32>("halt_config_set_flag", (config, name, length, 1)), 0);
    assert_eq!(host.call::<_, i32>("halt_config_set_off", (config, name, length)), -1);
    assert_eq!(host.words(), "`keep_text` is null; it must be true or false");
    assert_eq!(host.set(config, "w_logic", Value::Number(0.7)), 0);
    assert_eq!(host.call::<_, u32>("halt_kernel_new", config), 0);
    assert_eq!(host.words(), "`w_logic + w_fact` is 1.1; it must be 1");
}

#[test]
fn misuse_is_answered_and_does_nothing() {
    let mut host = Host::new();
    host.start(&[("invalid_input", Value::Text("error"))]);
    let kernel = host.kernel;
    for wrong in [0, kernel + 1, kernel | 1 << 16, u32::MAX] {
        for name in ["halt_kernel_free", "halt_config_free", "halt_finish", "halt_halted", "halt_trace"] {
            assert_eq!(host.call::<_, i32>(name, wrong), -2, "{name}");
        }
        for name in ["halt_is_active", "halt_is_finishing"] {
            assert_eq!(host.call::<_, i32>(name, wrong), 0, "{name}");
        }
        for name in ["halt_tokens", "halt_released"] {
            assert_eq!(host.call::<_, f64>(name, wrong), -2.0, "{name}");
        }
        assert_eq!(host.call::<_, i32>("halt_process_token", (wrong, 0.0, 0.9)), -2);
        assert_eq!(host.call::<_, u32>("halt_kernel_new", wrong), 0);
        assert_eq!(host.call::<_, i32>("halt_config_set_number", (wrong, 0, 0, 0.5)), -2);
    }
    assert_eq!(host.call::<_, i32>("halt_rule", 10), -2);

    // Texts outside the buffer, and one that is none.
    let [(address, length)] = host.write([b"hard_limit"]);
    let config: u32 = host.call("halt_config_new", ());
    let memory = host.memory.data_size(&host.store) as u32;
    for (address, length) in
        [(0, 10), (address - 1, length), (address, u32::MAX), (address, 1 << 20), (memory, 10), (u32::MAX, 2)]
    {
        assert_eq!(host.call::<_, i32>("halt_config_set_number", (config, address, length, 0.5)), -2);
        assert_eq!(host.call::<_, i32>("halt_ends_sentence", (address, length)), -2);
        let token = (kernel, 0.0, 0.9, 0.0, 0.0, address, length, 9);
        assert_eq!(host.call::<_, i32>("halt_process", token), -2);
    }
    let token = Token { index: 0, score: Some(0.9), entropy_bits: None, elapsed_ms: None, text: Some("") };
    assert_eq!(host.process_with(&token, b"\xff", 0), -2);
    assert_eq!(host.process_with(&token, b"end", 16), -2);
    assert_eq!(host.call::<_, u32>("halt_buffer", (1 << 20) + 1), 0);

    // Indices that are none; the stream waits for the first one as before.
    for index in [f64::NAN, -1.0, 0.5, f64::INFINITY, 9_007_199_254_740_992.0] {
        assert_eq!(host.call::<_, i32>("halt_process_token", (kernel, index, 0.9)), -1);
        assert_eq!(host.answer().rule, 8, "out of order");
    }
    assert_eq!(host.call::<_, i32>("halt_process_token", (kernel, 0.0, 0.9)), 0);
    assert_eq!(host.call::<_, f64>("halt_tokens", kernel), 1.0);
    assert_eq!(host.call::<_, i32>("halt_kernel_free", kernel), 0);
    assert_eq!(host.call::<_, i32>("halt_kernel_free", kernel), -2);
}

#[test]
fn no_call_traps_whatever_its_numbers() {
    let mut host = Host::new();
    host.start(&[]);
    let functions: Vec<_> = MODULE
        .exports()
        .filter(|export| export.name().starts_with("halt_"))
        .map(|export| host.instance.get_func(&mut host.store, export.name()).expect("it is a function"))
        .collect();
    let mut state = 1_u64;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let [(address, _)] = host.write([b"hard_limit"]);
    let words =
        [0, 1, 2, 3, 8, 10, 15, 0x1_0001, address, address + 1, 1 << 20, i32::MAX as u32, 1 << 31, u32::MAX];
    let numbers = [0.0, -0.0, 0.5, 1.0, 2.0, 1e300, -1.0, f64::MIN_POSITIVE, f64::NAN, f64::INFINITY];
    for _ in 0..50_000 {
        let function = functions[next() as usize % functions.len()];
        let kind = function.ty(&host.store);
        let parameters: Vec<Val> = kind
            .params()
            .map(|kind| match kind {
                ValType::F64 => Val::from(numbers[next() as usize % numbers.len()]),
                _ => Val::from(words[next() as usize % words.len()].cast_signed()),
            })
            .collect();
        let mut results = vec![Val::I32(0); kind.results().len()];
        function.call(&mut host.store, &parameters, &mut results).expect("it does not trap");
    }
    // It still works.
    host.kernel = 0;
    host.start(&[]);
    assert_eq!(host.process_token(0, 0.9).verdict, 0);
}

#[test]
fn the_trace_is_as_it_is_described() {
    let mut host = Host::new();
    let config: u32 = host.call("halt_config_new", ());
    let [(name, length)] = host.write([b"keep_text"]);
    assert_eq!(host.call::<_, i32>("halt_config_set_flag", (config, name, length, 1)), 0);
    host.set(config, "trace_tokens", Value::Number(2.0));
    host.kernel = host.call("halt_kernel_new", config);
    for (index, text) in ["one", "two", "three"].into_iter().enumerate() {
        let score = if index == 2 { 0.25 } else { 0.75 };
        let token = Token {
            index: index as u32,
            score: Some(score),
            entropy_bits: None,
            elapsed_ms: None,
            text: Some(text),
        };
        host.process(&token);
    }
    assert_eq!(host.call::<_, i32>("halt_trace", host.kernel), 2);
    let bytes = host.text();
    let entries: Vec<_> = bytes.chunks(72).collect();
    let read = |entry: &[u8]| {
        let number = |place: usize| f64::from_le_bytes(entry[place..][..8].try_into().unwrap());
        let text = String::from_utf8(entry[19..][..usize::from(entry[18])].to_vec()).unwrap();
        (number(0), number(8), entry[16], entry[17], text)
    };
    assert_eq!(read(entries[0]), (1.0, 0.75, 0, 255, "two".to_owned()));
    assert_eq!(read(entries[1]), (2.0, 0.25, 2, 0, "three".to_owned()));
}

#[test]
fn memory_does_not_grow() {
    let mut host = Host::new();
    for _ in 0..3 {
        host.start(&[]);
    }
    let before = host.memory.data_size(&host.store);
    for index in 0..100_000 {
        assert_eq!(host.call::<_, i32>("halt_process_token", (host.kernel, f64::from(index), 0.8)), 0);
    }
    for _ in 0..2_000 {
        host.start(&[]);
    }
    assert_eq!(host.memory.data_size(&host.store), before);
}

#[test]
fn an_instance_that_trapped_answers_nothing_any_more() {
    let mut host = Host::with_memory(2 << 20);
    host.start(&[]);
    let config: u32 = host.call("halt_config_new", ());
    assert_eq!(host.set(config, "trace_tokens", Value::Number(65_536.0)), 0);
    let kernel = host.kernel;
    assert!(host.try_call::<_, u32>("halt_kernel_new", config).is_err());
    assert_eq!(host.call::<_, i32>("halt_process_token", (kernel, 0.0, 0.9)), -2);
    assert_eq!(host.call::<_, i32>("halt_is_active", kernel), 0);
    assert_eq!(host.call::<_, u32>("halt_kernel_new", config), 0);
}
