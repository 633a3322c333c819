/* manifest_json.c: the manifest as canonical JSON.
 *
 * {"tidegate_manifest":1, ..fixed fields in fixed order.., "checksum":"xxxxxxxx"}: the checksum is the CRC-32C of the text before
 * ',"checksum"'. Numbers that may pass 2^53 are written as text in hexadecimal (ids) or as plain integers (our readers keep all 64
 * bits). Parsing prints again and compares: there is exactly one text of a manifest. */
#include "state/manifest.h"
#include "common/crash.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define COUNT_MAX 1000000

static void kv_hex(json_writer_t *w, const char *name, uint64_t v) {
    char text[17];
    snprintf(text, sizeof text, "%016" PRIx64, v);
    jw_kv_str(w, name, text);
}

static void print_sources(json_writer_t *w, const manifest_t *m) {
    jw_name(w, "sources");
    jw_array(w);
    for (int i = 0; i < m->nsources; i++) {
        jw_object(w);
        kv_hex(w, "fingerprint", m->sources[i].fingerprint);
        jw_name(w, "splits");
        jw_array(w);
        for (int j = 0; j < m->sources[i].splits.n; j++) {
            const split_t *s = &m->sources[i].splits.items[j];
            jw_object(w);
            jw_kv_str(w, "id", s->id);
            jw_kv_i64(w, "position", s->position);
            jw_kv_i64(w, "end", s->end);
            jw_kv_i64(w, "watermark", s->watermark);
            jw_kv_bool(w, "idle", s->idle);
            jw_kv_bool(w, "ended", s->ended);
            if (s->mark) kv_hex(w, "mark", s->mark);
            jw_end_object(w);
        }
        jw_end_array(w);
        jw_end_object(w);
    }
    jw_end_array(w);
}

static void print_stages_lanes(json_writer_t *w, const manifest_t *m) {
    jw_name(w, "stages");
    jw_array(w);
    for (int i = 0; i < m->nstages; i++) {
        jw_object(w);
        jw_kv_i64(w, "stage", m->stages[i].stage);
        jw_kv_i64(w, "watermark", m->stages[i].watermark);
        jw_end_object(w);
    }
    jw_end_array(w);
    jw_name(w, "lanes");
    jw_array(w);
    for (int i = 0; i < m->nlanes; i++) {
        const lane_pos_t *l = &m->lanes[i];
        jw_object(w);
        kv_hex(w, "fingerprint", l->fingerprint);
        jw_kv_i64(w, "lane", l->lane);
        jw_kv_u64(w, "published", l->published);
        jw_kv_u64(w, "last_rows", l->last_rows);
        if (l->started) jw_kv_bool(w, "started", true);
        if (l->had) kv_hex(w, "had", l->had);
        if (l->had) jw_kv_u64(w, "had_upto", l->had_upto);
        jw_end_object(w);
    }
    jw_end_array(w);
}

static void print_files(json_writer_t *w, const manifest_t *m) {
    jw_name(w, "extents");
    jw_array(w);
    for (int i = 0; i < m->nextents; i++) {
        const extent_t *e = &m->extents[i];
        jw_object(w);
        jw_kv_str(w, "path", e->path);
        jw_kv_u64(w, "from", e->from);
        jw_kv_u64(w, "to", e->to);
        jw_kv_u64(w, "first", e->first);
        jw_kv_u64(w, "last", e->last);
        jw_kv_u64(w, "crc", e->crc);
        jw_end_object(w);
    }
    jw_end_array(w);
    jw_name(w, "bases");
    jw_array(w);
    for (int i = 0; i < m->nbases; i++) {
        const base_t *b = &m->bases[i];
        jw_object(w);
        jw_kv_str(w, "worker", b->worker);
        jw_kv_u64(w, "epoch", b->epoch);
        jw_name(w, "files");
        jw_array(w);
        for (int j = 0; j < b->nfiles; j++) {
            jw_object(w);
            jw_kv_str(w, "path", b->files[j].path);
            jw_kv_str(w, "name", b->files[j].name);
            jw_kv_u64(w, "size", b->files[j].size);
            jw_kv_u64(w, "crc", b->files[j].crc);
            jw_end_object(w);
        }
        jw_end_array(w);
        jw_end_object(w);
    }
    jw_end_array(w);
}

/* Told only when there is something to tell: so a manifest that keeps none is what earlier builds wrote and read. */
static void print_older(json_writer_t *w, const manifest_t *m) {
    if (m->nolder) {
        jw_name(w, "older");
        jw_array(w);
        for (int i = 0; i < m->nolder; i++) {
            jw_object(w);
            jw_kv_u64(w, "leader", m->older[i].leader);
            jw_kv_u64(w, "attempt", m->older[i].attempt);
            jw_kv_u64(w, "epoch", m->older[i].epoch);
            jw_end_object(w);
        }
        jw_end_array(w);
    }
    if (!m->fell.times) return;
    jw_name(w, "fell_back");
    jw_object(w);
    jw_kv_u64(w, "times", m->fell.times);
    jw_kv_u64(w, "from", m->fell.from);
    jw_kv_u64(w, "to", m->fell.to);
    jw_end_object(w);
}

/* What a build before these fields would take for damage has a number of its own. */
static int version_of(const manifest_t *m) {
    if (m->root) return MANIFEST_VERSION;
    for (int i = 0; i < m->nlanes; i++)
        if (m->lanes[i].had) return 3;
    return m->nolder || m->family || m->fell.times ? 2 : 1;
}
static int first_version(void) { return 1 + MANIFEST_VERSION * version_shift(); }

static void print_as(buf_t *out, const manifest_t *m, int version) {
    size_t begin = out->len;
    json_writer_t w = json_writer(out);
    jw_object(&w);
    jw_kv_i64(&w, "tidegate_manifest", version);
    kv_hex(&w, "job", m->job);
    jw_kv_str(&w, "name", m->name ? m->name : "");
    kv_hex(&w, "incarnation", m->incarnation);
    jw_kv_u64(&w, "leader", m->leader);
    jw_kv_u64(&w, "attempt", m->attempt);
    jw_kv_u64(&w, "epoch", m->epoch);
    jw_kv_u64(&w, "previous", m->previous);
    jw_kv_u64(&w, "started", m->started);
    if (m->origin) kv_hex(&w, "origin", m->origin);
    if (m->family) kv_hex(&w, "family", m->family);
    if (m->root) kv_hex(&w, "root", m->root);
    if (m->forced) jw_kv_bool(&w, "forced", true);
    kv_hex(&w, "plan_hash", m->plan_hash);
    jw_kv_i64(&w, "parallelism", m->parallelism);
    jw_kv_i64(&w, "processing_ms", m->processing_ms);
    jw_kv_bool(&w, "final", m->final);
    print_sources(&w, m);
    print_stages_lanes(&w, m);
    print_files(&w, m);
    print_older(&w, m);
    uint32_t crc = out->overflow ? 0 : crc32c(0, out->data + begin, out->len - begin);
    char text[9];
    snprintf(text, sizeof text, "%08" PRIx32, crc);
    jw_kv_str(&w, "checksum", text);
    jw_end_object(&w);
}

void manifest_print(buf_t *out, const manifest_t *m) { print_as(out, m, first_version() + version_of(m) - 1); }

/* ---------------------------------------------------------------- parse */
/* Reads strictly: a field that is absent, of another kind or out of range sets `bad` to its name, once. */
typedef struct fields { const char *bad; } fields_t;

static void set_bad(fields_t *f, const char *name) {
    if (!f->bad) f->bad = name;
}

static char *f_str(fields_t *f, const json_t *o, const char *name) {
    const json_t *v = json_get(o, name);
    if (!v || v->kind != JSON_STRING || strlen(v->text) != v->len) {
        set_bad(f, name);
        return xstrdup("");
    }
    return xstrdup(v->text);
}

static uint64_t f_u64(fields_t *f, const json_t *o, const char *name) {
    const json_t *v = json_get(o, name);
    char *end = NULL;
    errno = 0;
    bool digits = v && v->kind == JSON_NUMBER && v->text[0] >= '0' && v->text[0] <= '9';
    uint64_t n = digits ? strtoull(v->text, &end, 10) : 0;
    if (!digits || errno || *end) set_bad(f, name);
    return n;
}

static int64_t f_i64(fields_t *f, const json_t *o, const char *name) {
    const json_t *v = json_get(o, name);
    char *end = NULL;
    errno = 0;
    int64_t n = v && v->kind == JSON_NUMBER ? strtoll(v->text, &end, 10) : 0;
    if (!end || errno || *end) set_bad(f, name);
    return n;
}

static int f_int(fields_t *f, const json_t *o, const char *name) {
    int64_t n = f_i64(f, o, name);
    if (n < 0 || n > INT32_MAX) set_bad(f, name);
    return (int)n;
}

static uint32_t f_u32(fields_t *f, const json_t *o, const char *name) {
    uint64_t n = f_u64(f, o, name);
    if (n > UINT32_MAX) set_bad(f, name);
    return (uint32_t)n;
}

static bool f_bool(fields_t *f, const json_t *o, const char *name) {
    const json_t *v = json_get(o, name);
    if (!v || v->kind != JSON_BOOL) set_bad(f, name);
    return v && v->kind == JSON_BOOL && v->boolean;
}

static uint64_t f_hex(fields_t *f, const json_t *o, const char *name) {
    const json_t *v = json_get(o, name);
    char *end = NULL;
    uint64_t n = v && v->kind == JSON_STRING && v->len == 16 ? strtoull(v->text, &end, 16) : 0;
    if (!end || *end) set_bad(f, name);
    return n;
}

static const json_t *f_array(fields_t *f, const json_t *o, const char *name) {
    static const json_t empty = {.kind = JSON_ARRAY};
    const json_t *v = json_get(o, name);
    if (v && v->kind == JSON_ARRAY && v->n <= COUNT_MAX) return v;
    set_bad(f, name);
    return &empty;
}

static void parse_sources(fields_t *f, const json_t *o, manifest_t *m) {
    const json_t *a = f_array(f, o, "sources");
    for (int i = 0; i < a->n && !f->bad; i++) {
        uint64_t fingerprint = f_hex(f, a->items[i], "fingerprint");
        const json_t *s = f_array(f, a->items[i], "splits");
        split_list_t list = {0};
        for (int j = 0; j < s->n && !f->bad; j++) {
            const json_t *x = s->items[j];
            split_t split = {f_str(f, x, "id"),        f_i64(f, x, "position"), f_i64(f, x, "end"),
                             f_i64(f, x, "watermark"), f_bool(f, x, "idle"),    f_bool(f, x, "ended"),
                             json_get(x, "mark") ? f_hex(f, x, "mark") : 0};
            split_list_add(&list, &split);
            free(split.id);
        }
        manifest_set_source(m, fingerprint, &list);
        split_list_free(&list);
    }
}

static void parse_stages_lanes(fields_t *f, const json_t *o, manifest_t *m) {
    const json_t *a = f_array(f, o, "stages");
    m->stages = xcalloc((size_t)a->n + 1, sizeof *m->stages);
    for (; m->nstages < a->n && !f->bad; m->nstages++) {
        const json_t *x = a->items[m->nstages];
        m->stages[m->nstages] = (stage_pos_t){f_int(f, x, "stage"), f_i64(f, x, "watermark")};
    }
    a = f_array(f, o, "lanes");
    m->lanes = xcalloc((size_t)a->n + 1, sizeof *m->lanes);
    for (; m->nlanes < a->n && !f->bad; m->nlanes++) {
        const json_t *x = a->items[m->nlanes];
        bool had = json_get(x, "had");
        m->lanes[m->nlanes] = (lane_pos_t){f_hex(f, x, "fingerprint"), f_int(f, x, "lane"), f_u64(f, x, "published"),
                                           f_u64(f, x, "last_rows"), json_get(x, "started") && f_bool(f, x, "started"),
                                           had ? f_hex(f, x, "had") : 0, had ? f_u64(f, x, "had_upto") : 0};
    }
}

static void parse_extents(fields_t *f, const json_t *o, manifest_t *m) {
    const json_t *a = f_array(f, o, "extents");
    m->extents = xcalloc((size_t)a->n + 1, sizeof *m->extents);
    for (int i = 0; i < a->n && !f->bad; i++) {
        const json_t *x = a->items[i];
        extent_t *e = &m->extents[m->nextents++];
        *e = (extent_t){f_str(f, x, "path"),  f_u64(f, x, "from"), f_u64(f, x, "to"),
                        f_u64(f, x, "first"), f_u64(f, x, "last"), f_u32(f, x, "crc")};
        if (e->from >= e->to || e->first > e->last) set_bad(f, "extents");
    }
}

static void parse_bases(fields_t *f, const json_t *o, manifest_t *m) {
    const json_t *a = f_array(f, o, "bases");
    m->bases = xcalloc((size_t)a->n + 1, sizeof *m->bases);
    for (int i = 0; i < a->n && !f->bad; i++) {
        base_t *b = &m->bases[m->nbases++];
        b->worker = f_str(f, a->items[i], "worker");
        b->epoch = f_u64(f, a->items[i], "epoch");
        const json_t *files = f_array(f, a->items[i], "files");
        b->files = xcalloc((size_t)files->n + 1, sizeof *b->files);
        for (; b->nfiles < files->n && !f->bad; b->nfiles++) {
            const json_t *x = files->items[b->nfiles];
            base_file_t *file = &b->files[b->nfiles];
            *file = (base_file_t){f_str(f, x, "path"), f_str(f, x, "name"), f_u64(f, x, "size"), f_u32(f, x, "crc")};
            if (file->name[0] == '\0' || strchr(file->name, '/') || strcmp(file->name, "..") == 0) set_bad(f, "name");
        }
    }
}

static void parse_older(fields_t *f, const json_t *o, manifest_t *m) {
    const json_t *a = json_get(o, "older") ? f_array(f, o, "older") : NULL;
    if (a) m->older = xcalloc((size_t)a->n + 1, sizeof *m->older);
    for (; a && m->nolder < a->n && !f->bad; m->nolder++) {
        const json_t *x = a->items[m->nolder];
        m->older[m->nolder] = (older_t){f_u64(f, x, "leader"), f_u64(f, x, "attempt"), f_u64(f, x, "epoch")};
    }
    const json_t *fell = json_get(o, "fell_back");
    if (!fell) return;
    m->fell.times = f_u64(f, fell, "times");
    m->fell.from = f_u64(f, fell, "from");
    m->fell.to = f_u64(f, fell, "to");
}

static void parse_fields(fields_t *f, const json_t *o, manifest_t *m) {
    m->job = f_hex(f, o, "job");
    m->name = f_str(f, o, "name");
    m->incarnation = f_hex(f, o, "incarnation");
    m->leader = f_u64(f, o, "leader");
    m->attempt = f_u64(f, o, "attempt");
    m->epoch = f_u64(f, o, "epoch");
    m->previous = f_u64(f, o, "previous");
    m->started = f_u64(f, o, "started");
    m->origin = json_get(o, "origin") ? f_hex(f, o, "origin") : 0;
    m->family = json_get(o, "family") ? f_hex(f, o, "family") : 0;
    m->root = json_get(o, "root") ? f_hex(f, o, "root") : 0;
    m->forced = json_get(o, "forced") && f_bool(f, o, "forced");
    m->plan_hash = f_hex(f, o, "plan_hash");
    m->parallelism = f_int(f, o, "parallelism");
    m->processing_ms = f_i64(f, o, "processing_ms");
    m->final = f_bool(f, o, "final");
    parse_sources(f, o, m);
    parse_stages_lanes(f, o, m);
    parse_extents(f, o, m);
    parse_bases(f, o, m);
    parse_older(f, o, m);
}

/* Of its own version: there were builds that wrote these fields under number 1. */
static err_t *check_canonical(const manifest_t *m, int version, slice_t text) {
    buf_t again = buf_make(BUF_MAX_DEFAULT);
    print_as(&again, m, version);
    bool same = slice_eq(buf_slice(&again), text);
    buf_free(&again);
    return same ? NULL : err_new(ERR_CORRUPT, "manifest: wrong checksum, or not the text that was written");
}

err_t *manifest_parse(slice_t text, manifest_t **ret) {
    while (text.len && (text.p[text.len - 1] == '\n' || text.p[text.len - 1] == '\r')) text.len--;
    arena_t *a = arena_new();
    json_t *o = NULL;
    manifest_t *m = NULL;
    err_t *e = json_parse(a, text, &o);
    if (e) {
        err_t *corrupt = err_new(ERR_CORRUPT, "manifest: %s", err_text(e));
        err_free(e);
        e = corrupt;
    } else if (o->kind != JSON_OBJECT || json_i64(o, "tidegate_manifest", 0) <= 0) {
        e = err_new(ERR_CORRUPT, "manifest: this is not a manifest");
    } else if (json_i64(o, "tidegate_manifest", 0) < first_version() || json_i64(o, "tidegate_manifest", 0) >= first_version() + MANIFEST_VERSION) {
        e = err_hint(err_new(ERR_VERSION, "manifest of version %" PRId64 ": this build reads versions %d to %d",
                             json_i64(o, "tidegate_manifest", 0), first_version(), first_version() + MANIFEST_VERSION - 1),
                     "start the job with the build that wrote it, or a newer one");
    } else {
        fields_t f = {0};
        m = manifest_new();
        parse_fields(&f, o, m);
        e = f.bad ? err_new(ERR_CORRUPT, "manifest: field '%s' is missing or malformed", f.bad) : check_canonical(m, (int)json_i64(o, "tidegate_manifest", 0), text);
    }
    arena_free(a);
    if (!e) *ret = TAKE(m);
    manifest_free(m);
    return e;
}
