;; Grows its memory and writes over all of it again and again.
;; ends with exit code 152: out_of_fuel
(module
  (memory (export "memory") 1)
  (func (export "gh_allocate") (param i32) (result i32) (i32.const 4096))
  (func (export "run") (param i32 i32) (result i64)
    (drop (memory.grow (i32.const 500)))
    (loop $again
      (memory.fill (i32.const 0) (i32.const 165) (i32.shl (memory.size) (i32.const 16)))
      (br $again))
    (i64.const 0)))
