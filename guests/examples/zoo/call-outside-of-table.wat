;; Calls through a table slot that does not exist.
;; ends with exit code 134: out_of_bounds
(module
  (memory (export "memory") 1)
  (func (export "gh_allocate") (param i32) (result i32) (i32.const 4096))
  (type $function (func))
  (table $table 1 funcref)
  (func (export "run") (param i32 i32) (result i64)
    (call_indirect $table (type $function) (i32.const -1))
    (i64.const 0)))
