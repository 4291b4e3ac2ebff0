;; Copies more than it has.
;; ends with exit code 134: out_of_bounds
(module
  (memory (export "memory") 1)
  (func (export "gh_allocate") (param i32) (result i32) (i32.const 4096))
  (func (export "run") (param i32 i32) (result i64)
    (memory.copy (i32.const 100) (i32.const 0) (i32.const 65500))
    (i64.const 0)))
