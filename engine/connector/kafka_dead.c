#include "engine/connector/kafka_dead.h"
#include "common/base64.h"
#include "common/json.h"

#define DEAD_LETTERS_MAX ((size_t)1 << 30)

bool dead_letter_is(err_code_t code) {
    return code == ERR_DATA || code == ERR_OVERFLOW || code == ERR_LIMIT || code == ERR_TYPE;
}

/* *left: bytes that still fit; returns whether all did. */
static bool put_bytes(json_writer_t *w, const char *name, const void *p, size_t len, size_t *left) {
    if (!p) {
        jw_name(w, name);
        jw_null(w);
        return true;
    }
    size_t n = MIN(len, *left);
    *left -= n;
    AUTO(buf_free) buf_t text = buf_make(DEAD_LETTER_BYTES * 2);
    base64_put(&text, slice_of(p, n));
    jw_kv_str(w, name, buf_cstr(&text));
    return n == len;
}

static void envelope(buf_t *out, const table_t *t, const char *topic, const rd_kafka_message_t *m, const err_t *why) {
    rd_kafka_timestamp_type_t type;
    size_t left = DEAD_LETTER_BYTES;
    json_writer_t w = json_writer(out);
    jw_object(&w);
    jw_kv_str(&w, "table", t->name);
    jw_kv_str(&w, "topic", topic);
    jw_kv_i64(&w, "partition", m->partition);
    jw_kv_i64(&w, "offset", m->offset);
    jw_kv_i64(&w, "timestamp", rd_kafka_message_timestamp(m, &type));
    jw_kv_str(&w, "reason", err_text(why));
    bool all = put_bytes(&w, "key", m->key, m->key_len, &left);
    all &= put_bytes(&w, "value", m->payload, m->len, &left);
    if (!all) {
        jw_kv_bool(&w, "truncated", true);
        jw_kv_u64(&w, "key_bytes", m->key_len);
        jw_kv_u64(&w, "value_bytes", m->len);
    }
    jw_end_object(&w);
}

void dead_letter_add(dead_letters_t *d, const table_t *t, const char *topic, const rd_kafka_message_t *m, const err_t *why) {
    AUTO(buf_free) buf_t text = buf_make(DEAD_LETTER_BYTES * 2);
    if (!d->records.max) d->records = buf_make(DEAD_LETTERS_MAX);
    envelope(&text, t, topic, m, why);
    segment_add(&d->records, &(lane_record_t){.partition = -1, .timestamp_ms = -1, .has_value = true, .value = buf_slice(&text)});
    d->rows++;
}

void dead_letters_move(dead_letters_t *to, dead_letters_t *from) {
    if (!from->rows) return;
    if (!to->records.max) to->records = buf_make(DEAD_LETTERS_MAX);
    buf_put(&to->records, from->records.data, from->records.len);
    to->rows += from->rows;
    buf_clear(&from->records);
    from->rows = 0;
}

void dead_letters_segment(dead_letters_t *d, buf_t *segment) {
    if (!d->rows) return;
    size_t begin = segment->len;
    segment_begin(segment);
    buf_put(segment, d->records.data, d->records.len);
    segment_finish(segment, begin, d->rows);
    buf_clear(&d->records);
    d->rows = 0;
}

void dead_letters_free(dead_letters_t *d) { buf_free(&d->records); }
