/* settings.h: the keys of SET: ours, and those of Flink that are accepted and mean nothing here. */
#pragma once
#include "engine/plan.h"

typedef enum setting_mode { MODE_AUTOMATIC, MODE_STREAMING, MODE_BATCH } setting_mode_t;

typedef struct setting_check {
    bool ignored; /* a Flink key without meaning here */
    const char *why;
} setting_check_t;
/* ERR_NOT_FOUND with a near name for unknown keys, ERR_INVALID for impossible values. */
err_t *setting_check(const char *key, const char *value, setting_check_t *ret);
err_t *setting_mode(const options_t *set, setting_mode_t *ret);
void settings_docs(buf_t *out); /* table for docs/config.md */
