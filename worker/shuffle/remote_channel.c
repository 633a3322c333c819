/* remote_channel.c: the two ends of a channel between processes, as tasks see them. */
#include "worker/shuffle/endpoint_int.h"
#include <stdlib.h>

void remote_free(remote_t *r) {
    for (blob_t *b; (b = blob_pop(&r->queue)) != NULL;) blob_give(r->ep, b);
    for (blob_t *b; (b = blob_pop(&r->backlog)) != NULL;) blob_give(r->ep, b);
    buf_free(&r->scratch);
    free(r->peer);
    free(r);
}

static frame_t frame_of(const remote_t *r, frame_kind_t kind) {
    return (frame_t){.kind = kind, .job = r->job, .attempt = r->attempt, .edge = r->edge, .from = r->from, .to = r->to};
}

static void remote_report(remote_t *r, err_t *e) {
    pthread_mutex_lock(&r->ep->lock);
    if (r->open) endpoint_fail(r->ep, r->job, r->attempt, r->peer, e);
    else err_free(e);
    pthread_mutex_unlock(&r->ep->lock);
}

/* ---------------------------------------------------------------- out: the producer's thread */
/* Gives frames to the connection in order, as far as credit reaches. */
static void out_flow(remote_t *r) {
    while (r->backlog.first && (r->backlog.first->cost == 0 || credit_may_send(&r->credit_out))) {
        blob_t *b = blob_pop(&r->backlog);
        if (b->cost) credit_take(&r->credit_out, b->cost);
        if (r->conn) conn_send(r->ep, r->conn, b);
        else blob_give(r->ep, b); /* the link is broken and the attempt is over */
    }
    atomic_store_explicit(&r->full, r->backlog.first || !credit_may_send(&r->credit_out), memory_order_release);
}

static void out_enqueue(remote_t *r, blob_t *b) {
    pthread_mutex_lock(&r->ep->lock);
    if (r->open) {
        blob_push(&r->backlog, b);
        out_flow(r);
    } else {
        blob_give(r->ep, b);
    }
    pthread_mutex_unlock(&r->ep->lock);
}

static void out_control(remote_t *r, frame_t *f, slice_t payload) {
    blob_t *b = blob_take(r->ep, FRAME_HEADER + payload.len);
    f->seq = r->seq + 1;
    err_t *e = frame_encode(&b->bytes, f, payload, false, NULL);
    if (e) {
        blob_give(r->ep, b);
        remote_report(r, e);
        return;
    }
    r->seq++;
    out_enqueue(r, b);
}

/* Encoded where it goes out from, or, to be compressed, into the scratch buffer first. false: too large. */
static bool out_encode(remote_t *r, const batch_t *b, const frame_t *f, buf_t *out) {
    bool compress = r->compress && r->plain == 0, packed = true;
    buf_t *to = compress ? &r->scratch : out;
    buf_clear(to);
    if (!compress) frame_begin(out);
    size_t begin = to->len;
    batch_encode(to, b);
    if (to->overflow || to->len - begin > FRAME_PAYLOAD_MAX) {
        buf_free(&r->scratch);
        r->scratch = buf_make(BUF_MAX_DEFAULT);
        return false;
    }
    err_t *e = compress ? frame_encode(out, f, buf_slice(to), true, &packed) : frame_finish(out, 0, f);
    bool fits = e == NULL;
    err_free(e);
    if (!packed) r->plain = 16; /* does not shrink: leave it for a while */
    else if (r->plain) r->plain--;
    return fits;
}

/* A batch too large for a frame is halved; a row too large for one ends the job: it would be so again. */
static void out_batch_frame(remote_t *r, const batch_t *b) {
    blob_t *blob = blob_take(r->ep, r->last_len);
    frame_t f = frame_of(r, FRAME_BATCH);
    f.rows = b->n;
    f.seq = r->seq + 1;
    if (out_encode(r, b, &f, &blob->bytes)) {
        r->seq++;
        r->last_len = blob->bytes.len;
        blob = blob_fit(r->ep, blob);
        blob->cost = (int64_t)blob->bytes.len;
        out_enqueue(r, blob);
        return;
    }
    blob_give(r->ep, blob);
    if (b->n <= 1) {
        remote_report(r, err_new(ERR_LIMIT, "a row is larger than the %u bytes of a data frame", FRAME_PAYLOAD_MAX));
        return;
    }
    batch_t *lo = batch_slice(b, 0, b->n / 2), *hi = batch_slice(b, b->n / 2, b->n - b->n / 2);
    out_batch_frame(r, lo);
    out_batch_frame(r, hi);
    batch_free(lo);
    batch_free(hi);
}

static bool remote_full(channel_out_t *c) {
    return atomic_load_explicit(&CONTAINER_OF(c, remote_t, out)->full, memory_order_acquire);
}

static void remote_send(channel_out_t *c, element_t el) {
    remote_t *r = CONTAINER_OF(c, remote_t, out);
    frame_t f = frame_of(r, FRAME_IDLE);
    uint8_t flags[4];
    switch (el.kind) {
    case ELEMENT_BATCH:
        out_batch_frame(r, el.batch);
        batch_free(el.batch);
        return;
    case ELEMENT_WATERMARK:
        f.kind = FRAME_WATERMARK;
        f.value = (uint64_t)el.watermark;
        break;
    case ELEMENT_IDLE: break;
    case ELEMENT_BARRIER:
        f.kind = FRAME_BARRIER;
        f.value = el.epoch;
        f.rows = el.rows;
        for (int i = 0; i < 4; i++) flags[i] = (uint8_t)(el.flags >> (8 * i));
        out_control(r, &f, slice_of(flags, 4));
        return;
    case ELEMENT_END: f.kind = FRAME_END; break;
    }
    out_control(r, &f, (slice_t){0});
}

static void remote_close(remote_t *r) {
    endpoint_t *ep = r->ep;
    pthread_mutex_lock(&ep->lock);
    r->closed = true;
    r->wake.fn = NULL;
    bool gone = !r->open;
    pthread_mutex_unlock(&ep->lock);
    if (gone) remote_free(r);
}
static void remote_close_out(channel_out_t *c) { remote_close(CONTAINER_OF(c, remote_t, out)); }

err_t *remote_credit(remote_t *r, uint64_t bytes) {
    if (!credit_give(&r->credit_out, bytes)) return err_new(ERR_CORRUPT, "the peer returned more credit than it was owed");
    bool was = atomic_load(&r->full);
    out_flow(r);
    if (was && !atomic_load(&r->full) && r->wake.fn) r->wake.fn(r->wake.arg);
    return NULL;
}

/* ---------------------------------------------------------------- in: the consumer's thread, but for remote_in_frame */
void remote_in_frame(remote_t *r, blob_t *b) {
    blob_t *last = r->queue.last;
    if (b->frame.kind == FRAME_WATERMARK && last && last->frame.kind == FRAME_WATERMARK) {
        last->frame.value = b->frame.value; /* a consumer held by alignment needs the newest only */
        blob_give(r->ep, b);
        return;
    }
    blob_push(&r->queue, b);
    if (atomic_fetch_add(&r->queued, 1) == 0 && r->wake.fn) r->wake.fn(r->wake.arg);
}

static void give_credit(remote_t *r, uint64_t bytes) {
    frame_t f = frame_of(r, FRAME_CREDIT);
    f.value = bytes;
    blob_t *b = blob_take(r->ep, FRAME_HEADER);
    err_free(frame_encode(&b->bytes, &f, (slice_t){0}, false, NULL)); /* a header fits */
    conn_send(r->ep, r->conn, b);
}

static blob_t *in_pop(remote_t *r) {
    pthread_mutex_lock(&r->ep->lock);
    blob_t *b = blob_pop(&r->queue);
    if (b) {
        atomic_fetch_sub(&r->queued, 1);
        if (b->frame.kind == FRAME_BATCH) {
            int64_t give = credit_consumed(&r->credit_in, (int64_t)b->frame.length + FRAME_HEADER, r->queue.first == NULL);
            if (give && r->conn && r->open) give_credit(r, (uint64_t)give);
        }
    }
    pthread_mutex_unlock(&r->ep->lock);
    return b;
}

static err_t *in_element(remote_t *r, const blob_t *b, element_t *ret) {
    const frame_t *f = &b->frame;
    *ret = (element_t){.kind = ELEMENT_IDLE};
    switch (f->kind) {
    case FRAME_BATCH: {
        slice_t raw;
        TRY(frame_payload(f, buf_slice(&b->bytes), &r->scratch, &raw));
        ret->kind = ELEMENT_BATCH;
        return batch_decode(raw, r->schema, &ret->batch);
    }
    case FRAME_WATERMARK:
        ret->kind = ELEMENT_WATERMARK;
        ret->watermark = (int64_t)f->value;
        return NULL;
    case FRAME_BARRIER:
        ret->kind = ELEMENT_BARRIER;
        ret->epoch = f->value;
        ret->rows = f->rows;
        for (int k = 0; k < 4; k++) ret->flags |= (uint32_t)b->bytes.data[k] << (8 * k);
        return NULL;
    case FRAME_END: ret->kind = ELEMENT_END; return NULL;
    default: return NULL;
    }
}

static bool remote_receive(channel_in_t *c, element_t *ret) {
    remote_t *r = CONTAINER_OF(c, remote_t, in);
    if (atomic_load_explicit(&r->queued, memory_order_acquire) == 0) return false;
    blob_t *b = in_pop(r);
    if (!b) return false;
    err_t *e = in_element(r, b, ret);
    blob_give(r->ep, b);
    if (!e) return true;
    remote_report(r, err_wrap(e, "data from worker '%s'", r->peer));
    return false;
}
static void remote_close_in(channel_in_t *c) { remote_close(CONTAINER_OF(c, remote_t, in)); }

/* ---------------------------------------------------------------- opening */
static size_t remote_key(uint8_t key[64], bool out, uint64_t job, uint64_t attempt, uint32_t edge, uint32_t from, uint32_t to) {
    size_t n = 0;
    uint64_t v[5] = {job, attempt, edge, from, to};
    memcpy(key, v, sizeof v);
    n = sizeof v;
    key[n++] = out;
    return n;
}

remote_t *endpoint_find(endpoint_t *ep, bool out, const frame_t *f) {
    uint8_t key[64];
    size_t n = remote_key(key, out, f->job, f->attempt, f->edge, f->from, f->to);
    return map_get(ep->remotes, slice_of(key, n));
}

static remote_t *remote_new(endpoint_t *ep, bool out, const endpoint_channel_t *c, wake_t wake) {
    remote_t *r = xcalloc(1, sizeof *r);
    r->is_out = out;
    r->ep = ep;
    r->job = c->job;
    r->attempt = c->attempt;
    r->edge = c->edge;
    r->from = c->from;
    r->to = c->to;
    r->peer = xstrdup(c->peer);
    r->wake = wake;
    r->scratch = buf_make(BUF_MAX_DEFAULT);
    if (out) {
        r->credit_out = credit_out_make((int64_t)ep->conf.window);
        r->out = (channel_out_t){remote_full, remote_send, remote_close_out};
    } else {
        r->credit_in = credit_in_make((int64_t)ep->conf.window);
        r->in = (channel_in_t){remote_receive, remote_close_in};
    }
    return r;
}

/* Under the lock. */
static err_t *remote_register(endpoint_t *ep, remote_t *r) {
    uint8_t key[64];
    size_t n = remote_key(key, r->is_out, r->job, r->attempt, r->edge, r->from, r->to);
    if (map_get(ep->remotes, slice_of(key, n)))
        return err_new(ERR_EXISTS, "channel %u of edge %u to %u is open already", r->from, r->edge, r->to);
    map_put(ep->remotes, slice_of(key, n), r);
    r->open = true;
    return NULL;
}

static conn_t *conn_of_peer(endpoint_t *ep, const char *peer, const char *address) {
    for (conn_t *c = ep->conns; c; c = c->next)
        if (!c->accepted && !c->broken && !strcmp(c->peer, peer) && !strcmp(c->address, address)) return c;
    return NULL;
}

err_t *endpoint_open_out(endpoint_t *ep, const endpoint_channel_t *c, wake_t producer, channel_out_t **ret) {
    remote_t *r = remote_new(ep, true, c, producer);
    pthread_mutex_lock(&ep->lock);
    err_t *e = NULL;
    r->conn = conn_of_peer(ep, c->peer, c->address);
    if (!r->conn) e = conn_connect(ep, c->peer, c->address, &r->conn);
    if (!e) {
        r->compress = ep->conf.compress && !r->conn->local;
        e = remote_register(ep, r);
    }
    pthread_mutex_unlock(&ep->lock);
    if (e) {
        remote_free(r);
        return e;
    }
    *ret = &r->out;
    return NULL;
}

err_t *endpoint_open_in(endpoint_t *ep, const endpoint_channel_t *c, const schema_t *schema, wake_t consumer, channel_in_t **ret) {
    remote_t *r = remote_new(ep, false, c, consumer);
    r->schema = schema;
    pthread_mutex_lock(&ep->lock);
    err_t *e = remote_register(ep, r);
    pthread_mutex_unlock(&ep->lock);
    if (e) {
        remote_free(r);
        return e;
    }
    *ret = &r->in;
    return NULL;
}

void endpoint_drop(endpoint_t *ep, job_id_t job, attempt_t attempt) {
    pthread_mutex_lock(&ep->lock);
    bool more = true;
    while (more) { /* deleting ends an iteration: begin again after each */
        more = false;
        size_t at = 0;
        slice_t key;
        void *v;
        while (map_next(ep->remotes, &at, &key, &v)) {
            remote_t *r = v;
            if (r->job != job || r->attempt != attempt) continue;
            uint8_t copy[64];
            size_t n = remote_key(copy, r->is_out, r->job, r->attempt, r->edge, r->from, r->to);
            map_del(ep->remotes, slice_of(copy, n));
            r->open = false;
            r->conn = NULL;
            r->wake.fn = NULL;
            if (r->closed) remote_free(r);
            more = true;
            break;
        }
    }
    pthread_mutex_unlock(&ep->lock);
}
