//! Recursion of every shape ends at the same depth everywhere: by the count, before any engine's own stack ends.

use std::fmt::Write;

use glasshouse_engine::{
    abi::{self, Account},
    rewrite::{self, Purpose, RewriteConfig},
};
use glasshouse_engine_proofs::{
    engines::{EngineKind, Engines, Imports},
    host::{Host, Limits},
    value::{Failure, Trap},
};

/// Writes `count` pieces of text, with `#` standing for the number of each.
fn times(count: usize, text: &str) -> String {
    (0..count).fold(String::new(), |mut all, number| {
        write!(all, "{} ", text.replace('#', &number.to_string())).expect("memory");
        all
    })
}

/// A function `$f` that calls itself, in so many shapes, with a name for each. `$run` starts it.
fn shapes() -> Vec<(String, String)> {
    let mut shapes = vec![
        ("nothing".into(), "(func $f call $f) (func (export \"run\") call $f)".into()),
        (
            "through a table".into(),
            "(type $t (func)) (table funcref (elem $f)) (func $f (call_indirect (type $t) (i32.const 0)))
             (func (export \"run\") call $f)"
                .into(),
        ),
        (
            "two in turn".into(),
            "(func $f call $g) (func $g (local i64 i64 v128) call $f) (func (export \"run\") call $f)".into(),
        ),
        (
            "in loops".into(),
            "(func $f (local $i i32) (loop call $f (br_if 0 (local.get $i)))) (func (export \"run\") call $f)".into(),
        ),
    ];
    for kind in ["i32", "i64", "f32", "f64", "v128"] {
        let zero = if kind == "v128" { "(v128.const i64x2 0 0)".into() } else { format!("({kind}.const 0)") };
        for count in [1, 7, 60, 900] {
            let list = times(count, kind);
            let given = times(count, "(local.get #)");
            let start = times(count, &zero);
            shapes.push((
                format!("{count} parameters of {kind}"),
                format!(
                    "(func $f (param {list}) (call $f {given})) (func (export \"run\") (call $f {start}))"
                ),
            ));
            shapes.push((
                format!("{count} results of {kind}"),
                format!(
                    "(func $f (result {list}) (call $f)) (func (export \"run\") (call $f) {})",
                    times(count, "drop")
                ),
            ));
            let made = times(count, &format!("(local.set # ({kind}.load offset=# (i32.const 0)))"));
            let used = times(count, &format!("({kind}.store offset=# (i32.const 0) (local.get #))"));
            shapes.push((
                format!("{count} locals of {kind} across a call"),
                format!(
                    "(memory 1) (func $f (local {list}) {made} call $f {used}) (func (export \"run\") call $f)"
                ),
            ));
            let pushed = times(count, &format!("({kind}.load offset=# (i32.const 0))"));
            let popped =
                times(count, &format!("(local.set $v) ({kind}.store offset=# (i32.const 0) (local.get $v))"));
            shapes.push((
                format!("{count} operands of {kind} across a call"),
                format!(
                    "(memory 1) (func $f (local $v {kind}) {pushed} call $f {popped}) (func (export \"run\") call $f)"
                ),
            ));
        }
    }
    // An optimizing compiler computes these once, and keeps all of them across the call.
    for count in [10, 100, 1_000, 4_000] {
        let mixed = times(count, "(i64.rotl (local.get $x) (i64.const #)) i64.xor");
        shapes.push((
            format!("{count} numbers that are computed twice"),
            format!(
                "(memory 1) (func $f (param $x i64) (i64.store (i32.const 0) (i64.const 0) {mixed})
                 (call $f (local.get $x)) (i64.store (i32.const 8) (i64.const 0) {mixed}))
                 (func (export \"run\") (call $f (i64.load (i32.const 16))))"
            ),
        ));
        let mixed = times(count, "(i8x16.add (local.get $x) (v128.const i32x4 # 1 2 3)) v128.xor");
        shapes.push((
            format!("{count} vectors that are computed twice"),
            format!(
                "(memory 1) (func $f (param $x v128) (local $y v128)
                 v128.const i64x2 0 0 {mixed} local.set $y (v128.store (i32.const 0) (local.get $y))
                 (call $f (local.get $x))
                 v128.const i64x2 0 0 {mixed} local.set $y (v128.store (i32.const 16) (local.get $y)))
                 (func (export \"run\") (call $f (v128.load (i32.const 32))))"
            ),
        ));
        // One operator for each vector before the call, and as few as can be behind it.
        let chain = times(count, "i8x16.popcnt i32x4.neg");
        let used = times(
            count,
            "i8x16.popcnt local.tee $t (local.get $s) v128.xor local.set $s local.get $t i32x4.neg local.tee $t (local.get $s) v128.xor local.set $s local.get $t",
        );
        shapes.push((
            format!("a chain of {count} vectors that is computed twice"),
            format!(
                "(memory 1) (func $f (param $x v128) (local $s v128) (local $t v128)
                 local.get $x {chain} local.set $t (v128.store (i32.const 0) (local.get $t))
                 (call $f (local.get $x))
                 local.get $x {used} drop (v128.store (i32.const 16) (local.get $s)))
                 (func (export \"run\") (call $f (v128.load (i32.const 32))))"
            ),
        ));
        // The same in a loop: what does not change there is computed before it, once.
        for (name, value) in [
            ("sums", "(i8x16.add (local.get $x) (v128.const i32x4 # 1 2 3))"),
            ("constants", "(v128.const i32x4 # 1 2 3)"),
            ("shifts", "(i32x4.shl (local.get $x) (i32.const #))"),
        ] {
            let mixed = times(count, &format!("{value} v128.xor"));
            shapes.push((
                format!("{count} vector {name} that are the same in each round of a loop"),
                format!(
                    "(memory 1) (func $f (param $x v128) (local $y v128)
                     (loop (call $f (local.get $x))
                        (local.set $y (v128.load (i32.const 0))) local.get $y {mixed} local.set $y
                        (v128.store (i32.const 0) (local.get $y))
                        (br_if 0 (i32.load (i32.const 0)))))
                     (func (export \"run\") (call $f (v128.load (i32.const 32))))"
                ),
            ));
        }
        let mixed = times(count, "(i64.rotl (local.get $x) (i64.const #)) i64.xor");
        let globals = times(count, "(global $g# i64 (i64.add (i64.const #) (i64.const 77)))");
        let read = times(count, "global.get $g# i64.xor");
        let counted = times(count, "(i64.popcnt (i64.const #777)) i64.xor");
        let constants = times(count, "(f64.const 0.#1) f64.add");
        let converted = times(count, "(f64.convert_i32_s (i32.const #)) f64.add");
        let narrow = times(count, "(f32.convert_i64_u (i64.const #)) f32.add");
        for (name, mixed) in [
            ("numbers", mixed),
            ("globals", read),
            ("counts", counted),
            ("floats", format!("f64.reinterpret_i64 {constants} i64.reinterpret_f64")),
            ("conversions", format!("f64.reinterpret_i64 {converted} i64.reinterpret_f64")),
            (
                "narrow conversions",
                format!("f32.convert_i64_s {narrow} i32.reinterpret_f32 i64.extend_i32_u"),
            ),
        ] {
            shapes.push((
                format!("{count} {name} that are the same in each round of a loop"),
                format!(
                    "(memory 1) {globals} (func $f (param $x i64)
                     (loop (call $f (local.get $x))
                        (i64.store (i32.const 0) (i64.load (i32.const 0)) {mixed})
                        (br_if 0 (i32.load (i32.const 0)))))
                     (func (export \"run\") (call $f (i64.load (i32.const 32))))"
                ),
            ));
        }
    }
    shapes
}

#[test]
fn recursion_of_every_shape_ends_at_the_same_count_on_every_engine() {
    let engines = Engines::new();
    let config = RewriteConfig { purpose: Purpose::Proof, ..RewriteConfig::default() };
    let mut wrong = Vec::new();
    let shapes = shapes();
    for (name, fields) in &shapes {
        let text = format!("(module {fields})");
        let buffer = wast::parser::ParseBuffer::new(&text).unwrap();
        let module = wast::parser::parse::<wast::Wat<'_>>(&buffer).unwrap().encode().unwrap();
        let rewritten = rewrite::rewrite(&module, &config).unwrap();
        let mut fuel = Vec::new();
        for kind in EngineKind::REWRITTEN {
            let mut host = Host::new(engines.world(kind, usize::MAX), Limits::PLENTY);
            let instance = host.instantiate_rewritten(&rewritten, &Imports::new()).unwrap();
            let run = host.export(instance, "run").unwrap();
            let end = host.run(run, &[]);
            let counted = i64::from(abi::STACK_BYTES) - host.account(instance, Account::Stack);
            let overdrawn = host.account(instance, Account::Stack) < 0;
            if end != Err(Failure::Trap(Trap::StackOverflow)) || !overdrawn {
                wrong.push(format!(
                    "{name}: {kind:?}: {end:?}, {counted} of {} bytes counted",
                    abi::STACK_BYTES
                ));
            }
            fuel.push(Limits::PLENTY.fuel - host.fuel(instance));
        }
        if fuel.iter().any(|other| *other != fuel[0]) {
            wrong.push(format!("{name}: fuel {fuel:?}"));
        }
    }
    println!("{} shapes", shapes.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
