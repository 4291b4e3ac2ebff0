;; Logs what lies behind its memory.
;; ends with exit code 134: device_failure
(module
  (import "glasshouse" "log" (func $log (param i32 i32 i32)))
  (memory (export "memory") 1)
  (func (export "gh_allocate") (param i32) (result i32) (i32.const 4096))
  (func (export "run") (param i32 i32) (result i64)
    (call $log (i32.const 0) (i32.const 65530) (i32.const 100))
    (i64.const 0)))
