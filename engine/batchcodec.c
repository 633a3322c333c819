/* batchcodec.c: a batch as bytes.
 *
 *   batch   := LEB128 rows, u8 flags (bit 0: row kinds follow), [u8 kind per row], column*
 *   column  := u8 has_nulls, [bitmap, bit i of byte i/8 set: NULL], body
 *   body    := fixed width: the array as it lies in memory, little-endian
 *            | strings: lengths, the bytes one behind the other (NULL: length 0)
 *            | ARRAY, MAP, MULTISET: lengths, then the child columns of the rows they add up to
 *            | ROW: its columns
 *   lengths := u8 width (1, 2, 4), the lengths in so many bytes
 *
 * Nothing read is trusted: each count is bounded by the bytes that are left before memory is taken for it, and
 * batch_validate is the last step. */
#include "engine/column_int.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "columns travel as they lie in memory");

static void put_mask(buf_t *out, const uint8_t *mask, uint32_t n) {
    buf_put_u8(out, mask != NULL);
    if (!mask || !buf_reserve(out, (n + 7) / 8)) return;
    uint8_t *p = out->data + out->len;
    for (uint32_t i = 0; i < n; i += 8) {
        uint8_t bits = 0;
        uint32_t m = n - i < 8 ? n - i : 8;
        for (uint32_t k = 0; k < m; k++) bits |= (uint8_t)(mask[i + k] << k);
        *p++ = bits;
    }
    out->len += (n + 7) / 8;
}

static inline uint32_t length_at(const column_t *c, bool spans, uint32_t i) {
    if (column_null(c, i)) return 0;
    return spans ? c->span[i].len : c->str[i].len;
}

/* Returns the sum. */
static uint64_t put_lengths(buf_t *out, const column_t *c, bool spans, uint32_t n) {
    uint64_t sum = 0;
    uint32_t max = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t l = length_at(c, spans, i);
        sum += l;
        max = l > max ? l : max;
    }
    uint8_t w = max < 256 ? 1 : max < 65536 ? 2 : 4;
    buf_put_u8(out, w);
    if (!buf_reserve(out, (size_t)w * n)) return sum;
    uint8_t *p = out->data + out->len;
    for (uint32_t i = 0; i < n; i++, p += w) {
        uint32_t l = length_at(c, spans, i);
        memcpy(p, &l, w);
    }
    out->len += (size_t)w * n;
    return sum;
}

static void column_encode(buf_t *out, const column_t *c, uint32_t n);

static void strings_encode(buf_t *out, const column_t *c, uint32_t n) {
    uint64_t sum = put_lengths(out, c, false, n);
    if (!buf_reserve(out, sum)) return;
    uint8_t *p = out->data + out->len;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t l = length_at(c, false, i);
        if (l) memcpy(p, c->str[i].p, l);
        p += l;
    }
    out->len += sum;
}

/* Children go out dense and in order, whatever the spans share or skip. */
static void spans_encode(buf_t *out, const column_t *c, uint32_t n) {
    uint64_t sum = put_lengths(out, c, true, n);
    if (out->overflow || sum > CHILD_ROWS_MAX) {
        out->overflow = true;
        return;
    }
    bool dense = sum == c->child_rows;
    uint32_t at = 0;
    for (uint32_t i = 0; i < n && dense; i++) {
        uint32_t l = length_at(c, true, i);
        dense = l == 0 || c->span[i].off == at;
        at += l;
    }
    int nc = column_nchild(c->type);
    if (dense) {
        for (int k = 0; k < nc; k++) column_encode(out, &c->child[k], c->child_rows);
        return;
    }
    mem_t *m = mem_new();
    uint32_t *sel = mem_alloc(m, sizeof *sel * (sum ? sum : 1));
    at = 0;
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0, l = length_at(c, true, i); k < l; k++) sel[at++] = c->span[i].off + k;
    for (int k = 0; k < nc; k++) {
        column_t g;
        column_gather(&g, &c->child[k], sel, (uint32_t)sum, m);
        column_encode(out, &g, (uint32_t)sum);
    }
    mem_unref(m);
}

static void column_encode(buf_t *out, const column_t *c, uint32_t n) {
    put_mask(out, c->nulls, n);
    switch (c->type->kind) {
    case TYPE_CHAR:
    case TYPE_VARCHAR:
    case TYPE_BINARY:
    case TYPE_VARBINARY:
    case TYPE_SYMBOL: strings_encode(out, c, n); break;
    case TYPE_ARRAY:
    case TYPE_MAP:
    case TYPE_MULTISET: spans_encode(out, c, n); break;
    case TYPE_ROW:
        for (int i = 0; i < c->type->nchild; i++) column_encode(out, &c->child[i], n);
        break;
    default: buf_put(out, c->data, column_width(c->type) * n);
    }
}

void batch_encode(buf_t *out, const batch_t *b) {
    buf_put_varint(out, b->n);
    buf_put_u8(out, b->kinds != NULL);
    if (b->kinds) buf_put(out, b->kinds, b->n);
    for (int i = 0; i < b->ncols; i++) column_encode(out, &b->cols[i], b->n);
}

static bool read_mask(reader_t *r, column_t *c, mem_t *m, uint32_t n) {
    uint8_t has = read_u8(r);
    if (r->bad || has > 1) return false;
    if (!has) return true;
    slice_t bits = read_raw(r, (n + 7) / 8);
    if (r->bad) return false;
    c->nulls = mem_alloc(m, n);
    for (uint32_t i = 0; i < n; i++) c->nulls[i] = bits.p[i / 8] >> (i % 8) & 1;
    return true;
}

/* NULL when malformed. */
static uint32_t *read_lengths(reader_t *r, mem_t *m, uint32_t n, uint64_t *ret_sum) {
    uint8_t w = read_u8(r);
    if (r->bad || (w != 1 && w != 2 && w != 4)) return NULL;
    slice_t raw = read_raw(r, (size_t)w * n);
    if (r->bad) return NULL;
    uint32_t *lens = mem_alloc(m, sizeof *lens * n);
    uint64_t sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        lens[i] = 0;
        memcpy(&lens[i], raw.p + (size_t)w * i, w);
        sum += lens[i];
    }
    *ret_sum = sum;
    return lens;
}

static bool column_decode(reader_t *r, column_t *c, const type_t *t, mem_t *m, uint32_t n);

static bool strings_decode(reader_t *r, column_t *c, mem_t *m, uint32_t n) {
    uint64_t sum;
    uint32_t *lens = read_lengths(r, m, n, &sum);
    if (!lens || sum > reader_left(r)) return false;
    slice_t raw = read_raw(r, sum);
    if (r->bad) return false;
    char *bytes = mem_alloc(m, sum);
    if (sum) memcpy(bytes, raw.p, sum);
    c->str = mem_alloc(m, sizeof *c->str * n);
    for (uint32_t i = 0; i < n; i++) {
        c->str[i] = (str_t){.p = bytes, .len = lens[i]};
        bytes += lens[i];
    }
    return true;
}

static bool spans_decode(reader_t *r, column_t *c, mem_t *m, uint32_t n) {
    uint64_t sum;
    uint32_t *lens = read_lengths(r, m, n, &sum);
    if (!lens || sum > CHILD_ROWS_MAX) return false;
    c->span = mem_alloc(m, sizeof *c->span * n);
    uint32_t at = 0;
    for (uint32_t i = 0; i < n; i++) {
        c->span[i] = (span_t){at, lens[i]};
        at += lens[i];
    }
    int nc = column_nchild(c->type);
    c->child = mem_zalloc(m, sizeof(column_t) * (size_t)nc);
    c->child_rows = at;
    for (int k = 0; k < nc; k++)
        if (!column_decode(r, &c->child[k], column_child_type(c->type, k), m, at)) return false;
    return true;
}

static bool column_decode(reader_t *r, column_t *c, const type_t *t, mem_t *m, uint32_t n) {
    memset(c, 0, sizeof *c);
    c->type = t;
    if (!read_mask(r, c, m, n)) return false;
    switch (t->kind) {
    case TYPE_CHAR:
    case TYPE_VARCHAR:
    case TYPE_BINARY:
    case TYPE_VARBINARY:
    case TYPE_SYMBOL: return strings_decode(r, c, m, n);
    case TYPE_ARRAY:
    case TYPE_MAP:
    case TYPE_MULTISET: return spans_decode(r, c, m, n);
    case TYPE_ROW:
        c->child = mem_zalloc(m, sizeof(column_t) * (size_t)t->nchild);
        c->child_rows = n;
        for (int i = 0; i < t->nchild; i++)
            if (!column_decode(r, &c->child[i], t->child[i], m, n)) return false;
        return true;
    default: {
        slice_t raw = read_raw(r, column_width(t) * n);
        if (r->bad) return false;
        c->data = mem_alloc(m, raw.len);
        if (raw.len) memcpy(c->data, raw.p, raw.len);
        return true;
    }
    }
}

err_t *batch_decode(slice_t bytes, const schema_t *s, batch_t **ret) {
    reader_t r = reader_of(bytes);
    uint64_t n = read_varint(&r);
    uint8_t flags = read_u8(&r);
    if (r.bad || flags > 1) return err_new(ERR_CORRUPT, "batch header is malformed");
    if (n > BATCH_DECODE_ROWS_MAX)
        return err_new(ERR_CORRUPT, "batch of %llu rows, at most %u are allowed", (unsigned long long)n,
                       BATCH_DECODE_ROWS_MAX);
    AUTO(batch_freep) batch_t *b = batch_new(s->n);
    b->n = (uint32_t)n;
    if (flags & 1) {
        slice_t raw = read_raw(&r, n);
        if (r.bad) return err_new(ERR_CORRUPT, "batch ends inside its row kinds");
        b->kinds = mem_alloc(b->mem, n);
        if (n) memcpy(b->kinds, raw.p, n);
    }
    for (int i = 0; i < s->n; i++)
        if (!column_decode(&r, &b->cols[i], s->fields[i].type, b->mem, b->n))
            return err_new(ERR_CORRUPT, "batch column %s is malformed", s->fields[i].name);
    if (reader_left(&r)) return err_new(ERR_CORRUPT, "%zu bytes follow the batch", reader_left(&r));
    TRY(batch_validate(b, s));
    *ret = TAKE(b);
    return NULL;
}
