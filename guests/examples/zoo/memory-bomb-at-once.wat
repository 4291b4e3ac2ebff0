;; Asks for four gigabytes at once.
;; ends with exit code 139: out_of_memory
(module
  (memory (export "memory") 1)
  (func (export "gh_allocate") (param i32) (result i32) (i32.const 4096))
  (func (export "run") (param i32 i32) (result i64)
    (drop (memory.grow (i32.const 65535)))
    (unreachable)))
