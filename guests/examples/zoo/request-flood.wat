;; Asks for what it was not granted, and asks again whatever the answer.
;; ends with exit code 1: request_limit
(module
  (memory (export "memory") 1)
  (func (export "gh_allocate") (param i32) (result i32) (i32.const 4096))
  (data (i32.const 1024) "\49\41\01\04\2a\00\00\00\43\68\6b\d6\7b\22\73\65\72\76\69\63\65\22\3a\22\6d\6f\64\65\6c\2e\67\65\6e\65\72\61\74\65\22\2c\22\6d\65\73\73\61\67\65\73\22\3a\5b\5d\7d")
  (func (export "gh_resume") (param i32 i32) (result i64)
    (i64.or (i64.shl (i64.const 1024) (i64.const 32)) (i64.const 54)))
  (func (export "run") (param i32 i32) (result i64)
    (i64.or (i64.shl (i64.const 1024) (i64.const 32)) (i64.const 54))))
