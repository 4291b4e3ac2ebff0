;; Starts with more memory than a process may have.
;; ends with exit code 1: invalid_module
(module
  (memory (export "memory") 60000)
  (func (export "gh_allocate") (param i32) (result i32) (i32.const 4096))
  (func (export "run") (param i32 i32) (result i64)
    (i64.const 0)))
