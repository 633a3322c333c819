/* cast_int.h: the parts of CAST. A caster converts whole columns; `skip` marks rows whose value must not matter. */
#pragma once
#include "engine/func_int.h"

typedef struct caster {
    call_t *c;
    bool try;       /* failures give NULL */
    const tz_t *tz; /* opened when a conversion needs it */
} caster_t;

err_t *cast_column(caster_t *k, const column_t *src, const type_t *to, uint32_t n, const uint8_t *skip, column_t *out);
err_t *cast_to_text(caster_t *k, const column_t *src, const type_t *to, uint32_t n, const uint8_t *skip, column_t *out);
err_t *cast_from_text(caster_t *k, const column_t *src, const type_t *to, uint32_t n, const uint8_t *skip, column_t *out);
err_t *caster_tz(caster_t *k, const tz_t **ret);
/* NULL for TRY, else an error about the text */
err_t *cast_failed(caster_t *k, column_t *out, uint32_t i, uint32_t n, str_t value, const type_t *to);
static inline bool cast_skips(const column_t *src, const uint8_t *skip, uint32_t i) {
    return column_null(src, i) || (skip && skip[i]);
}
