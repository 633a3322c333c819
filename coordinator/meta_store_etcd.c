/* meta_store_etcd.c: the store's thread, its requests and the table of calls. */
#include "coordinator/meta_store_etcd_int.h"
#include "common/clock.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define BOX_MAX 65536
#define RECORD_MAX (1 << 20)        /* etcd takes requests up to 1.5 MB, base64 adds a third */
#define ANSWER_MAX ((size_t)64 << 20)
#define WAIT_MAX_MS 1000
#define REVOKE_WAIT_MS 1000
#define LINES_WAIT_MS 30000

void etcd_notice(etcd_store_t *s, const char *fmt, ...) {
    if (!s->conf.notice) return;
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    s->conf.notice(s->conf.arg, text);
}

/* ---- messages */
static void msg_free(void *p) {
    etcd_msg_t *m = p;
    http_response_done(&m->response);
    if (m->kind == MSG_OP) op_free(m->op);
    free(m);
}

/* A call that cannot be posted is answered here: the store has ended, or thousands of calls are open. */
void etcd_post(etcd_store_t *s, etcd_msg_t *m) {
    m->store = s;
    if (mailbox_send(s->box, m)) return;
    meta_result_t r = {.outcome = STORE_FAILED, .error = err_new(ERR_LIMIT, "too many calls are open")};
    if (m->kind == MSG_OP) m->op->done.fn(m->op->done.arg, &r);
    else if (m->kind == MSG_CAMPAIGN) m->done.fn(m->done.arg, &r);
    else err_free(r.error);
    msg_free(m);
}
etcd_msg_t *etcd_msg_new(etcd_msg_kind_t kind) {
    etcd_msg_t *m = xcalloc(1, sizeof *m);
    m->kind = kind;
    return m;
}

/* ---- requests */
static void on_response(void *arg, http_response_t *r) { /* HTTP client's thread */
    etcd_msg_t *m = arg;
    m->response = *r;
    *r = (http_response_t){0};
    etcd_post(m->store, m);
}

void etcd_send(etcd_store_t *s, etcd_request_kind_t kind, const char *path, buf_t *body, int timeout_ms, etcd_op_t *op) {
    static const char *const headers[] = {"Content-Type: application/json", NULL};
    etcd_msg_t *m = etcd_msg_new(MSG_ANSWER);
    m->store = s;
    m->op = op;
    m->request = kind;
    m->term = s->term;
    m->endpoint = s->endpoint;
    m->sent_ms = clock_mono_ms();
    AUTO(auto_free) char *url = xprintf("%s%s", s->endpoints[s->endpoint], path);
    http_request_t r = {.method = "POST", .url = url, .headers = headers, .body = *body, .timeout_ms = MAX(timeout_ms, 50),
                        .response_max = ANSWER_MAX};
    *body = buf_make(body->max);
    http_client_start(s->http, &r, (http_done_t){on_response, m});
}

static void endpoint_failed(etcd_store_t *s, const etcd_msg_t *m, const err_t *why) {
    if (m->endpoint == s->endpoint) s->endpoint = (s->endpoint + 1) % s->nendpoints;
    if (!s->unreachable) etcd_notice(s, "etcd does not answer: %s", err_text(why));
    s->unreachable = true;
}

err_t *etcd_receive(etcd_store_t *s, etcd_msg_t *m, arena_t *a, etcd_answer_t *ret, bool *ret_certain) {
    if (m->response.error) {
        *ret = (etcd_answer_t){0};
        *ret_certain = !m->response.reached;
        endpoint_failed(s, m, m->response.error);
        return TAKE(m->response.error);
    }
    err_t *e = etcd_answer_parse(a, m->response.status, buf_slice(&m->response.body), ret, ret_certain);
    if (err_code(e) == ERR_UNAVAILABLE || err_code(e) == ERR_CORRUPT) {
        endpoint_failed(s, m, e);
    } else if (s->unreachable) {
        s->unreachable = false;
        etcd_notice(s, "etcd answers again");
    }
    s->revision = MAX(s->revision, ret->revision);
    return e;
}

/* ---- the thread */
static void handle(etcd_store_t *s, etcd_msg_t *m) {
    switch (m->kind) {
    case MSG_OP: ops_add(s, TAKE(m->op)); break;
    case MSG_CAMPAIGN: leader_campaign(s, m); break;
    case MSG_RESIGN:
        leader_resign(s, err_new(ERR_CANCELLED, "leadership was given up"));
        atomic_fetch_sub(&s->resigning, 1);
        break;
    case MSG_STOP: s->stopping = true; break;
    case MSG_ANSWER:
        if (m->request == REQ_REVOKE) s->revoking--;
        else if (m->term != s->term) break; /* of an ended term: its operations have been answered */
        else if (m->request == REQ_READ || m->request == REQ_WRITE) ops_answer(s, m);
        else leader_answer(s, m);
        break;
    case MSG_LINE: line_message(s, m); break;
    }
    msg_free(m);
}

static void handle_until(etcd_store_t *s, const int *open, int ms) {
    int64_t until = clock_mono_ms() + ms;
    while (*open && clock_mono_ms() < until) {
        mailbox_wait(s->box, 50);
        for (etcd_msg_t *m; (m = mailbox_receive(s->box)) != NULL;) handle(s, m);
    }
}

static void give_back_lease(etcd_store_t *s) {
    leader_resign(s, err_new(ERR_CANCELLED, "the metadata store was closed"));
    handle_until(s, &s->revoking, REVOKE_WAIT_MS);
}

static void *store_main(void *arg) {
    etcd_store_t *s = arg;
    while (!s->stopping) {
        if (atomic_load(&s->paused)) { /* tests only: what arrives waits in the mailbox */
            nanosleep(&(struct timespec){.tv_nsec = 10 * 1000000}, NULL);
            continue;
        }
        int64_t now = clock_mono_ms();
        int64_t next = MIN(MIN(leader_tick(s, now), ops_tick(s, now)), line_tick(s, now));
        mailbox_wait(s->box, (int)MIN(MAX(next - now, (int64_t)0), (int64_t)WAIT_MAX_MS));
        if (atomic_load(&s->paused)) continue;
        for (etcd_msg_t *m; !s->stopping && (m = mailbox_receive(s->box)) != NULL;) handle(s, m);
    }
    ops_end(s, STORE_UNKNOWN, NULL);
    if (!atomic_load(&s->abandon)) give_back_lease(s);
    else if (s->campaign_done.fn)
        s->campaign_done.fn(s->campaign_done.arg, &(meta_result_t){.outcome = STORE_FAILED, .error = err_new(ERR_CANCELLED, "abandoned")});
    line_drop(s);
    handle_until(s, &s->lines, LINES_WAIT_MS);
    ASSERT(s->lines == 0); /* a link's end comes within its own deadline; until then it refers to the store */
    return NULL;
}

/* ---- the table; the caller's thread */
static etcd_store_t *store_of(meta_store_t *m) { return CONTAINER_OF(m, etcd_store_t, vt); }

static void call(meta_store_t *vt, etcd_op_t op) {
    etcd_msg_t *m = etcd_msg_new(MSG_OP);
    m->op = xcalloc(1, sizeof op);
    *m->op = op;
    m->op->deadline_ms = clock_mono_ms() + store_of(vt)->conf.operation_ms;
    etcd_post(store_of(vt), m);
}

static void etcd_campaign(meta_store_t *vt, void (*lost)(void *, err_t *), void *lost_arg, meta_done_t done) {
    etcd_msg_t *m = etcd_msg_new(MSG_CAMPAIGN);
    m->lost = lost;
    m->lost_arg = lost_arg;
    m->done = done;
    etcd_post(store_of(vt), m);
}
static void etcd_load(meta_store_t *vt, meta_done_t done) { call(vt, (etcd_op_t){.kind = OP_LOAD, .done = done}); }

static void etcd_put_job(meta_store_t *vt, job_id_t job, slice_t record, meta_done_t done) {
    if (record.len > RECORD_MAX) {
        meta_result_t r = {.outcome = STORE_FAILED, .error = err_hint(err_new(ERR_LIMIT, "the record of the job has %zu bytes, %d are the limit "
                           "of what etcd takes", record.len, RECORD_MAX), "shorten the SQL text, or run without --etcd")};
        done.fn(done.arg, &r);
        return;
    }
    etcd_op_t op = {.kind = OP_PUT_JOB, .job = job, .done = done, .record = buf_make(RECORD_MAX)};
    buf_put(&op.record, record.p, record.len);
    call(vt, op);
}
static void etcd_raise(meta_store_t *vt, job_id_t job, attempt_t above, meta_done_t done) {
    call(vt, (etcd_op_t){.kind = OP_RAISE, .job = job, .above = above, .done = done});
}
static void etcd_look(meta_store_t *vt, job_id_t job, meta_done_t done) { call(vt, (etcd_op_t){.kind = OP_LOOK, .job = job, .done = done}); }

static void etcd_put_manifest(meta_store_t *vt, job_id_t job, const meta_pointer_t *previous, const meta_pointer_t *now, meta_done_t done) {
    AUTO(buf_free) buf_t text = buf_make(1 << 16);
    meta_pointer_print(&text, now);
    if (text.len > META_POINTER_MAX) {
        meta_result_t r = {.outcome = STORE_FAILED, .error = err_new(ERR_LIMIT, "a manifest pointer of %zu bytes", text.len)};
        done.fn(done.arg, &r);
        return;
    }
    etcd_op_t op = {.kind = OP_MANIFEST, .job = job, .done = done, .has_previous = previous != NULL, .now = meta_pointer_copy(now)};
    if (previous) op.previous = meta_pointer_copy(previous);
    call(vt, op);
}
static void etcd_delete(meta_store_t *vt, job_id_t job, meta_done_t done) { call(vt, (etcd_op_t){.kind = OP_DELETE, .job = job, .done = done}); }

static void etcd_resign(meta_store_t *vt) {
    atomic_fetch_add(&store_of(vt)->resigning, 1);
    etcd_post(store_of(vt), etcd_msg_new(MSG_RESIGN));
}
static const char *etcd_where(meta_store_t *vt) { return store_of(vt)->where; }

/* ---- life */
static void store_release(etcd_store_t *s) {
    for (int i = 0; i < s->nendpoints; i++) free(s->endpoints[i]);
    for (int i = 0; i < s->njobs; i++) meta_pointer_done(&s->jobs[i].last);
    free(s->endpoints);
    free(s->jobs);
    free(s->leader_value);
    free(s->line_name);
    free(s->where);
    free(s->prefix);
    free(s->leader_key);
    free(s->beat_key);
    free(s->jobs_prefix);
    free((char *)s->conf.name);
    free(s);
}

static void refuse_late(etcd_msg_t *m) {
    meta_result_t r = {.outcome = STORE_UNKNOWN, .error = err_new(ERR_CANCELLED, "the metadata store was closed")};
    if (m->kind == MSG_OP) m->op->done.fn(m->op->done.arg, &r);
    else if (m->kind == MSG_CAMPAIGN) m->done.fn(m->done.arg, &r);
    else err_free(r.error);
    msg_free(m);
}

static void etcd_free(meta_store_t *vt) {
    etcd_store_t *s = store_of(vt);
    atomic_fetch_add(&s->resigning, 1);
    atomic_store(&s->paused, false);
    etcd_post(s, etcd_msg_new(MSG_STOP));
    pthread_join(s->thread, NULL);
    http_client_free(s->http); /* posts what is open */
    for (etcd_msg_t *m; (m = mailbox_receive(s->box)) != NULL;) refuse_late(m);
    mailbox_free(s->box);
    store_release(s);
}

void meta_store_etcd_pause(meta_store_t *m, bool pause) { atomic_store(&store_of(m)->paused, pause); }
void meta_store_etcd_abandon(meta_store_t *m) {
    atomic_store(&store_of(m)->abandon, true);
    etcd_free(m);
}

static err_t *parse_endpoints(etcd_store_t *s, const char *list) {
    for (const char *p = list; *p;) {
        size_t n = strcspn(p, ",");
        char *url = xstrndup(p, n);
        size_t len = strlen(url);
        while (len && url[len - 1] == '/') url[--len] = '\0';
        s->endpoints = xrealloc(s->endpoints, (size_t)(s->nendpoints + 1) * sizeof *s->endpoints);
        s->endpoints[s->nendpoints++] = url;
        const char *rest = strncmp(url, "http://", 7) == 0 ? url + 7 : strncmp(url, "https://", 8) == 0 ? url + 8 : "";
        if (!*rest || strpbrk(rest, "/?# \t"))
            return err_hint(err_new(ERR_INVALID, "'%s' is no etcd endpoint", url), "--etcd takes URL[,URL], as http://127.0.0.1:2379");
        p += n + (p[n] == ',');
    }
    return s->nendpoints ? NULL : err_new(ERR_INVALID, "no etcd endpoint is given");
}

static err_t *parse_conf(etcd_store_t *s, const meta_etcd_conf_t *conf) {
    s->conf = *conf;
    s->conf.name = xstrdup(conf->name ? conf->name : "");
    s->conf.endpoints = s->conf.cluster = NULL;
    meta_etcd_conf_t *c = &s->conf;
    c->ttl_s = MAX(c->ttl_s, 2); /* etcd raises less to 2 without a word */
    if (!c->beat_ms) c->beat_ms = c->connect ? 100 : c->ttl_s * 1000 / 3;
    if (!c->poll_ms) c->poll_ms = c->connect ? 50 : 250;
    if (!c->silence_ms) c->silence_ms = 1000;
    if (!c->request_ms) c->request_ms = 1500;
    if (!c->operation_ms) c->operation_ms = 5000;
    if (!c->give_up_ms) c->give_up_ms = 5 * c->ttl_s * 1000;
    if (!c->compact_ms) c->compact_ms = 60000;
    if (!c->minimum_term_ms) c->minimum_term_ms = 3000;
    const char *cluster = conf->cluster && *conf->cluster ? conf->cluster : "tidegate";
    if (strspn(cluster, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != strlen(cluster))
        return err_new(ERR_INVALID, "'%s' is no cluster name: letters, digits, '.', '_' and '-'", cluster);
    s->prefix = xprintf("/tidegate/%s/", cluster);
    s->leader_key = xprintf("%sleader", s->prefix);
    s->beat_key = xprintf("%sbeat", s->prefix);
    s->jobs_prefix = xprintf("%sjobs/", s->prefix);
    s->where = xprintf("etcd %s%s", conf->endpoints ? conf->endpoints : "", s->prefix);
    return parse_endpoints(s, conf->endpoints ? conf->endpoints : "");
}

err_t *meta_store_etcd_open(const meta_etcd_conf_t *conf, meta_store_t **ret) {
    etcd_store_t *s = xcalloc(1, sizeof *s);
    s->vt = (meta_store_t){etcd_campaign, etcd_load, etcd_put_job, etcd_raise, etcd_look, etcd_put_manifest, etcd_delete, etcd_resign, etcd_free, etcd_where};
    err_t *e = parse_conf(s, conf);
    if (!e) e = http_client_new(&s->http);
    if (e) {
        store_release(s);
        return e;
    }
    s->box = mailbox_new(BOX_MAX, msg_free);
    int no = pthread_create(&s->thread, NULL, store_main, s);
    if (no) {
        http_client_free(s->http);
        mailbox_free(s->box);
        store_release(s);
        return err_from_errno(no, "cannot start a thread");
    }
    *ret = &s->vt;
    return NULL;
}
