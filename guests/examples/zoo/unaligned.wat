;; Reads and writes across alignments, which is allowed, and returns what comes of it.
;; ends with exit code 1: malformed_envelope
(module
  (memory (export "memory") 1)
  (func (export "gh_allocate") (param i32) (result i32) (i32.const 4096))
  (func (export "run") (param i32 i32) (result i64)
    (i64.store offset=1 (i32.const 1023) (i64.const -2))
    (i64.store32 (i32.const 65532) (i64.load align=1 (i32.const 1021)))
    (i64.or (i64.shl (i64.const 1023) (i64.const 32)) (i64.const 16))))
