/* colbuilder.c: a column that grows, of any type. Its own arrays are malloc'ed and copied into the memory once, when
 * finished; the bytes of strings go to the memory at once. */
#include "engine/column_int.h"
#include <stdlib.h>

struct colbuilder {
    const type_t *type;
    mem_t *m; /* borrowed */
    size_t width;
    uint32_t len, cap;
    bool open;      /* between begin and end */
    bool any_null;
    uint32_t start; /* children's length at begin */
    uint8_t *data, *nulls;
    int nchild;
    colbuilder_t **child;
};

colbuilder_t *colbuilder_new(const type_t *t, mem_t *m) {
    colbuilder_t *b = xcalloc(1, sizeof *b);
    b->type = t;
    b->m = m;
    b->width = column_width(t);
    b->nchild = column_nchild(t);
    if (b->nchild) b->child = xcalloc((size_t)b->nchild, sizeof *b->child);
    for (int i = 0; i < b->nchild; i++) b->child[i] = colbuilder_new(column_child_type(t, i), m);
    return b;
}

void colbuilder_free(colbuilder_t *b) {
    if (!b) return;
    for (int i = 0; i < b->nchild; i++) colbuilder_free(b->child[i]);
    free(b->child);
    free(b->data);
    free(b->nulls);
    free(b);
}

void colbuilder_use(colbuilder_t *b, mem_t *m) {
    ASSERT(b->len == 0 && !b->open);
    b->m = m;
    for (int i = 0; i < b->nchild; i++) colbuilder_use(b->child[i], m);
}

uint32_t colbuilder_len(const colbuilder_t *b) { return b->len; }
const type_t *colbuilder_type(const colbuilder_t *b) { return b->type; }
colbuilder_t *colbuilder_child(colbuilder_t *b, int i) {
    ASSERT(i >= 0 && i < b->nchild);
    return b->child[i];
}

void colbuilder_room(colbuilder_t *b, uint32_t rows) {
    if (b->cap >= rows) return;
    b->cap = rows;
    if (b->width) b->data = xrealloc(b->data, b->width * b->cap);
    b->nulls = xrealloc(b->nulls, b->cap);
}

/* Room for one more row; returns its data, zeroed. */
static uint8_t *colbuilder_next(colbuilder_t *b) {
    if (b->len == b->cap) {
        ASSERT(b->cap < UINT32_MAX / 4);
        colbuilder_room(b, b->cap ? b->cap * 2 : 16);
    }
    b->nulls[b->len] = 0;
    uint8_t *at = b->width ? b->data + b->width * b->len : NULL;
    if (at) memset(at, 0, b->width);
    b->len++;
    return at;
}

void colbuilder_null(colbuilder_t *b) {
    ASSERT(!b->open);
    span_t *s = (span_t *)(void *)colbuilder_next(b);
    b->nulls[b->len - 1] = 1;
    b->any_null = true;
    if (b->type->kind == TYPE_ROW) {
        for (int i = 0; i < b->nchild; i++) colbuilder_null(b->child[i]);
    } else if (b->nchild) {
        *s = (span_t){b->child[0]->len, 0};
    }
}

void colbuilder_i64(colbuilder_t *b, int64_t v) {
    uint8_t *at = colbuilder_next(b);
    switch (b->width) {
    case 1: *at = (uint8_t)v; break;
    case 2: *(int16_t *)(void *)at = (int16_t)v; break;
    case 4: *(int32_t *)(void *)at = (int32_t)v; break;
    case 8: *(int64_t *)(void *)at = v; break;
    default: UNREACHABLE();
    }
}

void colbuilder_f64(colbuilder_t *b, double v) {
    uint8_t *at = colbuilder_next(b);
    if (b->type->kind == TYPE_FLOAT) {
        *(float *)(void *)at = (float)v;
    } else {
        ASSERT(b->type->kind == TYPE_DOUBLE);
        *(double *)(void *)at = v;
    }
}

void colbuilder_dec(colbuilder_t *b, i128 v) {
    ASSERT(b->type->kind == TYPE_DECIMAL);
    memcpy(colbuilder_next(b), &v, sizeof v);
}

void colbuilder_str(colbuilder_t *b, const char *p, size_t n) {
    ASSERT(b->width == sizeof(str_t) && b->type->kind != TYPE_DECIMAL && n <= UINT32_MAX);
    str_t s = {.len = (uint32_t)n};
    if (n) {
        char *copy = mem_alloc(b->m, n);
        memcpy(copy, p, n);
        s.p = copy;
    }
    memcpy(colbuilder_next(b), &s, sizeof s);
}

void colbuilder_begin(colbuilder_t *b) {
    ASSERT(b->nchild > 0 || b->type->kind == TYPE_ROW);
    ASSERT(!b->open);
    b->open = true;
    b->start = b->nchild ? b->child[0]->len : 0;
}

void colbuilder_end(colbuilder_t *b) {
    ASSERT(b->open);
    b->open = false;
    span_t *s = (span_t *)(void *)colbuilder_next(b);
    if (b->type->kind == TYPE_ROW) {
        for (int i = 0; i < b->nchild; i++) ASSERT(b->child[i]->len == b->len);
        return;
    }
    for (int i = 1; i < b->nchild; i++) ASSERT(b->child[i]->len == b->child[0]->len);
    *s = (span_t){b->start, b->child[0]->len - b->start};
}

void colbuilder_row(colbuilder_t *b, const column_t *src, uint32_t i) {
    if (column_null(src, i)) {
        colbuilder_null(b);
        return;
    }
    if (b->nchild || b->type->kind == TYPE_ROW) {
        bool row = b->type->kind == TYPE_ROW;
        uint32_t from = row ? i : src->span[i].off, n = row ? 1 : src->span[i].len;
        colbuilder_begin(b);
        for (int c = 0; c < b->nchild; c++)
            for (uint32_t k = 0; k < n; k++) colbuilder_row(b->child[c], &src->child[c], from + k);
        colbuilder_end(b);
    } else if (b->width == sizeof(str_t) && b->type->kind != TYPE_DECIMAL) {
        colbuilder_str(b, src->str[i].p, src->str[i].len);
    } else {
        ASSERT(column_width(src->type) == b->width);
        memcpy(colbuilder_next(b), (uint8_t *)src->data + b->width * i, b->width);
    }
}

void colbuilder_finish(colbuilder_t *b, column_t *ret) {
    ASSERT(!b->open);
    memset(ret, 0, sizeof *ret);
    ret->type = b->type;
    if (b->width) {
        ret->data = mem_alloc(b->m, b->width * b->len);
        if (b->len) memcpy(ret->data, b->data, b->width * b->len);
    }
    if (b->any_null) {
        ret->nulls = mem_alloc(b->m, b->len);
        memcpy(ret->nulls, b->nulls, b->len);
    }
    if (b->nchild) {
        ret->child = mem_zalloc(b->m, sizeof(column_t) * (size_t)b->nchild);
        ret->child_rows = b->child[0]->len;
        for (int i = 0; i < b->nchild; i++) colbuilder_finish(b->child[i], &ret->child[i]);
    }
    if (b->type->kind == TYPE_ROW) ret->child_rows = b->len;
    b->len = 0;
    b->any_null = false;
}
