//! Snapshots: a process continues from one as if nothing had happened, also in another machine's object and from bytes.

use glasshouse_devices::StepReport;
use glasshouse_engine::{
    Instance, InstanceLimits, Machine, ModuleError, SavedProcess, SnapshotError,
    snapshot::{Image, Value},
};

use crate::fixture::{PLENTY, context, guest, instantiate_within, returned, start, trap};

const LIMITS: InstanceLimits =
    InstanceLimits { memory_bytes: 8 * 65_536, table_elements: 40, output_bytes: 1 << 20 };

/// A guest with all that can change. `run` calls what its input names, which changes everything a little and writes what
/// it sees to the output: 256 bytes from 0 on.
const EVERYTHING: &str = r#"
    (global $i32 (mut i32) (i32.const -5)) (global $i64 (mut i64) (i64.const 0x123456789abcdef0))
    (global $f32 (mut f32) (f32.const 0.5)) (global $f64 (mut f64) (f64.const -0.25))
    (global $v128 (mut v128) (v128.const i32x4 1 2 3 4))
    (global $none (mut funcref) (ref.null func)) (global $some (mut funcref) (ref.func $two))
    (global $fixed i32 (i32.const 9))
    (type $f (func (result i32)))
    (func $one (type $f) (i32.const 1)) (func $two (type $f) (i32.const 2)) (func $three (type $f) (i32.const 3))
    (func $four (type $f) (i32.const 4)) (func $unused (type $f) (i32.const 5))
    (table $t 4 20 funcref) (elem (table $t) (i32.const 0) func $one $two)
    (table $u 3 funcref) (table $still 2 funcref) (elem (table $still) (i32.const 0) func $four $one)
    (elem $passive func $three $four) (elem $other func $one)
    (data $text "abcdefgh") (data (i32.const 4096) "xyz") (data $second "0123")
    (func $act (param $what i32)
        (if (i32.eq (local.get $what) (i32.const 0)) (then
            (global.set $i32 (i32.mul (global.get $i32) (i32.const 3)))
            (global.set $i64 (i64.rotl (global.get $i64) (i64.const 7)))
            (global.set $v128 (i8x16.add (global.get $v128) (v128.const i32x4 5 6 -7 8)))
            (global.set $f32 (f32.reinterpret_i32 (i32.const 0x7fa12345)))
            (global.set $f64 (f64.reinterpret_i64 (i64.const 0xfff4000000000001)))))
        (if (i32.eq (local.get $what) (i32.const 1)) (then
            (global.set $none (ref.func $three)) (global.set $some (ref.null func))
            (table.set $t (i32.const 2) (ref.func $four)) (table.set $t (i32.const 0) (ref.null func))))
        (if (i32.eq (local.get $what) (i32.const 2)) (then
            (drop (table.grow $t (ref.func $two) (i32.const 5))) (drop (table.grow $u (global.get $none) (i32.const 2)))
            (drop (memory.grow (i32.const 2))) (i32.store offset=150000 (i32.const 0) (i32.const 77))))
        (if (i32.eq (local.get $what) (i32.const 3)) (then
            (table.init $t $passive (i32.const 2) (i32.const 0) (i32.const 2)) (elem.drop $passive)
            (table.copy $u $t (i32.const 0) (i32.const 1) (i32.const 3))
            (table.fill $t (i32.const 1) (global.get $some) (i32.const 1))))
        (if (i32.eq (local.get $what) (i32.const 4)) (then
            (memory.init $text (i32.const 3000) (i32.const 0) (i32.const 8)) (data.drop $text)))
        (if (i32.eq (local.get $what) (i32.const 5)) (then
            ;; Of dropped segments only nothing can be taken.
            (memory.init $text (i32.const 3000) (i32.const 0) (i32.const 1))))
        (if (i32.eq (local.get $what) (i32.const 6)) (then
            (table.init $t $passive (i32.const 0) (i32.const 0) (i32.const 1))))
        (if (i32.eq (local.get $what) (i32.const 7)) (then
            (global.set $i32 (memory.grow (i32.const 100))) (global.set $i64 (i64.extend_i32_s (table.grow $u (ref.null func) (i32.const 100))))
            (global.set $i32 (i32.add (i32.mul (i32.const 10) (memory.grow (i32.const 1))) (table.grow $u (ref.null func) (i32.const 25))))))
        (if (i32.eq (local.get $what) (i32.const 8)) (then
            (memory.init $second (i32.const 3010) (i32.const 1) (i32.const 2)) (data.drop 1) (data.drop 1))))
    (func $call (param $place i32) (param $table i32) (param $slot i32)
        (i32.store (local.get $place) (i32.const -1))
        (if (local.get $table)
            (then (if (i32.lt_u (local.get $slot) (table.size $u))
                (then (if (i32.eqz (ref.is_null (table.get $u (local.get $slot))))
                    (then (i32.store (local.get $place) (call_indirect $u (type $f) (local.get $slot))))))))
            (else (if (i32.lt_u (local.get $slot) (table.size $t))
                (then (if (i32.eqz (ref.is_null (table.get $t (local.get $slot))))
                    (then (i32.store (local.get $place) (call_indirect $t (type $f) (local.get $slot))))))))))
    (func (export "run") (param $pointer i32) (param $length i32) (result i64) (local $i i32)
        (if (local.get $length) (then (loop
            (call $act (i32.load8_u (i32.add (local.get $pointer) (local.get $i))))
            (br_if 0 (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $length))))))
        (i32.store (i32.const 0) (global.get $i32)) (i64.store (i32.const 8) (global.get $i64))
        (f32.store (i32.const 16) (global.get $f32)) (f64.store (i32.const 24) (global.get $f64))
        (v128.store (i32.const 32) (global.get $v128))
        (i32.store (i32.const 48) (ref.is_null (global.get $none))) (i32.store (i32.const 52) (ref.is_null (global.get $some)))
        (i32.store (i32.const 56) (table.size $t)) (i32.store (i32.const 60) (table.size $u))
        (i32.store (i32.const 64) (memory.size)) (i64.store (i32.const 72) (i64.load (i32.const 3000)))
        (i64.store (i32.const 80) (i64.load (i32.const 4096))) (i64.store (i32.const 88) (i64.load (i32.const 3010)))
        (local.set $i (i32.const 0))
        (loop
            (call $call (i32.add (i32.const 96) (i32.shl (local.get $i) (i32.const 2))) (i32.const 0) (local.get $i))
            (call $call (i32.add (i32.const 144) (i32.shl (local.get $i) (i32.const 2))) (i32.const 1) (local.get $i))
            (br_if 0 (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 12))))
        (i64.const 256))"#;

/// What a process that does these acts one after the other reports, when it is taken to another instance before each, by
/// the given way.
fn reports<I: Instance>(first: I, acts: &[&[u8]], mut move_on: impl FnMut(&mut I) -> I) -> Vec<StepReport> {
    let (mut instance, mut context) = (first, context());
    let mut reports = Vec::new();
    for act in acts {
        reports.push(instance.step(&start("run", act), &mut context, PLENTY));
        instance = move_on(&mut instance);
    }
    reports
}

/// Sequences of acts of [`EVERYTHING`].
const SEQUENCES: &[&[&[u8]]] = &[
    &[b"", b"\0", b"\0\0", b""],
    &[b"\x01", b"", b"\x03", b""],
    &[b"\x02", b"\x02\x01", b"\x03", b""],
    &[b"\x03", b"\x06"],
    &[b"\x04", b"", b"\x05"],
    &[b"\x07", b"\x07", b"\x02", b"\x07"],
    &[b"\0\x01\x02\x03\x04\x08", b"\0", b"\x08\x02", b"\x05"],
];

pub fn a_process_continues_from_a_snapshot_as_if_nothing_had_happened<M: Machine>(machine: &M) {
    let module = machine.compile(&guest(EVERYTHING)).unwrap();
    for acts in SEQUENCES {
        let first = || machine.instantiate(&module, LIMITS).unwrap();
        let snapshot = |instance: &mut M::Instance| instance.snapshot().unwrap();
        let (mut kept, mut context) = (first(), context());
        let expected: Vec<_> =
            acts.iter().map(|act| kept.step(&start("run", act), &mut context, PLENTY)).collect();
        let restored =
            reports(first(), acts, |instance| machine.restore(&module, &snapshot(instance), LIMITS).unwrap());
        assert_eq!(restored, expected, "restored: {acts:?}");
        let other = machine.compile(&guest(EVERYTHING)).unwrap();
        let saved = reports(first(), acts, |instance| {
            let bytes = SavedProcess::new(&snapshot(instance)).to_bytes().unwrap();
            let saved = SavedProcess::from_bytes(&bytes).unwrap();
            machine.restore_saved(&other, &saved, LIMITS).unwrap()
        });
        assert_eq!(saved, expected, "saved: {acts:?}");
    }
}

pub fn a_snapshot_is_the_same_whether_or_not_the_process_was_restored<M: Machine>(machine: &M) {
    let module = machine.compile(&guest(EVERYTHING)).unwrap();
    let mut instance = machine.instantiate(&module, LIMITS).unwrap();
    instance.step(&start("run", b"\0\x01\x02\x03\x04\x08"), &mut context(), PLENTY);
    let snapshot = instance.snapshot().unwrap();
    let again = machine.restore(&module, &snapshot, LIMITS).unwrap().snapshot().unwrap();
    assert_eq!(again.registers(), snapshot.registers());
    let bytes = SavedProcess::new(&snapshot).to_bytes().unwrap();
    assert_eq!(SavedProcess::new(&again).to_bytes().unwrap(), bytes);
    let saved = SavedProcess::from_bytes(&bytes).unwrap();
    let restored = machine.restore_saved(&module, &saved, LIMITS).unwrap().snapshot().unwrap();
    assert_eq!(SavedProcess::new(&restored).to_bytes().unwrap(), bytes);
}

pub fn a_snapshot_shows_every_register<M: Machine>(machine: &M) {
    let module = machine.compile(&guest(EVERYTHING)).unwrap();
    let mut instance = machine.instantiate(&module, LIMITS).unwrap();
    instance.step(&start("run", b"\0\x01\x02\x03\x04"), &mut context(), PLENTY);
    let snapshot = instance.snapshot().unwrap();
    let registers = snapshot.registers();
    let low = 1u32.wrapping_add(5) as u64 | u64::from(2 + 6u32) << 32;
    // Bytes are added, not words: 3 and 0xfffffff9 make 0xfffffffc.
    let high = 0xffff_fffcu64 | 12 << 32;
    assert_eq!(
        registers.globals,
        [
            Value::I32(-15i32 as u32),
            Value::I64(0x1234_5678_9abc_def0u64.rotate_left(7)),
            Value::F32(0x7fa1_2345),
            Value::F64(0xfff4_0000_0000_0001),
            Value::V128(low, high),
            Value::Function(Some(3)),
            Value::Function(None),
        ]
    );
    // `gh_allocate` is function 0.
    let expected: [&[Option<u32>]; 2] = [
        &[None, None, Some(3), Some(4), Some(2), Some(2), Some(2), Some(2), Some(2)],
        &[Some(2), Some(3), Some(4), Some(3), Some(3)],
    ];
    assert_eq!(registers.tables, expected);
    assert_eq!(registers.dropped.len(), 1);
    assert_eq!(registers.dropped[0].count_ones(), 2);
    assert!(registers.started && !registers.ended);
    assert_eq!(snapshot.memory().len(), 3 * 65_536);
}

pub fn forks_of_a_process_go_their_own_ways<M: Machine>(machine: &M) {
    let module = machine.compile(&guest(EVERYTHING)).unwrap();
    let mut parent = machine.instantiate(&module, LIMITS).unwrap();
    parent.step(&start("run", b"\x02\x04"), &mut context(), PLENTY);
    let snapshot = parent.snapshot().unwrap();
    let mut one = machine.restore(&module, &snapshot, LIMITS).unwrap();
    let mut two = machine.restore(&module, &snapshot, LIMITS).unwrap();
    let changed = one.step(&start("run", b"\0\x01"), &mut context(), PLENTY);
    let still = two.step(&start("run", b""), &mut context(), PLENTY);
    assert_ne!(returned(&changed), returned(&still));
    assert_eq!(returned(&parent.step(&start("run", b""), &mut context(), PLENTY)), returned(&still));
}

pub fn the_start_function_does_not_run_again_in_a_restored_process<M: Machine>(machine: &M) {
    let guest = guest(
        r#"(global $runs (mut i32) (i32.const 0))
        (func $start (global.set $runs (i32.add (global.get $runs) (i32.const 1)))) (start $start)
        (func (export "run") (param i32 i32) (result i64) (i64.extend_i32_u (global.get $runs)))"#,
    );
    let module = machine.compile(&guest).unwrap();
    let mut instance = machine.instantiate(&module, LIMITS).unwrap();
    let fresh = instance.snapshot().unwrap();
    instance.step(&start("run", b""), &mut context(), PLENTY);
    let begun = instance.snapshot().unwrap();
    for snapshot in [fresh, begun] {
        let mut restored = machine.restore(&module, &snapshot, LIMITS).unwrap();
        for _ in 0..2 {
            assert_eq!(returned(&restored.step(&start("run", b""), &mut context(), PLENTY)).len(), 1);
        }
    }
}

pub fn a_process_that_has_ended_stays_so<M: Machine>(machine: &M) {
    let guest = guest(r#"(func (export "run") (param i32 i32) (result i64) unreachable)"#);
    let module = machine.compile(&guest).unwrap();
    let mut instance = machine.instantiate(&module, LIMITS).unwrap();
    instance.step(&start("run", b""), &mut context(), PLENTY);
    let mut restored = machine.restore(&module, &instance.snapshot().unwrap(), LIMITS).unwrap();
    let report = restored.step(&start("run", b""), &mut context(), PLENTY);
    assert_eq!(trap(&report).0, glasshouse_devices::TrapKind::Poisoned);
}

pub fn a_process_of_another_module_or_over_the_limits_is_not_restored<M: Machine>(machine: &M) {
    let module = machine.compile(&guest(EVERYTHING)).unwrap();
    let mut instance = machine.instantiate(&module, LIMITS).unwrap();
    instance.step(&start("run", b"\x02"), &mut context(), PLENTY);
    let snapshot = instance.snapshot().unwrap();
    let saved = SavedProcess::new(&snapshot);
    let other = machine.compile(&guest(&EVERYTHING.replace("(i32.const -5)", "(i32.const -6)"))).unwrap();
    let of_other = [
        machine.restore(&other, &snapshot, LIMITS).err(),
        machine.restore_saved(&other, &saved, LIMITS).err(),
    ];
    for error in of_other {
        assert!(matches!(error, Some(SnapshotError::OtherModule { .. })), "{error:?}");
    }
    for limits in [
        InstanceLimits { memory_bytes: 2 * 65_536, ..LIMITS },
        // 4 + 5, 3 + 2 and 2 elements.
        InstanceLimits { table_elements: 15, ..LIMITS },
    ] {
        for error in [
            machine.restore(&module, &snapshot, limits).err(),
            machine.restore_saved(&module, &saved, limits).err(),
        ] {
            assert!(matches!(error, Some(SnapshotError::Module(ModuleError::TooLarge { .. }))), "{error:?}");
        }
    }
    let exact = InstanceLimits { memory_bytes: 3 * 65_536, table_elements: 16, ..LIMITS };
    let mut restored = machine.restore_saved(&module, &saved, exact).unwrap();
    // Nothing can grow any more.
    let report = restored.step(&start("run", b"\x07"), &mut context(), PLENTY);
    assert_eq!(returned(&report)[..4], (-11i32).to_le_bytes());
    assert!(instantiate_within(machine, &guest(EVERYTHING), exact).is_ok());
}

pub fn saved_bytes_that_were_changed_are_refused_before_anything_is_touched<M: Machine>(machine: &M) {
    let module = machine.compile(&guest(EVERYTHING)).unwrap();
    let mut instance = machine.instantiate(&module, LIMITS).unwrap();
    instance.step(&start("run", b"\0\x02"), &mut context(), PLENTY);
    let bytes = SavedProcess::new(&instance.snapshot().unwrap()).to_bytes().unwrap();
    for place in (0..bytes.len()).step_by(bytes.len() / 200) {
        let mut changed = bytes.clone();
        changed[place] ^= 1;
        let error = SavedProcess::from_bytes(&changed).unwrap_err();
        let is_expected = match place {
            0..8 => error == SnapshotError::NotSaved,
            8..12 => matches!(error, SnapshotError::UnknownVersion { .. }),
            _ => error == SnapshotError::Damaged,
        };
        assert!(is_expected, "{place}: {error}");
    }
    for length in [0, 7, 8, 11, 12, 43, 44, 45, bytes.len() / 2, bytes.len() - 1] {
        assert!(SavedProcess::from_bytes(&bytes[..length]).is_err(), "{length}");
    }
}
