/* parts.c: see parts.h. Where an operator has parts, some of its changes lie in none (the seal of an epoch with few of them, what came after a
 * drop): these are "loose", little, kept in memory and filtered for each part. */
#include "state/parts.h"
#include "state/segment.h"
#include <stdlib.h>

typedef struct source { const extent_t *x; const uint8_t *segment; } source_t;
typedef struct oper { uint64_t fingerprint; int slot; bool parted; } oper_t;
typedef struct piece { uint32_t seq, source; int op; uint64_t at; /* byte of the segment's file, or of the segment */ change_part_t is; } piece_t;
typedef struct loose { uint32_t seq; int op; buf_t bytes; } loose_t;
typedef struct pieces { piece_t *items; size_t n, cap; } pieces_t;

struct parts {
    disk_t *disk, *kept;
    job_id_t job;
    size_t loose_max, loose_bytes;
    source_t *sources;
    size_t nsources, sources_cap;
    oper_t *ops;
    int nops;
    pieces_t of[CHANGE_PARTS];
    loose_t *loose;
    size_t nloose, loose_cap;
    uint32_t seq;          /* of states with changes, in order of epochs */
    const uint8_t *stored; /* payload of the segment that is looked at; NULL: compressed */
    uint64_t stored_at;    /* its first byte */
    buf_t buf, some;       /* a piece; what was asked for of it */
};

parts_t *parts_new(disk_t *disk, disk_t *kept, job_id_t job, size_t loose_max) {
    parts_t *p = xcalloc(1, sizeof *p);
    *p = (parts_t){.disk = disk, .kept = kept, .job = job, .loose_max = loose_max, .buf = buf_make(SIZE_MAX / 2), .some = buf_make(SIZE_MAX / 2)};
    return p;
}

void parts_free(parts_t *p) {
    if (!p) return;
    for (int i = 0; i < CHANGE_PARTS; i++) free(p->of[i].items);
    for (size_t i = 0; i < p->nloose; i++) buf_free(&p->loose[i].bytes);
    free(p->loose);
    free(p->sources);
    free(p->ops);
    buf_free(&p->buf);
    buf_free(&p->some);
    free(p);
}

/* ---------------------------------------------------------------- where they lie */
static int op_of(parts_t *p, uint64_t fingerprint, int slot) {
    for (int i = 0; i < p->nops; i++)
        if (p->ops[i].fingerprint == fingerprint && p->ops[i].slot == slot) return i;
    p->ops = xrealloc(p->ops, ((size_t)p->nops + 1) * sizeof *p->ops);
    p->ops[p->nops] = (oper_t){fingerprint, slot, false};
    return p->nops++;
}

static void add_piece(parts_t *p, const piece_t *x) {
    pieces_t *l = &p->of[x->is.part];
    if (l->n == l->cap) l->items = xrealloc(l->items, (l->cap = l->cap ? 2 * l->cap : 16) * sizeof *l->items);
    l->items[l->n++] = *x;
}

static void add_loose(parts_t *p, uint32_t seq, int op, slice_t bytes) {
    p->loose_bytes += bytes.len;
    if (bytes.len == 0 || p->loose_bytes > p->loose_max) return;
    if (p->nloose == p->loose_cap) p->loose = xrealloc(p->loose, (p->loose_cap = p->loose_cap ? 2 * p->loose_cap : 16) * sizeof *p->loose);
    loose_t *l = &p->loose[p->nloose++];
    *l = (loose_t){seq, op, buf_make(SIZE_MAX / 2)};
    buf_put(&l->bytes, bytes.p, bytes.len);
}

static err_t *see_state(void *arg, uint64_t fingerprint, int op, int slot, slice_t bytes) {
    parts_t *p = arg;
    if (slot < 0 || bytes.len == 0) return NULL;
    reader_t r;
    change_index_t x;
    TRY(change_open_parts(bytes, &r, &x));
    int o = op_of(p, fingerprint, slot);
    uint32_t seq = p->seq++;
    for (int i = 0; p->stored && i < x.n; i++) {
        piece_t piece = {seq, (uint32_t)p->nsources - 1, o, p->stored_at + (uint64_t)(r.p - p->stored), x.part[i]};
        add_piece(p, &piece);
        p->ops[o].parted = true;
        r.p += x.part[i].len;
    }
    add_loose(p, seq, o, slice_of(r.p, reader_left(&r)));
    return NULL;
}

static void see_payload(void *arg, const uint8_t *stored) { ((parts_t *)arg)->stored = stored; }

err_t *parts_add(parts_t *p, const extent_t *x, slice_t segment, bool *ret_fit) {
    if (p->nsources == p->sources_cap) p->sources = xrealloc(p->sources, (p->sources_cap = p->sources_cap ? 2 * p->sources_cap : 16) * sizeof *p->sources);
    p->sources[p->nsources++] = (source_t){x, segment.p};
    p->stored_at = SEGMENT_HEADER + (x ? x->from : 0);
    segment_visitor_t v = {.arg = p, .state = see_state, .payload = see_payload};
    err_t *e = x ? changelog_read_kept(p->disk, p->kept, x, p->job, &v, NULL) : segment_visit(segment, p->job, &v, NULL);
    *ret_fit = p->loose_bytes <= p->loose_max;
    return e;
}

int parts_ops(const parts_t *p) { return p->nops; }
bool parts_parted(const parts_t *p, int op) { return p->ops[op].parted; }

uint64_t parts_bytes(const parts_t *p, int op, int part) {
    uint64_t sum = 0;
    for (size_t i = 0; i < p->of[part].n; i++)
        if (p->of[part].items[i].op == op) sum += p->of[part].items[i].is.len;
    return sum;
}

/* ---------------------------------------------------------------- read */
static err_t *fetch(parts_t *p, disk_t *d, const piece_t *x) {
    const char *path = p->sources[x->source].x->path;
    buf_clear(&p->buf);
    TRY(d->read(d, path, x->at, x->is.len, &p->buf));
    if (p->buf.len == x->is.len && crc32c(0, p->buf.data, p->buf.len) == x->is.crc) return NULL;
    return err_new(ERR_CORRUPT, "%s/%s: byte %" PRIu64 ": wrong checksum of a part", d->where(d), path, x->at);
}

static err_t *read_piece(parts_t *p, const piece_t *x, slice_t *ret) {
    const source_t *s = &p->sources[x->source];
    if (!s->x) {
        *ret = slice_of(s->segment + x->at, x->is.len);
        return NULL;
    }
    err_t *e = p->kept ? fetch(p, p->kept, x) : NULL;
    if (e || !p->kept) {
        err_free(e);
        TRY(fetch(p, p->disk, x));
    }
    *ret = buf_slice(&p->buf);
    return NULL;
}

typedef struct taking {
    int op, lo, hi; /* key groups */
    bool whole; /* all of a part's */
    err_t *(*fn)(void *arg, uint64_t fingerprint, int slot, reader_t *r);
    void *arg;
} taking_t;

/* What changes say of the key groups asked for, into p->some. */
static slice_t filtered(parts_t *p, slice_t changes, const taking_t *t) {
    reader_t r = reader_of(changes);
    change_t c;
    buf_clear(&p->some);
    for (const uint8_t *at = r.p; change_next(&r, &c); at = r.p) {
        if (c.kind == CHANGE_DROP) {
            if (c.kg_lo < t->hi && c.kg_hi > t->lo) change_drop_range(&p->some, c.ns, MAX(c.kg_lo, t->lo), MIN(c.kg_hi, t->hi));
            continue;
        }
        int kg = state_key_group(p->ops[t->op].slot, c.key);
        if (kg >= t->lo && kg < t->hi) buf_put(&p->some, at, (size_t)(r.p - at));
    }
    if (r.bad) buf_put_u8(&p->some, 0); /* no change begins so: the reader says that it is malformed */
    return buf_slice(&p->some);
}

static err_t *give(parts_t *p, slice_t bytes, bool whole, const taking_t *t) {
    if (!whole) bytes = filtered(p, bytes, t);
    reader_t r = reader_of(bytes);
    return bytes.len ? t->fn(t->arg, p->ops[t->op].fingerprint, p->ops[t->op].slot, &r) : NULL;
}

static err_t *give_piece(parts_t *p, const piece_t *x, const taking_t *t) {
    slice_t bytes;
    TRY(read_piece(p, x, &bytes));
    return give(p, bytes, t->whole, t);
}

/* The pieces of a seal come before its loose rest. */
err_t *parts_read(parts_t *p, int op, int part, int pass, int passes, err_t *(*fn)(void *arg, uint64_t fingerprint, int slot, reader_t *r), void *arg) {
    static const pieces_t none;
    bool parted = p->ops[op].parted;
    const pieces_t *l = parted ? &p->of[part] : &none;
    int lo = part * CHANGE_PART_GROUPS;
    taking_t t = {op, lo + pass * CHANGE_PART_GROUPS / passes, lo + (pass + 1) * CHANGE_PART_GROUPS / passes, passes == 1, fn, arg};
    for (size_t i = 0, k = 0; i < l->n || k < p->nloose;) {
        if (i == l->n || (k < p->nloose && p->loose[k].seq < l->items[i].seq)) {
            const loose_t *loose = &p->loose[k++];
            if (loose->op == op) TRY(give(p, buf_slice(&loose->bytes), !parted, &t));
        } else {
            const piece_t *piece = &l->items[i++];
            if (piece->op == op) TRY(give_piece(p, piece, &t));
        }
    }
    return NULL;
}
