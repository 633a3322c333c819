/* etcd_write.c: the operations on jobs. The store's thread.
 *
 * Those of one job run one after the other, those of different jobs beside each other. Each begins from what is known of the job's keys (read
 * when it is not), decides, and writes by one transaction that compares the leader, the fence and the revisions of what was read. Whatever
 * goes wrong, the operation begins again from reading, after the fence if a write may still be under way: so there is one path. */
#include "common/clock.h"
#include "coordinator/meta_store_etcd_int.h"
#include <stdio.h>
#include <stdlib.h>

#define NEVER INT64_MAX
#define RETRY_MS 50
#define TRIES_MAX 10
#define LOAD_LIMIT 100 /* keys of one page */
#define KEY_MAX 512

void op_free(etcd_op_t *op) {
    if (!op) return;
    buf_free(&op->record);
    meta_pointer_done(&op->previous);
    meta_pointer_done(&op->now);
    for (int i = 0; i < op->nrecords; i++) free(op->records[i]);
    free(op->records);
    free(op->from);
    err_free(op->why);
    free(op);
}

/* Removes op from the list, answers and frees it. Takes what r holds. */
static void complete(etcd_store_t *s, etcd_op_t *op, meta_result_t r) {
    for (etcd_op_t **p = &s->ops; *p; p = &(*p)->next)
        if (*p == op) {
            *p = op->next;
            break;
        }
    op->done.fn(op->done.arg, &r);
    op_free(op);
}
static void complete_ok(etcd_store_t *s, etcd_op_t *op) { complete(s, op, (meta_result_t){.outcome = STORE_OK}); }
static void complete_failed(etcd_store_t *s, etcd_op_t *op, store_outcome_t outcome, err_t *e) {
    complete(s, op, (meta_result_t){.outcome = outcome, .error = e});
}

void ops_end(etcd_store_t *s, store_outcome_t unsent, const err_t *why) {
    while (s->ops) {
        etcd_op_t *op = s->ops;
        err_t *e = why ? err_copy(why) : err_new(ERR_CANCELLED, "the metadata store was closed");
        complete_failed(s, op, op->uncertain || op->writing ? STORE_UNKNOWN : unsent, e);
    }
}

void ops_fenced(etcd_store_t *s) {
    for (etcd_op_t *op = s->ops; op; op = op->next)
        if (!op->writing) op->uncertain = false;
}

void ops_add(etcd_store_t *s, etcd_op_t *op) {
    etcd_op_t **end = &s->ops;
    while (*end) end = &(*end)->next;
    *end = op;
    if (s->state != ETCD_LEADING) complete_failed(s, op, STORE_REFUSED, err_new(ERR_FENCED, "this process does not lead"));
}

/* ---- what is known of a job */
static etcd_job_t *job_known(etcd_store_t *s, job_id_t id) {
    for (int i = 0; i < s->njobs; i++)
        if (s->jobs[i].id == id) return &s->jobs[i];
    return NULL;
}
static void job_forget(etcd_store_t *s, job_id_t id) {
    etcd_job_t *j = job_known(s, id);
    if (!j) return;
    meta_pointer_done(&j->last);
    *j = s->jobs[--s->njobs];
}

static void job_key(etcd_store_t *s, char key[KEY_MAX], job_id_t job, const char *name) {
    snprintf(key, KEY_MAX, "%s%016" PRIx64 "/%s", s->jobs_prefix, job, name);
}

static err_t *job_read(etcd_store_t *s, job_id_t id, const etcd_answer_t *r) {
    char attempt_key[KEY_MAX], last_key[KEY_MAX];
    job_key(s, attempt_key, id, "attempt");
    job_key(s, last_key, id, "last");
    etcd_job_t j = {.id = id};
    const etcd_kv_t *kv = etcd_find(r, attempt_key);
    if (kv) {
        TRY(err_wrap(meta_attempt_parse(kv->value, &j.attempt), "%s", kv->key));
        j.has_attempt = true;
        j.attempt_mod = kv->mod;
    }
    kv = etcd_find(r, last_key);
    if (kv) {
        TRY(err_wrap(meta_pointer_parse(kv->value, &j.last), "%s", kv->key));
        j.has_last = true;
        j.last_mod = kv->mod;
    }
    job_forget(s, id);
    s->jobs = xrealloc(s->jobs, (size_t)(s->njobs + 1) * sizeof *s->jobs);
    s->jobs[s->njobs++] = j;
    return NULL;
}

/* ---- requests */
static void send_op(etcd_store_t *s, etcd_op_t *op, bool write, const char *path, buf_t *body) {
    int64_t left = op->deadline_ms - clock_mono_ms();
    op->sent = true;
    op->writing = write;
    etcd_send(s, write ? REQ_WRITE : REQ_READ, path, body, (int)MIN(MAX(left, (int64_t)1), (int64_t)s->conf.request_ms), op);
}

static void get_job(etcd_store_t *s, etcd_txn_t *t, job_id_t job) {
    char key[KEY_MAX];
    job_key(s, key, job, "attempt");
    etcd_get(t, key);
    job_key(s, key, job, "last");
    etcd_get(t, key);
}

static etcd_txn_t txn_begin(etcd_store_t *s, buf_t *b) {
    *b = buf_make(8 << 20);
    etcd_txn_t t = etcd_txn(b);
    etcd_compare_create(&t, s->leader_key, s->leader);
    etcd_compare_mod(&t, s->leader_key, s->fence);
    return t;
}
static void txn_send(etcd_store_t *s, etcd_op_t *op, etcd_txn_t *t, buf_t *b, bool write) {
    etcd_else(t);
    etcd_get(t, s->leader_key);
    etcd_end(t);
    send_op(s, op, write, "/v3/kv/txn", b);
}

static void send_load(etcd_store_t *s, etcd_op_t *op) {
    buf_t b = buf_make(1 << 16);
    etcd_range_request(&b, op->from ? op->from : s->jobs_prefix, s->jobs_prefix, LOAD_LIMIT);
    send_op(s, op, false, "/v3/kv/range", &b);
}
static void send_read(etcd_store_t *s, etcd_op_t *op) {
    buf_t b;
    etcd_txn_t t = txn_begin(s, &b);
    etcd_then(&t);
    get_job(s, &t, op->job);
    txn_send(s, op, &t, &b, false);
}
static void send_put_job(etcd_store_t *s, etcd_op_t *op) {
    buf_t b;
    char key[KEY_MAX];
    etcd_txn_t t = txn_begin(s, &b);
    etcd_then(&t);
    job_key(s, key, op->job, "record");
    etcd_put(&t, key, buf_slice(&op->record), 0);
    txn_send(s, op, &t, &b, true);
}
static void send_delete(etcd_store_t *s, etcd_op_t *op) {
    buf_t b;
    char key[KEY_MAX];
    etcd_txn_t t = txn_begin(s, &b);
    etcd_then(&t);
    job_key(s, key, op->job, "");
    etcd_delete_prefix(&t, key);
    job_forget(s, op->job);
    txn_send(s, op, &t, &b, true);
}

/* Writes `name` of the job if attempt and last are as they are known. */
static void send_compared(etcd_store_t *s, etcd_op_t *op, const etcd_job_t *j, const char *name, slice_t value) {
    buf_t b;
    char key[KEY_MAX];
    etcd_txn_t t = txn_begin(s, &b);
    job_key(s, key, op->job, "attempt");
    etcd_compare_mod(&t, key, j->attempt_mod);
    job_key(s, key, op->job, "last");
    etcd_compare_mod(&t, key, j->last_mod);
    etcd_then(&t);
    job_key(s, key, op->job, name);
    etcd_put(&t, key, value, 0);
    txn_send(s, op, &t, &b, true);
}

/* ---- decisions */
static void complete_attempt(etcd_store_t *s, etcd_op_t *op, const etcd_job_t *j) {
    meta_result_t r = {.outcome = STORE_OK, .attempt = j->attempt, .has_last = j->has_last};
    if (j->has_last) r.last = meta_pointer_copy(&j->last);
    complete(s, op, r);
}

static void decide_raise(etcd_store_t *s, etcd_op_t *op, const etcd_job_t *j) {
    if (op->wrote && j->attempt.attempt == op->wanted.attempt && j->attempt.floor == op->wanted.floor) {
        complete_attempt(s, op, j); /* nobody else writes while we lead: it was our lost write */
        return;
    }
    op->wanted = meta_attempt_raise(j->attempt, j->has_last ? &j->last : NULL, op->above);
    op->wrote = true;
    AUTO(buf_free) buf_t text = buf_make(1 << 16);
    meta_attempt_print(&text, &op->wanted);
    send_compared(s, op, j, "attempt", buf_slice(&text));
}

static void decide_manifest(etcd_store_t *s, etcd_op_t *op, const etcd_job_t *j) {
    bool there = j->has_last && meta_pointer_eq(&j->last, &op->now);
    bool fits = j->has_attempt && j->attempt.attempt == op->now.attempt &&
                (op->has_previous ? j->has_last && meta_pointer_eq(&j->last, &op->previous) : !j->has_last);
    if (fits && !there) {
        AUTO(buf_free) buf_t text = buf_make(1 << 16);
        meta_pointer_print(&text, &op->now);
        send_compared(s, op, j, "last", buf_slice(&text));
    } else if (!op->fresh) {
        send_read(s, op); /* not on the word of a cache, and only a leader may answer */
    } else if (there) {
        complete_ok(s, op);
    } else {
        complete_failed(s, op, STORE_REFUSED, err_new(ERR_FENCED, "another attempt or manifest is in %s", s->where));
    }
}

static void begin(etcd_store_t *s, etcd_op_t *op) {
    const etcd_job_t *j = job_known(s, op->job);
    switch (op->kind) {
    case OP_LOAD: send_load(s, op); break;
    case OP_PUT_JOB: send_put_job(s, op); break;
    case OP_DELETE: send_delete(s, op); break;
    case OP_RAISE:
        if (j) decide_raise(s, op, j);
        else send_read(s, op);
        break;
    case OP_LOOK:
        if (j && op->fresh) complete_attempt(s, op, j);
        else send_read(s, op);
        break;
    case OP_MANIFEST:
        if (j) decide_manifest(s, op, j);
        else send_read(s, op);
        break;
    }
}

/* ---- answers */
static void loaded(etcd_store_t *s, etcd_op_t *op, const etcd_answer_t *r) {
    for (int i = 0; i < r->nkvs; i++) {
        const char *slash = strrchr(r->kvs[i].key, '/');
        if (!slash || strcmp(slash, "/record") != 0) continue;
        op->records = xrealloc(op->records, (size_t)(op->nrecords + 1) * sizeof *op->records);
        op->records[op->nrecords++] = xstrndup((const char *)r->kvs[i].value.p, r->kvs[i].value.len);
    }
    if (r->more && r->nkvs) { /* the next key is the last one with a byte behind it; ours hold none below '/' */
        free(op->from);
        op->from = xprintf("%s\x01", r->kvs[r->nkvs - 1].key);
        begin(s, op);
        return;
    }
    meta_result_t all = {.outcome = STORE_OK, .njobs = op->nrecords, .records = TAKE(op->records)};
    op->nrecords = 0;
    complete(s, op, all);
}

static void wrote(etcd_store_t *s, etcd_op_t *op, const etcd_answer_t *r) {
    etcd_job_t *j = job_known(s, op->job);
    if (op->kind == OP_RAISE) {
        ASSERT(j);
        j->has_attempt = true;
        j->attempt = op->wanted;
        j->attempt_mod = r->revision;
        complete_attempt(s, op, j);
        return;
    }
    if (op->kind == OP_MANIFEST) {
        ASSERT(j);
        meta_pointer_done(&j->last);
        j->last = meta_pointer_copy(&op->now);
        j->has_last = true;
        j->last_mod = r->revision;
    }
    complete_ok(s, op);
}

/* A compare failed: nothing was written. Ours to lead no more, or the fence moved, or the job's keys are not as we knew them. */
static void compare_failed(etcd_store_t *s, etcd_op_t *op, const etcd_answer_t *r) {
    const etcd_kv_t *leader = etcd_find(r, s->leader_key);
    if (!leader || leader->create != s->leader) {
        complete_failed(s, op, STORE_REFUSED, err_new(ERR_FENCED, "another process leads in %s", s->where));
        leader_lost(s, err_new(ERR_FENCED, "another process leads in %s", s->where));
        return;
    }
    s->fence = MAX(s->fence, leader->mod);
    job_forget(s, op->job);
    op->fresh = false;
    if (++op->tries > TRIES_MAX)
        complete_failed(s, op, STORE_FAILED, err_new(ERR_FENCED, "the keys of the job change in %s although this process leads", s->where));
}

/* etcd refuses it and will refuse it again. */
static bool hopeless(const err_t *e) {
    err_code_t c = err_code(e);
    return c == ERR_NO_SPACE || c == ERR_DENIED || c == ERR_INVALID || c == ERR_LIMIT || c == ERR_NOT_FOUND;
}

static void failed(etcd_store_t *s, etcd_op_t *op, err_t *e, bool certain, bool write) {
    if (certain && hopeless(e)) {
        complete_failed(s, op, op->uncertain ? STORE_UNKNOWN : STORE_FAILED, err_wrap(e, "%s", s->where));
        return;
    }
    if (write && !certain) {
        op->uncertain = s->fence_dirty = true;
        job_forget(s, op->job);
    }
    op->fresh = false;
    op->retry_ms = clock_mono_ms() + RETRY_MS;
    err_free(op->why);
    op->why = e;
}

void ops_answer(etcd_store_t *s, etcd_msg_t *m) {
    etcd_op_t *op = m->op;
    AUTO(arena_freep) arena_t *a = arena_new();
    etcd_answer_t r;
    bool certain, write = m->request == REQ_WRITE;
    err_t *e = etcd_receive(s, m, a, &r, &certain);
    op->sent = op->writing = false;
    if (e) {
        failed(s, op, e, certain, write);
    } else if (op->kind == OP_LOAD) {
        loaded(s, op, &r);
    } else if (!r.succeeded) {
        compare_failed(s, op, &r);
    } else if (write) {
        wrote(s, op, &r);
    } else if ((e = job_read(s, op->job, &r)) != NULL) {
        complete_failed(s, op, STORE_FAILED, e);
    } else {
        op->fresh = true; /* ops_tick goes on, unless a fence is needed first: a write must not go out while one is under way */
    }
}

static bool waits_for_earlier(etcd_store_t *s, const etcd_op_t *op) {
    for (etcd_op_t *o = s->ops; o != op; o = o->next)
        if (o->job == op->job && o->kind != OP_LOAD) return true;
    return false;
}

static void late(etcd_store_t *s, etcd_op_t *op) {
    err_t *e = op->why ? err_wrap(TAKE(op->why), "%s", s->where) : err_new(ERR_TIMEOUT, "%s is too slow", s->where);
    complete_failed(s, op, op->uncertain ? STORE_UNKNOWN : STORE_FAILED, e);
}

int64_t ops_tick(etcd_store_t *s, int64_t now) {
    int64_t next = NEVER;
    etcd_op_t *after;
    for (etcd_op_t *op = s->ops; op; op = after) {
        after = op->next;
        if (op->sent) continue; /* its request ends by the deadline */
        if (now >= op->deadline_ms) {
            late(s, op);
            continue;
        }
        next = MIN(next, op->deadline_ms);
        if (s->fence_dirty || waits_for_earlier(s, op)) continue;
        if (now < op->retry_ms) next = MIN(next, op->retry_ms);
        else begin(s, op);
    }
    return next;
}
