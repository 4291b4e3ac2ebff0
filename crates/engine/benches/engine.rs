//! What the machine costs: compiling, starting, calling, and the pass against plain wasmtime, and against wasmtime that
//! canonicalizes NaNs and counts fuel itself, in the same run.
//!
//! `cargo bench -p glasshouse-engine [-- FILE.wasm…]`; modules that are given are compiled and timed as well.

#[path = "../tests/conformance/loops.rs"]
mod loops;

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use glasshouse_devices::{Context, StepCall, StepOutcome};
use glasshouse_engine::{Instance as _, InstanceLimits, Machine, native::Wasmtime, rewrite};
use loops::{LOOPS, guest};
use wasmtime::{Config, Engine, Instance, Module, Store};

/// Runs of which the fastest counts.
const RUNS: usize = 25;

fn main() {
    let machine = Wasmtime::new().expect("wasmtime runs here");
    compile(&machine, "generated", &generated(400));
    for file in std::env::args().skip(1).filter(|argument| argument.ends_with(".wasm")) {
        match std::fs::read(&file) {
            Ok(bytes) => compile(&machine, &file, &bytes),
            Err(error) => eprintln!("{file}: {error}"),
        }
    }
    start(&machine);
    for (name, body) in LOOPS {
        metering(&machine, name, body);
    }
}

/// The time of the fastest of `RUNS` runs: whatever else the machine does only makes runs slower.
fn fastest(mut run: impl FnMut()) -> Duration {
    let time = |_| {
        let start = Instant::now();
        run();
        start.elapsed()
    };
    (0..RUNS).map(time).min().unwrap_or_default()
}

fn compile(machine: &Wasmtime, name: &str, bytes: &[u8]) {
    let rewritten = match rewrite::rewrite(bytes, &rewrite::RewriteConfig::default()) {
        Ok(rewritten) => rewritten.module,
        Err(error) => return eprintln!("{name}: {error}"),
    };
    let plain = Engine::new(&plain_config()).expect("wasmtime runs here");
    let pass = fastest(|| drop(rewrite::rewrite(bytes, &rewrite::RewriteConfig::default())));
    let whole = fastest(|| drop(machine.compile(bytes)));
    let without = fastest(|| drop(Module::from_binary(&plain, bytes)));
    println!(
        "{name}: {} bytes, rewritten {} bytes ({:.2}x); pass {pass:.2?}, compile {whole:.2?}, plain wasmtime {without:.2?}",
        bytes.len(),
        rewritten.len(),
        rewritten.len() as f64 / bytes.len() as f64,
    );
}

fn start(machine: &Wasmtime) {
    let compiled = machine.compile(&guest(ECHO)).expect("a good module");
    let limits = InstanceLimits::default();
    let call = StepCall::Start { entry: "run".into(), input: vec![7; 64] };
    let mut context = Context::new(0, [0; 32]);
    let times = 1_000;
    let instantiate =
        fastest(|| (0..times).for_each(|_| drop(machine.instantiate(&compiled, limits)))) / times;
    let first = fastest(|| {
        (0..times).for_each(|_| {
            machine.instantiate(&compiled, limits).expect("it starts").step(&call, &mut context, 1_000);
        });
    }) / times;
    let mut instance = machine.instantiate(&compiled, limits).expect("it starts");
    let step = fastest(|| {
        (0..times).for_each(|_| {
            instance.step(&call, &mut context, 1_000);
        });
    }) / times;
    println!(
        "instantiate and drop {instantiate:.2?}; with a step of 64 bytes {first:.2?}; each further step {step:.2?}"
    );
}

fn metering(machine: &Wasmtime, name: &str, body: &str) {
    let bytes = guest(body);
    let call = StepCall::Start { entry: "run".into(), input: vec![] };
    let compiled = machine.compile(&bytes).expect("a good module");
    let mut instance = machine.instantiate(&compiled, InstanceLimits::default()).expect("it starts");
    let mut fuel = 0;
    let metered = fastest(|| {
        let report = instance.step(&call, &mut Context::new(0, [0; 32]), u64::MAX);
        assert!(matches!(report.outcome, StepOutcome::Returned(_)), "{:?}", report.outcome);
        fuel = report.fuel_used;
    });
    let time_plain = |config: &Config, fuel: bool| {
        let engine = Engine::new(config).expect("wasmtime runs here");
        let module = Module::from_binary(&engine, &bytes).expect("a good module");
        let mut store = Store::new(&engine, ());
        if fuel {
            store.set_fuel(u64::MAX).expect("fuel is on");
        }
        let instance = Instance::new(&mut store, &module, &[]).expect("it starts");
        let run = instance.get_typed_func::<(u32, u32), u64>(&mut store, "run").expect("it exports run");
        fastest(|| {
            run.call(&mut store, (0, 0)).expect("it returns");
        })
    };
    let plain = time_plain(&Config::new(), false);
    let numbers = time_plain(&plain_config(), false);
    let both = time_plain(plain_config().consume_fuel(true), true);
    let ratio = |time: Duration| time.as_secs_f64() / plain.as_secs_f64();
    println!(
        "{name}: {plain:.2?} plain, {metered:.2?} rewritten ({:.2}x); with the engine's own NaNs {numbers:.2?} ({:.2}x), \
         and its fuel {both:.2?} ({:.2}x); {fuel} fuel",
        ratio(metered),
        ratio(numbers),
        ratio(both),
    );
}

/// What the pass does, done by the engine itself but for the fuel.
fn plain_config() -> Config {
    let mut config = Config::new();
    config.cranelift_nan_canonicalization(true);
    config
}

/// A module with this many functions of mixed code.
fn generated(functions: usize) -> Vec<u8> {
    let mut body = String::new();
    for index in 0..functions {
        let callee = (index + 1) % functions;
        write!(
            body,
            "(func $f{index} (param i32 i32) (result i32) (local i32 f64)
                (local.set 2 (i32.mul (local.get 0) (i32.const {index})))
                (loop $again
                    (if (i32.rem_u (local.get 2) (i32.const 7))
                        (then (i32.store offset=8 (local.get 1) (i32.load offset=64 (local.get 2))))
                        (else (f64.store (local.get 1) (f64.add (local.get 3) (f64.load (local.get 2))))))
                    (block $out
                        (br_if $out (i32.eqz (local.get 2)))
                        (local.set 3 (f64.mul (local.get 3) (f64.convert_i32_s (local.get 2))))
                        (br_table 0 $again 0 (i32.and (local.get 2) (i32.const 3))))
                    (local.set 2 (i32.sub (local.get 2) (i32.const 1)))
                    (br_if $again (i32.gt_s (local.get 2) (i32.const 100))))
                (if (result i32) (i32.lt_u (local.get 0) (i32.const 100))
                    (then (call $f{callee} (i32.add (local.get 0) (i32.const 1)) (local.get 2)))
                    (else (i32.xor (local.get 1) (i32.const {index})))))"
        )
        .expect("strings take text");
    }
    guest(&body)
}

const ECHO: &str = r#"(func (export "run") (param i32 i32) (result i64)
    (i64.or (i64.shl (i64.extend_i32_u (local.get 0)) (i64.const 32)) (i64.extend_i32_u (local.get 1))))"#;
