/* meta_store.c: what all metadata stores share: the texts. */
#include "coordinator/meta_store.h"
#include "common/json.h"
#include <stdlib.h>

/* As EPOCHS_IN_FLIGHT_MAX of the core, with which it must agree: ids up to last + this may have been injected. */
#define IN_FLIGHT_MAX 4

void meta_pointer_done(meta_pointer_t *p) {
    free(p->path);
    *p = (meta_pointer_t){0};
}

meta_pointer_t meta_pointer_copy(const meta_pointer_t *p) {
    meta_pointer_t r = *p;
    r.path = p->path ? xstrdup(p->path) : NULL;
    return r;
}

bool meta_pointer_eq(const meta_pointer_t *a, const meta_pointer_t *b) {
    return a->incarnation == b->incarnation && a->leader == b->leader && a->attempt == b->attempt && a->epoch == b->epoch;
}

void meta_pointer_print(buf_t *out, const meta_pointer_t *p) {
    json_writer_t w = json_writer(out);
    jw_object(&w);
    jw_kv_i64(&w, "v", 1);
    jw_kv_u64(&w, "incarnation", p->incarnation);
    jw_kv_u64(&w, "leader", p->leader);
    jw_kv_u64(&w, "attempt", p->attempt);
    jw_kv_u64(&w, "epoch", p->epoch);
    jw_kv_u64(&w, "crc", p->crc);
    jw_kv_str(&w, "path", p->path);
    jw_end_object(&w);
}

static uint64_t get_u64(const json_t *o, const char *name) {
    const json_t *v = json_get(o, name);
    return v && v->kind == JSON_NUMBER ? strtoull(v->text, NULL, 10) : 0;
}

static err_t *parse(arena_t *a, slice_t text, const char *what, json_t **ret) {
    err_t *e = json_parse(a, text, ret);
    if (e) {
        err_t *corrupt = err_new(ERR_CORRUPT, "%s: %s", what, err_text(e));
        err_free(e);
        return corrupt;
    }
    int64_t v = json_i64(*ret, "v", 0);
    if (v == 1) return NULL;
    return v > 1 ? err_new(ERR_VERSION, "%s of version %" PRId64 "; this program reads 1", what, v)
                 : err_new(ERR_CORRUPT, "%s without a version", what);
}

err_t *meta_pointer_parse(slice_t text, meta_pointer_t *ret) {
    AUTO(arena_freep) arena_t *a = arena_new();
    json_t *o = NULL;
    TRY(parse(a, text, "manifest pointer", &o));
    const char *path = json_str(o, "path", NULL);
    if (!path || get_u64(o, "attempt") == 0) return err_new(ERR_CORRUPT, "manifest pointer without path or attempt");
    *ret = (meta_pointer_t){.incarnation = get_u64(o, "incarnation"), .leader = get_u64(o, "leader"), .attempt = get_u64(o, "attempt"),
                            .epoch = get_u64(o, "epoch"), .crc = (uint32_t)get_u64(o, "crc"), .path = xstrdup(path)};
    return NULL;
}

meta_attempt_t meta_attempt_raise(meta_attempt_t now, const meta_pointer_t *last, attempt_t above) {
    if (now.attempt == 0) return (meta_attempt_t){above + 1, 0};
    epoch_t durable = last ? last->epoch : 0;
    return (meta_attempt_t){MAX(now.attempt, above) + 1, MAX(now.floor, durable) + IN_FLIGHT_MAX};
}

void meta_attempt_print(buf_t *out, const meta_attempt_t *a) {
    json_writer_t w = json_writer(out);
    jw_object(&w);
    jw_kv_i64(&w, "v", 1);
    jw_kv_u64(&w, "attempt", a->attempt);
    jw_kv_u64(&w, "floor", a->floor);
    jw_end_object(&w);
}

err_t *meta_attempt_parse(slice_t text, meta_attempt_t *ret) {
    AUTO(arena_freep) arena_t *a = arena_new();
    json_t *o = NULL;
    TRY(parse(a, text, "attempt", &o));
    if (get_u64(o, "attempt") == 0) return err_new(ERR_CORRUPT, "attempt without its number");
    *ret = (meta_attempt_t){get_u64(o, "attempt"), get_u64(o, "floor")};
    return NULL;
}

void meta_result_done(meta_result_t *r) {
    err_free(r->error);
    for (int i = 0; i < r->njobs; i++) free(r->records[i]);
    free(r->records);
    meta_pointer_done(&r->last);
    *r = (meta_result_t){0};
}
