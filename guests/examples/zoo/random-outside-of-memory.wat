;; Has random bytes written where there is no memory.
;; ends with exit code 134: device_failure
(module
  (import "glasshouse" "random_fill" (func $random_fill (param i32 i32)))
  (memory (export "memory") 1)
  (func (export "gh_allocate") (param i32) (result i32) (i32.const 4096))
  (func (export "run") (param i32 i32) (result i64)
    (call $random_fill (i32.const -16) (i32.const 32))
    (i64.const 0)))
