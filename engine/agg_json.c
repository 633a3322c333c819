/* agg_json.c: JSON_OBJECTAGG: the pairs of a group as one JSON object, keys in order. Arguments are the value as JSON text
 * (the binder writes it by JSON_STRING) and the key. A key that is there already, or is NULL, is an error, as in Flink.
 * JSON_ARRAYAGG is a list (agg_list.c). */
#include "engine/agg_int.h"
#include "engine/kernel_json.h"
#include <stdlib.h>

typedef struct object_acc {
    vset_t *keys;
    vset_t *pairs; /* varint length of the key, key, value; without a value: NULL */
} object_acc_t;

static slice_t text_at(const column_t *c, uint32_t i) { return slice_of(c->str[i].p, c->str[i].len); }

static bool refuse_key(agg_slot_t *s, const char *why) {
    s->why = why;
    return false;
}

static bool object_rows(agg_slot_t *s, const agg_rows_t *r, int64_t delta) {
    const column_t *values = &r->in->cols[s->call->args[0]], *keys = &r->in->cols[s->call->args[1]];
    for (uint32_t k = 0; k < r->n; k++) {
        uint32_t row = agg_row(r, k);
        object_acc_t *a = slot_acc(s, r->accs[k]);
        bool null = column_null(values, row);
        if (column_null(keys, row)) return refuse_key(s, "a key is NULL");
        if (null && s->kind == OBJECT_ABSENT) continue;
        slice_t key = text_at(keys, row);
        buf_clear(&s->bytes);
        buf_put_bytes(&s->bytes, key);
        if (!null) buf_put(&s->bytes, values->str[row].p, values->str[row].len);
        int64_t count = vset_add(s, &a->keys, key, delta);
        if (count == VSET_FULL || s->bytes.overflow || vset_add(s, &a->pairs, buf_slice(&s->bytes), delta) == VSET_FULL) return slot_full(s);
        if (count > 1) return refuse_key(s, "a key is there twice");
    }
    return true;
}

static bool object_update(agg_slot_t *s, const agg_rows_t *r) { return object_rows(s, r, 1); }
static bool object_retract(agg_slot_t *s, const agg_rows_t *r) { return object_rows(s, r, -1); }

static void object_merge(agg_slot_t *s, void *into, const void *from) {
    object_acc_t *a = into;
    const object_acc_t *b = from;
    slice_t v;
    int64_t count;
    for (uint32_t at = 0; vset_next(b->keys, &at, &v, &count) && !s->full;) {
        int64_t now = vset_add(s, &a->keys, v, count);
        if (now == VSET_FULL) slot_full(s);
        else if (now > 1) s->why = "a key is there twice";
    }
    vset_merge(s, &a->pairs, b->pairs);
}

typedef struct pair {
    slice_t key, value;
} pair_t;

static int by_key(const void *x, const void *y) {
    const pair_t *a = x, *b = y;
    size_t n = MIN(a->key.len, b->key.len);
    int d = n ? memcmp(a->key.p, b->key.p, n) : 0;
    return d ? d : (a->key.len > b->key.len) - (a->key.len < b->key.len);
}

static void put_object(const object_acc_t *a, buf_t *out) {
    pair_t *pairs = xcalloc((size_t)vset_len(a->pairs) + 1, sizeof *pairs);
    uint32_t n = 0;
    slice_t v;
    int64_t count;
    for (uint32_t at = 0; vset_next(a->pairs, &at, &v, &count);) {
        if (count <= 0) continue;
        reader_t r = reader_of(v);
        pairs[n].key = read_bytes(&r);
        pairs[n++].value = slice_of(r.p, (size_t)(r.end - r.p));
    }
    qsort(pairs, n, sizeof *pairs, by_key);
    buf_put_u8(out, '{');
    for (uint32_t k = 0; k < n; k++) {
        if (k) buf_put_u8(out, ',');
        json_put_string(out, (const char *)pairs[k].key.p, pairs[k].key.len);
        buf_put_u8(out, ':');
        if (pairs[k].value.len) buf_put(out, pairs[k].value.p, pairs[k].value.len);
        else buf_puts(out, "null");
    }
    buf_put_u8(out, '}');
    free(pairs);
}

static void object_emit(agg_slot_t *s, void **accs, uint32_t n, mem_t *m, column_t *out) {
    colbuilder_t *b = colbuilder_new(s->call->type, m);
    buf_t text = buf_make(slot_most(s, AGG_TEXT_MAX));
    for (uint32_t i = 0; i < n; i++) {
        buf_clear(&text);
        put_object(slot_acc(s, accs[i]), &text);
        agg_put_text(s, b, &text);
    }
    buf_free(&text);
    colbuilder_finish(b, out);
    colbuilder_free(b);
}

static void object_clear(const agg_slot_t *s, void *acc) {
    vset_free(((object_acc_t *)acc)->keys);
    vset_free(((object_acc_t *)acc)->pairs);
}
static void object_encode(const agg_slot_t *s, const void *acc, buf_t *out) {
    vset_encode(((const object_acc_t *)acc)->keys, out);
    vset_encode(((const object_acc_t *)acc)->pairs, out);
}
static bool object_decode(const agg_slot_t *s, reader_t *r, void *acc) {
    object_acc_t *a = acc;
    return vset_decode(s, r, &a->keys) && vset_decode(s, r, &a->pairs);
}
static size_t object_heap(const agg_slot_t *s, const void *acc) {
    const object_acc_t *a = acc;
    return vset_heap(a->keys) + vset_heap(a->pairs);
}

const agg_impl_t agg_impl_object = {
    .size = sizeof(object_acc_t),
    .update = object_update,
    .retract = object_retract,
    .merge = object_merge,
    .clear = object_clear,
    .emit = object_emit,
    .encode = object_encode,
    .decode = object_decode,
    .heap = object_heap,
};
