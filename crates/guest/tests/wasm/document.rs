//! What is written for authors of guests in other languages, held to what is there: `docs/guest-abi.md` and
//! `glasshouse.h`.

use std::{collections::BTreeMap, fmt::Write, fs};

use glasshouse_devices::{Context, HostFunction, StepCall, StepOutcome, functions};
use glasshouse_engine::{Instance, InstanceLimits, Machine, native::Wasmtime};
use glasshouse_envelope::Envelope;
use serde_json::{Value, json};
use wasmparser::{CompositeInnerType, FuncType, Parser, Payload, TypeRef};

use crate::{
    bare::{Bare, Ended, none},
    modules::{compile_c, root},
};

fn document() -> String {
    fs::read_to_string(root().join("docs/guest-abi.md")).unwrap()
}

/// The first block of code in this language.
fn code(language: &str) -> String {
    let document = document();
    let start = document.split_once(&format!("```{language}\n")).unwrap().1;
    start.split_once("```").unwrap().0.to_owned()
}

/// The functions of `glasshouse` that this build has.
fn table() -> impl Iterator<Item = &'static HostFunction> {
    functions().filter(|function| function.module == "glasshouse")
}

/// The type of a function as the document writes it.
fn signature(function: &HostFunction) -> String {
    let names: Vec<_> = function.parameters.iter().map(|kind| format!("{kind:?}").to_lowercase()).collect();
    let mut text = format!("({})", names.join(", "));
    if let Some(result) = function.result {
        let _ = write!(text, " -> {}", format!("{result:?}").to_lowercase());
    }
    text
}

/// Runs one step on the engine: the payload of what it returned.
fn run(module: &[u8], entry: &str, argument: &Value) -> Value {
    let machine = Wasmtime::new().unwrap();
    let module = machine.compile(module).unwrap();
    let mut instance = machine.instantiate(&module, InstanceLimits::default()).unwrap();
    let input = Envelope::plain(argument.to_string().as_bytes()).encode().unwrap();
    let call = StepCall::Start { entry: entry.into(), input };
    let report = instance.step(&call, &mut Context::new(0, [0; 32]), 1_000_000);
    let StepOutcome::Returned(bytes) = report.outcome else { panic!("{:?}", report.outcome) };
    serde_json::from_slice(Envelope::decode(&bytes).unwrap().payload).unwrap()
}

#[test]
fn the_document_lists_every_function_with_its_type() {
    let document = document();
    let listed = document.split_once("<!-- functions -->").unwrap().1.split_once("<!-- end -->").unwrap().0;
    let listed: BTreeMap<&str, &str> = listed
        .lines()
        .filter_map(|line| {
            let mut cells = line.split('|').map(|cell| cell.trim().trim_matches('`'));
            Some((cells.nth(1)?, cells.next()?))
        })
        .collect();
    for function in table() {
        assert_eq!(
            listed.get(function.name).copied(),
            Some(signature(function).as_str()),
            "{}",
            function.name
        );
    }
}

#[test]
fn the_document_s_envelopes_are_right() {
    let document = document();
    let hex = |text: &str| -> Vec<u8> {
        text.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
    };
    let rows: Vec<Vec<&str>> = document
        .lines()
        .filter(|line| line.contains("| `49 41 01"))
        .map(|line| line.split('|').map(|cell| cell.trim().trim_matches('`')).collect())
        .collect();
    assert_eq!(rows.len(), 5);
    for row in rows {
        let bytes = hex(row[3]);
        let envelope = Envelope::decode(&bytes).unwrap();
        assert_eq!((envelope.flags.bits(), envelope.payload), (hex(row[1])[0], row[2].as_bytes()));
    }
}

#[test]
fn the_document_s_guest_in_text_runs() {
    let module = wat::parse_str(code("wat")).unwrap();
    let value = json!({"a": [1, "ü".repeat(100_000)]});
    assert_eq!(Bare::new(&module, none).call("echo", &value), Ok(value.clone()));
    assert_eq!(run(&module, "echo", &value), value);
}

#[test]
fn the_document_s_guest_in_c_runs() {
    let source = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("greet.c");
    fs::write(&source, code("c")).unwrap();
    let module = compile_c(&source);
    assert_eq!(run(&module, "greet", &json!("Ada")), json!("Hello, Ada"));
    let mut process = Bare::new(&module, none);
    assert_eq!(process.call("greet", &json!("\"Ä\" \\ ß")), Ok(json!("Hello, \"Ä\" \\ ß")));
    let Ended::Failed(error) = process.step("greet", &Envelope::plain(b"7").encode().unwrap()) else {
        panic!("a number is no name")
    };
    assert_eq!(error.code, "invalid_arguments");
}

#[test]
fn the_header_declares_every_function_with_its_type() {
    // A module that uses every function of the table, by the name that the header gives it.
    let mut source = "#define GLASSHOUSE_IMPLEMENTATION\n#include \"glasshouse.h\"\n".to_owned();
    source += "GH_EXPORT(\"all\") uintptr_t all(uint32_t at) {\n  const uintptr_t functions[] = {\n";
    for function in table() {
        let _ = writeln!(source, "    (uintptr_t)gh_{},", function.name);
    }
    source += "  };\n  return functions[at];\n}\n";
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("all.c");
    fs::write(&path, source).unwrap();
    let declared = imports(&compile_c(&path));
    for function in table() {
        let found = declared.get(&format!("{}.{}", function.module, function.name));
        assert_eq!(found.map(String::as_str), Some(signature(function).as_str()), "{}", function.name);
    }
}

/// The functions that a module imports, with their types.
fn imports(module: &[u8]) -> BTreeMap<String, String> {
    let mut types: Vec<FuncType> = Vec::new();
    let mut imports = BTreeMap::new();
    for payload in Parser::new(0).parse_all(module) {
        match payload.unwrap() {
            Payload::TypeSection(section) => {
                for group in section {
                    for kind in group.unwrap().into_types() {
                        if let CompositeInnerType::Func(function) = kind.composite_type.inner {
                            types.push(function);
                        }
                    }
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import.unwrap();
                    if let TypeRef::Func(kind) = import.ty {
                        let names = |kinds: &[wasmparser::ValType]| {
                            kinds.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
                        };
                        let function = &types[kind as usize];
                        let mut text = format!("({})", names(function.params()));
                        if !function.results().is_empty() {
                            let _ = write!(text, " -> {}", names(function.results()));
                        }
                        imports.insert(format!("{}.{}", import.module, import.name), text);
                    }
                }
            }
            _ => {}
        }
    }
    imports
}
