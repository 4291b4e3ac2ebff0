//! Nothing that is fed to the pass or the machine makes them panic, and what the pass lets through is valid.

use glasshouse_devices::{Context, StepCall, StepOutcome};
use glasshouse_engine::{
    Instance, InstanceLimits, Machine, ModuleError, describe_tools, native::Wasmtime, rewrite,
};
use proptest::prelude::*;

/// A module with every section and most kinds of operators, to be damaged.
const SEED: &str = r#"(module
    (type $f (func (param i32) (result i32)))
    (import "glasshouse" "clock_now" (func $clock_now (result i64)))
    (import "glasshouse" "random_fill" (func $random_fill (param i32 i32)))
    (import "glasshouse" "log" (func $log (param i32 i32 i32)))
    (import "glasshouse" "emit" (func $emit (param i32 i32)))
    (table 4 funcref) (elem (i32.const 1) $leaf $several)
    (memory (export "memory") 1 4)
    (global $g (mut i64) (i64.const 5))
    (func $start (global.set $g (call $clock_now))) (start $start)
    (func $leaf (type $f) (block (br_if 0 (local.get 0)) nop) (memory.grow (local.get 0)))
    (func $several (param i32) (result i32 i64 f64)
        (if (local.get 0) (then (return (i32.const 1) (i64.const 2) (f64.const 3))))
        (call $emit (i32.const 0) (i32.const 2))
        (i32.const 1) (global.get $g) (f64.div (f64.const 0) (f64.const 0)))
    (func (export "gh_allocate") (param i32) (result i32) i32.const 1024)
    (func (export "run") (param i32 i32) (result i64) (local $i i32) (local $v v128) (local $sum f32)
        (loop $again
            (memory.fill (i32.const 64) (local.get $i) (i32.const 32))
            (local.set $v (i32x4.add (v128.load (i32.const 64)) (local.get $v)))
            (block (block (block (br_table 0 1 2 (i32.and (local.get $i) (i32.const 3)))) nop) nop)
            (drop (call_indirect (type $f) (i32.const 0) (i32.const 1)))
            (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 10))))
        (call $several (local.get 1)) drop drop drop
        (drop (table.grow 0 (ref.null func) (i32.const 2)))
        (local.set $sum (f32.add (local.get $sum) (f32.load (i32.const 64)))) (f32.store (i32.const 68) (local.get $sum))
        (local.set $v (f32x4.sqrt (local.get $v))) (v128.store (i32.const 80) (local.get $v))
        (call $random_fill (i32.const 0) (i32.const 8))
        (call $log (i32.const 1) (i32.const 100) (i32.const 5))
        (i64.or (i64.shl (i64.extend_i32_u (local.get 0)) (i64.const 32)) (i64.extend_i32_u (local.get 1))))
    (data (i32.const 100) "hello")
    (@custom "glasshouse.tool" "[{\"name\":\"run\",\"description\":\"d\",\"parameters\":{},\"entry\":\"run\"}]")
)"#;

/// Rewrites, compiles and runs; panics only when a promise is broken.
fn swallow(machine: &Wasmtime, bytes: &[u8]) {
    let _ = describe_tools(bytes);
    let Ok(rewritten) = rewrite::rewrite(bytes, &rewrite::RewriteConfig::default()) else {
        assert!(machine.compile(bytes).is_err());
        return;
    };
    wasmparser::Validator::new().validate_all(&rewritten.module).expect("the pass makes valid modules");
    let Ok(module) = machine.compile(bytes) else { return };
    let limits = InstanceLimits { memory_bytes: 1 << 20, ..InstanceLimits::default() };
    let Ok(mut instance) = machine.instantiate(&module, limits) else { return };
    let mut context = Context::new(0, [0; 32]);
    for call in [
        StepCall::Start { entry: "run".into(), input: b"abc".to_vec() },
        StepCall::Resume { input: b"abc".to_vec() },
    ] {
        let report = instance.step(&call, &mut context, 100_000);
        assert!(report.fuel_used <= 100_000 && report.memory_bytes <= 1 << 20);
        if let StepOutcome::Trapped { kind, message } = report.outcome {
            assert_ne!(kind, glasshouse_devices::TrapKind::Engine, "{message}");
        }
    }
}

#[test]
fn the_undamaged_seed_runs() {
    let seed = wat::parse_str(SEED).unwrap();
    assert_eq!(describe_tools(&seed).unwrap().len(), 1);
    let machine = Wasmtime::new().unwrap();
    let compiled = machine.compile(&seed).unwrap();
    let mut instance = machine.instantiate(&compiled, InstanceLimits::default()).unwrap();
    let call = StepCall::Start { entry: "run".into(), input: b"abc".to_vec() };
    let report = instance.step(&call, &mut Context::new(0, [0; 32]), 100_000);
    assert_eq!(report.outcome, StepOutcome::Returned(b"abc".to_vec()));
}

/// A module whose only function takes `pairs` roots, each negated, so that every one of them must be settled.
fn roots(pairs: usize) -> Vec<u8> {
    use wasm_encoder::{CodeSection, Function, FunctionSection, Module, TypeSection, ValType};
    let mut types = TypeSection::new();
    types.ty().function([ValType::F64], [ValType::F64]);
    let mut functions = FunctionSection::new();
    functions.function(0);
    let mut body = Function::new([]);
    body.instructions().local_get(0);
    (0..pairs).for_each(|_| {
        body.instructions().f64_sqrt().f64_neg();
    });
    body.instructions().end();
    let mut code = CodeSection::new();
    code.function(&body);
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&code);
    module.finish()
}

#[test]
fn functions_that_rewriting_makes_too_large_for_browsers_are_refused() {
    let limit = 7_654_321;
    let config = rewrite::RewriteConfig { purpose: rewrite::Purpose::Proof, ..Default::default() };
    let fits = rewrite::rewrite(&roots(350_000), &config).unwrap().module;
    assert!(fits.len() < limit && fits.len() > 2 * 2 * 350_000);
    match rewrite::rewrite(&roots(500_000), &config) {
        Err(ModuleError::TooLarge { size, limit: named, .. }) => {
            assert!(named == limit as u64 && size > named);
        }
        other => panic!("{:?}", other.map(|rewritten| rewritten.module.len())),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_are_refused_in_good_order(tail in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut bytes = b"\0asm\x01\0\0\0".to_vec();
        bytes.extend(&tail);
        let _ = rewrite::rewrite(&bytes, &rewrite::RewriteConfig::default());
        let _ = rewrite::rewrite(&tail, &rewrite::RewriteConfig::default());
        let _ = describe_tools(&bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_modules_are_refused_or_run_in_good_order(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..4), 1..4)
    ) {
        let mut bytes = wat::parse_str(SEED).unwrap();
        for (index, value, kind) in edits {
            let at = index.index(bytes.len());
            match kind {
                0 => bytes[at] = value,
                1 => bytes[at] ^= 1 << (value % 8),
                2 => bytes[at] = bytes[at].wrapping_add(1),
                _ => {
                    let from = usize::from(value) % bytes.len();
                    bytes[at] = bytes[from];
                }
            }
        }
        swallow(&Wasmtime::new().unwrap(), &bytes);
    }
}
