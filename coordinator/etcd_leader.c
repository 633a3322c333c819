/* etcd_leader.c: who leads. The store's thread.
 *
 *   IDLE --campaign--> STANDBY --key absent--> GRANTING --lease--> WINNING --created--> LEADING --lost, resign--> IDLE
 *                        ^ key there: poll        | error: again     | another was first: lease back
 *                        +------------------------+------------------+
 *
 * When a standby may push a leader out is `leader_dead`; who lost a lease waits, doubling, before it campaigns again (hazards B6). */
#include "common/clock.h"
#include "coordinator/meta_store_etcd_int.h"
#include <stdlib.h>

#define NEVER INT64_MAX
#define RETRY_MS 100
#define LOST_WAIT_MS 250
#define LOST_WAIT_MAX_MS 10000
#define QUIET_TERM_MS 60000 /* a term that lasted so long forgives the losses before it */
#define BEATS_MISSED 3
#define REVOKED_POLL_MS 20

/* ---- requests */
static buf_t body_make(void) { return buf_make(8 << 20); }

static void send_number(etcd_store_t *s, etcd_request_kind_t kind, const char *path, const char *name, int64_t v, int timeout_ms) {
    buf_t b = body_make();
    buf_printf(&b, "{\"%s\":%" PRId64 "}", name, v);
    etcd_send(s, kind, path, &b, timeout_ms, NULL);
}

static void send_poll(etcd_store_t *s) {
    buf_t b = body_make();
    etcd_txn_t t = etcd_txn(&b);
    etcd_then(&t);
    etcd_get(&t, s->leader_key);
    etcd_get(&t, s->beat_key);
    etcd_end(&t);
    s->polling = true;
    etcd_send(s, REQ_POLL, "/v3/kv/txn", &b, s->conf.request_ms, NULL);
}

static void send_win(etcd_store_t *s) {
    buf_t b = body_make();
    etcd_txn_t t = etcd_txn(&b);
    etcd_compare_create(&t, s->leader_key, 0);
    etcd_then(&t);
    etcd_put(&t, s->leader_key, slice_str(s->leader_value), s->lease);
    etcd_get(&t, s->leader_key);
    etcd_else(&t);
    etcd_get(&t, s->leader_key);
    etcd_end(&t);
    s->win_at = NEVER;
    etcd_send(s, REQ_WIN, "/v3/kv/txn", &b, s->conf.request_ms, NULL);
}

/* Writes a key of ours while we lead; refused is lost. */
static void send_own(etcd_store_t *s, etcd_request_kind_t kind, const char *key, const char *value) {
    buf_t b = body_make();
    etcd_txn_t t = etcd_txn(&b);
    etcd_compare_create(&t, s->leader_key, s->leader);
    etcd_then(&t);
    etcd_put(&t, key, slice_str(value), s->lease);
    if (kind == REQ_FENCE) etcd_get(&t, s->leader_key);
    etcd_end(&t);
    etcd_send(s, kind, "/v3/kv/txn", &b, s->conf.request_ms, NULL);
}

static void send_beat(etcd_store_t *s) {
    char text[32];
    buf_t b = buf_make(sizeof text);
    buf_printf(&b, "%" PRIu64, ++s->beats);
    s->beating = true;
    send_own(s, REQ_BEAT, s->beat_key, buf_cstr(&b));
    buf_free(&b);
}

static void revoke(etcd_store_t *s, int64_t lease) {
    s->revoking++;
    send_number(s, REQ_REVOKE, "/v3/lease/revoke", "ID", lease, s->conf.request_ms);
}

/* ---- the ends of a term */
static void end_term(etcd_store_t *s, bool had_lead) {
    int64_t now = clock_mono_ms();
    if (had_lead) {
        bool quiet = now - s->won_ms >= QUIET_TERM_MS;
        s->lost_wait_ms = quiet || !s->lost_wait_ms ? LOST_WAIT_MS : MIN(s->lost_wait_ms * 2, (int64_t)LOST_WAIT_MAX_MS);
        s->campaign_from = now + s->lost_wait_ms;
    }
    s->term++;
    s->state = ETCD_IDLE;
    if (s->lease) revoke(s, s->lease); /* also when it has expired: nothing of ours may come to life later */
    s->lease = s->leader = s->fence = 0;
    s->polling = s->keeping = s->beating = s->fencing = s->fence_dirty = false;
    for (int i = 0; i < s->njobs; i++) meta_pointer_done(&s->jobs[i].last);
    s->njobs = 0;
}

void leader_lost(etcd_store_t *s, err_t *why) {
    ASSERT(s->state == ETCD_LEADING);
    end_term(s, true);
    ops_end(s, STORE_REFUSED, why);
    if (atomic_load(&s->resigning)) err_free(why);
    else s->lost(s->lost_arg, why);
}

static void campaign_over(etcd_store_t *s, meta_result_t r) {
    meta_done_t done = s->campaign_done;
    s->campaign_done = (meta_done_t){0};
    if (done.fn) done.fn(done.arg, &r);
    else err_free(r.error);
}

void leader_resign(etcd_store_t *s, err_t *why) {
    if (s->state != ETCD_IDLE) end_term(s, s->state == ETCD_LEADING);
    ops_end(s, STORE_REFUSED, why);
    campaign_over(s, (meta_result_t){.outcome = STORE_FAILED, .error = why});
}

/* ---- campaign */
void leader_campaign(etcd_store_t *s, etcd_msg_t *m) {
    if (s->state != ETCD_IDLE) leader_resign(s, err_new(ERR_CANCELLED, "another campaign began"));
    s->lost = m->lost;
    s->lost_arg = m->lost_arg;
    s->campaign_done = m->done;
    s->term++;
    s->state = ETCD_STANDBY;
    s->poll_at = 0;
    s->seen_leader = s->seen_beat_mod = 0;
    free(s->leader_value);
    buf_t b = buf_make(1 << 16);
    json_writer_t w = json_writer(&b);
    jw_object(&w);
    jw_kv_i64(&w, "v", 1);
    jw_kv_str(&w, "name", s->conf.name);
    AUTO(auto_free) char *nonce = xprintf("%016" PRIx64, clock_random());
    jw_kv_str(&w, "nonce", nonce); /* so that we know our own key when the answer that created it was lost */
    jw_kv_i64(&w, "beat_ms", s->conf.beat_ms);
    jw_end_object(&w);
    s->leader_value = buf_take_cstr(&b);
}

static void stand_by(etcd_store_t *s) {
    if (s->lease) revoke(s, s->lease);
    s->lease = 0;
    s->state = ETCD_STANDBY;
    s->poll_at = clock_mono_ms() + s->conf.poll_ms;
}

/* What no waiting cures ends the campaign. */
static bool campaign_failed(etcd_store_t *s, err_t *e) {
    if (err_code(e) != ERR_DENIED && err_code(e) != ERR_INVALID) {
        err_free(e);
        return false;
    }
    end_term(s, false);
    campaign_over(s, (meta_result_t){.outcome = STORE_FAILED, .error = err_wrap(e, "%s", s->where)});
    return true;
}

/* Two witnesses must agree, the leader's beat in etcd and the line to it. A connection that broke says more than one that is silent: a
 * process that ended closes it, a busy machine does not; so a silent leader has `silence_ms` on both. A line that was never heard (a wrong
 * address, a wall between the two) knows nothing of the leader: then its lease alone decides. */
bool leader_dead(const leader_view_t *v) {
    if (!v->direct || v->term_ms < v->minimum_term_ms || v->still_ms < BEATS_MISSED * v->beat_ms) return false;
    if (v->ours || v->broken) return true;
    return v->heard && v->unanswered_ms >= v->silence_ms && v->still_ms >= v->silence_ms;
}

static bool parse_leader(arena_t *a, const etcd_kv_t *leader, const char **ret_name, int64_t *ret_beat_ms) {
    json_t *o = NULL;
    err_t *e = json_parse(a, leader->value, &o);
    bool ok = e == NULL;
    err_free(e);
    *ret_name = ok ? json_str(o, "name", "") : "";
    *ret_beat_ms = ok ? json_i64(o, "beat_ms", 1000) : 1000;
    return ok;
}

static void try_revoke(etcd_store_t *s, arena_t *a, const etcd_kv_t *leader, const etcd_kv_t *beat, int64_t now) {
    const char *name;
    int64_t beat_ms;
    if (!parse_leader(a, leader, &name, &beat_ms) || !leader->lease) return;
    AUTO(auto_free) char *count = beat ? xstrndup((const char *)beat->value.p, beat->value.len) : xstrdup("0");
    int64_t beats = strtol(count, NULL, 10); /* the age of a term that began before we looked */
    leader_view_t v = {.direct = s->conf.connect != NULL, .term_ms = MAX(now - s->seen_since, MIN(beats, (int64_t)100000) * beat_ms),
                       .minimum_term_ms = s->conf.minimum_term_ms, .beat_ms = MAX(beat_ms, (int64_t)s->conf.poll_ms),
                       .still_ms = s->beat_still_ms, .ours = *name && strcmp(name, s->conf.name) == 0, .heard = s->line_heard, .broken = s->line_broken,
                       .unanswered_ms = (int64_t)s->probes * s->conf.beat_ms, .silence_ms = s->conf.silence_ms};
    if (!leader_dead(&v)) return;
    etcd_notice(s, "the leader %s %s and its beat stands still for %" PRId64 " ms: its lease is revoked", name,
                v.ours ? "was this process before it was started again" : v.broken ? "closed its connection" : "answers no probe", v.still_ms);
    revoke(s, leader->lease);
    s->beat_still_ms = 0; /* not again before as many beats are missed */
    s->poll_at = now + REVOKED_POLL_MS;
}

/* How long the beat has stood still, counted between answers of etcd that followed each other closely. */
static void watch_beat(etcd_store_t *s, const etcd_kv_t *beat, int64_t now) {
    int64_t gap = MIN(now - s->polled_ms, 2 * (int64_t)s->conf.poll_ms);
    s->polled_ms = now;
    s->beat_still_ms += gap;
    if (!beat || beat->mod == s->seen_beat_mod) return;
    s->seen_beat_mod = beat->mod;
    s->beat_still_ms = 0;
}

static void polled(etcd_store_t *s, arena_t *a, const etcd_answer_t *r, err_t *e) {
    int64_t now = clock_mono_ms();
    s->polling = false;
    s->poll_at = now + s->conf.poll_ms;
    if (e) {
        campaign_failed(s, e);
        return;
    }
    const etcd_kv_t *leader = etcd_find(r, s->leader_key), *beat = etcd_find(r, s->beat_key);
    if (!leader) {
        s->poll_at = MAX(s->poll_at, MIN(s->campaign_from, now + 1000));
        if (now < s->campaign_from) return;
        s->state = ETCD_GRANTING;
        send_number(s, REQ_GRANT, "/v3/lease/grant", "TTL", s->conf.ttl_s, s->conf.request_ms);
        return;
    }
    if (leader->create != s->seen_leader) {
        const char *name;
        int64_t beat_ms;
        parse_leader(a, leader, &name, &beat_ms);
        s->seen_leader = leader->create;
        s->seen_since = s->polled_ms = now;
        s->beat_still_ms = 0;
        line_watch(s, name);
        etcd_notice(s, "standing by: %s leads (epoch %" PRId64 ")", name, leader->create);
    }
    watch_beat(s, beat, now);
    try_revoke(s, a, leader, beat, now);
}

static void granted(etcd_store_t *s, const etcd_answer_t *r, err_t *e) {
    if (!e && !r->lease) e = err_new(ERR_CORRUPT, "etcd granted a lease without an id");
    if (e) {
        if (!campaign_failed(s, e)) stand_by(s);
        return;
    }
    s->lease = r->lease;
    s->state = ETCD_WINNING;
    send_win(s);
}

static void won(etcd_store_t *s, const etcd_kv_t *leader, int64_t sent_ms) {
    int64_t now = clock_mono_ms();
    s->state = ETCD_LEADING;
    s->leader = leader->create;
    s->fence = leader->mod;
    s->renewed_ms = sent_ms;
    s->won_ms = now;
    s->keep_at = now + s->conf.ttl_s * 1000 / 3;
    s->beat_at = now;
    s->beats = 0;
    s->fence_at = 0;
    s->compact_at = now + s->conf.compact_ms;
    s->compact_to = 0;
    campaign_over(s, (meta_result_t){.outcome = STORE_OK, .leader = (uint64_t)s->leader});
}

static void win_answered(etcd_store_t *s, const etcd_answer_t *r, err_t *e, int64_t sent_ms) {
    if (err_code(e) == ERR_NOT_FOUND) { /* the lease expired before it was used */
        err_free(e);
        s->lease = 0;
        stand_by(s);
    } else if (e) {
        if (!campaign_failed(s, e)) s->win_at = clock_mono_ms() + RETRY_MS; /* the same again: it may have happened */
    } else {
        const etcd_kv_t *leader = etcd_find(r, s->leader_key);
        if (leader && slice_eq(leader->value, slice_str(s->leader_value))) won(s, leader, sent_ms);
        else stand_by(s);
    }
}

/* ---- the lease */
static void kept(etcd_store_t *s, const etcd_answer_t *r, err_t *e, int64_t sent_ms) {
    int64_t now = clock_mono_ms();
    s->keeping = false;
    if (e) { /* soon again, perhaps at another endpoint */
        s->keep_at = now + RETRY_MS;
        err_free(e);
    } else if (r->ttl <= 0) {
        leader_lost(s, err_new(ERR_FENCED, "the leader's lease in %s has expired", s->where));
    } else {
        s->renewed_ms = sent_ms;
        s->keep_at = sent_ms + s->conf.ttl_s * 1000 / 3;
    }
}

static void compact(etcd_store_t *s, int64_t now) {
    s->compact_at = now + s->conf.compact_ms;
    if (s->compact_to) send_number(s, REQ_COMPACT, "/v3/kv/compaction", "revision", s->compact_to, s->conf.request_ms);
    s->compact_to = s->revision; /* the next time: a round's history stays for people who look */
}

static void fenced(etcd_store_t *s, const etcd_answer_t *r, err_t *e) {
    s->fencing = false;
    s->fence_at = clock_mono_ms() + RETRY_MS;
    const etcd_kv_t *leader = e ? NULL : etcd_find(r, s->leader_key);
    if (!leader) {
        err_free(e);
        return;
    }
    s->fence = MAX(s->fence, leader->mod);
    s->fence_dirty = false;
    ops_fenced(s);
}

void leader_answer(etcd_store_t *s, etcd_msg_t *m) {
    AUTO(arena_freep) arena_t *a = arena_new();
    etcd_answer_t r;
    bool certain;
    err_t *e = etcd_receive(s, m, a, &r, &certain);
    bool own = m->request == REQ_BEAT || m->request == REQ_FENCE;
    if (!e && own && !r.succeeded) {
        leader_lost(s, err_new(ERR_FENCED, "another process leads in %s", s->where));
        return;
    }
    if (err_code(e) == ERR_NOT_FOUND && own) { /* "requested lease not found" */
        leader_lost(s, err_wrap(e, "%s", s->where));
        return;
    }
    switch (m->request) {
    case REQ_POLL: polled(s, a, &r, e); break;
    case REQ_GRANT: granted(s, &r, e); break;
    case REQ_WIN: win_answered(s, &r, e, m->sent_ms); break;
    case REQ_KEEP_ALIVE: kept(s, &r, e, m->sent_ms); break;
    case REQ_FENCE: fenced(s, &r, e); break;
    case REQ_BEAT:
        s->beating = false;
        err_free(e);
        break;
    default: err_free(e); break; /* a compaction that failed is made up for by the next */
    }
}

static int64_t leading_tick(etcd_store_t *s, int64_t now) {
    int64_t give_up = s->renewed_ms + s->conf.give_up_ms;
    if (now >= give_up) {
        leader_lost(s, err_new(ERR_UNAVAILABLE, "%s has not answered for %d ms", s->where, s->conf.give_up_ms));
        return now;
    }
    if (!s->keeping && now >= s->keep_at) {
        s->keeping = true;
        send_number(s, REQ_KEEP_ALIVE, "/v3/lease/keepalive", "ID", s->lease, MIN(s->conf.request_ms, s->conf.ttl_s * 1000 / 3));
    }
    if (now >= s->beat_at) {
        if (!s->beating) send_beat(s);
        s->beat_at = now + s->conf.beat_ms;
    }
    if (s->fence_dirty && !s->fencing && now >= s->fence_at) {
        s->fencing = true;
        send_own(s, REQ_FENCE, s->leader_key, s->leader_value);
    }
    if (now >= s->compact_at) compact(s, now);
    int64_t next = MIN(MIN(give_up, s->beat_at), s->compact_at);
    if (!s->keeping) next = MIN(next, s->keep_at);
    if (s->fence_dirty && !s->fencing) next = MIN(next, s->fence_at);
    return next;
}

int64_t leader_tick(etcd_store_t *s, int64_t now) {
    switch (s->state) {
    case ETCD_STANDBY:
        if (!s->polling && now >= s->poll_at) send_poll(s);
        return s->polling ? NEVER : s->poll_at;
    case ETCD_WINNING:
        if (now >= s->win_at) send_win(s);
        return s->win_at;
    case ETCD_LEADING: return leading_tick(s, now);
    case ETCD_IDLE: case ETCD_GRANTING: break;
    }
    return NEVER;
}
