;; Returns what is no envelope.
;; ends with exit code 1: malformed_envelope
(module
  (memory (export "memory") 1)
  (func (export "gh_allocate") (param i32) (result i32) (i32.const 4096))
  (data (i32.const 1024) "\74\68\69\73\20\69\73\20\6e\6f\74\20\61\6e\20\65\6e\76\65\6c\6f\70\65\20\61\74\20\61\6c\6c")
  (func (export "run") (param i32 i32) (result i64)
    (i64.or (i64.shl (i64.const 1024) (i64.const 32)) (i64.const 30))))
