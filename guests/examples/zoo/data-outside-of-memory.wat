;; Has data that does not fit its memory.
;; ends with exit code 1: invalid_module
(module
  (memory (export "memory") 1)
  (func (export "gh_allocate") (param i32) (result i32) (i32.const 4096))
  (data (i32.const 65530) "0123456789")
  (func (export "run") (param i32 i32) (result i64)
    (i64.const 0)))
