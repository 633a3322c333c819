/* kernel_json.h: how the JSON functions write JSON. Private to engine/kernel_json*.c and agg_json.c. */
#pragma once
#include "common/json.h"

void json_put_number(buf_t *out, const char *t, size_t n); /* as java.math.BigDecimal prints what it read */
void json_put_string(buf_t *out, const char *s, size_t n); /* with its quotes */
void json_put(arena_t *a, buf_t *out, const json_t *v);    /* keys sorted */
