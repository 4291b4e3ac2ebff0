;; Calls through a table slot that is empty.
;; ends with exit code 134: indirect_call
(module
  (memory (export "memory") 1)
  (func (export "gh_allocate") (param i32) (result i32) (i32.const 4096))
  (type $function (func))
  (table $table 1 funcref)
  (func (export "run") (param i32 i32) (result i64)
    (call_indirect $table (type $function) (i32.const 0))
    (i64.const 0)))
