;; Calls itself without end.
;; ends with exit code 134: stack_overflow
(module
  (memory (export "memory") 1)
  (func (export "gh_allocate") (param i32) (result i32) (i32.const 4096))
  (func $deeper (param i64) (result i64)
    (i64.add (call $deeper (i64.add (local.get 0) (i64.const 1))) (i64.const 1)))
  (func (export "run") (param i32 i32) (result i64)
    (call $deeper (i64.const 1))))
