/**
 * Text in UTF-8. Some runtimes have no `TextEncoder`, and tokens are too short for one to be worth its call.
 *
 * @module
 */

/** Bytes that a text takes; half of a surrogate pair becomes U+FFFD. */
export function byteLength(text: string): number {
  let length = 0;
  for (const character of text) {
    const code = character.codePointAt(0) ?? 0;
    length += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  }
  return length;
}

/** Writes a text there; the place behind it. */
export function write(bytes: Uint8Array, place: number, text: string): number {
  for (let unit = 0; unit < text.length; unit++) {
    let code = text.charCodeAt(unit);
    if (code < 0x80) {
      bytes[place++] = code;
      continue;
    }
    if (code >= 0xd800 && code < 0xe000) {
      const next = text.charCodeAt(unit + 1);
      if (code < 0xdc00 && next >= 0xdc00 && next < 0xe000) {
        code = 0x10000 + ((code - 0xd800) << 10) + (next - 0xdc00);
        unit++;
      } else {
        code = 0xfffd;
      }
    }
    if (code < 0x800) {
      bytes[place++] = 0xc0 | (code >> 6);
    } else {
      if (code < 0x10000) {
        bytes[place++] = 0xe0 | (code >> 12);
      } else {
        bytes[place++] = 0xf0 | (code >> 18);
        bytes[place++] = 0x80 | ((code >> 12) & 0x3f);
      }
      bytes[place++] = 0x80 | ((code >> 6) & 0x3f);
    }
    bytes[place++] = 0x80 | (code & 0x3f);
  }
  return place;
}

/** Reads a text that is valid, as all of the module's are. */
export function read(bytes: Uint8Array, place: number, length: number): string {
  let text = "";
  const end = place + length;
  const following = (): number => (bytes[place++] ?? 0) & 0x3f;
  while (place < end) {
    const first = bytes[place++] ?? 0;
    let code = first;
    if (first >= 0xf0) {
      code = ((first & 0x07) << 18) | (following() << 12) | (following() << 6) | following();
    } else if (first >= 0xe0) {
      code = ((first & 0x0f) << 12) | (following() << 6) | following();
    } else if (first >= 0x80) {
      code = ((first & 0x1f) << 6) | following();
    }
    text += String.fromCodePoint(code);
  }
  return text;
}
