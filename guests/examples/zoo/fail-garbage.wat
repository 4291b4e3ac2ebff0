;; Gives up with bytes that are no error object.
;; ends with exit code 1: guest_failed
(module
  (import "glasshouse" "fail" (func $fail (param i32 i32)))
  (memory (export "memory") 1)
  (func (export "gh_allocate") (param i32) (result i32) (i32.const 4096))
  (data (i32.const 1024) "\ff\fe\00\6f\68\21")
  (func (export "run") (param i32 i32) (result i64)
    (call $fail (i32.const 1024) (i32.const 6))
    (i64.const 0)))
