//! An envelope from the host to a guest and back, against bare wasmtime that copies the same bytes in and out, and against
//! three copies of as many bytes in the host's memory. All three in turns, in the same run.
//!
//! `cargo bench -p glasshouse-engine --bench round_trip`

#[path = "../tests/conformance/loops.rs"]
#[allow(dead_code, reason = "only the guest's frame is needed here")]
mod loops;

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use glasshouse_devices::{Context, StepCall, StepOutcome};
use glasshouse_engine::{Instance as _, InstanceLimits, Machine, native::Wasmtime};
use glasshouse_envelope::{Envelope, Flags};
use loops::guest;
use wasmtime::{Engine, Instance, Module, Store};

/// That of the command line.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Turns of each measured thing; the median counts.
const TURNS: usize = 41;

/// The guest: answers with the envelope that it was given, from where it lies.
const ECHO: &str = r#"(func (export "run") (param i32 i32) (result i64)
    (i64.or (i64.shl (i64.extend_i32_u (local.get 0)) (i64.const 32)) (i64.extend_i32_u (local.get 1))))"#;

fn main() {
    let machine = Wasmtime::new().expect("wasmtime runs here");
    println!(
        "{:>9}  {:>12}  {:>12}  {:>12}  {:>7}  {:>7}",
        "bytes", "round trip", "bare", "3 copies", "/ bare", "/ copies"
    );
    for size in [64, 4 << 10, 1 << 20] {
        measure(&machine, size);
    }
}

fn measure(machine: &Wasmtime, size: usize) {
    let payload: Vec<u8> = (0..size).map(|index| index as u8).collect();
    let bytes = guest(ECHO);
    let compiled = machine.compile(&bytes).expect("a good module");
    let mut instance = machine.instantiate(&compiled, InstanceLimits::default()).expect("it starts");
    let mut context = Context::new(0, [0; 32]);

    let engine = Engine::default();
    let module = Module::from_binary(&engine, &bytes).expect("a good module");
    let mut store = Store::new(&engine, ());
    let bare = Instance::new(&mut store, &module, &[]).expect("it starts");
    let memory = bare.get_memory(&mut store, "memory").expect("it exports its memory");
    let allocate =
        bare.get_typed_func::<u32, u32>(&mut store, "gh_allocate").expect("it exports gh_allocate");
    let run = bare.get_typed_func::<(u32, u32), u64>(&mut store, "run").expect("it exports run");

    let mut places = [vec![0; size], vec![0; size], vec![0; size]];
    let times = (20_000_000 / (size + 2_000)).max(3) as u32;
    let (mut trips, mut bares, mut copies) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..TURNS {
        trips.push(each(times, || {
            let input = Envelope::new(Flags::NONE, &payload).encode().expect("it fits");
            let call = StepCall::Start { entry: "run".into(), input };
            let report = instance.step(&call, &mut context, 1_000);
            let StepOutcome::Returned(output) = &report.outcome else { panic!("{:?}", report.outcome) };
            let envelope = Envelope::decode(output).expect("an envelope comes back");
            assert_eq!(envelope.payload.len(), size);
        }));
        bares.push(each(times, || {
            let pointer = allocate.call(&mut store, size as u32).expect("it allocates");
            memory.write(&mut store, pointer as usize, &payload).expect("it fits");
            let packed = run.call(&mut store, (pointer, size as u32)).expect("it returns");
            memory.read(&store, (packed >> 32) as usize, &mut places[0]).expect("it lies there");
            black_box(&places[0]);
        }));
        copies.push(each(times, || {
            let [first, second, third] = &mut places;
            first.copy_from_slice(black_box(&payload));
            second.copy_from_slice(black_box(first));
            third.copy_from_slice(black_box(second));
            black_box(third);
        }));
    }
    let (trip, bare, copy) = (median(trips), median(bares), median(copies));
    let ratio = |other: Duration| trip.as_secs_f64() / other.as_secs_f64();
    println!(
        "{size:>9}  {trip:>12.1?}  {bare:>12.1?}  {copy:>12.1?}  {:>7.2}  {:>7.2}",
        ratio(bare),
        ratio(copy)
    );
}

/// The time of one of so many runs.
fn each(times: u32, mut run: impl FnMut()) -> Duration {
    let start = Instant::now();
    (0..times).for_each(|_| run());
    start.elapsed() / times
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
