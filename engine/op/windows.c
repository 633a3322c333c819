/* windows.c: window arithmetic. All spans are half open, [start, end), in milliseconds; a window is named by its end.
 *
 *   TUMBLE    size 5, offset 0:   |----)|----)            slice = size
 *   HOP       size 6, slide 4:    windows [0,6) [4,10)    slice = gcd(size, slide) = 2
 *   CUMULATE  size 6, step 2:     [0,2) [0,4) [0,6) [6,8) slice = step */
#include "engine/datetime.h"
#include "engine/op/op_int.h"
#include <stdlib.h>

static int64_t gcd(int64_t a, int64_t b) {
    while (b) {
        int64_t t = a % b;
        a = b;
        b = t;
    }
    return a;
}

window_math_t window_math(const window_spec_t *w) {
    window_math_t m = {.kind = w->kind, .size = w->size_ms, .slide = w->slide_ms, .offset = w->offset_ms};
    switch (w->kind) {
    case WINDOW_TUMBLE: m.slide = m.slice = m.size; break;
    case WINDOW_HOP: m.slice = gcd(m.size, m.slide); break;
    case WINDOW_CUMULATE: m.slice = m.slide; break;
    case WINDOW_SESSION: m.slice = 1; break;
    }
    return m;
}

static int64_t align_down(int64_t t, int64_t offset, int64_t step) { return t - floor_mod(t - offset, step); }

int64_t window_slice_end(const window_math_t *w, int64_t ts) { return align_down(ts, w->offset, w->slice) + w->slice; }

int64_t window_start_of(const window_math_t *w, int64_t end) {
    if (w->kind == WINDOW_CUMULATE) return align_down(end - 1, w->offset, w->size);
    return end - w->size;
}

/* HOP windows start at offset + k * slide, so they end at offset + size + k * slide. */
int64_t window_first_end(const window_math_t *w, int64_t slice_end) {
    if (w->kind != WINDOW_HOP) return slice_end;
    int64_t phase = w->offset + w->size;
    int64_t down = align_down(slice_end, phase, w->slide);
    return down == slice_end ? slice_end : down + w->slide;
}

int64_t window_last_end(const window_math_t *w, int64_t slice_end) {
    switch (w->kind) {
    case WINDOW_HOP: return align_down(slice_end - w->slice, w->offset, w->slide) + w->size;
    case WINDOW_CUMULATE: return window_start_of(w, slice_end) + w->size;
    default: return slice_end;
    }
}

int64_t window_next_end(const window_math_t *w, int64_t end) { return end + (w->kind == WINDOW_TUMBLE ? w->size : w->slide); }

uint32_t window_assign(const window_math_t *w, int64_t ts, int64_t *starts, int64_t *ends, uint32_t max) {
    uint32_t n = 0;
    if (w->kind == WINDOW_CUMULATE) {
        int64_t start = align_down(ts, w->offset, w->size);
        for (int64_t end = window_slice_end(w, ts); end <= start + w->size && n < max; end += w->slide) {
            starts[n] = start;
            ends[n++] = end;
        }
        return n;
    }
    for (int64_t start = align_down(ts, w->offset, w->slide); start > ts - w->size && n < max; start -= w->slide) {
        starts[n] = start;
        ends[n++] = start + w->size;
    }
    return n;
}

/* ---------------------------------------------------------------- session zone */
struct zone {
    tz_t *tz; /* NULL: identity */
};

err_t *zone_open(const char *name, bool shifted, zone_t **ret) {
    zone_t *z = xcalloc(1, sizeof *z);
    *ret = z;
    if (!shifted) return NULL;
    TRY(tz_open(name, &z->tz));
    if (tz_is_utc(z->tz)) {
        tz_free(z->tz);
        z->tz = NULL;
    }
    return NULL;
}

void zone_free(zone_t *z) {
    if (!z) return;
    tz_free(z->tz);
    free(z);
}

#define ZONE_MS_MAX (INT64_MAX / 1000 - 2 * MS_PER_DAY)

int64_t zone_to_wall_ms(const zone_t *z, int64_t utc_ms) {
    if (!z->tz || utc_ms > ZONE_MS_MAX || utc_ms < -ZONE_MS_MAX) return utc_ms;
    return us_to_ms(tz_to_wall(z->tz, utc_ms * 1000));
}

int64_t zone_to_utc_ms(const zone_t *z, int64_t wall_ms) {
    if (!z->tz || wall_ms > ZONE_MS_MAX || wall_ms < -ZONE_MS_MAX) return wall_ms;
    return us_to_ms(tz_to_utc(z->tz, wall_ms * 1000));
}
