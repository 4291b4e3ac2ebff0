;; Logs with a level that does not exist.
;; ends with exit code 134: device_failure
(module
  (import "glasshouse" "log" (func $log (param i32 i32 i32)))
  (memory (export "memory") 1)
  (func (export "gh_allocate") (param i32) (result i32) (i32.const 4096))
  (func (export "run") (param i32 i32) (result i64)
    (call $log (i32.const 77) (i32.const 0) (i32.const 1))
    (i64.const 0)))
