/* fuzz_control.c: control messages and client requests from hostile bytes: decoding never crashes, leaks or reads outside, and what was decoded
 * encodes and prints. libFuzzer: compile with -DFUZZER and -fsanitize=fuzzer; else `fuzz_control SEED ROUNDS`. */
#include "common/clock.h"
#include "proto/control.h"
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    ctl_msg_t *m = NULL;
    err_t *e = ctl_decode(slice_of(data, size), &m);
    if (!e) {
        buf_t out = buf_make(0);
        ctl_encode(&out, m);
        ctl_print(&out, m);
        ctl_msg_t *copy = ctl_copy(m);
        ctl_free(copy);
        buf_free(&out);
        ctl_free(m);
    }
    err_free(e);
    client_request_t *r = NULL;
    e = client_request_decode(slice_of(data, size), &r);
    if (!e) client_request_free(r);
    err_free(e);
    client_reply_t reply = {0};
    e = client_reply_decode(slice_of(data, size), &reply);
    if (!e) client_reply_free(&reply);
    err_free(e);
    return 0;
}

#ifndef FUZZER
static void seed_message(buf_t *out, uint64_t which) {
    static const ctl_kind_t kinds[] = {CTL_REGISTER, CTL_HEARTBEAT, CTL_ACK, CTL_DEPLOY, CTL_WELCOME, CTL_ADD_SPLITS, CTL_BASE_DONE, CTL_FAILED};
    ctl_msg_t *m = ctl_new(kinds[which % ARRAY_LEN(kinds)]);
    m->leader = 3;
    m->job = 77;
    m->attempt = 2;
    m->epoch = 9;
    m->error = err_hint(err_new(ERR_DATA, "bad"), "hint");
    if (m->kind == CTL_REGISTER) {
        m->reg.name = xstrdup("w1");
        m->reg.address = xstrdup("127.0.0.1:1");
        m->reg.slots = 2;
    } else if (m->kind == CTL_ACK) {
        m->ack.extent = (extent_t){xstrdup("jobs/1/a.log"), 0, 100, 9, 9, 1};
        m->ack.nsources = 1;
        m->ack.sources = xcalloc(1, sizeof *m->ack.sources);
        split_t s = {.id = (char *)"events-0", .position = 5, .end = -1, .watermark = -1};
        split_list_add(&m->ack.sources[0].splits, &s);
    } else if (m->kind == CTL_DEPLOY) {
        m->deploy.spec.name = xstrdup("job");
        m->deploy.spec.sql = xstrdup("SELECT 1");
        m->deploy.nworkers = 1;
        m->deploy.workers = xcalloc(1, sizeof *m->deploy.workers);
        m->deploy.workers[0] = (ctl_peer_t){xstrdup("w1"), xstrdup("127.0.0.1:1")};
        m->deploy.ntasks = 1;
        m->deploy.tasks = xcalloc(1, sizeof *m->deploy.tasks);
        m->deploy.manifest = manifest_new();
    }
    ctl_encode(out, m);
    ctl_free(m);
}

int main(int argc, char **argv) {
    rng_t r;
    rng_seed(&r, argc > 1 ? strtoull(argv[1], NULL, 10) : 1);
    uint64_t rounds = argc > 2 ? strtoull(argv[2], NULL, 10) : 20000;
    for (uint64_t i = 0; i < rounds; i++) {
        buf_t b = buf_make(1 << 20);
        seed_message(&b, i);
        for (uint64_t k = rng_below(&r, 6); i >= 8 && k > 0 && b.len; k--) b.data[rng_below(&r, b.len)] = (uint8_t)rng_next(&r);
        if (i >= 8 && b.len && !rng_below(&r, 4)) b.len = rng_below(&r, b.len + 1);
        LLVMFuzzerTestOneInput(b.data, b.len);
        buf_free(&b);
    }
    return 0;
}
#endif
