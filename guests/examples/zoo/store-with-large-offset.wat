;; Writes at the last address with the largest offset.
;; ends with exit code 134: out_of_bounds
(module
  (memory (export "memory") 1)
  (func (export "gh_allocate") (param i32) (result i32) (i32.const 4096))
  (func (export "run") (param i32 i32) (result i64)
    (i32.store offset=4294967295 (i32.const -1) (i32.const 1))
    (i64.const 0)))
