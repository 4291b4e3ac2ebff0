/* A tool in C: counts the words, the lines and the characters of a text.
 *
 *   {"text":"one two\nthree"}  ->  {"words":3,"lines":2,"characters":13}
 *
 * `define` asks a function that the embedder of the host adds for the meaning of a word, and `file` a service for a
 * file, which takes two steps. */

#define GLASSHOUSE_IMPLEMENTATION
#include "glasshouse.h"

GH_TOOLS("[{\\\"name\\\":\\\"count_words\\\",\\\"description\\\":\\\"Counts the words, lines and characters of a text.\\\","
         "\\\"parameters\\\":{\\\"type\\\":\\\"object\\\",\\\"properties\\\":{\\\"text\\\":{\\\"type\\\":\\\"string\\\"}},"
         "\\\"required\\\":[\\\"text\\\"]},\\\"entry\\\":\\\"count_words\\\"}]");

GH_HOST_FUNCTION("lookup", host_lookup);

/* What is left of a JSON text. */
typedef struct {
  const uint8_t *next, *end;
} json;

static void skip_space(json *text) {
  while (text->next < text->end && (*text->next == ' ' || *text->next == '\n' || *text->next == '\t' || *text->next == '\r'))
    text->next++;
}

static bool skip(json *text, const char *expected) {
  skip_space(text);
  for (; *expected; expected++) {
    if (text->next == text->end || *text->next != (uint8_t)*expected) return false;
    text->next++;
  }
  return true;
}

static int hexadecimal(uint8_t digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  digit |= 0x20;
  return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

/* The next character of a string, whose first quotation mark was read: its first byte, or that of what an escape
 * stands for. -1 at the closing quotation mark, -2 when it is no JSON. Continuation bytes of UTF-8 come by themselves. */
static int character(json *text) {
  if (text->next == text->end || *text->next < 0x20) return -2;
  uint8_t byte = *text->next++;
  if (byte == '"') return -1;
  if (byte != '\\') return byte;
  if (text->next == text->end) return -2;
  switch (*text->next++) {
    case '"': return '"';
    case '\\': return '\\';
    case '/': return '/';
    case 'b': return '\b';
    case 'f': return '\f';
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    case 'u': {
      if (text->end - text->next < 4) return -2;
      int code = 0;
      for (int i = 0; i < 4; i++) {
        int digit = hexadecimal(*text->next++);
        if (digit < 0) return -2;
        code = code << 4 | digit;
      }
      /* The second half of a pair is no character of its own. */
      if (code >= 0xdc00 && code <= 0xdfff) return 0x80;
      return code < 0x80 ? code : 0xff;
    }
    default: return -2;
  }
}

static char *append(char *out, const char *text) {
  while (*text) *out++ = *text++;
  return out;
}

static char *append_number(char *out, uint32_t number) {
  char digits[10];
  int count = 0;
  do digits[count++] = (char)('0' + number % 10);
  while (number /= 10);
  while (count) *out++ = digits[--count];
  return out;
}

GH_EXPORT("count_words") uint64_t count_words(uint32_t pointer, uint32_t length) {
  gh_envelope input;
  gh_status status = gh_decode((const uint8_t *)(uintptr_t)pointer, length, &input);
  if (status != GH_OK) return gh_return_malformed(status);

  json text = {input.payload, input.payload + input.length};
  uint32_t words = 0, lines = 0, characters = 0;
  int c = -2;
  if (skip(&text, "{") && skip(&text, "\"text\"") && skip(&text, ":") && skip(&text, "\"")) {
    bool in_word = false, in_line = false;
    while ((c = character(&text)) >= 0) {
      if ((c & 0xc0) == 0x80) continue;
      bool space = c == ' ' || (c >= '\t' && c <= '\r');
      if (!space && !in_word) words++;
      if (!in_line) lines++;
      in_word = !space;
      in_line = c != '\n';
      characters++;
    }
  }
  if (c != -1 || !skip(&text, "}") || (skip_space(&text), text.next != text.end))
    return gh_return_error("invalid_arguments", "the argument is an object with one field, the string text");

  char result[80], *end = result;
  end = append_number(append(end, "{\"words\":"), words);
  end = append_number(append(end, ",\"lines\":"), lines);
  end = append(append_number(append(end, ",\"characters\":"), characters), "}");
  return gh_return(GH_PLAIN, result, (uint32_t)(end - result));
}

/* Hands its input to the host function `lookup`, and returns what that answers: a result, or an error. */
GH_EXPORT("define") uint64_t define(uint32_t pointer, uint32_t length) {
  int64_t answer = host_lookup((const void *)(uintptr_t)pointer, length);
  void *bytes = gh_alloc((size_t)answer);
  if (!bytes) __builtin_trap();
  gh_take_answer(bytes, (uint32_t)answer);
  return gh_pack(bytes, (uint32_t)answer);
}

/* The first of two steps: a request to the service `files`. */
GH_EXPORT("file") uint64_t file(uint32_t pointer, uint32_t length) {
  (void)pointer, (void)length;
  static const char request[] = "{\"service\":\"files.read\",\"path\":\"notes.txt\"}";
  return gh_return(GH_EXPECTS_RESPONSE, request, sizeof request - 1);
}

/* The second: the answer of the service, which is an error or the file's text. It becomes the result. */
GH_EXPORT("gh_resume") uint64_t resume(uint32_t pointer, uint32_t length) {
  return gh_pack((const void *)(uintptr_t)pointer, length);
}

/* Ends as a panic of a guest in another language does. */
GH_EXPORT("give_up") uint64_t give_up(uint32_t pointer, uint32_t length) {
  (void)pointer, (void)length;
  static const char error[] =
      "{\"code\":\"guest_panic\",\"message\":\"there is nothing to be done\",\"sources\":[],\"location\":\"words.c:1:1\"}";
  gh_fail(error, sizeof error - 1);
}
