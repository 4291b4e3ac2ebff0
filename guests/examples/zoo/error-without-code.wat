;; Returns an error that is none.
;; ends with exit code 1: malformed_error
(module
  (memory (export "memory") 1)
  (func (export "gh_allocate") (param i32) (result i32) (i32.const 4096))
  (data (i32.const 1024) "\49\41\01\08\02\00\00\00\43\bf\a6\a3\7b\7d")
  (func (export "run") (param i32 i32) (result i64)
    (i64.or (i64.shl (i64.const 1024) (i64.const 32)) (i64.const 14))))
