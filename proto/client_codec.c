#include "proto/codec_int.h"
#include <stdlib.h>

static err_t *check_version(uint32_t v) {
    if (v >= CONTROL_VERSION_MIN && v <= CONTROL_VERSION_MAX) return NULL;
    return err_hint(err_new(ERR_VERSION, "client message of version %u, this build speaks %d to %d", v, CONTROL_VERSION_MIN,
                            CONTROL_VERSION_MAX),
                    "use a client of the cluster's version");
}

void client_request_encode(buf_t *out, const client_request_t *r) {
    arena_t *a = arena_new();
    Tidegate__ClientRequest p = TIDEGATE__CLIENT_REQUEST__INIT;
    p.version = CONTROL_VERSION_MAX;
    p.op = (uint32_t)r->op;
    p.job = r->job;
    p.job_name = pb_text(r->job_name);
    p.spec = r->op == CLIENT_SUBMIT ? pb_spec(a, &r->spec) : NULL;
    p.from = pb_text(r->from);
    p.new_ledger = r->new_ledger;
    p.accept_duplicates = r->accept_duplicates;
    p.wait_ms = r->wait_ms;
    pb_pack(out, &p.base);
    arena_free(a);
}

err_t *client_request_decode(slice_t bytes, client_request_t **ret) {
    Tidegate__ClientRequest *p = tidegate__client_request__unpack(NULL, bytes.len, bytes.p);
    if (!p) return err_new(ERR_CORRUPT, "%zu bytes are no client request", bytes.len);
    err_t *e = check_version(p->version);
    if (!e && (p->op < CLIENT_SUBMIT || p->op > CLIENT_FORGET)) e = err_new(ERR_CORRUPT, "unknown client request %u", p->op);
    if (!e && p->op == CLIENT_SUBMIT && !p->spec) e = err_new(ERR_CORRUPT, "submit without a job");
    if (!e) {
        client_request_t *r = xcalloc(1, sizeof *r);
        r->op = (client_op_t)p->op;
        r->job = p->job;
        r->job_name = pb_copy_or_null(p->job_name);
        r->spec = pb_read_spec(p->spec);
        r->from = pb_copy_or_null(p->from);
        r->new_ledger = p->new_ledger;
        r->accept_duplicates = p->accept_duplicates;
        r->wait_ms = p->wait_ms;
        *ret = r;
    }
    tidegate__client_request__free_unpacked(p, NULL);
    return e;
}

void client_reply_encode(buf_t *out, const client_reply_t *r) {
    arena_t *a = arena_new();
    Tidegate__ClientReply p = TIDEGATE__CLIENT_REPLY__INIT;
    p.version = CONTROL_VERSION_MAX;
    p.error = pb_error(a, r->error);
    p.json.data = r->json.data;
    p.json.len = r->json.len;
    pb_pack(out, &p.base);
    arena_free(a);
}

err_t *client_reply_decode(slice_t bytes, client_reply_t *ret) {
    Tidegate__ClientReply *p = tidegate__client_reply__unpack(NULL, bytes.len, bytes.p);
    if (!p) return err_new(ERR_CORRUPT, "%zu bytes are no reply", bytes.len);
    err_t *e = check_version(p->version);
    if (!e) {
        *ret = (client_reply_t){.error = pb_read_error(p->error)};
        buf_put(&ret->json, p->json.data, p->json.len);
    }
    tidegate__client_reply__free_unpacked(p, NULL);
    return e;
}
