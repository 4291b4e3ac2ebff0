;; Grows its table until it is refused, and gives up.
;; ends with exit code 134: unreachable
(module
  (memory (export "memory") 1)
  (func (export "gh_allocate") (param i32) (result i32) (i32.const 4096))
  (table $table 1 funcref)
  (func (export "run") (param i32 i32) (result i64)
    (loop $again
      (br_if $again (i32.ne (table.grow $table (ref.null func) (i32.const 1000)) (i32.const -1))))
    (unreachable)))
