#include "coordinator/etcd_api.h"
#include "common/base64.h"
#include <stdlib.h>

/* gRPC status codes, which the gateway repeats in the body of an error. */
enum { GRPC_INVALID = 3, GRPC_NOT_FOUND = 5, GRPC_DENIED = 7, GRPC_EXHAUSTED = 8, GRPC_PRECONDITION = 9, GRPC_RANGE = 11,
       GRPC_UNIMPLEMENTED = 12, GRPC_UNAUTHENTICATED = 16 };

static err_t *refusal(int status, slice_t body, const json_t *o, bool *ret_certain) {
    const char *text = json_str(o, "message", json_str(o, "error", NULL));
    int code = (int)json_i64(o, "code", 0);
    AUTO(auto_free) char *raw = xstrndup((const char *)body.p, MIN(body.len, (size_t)200));
    if (!text) text = raw;
    *ret_certain = true;
    switch (code) {
    case GRPC_INVALID: case GRPC_PRECONDITION: case GRPC_RANGE: case GRPC_UNIMPLEMENTED:
        return err_new(strstr(text, "too large") ? ERR_LIMIT : ERR_INVALID, "etcd: %s", text);
    case GRPC_NOT_FOUND: return err_new(ERR_NOT_FOUND, "etcd: %s", text);
    case GRPC_DENIED: case GRPC_UNAUTHENTICATED: return err_new(ERR_DENIED, "etcd: %s", text);
    case GRPC_EXHAUSTED:
        if (!strstr(text, "space exceeded")) return err_new(ERR_UNAVAILABLE, "etcd: %s", text);
        return err_hint(err_new(ERR_NO_SPACE, "etcd: %s", text), "defragment it and clear the alarm: etcdctl defrag; etcdctl alarm disarm");
    default: break;
    }
    *ret_certain = status == 404 && !o; /* not etcd at all */
    return err_new(ERR_UNAVAILABLE, "etcd answers %d: %s", status, text);
}

static slice_t decode(arena_t *a, const char *text) {
    buf_t b = buf_make(BUF_MAX_DEFAULT);
    slice_t r = {0};
    if (text && base64_read(&b, slice_str(text))) r = slice_of(arena_strndup(a, (const char *)b.data, b.len), b.len);
    buf_free(&b);
    return r;
}

static void add_kvs(arena_t *a, etcd_answer_t *r, const json_t *range) {
    const json_t *kvs = json_get(range, "kvs");
    if (!kvs || kvs->kind != JSON_ARRAY || !kvs->n) return;
    etcd_kv_t *all = arena_zalloc(a, sizeof *all * (size_t)(r->nkvs + kvs->n));
    if (r->nkvs) memcpy(all, r->kvs, sizeof *all * (size_t)r->nkvs);
    for (int i = 0; i < kvs->n; i++) {
        const json_t *kv = kvs->items[i];
        slice_t key = decode(a, json_str(kv, "key", ""));
        all[r->nkvs++] = (etcd_kv_t){.key = key.p ? (const char *)key.p : "", .value = decode(a, json_str(kv, "value", "")),
                                     .create = json_i64(kv, "create_revision", 0), .mod = json_i64(kv, "mod_revision", 0),
                                     .lease = json_i64(kv, "lease", 0)};
    }
    r->kvs = all;
}

err_t *etcd_answer_parse(arena_t *a, int status, slice_t body, etcd_answer_t *ret, bool *ret_certain) {
    *ret = (etcd_answer_t){0};
    *ret_certain = false;
    json_t *o = NULL;
    err_t *e = json_parse(a, body, &o);
    if (e || o->kind != JSON_OBJECT) o = NULL;
    err_free(e);
    if (status != 200) return refusal(status, body, o, ret_certain);
    if (!o) return err_new(ERR_CORRUPT, "the answer is not etcd's: no JSON object");
    const json_t *result = json_get(o, "result"); /* keep-alive is a stream of one */
    if (json_get(o, "error")) return refusal(status, body, json_get(o, "error"), ret_certain);
    if (result) o = (json_t *)result;
    if (!json_get(o, "header")) return err_new(ERR_CORRUPT, "the answer is not etcd's: no header");
    ret->revision = json_i64(json_get(o, "header"), "revision", 0);
    ret->succeeded = json_bool(o, "succeeded", false);
    ret->more = json_bool(o, "more", false);
    ret->lease = json_i64(o, "ID", 0);
    ret->ttl = json_i64(o, "TTL", 0);
    add_kvs(a, ret, o);
    const json_t *responses = json_get(o, "responses");
    for (int i = 0; responses && responses->kind == JSON_ARRAY && i < responses->n; i++)
        add_kvs(a, ret, json_get(responses->items[i], "response_range"));
    return NULL;
}

const etcd_kv_t *etcd_find(const etcd_answer_t *a, const char *key) {
    for (int i = 0; i < a->nkvs; i++)
        if (strcmp(a->kvs[i].key, key) == 0) return &a->kvs[i];
    return NULL;
}

static void kv_bytes(json_writer_t *w, const char *name, slice_t bytes) {
    buf_t b = buf_make(BUF_MAX_DEFAULT);
    base64_put(&b, bytes);
    jw_name(w, name);
    jw_strn(w, (const char *)b.data, b.len);
    buf_free(&b);
}

/* The end of all keys with this prefix: its last byte raised (ours end in '/'). */
static void kv_prefix_end(json_writer_t *w, const char *prefix) {
    AUTO(auto_free) char *end = xstrdup(prefix);
    end[strlen(end) - 1]++;
    kv_bytes(w, "range_end", slice_str(end));
}

etcd_txn_t etcd_txn(buf_t *out) {
    etcd_txn_t t = {json_writer(out)};
    jw_object(&t.w);
    jw_name(&t.w, "compare");
    jw_array(&t.w);
    return t;
}

static void compare(etcd_txn_t *t, const char *key, const char *target, const char *field, int64_t revision) {
    jw_object(&t->w);
    kv_bytes(&t->w, "key", slice_str(key));
    jw_kv_str(&t->w, "target", target);
    jw_kv_str(&t->w, "result", "EQUAL");
    jw_kv_i64(&t->w, field, revision);
    jw_end_object(&t->w);
}
void etcd_compare_create(etcd_txn_t *t, const char *key, int64_t revision) { compare(t, key, "CREATE", "create_revision", revision); }
void etcd_compare_mod(etcd_txn_t *t, const char *key, int64_t revision) { compare(t, key, "MOD", "mod_revision", revision); }

static void section(etcd_txn_t *t, const char *name) {
    jw_end_array(&t->w);
    jw_name(&t->w, name);
    jw_array(&t->w);
}
void etcd_then(etcd_txn_t *t) { section(t, "success"); }
void etcd_else(etcd_txn_t *t) { section(t, "failure"); }
void etcd_end(etcd_txn_t *t) {
    jw_end_array(&t->w);
    jw_end_object(&t->w);
}

static void operation(etcd_txn_t *t, const char *name, const char *key) {
    jw_object(&t->w);
    jw_name(&t->w, name);
    jw_object(&t->w);
    kv_bytes(&t->w, "key", slice_str(key));
}
static void operation_end(etcd_txn_t *t) {
    jw_end_object(&t->w);
    jw_end_object(&t->w);
}
void etcd_put(etcd_txn_t *t, const char *key, slice_t value, int64_t lease) {
    operation(t, "request_put", key);
    kv_bytes(&t->w, "value", value);
    if (lease) jw_kv_i64(&t->w, "lease", lease);
    operation_end(t);
}
void etcd_get(etcd_txn_t *t, const char *key) {
    operation(t, "request_range", key);
    operation_end(t);
}
void etcd_delete_prefix(etcd_txn_t *t, const char *prefix) {
    operation(t, "request_delete_range", prefix);
    kv_prefix_end(&t->w, prefix);
    operation_end(t);
}

void etcd_range_request(buf_t *out, const char *from, const char *prefix, int limit) {
    json_writer_t w = json_writer(out);
    jw_object(&w);
    kv_bytes(&w, "key", slice_str(from));
    kv_prefix_end(&w, prefix);
    jw_kv_i64(&w, "limit", limit);
    jw_end_object(&w);
}
