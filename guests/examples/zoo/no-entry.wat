;; Exports no entry.
;; ends with exit code 134: missing_entry
(module
  (memory (export "memory") 1)
  (func (export "gh_allocate") (param i32) (result i32) (i32.const 4096))
)
