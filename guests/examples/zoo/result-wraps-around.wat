;; Says its result begins at the last address and goes on at the first.
;; ends with exit code 134: malformed_result
(module
  (memory (export "memory") 1)
  (func (export "gh_allocate") (param i32) (result i32) (i32.const 4096))
  (func (export "run") (param i32 i32) (result i64)
    (i64.const -1)))
