//! Numbers: the bits of every NaN that arithmetic makes, and the bits that nothing may touch.

use glasshouse_engine::{Instance, Machine};

use crate::fixture::{ALLOCATE, PLENTY, context, guest, instantiate, returned, run, start};

/// What an engine may choose otherwise.
const F32: u32 = 0x7fc0_0000;
const F64: u64 = 0x7ff8_0000_0000_0000;

/// Bit patterns of NaNs that are not the canonical one: negative, with a payload, signalling.
const F32_NANS: [u32; 5] = [0xffc0_0000, 0x7fc1_2345, 0xffc1_2345, 0x7f81_2345, 0xffa0_0001];
const F64_NANS: [u64; 4] =
    [0xfff8_0000_0000_0000, 0x7ff8_1234_5678_9abc, 0x7ff0_0000_0000_0001, 0xfff4_0000_0000_0000];

/// The bytes that `run` stores at 0 when `input` is its argument.
fn stored<M: Machine>(machine: &M, fields: &str, input: &[u8], bytes: usize) -> Vec<u8> {
    let guest = guest(&format!(
        r#"{fields} (func (export "run") (param i32 i32) (result i64)
            (call $act (local.get 0)) (i64.const {bytes}))"#
    ));
    returned(&instantiate(machine, &guest).step(&start("run", input), &mut context(), PLENTY)).to_vec()
}

/// A NaN of 32 bits, twice, and one of 64 bits, twice: an input for `$act`.
fn inputs() -> impl Iterator<Item = Vec<u8>> {
    F32_NANS.iter().zip(F64_NANS.iter().cycle()).map(|(narrow, wide)| {
        [&narrow.to_le_bytes()[..], &narrow.to_le_bytes(), &wide.to_le_bytes(), &wide.to_le_bytes()].concat()
    })
}

pub fn every_number_that_is_not_one_has_the_same_bits<M: Machine>(machine: &M) {
    const NARROW: &str = "(f32.load (local.get 0))";
    const WIDE: &str = "(f64.load offset=8 (local.get 0))";
    let unary = ["sqrt", "ceil", "floor", "trunc", "nearest"];
    let binary = ["add", "sub", "mul", "div", "min", "max"];
    let mut bodies = vec![];
    for operator in unary {
        bodies.push((format!("(f32.store (i32.const 0) (f32.{operator} {NARROW}))"), 4));
        bodies.push((format!("(f64.store (i32.const 0) (f64.{operator} {WIDE}))"), 8));
    }
    for operator in binary {
        for (first, second) in [("1", ""), ("", "1"), ("", "")] {
            let narrow =
                |text: &str| if text.is_empty() { NARROW.into() } else { format!("(f32.const {text})") };
            let wide = |text: &str| if text.is_empty() { WIDE.into() } else { format!("(f64.const {text})") };
            let (a, b) = (narrow(first), narrow(second));
            bodies.push((format!("(f32.store (i32.const 0) (f32.{operator} {a} {b}))"), 4));
            let (a, b) = (wide(first), wide(second));
            bodies.push((format!("(f64.store (i32.const 0) (f64.{operator} {a} {b}))"), 8));
        }
    }
    bodies.push((format!("(f32.store (i32.const 0) (f32.demote_f64 {WIDE}))"), 4));
    bodies.push((format!("(f64.store (i32.const 0) (f64.promote_f32 {NARROW}))"), 8));
    for (body, bytes) in bodies {
        let expected = if bytes == 4 { F32.to_le_bytes().to_vec() } else { F64.to_le_bytes().to_vec() };
        for input in inputs() {
            let fields = format!("(func $act (param i32) {body})");
            assert_eq!(stored(machine, &fields, &input, bytes), expected, "{body} of {input:x?}");
        }
    }
    // Made of numbers, not of others that are none.
    for (body, bytes) in [
        ("(f32.store (i32.const 0) (f32.div (f32.const 0) (f32.const 0)))", 4),
        ("(f64.store (i32.const 0) (f64.sqrt (f64.const -1)))", 8),
        ("(f64.store (i32.const 0) (f64.sub (f64.const inf) (f64.const inf)))", 8),
    ] {
        let expected = if bytes == 4 { F32.to_le_bytes().to_vec() } else { F64.to_le_bytes().to_vec() };
        assert_eq!(
            stored(machine, &format!("(func $act (param i32) {body})"), b"", bytes),
            expected,
            "{body}"
        );
    }
}

pub fn every_lane_that_is_no_number_has_the_same_bits<M: Machine>(machine: &M) {
    const NARROW: &str = "(v128.load32_splat (local.get 0))";
    const WIDE: &str = "(v128.load64_splat offset=8 (local.get 0))";
    let narrow = F32.to_le_bytes().repeat(4);
    let wide = F64.to_le_bytes().repeat(2);
    for input in inputs() {
        for operator in ["sqrt", "ceil", "floor", "trunc", "nearest"] {
            for (shape, vector, expected) in [("f32x4", NARROW, &narrow), ("f64x2", WIDE, &wide)] {
                let act = format!(
                    "(func $act (param i32) (v128.store (i32.const 0) ({shape}.{operator} {vector})))"
                );
                assert_eq!(&stored(machine, &act, &input, 16), expected, "{shape}.{operator}");
            }
        }
        for operator in ["add", "sub", "mul", "div", "min", "max"] {
            for (shape, vector, expected) in [("f32x4", NARROW, &narrow), ("f64x2", WIDE, &wide)] {
                let act = format!(
                    "(func $act (param i32)
                        (v128.store (i32.const 0) ({shape}.{operator} {vector} {vector})))"
                );
                assert_eq!(&stored(machine, &act, &input, 16), expected, "{shape}.{operator}");
            }
        }
        let demote =
            format!("(func $act (param i32) (v128.store (i32.const 0) (f32x4.demote_f64x2_zero {WIDE})))");
        assert_eq!(stored(machine, &demote, &input, 16), [&narrow[..8], &[0; 8]].concat());
        let promote =
            format!("(func $act (param i32) (v128.store (i32.const 0) (f64x2.promote_low_f32x4 {NARROW})))");
        assert_eq!(stored(machine, &promote, &input, 16), wide);
    }
}

pub fn bits_that_are_only_moved_are_kept<M: Machine>(machine: &M) {
    for (fields, flip) in [
        ("(func $act (param i32) (f32.store (i32.const 0) (f32.load (local.get 0))))", 0),
        ("(func $act (param i32) (local f32) (local.set 1 (f32.load (local.get 0))) (f32.store (i32.const 0) (local.get 1)))", 0),
        ("(func $act (param i32) (f32.store (i32.const 0) (select (f32.load (local.get 0)) (f32.const 1) (i32.const 1))))", 0),
        ("(func $same (param f32) (result f32) (local.get 0)) (func $act (param i32) (f32.store (i32.const 0) (call $same (f32.load (local.get 0)))))", 0),
        ("(global $g (mut f32) (f32.const 0)) (func $act (param i32) (global.set $g (f32.load (local.get 0))) (f32.store (i32.const 0) (global.get $g)))", 0),
        ("(func $act (param i32) (f32.store (i32.const 0) (f32.reinterpret_i32 (i32.reinterpret_f32 (f32.load (local.get 0))))))", 0),
        ("(func $act (param i32) (f32.store (i32.const 0) (f32x4.extract_lane 2 (f32x4.splat (f32.load (local.get 0))))))", 0),
        ("(func $act (param i32) (f32.store (i32.const 0) (block (result f32) (br 0 (f32.load (local.get 0))))))", 0),
        ("(func $act (param i32) (f32.store (i32.const 0) (f32.neg (f32.load (local.get 0)))))", 0x8000_0000u32),
        ("(func $act (param i32) (f32.store (i32.const 0) (f32.neg (f32.neg (f32.load (local.get 0))))))", 0),
        ("(func $act (param i32) (v128.store (i32.const 0) (f32x4.neg (v128.load (local.get 0)))))", 0x8000_0000),
        // A local that holds the result of arithmetic at one time and moved bits at another.
        ("(func $act (param i32) (local f32)
            (local.set 1 (f32.add (f32.load (local.get 0)) (f32.const 1))) (f32.store (i32.const 8) (local.get 1))
            (local.set 1 (f32.load (local.get 0))) (f32.store (i32.const 0) (local.get 1)))", 0),
        // Moved between locals of which another also gets the result of arithmetic.
        ("(func $act (param i32) (local f32 f32)
            (local.set 1 (f32.load (local.get 0))) (local.set 2 (local.get 1))
            (f32.store (i32.const 0) (local.get 2))
            (local.set 2 (f32.sqrt (f32.const -1))))", 0),
        // `pmin` answers one of its operands as it is.
        ("(func $act (param i32) (v128.store (i32.const 0)
            (f32x4.pmin (v128.load32_splat (local.get 0)) (v128.const f32x4 1 1 1 1))))", 0),
    ] {
        for bits in F32_NANS {
            let found = stored(machine, fields, &bits.to_le_bytes().repeat(4), 4);
            assert_eq!(found, (bits ^ flip).to_le_bytes(), "{fields} of {bits:x}");
        }
    }
    for fields in [
        "(func $act (param i32) (f64.store (i32.const 0) (f64.load (local.get 0))))",
        "(func $act (param i32) (local f64) (f64.store (i32.const 0) (local.tee 1 (f64.load (local.get 0)))))",
        "(func $act (param i32) (f64.store (i32.const 0) (f64.copysign (f64.load (local.get 0)) (f64.load (local.get 0)))))",
        // As two numbers of 32 bits, neither of which is touched by a sum of 64 bits.
        "(func $act (param i32) (local v128) (local.set 1 (f64x2.add (v128.const f64x2 1 1) (v128.const f64x2 2 2)))
            (local.set 1 (v128.load64_zero (local.get 0))) (v128.store (i32.const 0) (local.get 1)))",
    ] {
        for bits in F64_NANS {
            let found = stored(machine, fields, &bits.to_le_bytes(), 8);
            assert_eq!(found, bits.to_le_bytes(), "{fields} of {bits:x}");
        }
    }
}

pub fn results_of_arithmetic_are_settled_wherever_they_are_seen<M: Machine>(machine: &M) {
    // `$none` is the result of arithmetic with bits of the engine's choice, made of the input's.
    const NONE: &str = "(f32.mul (f32.load (local.get 0)) (f32.const 3))";
    for fields in [
        "(func $act (param i32) (i32.store (i32.const 0) (i32.reinterpret_f32 NONE)))",
        "(func $act (param i32) (local f32) (local.set 1 NONE) (f32.store (i32.const 0) (local.get 1)))",
        "(func $act (param i32) (local f32) (f32.store (i32.const 0) (local.tee 1 NONE)))",
        "(func $act (param i32) (local f32) (drop (local.tee 1 NONE)) (f32.store (i32.const 0) (local.get 1)))",
        "(func $act (param i32) (local f32 f32) (local.set 1 NONE) (local.set 2 (local.get 1))
            (f32.store (i32.const 0) (local.get 2)))",
        "(func $act (param i32) (local f32 f32) (local.set 1 NONE) (local.set 2 (local.tee 1 (local.get 1)))
            (local.set 2 (f32.load offset=4 (local.get 0))) (f32.store (i32.const 0) (local.get 1)))",
        "(func $act (param i32) (f32.store (i32.const 0) (select NONE (f32.const 1) (i32.const 1))))",
        "(func $act (param i32) (f32.store (i32.const 0) (f32.abs NONE)))",
        "(func $act (param i32) (f32.store (i32.const 0) (f32.neg (f32.neg NONE))))",
        "(func $act (param i32) (f32.store (i32.const 0) (f32.copysign (f32.const 1) NONE))
            (f32.store (i32.const 0) (f32.mul (f32.load (i32.const 0)) NONE)))",
        "(func $act (param i32) (f32.store (i32.const 0) (block (result f32) (br_if 0 NONE (i32.const 1)))))",
        "(func $act (param i32) (f32.store (i32.const 0) (if (result f32) (i32.const 1) (then NONE) (else (f32.const 1)))))",
        "(func $none (param i32) (result f32) NONE)
        (func $act (param i32) (f32.store (i32.const 0) (call $none (local.get 0))))",
        "(func $none (param i32) (result f32) (return NONE))
        (func $act (param i32) (f32.store (i32.const 0) (call $none (local.get 0))))",
        "(func $store (param f32) (f32.store (i32.const 0) (local.get 0)))
        (func $act (param i32) (call $store NONE))",
        "(global $g (mut f32) (f32.const 0))
        (func $act (param i32) (global.set $g NONE) (f32.store (i32.const 0) (global.get $g)))",
        "(func $act (param i32) (f32.store (i32.const 0) (f32x4.extract_lane 1 (f32x4.splat NONE))))",
        // A sum that is kept in a local over a loop's rounds.
        "(func $act (param i32) (local f32 i32)
            (loop (local.set 1 (f32.add (local.get 1) NONE))
                (br_if 0 (i32.lt_u (local.tee 2 (i32.add (local.get 2) (i32.const 1))) (i32.const 3))))
            (f32.store (i32.const 0) (local.get 1)))",
        // Seen as integers in between.
        "(func $act (param i32) (local v128)
            (local.set 1 (f32x4.mul (v128.load32_splat (local.get 0)) (v128.const f32x4 3 3 3 3)))
            (v128.store (i32.const 0) (i32x4.add (local.get 1) (v128.const i32x4 0 0 0 0))))",
        // Seen as numbers of another width: the sum of 64 bits is one.
        "(func $act (param i32) (local v128)
            (local.set 1 (f32x4.mul (v128.load32_splat (local.get 0)) (v128.const f32x4 3 3 3 3)))
            (local.set 1 (f64x2.add (local.get 1) (v128.const f64x2 0 0)))
            (v128.store (i32.const 0) (f32x4.splat (f32.reinterpret_i32 (i32.const 0x7fc00000))))
            (if (f64.eq (f64x2.extract_lane 0 (local.get 1)) (f64.reinterpret_i64 (i64.const 0x7fc000007fc00000)))
                (then (return)))
            (i32.store (i32.const 0) (i32.const 0)))",
    ] {
        let fields = fields.replace("NONE", NONE);
        for bits in F32_NANS {
            let found = stored(machine, &fields, &bits.to_le_bytes().repeat(2), 4);
            assert_eq!(found, F32.to_le_bytes(), "{fields} of {bits:x}");
        }
    }
}

pub fn settled_numbers_cost_no_fuel<M: Machine>(machine: &M) {
    let guest = guest(
        r#"(func (export "run") (param i32 i32) (result i64)
            (f64.store (i32.const 0) (f64.div (f64.const 0) (f64.const 0)))
            (v128.store (i32.const 8) (f32x4.sqrt (v128.const f32x4 -1 -1 -1 -1))) (i64.const 0))"#,
    );
    assert_eq!(run(machine, &guest, PLENTY).fuel_used, ALLOCATE + 5 + 4 + 1);
}
