;; Reads a descriptor that is not open, and exits with the errno: badf.
;; ends with exit code 8: exit_code
(module
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (call $proc_exit (call $fd_read (i32.const 12345) (i32.const 0) (i32.const 1) (i32.const 16)))))
