//! CPU-bound programs, with everything that the rewriting pass adds, against the same module as it is on the same engine.
//!
//! `cargo bench -p glasshouse-engine --bench programs`

#[path = "../tests/conformance/loops.rs"]
mod loops;

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use glasshouse_devices::{Context, StepCall, StepOutcome};
use glasshouse_engine::{Instance as _, InstanceLimits, Machine, native::Wasmtime};
use loops::{LOOPS, guest};
use wasmtime::{Config, Engine, Instance, Module, Store};

/// Turns of each; the median counts.
const TURNS: usize = 21;

fn main() {
    let machine = Wasmtime::new().expect("wasmtime runs here");
    println!(
        "{:>34}  {:>10}  {:>10}  {:>6}  {:>21}",
        "program", "rewritten", "plain", "ratio", "engine's fuel and NaNs"
    );
    let product = LOOPS.iter().find(|(name, _)| name.starts_with("matrix product")).expect("it is there");
    measure(&machine, "SHA-256 of 8,192 blocks", &sha256(), &[0; 8_192]);
    measure(&machine, product.0, product.1, &[]);
    measure(&machine, "Collatz steps up to 100,000", COLLATZ, &[]);
    // The first block of "abc", as the standard's own example has it.
    let words = outcome(&machine, &sha256(), &[0]);
    assert_eq!(words[..4], 0xba78_16bf_u32.to_le_bytes());
}

fn outcome(machine: &Wasmtime, body: &str, input: &[u8]) -> Vec<u8> {
    let compiled = machine.compile(&guest(body)).expect("a good module");
    let mut instance = machine.instantiate(&compiled, InstanceLimits::default()).expect("it starts");
    let call = StepCall::Start { entry: "run".into(), input: input.to_vec() };
    match instance.step(&call, &mut Context::new(0, [0; 32]), u64::MAX).outcome {
        StepOutcome::Returned(bytes) => bytes,
        other => panic!("{other:?}"),
    }
}

fn measure(machine: &Wasmtime, name: &str, body: &str, input: &[u8]) {
    let bytes = guest(body);
    let compiled = machine.compile(&bytes).expect("a good module");
    let mut instance = machine.instantiate(&compiled, InstanceLimits::default()).expect("it starts");
    let call = StepCall::Start { entry: "run".into(), input: input.to_vec() };
    let mut plain = Plain::new(&Config::new(), false, &bytes);
    let mut counting =
        Plain::new(Config::new().cranelift_nan_canonicalization(true).consume_fuel(true), true, &bytes);
    let length = input.len() as u32;
    let (mut rewritten, mut plains, mut countings) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..TURNS {
        rewritten.push(time(|| {
            let report = instance.step(&call, &mut Context::new(0, [0; 32]), u64::MAX);
            assert!(matches!(report.outcome, StepOutcome::Returned(_)), "{:?}", report.outcome);
        }));
        plains.push(time(|| plain.run(length)));
        countings.push(time(|| counting.run(length)));
    }
    let (rewritten, plain, counting) = (median(rewritten), median(plains), median(countings));
    let ratio = |time: Duration| time.as_secs_f64() / plain.as_secs_f64();
    println!(
        "{name:>34}  {rewritten:>10.2?}  {plain:>10.2?}  {:>6.2}  {:>10.2?} ({:>7.2})",
        ratio(rewritten),
        counting,
        ratio(counting)
    );
}

/// The module as it is.
struct Plain {
    store: Store<()>,
    run: wasmtime::TypedFunc<(u32, u32), u64>,
}

impl Plain {
    fn new(config: &Config, fuel: bool, bytes: &[u8]) -> Self {
        let engine = Engine::new(config).expect("wasmtime runs here");
        let module = Module::from_binary(&engine, bytes).expect("a good module");
        let mut store = Store::new(&engine, ());
        if fuel {
            store.set_fuel(u64::MAX).expect("fuel is on");
        }
        let instance = Instance::new(&mut store, &module, &[]).expect("it starts");
        let run = instance.get_typed_func(&mut store, "run").expect("it exports run");
        Self { store, run }
    }

    fn run(&mut self, length: u32) {
        self.run.call(&mut self.store, (1024, length)).expect("it returns");
    }
}

fn time(run: impl FnOnce()) -> Duration {
    let start = Instant::now();
    run();
    start.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// The most steps that a number below 100,000 takes to come to 1.
const COLLATZ: &str = r#"(func (export "run") (param i32 i32) (result i64)
    (local $start i64) (local $n i64) (local $steps i32) (local $most i32)
    (local.set $start (i64.const 1))
    (loop $starts
        (local.set $n (local.get $start))
        (local.set $steps (i32.const 0))
        (loop $walk
            (local.set $n (if (result i64) (i64.eqz (i64.and (local.get $n) (i64.const 1)))
                (then (i64.shr_u (local.get $n) (i64.const 1)))
                (else (i64.add (i64.mul (local.get $n) (i64.const 3)) (i64.const 1)))))
            (local.set $steps (i32.add (local.get $steps) (i32.const 1)))
            (br_if $walk (i64.gt_u (local.get $n) (i64.const 1))))
        (if (i32.gt_u (local.get $steps) (local.get $most)) (then (local.set $most (local.get $steps))))
        (br_if $starts (i64.lt_u
            (local.tee $start (i64.add (local.get $start) (i64.const 1))) (i64.const 100000))))
    (i32.store (i32.const 0) (local.get $most))
    (i64.const 4))"#;

/// SHA-256's compression function (FIPS 180-4, section 6.2), as often as the input has bytes, on the padded message "abc"
/// and from its initial value on; answers the eight words of the state.
fn sha256() -> String {
    let constants: Vec<u32> = primes().take(64).map(|prime| fraction(f64::from(prime).cbrt())).collect();
    let initial: Vec<u32> = primes().take(8).map(|prime| fraction(f64::from(prime).sqrt())).collect();
    let data = |words: &[u32]| -> String {
        words.iter().flat_map(|word| word.to_le_bytes()).fold(String::new(), |mut text, byte| {
            write!(text, "\\{byte:02x}").expect("strings take text");
            text
        })
    };
    let mut message = [0; 16];
    (message[0], message[15]) = (0x6162_6380, 24);
    let rotated = |value: &str, by: [u32; 3], last: &str| {
        format!(
            "(i32.xor (i32.xor (i32.rotr {value} (i32.const {})) (i32.rotr {value} (i32.const {}))) (i32.{last} {value} (i32.const {})))",
            by[0], by[1], by[2]
        )
    };
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let (mut load, mut add) = (String::new(), String::new());
    for (index, name) in names.iter().enumerate() {
        let place = 4 * index;
        writeln!(load, "(local.set ${name} (i32.load offset={place} (i32.const 4096)))")
            .expect("strings take text");
        writeln!(
            add,
            "(i32.store offset={place} (i32.const 4096) (i32.add (local.get ${name}) (i32.load offset={place} (i32.const 4096))))"
        )
        .expect("strings take text");
    }
    format!(
        r#"(data (i32.const 2048) "{constants}") (data (i32.const 4096) "{initial}") (data (i32.const 4352) "{message}")
        (func (export "run") (param i32 i32) (result i64)
            (local $t i32) (local $one i32) (local $two i32) (local $w i32) (local $u i32)
            (local $a i32) (local $b i32) (local $c i32) (local $d i32)
            (local $e i32) (local $f i32) (local $g i32) (local $h i32)
            (loop $blocks
                (local.set $t (i32.const 64))
                (loop $schedule
                    (local.set $w (i32.load offset=4292 (local.get $t)))
                    (local.set $u (i32.load offset=4344 (local.get $t)))
                    (i32.store offset=4352 (local.get $t) (i32.add
                        (i32.add (i32.load offset=4288 (local.get $t)) {small_zero})
                        (i32.add (i32.load offset=4324 (local.get $t)) {small_one})))
                    (br_if $schedule (i32.lt_u
                        (local.tee $t (i32.add (local.get $t) (i32.const 4))) (i32.const 256))))
                {load}
                (local.set $t (i32.const 0))
                (loop $rounds
                    (local.set $one (i32.add
                        (i32.add (i32.add (local.get $h) {large_one})
                            (i32.xor (local.get $g) (i32.and (local.get $e) (i32.xor (local.get $f) (local.get $g)))))
                        (i32.add (i32.load offset=2048 (local.get $t)) (i32.load offset=4352 (local.get $t)))))
                    (local.set $two (i32.add {large_zero} (i32.or
                        (i32.and (local.get $a) (local.get $b))
                        (i32.and (local.get $c) (i32.or (local.get $a) (local.get $b))))))
                    (local.set $h (local.get $g)) (local.set $g (local.get $f)) (local.set $f (local.get $e))
                    (local.set $e (i32.add (local.get $d) (local.get $one)))
                    (local.set $d (local.get $c)) (local.set $c (local.get $b)) (local.set $b (local.get $a))
                    (local.set $a (i32.add (local.get $one) (local.get $two)))
                    (br_if $rounds (i32.lt_u
                        (local.tee $t (i32.add (local.get $t) (i32.const 4))) (i32.const 256))))
                {add}
                (br_if $blocks (i32.gt_s
                    (local.tee 1 (i32.sub (local.get 1) (i32.const 1))) (i32.const 0))))
            (i64.or (i64.shl (i64.const 4096) (i64.const 32)) (i64.const 32)))"#,
        constants = data(&constants),
        initial = data(&initial),
        message = data(&message),
        small_zero = rotated("(local.get $w)", [7, 18, 3], "shr_u"),
        small_one = rotated("(local.get $u)", [17, 19, 10], "shr_u"),
        large_zero = rotated("(local.get $a)", [2, 13, 22], "rotr"),
        large_one = rotated("(local.get $e)", [6, 11, 25], "rotr"),
    )
}

/// The first 32 bits of the fractional part.
fn fraction(number: f64) -> u32 {
    (number.fract() * 4_294_967_296.0) as u32
}

fn primes() -> impl Iterator<Item = u32> {
    (2u32..).filter(|number| (2..*number).all(|divisor| !number.is_multiple_of(divisor)))
}
