/* kafka_source.c: reads this subtask's partitions through one librdkafka consumer.
 *
 * Messages are decoded inside librdkafka's consume callback, straight into growing columns, one decoder pair per partition (rows of one batch come from
 * one partition, because event time is kept per partition). The message is gone when the callback returns, so strings are copied once there.
 *
 * Invariants
 *  1. A split's position is the offset after its last row that was EMITTED; rows decoded but not yet emitted lie behind it, so a barrier never
 *     covers a row that did not leave (hazards A23). The callback yields when a decoder is full.
 *  2. Offsets of a partition only grow; a message at or below the last one is dropped and counted: librdkafka can deliver stale ones after a seek (A24).
 *  3. An offset the broker does not have any more is an error by name, never a silent jump (A8): auto.offset.reset=error. Nor is another record
 *     taken for the next one: a restored source begins at the record before its position and compares it with what it read there (`mark`). If it
 *     differs the topic was made anew. If retention or compaction took it there is nothing to compare.
 *  4. A bounded split has ended when its end offset was passed; behind trailing control records only PARTITION_EOF shows that.
 * Thread: the task's; librdkafka's threads only call env.wake. */
#include "common/clock.h"
#include "engine/connector/kafka_dead.h"
#include "engine/connector/kafka_table.h"
#include <stdio.h>
#include <stdlib.h>

#define BATCH_STRING_BYTES ((size_t)1 << 20)
#define POLL_MESSAGES 16384  /* at most so many in one poll, also where none makes a row */
#define LAST_COMMIT_MS 1000  /* for the group's offsets when the source ends */
#define LOOK_EVERY_MS 1000   /* whether the brokers still answer */
#define OPEN_TXN_MS 2000     /* then it is worth a word */

typedef struct meta_cols { /* arrays of the batch being decoded, grown together */
    uint32_t cap;
    int64_t *offset, *timestamp;
    uint8_t *timestamp_type;
} meta_cols_t;

typedef struct part {
    char *topic;
    int partition;
    decoder_t *value, *key;
    int64_t next;   /* offset after the last decoded message */
    uint64_t mark;  /* of that message */
    bool comparing; /* it was asked for once more, and has not come */
    bool again;     /* it is not there any more: to be assigned at `next` */
    int64_t eof;    /* offset of the last PARTITION_EOF, -1 none since a message */
    int64_t open_at, open_ms; /* more lies behind this end, but no reader may have it, since then; -1: no such thing */
    bool tombstones;
    uint8_t *deletes; /* upsert: 1 = tombstone, per row; cap as meta */
    meta_cols_t meta;
    mem_t *headers_mem; /* of the headers of the batch being decoded; NULL: none yet */
    colbuilder_t *headers;
    dead_letters_t dead; /* of messages between the split's position and `next`: as little emitted as the rows beside them */
} part_t;

typedef struct kafka_source {
    arena_t *arena;
    kafka_table_t table;
    kafka_client_t *client;
    rd_kafka_queue_t *queue;
    part_t *parts;
    int nparts, turn;
    int *from;             /* scan column -> value decoder column, nvalue_scan + key decoder column, or -1 - metadata */
    int nvalue_scan, nkey_scan;
    const type_t *headers_type; /* NULL: nobody reads them */
    bool need_meta, filled; /* filled: some decoder is full */
    bool assign_again; /* some part->again */
    source_t *source;
    kafka_idle_t *idle;
    uint64_t skipped; /* by the decoders so far, as it is in source->bad_records */
    uint32_t polled;       /* messages of the present poll */
    bool heard;            /* .. and at least one was the broker's */
    decoder_t *key_probe;  /* dead letters: tries a key before the value's rows are there */
    dead_letters_t dead;   /* of the epoch so far */
    rd_kafka_queue_t *commits;
    rd_kafka_topic_partition_list_t *to_commit; /* the last complete epoch's, while a commit is under way or when it has failed */
    bool committing;
    int64_t commit_ms; /* not before */
    int64_t looked_ms;
    err_t *error;
} kafka_source_t;

static err_t *kafka_source_check(const table_t *t) { return kafka_table_check(t, true); }

static bool kafka_source_narrows(const table_t *t, int column) {
    const char *format, *prefix, *key = options_get(&t->options, "key.format");
    err_t *e = format_of_table(t, &format, &prefix);
    bool narrows = !e && format_narrows(format) && (!key || format_narrows(key)); /* a column may be of either */
    err_free(e);
    return narrows;
}

/* ---- messages */

static part_t *find_part(kafka_source_t *k, const rd_kafka_message_t *m) {
    for (int i = 0; i < k->nparts; i++) /* few partitions a task; the last one first would gain nothing measurable */
        if (k->parts[i].partition == m->partition && (k->nparts == 1 || !strcmp(k->parts[i].topic, rd_kafka_topic_name(m->rkt)))) return &k->parts[i];
    return NULL;
}

static void grow_meta(part_t *p, uint32_t rows) {
    if (rows <= p->meta.cap) return;
    uint32_t cap = MAX(p->meta.cap * 2, (uint32_t)1024);
    while (cap < rows) cap *= 2;
    p->meta.offset = xrealloc(p->meta.offset, cap * sizeof *p->meta.offset);
    p->meta.timestamp = xrealloc(p->meta.timestamp, cap * sizeof *p->meta.timestamp);
    p->meta.timestamp_type = xrealloc(p->meta.timestamp_type, cap);
    p->deletes = xrealloc(p->deletes, cap);
    p->meta.cap = cap;
}

static void add_headers(kafka_source_t *k, part_t *p, const rd_kafka_message_t *m, uint32_t rows) {
    if (!p->headers) {
        p->headers_mem = mem_new();
        p->headers = colbuilder_new(k->headers_type, p->headers_mem);
    }
    for (uint32_t i = 0; i < rows; i++) kafka_headers_add(p->headers, m);
}

static void take_headers(part_t *p, column_t *c, const type_t *t, mem_t *m, uint32_t n) {
    if (!p->headers) { /* no row */
        column_init(c, t, m, n);
        return;
    }
    colbuilder_finish(p->headers, c);
    colbuilder_free(p->headers);
    mem_link(m, p->headers_mem);
    mem_unref(p->headers_mem);
    p->headers = NULL;
    p->headers_mem = NULL;
}

static void add_meta(kafka_source_t *k, part_t *p, const rd_kafka_message_t *m, uint32_t from, uint32_t to) {
    grow_meta(p, to);
    rd_kafka_timestamp_type_t type = RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
    int64_t ms = k->need_meta ? rd_kafka_message_timestamp(m, &type) : 0;
    for (uint32_t i = from; i < to; i++) {
        p->meta.offset[i] = m->offset;
        p->meta.timestamp[i] = ms * 1000;
        p->meta.timestamp_type[i] = (uint8_t)type;
        p->deletes[i] = !m->payload;
    }
    if (k->headers_type) add_headers(k, p, m, to - from);
}

/* The key is decoded once per row of the value, so that both decoders hold the same rows. */
static err_t *decode_key(part_t *p, slice_t key, bool present, uint32_t rows) {
    for (uint32_t i = 0; i < rows; i++) {
        if (!present) {
            decoder_null_row(p->key);
            continue;
        }
        uint32_t before = decoder_rows(p->key);
        TRY(err_wrap(decoder_message(p->key, key), "key"));
        if (decoder_rows(p->key) == before) decoder_null_row(p->key); /* the format skipped what it could not read */
    }
    return NULL;
}

/* Rows cannot be taken back out of a decoder, so a key that may be bad is tried on one whose rows nobody wants. */
static err_t *try_key(kafka_source_t *k, const rd_kafka_message_t *m) {
    if (!k->key_probe || !m->key) return NULL;
    if (decoder_rows(k->key_probe) >= BATCH_ROWS_MAX) {
        batch_t *b = NULL;
        decoder_take(k->key_probe, &b);
        batch_free(b);
    }
    return err_wrap(decoder_message(k->key_probe, slice_of(m->key, m->key_len)), "key");
}

static err_t *decode(kafka_source_t *k, part_t *p, const rd_kafka_message_t *m) {
    uint32_t before = decoder_rows(p->value);
    TRY(try_key(k, m));
    if (m->payload) TRY(decoder_message(p->value, slice_of(m->payload, m->len)));
    else if (k->table.upsert) decoder_null_row(p->value);
    uint32_t rows = decoder_rows(p->value) - before;
    if (p->key) TRY(decode_key(p, slice_of(m->key, m->key_len), m->key != NULL, rows));
    if (k->need_meta || k->table.upsert) add_meta(k, p, m, before, before + rows);
    p->tombstones |= rows && !m->payload;
    return NULL;
}

static void on_error_message(kafka_source_t *k, part_t *p, rd_kafka_message_t *m) {
    if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        k->heard = true;
        if (p) p->eof = m->offset;
        return;
    }
    err_code_t code = kafka_error_code(m->err);
    if (!m->rkt) kafka_client_error(k->client, m->err, rd_kafka_message_errstr(m));
    if (code == ERR_UNAVAILABLE || k->error) return; /* librdkafka reconnects by itself; the job waits and says so */
    bool gone = m->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET || m->err == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE;
    if (gone && p && p->comparing) {
        p->comparing = false;
        p->again = k->assign_again = true;
        return;
    }
    if (gone)
        k->error = err_hint(err_new(ERR_DATA, "%s/%d: offset %" PRId64 " does not exist any more (deleted by retention, or the topic was made anew)",
                                    p ? p->topic : "?", m->partition, p ? p->next : m->offset), "what was in between is lost: start a new job at earliest-offset");
    else k->error = kafka_error(k->client, m->err, "reading %s/%d", p ? p->topic : "?", m->partition);
}

static void on_bad_record(kafka_source_t *k, part_t *p, const rd_kafka_message_t *m, err_t *e) {
    const plan_op_t *op = k->source->env.op;
    if (op->dead_letters && dead_letter_is(err_code(e))) {
        dead_letter_add(&p->dead, op->table, p->topic, m, e);
        k->source->bad_records++;
        err_free(e);
        return;
    }
    const format_config_t *f = &k->table.value;
    k->error = err_hint(err_wrap(e, "%s/%d offset %" PRId64, p->topic, p->partition, m->offset),
                        "'%s%s.dead-letter.topic' = '<topic>' collects such records, '%s%s.ignore-parse-errors' = 'true' skips them", f->prefix,
                        f->format, f->prefix, f->format);
}

/* Enough to tell a record from any other that may lie at its offset: its time, sizes and last bytes. Never 0. */
static uint64_t mark_of(const rd_kafka_message_t *m) {
    uint64_t last = 0, h = (uint64_t)rd_kafka_message_timestamp(m, NULL);
    if (m->len >= sizeof last) memcpy(&last, (const char *)m->payload + m->len - sizeof last, sizeof last);
    h = (h ^ (m->len << 32) ^ m->key_len ^ last) * 0x9e3779b97f4a7c15u;
    return (h ^ h >> 29) | 1;
}

static void compare(kafka_source_t *k, part_t *p, const rd_kafka_message_t *m) {
    p->comparing = false;
    if (mark_of(m) == p->mark) return;
    k->error = err_hint(err_new(ERR_DATA, "%s/%d: offset %" PRId64 " holds another record than the one that was read there: the topic was deleted and made anew",
                                p->topic, p->partition, m->offset), "what it held is lost: start a new job at earliest-offset");
    rd_kafka_yield(k->client->rk);
}

static void on_message(rd_kafka_message_t *m, void *opaque) {
    kafka_source_t *k = opaque;
    if (UNLIKELY(++k->polled >= POLL_MESSAGES)) rd_kafka_yield(k->client->rk);
    part_t *p = m->rkt ? find_part(k, m) : NULL;
    if (UNLIKELY(m->err || !p)) {
        if (m->err) on_error_message(k, p, m);
        if (k->error) rd_kafka_yield(k->client->rk);
        return;
    }
    split_t *split = &k->source->splits.items[p - k->parts];
    if (UNLIKELY(m->offset < p->next)) {
        if (p->comparing && m->offset == p->next - 1) compare(k, p, m);
        else k->source->stale_records++;
        return;
    }
    p->comparing = false;
    if (UNLIKELY(split->end >= 0 && m->offset >= split->end)) {
        p->next = MAX(p->next, split->end);
        p->mark = 0;
        return;
    }
    err_t *e = decode(k, p, m);
    if (UNLIKELY(e != NULL)) {
        on_bad_record(k, p, m, e);
        if (k->error) {
            rd_kafka_yield(k->client->rk);
            return;
        }
    }
    k->heard = true;
    p->next = m->offset + 1;
    p->mark = mark_of(m);
    p->eof = -1;
    k->source->bytes_in += m->len;
    if (UNLIKELY(decoder_rows(p->value) >= BATCH_ROWS_MAX || decoder_bytes(p->value) >= BATCH_STRING_BYTES ||
                 p->dead.records.len >= BATCH_STRING_BYTES)) {
        k->filled = true;
        rd_kafka_yield(k->client->rk); /* the rest goes back to the head of the queue */
    }
}

/* ---- open */

static void on_queue_event(rd_kafka_t *rk, void *opaque) {
    source_t *s = opaque;
    s->env.wake(s->env.wake_arg);
}

static err_t *plan_columns(kafka_source_t *k, source_t *s) {
    const plan_op_t *op = s->env.op;
    const table_t *t = op->table;
    int *value_scan = ARENA_ARRAY(k->arena, int, op->nscan + 1), *key_scan = ARENA_ARRAY(k->arena, int, op->nscan + 1);
    const type_t **value_types = ARENA_ARRAY(k->arena, const type_t *, op->nscan + 1), **key_types = ARENA_ARRAY(k->arena, const type_t *, op->nscan + 1);
    k->from = ARENA_ARRAY(k->arena, int, op->nscan + 1);
    for (int i = 0; i < op->nscan; i++) {
        int col = op->scan[i];
        if (col >= t->physical->n) {
            kafka_meta_t m;
            TRY(kafka_meta_of(t, col - t->physical->n, true, &m));
            k->from[i] = -1 - (int)m;
            k->need_meta = true;
            if (m == META_HEADERS) k->headers_type = op->schema->fields[i].type;
            continue;
        }
        k->from[i] = INT32_MAX;
        for (int j = 0; j < k->table.nkey; j++) /* the key wins: a tombstone has no value */
            if (k->table.key_cols[j] == col) {
                k->from[i] = -1000 - k->nkey_scan;
                key_types[k->nkey_scan] = op->schema->fields[i].type;
                key_scan[k->nkey_scan++] = j;
            }
        for (int j = 0; j < k->table.nvalue && k->from[i] == INT32_MAX; j++)
            if (k->table.value_cols[j] == col) {
                k->from[i] = k->nvalue_scan;
                value_types[k->nvalue_scan] = op->schema->fields[i].type;
                value_scan[k->nvalue_scan++] = j;
            }
    }
    for (int i = 0; i < op->nscan; i++) /* key columns lie behind the value's */
        if (k->from[i] <= -1000) k->from[i] = k->nvalue_scan + (-1000 - k->from[i]);
    k->table.value.scan = value_scan;
    k->table.value.nscan = k->nvalue_scan;
    k->table.value.types = value_types;
    k->table.key.types = key_types;
    k->table.key.scan = key_scan;
    k->table.key.nscan = k->nkey_scan;
    return NULL;
}

static err_t *add_part(kafka_source_t *k, const split_t *split) {
    if ((k->nparts & (k->nparts - 1)) == 0) k->parts = xrealloc(k->parts, sizeof *k->parts * (size_t)(k->nparts ? k->nparts * 2 : 1));
    part_t *p = &k->parts[k->nparts];
    *p = (part_t){.next = split->position, .mark = split->mark, .comparing = split->mark != 0 && split->position > 0, .eof = -1, .open_at = -1};
    int len = kafka_split_parse(split->id, &p->partition);
    if (p->partition < 0) return err_new(ERR_CORRUPT, "split '%s' names no partition", split->id);
    p->topic = xstrndup(split->id, (size_t)len);
    k->nparts++;
    TRY(decoder_new(&k->table.value, &p->value));
    return k->nkey_scan ? decoder_new(&k->table.key, &p->key) : NULL;
}

static rd_kafka_topic_partition_list_t *assignment(const kafka_source_t *k, const split_list_t *splits, int from) {
    rd_kafka_topic_partition_list_t *l = rd_kafka_topic_partition_list_new(splits->n);
    for (int i = from; i < splits->n; i++) {
        const part_t *p = &k->parts[i];
        if (!splits->items[i].ended) rd_kafka_topic_partition_list_add(l, p->topic, p->partition)->offset = p->next - p->comparing;
    }
    return l;
}

/* Splits from `from` on are what this client is assigned. */
static err_t *connect_client(source_t *s, int from) {
    kafka_source_t *k = s->self;
    kafka_setting_t defaults[] = {{"group.id", "tidegate"}, {"fetch.message.max.bytes", "200000"}, {"queued.min.messages", "10000000"},
                                  {"queued.max.messages.kbytes", "16384"}, {"fetch.max.bytes", "1048576"},
                                  {"fetch.wait.max.ms", "500"}, {"fetch.error.backoff.ms", "50"}, {0}};
    kafka_setting_t ours[] = {{"enable.auto.commit", "false"}, {"enable.auto.offset.store", "false"}, {"enable.partition.eof", "true"},
                              {"auto.offset.reset", "error"}, {"allow.auto.create.topics", "false"}, {0}};
    TRY(kafka_client_new(s->env.op->table, RD_KAFKA_CONSUMER, defaults, ours, 0, &k->client));
    rd_kafka_poll_set_consumer(k->client->rk);
    k->queue = rd_kafka_queue_get_consumer(k->client->rk);
    rd_kafka_queue_cb_event_enable(k->queue, on_queue_event, s);
    kafka_gate_queue(k->client->gate, k->queue);
    k->commits = rd_kafka_queue_new(k->client->rk);
    rd_kafka_queue_cb_event_enable(k->commits, on_queue_event, s);
    rd_kafka_topic_partition_list_t *l = assignment(k, &s->splits, from);
    rd_kafka_resp_err_t code = rd_kafka_assign(k->client->rk, l);
    rd_kafka_topic_partition_list_destroy(l);
    return code ? kafka_error(k->client, code, "assigning partitions") : NULL;
}

static err_t *kafka_source_open(source_t *s) {
    kafka_source_t *k = s->self;
    k->source = s;
    k->arena = arena_new();
    TRY(kafka_table_read(k->arena, s->env.op->table, &k->table));
    TRY(plan_columns(k, s));
    for (int i = 0; i < s->splits.n; i++) TRY(add_part(k, &s->splits.items[i]));
    if (s->env.op->dead_letters && k->nkey_scan) TRY(decoder_new(&k->table.key, &k->key_probe));
    return s->splits.n ? connect_client(s, 0) : NULL; /* nothing to read: no connection */
}

/* ---- batches */

static void text_column(column_t *c, mem_t *m, uint32_t n, const char *text) {
    char *copy = mem_alloc(m, strlen(text) + 1);
    memcpy(copy, text, strlen(text) + 1);
    for (uint32_t i = 0; i < n; i++) c->str[i] = (str_t){copy, (uint32_t)strlen(text), 0};
}

static void meta_column(column_t *c, const type_t *t, mem_t *m, const part_t *p, kafka_meta_t kind, uint32_t n) {
    static const char *const types[] = {"NoTimestampType", "CreateTime", "LogAppendTime"};
    column_init(c, t, m, n);
    switch (kind) {
    case META_TOPIC: text_column(c, m, n, p->topic); break;
    case META_PARTITION:
        for (uint32_t i = 0; i < n; i++) c->i32[i] = p->partition;
        break;
    case META_OFFSET: memcpy(c->i64, p->meta.offset, n * sizeof *c->i64); break;
    case META_TIMESTAMP: memcpy(c->i64, p->meta.timestamp, n * sizeof *c->i64); break;
    case META_TIMESTAMP_TYPE: text_column(c, m, n, types[MIN(p->meta.timestamp_type[0], (uint8_t)2)]); break;
    case META_LEADER_EPOCH: memset(column_need_nulls(c, m, n), 1, n); break; /* librdkafka 2.0 does not tell */
    case META_HEADERS: /* take_headers */
    case META_KINDS: UNREACHABLE();
    }
}

static batch_t *take(kafka_source_t *k, part_t *p) {
    const plan_op_t *op = k->source->env.op;
    batch_t *value = NULL, *key = NULL, *b = batch_new(op->nscan);
    uint32_t n = decoder_rows(p->value);
    decoder_take(p->value, &value);
    if (p->key) decoder_take(p->key, &key);
    b->n = n;
    mem_link(b->mem, value->mem);
    if (key) mem_link(b->mem, key->mem);
    for (int i = 0; i < op->nscan; i++) {
        int from = k->from[i];
        if (from == -1 - (int)META_HEADERS) take_headers(p, &b->cols[i], op->schema->fields[i].type, b->mem, n);
        else if (from < 0) meta_column(&b->cols[i], op->schema->fields[i].type, b->mem, p, (kafka_meta_t)(-1 - from), n);
        else b->cols[i] = from < k->nvalue_scan ? value->cols[from] : key->cols[from - k->nvalue_scan];
    }
    if (p->tombstones) {
        b->kinds = mem_zalloc(b->mem, n);
        for (uint32_t i = 0; i < n; i++) b->kinds[i] = p->deletes[i] ? ROW_DELETE : ROW_INSERT;
        p->tombstones = false;
    }
    batch_free(value);
    batch_free(key);
    return b;
}

/* Everything of the partition up to `next` has been emitted: rows by the caller, dead letters here. */
static void advance(kafka_source_t *k, int at) {
    k->source->splits.items[at].position = k->parts[at].next;
    k->source->splits.items[at].mark = k->parts[at].mark;
    dead_letters_move(&k->dead, &k->parts[at].dead);
}

/* Behind the end of a bounded split the broker may have much more: it is not fetched. */
static void stop_fetching(kafka_source_t *k, const part_t *p) {
    rd_kafka_topic_partition_list_t *l = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(l, p->topic, p->partition);
    rd_kafka_pause_partitions(k->client->rk, l);
    rd_kafka_topic_partition_list_destroy(l);
}

/* A split with an end has ended when it was passed, or when the partition's end is known to lie at or behind it. */
static bool note_ends(kafka_source_t *k) {
    bool all = true;
    for (int i = 0; i < k->nparts; i++) {
        part_t *p = &k->parts[i];
        split_t *s = &k->source->splits.items[i];
        if (!s->ended && s->end >= 0 && !decoder_rows(p->value) && (p->next >= s->end || p->eof >= s->end)) {
            s->ended = true;
            s->position = s->end;
            s->mark = 0; /* nothing is read behind it */
            stop_fetching(k, p);
        }
        all &= s->ended;
        if (k->idle) kafka_idle_at_end(k->idle, i, decoder_rows(p->value) ? -1 : p->eof);
    }
    return all && k->nparts;
}

/* The record before the position has gone with those before it, as is its right: from here on without it. */
static void assign_again(kafka_source_t *k) {
    rd_kafka_topic_partition_list_t *l = rd_kafka_topic_partition_list_new(1);
    for (int i = 0; i < k->nparts; i++)
        if (k->parts[i].again) rd_kafka_topic_partition_list_add(l, k->parts[i].topic, k->parts[i].partition)->offset = k->parts[i].next;
    rd_kafka_error_t *e = rd_kafka_incremental_unassign(k->client->rk, l);
    if (!e) e = rd_kafka_incremental_assign(k->client->rk, l);
    if (e && !k->error) k->error = kafka_error(k->client, rd_kafka_error_code(e), "assigning %s again: %s", l->elems[0].topic, rd_kafka_error_string(e));
    if (e) rd_kafka_error_destroy(e);
    rd_kafka_topic_partition_list_destroy(l);
    for (int i = 0; i < k->nparts; i++) k->parts[i].again = false;
    k->assign_again = false;
}

static void serve(kafka_source_t *k) {
    int served;
    uint64_t before = k->source->bytes_in;
    do {
        served = rd_kafka_consume_callback_queue(k->queue, 0, on_message, k);
    } while (served > 0 && !k->filled && !k->error && k->polled < POLL_MESSAGES);
    if (k->assign_again) assign_again(k);
    kafka_gate_polled(k->client->gate, k->polled, k->source->bytes_in - before);
    if (k->heard) kafka_client_alive(k->client);
    k->heard = false;
}

/* A transaction of somebody else is open: the partition's end for readers of what is committed, where we are, lies before its end (hazards A11). Where that
 * is the last answer to a fetch tells; rows that have just come look the same for a moment. */
static bool behind_a_transaction(kafka_source_t *k, int at, int64_t now) {
    part_t *p = &k->parts[at];
    int64_t low, high;
    bool open = p->eof >= 0 && !k->source->splits.items[at].ended &&
                rd_kafka_get_watermark_offsets(k->client->rk, p->topic, p->partition, &low, &high) == RD_KAFKA_RESP_ERR_NO_ERROR && high > p->eof;
    if (!open) p->open_at = -1;
    else if (p->open_at != p->eof) p->open_at = p->eof, p->open_ms = now;
    return open && now - p->open_ms >= OPEN_TXN_MS;
}

static void note_transactions(kafka_source_t *k, int64_t now) {
    source_t *s = k->source;
    s->waits_for[0] = 0;
    for (int i = 0; i < k->nparts; i++)
        if (behind_a_transaction(k, i, now))
            snprintf(s->waits_for, sizeof s->waits_for, "table %s: at offset %" PRId64 " of %s-%d behind an open transaction", s->env.op->table->name,
                     k->parts[i].eof, k->parts[i].topic, k->parts[i].partition);
}

/* librdkafka connects again by itself; a person wants to know meanwhile. */
static void note_outage(kafka_source_t *k) {
    source_t *s = k->source;
    int64_t now = clock_mono_ms();
    char why[sizeof k->client->last_error] = "";
    if (!k->client || now - k->looked_ms < LOOK_EVERY_MS / 4) return;
    k->looked_ms = now;
    if (!kafka_client_waits(k->client, why, sizeof why)) {
        note_transactions(k, now);
        return;
    }
    snprintf(s->waits_for, sizeof s->waits_for, "Kafka, table %s: %s", s->env.op->table->name, why);
    kafka_client_probe(k->client, k->parts[0].topic, now);
}

static void count_skipped(kafka_source_t *k) {
    uint64_t n = 0;
    for (int i = 0; i < k->nparts; i++) n += decoder_skipped(k->parts[i].value) + (k->parts[i].key ? decoder_skipped(k->parts[i].key) : 0);
    k->source->bad_records += n - k->skipped; /* dead letters are counted beside */
    k->skipped = n;
}

/* One commit at a time: epochs come faster than a coordinator of groups likes. Sends the next one when the last was answered, be it that no epoch comes any
 * more. One that failed is sent again, for that same reason: what is committed is where we are when nothing happens. */
static void take_commits(kafka_source_t *k, int timeout_ms) {
    rd_kafka_event_t *ev = k->committing ? rd_kafka_queue_poll(k->commits, timeout_ms) : NULL;
    int64_t now = clock_mono_ms();
    if (ev) {
        k->committing = false;
        if (rd_kafka_event_error(ev)) {
            k->commit_ms = now + LOOK_EVERY_MS;
            if (!k->to_commit) k->to_commit = rd_kafka_topic_partition_list_copy(rd_kafka_event_topic_partition_list(ev));
        }
        rd_kafka_event_destroy(ev);
    }
    if (k->committing || !k->to_commit || now < k->commit_ms) return;
    k->committing = rd_kafka_commit_queue(k->client->rk, k->to_commit, k->commits, NULL, NULL) == RD_KAFKA_RESP_ERR_NO_ERROR;
    rd_kafka_topic_partition_list_destroy(k->to_commit);
    k->to_commit = NULL;
}

static src_status_t kafka_source_poll(source_t *s, batch_t **ret_batch, int *ret_split, err_t **reterr) {
    kafka_source_t *k = s->self;
    *ret_batch = NULL;
    k->polled = 0;
    if (k->client && !k->filled) serve(k);
    if (k->error) { /* before what was decoded: behind a bad key the decoders differ in rows, and nothing of it will be in an epoch */
        *reterr = err_wrap(TAKE(k->error), "table %s", s->env.op->table->name);
        return SRC_FAIL;
    }
    count_skipped(k);
    for (int i = 0; i < k->nparts; i++) { /* in turn, so that no partition waits for ever */
        int at = (k->turn + i) % k->nparts;
        part_t *p = &k->parts[at];
        if (!decoder_rows(p->value)) continue;
        *ret_batch = take(k, p);
        *ret_split = at;
        s->rows_out += (*ret_batch)->n;
        advance(k, at);
        k->turn = at + 1;
        k->filled = false;
        return SRC_MORE;
    }
    bool more = k->filled || k->polled >= POLL_MESSAGES; /* stopped by what makes no rows */
    k->filled = false;
    for (int i = 0; i < k->nparts; i++) /* skipped records move the position too */
        if (!s->splits.items[i].ended) advance(k, i);
    if (note_ends(k)) return SRC_ENDED;
    if (more) return SRC_MORE;
    note_outage(k);
    if (k->client) take_commits(k, 0);
    if (k->client) s->next_poll_ms = s->env.eval->now_ms + LOOK_EVERY_MS; /* silence wakes nobody */
    const char *bounded = options_get(&s->env.op->table->options, "scan.bounded.mode");
    return !k->nparts && bounded && strcmp(bounded, "unbounded") ? SRC_ENDED : SRC_WAIT;
}

static err_t *kafka_source_add_splits(source_t *s, const split_list_t *more) {
    kafka_source_t *k = s->self;
    int before = s->splits.n;
    for (int i = 0; i < more->n; i++) {
        TRY(add_part(k, &more->items[i]));
        split_list_add(&s->splits, &more->items[i]);
    }
    kafka_idle_free(TAKE(k->idle)); /* made anew, with all partitions, when it is next asked */
    if (!k->client) return connect_client(s, before);
    rd_kafka_topic_partition_list_t *l = assignment(k, &s->splits, before);
    rd_kafka_error_t *ke = rd_kafka_incremental_assign(k->client->rk, l);
    rd_kafka_topic_partition_list_destroy(l);
    if (!ke) return NULL;
    err_t *e = kafka_error(k->client, rd_kafka_error_code(ke), "assigning new partitions: %s", rd_kafka_error_string(ke));
    rd_kafka_error_destroy(ke);
    return e;
}

/* The last ones of a source that ends would be lost with the client. */
static void finish_commits(kafka_source_t *k) {
    int64_t until = clock_mono_ms() + LAST_COMMIT_MS;
    char why[8];
    k->commit_ms = 0; /* at once; one that fails now is the end of it */
    while (k->client && (k->committing || k->to_commit) && k->commit_ms <= clock_mono_ms() && clock_mono_ms() < until &&
           !kafka_client_down(k->client, why, sizeof why))
        take_commits(k, 50);
    if (k->to_commit) rd_kafka_topic_partition_list_destroy(k->to_commit);
    if (!k->commits) return;
    rd_kafka_queue_cb_event_enable(k->commits, NULL, NULL);
    rd_kafka_queue_destroy(k->commits);
}

/* For other tools to see how far we are; we never read it back except as 'group-offsets'. A failure is theirs, not ours. */
static void kafka_source_complete(source_t *s, epoch_t epoch, const split_list_t *sealed) {
    kafka_source_t *k = s->self;
    if (!k->client || !options_get(&s->env.op->table->options, "properties.group.id")) return;
    rd_kafka_topic_partition_list_t *l = rd_kafka_topic_partition_list_new(sealed->n);
    for (int i = 0; i < sealed->n; i++) {
        int partition, len = kafka_split_parse(sealed->items[i].id, &partition);
        char *topic AUTO(auto_free) = xstrndup(sealed->items[i].id, (size_t)len);
        rd_kafka_topic_partition_list_add(l, topic, partition)->offset = sealed->items[i].position;
    }
    if (k->to_commit) rd_kafka_topic_partition_list_destroy(k->to_commit);
    k->to_commit = l;
    take_commits(k, 0);
}

/* The barrier passes: what was read up to the positions of the splits. */
static void kafka_source_seal(source_t *s, epoch_t epoch, buf_t *segment, uint64_t *ret_rows) {
    kafka_source_t *k = s->self;
    *ret_rows = k->dead.rows;
    dead_letters_segment(&k->dead, segment);
}

static bool kafka_source_caught_up(source_t *s, int split) {
    kafka_source_t *k = s->self;
    if (!k->client) return true;
    if (!k->idle) {
        err_t *e = kafka_idle_new(s->env.op->table, &s->splits, &k->idle);
        err_free(e); /* without answers it is not idle */
        if (!k->idle) return false;
        note_ends(k);
    }
    return kafka_idle_confirmed(k->idle, split);
}

static void kafka_source_close(source_t *s) {
    kafka_source_t *k = s->self;
    kafka_idle_free(k->idle);
    if (k->client) kafka_gate_open(k->client->gate); /* it borrows the queue, and nothing shall wait for what nobody reads */
    finish_commits(k);
    if (k->queue) {
        rd_kafka_queue_cb_event_enable(k->queue, NULL, NULL); /* no wake reaches the task from here on */
        rd_kafka_queue_destroy(k->queue);
    }
    kafka_client_free(k->client);
    for (int i = 0; i < k->nparts; i++) {
        part_t *p = &k->parts[i];
        decoder_free(p->value);
        decoder_free(p->key);
        free(p->topic);
        free(p->deletes);
        if (p->headers) colbuilder_free(p->headers);
        mem_unref(p->headers_mem);
        free(p->meta.offset);
        free(p->meta.timestamp);
        free(p->meta.timestamp_type);
        dead_letters_free(&p->dead);
    }
    dead_letters_free(&k->dead);
    decoder_free(k->key_probe);
    free(k->parts);
    err_free(k->error);
    if (k->arena) arena_free(k->arena);
}

#define KAFKA_SOURCE(name)                                                                                                  \
    {                                                                                                                       \
        .connector = name, .state_size = sizeof(kafka_source_t), .check = kafka_source_check, .metadata = kafka_metadata, \
        .narrows = kafka_source_narrows, .enumerate = kafka_enumerate,                                                      \
        .open = kafka_source_open, .poll = kafka_source_poll, .add_splits = kafka_source_add_splits,                        \
        .seal = kafka_source_seal, .complete = kafka_source_complete, .caught_up = kafka_source_caught_up, .close = kafka_source_close,                \
    }
const source_vtable_t kafka_source = KAFKA_SOURCE("kafka");
const source_vtable_t upsert_kafka_source = KAFKA_SOURCE("upsert-kafka");
