/* column_int.h: what the column files share among themselves. */
#pragma once
#include "engine/batch.h"

#define BATCH_DECODE_ROWS_MAX (1u << 20) /* rows of a batch read from bytes */
#define CHILD_ROWS_MAX (1u << 28)        /* rows of a child column */

size_t column_width(const type_t *t); /* bytes of a row in data; 0 for ROW */
const type_t *column_child_type(const type_t *t, int i);
void column_slice(column_t *dst, const column_t *src, uint32_t from, uint32_t n, mem_t *m); /* shares */
size_t column_bytes(const column_t *c, uint32_t n);
const type_t *colbuilder_type(const colbuilder_t *b);
