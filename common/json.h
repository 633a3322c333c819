/* json.h: a small document model for manifests, etcd, REST and CLI (not for rows: engine/connector).
 * Nodes live in the arena. Numbers keep their text, so 64-bit integers survive. */
#pragma once
#include "common/arena.h"
#include "common/buf.h"
#include "common/err.h"

typedef enum json_kind { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT } json_kind_t;
typedef struct json {
    json_kind_t kind;
    bool boolean;
    const char *text; /* STRING decoded and NUL-terminated, NUMBER as written */
    size_t len;       /* of text; a string may hold NUL */
    int n;            /* ARRAY, OBJECT */
    struct json **items;
    const char **names; /* OBJECT */
} json_t;

err_t *json_parse(arena_t *a, slice_t text, json_t **ret); /* depth at most 64; ERR_DATA with the byte */
/* The first value alone; what follows is not looked at, as Jackson does where it is not told otherwise. */
err_t *json_parse_first(arena_t *a, slice_t text, json_t **ret);
const json_t *json_get(const json_t *object, const char *name); /* NULL when absent or not an object */
const char *json_str(const json_t *object, const char *name, const char *absent);
int64_t json_i64(const json_t *object, const char *name, int64_t absent); /* numbers and numeric strings */
bool json_bool(const json_t *object, const char *name, bool absent);

/* Writer: text goes to `out`; commas are placed by the writer. */
typedef struct json_writer {
    buf_t *out;
    int depth;
    bool first[66];
    bool after_name;
} json_writer_t;
json_writer_t json_writer(buf_t *out);
void jw_object(json_writer_t *w);
void jw_end_object(json_writer_t *w);
void jw_array(json_writer_t *w);
void jw_end_array(json_writer_t *w);
void jw_name(json_writer_t *w, const char *name);
void jw_str(json_writer_t *w, const char *s); /* NULL writes null */
void jw_strn(json_writer_t *w, const char *s, size_t n);
void jw_i64(json_writer_t *w, int64_t v);
void jw_u64(json_writer_t *w, uint64_t v);
void jw_double(json_writer_t *w, double v);
void jw_bool(json_writer_t *w, bool v);
void jw_null(json_writer_t *w);
/* name and value in one */
void jw_kv_str(json_writer_t *w, const char *name, const char *s);
void jw_kv_i64(json_writer_t *w, const char *name, int64_t v);
void jw_kv_u64(json_writer_t *w, const char *name, uint64_t v);
void jw_kv_double(json_writer_t *w, const char *name, double v);
void jw_kv_bool(json_writer_t *w, const char *name, bool v);
/* As programs read it: {"code","text"}, of a text "line" and "col", with "file" where one is given, and "hint". e NULL: nothing, no name either. */
void jw_kv_err(json_writer_t *w, const char *name, const err_t *e, const char *file);
