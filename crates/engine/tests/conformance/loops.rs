//! Loops whose time is taken natively and in a browser.

/// A module with memory for the loops, `gh_allocate` and these fields.
pub fn guest(body: &str) -> Vec<u8> {
    let text = format!(
        r#"(module (memory (export "memory") 17)
        (func (export "gh_allocate") (param i32) (result i32) i32.const 1024) {body})"#
    );
    wat::parse_str(text).expect("a good module")
}

/// What each computes, and its fields.
pub const LOOPS: [(&str, &str); 5] = [
    (
        "counting loop of 10,000,000",
        r#"(func (export "run") (param i32 i32) (result i64) (local $i i32) (local $x i32)
            (loop (local.set $x (i32.xor (i32.mul (local.get $x) (i32.const 31)) (local.get $i)))
                (br_if 0 (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 10000000))))
            (i64.extend_i32_u (i32.and (local.get $x) (i32.const 1))))"#,
    ),
    (
        "matrix product of 192 x 192 f32",
        r#"(func (export "run") (param i32 i32) (result i64)
            (local $i i32) (local $j i32) (local $k i32) (local $sum f32)
            (loop $rows (local.set $j (i32.const 0))
                (loop $columns (local.set $k (i32.const 0)) (local.set $sum (f32.const 0))
                    (loop $inner
                        (local.set $sum (f32.add (local.get $sum) (f32.mul
                            (f32.load (i32.shl (i32.add (i32.mul (local.get $i) (i32.const 192)) (local.get $k)) (i32.const 2)))
                            (f32.load offset=147456 (i32.shl (i32.add (i32.mul (local.get $k) (i32.const 192)) (local.get $j)) (i32.const 2))))))
                        (br_if $inner (i32.lt_u (local.tee $k (i32.add (local.get $k) (i32.const 1))) (i32.const 192))))
                    (f32.store offset=294912
                        (i32.shl (i32.add (i32.mul (local.get $i) (i32.const 192)) (local.get $j)) (i32.const 2)) (local.get $sum))
                    (br_if $columns (i32.lt_u (local.tee $j (i32.add (local.get $j) (i32.const 1))) (i32.const 192))))
                (br_if $rows (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 192))))
            (i64.const 0))"#,
    ),
    (
        "fib(27), all calls",
        r#"(func $fib (param i32) (result i32)
            (if (result i32) (i32.lt_s (local.get 0) (i32.const 2))
                (then (local.get 0))
                (else (i32.add
                    (call $fib (i32.sub (local.get 0) (i32.const 1)))
                    (call $fib (i32.sub (local.get 0) (i32.const 2)))))))
        (func (export "run") (param i32 i32) (result i64)
            (i64.and (i64.extend_i32_u (call $fib (i32.const 27))) (i64.const 1)))"#,
    ),
    (
        "1,000,000 results of arithmetic stored",
        r#"(func (export "run") (param i32 i32) (result i64) (local $i i32)
            (loop (f32.store (i32.and (i32.shl (local.get $i) (i32.const 2)) (i32.const 0xffff))
                    (f32.mul (f32.convert_i32_s (local.get $i)) (f32.const 0.1)))
                (br_if 0 (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1000000))))
            (i64.const 0))"#,
    ),
    (
        "vector sum of 4,000,000 f32",
        r#"(func (export "run") (param i32 i32) (result i64) (local $i i32) (local $sum v128)
            (loop (local.set $sum (f32x4.add (local.get $sum)
                    (f32x4.mul (v128.load (i32.and (i32.shl (local.get $i) (i32.const 4)) (i32.const 0xffff)))
                        (v128.const f32x4 0.1 0.2 0.3 0.4))))
                (br_if 0 (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1000000))))
            (v128.store (i32.const 0) (local.get $sum)) (i64.const 0))"#,
    ),
];
