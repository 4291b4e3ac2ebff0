;; Wants to share a memory with its host.
;; ends with exit code 1: invalid_module
(module
  (import "env" "memory" (memory 1))
  (export "memory" (memory 0))
  (func (export "gh_allocate") (param i32) (result i32) (i32.const 4096))
  (func (export "run") (param i32 i32) (result i64) (i64.const 0)))
