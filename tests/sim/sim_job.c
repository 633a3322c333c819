/* sim_job.c: the jobs of the simulator as SQL, their input, and what their output must be.
 *
 * Input: SIM_PARTITIONS partitions; row o of partition p has id o * SIM_PARTITIONS + p and values that follow from (seed, id) alone; it arrives at a
 * virtual time that follows from o. No row is later than the watermark allows, so the output does not depend on the order of arrival; but for the
 * window job one in LATE_EVERY rows of a partition is far too late: it arrives when a complete epoch holds that its window has fired, and nothing may
 * come of it, also when the attempt after a crash begins with it (hazards A9). */
#include "tests/sim/sim.h"
#include "coordinator/resolve.h"
#include "engine/connector/connector.h"
#include "sql/sql.h"
#include <stdio.h>
#include <stdlib.h>

#define EVENT_STEP_MS 20
#define WINDOW_MS 1000
#define DELAY_MS 900
#define POLL_ROWS 24
#define LATE_EVERY 50
#define LATE_MS 4000

/* ---------------------------------------------------------------- the rows */
typedef struct row { int64_t id, v, ts_ms; int key; } row_t;
/* The input is the same for every seed, but for its number of rows and keys: the faults differ. */
static bool is_late(const sim_job_t *j, int64_t offset) { return j->kind == JOB_WINDOW && offset % LATE_EVERY == LATE_EVERY - 1; }
static row_t row_of(const sim_job_t *j, int partition, int64_t offset) {
    row_t r = {.id = offset * SIM_PARTITIONS + partition};
    uint64_t h = hash_mix((uint64_t)r.id * 0x9e3779b97f4a7c15u + 1);
    r.key = (int)(h % (uint64_t)j->keys);
    r.v = (int64_t)(h >> 20 & 127);
    r.ts_ms = 3600000 + offset * EVENT_STEP_MS - (int64_t)(h >> 40) % DELAY_MS - (is_late(j, offset) ? LATE_MS : 0);
    return r;
}
static int64_t event_time(const sim_t *s) { /* of the windows, in the last complete epoch */
    const manifest_t *m = etcd_manifest(s->etcd);
    return m && s->job.plan ? manifest_watermark(m, s->job.plan->nstages - 1) : WATERMARK_NONE;
}
static bool has_fired(int64_t time, int64_t ts_ms) { return time != WATERMARK_NONE && time >= ts_ms / WINDOW_MS * WINDOW_MS + WINDOW_MS - 1; }
/* The rows from `from` that may be read: up to the next late one whose window has not fired for good. */
static int64_t before_late(sim_t *s, int partition, int64_t from, int64_t to) {
    for (int64_t o = from; o < to; o++) {
        if (!is_late(&s->job, o)) continue;
        if (!has_fired(event_time(s), row_of(&s->job, partition, o).ts_ms)) return o;
        sim_reach(s, ROW_LATE);
        return o + 1;
    }
    return to;
}

/* ---------------------------------------------------------------- the source: what a topic is to the task */
typedef struct src { sim_t *s; int next; } src_t;
/* The engine knows a source by its connector's name only, and instances get no argument of ours: the simulation that is being stepped. One thread. */
static _Thread_local sim_t *playing;

static err_t *src_open(source_t *s) {
    ((src_t *)s->self)->s = playing;
    return NULL;
}
static void fill(source_t *s, const sim_job_t *j, int partition, const split_t *sp, uint32_t n, batch_t *b) {
    const plan_op_t *op = s->env.op;
    for (int c = 0; c < op->nscan; c++) {
        const char *name = op->table->physical->fields[op->scan[c]].name;
        column_t *col = &b->cols[c];
        for (uint32_t i = 0; i < n; i++) {
            row_t r = row_of(j, partition, sp->position + i);
            if (!strcmp(name, "id")) col->i64[i] = r.id;
            else if (!strcmp(name, "v")) col->i64[i] = r.v;
            else if (!strcmp(name, "ts")) col->i64[i] = r.ts_ms * 1000;
            else {
                char *p = mem_alloc(b->mem, 8);
                int len = snprintf(p, 8, "k%d", r.key);
                col->str[i] = (str_t){p, (uint32_t)len, 0};
            }
        }
    }
}
/* By time, and so many per complete epoch that a seed cannot be over before SIM_EPOCHS of them, nor before SIM_FAULTS faults. */
static int64_t rows_arrived(const sim_t *s, int64_t *next_ms) {
    const sim_job_t *j = &s->job;
    int64_t now = sim_now_ms(s), n = (now - 1000) * j->rows / j->span_ms, upto = (int64_t)(s->epochs + 2) * j->rows / SIM_EPOCHS;
    if (s->faults_on && s->faults < SIM_FAULTS) upto = MIN(upto, j->rows * 9 / 10);
    *next_ms = MIN(*next_ms, now + (n < upto ? j->span_ms / j->rows + 1 : 5));
    return MIN(MIN(n, upto), j->rows);
}
static src_status_t src_poll(source_t *s, batch_t **ret, int *ret_split, err_t **reterr) {
    src_t *x = s->self;
    const sim_job_t *j = &x->s->job;
    bool all = true;
    int64_t next = INT64_MAX, now = sim_now_ms(x->s);
    for (int k = 0; k < s->splits.n; k++) {
        int i = (x->next + k) % s->splits.n;
        split_t *sp = &s->splits.items[i];
        if (sp->position >= sp->end) {
            sp->ended = true;
            continue;
        }
        all = false;
        int64_t arrived = rows_arrived(x->s, &next);
        if (arrived <= sp->position) continue;
        arrived = before_late(x->s, atoi(sp->id), sp->position, MIN(arrived, sp->position + POLL_ROWS));
        if (arrived <= sp->position) continue;
        uint32_t n = (uint32_t)MIN(arrived - sp->position, (int64_t)POLL_ROWS);
        batch_t *b = batch_new_schema(s->env.op->schema, n);
        fill(s, j, atoi(sp->id), sp, n, b);
        sp->position += n;
        s->rows_out += n;
        if (sp->position >= sp->end) sp->ended = true;
        x->next = (i + 1) % s->splits.n;
        *ret = b;
        *ret_split = i;
        return SRC_MORE;
    }
    /* its clock may be skewed against ours: what it compares with is eval's */
    s->next_poll_ms = next == INT64_MAX ? next : s->env.eval->now_ms + MAX(next - now, (int64_t)1);
    return all ? SRC_ENDED : SRC_WAIT;
}
static void src_close(source_t *s) {}
static const source_vtable_t sim_source = {.connector = "kafka", .state_size = sizeof(src_t), .open = src_open, .poll = src_poll, .close = src_close};
const source_vtable_t *sim_find_source(const char *connector) { return &sim_source; }

/* ---------------------------------------------------------------- a sink whose rows are seen at once, and again after a restart */
static err_t *loose_open(sink_t *s) { return NULL; }
static op_status_t loose_write(sink_t *s, const batch_t *b, err_t **reterr) {
    sim_t *sim = playing;
    for (uint32_t i = 0; i < b->n; i++) {
        if (batch_kind(b, i) != ROW_INSERT && batch_kind(b, i) != ROW_UPDATE_AFTER) continue;
        if ((sim->nloose & (sim->nloose + 1)) == 0) sim->loose = xrealloc(sim->loose, (size_t)(2 * sim->nloose + 2) * sizeof *sim->loose);
        char key[8];
        snprintf(key, sizeof key, "%.*s", (int)b->cols[0].str[i].len - 1, b->cols[0].str[i].p + 1);
        sim->loose[sim->nloose++] = (loose_row_t){atoi(key), b->cols[1].i64[i], b->cols[2].i64[i]};
    }
    s->rows_in += b->n;
    return OP_DONE;
}
static void loose_close(sink_t *s) {}
static const sink_vtable_t loose_sink = {.connector = "print", .state_size = 1, .takes_updates = true,
                                          .open = loose_open, .write = loose_write, .close = loose_close};
const sink_vtable_t *sim_find_sink(const char *connector) { return strcmp(connector, "print") == 0 ? &loose_sink : sink_find(connector); }

/* ---------------------------------------------------------------- the text */
static const char *const kind_names[] = {"window", "upsert", "filter", "twins", "loose", "direct"};
static char *sql_of(const sim_job_t *j) {
    static const char source[] =
        "SET 'execution.checkpointing.interval' = '%d ms';\nSET 'execution.checkpointing.timeout' = '4 s';\n"
        "SET 'checkpoint.base.interval' = '400 ms';\nSET 'restart.delay' = '50 ms';\nSET 'restart.delay.max' = '300 ms';\n"
        "SET 'restart.max' = '1000000';\n"
        "CREATE TABLE events (id BIGINT, k STRING, v BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '1' SECOND) WITH (\n"
        "  'connector' = 'kafka', 'topic' = 'events', 'properties.bootstrap.servers' = 'sim:9092', 'scan.startup.mode' = 'earliest-offset',\n"
        "  'format' = 'json');\n";
    static const char *const sinks[] = {
        "CREATE TABLE results (ws TIMESTAMP(3), k STRING, cnt BIGINT, total BIGINT) WITH ('connector' = 'kafka', 'topic' = 'results',\n"
        "  'properties.bootstrap.servers' = 'sim:9092', 'format' = 'json', 'sink.delivery-guarantee' = 'exactly-once',\n"
        "  'sink.transactional-id-prefix' = 'sim');\n"
        "INSERT INTO results SELECT TUMBLE_START(ts, INTERVAL '1' SECOND), k, COUNT(*), SUM(v) FROM events\n"
        "  GROUP BY TUMBLE(ts, INTERVAL '1' SECOND), k;\n",
        "CREATE TABLE results (k STRING, cnt BIGINT, total BIGINT, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'upsert-kafka',\n"
        "  'topic' = 'results', 'properties.bootstrap.servers' = 'sim:9092', 'key.format' = 'json', 'value.format' = 'json',\n"
        "  'sink.delivery-guarantee' = 'exactly-once', 'sink.transactional-id-prefix' = 'sim');\n"
        "INSERT INTO results SELECT k, COUNT(*), SUM(v) FROM events GROUP BY k;\n",
        "CREATE TABLE results (id BIGINT, k STRING, v2 BIGINT) WITH ('connector' = 'kafka', 'topic' = 'results',\n"
        "  'properties.bootstrap.servers' = 'sim:9092', 'format' = 'json', 'sink.delivery-guarantee' = 'exactly-once',\n"
        "  'sink.transactional-id-prefix' = 'sim');\n"
        "INSERT INTO results SELECT id, k, v * 2 FROM events WHERE v < 100;\n",
        /* equal queries: two counters or one, never one counted twice (hazards A18) */
        "CREATE TABLE results (k STRING, cnt BIGINT, total BIGINT, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'upsert-kafka',\n"
        "  'topic' = 'results', 'properties.bootstrap.servers' = 'sim:9092', 'key.format' = 'json', 'value.format' = 'json',\n"
        "  'sink.delivery-guarantee' = 'exactly-once', 'sink.transactional-id-prefix' = 'sim');\n"
        "CREATE TABLE twin (k STRING, cnt BIGINT, total BIGINT, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'upsert-kafka',\n"
        "  'topic' = 'twin', 'properties.bootstrap.servers' = 'sim:9092', 'key.format' = 'json', 'value.format' = 'json',\n"
        "  'sink.delivery-guarantee' = 'exactly-once', 'sink.transactional-id-prefix' = 'sim2');\n"
        "EXECUTE STATEMENT SET BEGIN\n"
        "INSERT INTO results SELECT k, COUNT(*), SUM(v) FROM events GROUP BY k;\n"
        "INSERT INTO twin SELECT k, COUNT(*), SUM(v) FROM events GROUP BY k;\nEND;\n",
        "CREATE TABLE results (k STRING, cnt BIGINT, total BIGINT) WITH ('connector' = 'print');\n"
        "INSERT INTO results SELECT k, COUNT(*), SUM(v) FROM events GROUP BY k;\n",
        "CREATE TABLE results (id BIGINT, k STRING, v2 BIGINT) WITH ('connector' = 'kafka', 'topic' = 'results',\n"
        "  'properties.bootstrap.servers' = 'sim:9092', 'format' = 'json', 'sink.delivery-guarantee' = 'at-least-once');\n"
        "INSERT INTO results SELECT id, k, v * 2 FROM events WHERE v < 100;\n",
    };
    static const char distinct[] = /* each id is one row: the counts are those above */
        "CREATE TABLE results (k STRING, cnt BIGINT, total BIGINT, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'upsert-kafka',\n"
        "  'topic' = 'results', 'properties.bootstrap.servers' = 'sim:9092', 'key.format' = 'json', 'value.format' = 'json',\n"
        "  'sink.delivery-guarantee' = 'exactly-once', 'sink.transactional-id-prefix' = 'sim');\n"
        "INSERT INTO results SELECT k, (COUNT(DISTINCT id) + COUNT(DISTINCT CAST(id AS STRING))) / 2, SUM(v) FROM events GROUP BY k;\n";
    AUTO(auto_free) char *head = xprintf(source, j->interval_ms);
    const char *text = j->distinct ? distinct : sinks[j->kind], *option = strstr(text, "'sink.transactional-id-prefix'");
    if (!j->lanes || !option) return xprintf("%s%s", head, text);
    return xprintf("%s%.*s'sink.parallelism' = '%d', %s", head, (int)(option - text), text, j->lanes, option);
}
job_spec_t sim_job_spec(const sim_job_t *j) {
    return (job_spec_t){.name = xstrdup(kind_names[j->kind]), .sql = xstrdup(j->sql), .file = xstrdup("sim.sql"), .parallelism = j->parallelism};
}
static err_t *compile(void *arg, const job_spec_t *spec, plan_t **ret) {
    sql_source_t src = {.text = spec->sql, .len = strlen(spec->sql), .file = spec->file, .parallelism = spec->parallelism};
    return sql_compile(&src, ret);
}
void sim_job_make(sim_job_t *j, job_kind_t kind) {
    *j = (sim_job_t){.kind = kind, .rows = 700, .span_ms = 2000, .keys = 13, .interval_ms = 40, .parallelism = 3};
}
void sim_job_done(sim_job_t *j) {
    if (j->plan) plan_free(j->plan);
    if (j->before) plan_free(j->before);
    free(j->sql);
}
void sim_job_rescale(sim_t *s, int parallelism, int lanes) {
    if (s->job.before && s->job.plan) plan_free(TAKE(s->job.plan)); /* was refused */
    else s->job.before = TAKE(s->job.plan);                        /* an attempt may still be taken apart */
    s->job.parallelism = parallelism;
    s->job.lanes = lanes;
    free(s->job.sql);
    s->job.sql = sql_of(&s->job);
}
/* Compiled once: a plan is immutable, and every process would make the same. */
static err_t *prepare(sim_t *s) {
    playing = s;
    if (s->job.plan) return NULL;
    if (!s->job.sql) s->job.sql = sql_of(&s->job);
    job_spec_t spec = sim_job_spec(&s->job);
    err_t *e = compile(NULL, &spec, &s->job.plan);
    job_spec_free(&spec);
    return e;
}
err_t *sim_job_shape(sim_t *s, bool enumerate, job_shape_t **ret) {
    TRY(prepare(s));
    job_spec_t spec = sim_job_spec(&s->job);
    resolver_t r = {.compile = compile, .cluster = "sim"};
    err_t *e = resolve_job(&r, &spec, /* enumerate= */ false, ret); /* the brokers are not there: splits are ours */
    job_spec_free(&spec);
    if (e) return e;
    (*ret)->settings.discovery_interval_ms = 0;
    for (int i = 0; enumerate && i < (*ret)->nsources; i++)
        for (int p = 0; p < SIM_PARTITIONS; p++) {
            char id[8];
            snprintf(id, sizeof id, "%d", p);
            split_list_add(&(*ret)->sources[i].splits, &(split_t){.id = id, .end = s->job.rows, .watermark = WATERMARK_NONE});
        }
    return NULL;
}

/* ---------------------------------------------------------------- the reference and the verdict */
typedef struct lines { int n, cap; char **items; } lines_t;
static void line_add(lines_t *l, char *text) {
    if (l->n == l->cap) l->items = xrealloc(l->items, (size_t)(l->cap = l->cap ? 2 * l->cap : 256) * sizeof(char *));
    l->items[l->n++] = text;
}
static void lines_free(lines_t *l) {
    for (int i = 0; i < l->n; i++) free(l->items[i]);
    free(l->items);
}
static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

typedef struct cell { int64_t cnt, total; } cell_t;
static char *window_text(int64_t start_ms, int key, const cell_t *c) {
    int64_t sec = start_ms / 1000;
    return xprintf("{\"ws\":\"1970-01-01 %02d:%02d:%02d\",\"k\":\"k%d\",\"cnt\":%" PRId64 ",\"total\":%" PRId64 "}", (int)(sec / 3600), (int)(sec / 60 % 60),
                   (int)(sec % 60), key, c->cnt, c->total);
}
/* How far the input was read: to its end, but of a job that was stopped to where its last manifest says. */
static int64_t rows_read(sim_t *s, int partition) {
    const manifest_t *m = etcd_manifest(s->etcd);
    if (etcd_job_state(s->etcd) != JOB_STOPPED || !m || !m->nsources) return s->job.rows;
    for (int i = 0; i < m->sources[0].splits.n; i++)
        if (atoi(m->sources[0].splits.items[i].id) == partition) return m->sources[0].splits.items[i].position;
    return 0;
}
char *direct_line(int64_t id, slice_t k, int64_t v2) {
    return xprintf("{\"id\":%" PRId64 ",\"k\":\"%.*s\",\"v2\":%" PRId64 "}", id, (int)k.len, (const char *)k.p, v2);
}
static char *filter_line(const row_t *r) {
    char k[16];
    return direct_line(r->id, slice_of(k, (size_t)snprintf(k, sizeof k, "k%d", r->key)), 2 * r->v);
}
static void reference(sim_t *s, lines_t *l) {
    const sim_job_t *j = &s->job;
    int windows = j->kind == JOB_WINDOW ? (int)(j->rows * EVENT_STEP_MS / WINDOW_MS + 3) : 1;
    int64_t first = 3600000 - WINDOW_MS;
    int64_t time = etcd_job_state(s->etcd) == JOB_STOPPED ? event_time(s) : WATERMARK_END; /* stopped: what has not fired is state of the savepoint */
    cell_t *cells = xcalloc((size_t)(windows * j->keys), sizeof *cells);
    for (int p = 0; p < SIM_PARTITIONS; p++)
        for (int64_t o = 0, n = rows_read(s, p); o < n; o++) {
            row_t r = row_of(j, p, o);
            if (is_late(j, o) || (j->kind == JOB_WINDOW && !has_fired(time, r.ts_ms))) continue;
            if (j->kind == JOB_FILTER || j->kind == JOB_DIRECT) {
                if (r.v < 100) line_add(l, filter_line(&r));
                continue;
            }
            int w = j->kind == JOB_WINDOW ? (int)((r.ts_ms - first) / WINDOW_MS) : 0;
            cell_t *c = &cells[w * j->keys + r.key];
            c->cnt++;
            c->total += r.v;
        }
    for (int w = 0; w < windows && j->kind != JOB_FILTER && j->kind != JOB_DIRECT; w++)
        for (int k = 0; k < j->keys; k++) {
            const cell_t *c = &cells[w * j->keys + k];
            if (!c->cnt) continue;
            if (j->kind == JOB_WINDOW) line_add(l, window_text(first + (int64_t)w * WINDOW_MS, k, c));
            else line_add(l, xprintf("{\"k\":\"k%d\",\"cnt\":%" PRId64 ",\"total\":%" PRId64 "}", k, c->cnt, c->total));
        }
    free(cells);
}

typedef struct seen { const sim_job_t *j; lines_t lines; int64_t cnt[1024]; int lane[1024]; char *last[1024]; const char *wrong; char text[600]; } seen_t;
/* Upserts: a key has one lane (A17), its counts only rise, each published once; the last one is the row. */
static void see_upsert(seen_t *x, int lane, char *text) {
    int key;
    long long cnt, total;
    if (sscanf(text, "{\"k\":\"k%d\",\"cnt\":%lld,\"total\":%lld}", &key, &cnt, &total) != 3 || key < 0 || key >= x->j->keys) {
        snprintf(x->text, sizeof x->text, "an unexpected record: %s", text);
        x->wrong = x->text;
        free(text);
        return;
    }
    if (cnt <= x->cnt[key]) {
        snprintf(x->text, sizeof x->text, "key k%d: count %lld after %" PRId64 ": doubled or out of order", key, cnt, x->cnt[key]);
        x->wrong = x->text;
    }
    if (x->last[key] && x->lane[key] != lane) {
        snprintf(x->text, sizeof x->text, "key k%d is published by lanes %d and %d (A17)", key, x->lane[key], lane);
        x->wrong = x->text;
    }
    x->lane[key] = lane;
    x->cnt[key] = cnt;
    free(x->last[key]);
    x->last[key] = text;
}
static void see(void *arg, int lane, bool has_key, slice_t key, bool has_value, slice_t value) {
    seen_t *x = arg;
    char *text = xstrndup(has_value ? (const char *)value.p : "tombstone", has_value ? value.len : 9);
    if (x->j->kind == JOB_UPSERT || x->j->kind == JOB_TWINS) see_upsert(x, lane, text);
    else line_add(&x->lines, text);
}
/* Each line that was delivered, once, whether it came once or again. */
static void lines_once(const direct_log_t *log, lines_t *l) {
    int n, kept = 0;
    char *const *all = direct_lines(log, &n);
    for (int i = 0; i < n; i++) line_add(l, xstrdup(all[i]));
    if (n) qsort(l->items, (size_t)n, sizeof(char *), by_text);
    for (int i = 0; i < n; i++) {
        if (kept && !strcmp(l->items[kept - 1], l->items[i])) free(l->items[i]);
        else l->items[kept++] = l->items[i];
    }
    l->n = kept;
}
void sim_job_check_delivered(sim_t *s, const manifest_t *m) {
    lines_t there = {0};
    lines_once(s->direct, &there);
    for (int i = 0; m->nsources && i < m->sources[0].splits.n; i++) {
        const split_t *sp = &m->sources[0].splits.items[i];
        for (int64_t o = 0; o < sp->position && !s->broken; o++) {
            row_t r = row_of(&s->job, atoi(sp->id), o);
            AUTO(auto_free) char *line = filter_line(&r);
            char *key = line;
            if (r.v < 100 && (!there.n || !bsearch(&key, there.items, (size_t)there.n, sizeof(char *), by_text)))
                sim_broken(s, "manifest %" PRIu64 " claims %s, which was never delivered (A15)", m->epoch, line);
        }
    }
    lines_free(&there);
}
static void verify(sim_t *s, const char *table, char *why, size_t size) {
    seen_t *x = xcalloc(1, sizeof *x);
    x->j = &s->job;
    if (s->job.kind == JOB_DIRECT) lines_once(s->direct, &x->lines);
    else kafka_read(s->kafka, table, see, x);
    for (int k = 0; k < 1024; k++)
        if (x->last[k]) line_add(&x->lines, x->last[k]);
    lines_t want = {0};
    reference(s, &want);
    if (want.n) qsort(want.items, (size_t)want.n, sizeof(char *), by_text);
    if (x->lines.n) qsort(x->lines.items, (size_t)x->lines.n, sizeof(char *), by_text);
    if (x->wrong) snprintf(why, size, "%s: %s", table, x->wrong);
    for (int i = 0, k = 0; !why[0] && (i < want.n || k < x->lines.n); i++, k++) {
        int c = i == want.n ? 1 : k == x->lines.n ? -1 : strcmp(want.items[i], x->lines.items[k]);
        if (c < 0) snprintf(why, size, "%s: lost: %s (%d records, %d wanted)", table, want.items[i], x->lines.n, want.n);
        if (c > 0) snprintf(why, size, "%s: doubled or wrong: %s (%d records, %d wanted)", table, x->lines.items[k], x->lines.n, want.n);
    }
    lines_free(&want);
    lines_free(&x->lines);
    free(x);
}
/* At least once: each key's last row came, whatever came before it and however often; nothing counts more than there was. (Of a job that was
 * stopped an attempt that died may have read on.) */
static void verify_loose(sim_t *s, char *why, size_t size) {
    lines_t want = {0};
    reference(s, &want);
    for (int i = 0; i < want.n && !why[0]; i++) {
        int key;
        long long cnt, total;
        int found = sscanf(want.items[i], "{\"k\":\"k%d\",\"cnt\":%lld,\"total\":%lld}", &key, &cnt, &total);
        ASSERT(found == 3);
        bool seen = false, more = false;
        for (int k = 0; k < s->nloose; k++) {
            if (s->loose[k].key != key) continue;
            seen |= s->loose[k].cnt == cnt && s->loose[k].total == total;
            more |= s->loose[k].cnt > cnt;
        }
        if (!seen) snprintf(why, size, "lost: %s", want.items[i]);
        else if (more && etcd_job_state(s->etcd) != JOB_STOPPED) snprintf(why, size, "key k%d counts rows twice, there are %lld", key, cnt);
    }
    lines_free(&want);
}
char *sim_verify(sim_t *s) {
    char why[700] = "";
    if (s->job.kind == JOB_LOOSE) {
        verify_loose(s, why, sizeof why);
        return why[0] ? xstrdup(why) : NULL;
    }
    verify(s, "results", why, sizeof why);
    if (s->job.kind == JOB_TWINS && !why[0]) verify(s, "twin", why, sizeof why);
    return why[0] ? xstrdup(why) : NULL;
}
