;; Emits an event of all its memory.
;; ends with exit code 134: device_failure
(module
  (import "glasshouse" "emit" (func $emit (param i32 i32)))
  (memory (export "memory") 1)
  (func (export "gh_allocate") (param i32) (result i32) (i32.const 4096))
  (func (export "run") (param i32 i32) (result i64)
    (drop (memory.grow (i32.const 40)))
    (call $emit (i32.const 0) (i32.const 2000000))
    (i64.const 0)))
