#include "common/buf.h"
#include <stdarg.h>
#include <stdio.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

#define LARGE_PAGE ((size_t)2 << 20)
#define LARGE_FROM (4 * LARGE_PAGE)

/* Large buffers come fresh from the system, and clearing them page by page costs more than filling them. A hint: nothing depends on it. */
static void ask_for_large_pages(uint8_t *p, size_t n) {
    uintptr_t from = ((uintptr_t)p + LARGE_PAGE - 1) & ~(LARGE_PAGE - 1), to = ((uintptr_t)p + n) & ~(LARGE_PAGE - 1);
    if (to > from) madvise((void *)from, to - from, MADV_HUGEPAGE);
}

/* Large blocks that were freed and are asked for again with the next epoch. On a virtual machine a fresh page costs several times its
 * clearing. What is here is malloc'ed, as what buffers hold. */
#define KEPT_BLOCKS 16
static struct {
    pthread_mutex_t lock;
    size_t most, held;
    int n;
    struct { uint8_t *p; size_t cap; } block[KEPT_BLOCKS];
} kept = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int smallest_kept(void) {
    int least = 0;
    for (int i = 1; i < kept.n; i++)
        if (kept.block[i].cap < kept.block[least].cap) least = i;
    return least;
}

static void let_go(int i) {
    kept.held -= kept.block[i].cap;
    free(kept.block[i].p);
    kept.block[i] = kept.block[--kept.n];
}

/* Smaller ones give way: epochs grow, and blocks that nothing fits into any more would keep all later ones out. */
static bool keep(uint8_t *p, size_t cap) {
    if (LIKELY(cap < LARGE_FROM)) return false;
    pthread_mutex_lock(&kept.lock);
    while (cap <= kept.most && kept.n && (kept.n == KEPT_BLOCKS || kept.held + cap > kept.most)) {
        int least = smallest_kept();
        if (kept.block[least].cap >= cap) break;
        let_go(least);
    }
    bool room = kept.n < KEPT_BLOCKS && kept.held + cap <= kept.most;
    if (room) {
        kept.block[kept.n].p = p;
        kept.block[kept.n++].cap = cap;
        kept.held += cap;
    }
    pthread_mutex_unlock(&kept.lock);
    return room;
}

static uint8_t *take_kept(size_t want, size_t max, size_t *ret_cap) {
    uint8_t *p = NULL;
    pthread_mutex_lock(&kept.lock);
    int best = -1;
    for (int i = 0; i < kept.n; i++)
        if (kept.block[i].cap >= want && kept.block[i].cap <= MIN(2 * want, max) && (best < 0 || kept.block[i].cap < kept.block[best].cap)) best = i;
    if (best >= 0) {
        p = kept.block[best].p;
        *ret_cap = kept.block[best].cap;
        kept.held -= *ret_cap;
        kept.block[best] = kept.block[--kept.n];
    }
    pthread_mutex_unlock(&kept.lock);
    return p;
}

void buf_keep_free(size_t most) {
    pthread_mutex_lock(&kept.lock);
    kept.most = most;
    while (kept.held > most) let_go(kept.n - 1);
    pthread_mutex_unlock(&kept.lock);
}

void buf_free(buf_t *b) {
    if (!keep(b->data, b->cap)) free(b->data);
    *b = (buf_t){.max = b->max};
}

void buf_clear(buf_t *b) {
    b->len = 0;
    b->overflow = false;
}

/* Up to the next quarter of a power of two: what was enough for one epoch is mostly enough for the next. */
static size_t rounded(size_t want, size_t max) {
    size_t step = ((size_t)1 << (63 - __builtin_clzll(want))) / 4;
    return MIN((want + step - 1) / step * step, MAX(want, max));
}

static void reserve_large(buf_t *b, size_t want, size_t max) {
    want = rounded(want, max);
    size_t cap, len = b->len;
    uint8_t *again = take_kept(want, max, &cap);
    if (!again) {
        b->data = xrealloc(b->data, want);
        b->cap = want;
        ask_for_large_pages(b->data, want);
        return;
    }
    if (len) memcpy(again, b->data, len);
    buf_free(b);
    b->data = again;
    b->cap = cap;
    b->len = len;
}

bool buf_reserve(buf_t *b, size_t more) {
    size_t max = b->max ? b->max : BUF_MAX_DEFAULT;
    if (LIKELY(b->cap - b->len >= more)) return true;
    if (b->overflow || more > max - MIN(b->len, max)) {
        b->overflow = true;
        return false;
    }
    size_t want = MAX(b->len + more, MIN(b->cap * 2, max));
    want = MAX(want, (size_t)64);
    if (UNLIKELY(want >= LARGE_FROM)) {
        reserve_large(b, want, max);
    } else {
        b->data = xrealloc(b->data, want);
        b->cap = want;
    }
    return true;
}

void buf_put(buf_t *b, const void *p, size_t n) {
    if (!n || !buf_reserve(b, n)) return;
    memcpy(b->data + b->len, p, n);
    b->len += n;
}

void buf_put_u8(buf_t *b, uint8_t v) {
    if (buf_reserve(b, 1)) b->data[b->len++] = v;
}
void buf_put_u16(buf_t *b, uint16_t v) { buf_put(b, &v, 2); }
void buf_put_u32(buf_t *b, uint32_t v) { buf_put(b, &v, 4); }
void buf_put_u64(buf_t *b, uint64_t v) { buf_put(b, &v, 8); }

void buf_put_varint(buf_t *b, uint64_t v) {
    if (!buf_reserve(b, 10)) return;
    while (v >= 0x80) {
        b->data[b->len++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    b->data[b->len++] = (uint8_t)v;
}

void buf_put_zigzag(buf_t *b, int64_t v) {
    buf_put_varint(b, ((uint64_t)v << 1) ^ (uint64_t)(v >> 63));
}

void buf_put_bytes(buf_t *b, slice_t s) {
    buf_put_varint(b, s.len);
    buf_put(b, s.p, s.len);
}

void buf_put_cstr(buf_t *b, const char *s) { buf_put_bytes(b, slice_str(s ? s : "")); }
void buf_puts(buf_t *b, const char *s) { buf_put(b, s, strlen(s)); }

void buf_printf(buf_t *b, const char *fmt, ...) {
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n > 0 && buf_reserve(b, (size_t)n + 1)) {
        vsnprintf((char *)b->data + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
}

void buf_set_u32(buf_t *b, size_t at, uint32_t v) {
    if (at + 4 <= b->len) memcpy(b->data + at, &v, 4);
}

char *buf_cstr(buf_t *b) {
    static char empty[1];
    if (b->cap == b->len) {
        if (!b->len && b->overflow) return empty;
        b->data = xrealloc(b->data, b->cap + 1); /* the NUL is not counted against the maximum */
        b->cap++;
    }
    b->data[b->len] = 0;
    return (char *)b->data;
}

char *buf_take_cstr(buf_t *b) {
    char *s = b->len || b->data ? buf_cstr(b) : xstrdup("");
    *b = (buf_t){.max = b->max};
    return s;
}

static bool need(reader_t *r, size_t n) {
    if (LIKELY(!r->bad && (size_t)(r->end - r->p) >= n)) return true;
    r->bad = true;
    r->p = r->end;
    return false;
}

#define READ(name, T)                                                                              \
    T name(reader_t *r) {                                                                          \
        T v = 0;                                                                                   \
        if (need(r, sizeof v)) {                                                                   \
            memcpy(&v, r->p, sizeof v);                                                            \
            r->p += sizeof v;                                                                      \
        }                                                                                          \
        return v;                                                                                  \
    }
READ(read_u8, uint8_t)
READ(read_u16, uint16_t)
READ(read_u32, uint32_t)
READ(read_u64, uint64_t)

uint64_t read_varint(reader_t *r) {
    uint64_t v = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        if (!need(r, 1)) return 0;
        uint8_t byte = *r->p++;
        if (shift == 63 && byte > 1) break;
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) return v;
    }
    r->bad = true;
    r->p = r->end;
    return 0;
}

int64_t read_zigzag(reader_t *r) {
    uint64_t v = read_varint(r);
    return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

slice_t read_raw(reader_t *r, size_t n) {
    if (!need(r, n)) return slice_of(r->end, 0);
    slice_t s = slice_of(r->p, n);
    r->p += n;
    return s;
}

slice_t read_bytes(reader_t *r) {
    uint64_t n = read_varint(r);
    if (n > reader_left(r)) {
        r->bad = true;
        r->p = r->end;
        return slice_of(r->end, 0);
    }
    return read_raw(r, (size_t)n);
}

char *read_cstr(reader_t *r) {
    slice_t s = read_bytes(r);
    return xstrndup((const char *)s.p, s.len);
}
