;; Says its result lies where there is no memory.
;; ends with exit code 134: malformed_result
(module
  (memory (export "memory") 1)
  (func (export "gh_allocate") (param i32) (result i32) (i32.const 4096))
  (func (export "run") (param i32 i32) (result i64)
    (i64.or (i64.shl (i64.const 2147418112) (i64.const 32)) (i64.const 64))))
