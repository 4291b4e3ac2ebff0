;; Divides by zero.
;; ends with exit code 134: divide_by_zero
(module
  (memory (export "memory") 1)
  (func (export "gh_allocate") (param i32) (result i32) (i32.const 4096))
  (func (export "run") (param i32 i32) (result i64)
    (i64.div_s (i64.const 1) (i64.const 0))))
