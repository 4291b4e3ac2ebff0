;; Asks for four gigabytes of random bytes.
;; ends with exit code 152: out_of_fuel
(module
  (import "glasshouse" "random_fill" (func $random_fill (param i32 i32)))
  (memory (export "memory") 1)
  (func (export "gh_allocate") (param i32) (result i32) (i32.const 4096))
  (func (export "run") (param i32 i32) (result i64)
    (call $random_fill (i32.const 0) (i32.const -1))
    (i64.const 0)))
