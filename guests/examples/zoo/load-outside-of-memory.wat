;; Reads behind the end of its memory.
;; ends with exit code 134: out_of_bounds
(module
  (memory (export "memory") 1)
  (func (export "gh_allocate") (param i32) (result i32) (i32.const 4096))
  (func (export "run") (param i32 i32) (result i64)
    (i64.load (i32.const 65529))))
