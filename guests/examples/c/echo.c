/* The smallest guest in C: its entry returns what it is given. */

#define GLASSHOUSE_IMPLEMENTATION
#include "glasshouse.h"

GH_EXPORT("echo") uint64_t echo(uint32_t pointer, uint32_t length) {
  gh_envelope input;
  gh_status status = gh_decode((const uint8_t *)(uintptr_t)pointer, length, &input);
  if (status != GH_OK) return gh_return_malformed(status);
  return gh_return(GH_PLAIN, input.payload, input.length);
}
