;; Calls itself without end, through a table, with large frames.
;; ends with exit code 134: stack_overflow
(module
  (memory (export "memory") 1)
  (func (export "gh_allocate") (param i32) (result i32) (i32.const 4096))
  (type $deeper (func (param i64) (result i64)))
  (table $table 1 funcref)
  (elem (i32.const 0) $deeper)
  (func $deeper (param i64) (result i64)
    (local v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 )
    (local.set 1 (i64x2.splat (local.get 0)))
    (i64.add
      (call_indirect $table (type $deeper) (local.get 0) (i32.const 0))
      (i64x2.extract_lane 0 (local.get 1))))
  (func (export "run") (param i32 i32) (result i64)
    (call_indirect $table (type $deeper) (i64.const 1) (i32.const 0))))
