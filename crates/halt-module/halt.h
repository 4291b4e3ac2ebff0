/* The streaming halt kernel: the functions of the module halt.wasm, which imports nothing. README.md describes them. */

#ifndef HALT_H
#define HALT_H

#include <stddef.h>
#include <stdint.h>

/* What halt_abi_version answers. */
#define HALT_ABI_VERSION 1

/* What decisions are. HALT_REFUSED is one only with invalid_input = "error": the token was not taken. */
enum halt_verdict { HALT_CONTINUE = 0, HALT_WARN = 1, HALT_HALT = 2, HALT_REFUSED = -1, HALT_MISUSE = -2 };

/* What other functions answer: HALT_REFUSED and HALT_MISUSE as above. */
enum halt_status { HALT_DONE = 0, HALT_FOUND = 1 };

/* Rules by their numbers; halt_rule gives their names. */
enum halt_rule_number {
    HALT_RULE_HARD_LIMIT = 0,
    HALT_RULE_WINDOW_MEAN = 1,
    HALT_RULE_DOWNWARD_TREND = 2,
    HALT_RULE_ENTROPY_LIMIT = 3,
    HALT_RULE_DEADLINE = 4,
    HALT_RULE_SOFT_LIMIT = 5,
    HALT_RULE_MISSING_SCORE = 6,
    HALT_RULE_INVALID_SCORE = 7,
    HALT_RULE_OUT_OF_ORDER = 8,
    HALT_RULE_AFTER_END = 9,
    HALT_RULE_NONE = 255
};

/* Parts of a token that are given, for halt_process. */
enum halt_given { HALT_GIVEN_SCORE = 1, HALT_GIVEN_ENTROPY_BITS = 2, HALT_GIVEN_ELAPSED_MS = 4, HALT_GIVEN_TEXT = 8 };

/* The last decision or halt: 56 bytes, little-endian. */
struct halt_answer {
    double index;
    double verdict;
    double rule;
    double value;
    double limit;
    double released;
    double trigger;
};

/* An entry of the trace: 72 bytes. */
struct halt_trace_entry {
    double index;
    double score;
    uint8_t verdict;
    uint8_t rule;
    uint8_t text_length;
    char text[47];
    uint8_t unused[6];
};

uint32_t halt_abi_version(void);

char *halt_buffer(size_t length);
const struct halt_answer *halt_answer(void);
const char *halt_text(void);
size_t halt_text_length(void);

uint32_t halt_config_new(void);
int32_t halt_config_set_number(uint32_t config, const char *name, size_t name_length, double number);
int32_t halt_config_set_flag(uint32_t config, const char *name, size_t name_length, uint32_t flag);
int32_t halt_config_set_text(uint32_t config, const char *name, size_t name_length, const char *text, size_t length);
int32_t halt_config_set_off(uint32_t config, const char *name, size_t name_length);
int32_t halt_config_free(uint32_t config);

uint32_t halt_kernel_new(uint32_t config);
int32_t halt_kernel_free(uint32_t kernel);

int32_t halt_process_token(uint32_t kernel, double index, double score);
int32_t halt_process(uint32_t kernel, double index, double score, double entropy_bits, double elapsed_ms,
                     const char *text, size_t text_length, uint32_t given);
int32_t halt_finish(uint32_t kernel);
int32_t halt_halted(uint32_t kernel);
int32_t halt_is_active(uint32_t kernel);
int32_t halt_is_finishing(uint32_t kernel);
double halt_tokens(uint32_t kernel);
double halt_released(uint32_t kernel);

int32_t halt_trace(uint32_t kernel);
void halt_cause(void);
int32_t halt_rule(uint32_t rule);
int32_t halt_ends_sentence(const char *text, size_t text_length);

#endif
