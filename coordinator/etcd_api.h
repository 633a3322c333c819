/* etcd_api.h: the texts of etcd's v3 JSON gateway: requests are written, answers parsed; no I/O. What is odd about it: bytes are base64,
 * 64-bit integers come as strings, and a field that is zero, false or empty is absent (a failed transaction has no "succeeded", a dead
 * lease's keep-alive no "TTL"). */
#pragma once
#include "common/json.h"

typedef struct etcd_kv {
    const char *key;   /* NUL-terminated */
    slice_t value;
    int64_t create, mod, lease; /* revisions; lease 0: none */
} etcd_kv_t;

/* Everything lives in the arena it was parsed into. */
typedef struct etcd_answer {
    int64_t revision;      /* of the store, when it answered */
    bool succeeded, more;  /* txn; range */
    int64_t lease, ttl;    /* grant, keep-alive; ttl 0: the lease is dead */
    int nkvs;
    etcd_kv_t *kvs;        /* of a range, or of all ranges of a txn's branch in their order */
} etcd_answer_t;

/* ret_certain, set with an error: the request surely had no effect. ERR_NO_SPACE, ERR_DENIED, ERR_INVALID, ERR_NOT_FOUND (a lease),
 * ERR_LIMIT for what etcd refuses; ERR_UNAVAILABLE for what passes; ERR_CORRUPT for what is no answer of etcd. */
err_t *etcd_answer_parse(arena_t *a, int status, slice_t body, etcd_answer_t *ret, bool *ret_certain);
const etcd_kv_t *etcd_find(const etcd_answer_t *a, const char *key); /* NULL when absent */

/* A transaction, written in this order: compares, etcd_then, operations, etcd_else, operations, etcd_end. */
typedef struct etcd_txn { json_writer_t w; } etcd_txn_t;
etcd_txn_t etcd_txn(buf_t *out);
void etcd_compare_create(etcd_txn_t *t, const char *key, int64_t revision); /* 0: the key is absent */
void etcd_compare_mod(etcd_txn_t *t, const char *key, int64_t revision);    /* 0: the key is absent */
void etcd_then(etcd_txn_t *t);
void etcd_else(etcd_txn_t *t);
void etcd_end(etcd_txn_t *t);
void etcd_put(etcd_txn_t *t, const char *key, slice_t value, int64_t lease);
void etcd_get(etcd_txn_t *t, const char *key);
void etcd_delete_prefix(etcd_txn_t *t, const char *prefix);

/* /v3/kv/range: keys from `from` to the end of `prefix`, at most `limit`. */
void etcd_range_request(buf_t *out, const char *from, const char *prefix, int limit);
