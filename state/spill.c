/* spill.c: see spill.h.
 *
 *   page   check u32 | count u16 | used u16 | tags u32[count], ascending | places u16[count], from the end of these | entries | zeroes
 *   entry  key_len u16 | value_len u16, NONE: a marker | key | value
 * A tag is the upper half of the hash. Numbers are the machine's: no other process ever reads such a file. */
#include "state/spill.h"
#include "state/changelog.h"
#include "state/filter.h"
#include <stdlib.h>
#include <unistd.h>

#define HEAD 8u
#define EACH 6u /* of a page, beside the entry: tag and place */
#define NONE UINT16_MAX
#define ENTRY_HEAD 4u
#define ROOM (SPILL_PAGE - HEAD - EACH - ENTRY_HEAD) /* for key and value */
#define IO_LEAST 2u       /* pages read for a merge at once: a thirty-second of the buffer of puts, .. */
#define IO_MOST 32u       /* .. within these */
#define WRITE_MOST 256u   /* pages written at once, half of that buffer at most: what comes in one piece the system may keep as one, and finds sooner */
#define RUNS_MAX 24       /* merging keeps them far below; where it does not, nothing more is taken */
#define MERGE_LEAST 4     /* runs; fewer only into the oldest, .. */
#define OLDEST_SHARE 2    /* .. when all others have the half of it */
#define WORK_EACH 16      /* entries merged for one that was put: more than it takes to keep up */
#define WORK_MOST ((uint64_t)2 << 20) /* .. for one run: a tenth of a second; a task that evicts must get on */
#define AT_ONCE ((uint64_t)128 << 10) /* a merge of so few is done at once, also beside a large one: small runs do not pile up behind that */
#define LOOKS ((uint64_t)1 << 18) /* what is known of the last so many, and as many before these by half, .. */
#define STRANGE_SHARE 16          /* .. tells whether keys come that were never put */

typedef struct run {
    int fd;
    uint32_t npages, serial;
    uint64_t entries;
    uint32_t *first; /* tag of each page */
    filter_t *filter; /* NULL: any key may be in it */
} run_t;

typedef struct writer {
    run_t run;
    uint32_t first_cap;
    uint8_t *out; /* whole pages that are not written yet: `full` of `room` */
    uint32_t room, full, count, used; /* count, used: of the page at hand */
    uint32_t tags[SPILL_PAGE / EACH];
    uint16_t places[SPILL_PAGE / EACH];
    uint8_t data[SPILL_PAGE];
    bool bad;
    uint64_t given; /* bytes of its file that are its own before they are written */
    int slot; /* of the state */
} writer_t;

typedef struct cursor { /* goes over a run from its begin to its end */
    const run_t *run;
    uint8_t *in;
    uint32_t page, loaded, at, room; /* page: next to be read; of `room`, how many were and which one is looked at */
    uint32_t i, count;
    uint32_t tag;
    const uint8_t *entry; /* NULL at the end */
} cursor_t;

typedef struct merge {
    int from, n; /* runs */
    bool oldest; /* nothing is below the outcome: what it does not have is unknown */
    uint64_t left; /* entries */
    cursor_t in[RUNS_MAX]; /* the youngest first */
    writer_t *out;
} merge_t;

typedef struct put { const uint8_t *entry; uint32_t tag; } put_t;

struct spill {
    int slot; /* of the state */
    int (*file)(void *arg, uint64_t bytes);
    void *arg;
    run_t runs[RUNS_MAX]; /* the oldest first */
    int nruns;
    merge_t *merge; /* a large one under way, or NULL */
    uint8_t *bytes; /* of puts */
    size_t used;
    spill_room_t room;
    uint32_t io, write; /* pages; write: a power of two, so that pieces lie at multiples of their size */
    uint32_t serial; /* of runs */
    put_t *puts;
    size_t nputs, puts_cap;
    bool broken, closed, partial; /* partial: something put was too long */
    bool refused; /* it is closed because a file was not given, or not written */
    bool kept; /* the last run could not be written: `puts` stay, in order */
    uint64_t looks, strange; /* keys asked for lately, and those of them that no run has */
};

/* ---------------------------------------------------------------- pages */
static inline uint32_t load32(const uint8_t *p) {
    uint32_t x;
    memcpy(&x, p, sizeof x);
    return x;
}
static inline uint64_t load64(const uint8_t *p) {
    uint64_t x;
    memcpy(&x, p, sizeof x);
    return x;
}
static inline uint32_t load16(const uint8_t *p) {
    uint16_t x;
    memcpy(&x, p, sizeof x);
    return x;
}

/* In four lanes, so that the processor works on all at once; and whose page it is, and which. */
static uint32_t page_check(const uint8_t *p, uint32_t serial, uint32_t page) {
    uint64_t a = ((uint64_t)serial << 32 | page) ^ HASH_K0, b = HASH_K0, c = HASH_K1, d = HASH_K2;
    for (const uint8_t *q = p; q < p + SPILL_PAGE; q += 64) {
        uint64_t first = q == p ? load32(p + 4) : load64(q);
        a = hash_fold(first ^ HASH_K1, load64(q + 8) ^ a);
        b = hash_fold(load64(q + 16) ^ HASH_K1, load64(q + 24) ^ b);
        c = hash_fold(load64(q + 32) ^ HASH_K1, load64(q + 40) ^ c);
        d = hash_fold(load64(q + 48) ^ HASH_K1, load64(q + 56) ^ d);
    }
    uint64_t sum = hash_fold(a ^ HASH_K1, b ^ HASH_K2) ^ hash_fold(c ^ HASH_K1, d ^ HASH_K2);
    return (uint32_t)(sum ^ sum >> 32);
}

static inline uint32_t page_count(const uint8_t *p) { return load16(p + 4); }
static inline uint32_t page_tag(const uint8_t *p, uint32_t i) { return load32(p + HEAD + 4 * i); }
static inline const uint8_t *page_entry(const uint8_t *p, uint32_t count, uint32_t i) {
    return p + HEAD + EACH * count + load16(p + HEAD + 4 * count + 2 * i);
}
static inline slice_t entry_key(const uint8_t *e) { return slice_of(e + ENTRY_HEAD, load16(e)); }
static inline bool entry_is_marker(const uint8_t *e) { return load16(e + 2) == NONE; }
static inline slice_t entry_value(const uint8_t *e) { return slice_of(e + ENTRY_HEAD + load16(e), load16(e + 2)); }
static inline size_t entry_len(const uint8_t *e) { return ENTRY_HEAD + load16(e) + (entry_is_marker(e) ? 0 : load16(e + 2)); }

static int key_cmp(slice_t a, slice_t b) {
    int c = memcmp(a.p, b.p, MIN(a.len, b.len));
    return c ? c : (a.len > b.len) - (a.len < b.len);
}

/* ---------------------------------------------------------------- runs */
static bool read_pages(const run_t *r, uint8_t *to, uint32_t page, uint32_t n) {
    size_t want = (size_t)n * SPILL_PAGE;
    if (pread(r->fd, to, want, (off_t)page * SPILL_PAGE) != (ssize_t)want) return false;
    for (uint32_t i = 0; i < n; i++, to += SPILL_PAGE)
        if (load32(to) != page_check(to, r->serial, page + i)) return false;
    return true;
}

static size_t run_bytes(const run_t *r) { return r->npages * sizeof *r->first + filter_bytes(r->filter); }

static void run_free(run_t *r) {
    if (r->fd >= 0) close(r->fd);
    free(r->first);
    filter_free(r->filter);
    *r = (run_t){.fd = -1};
}

/* Of all runs but the oldest. Those that are being merged leave soon, and do not keep the next ones from having theirs. */
static size_t young_filters(const spill_t *s) {
    const merge_t *m = s->merge;
    size_t n = m && !m->oldest ? filter_bytes(m->out->run.filter) : 0;
    for (int i = 1; i < s->nruns; i++)
        if (!m || i < m->from || i >= m->from + m->n) n += filter_bytes(s->runs[i].filter);
    return n;
}

static bool strangers_come(const spill_t *s) { return s->looks < LOOKS / 4 || s->strange > s->looks / STRANGE_SHARE; }

/* Bytes for the filter of a run of so many entries at the most. Whatever key is asked of the oldest run is there, but one that never was: where such come, a
 * third of the room is its. All the others are asked for nearly each key, so each has a filter: a large one as far as there is room, and then it is wrong
 * more often; a small one always, up to twice the room. `leaving`: bytes of filters that go when this one is there. */
static size_t filter_room(const spill_t *s, uint64_t most, bool oldest, size_t leaving) {
    size_t all = s->room.filters, third = strangers_come(s) ? all / 3 : 0, may = all - third, have = filter_least();
    if (oldest) {
        may = third;
    } else {
        have += young_filters(s) - leaving;
        size_t stay = leaving + (s->nruns ? filter_bytes(s->runs[0].filter) : 0); /* are there until then, too */
        may = most <= AT_ONCE ? 2 * may : MIN(may, all + all / 2 - MIN(stay, all));
    }
    return may > have ? may - have : 0;
}

/* Of `most` entries at the most, in `bytes`. */
static writer_t *writer_new(spill_t *s, uint64_t most, uint64_t bytes, bool oldest, size_t leaving) {
    writer_t *w = xcalloc(1, sizeof *w);
    w->slot = s->slot;
    w->run.fd = s->file(s->arg, w->given = bytes);
    w->run.serial = ++s->serial;
    w->bad = w->run.fd < 0;
    w->room = s->write;
    w->out = xmalloc((size_t)w->room * SPILL_PAGE);
    size_t room = filter_room(s, most, oldest, leaving);
    uint64_t keys = MIN(most, room ? filter_keys(room) : 0);
    if (keys > 0 && keys >= most / 4) w->run.filter = filter_new(keys);
    return w;
}

static void writer_free(writer_t *w) {
    run_free(&w->run);
    free(w->out);
    free(w);
}

static void write_full(writer_t *w) {
    size_t n = (size_t)w->full * SPILL_PAGE;
    off_t at = (off_t)(w->run.npages - w->full) * SPILL_PAGE;
    if (n && !w->bad) w->bad = pwrite(w->run.fd, w->out, n, at) != (ssize_t)n;
    w->full = 0;
}

static void page_end(writer_t *w) {
    if (w->count == 0) return;
    run_t *r = &w->run;
    if (r->npages == w->first_cap) {
        w->first_cap = w->first_cap ? w->first_cap + w->first_cap / 2 : 64;
        r->first = xrealloc(r->first, w->first_cap * sizeof *r->first);
    }
    r->first[r->npages++] = w->tags[0];
    uint8_t *p = w->out + (size_t)w->full++ * SPILL_PAGE, *to = p + HEAD;
    uint16_t numbers[2] = {(uint16_t)w->count, (uint16_t)w->used};
    memcpy(p + 4, numbers, sizeof numbers);
    memcpy(to, w->tags, 4 * w->count);
    memcpy(to += 4 * w->count, w->places, 2 * w->count);
    memcpy(to += 2 * w->count, w->data, w->used);
    memset(to + w->used, 0, (size_t)(p + SPILL_PAGE - (to + w->used)));
    uint32_t check = page_check(p, r->serial, r->npages - 1);
    memcpy(p, &check, sizeof check);
    w->count = w->used = 0;
    if (w->full == w->room) write_full(w);
}

static void writer_add(writer_t *w, uint32_t tag, const uint8_t *entry) {
    size_t len = entry_len(entry);
    if (HEAD + EACH * (w->count + 1) + w->used + len > SPILL_PAGE) page_end(w);
    w->tags[w->count] = tag;
    w->places[w->count++] = (uint16_t)w->used;
    memcpy(w->data + w->used, entry, len);
    w->used += (uint32_t)len;
    w->run.entries++;
    if (!w->run.filter) return;
    slice_t key = entry_key(entry);
    filter_add(w->run.filter, state_hash(w->slot, key), filter_bytes(w->run.filter));
}

/* false: it cannot be written. The writer is gone either way. */
static bool writer_end(writer_t *w, run_t *ret) {
    page_end(w);
    write_full(w);
    uint64_t size = (uint64_t)w->run.npages * SPILL_PAGE;
    bool spare = size < w->given; /* keys that were there twice */
    bool ok = !w->bad && (!spare || ftruncate(w->run.fd, (off_t)size) == 0);
    if (ok) {
        *ret = w->run;
        if (ret->npages) ret->first = xrealloc(ret->first, ret->npages * sizeof *ret->first);
        w->run = (run_t){.fd = -1};
    }
    writer_free(w);
    return ok;
}

/* ---------------------------------------------------------------- merging */
static void merge_free(merge_t *m) {
    if (!m) return;
    for (int i = 0; i < m->n; i++) free(m->in[i].in);
    if (m->out) writer_free(m->out);
    free(m);
}

static void lose(spill_t *s) {
    merge_free(TAKE(s->merge));
    free(TAKE(s->bytes));
    free(TAKE(s->puts));
    s->nputs = s->puts_cap = s->used = 0;
    s->kept = false;
    for (int i = 0; i < s->nruns; i++) run_free(&s->runs[i]);
    s->nruns = 0;
    s->broken = true;
}

static void close_up(spill_t *s) {
    merge_free(TAKE(s->merge));
    s->closed = true;
}

static bool cursor_page(cursor_t *c) {
    if (++c->at >= c->loaded) {
        c->loaded = MIN(c->run->npages - c->page, c->room);
        c->at = c->i = c->count = 0;
        c->entry = NULL;
        if (c->loaded == 0) return true;
        if (!read_pages(c->run, c->in, c->page, c->loaded)) return false;
        c->page += c->loaded;
    }
    c->i = 0;
    c->count = page_count(c->in + (size_t)c->at * SPILL_PAGE);
    return true;
}

static bool cursor_next(cursor_t *c) {
    if (++c->i >= c->count) {
        if (!cursor_page(c)) return false;
        if (c->count == 0) return true; /* the end */
    }
    const uint8_t *p = c->in + (size_t)c->at * SPILL_PAGE;
    c->tag = page_tag(p, c->i);
    c->entry = page_entry(p, c->count, c->i);
    return true;
}

/* The youngest runs, from `lowest` on, that are together as large as the next one: so each entry is merged as often as its run's size doubles. Into the
 * oldest already when they have half of it, for each key may be in them again. 0: nothing to merge. */
static int merge_width(const spill_t *s, int lowest, uint64_t *ret_entries) {
    int from = s->nruns - 1;
    if (from <= lowest) return 0;
    uint64_t sum = s->runs[from].entries;
    while (from > lowest && s->runs[from - 1].entries <= sum * (from == 1 ? OLDEST_SHARE : 1)) sum += s->runs[--from].entries;
    *ret_entries = sum;
    int width = s->nruns - from;
    return width > 1 && (width >= MERGE_LEAST || from == 0) ? width : 0;
}

typedef enum outcome {
    DONE,
    SHUT, /* there is no room for more */
    LOST, /* what was written cannot be read */
} outcome_t;

static outcome_t merge_new(spill_t *s, int width, merge_t **ret) {
    merge_t *m = xcalloc(1, sizeof *m);
    m->n = width;
    m->from = s->nruns - width;
    m->oldest = m->from == 0;
    bool ok = true;
    size_t leaving = 0, pages = 0;
    for (int i = 0; i < width; i++) {
        cursor_t *c = &m->in[i];
        *c = (cursor_t){.run = &s->runs[s->nruns - 1 - i], .in = xmalloc((size_t)s->io * SPILL_PAGE), .room = s->io};
        ok = ok && cursor_next(c);
        m->left += c->run->entries;
        leaving += filter_bytes(c->run->filter);
        pages += c->run->npages;
    }
    m->out = writer_new(s, m->left, pages * SPILL_PAGE, m->oldest, leaving);
    *ret = m;
    if (ok && !m->out->bad) return DONE;
    merge_free(TAKE(*ret));
    return ok ? SHUT : LOST;
}

/* The outcome takes the place of what was merged. Runs before these stay where they are: a larger merge may be reading them. */
static outcome_t merge_end(spill_t *s, merge_t *m) {
    run_t run;
    if (!writer_end(TAKE(m->out), &run)) return SHUT;
    int from = m->from, behind = from + m->n;
    for (int i = from; i < behind; i++) run_free(&s->runs[i]);
    if (run.entries) s->runs[from++] = run;
    else run_free(&run);
    memmove(&s->runs[from], &s->runs[behind], (size_t)(s->nruns - behind) * sizeof *s->runs);
    s->nruns -= behind - from;
    return DONE;
}

/* The next entry of all: of the same key the youngest one, the others are passed over. NULL at the end, or when *ret_ok is false. */
static cursor_t *merge_next(merge_t *m, bool *ret_ok) {
    cursor_t *best = NULL;
    for (int i = 0; i < m->n; i++) {
        cursor_t *c = &m->in[i];
        if (!c->entry) continue;
        if (!best || c->tag < best->tag) {
            best = c;
            continue;
        }
        if (LIKELY(c->tag > best->tag)) continue;
        int cmp = key_cmp(entry_key(c->entry), entry_key(best->entry));
        if (cmp < 0) best = c;
        if (cmp != 0) continue;
        if (!(*ret_ok = cursor_next(c))) return NULL;
        m->left--;
        i--;
    }
    return best;
}

/* Some `most` entries. false: it cannot be read. */
static bool merge_some(merge_t *m, uint64_t most) {
    bool ok = true;
    for (uint64_t until = m->left > most ? m->left - most : 0; m->left > until;) {
        cursor_t *c = merge_next(m, &ok);
        if (!c) break;
        if (!m->oldest || !entry_is_marker(c->entry)) writer_add(m->out, c->tag, c->entry);
        m->left--;
        if (!cursor_next(c)) return false;
    }
    return ok;
}

/* Smaller ones, as many as there are. *ret_large: one that is not. */
static outcome_t merge_small(spill_t *s, merge_t **ret_large) {
    uint64_t entries;
    for (int width; (width = merge_width(s, s->merge ? s->merge->from + s->merge->n : 0, &entries)) > 0;) {
        if (s->merge && entries > AT_ONCE) return DONE;
        merge_t *m;
        outcome_t o = merge_new(s, width, &m);
        if (o != DONE) return o;
        if (entries > AT_ONCE) {
            *ret_large = m;
            return DONE;
        }
        o = merge_some(m, UINT64_MAX) ? merge_end(s, m) : LOST;
        merge_free(m);
        if (o != DONE) return o;
    }
    return DONE;
}

static outcome_t merge_large(spill_t *s, uint64_t most) {
    merge_t *m = s->merge;
    if (!merge_some(m, most)) return LOST;
    if (m->left > 0) return m->out->bad ? SHUT : DONE;
    outcome_t o = merge_end(s, m);
    merge_free(TAKE(s->merge));
    return o;
}

/* After a run of n entries. A large merge goes on by a portion with each run: fast enough to be over before there are too many, or nothing more
 * is taken. A merge that cannot be written leaves what it reads as it is. */
static void work(spill_t *s, uint64_t n) {
    merge_t *large = NULL;
    outcome_t o = merge_small(s, &large);
    if (large) s->merge = large;
    if (o == DONE && s->merge) {
        uint64_t due = s->merge->left / (uint64_t)MAX(RUNS_MAX - 1 - s->nruns, 1) + 1;
        o = merge_large(s, MIN(MAX(WORK_EACH * n, due), WORK_MOST));
    }
    size_t index = o == DONE && s->merge ? s->merge->out->run.npages * sizeof(uint32_t) : 0;
    for (int i = 0; i < s->nruns; i++) index += s->runs[i].npages * sizeof *s->runs[i].first;
    s->refused = o == SHUT;
    if (o == LOST) lose(s);
    else if (o == SHUT || s->nruns == RUNS_MAX || index > s->room.index) close_up(s);
}

/* ---------------------------------------------------------------- puts */
spill_t *spill_new(int slot, int (*file)(void *arg, uint64_t bytes), void *arg) {
    spill_t *s = xcalloc(1, sizeof *s);
    s->slot = slot;
    s->file = file;
    s->arg = arg;
    return s;
}

void spill_free(spill_t *s) {
    if (!s) return;
    lose(s);
    free(s);
}

void spill_begin(spill_t *s, const spill_room_t *room) {
    if (s->closed) return;
    s->room = *room;
    s->room.buffer = MAX(room->buffer, (size_t)4 * SPILL_PAGE);
    s->io = (uint32_t)MIN(MAX(s->room.buffer / SPILL_PAGE / 32, (size_t)IO_LEAST), (size_t)IO_MOST);
    for (s->write = IO_LEAST; s->write < WRITE_MOST && (size_t)s->write * 4 * SPILL_PAGE <= s->room.buffer;) s->write *= 2;
    if (s->nruns && !strangers_come(s)) filter_free(TAKE(s->runs[0].filter));
    if (s->looks < LOOKS) return;
    s->looks /= 2;
    s->strange /= 2;
}

static int put_cmp(const void *x, const void *y) {
    const put_t *a = x, *b = y;
    if (a->tag != b->tag) return a->tag < b->tag ? -1 : 1;
    int c = key_cmp(entry_key(a->entry), entry_key(b->entry));
    return c ? c : (a->entry < b->entry) - (a->entry > b->entry); /* the last word first */
}

/* By the bits of the tag, the lowest first; then the few of one tag. */
static void sort_puts(spill_t *s, size_t n) {
    enum { BITS = 11, WAYS = 1 << BITS };
    put_t *from = s->puts, *to = xmalloc(n * sizeof *to);
    for (int shift = 0; shift < 32; shift += BITS) {
        uint32_t at[WAYS] = {0}, sum = 0;
        for (size_t i = 0; i < n; i++) at[from[i].tag >> shift & (WAYS - 1)]++;
        for (int w = 0; w < WAYS; w++) {
            uint32_t count = at[w];
            at[w] = sum;
            sum += count;
        }
        for (size_t i = 0; i < n; i++) to[at[from[i].tag >> shift & (WAYS - 1)]++] = from[i];
        put_t *t = from;
        from = to;
        to = t;
    }
    free(to);
    s->puts = from;
    s->puts_cap = n;
    for (size_t i = 0, k; i < n; i = k) {
        for (k = i + 1; k < n && from[k].tag == from[i].tag;) k++;
        if (k > i + 1) qsort(from + i, k - i, sizeof *from, put_cmp);
    }
}

/* Else they stay where they are. */
static void write_run(spill_t *s) {
    size_t n = s->nputs;
    if (n == 0 || s->closed) return;
    sort_puts(s, n);
    writer_t *w = writer_new(s, n, s->used, s->nruns == 0, 0);
    for (size_t i = 0; i < n; i++) {
        const put_t *p = &s->puts[i];
        if (i == 0 || p->tag != p[-1].tag || !slice_eq(entry_key(p->entry), entry_key(p[-1].entry))) writer_add(w, p->tag, p->entry);
    }
    if (!writer_end(w, &s->runs[s->nruns])) {
        s->kept = s->refused = true;
        close_up(s);
        return;
    }
    s->nputs = s->used = 0;
    s->nruns++;
    work(s, n);
}

void spill_put(spill_t *s, uint64_t hash, slice_t key, slice_t value) {
    bool fits = key.len <= ROOM && (!value.p || value.len <= ROOM - key.len), marker = !value.p || !fits;
    if (s->broken) return;
    ASSERT(!s->closed);
    s->partial = s->partial || !fits;
    if (key.len > ROOM) return; /* a key too long is never here at all */
    size_t len = ENTRY_HEAD + key.len + (marker ? 0 : value.len);
    if (!s->bytes) s->bytes = xmalloc(s->room.buffer);
    if (s->nputs == s->puts_cap) s->puts = xrealloc(s->puts, (s->puts_cap = s->puts_cap ? 2 * s->puts_cap : 256) * sizeof *s->puts);
    uint8_t *e = s->bytes + s->used;
    uint16_t lens[2] = {(uint16_t)key.len, marker ? NONE : (uint16_t)value.len};
    memcpy(e, lens, sizeof lens);
    if (key.len) memcpy(e + ENTRY_HEAD, key.p, key.len);
    if (!marker && value.len) memcpy(e + ENTRY_HEAD + key.len, value.p, value.len);
    s->used += len;
    s->puts[s->nputs++] = (put_t){e, (uint32_t)(hash >> 32)};
    if (s->used + SPILL_PAGE + (s->nputs + 1) * sizeof(put_t) > s->room.buffer) write_run(s); /* one more always has room */
}

void spill_put_unknown(spill_t *s, uint64_t hash, slice_t key) {
    s->partial = true;
    spill_put(s, hash, key, (slice_t){0});
}

void spill_end(spill_t *s) {
    write_run(s);
    if (s->kept) return;
    free(TAKE(s->bytes));
    free(TAKE(s->puts));
    s->puts_cap = 0;
}

void spill_give_up(spill_t *s) { lose(s); }

bool spill_refused(const spill_t *s) { return s->refused; }

void spill_again(spill_t *s) {
    ASSERT(s->broken && s->refused);
    s->broken = s->closed = s->refused = false;
    s->looks = s->strange = 0;
    s->partial = true;
}

/* ---------------------------------------------------------------- looks */
static inline uint32_t page_guess(const run_t *r, uint32_t tag) { return (uint32_t)((uint64_t)tag * r->npages >> 32); }

void spill_prefetch(const spill_t *s, uint64_t hash) {
    for (int i = 0; s && i < s->nruns; i++) filter_prefetch(s->runs[i].filter, hash);
    if (s && s->nruns && s->runs[0].npages) __builtin_prefetch(&s->runs[0].first[page_guess(&s->runs[0], (uint32_t)(hash >> 32))]);
}

/* The first page that begins at or behind a tag. Hashes are even, so its place is nearly known, and better once one near it was seen. */
static uint32_t page_behind(const run_t *r, uint32_t tag) {
    uint32_t n = r->npages, guess = page_guess(r, tag);
    if (guess < n) {
        int64_t at = guess + (((int64_t)tag - r->first[guess]) * n >> 32) + 1;
        guess = (uint32_t)MIN(MAX(at, 0), (int64_t)n);
    }
    for (uint32_t off = 4;; off *= 4) {
        uint32_t lo = guess > off ? guess - off : 0, hi = n - guess > off ? guess + off : n; /* among [lo, hi] */
        if ((lo > 0 && r->first[lo - 1] >= tag) || (hi < n && r->first[hi] < tag)) continue;
        while (lo < hi) {
            uint32_t mid = lo + (hi - lo) / 2;
            if (r->first[mid] < tag) lo = mid + 1;
            else hi = mid;
        }
        return lo;
    }
}

/* NULL: not in this page. */
static const uint8_t *find_in(const uint8_t *page, uint32_t tag, slice_t key) {
    uint32_t count = page_count(page), lo = 0;
    for (uint32_t n = count; n > 0;) {
        uint32_t half = n / 2;
        if (page_tag(page, lo + half) < tag) {
            lo += half + 1;
            n -= half + 1;
        } else {
            n = half;
        }
    }
    for (; lo < count && page_tag(page, lo) == tag; lo++) {
        const uint8_t *e = page_entry(page, count, lo);
        if (slice_eq(entry_key(e), key)) return e;
    }
    return NULL;
}

/* Among puts that are in order; NULL: none. */
static const uint8_t *find_kept(const spill_t *s, uint32_t tag, slice_t key) {
    size_t lo = 0, hi = s->nputs;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (s->puts[mid].tag < tag) lo = mid + 1;
        else hi = mid;
    }
    for (; lo < s->nputs && s->puts[lo].tag == tag; lo++)
        if (slice_eq(entry_key(s->puts[lo].entry), key)) return s->puts[lo].entry;
    return NULL;
}

static bool tell(const uint8_t *e, slice_t *ret) {
    if (!entry_is_marker(e)) *ret = entry_value(e);
    return !entry_is_marker(e);
}

bool spill_get(spill_t *s, uint64_t hash, slice_t key, uint8_t page[SPILL_PAGE], slice_t *ret) {
    if (!s || key.len > ROOM) return false;
    uint32_t tag = (uint32_t)(hash >> 32);
    s->looks++;
    const uint8_t *kept = s->kept ? find_kept(s, tag, key) : NULL;
    if (kept) return tell(memcpy(page, kept, entry_len(kept)), ret);
    filter_key_t looked = filter_key(hash);
    for (int i = s->nruns - 1; i >= 0; i--) {
        const run_t *r = &s->runs[i];
        if (r->filter && !filter_has_key(r->filter, &looked)) continue;
        uint32_t behind = page_behind(r, tag);
        for (uint32_t p = behind ? behind - 1 : 0; p < r->npages && r->first[p] <= tag; p++) {
            if (!read_pages(r, page, p, 1)) {
                s->refused = false;
                lose(s);
                return false;
            }
            const uint8_t *e = find_in(page, tag, key);
            if (e) return tell(e, ret);
        }
    }
    s->strange++;
    return false;
}

bool spill_whole(const spill_t *s) { return s && !s->broken && !s->partial; }
bool spill_open(const spill_t *s) { return !s->broken && !s->closed; }
bool spill_lost(const spill_t *s) { return s->broken; }

size_t spill_value_most(void) { return ROOM; }

size_t spill_bytes(const spill_t *s) {
    if (!s) return 0;
    size_t n = sizeof *s + (s->kept ? s->room.buffer + s->puts_cap * sizeof *s->puts : 0);
    for (int i = 0; i < s->nruns; i++) n += run_bytes(&s->runs[i]);
    const merge_t *m = s->merge;
    if (m) n += sizeof *m + run_bytes(&m->out->run) + sizeof(writer_t) + (size_t)m->out->room * SPILL_PAGE;
    for (int i = 0; m && i < m->n; i++) n += (size_t)m->in[i].room * SPILL_PAGE;
    return n;
}

size_t spill_file_bytes(const spill_t *s) {
    size_t n = 0;
    for (int i = 0; s && i < s->nruns; i++) n += s->runs[i].npages;
    return n * SPILL_PAGE;
}

int spill_runs(const spill_t *s) { return s ? s->nruns : 0; }
