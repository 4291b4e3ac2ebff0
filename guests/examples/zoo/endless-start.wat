;; Its start function runs for ever.
;; ends with exit code 152: out_of_fuel
(module
  (memory (export "memory") 1)
  (func (export "gh_allocate") (param i32) (result i32) (i32.const 4096))
  (func $start (loop $again (br $again)))
  (start $start)
  (func (export "run") (param i32 i32) (result i64)
    (i64.const 0)))
