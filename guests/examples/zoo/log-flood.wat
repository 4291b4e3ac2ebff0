;; Logs without end.
;; ends with exit code 152: out_of_fuel
(module
  (import "glasshouse" "log" (func $log (param i32 i32 i32)))
  (memory (export "memory") 1)
  (func (export "gh_allocate") (param i32) (result i32) (i32.const 4096))
  (func (export "run") (param i32 i32) (result i64)
    (loop $again
      (call $log (i32.const 2) (i32.const 0) (i32.const 1000))
      (br $again))
    (i64.const 0)))
