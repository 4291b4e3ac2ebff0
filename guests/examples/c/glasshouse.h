/* Everything that a Glasshouse guest in C needs: imports, envelopes, memory of a step.
 *
 * One file of the guest defines GLASSHOUSE_IMPLEMENTATION before it includes this one: it gets the exports that every
 * guest has. No library is needed:
 *
 *   clang --target=wasm32 -O2 -mbulk-memory -nostdlib -Wl,--no-entry -o guest.wasm guest.c
 *
 * docs/guest-abi.md is the contract that this file puts into C. */

#ifndef GLASSHOUSE_H
#define GLASSHOUSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Makes a function an export of the module:
 *   GH_EXPORT("run") uint64_t run(uint32_t pointer, uint32_t length) { ... } */
#define GH_EXPORT(name) __attribute__((export_name(name)))

/* ---- Imports -------------------------------------------------------------------------------------------------- */

#define GH_IMPORT(name) __attribute__((import_module("glasshouse"), import_name(name))) extern

/* The virtual clock, in nanoseconds. Within a step, only gh_sleep_until moves it. */
GH_IMPORT("clock_now") uint64_t gh_clock_now(void);

/* The same time, as nanoseconds since 1970-01-01T00:00:00Z by the clock that the host gave the process. */
GH_IMPORT("clock_wall") uint64_t gh_clock_wall(void);

/* Moves the process's own time to the deadline at once, if that is ahead; returns the time after. */
GH_IMPORT("sleep_until") uint64_t gh_sleep_until(uint64_t deadline);

/* Sets a timer, in the place of one with its number: a record comes to the queue of gh_input_next when the process's
 * time reaches `time`, and again after each interval, unless that is 0. Too many timers stop the step. */
GH_IMPORT("timer_set") void gh_timer_set(uint32_t number, uint64_t time, uint64_t interval);

/* Removes a timer; returns 1 if there was one, else 0. */
GH_IMPORT("timer_cancel") uint32_t gh_timer_cancel(uint32_t number);

/* What arrived: a key, text, the pointer, a gamepad, a timer. docs/guest-abi.md has the fields of each kind. */
typedef struct {
  uint64_t time;    /* virtual nanoseconds */
  uint16_t kind;    /* GH_INPUT_... */
  uint8_t action;   /* of keys and buttons: 0 released, 1 pressed, 2 pressed while it was pressed */
  uint8_t gamepad;  /* 0 to 3 */
  uint32_t code;    /* the key, the button, the axis, the timer, or bytes of text */
  union {
    char text[16];
    struct { int32_t x, y; };
    uint64_t expirations;
  };
} gh_input_record;
_Static_assert(sizeof(gh_input_record) == 32, "the host writes records of this size");

enum {
  GH_INPUT_KEY = 1, GH_INPUT_TEXT, GH_INPUT_POINTER_MOVE, GH_INPUT_POINTER_BUTTON, GH_INPUT_WHEEL,
  GH_INPUT_GAMEPAD_BUTTON, GH_INPUT_GAMEPAD_AXIS, GH_INPUT_TIMER,
};

/* Takes as many records as fit `length` bytes, at least one's; returns the bytes written, 0 when there are none. */
GH_IMPORT("input_next") uint32_t gh_input_next(gh_input_record *records, uint32_t length);

/* What is pressed and where things are. */
typedef struct {
  uint8_t keys[32];  /* the key of usage u is bit u % 8 of byte u / 8 */
  int32_t pointer_x, pointer_y;
  uint32_t pointer_buttons, lost_records;
  struct { uint32_t buttons; int16_t axes[8]; } gamepads[4];
} gh_input_state_record;
_Static_assert(sizeof(gh_input_state_record) == 128, "the host writes a state of this size");

/* Copies at most `length` bytes of the state; returns its whole size. */
GH_IMPORT("input_state") uint32_t gh_input_state(gh_input_state_record *state, uint32_t length);

/* Says what frames are from now on: pixels in a row, rows, bytes from one row to the next, format of a pixel. */
enum { GH_INDEXED8 = 1, GH_RGB24, GH_RGBA32, GH_BGRA32, GH_LUMA8 };
GH_IMPORT("display_configure")
void gh_display_configure(uint32_t width, uint32_t height, uint32_t stride, uint32_t format);

/* Sets the colours of GH_INDEXED8: 1 to 256 entries of red, green, blue and alpha. `length` is in bytes. */
GH_IMPORT("display_palette") void gh_display_palette(const void *entries, uint32_t length);

/* Shows a frame of stride * height bytes; returns its number, from 1. */
GH_IMPORT("display_present") uint64_t gh_display_present(const void *frame, uint32_t length);

/* Says what is played: frames in a second, samples in a frame, format of a sample. */
enum { GH_SAMPLES_F32 = 1, GH_SAMPLES_I16 };
GH_IMPORT("audio_configure") void gh_audio_configure(uint32_t rate, uint32_t channels, uint32_t format);

/* Plays whole frames; returns where they start in the stream, in frames. `length` is in bytes. */
GH_IMPORT("audio_play") uint64_t gh_audio_play(const void *samples, uint32_t length);

/* Sets a signal or an overlay of the head-up display, JSON as in docs/guest-abi.md. */
GH_IMPORT("hud_signal") void gh_hud_signal(const void *json, uint32_t length);
GH_IMPORT("hud_overlay") void gh_hud_overlay(const void *json, uint32_t length);

/* Removes the signal and the overlay of an id; returns how many there were. */
GH_IMPORT("hud_remove") uint32_t gh_hud_remove(const char *id, uint32_t length);

/* Fills memory with bytes of the process's seeded random stream. */
GH_IMPORT("random_fill") void gh_random_fill(void *pointer, uint32_t length);

/* Writes a line of UTF-8 to the log. An unknown level stops the step. */
enum { GH_ERROR, GH_WARN, GH_INFO, GH_DEBUG, GH_TRACE };
GH_IMPORT("log") void gh_log(uint32_t level, const void *pointer, uint32_t length);

/* Publishes an event, JSON by convention. Too many of them stop the step. */
GH_IMPORT("emit") void gh_emit(const void *pointer, uint32_t length);

/* Ends the step with an error: JSON of the same form as the payload of an error envelope. */
GH_IMPORT("fail") _Noreturn void gh_fail(const void *pointer, uint32_t length);

/* Copies the answer of the last host function to `pointer`. `length` is the length that the function returned; another
 * one stops the step. The answer can be taken once. */
GH_IMPORT("take_answer") void gh_take_answer(void *pointer, uint32_t length);

/* Declares a function that the embedder of the host adds: it takes an envelope and returns the length of its answer.
 *   GH_HOST_FUNCTION("lookup", lookup); */
#define GH_HOST_FUNCTION(name, symbol)                                                                                 \
  __attribute__((import_module("host"), import_name(name))) extern int64_t symbol(const void *pointer, uint32_t length)

/* ---- Custom sections ------------------------------------------------------------------------------------------ */

/* Describes the module's tools: a JSON array, written as a string of C without line breaks, once in a module.
 *   GH_TOOLS("[{\\\"name\\\":\\\"count\\\", ...}]") - the assembler reads the text, so quotes are escaped twice. */
#define GH_TOOLS(json)                                                                                                 \
  __asm__(".section .custom_section.glasshouse.tool,\"\",@\n\t.ascii \"" json "\"\n\t.text\n")

/* ---- Memory of a step ----------------------------------------------------------------------------------------- */

/* Where free memory begins; the linker says it. */
extern unsigned char __heap_base;

/* The next free byte of this step. */
extern unsigned char *gh_free_memory;

/* Memory for the rest of the step, aligned to 8 bytes; NULL when the process may have no more. It is free again when
 * the host calls gh_allocate for the next step: what is to be kept between steps lies in variables. */
static inline void *gh_alloc(size_t length) {
  uintptr_t start = ((uintptr_t)gh_free_memory + 7) & ~(uintptr_t)7;
  uint64_t end = (uint64_t)start + length;
  uint64_t size = (uint64_t)__builtin_wasm_memory_size(0) << 16;
  if (end > UINT32_MAX) return NULL;
  if (end > size && __builtin_wasm_memory_grow(0, (end - size + 0xffff) >> 16) == (size_t)-1) return NULL;
  gh_free_memory = (unsigned char *)(uintptr_t)end;
  return (void *)start;
}

/* ---- Envelopes ------------------------------------------------------------------------------------------------ */

enum { GH_HEADER_LENGTH = 12, GH_MAXIMUM_PAYLOAD = 256 << 20 };

/* Flags of an envelope. */
enum {
  GH_PLAIN = 0,
  GH_COMPRESSED = 1,        /* the payload is compressed; the host does not send such envelopes */
  GH_ENCRYPTED = 2,         /* the payload is encrypted; the host does not send such envelopes */
  GH_EXPECTS_RESPONSE = 4,  /* the payload is a request to a service */
  GH_ERROR_FLAG = 8,        /* the payload is an error */
};

/* A payload, where it lies. */
typedef struct {
  uint8_t flags;
  const uint8_t *payload;
  uint32_t length;
} gh_envelope;

/* What was wrong with an envelope, or nothing. */
typedef enum {
  GH_OK,
  GH_TRUNCATED,       /* fewer bytes than the header, or than it says */
  GH_BAD_MAGIC,       /* does not begin with 0x49 0x41 */
  GH_BAD_VERSION,     /* of another version than 1 */
  GH_UNKNOWN_FLAGS,   /* flags that version 1 does not define */
  GH_TOO_LARGE,       /* a payload over 256 MiB */
  GH_TRAILING_BYTES,  /* bytes behind the payload */
  GH_BAD_CHECKSUM,    /* the payload is damaged */
  GH_NOT_PLAIN,       /* compressed or encrypted */
} gh_status;

/* CRC-32/IEEE, as in Ethernet, zip and PNG. */
static inline uint32_t gh_crc32(const uint8_t *bytes, uint32_t length) {
  static const uint32_t table[16] = {
      0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
      0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
  };
  uint32_t crc = 0xffffffff;
  for (uint32_t i = 0; i < length; i++) {
    crc ^= bytes[i];
    crc = crc >> 4 ^ table[crc & 15];
    crc = crc >> 4 ^ table[crc & 15];
  }
  return ~crc;
}

static inline uint32_t gh_read_u32(const uint8_t *bytes) {
  return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static inline void gh_write_u32(uint8_t *bytes, uint32_t value) {
  for (int i = 0; i < 4; i++) bytes[i] = (uint8_t)(value >> 8 * i);
}

/* Reads the envelope that `bytes` holds, from the first to the last. The payload is not copied. */
static inline gh_status gh_decode(const uint8_t *bytes, uint32_t length, gh_envelope *envelope) {
  if (length < GH_HEADER_LENGTH) return GH_TRUNCATED;
  if (bytes[0] != 0x49 || bytes[1] != 0x41) return GH_BAD_MAGIC;
  if (bytes[2] != 1) return GH_BAD_VERSION;
  if (bytes[3] & ~0x0f) return GH_UNKNOWN_FLAGS;
  uint32_t payload = gh_read_u32(bytes + 4);
  if (payload > GH_MAXIMUM_PAYLOAD) return GH_TOO_LARGE;
  if (payload > length - GH_HEADER_LENGTH) return GH_TRUNCATED;
  if (payload < length - GH_HEADER_LENGTH) return GH_TRAILING_BYTES;
  if (gh_crc32(bytes + GH_HEADER_LENGTH, payload) != gh_read_u32(bytes + 8)) return GH_BAD_CHECKSUM;
  if (bytes[3] & (GH_COMPRESSED | GH_ENCRYPTED)) return GH_NOT_PLAIN;
  *envelope = (gh_envelope){.flags = bytes[3], .payload = bytes + GH_HEADER_LENGTH, .length = payload};
  return GH_OK;
}

/* Writes an envelope to `bytes`, which has room for GH_HEADER_LENGTH + `length` bytes; returns how many it took. The
 * payload may lie in `bytes` already, behind the header. */
static inline uint32_t gh_encode(uint8_t *bytes, uint8_t flags, const void *payload, uint32_t length) {
  __builtin_memmove(bytes + GH_HEADER_LENGTH, payload, length);
  bytes[0] = 0x49;
  bytes[1] = 0x41;
  bytes[2] = 1;
  bytes[3] = flags;
  gh_write_u32(bytes + 4, length);
  gh_write_u32(bytes + 8, gh_crc32(bytes + GH_HEADER_LENGTH, length));
  return GH_HEADER_LENGTH + length;
}

/* What an entry returns: where its envelope lies. */
static inline uint64_t gh_pack(const void *pointer, uint32_t length) {
  return (uint64_t)(uint32_t)(uintptr_t)pointer << 32 | length;
}

/* ---- Ends of a step ------------------------------------------------------------------------------------------- */

static inline uint32_t gh_length(const char *text) {
  uint32_t length = 0;
  while (text[length]) length++;
  return length;
}

/* Ends the step with an envelope of these flags and this payload: return gh_return(...). */
static inline uint64_t gh_return(uint8_t flags, const void *payload, uint32_t length) {
  uint8_t *bytes = length <= GH_MAXIMUM_PAYLOAD ? gh_alloc(GH_HEADER_LENGTH + length) : NULL;
  if (!bytes) __builtin_trap();
  return gh_pack(bytes, gh_encode(bytes, flags, payload, length));
}

/* Ends the step with an error: return gh_return_error("not_found", "there is no such word"). Code and message are UTF-8
 * without quotation marks, backslashes and control characters. */
static inline uint64_t gh_return_error(const char *code, const char *message) {
  const char *const parts[] = {"{\"code\":\"", code, "\",\"message\":\"", message, "\",\"sources\":[]}"};
  uint32_t length = 0;
  for (int i = 0; i < 5; i++) length += gh_length(parts[i]);
  char *json = gh_alloc(length), *next = json;
  if (!json) __builtin_trap();
  for (int i = 0; i < 5; i++) {
    uint32_t part = gh_length(parts[i]);
    __builtin_memcpy(next, parts[i], part);
    next += part;
  }
  return gh_return(GH_ERROR_FLAG, json, length);
}

/* Ends the step because the host sent an envelope that gh_decode refused. */
static inline uint64_t gh_return_malformed(gh_status status) {
  static const char *const reasons[] = {
      "",
      "the envelope is cut off",
      "these bytes are not an envelope",
      "the envelope is of another version than 1",
      "the envelope has unknown flags",
      "the envelope is over the limit of 256 MiB",
      "the envelope is followed by bytes that do not belong to it",
      "the envelope is damaged: its checksum is wrong",
      "the envelope is not plain",
  };
  return gh_return_error("malformed_envelope", reasons[status]);
}

/* ---- What every guest has ------------------------------------------------------------------------------------- */

#ifdef GLASSHOUSE_IMPLEMENTATION

/* The version of the contract that the module was built for. */
__asm__(".section .custom_section.glasshouse.abi,\"\",@\n\t.int32 1\n\t.text\n");

unsigned char *gh_free_memory;

/* A step begins: the host asks where it may write the input. All memory of the last step is free. */
GH_EXPORT("gh_allocate") uint32_t gh_allocate(uint32_t length) {
  gh_free_memory = &__heap_base;
  return (uint32_t)(uintptr_t)gh_alloc(length);
}

#endif

#endif
