;; Imports a function that no process is given.
;; ends with exit code 1: invalid_module
(module
  (import "env" "system" (func (param i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "gh_allocate") (param i32) (result i32) (i32.const 4096))
  (func (export "run") (param i32 i32) (result i64)
    (i64.const 0)))
