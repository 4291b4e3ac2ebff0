;; A guest in WebAssembly's text format, with nothing between it and the contract of docs/guest-abi.md.
;;
;;   echo    returns what it is given
;;   length  returns how many bytes the payload has, as a JSON number
;;
;; Memory:
;;
;;     0 ..   32   the envelope that `length` returns
;;    32 ..   96   the table of the checksum
;;   128 ..        the input of the step

(module
  ;; The version of the contract: an unsigned 32-bit integer, little-endian. Without this section it is 1, too.
  (@custom "glasshouse.abi" "\01\00\00\00")

  ;; A device. A module imports those that it uses; this one tells the log what it does.
  (import "glasshouse" "log" (func $log (param i32 i32 i32)))

  ;; The host reads and writes this memory. It has one page, and grows with the input.
  (memory (export "memory") 1)

  ;; CRC-32/IEEE of each 4-bit number, 16 integers of 32 bits, little-endian.
  (data (i32.const 32)
    "\00\00\00\00\64\10\b7\1d\c8\20\6e\3b\ac\30\d9\26\90\41\dc\76\f4\51\6b\6b\58\61\b2\4d\3c\71\05\50"
    "\20\83\b8\ed\44\93\0f\f0\e8\a3\d6\d6\8c\b3\61\cb\b0\c2\64\9b\d4\d2\d3\86\78\e2\0a\a0\1c\f2\bd\bd")

  ;; What the log is told.
  (data (i32.const 96) "echo: a step begins")

  ;; A step begins: the host asks for room for its input. The answer is where it may write `length` bytes, or 0 when
  ;; there is no room. Every step uses the same place, since nothing of the last one is needed any more.
  (func (export "gh_allocate") (param $length i32) (result i32)
    (local $missing i64)
    ;; In 64 bits, so that no length overflows: end of the input - size of the memory, in bytes.
    (local.set $missing
      (i64.sub
        (i64.add (i64.const 128) (i64.extend_i32_u (local.get $length)))
        (i64.mul (i64.const 65536) (i64.extend_i32_u (memory.size)))))
    (if (i64.gt_s (local.get $missing) (i64.const 0))
      (then
        ;; So many bytes, in whole pages. `memory.grow` answers -1 when the process may have no more.
        (if (i32.eq
              (memory.grow (i32.wrap_i64 (i64.shr_u (i64.add (local.get $missing) (i64.const 65535)) (i64.const 16))))
              (i32.const -1))
          (then (return (i32.const 0))))))
    (i32.const 128))

  ;; An entry has this type: where the host wrote the input, and how long it is. It returns where its own envelope lies,
  ;; packed in one word: the pointer in the upper 32 bits, the length in the lower ones.
  ;;
  ;; The input of a call is a plain envelope, and that is what a result is, too: this one is returned where it lies.
  (func (export "echo") (param $pointer i32) (param $length i32) (result i64)
    (call $log (i32.const 2) (i32.const 96) (i32.const 19))
    (call $pack (local.get $pointer) (local.get $length)))

  ;; Writes an envelope of its own: twelve bytes of header, and the payload behind it.
  (func (export "length") (param $pointer i32) (param $length i32) (result i64)
    (local $number i32) (local $digits i32) (local $at i32)
    ;; Nothing is read beyond the input: without a header there is no payload.
    (if (i32.lt_u (local.get $length) (i32.const 12)) (then unreachable))
    ;; The length of the payload is the header's second word.
    (local.set $number (i32.load (i32.add (local.get $pointer) (i32.const 4))))
    ;; How many digits: one, and one more for each time that there is something left after dividing by ten.
    (local.set $digits (i32.const 1))
    (local.set $at (local.get $number))
    (loop $count
      (if (i32.ge_u (local.get $at) (i32.const 10))
        (then
          (local.set $at (i32.div_u (local.get $at) (i32.const 10)))
          (local.set $digits (i32.add (local.get $digits) (i32.const 1)))
          (br $count))))
    ;; The digits, from the last to the first, behind the header.
    (local.set $at (i32.add (i32.const 12) (local.get $digits)))
    (loop $write
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (i32.store8 (local.get $at) (i32.add (i32.const 48) (i32.rem_u (local.get $number) (i32.const 10))))
      (local.set $number (i32.div_u (local.get $number) (i32.const 10)))
      (br_if $write (local.get $number)))
    ;; 49 41: magic. 01: version. 00: flags, none.
    (i32.store (i32.const 0) (i32.const 0x00014149))
    (i32.store (i32.const 4) (local.get $digits))
    (i32.store (i32.const 8) (call $crc32 (i32.const 12) (local.get $digits)))
    (call $pack (i32.const 0) (i32.add (i32.const 12) (local.get $digits))))

  ;; pointer << 32 | length
  (func $pack (param $pointer i32) (param $length i32) (result i64)
    (i64.or
      (i64.shl (i64.extend_i32_u (local.get $pointer)) (i64.const 32))
      (i64.extend_i32_u (local.get $length))))

  ;; CRC-32/IEEE (reflected, polynomial 0xEDB88320, inverted before and after), four bits at a time.
  (func $crc32 (param $pointer i32) (param $length i32) (result i32)
    (local $crc i32) (local $end i32)
    (local.set $crc (i32.const -1))
    (local.set $end (i32.add (local.get $pointer) (local.get $length)))
    (block $done
      (loop $bytes
        (br_if $done (i32.eq (local.get $pointer) (local.get $end)))
        (local.set $crc (i32.xor (local.get $crc) (i32.load8_u (local.get $pointer))))
        (local.set $crc (call $nibble (local.get $crc)))
        (local.set $crc (call $nibble (local.get $crc)))
        (local.set $pointer (i32.add (local.get $pointer) (i32.const 1)))
        (br $bytes)))
    (i32.xor (local.get $crc) (i32.const -1)))

  ;; One step of it: crc >> 4 ^ table[crc & 15]
  (func $nibble (param $crc i32) (result i32)
    (i32.xor
      (i32.shr_u (local.get $crc) (i32.const 4))
      (i32.load (i32.add (i32.const 32) (i32.shl (i32.and (local.get $crc) (i32.const 15)) (i32.const 2)))))))
