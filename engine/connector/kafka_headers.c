/* kafka_headers.c: record headers as MAP<STRING, BYTES>: read, carried in a segment, written. */
#include "engine/connector/kafka_table.h"

void kafka_headers_encode(buf_t *out, const column_t *map, uint32_t i) {
    if (column_null(map, i)) return;
    span_t s = map->span[i];
    for (uint32_t k = s.off; k < s.off + s.len; k++) {
        if (column_null(&map->child[0], k) || column_null(&map->child[1], k)) continue;
        str_t key = map->child[0].str[k], value = map->child[1].str[k];
        buf_put_varint(out, key.len);
        buf_put(out, key.p, key.len);
        buf_put_varint(out, value.len);
        buf_put(out, value.p, value.len);
    }
}

static slice_t header_part(reader_t *r) {
    uint64_t n = read_varint(r);
    if (n > reader_left(r)) r->bad = true;
    return r->bad ? slice_of(NULL, 0) : read_raw(r, (size_t)n);
}

rd_kafka_headers_t *kafka_headers_new(slice_t bytes) {
    rd_kafka_headers_t *h = rd_kafka_headers_new(4);
    reader_t r = reader_of(bytes);
    while (!r.bad && reader_left(&r)) {
        slice_t key = header_part(&r), value = header_part(&r);
        if (r.bad) break;
        rd_kafka_header_add(h, (const char *)key.p, (ssize_t)key.len, value.p ? (const void *)value.p : "", (ssize_t)value.len);
    }
    if (!r.bad) return h;
    rd_kafka_headers_destroy(h);
    return NULL;
}

/* Few headers a record: comparing each with those behind it is cheaper than a table. */
static bool again_behind(rd_kafka_headers_t *h, size_t at, const char *name) {
    const char *other;
    const void *value;
    size_t size;
    for (size_t i = at + 1; !rd_kafka_header_get_all(h, i, &other, &value, &size); i++)
        if (!strcmp(name, other)) return true;
    return false;
}

void kafka_headers_add(colbuilder_t *b, const rd_kafka_message_t *m) {
    rd_kafka_headers_t *h = NULL;
    const char *name;
    const void *value;
    size_t size;
    colbuilder_begin(b);
    if (!rd_kafka_message_headers(m, &h))
        for (size_t i = 0; !rd_kafka_header_get_all(h, i, &name, &value, &size); i++) {
            if (again_behind(h, i, name)) continue;
            colbuilder_str(colbuilder_child(b, 0), name, strlen(name));
            if (value) colbuilder_str(colbuilder_child(b, 1), value, size);
            else colbuilder_null(colbuilder_child(b, 1));
        }
    colbuilder_end(b);
}
