/* What a sink operator demands of rows before the connector sees them: Flink's constraint enforcer. */
#include "engine/op/op_int.h"
#include "tests/helpers/test.h"

typedef struct seen {
    int refuse; /* so many writes are answered OP_MORE */
} seen_t;
static seen_t seen;
static buf_t lines;

static op_status_t write_rows(sink_t *s, const batch_t *b, err_t **reterr) {
    if (seen.refuse-- > 0) return OP_MORE;
    for (uint32_t i = 0; i < b->n; i++) {
        static const char *const kinds[] = {"+I", "-U", "+U", "-D"};
        buf_puts(&lines, kinds[batch_kind(b, i)]);
        for (int c = 0; c < b->ncols; c++) {
            buf_puts(&lines, c ? "|" : " ");
            value_print(&lines, &b->cols[c], i);
        }
        buf_puts(&lines, "\n");
    }
    return OP_DONE;
}
static const sink_vtable_t test_sink = {.connector = "test", .state_size = 1, .write = write_rows};

typedef struct rig {
    arena_t *arena;
    table_t table;
    plan_t plan;
    plan_op_t op;
    op_t inst;
} rig_t;

/* a BIGINT NOT NULL, s VARCHAR(3), c CHAR(4); rows (1, 'abcdef', 'x'), (NULL, 'b', 'y'), (3, NULL, NULL) as +I, +U, -D */
static void rig_open(rig_t *r, const char *key, const char *value) {
    static const char *keys[1], *values[1];
    *r = (rig_t){.arena = arena_new()};
    seen = (seen_t){0};
    lines = buf_make(BUF_MAX_DEFAULT);
    keys[0] = key;
    values[0] = value;
    r->plan.set = (options_t){key ? 1 : 0, keys, values};
    schema_t *s = schema_new(r->arena, 3), *in = schema_new(r->arena, 3);
    s->fields[0] = (field_t){"a", type_nullable(r->arena, &type_bigint, false)};
    s->fields[1] = (field_t){"s", type_scalar(r->arena, TYPE_VARCHAR, 3, true)};
    s->fields[2] = (field_t){"c", type_scalar(r->arena, TYPE_CHAR, 4, true)};
    for (int i = 0; i < 3; i++) in->fields[i] = (field_t){s->fields[i].name, type_nullable(r->arena, s->fields[i].type, true)};
    r->table = (table_t){.name = "dst", .connector = "test", .physical = s, .metadata = schema_new(r->arena, 0)};
    r->op = (plan_op_t){.kind = OP_SINK, .table = &r->table, .schema = in};
    r->inst = (op_t){.vt = &op_sink, .env = {.plan = &r->plan, .op = &r->op}, .self = xcalloc(1, op_sink.state_size)};
    ck_ok(sink_op_bind(&r->inst, &test_sink));
    ck_ok(op_sink.open(&r->inst));
}

static op_status_t rig_write(rig_t *r, err_t **reterr) {
    batch_t *b = batch_new_schema(r->op.schema, 3);
    b->kinds = mem_zalloc(b->mem, 3);
    b->kinds[1] = ROW_UPDATE_AFTER;
    b->kinds[2] = ROW_DELETE;
    for (int i = 0; i < 3; i++) b->cols[0].i64[i] = i + 1;
    column_need_nulls(&b->cols[0], b->mem, 3)[1] = 1;
    b->cols[1].str[0] = (str_t){"a\xc3\xa4" "cdef", 7, 0};
    b->cols[1].str[1] = (str_t){"b", 1, 0};
    column_need_nulls(&b->cols[1], b->mem, 3)[2] = 1;
    b->cols[2].str[0] = (str_t){"x", 1, 0};
    b->cols[2].str[1] = (str_t){"y", 1, 0};
    column_need_nulls(&b->cols[2], b->mem, 3)[2] = 1;
    op_status_t st;
    do st = op_sink.process(&r->inst, 0, b, NULL, reterr);
    while (st == OP_MORE);
    batch_free(b);
    return st;
}

static void rig_close(rig_t *r) {
    op_sink.close(&r->inst);
    free(r->inst.self);
    buf_free(&lines);
    arena_free(r->arena);
}

START_TEST(a_null_for_a_not_null_column_fails_the_job_for_good_and_names_table_and_column) {
    rig_t r;
    err_t *e = NULL;
    rig_open(&r, NULL, NULL);
    ck_assert_int_eq(rig_write(&r, &e), OP_FAIL);
    ck_assert(err_deterministic(e));
    ck_assert_str_eq(err_text(e), "table dst: column 'a' is NOT NULL, a NULL is being written into it");
    ck_assert_uint_eq(lines.len, 0);
    err_free(e);
    rig_close(&r);
}
END_TEST

START_TEST(dropped_rows_are_counted_once_however_often_the_sink_says_later) {
    rig_t r;
    err_t *e = NULL;
    rig_open(&r, "table.exec.sink.not-null-enforcer", "drop");
    seen.refuse = 3;
    ck_assert_int_eq(rig_write(&r, &e), OP_DONE);
    ck_assert_str_eq(buf_cstr(&lines), "+I 1|a\xc3\xa4" "cdef|x\n-D 3|NULL|NULL\n");
    ck_assert_uint_eq(r.inst.dropped_rows, 1);
    ck_assert_int_eq(rig_write(&r, &e), OP_DONE);
    ck_assert_uint_eq(r.inst.dropped_rows, 2);
    rig_close(&r);
}
END_TEST

START_TEST(lengths_are_errors_when_told_so) {
    rig_t r;
    err_t *e = NULL;
    rig_open(&r, "table.exec.sink.type-length-enforcer", "ERROR");
    r.table.physical->fields[0].type = &type_bigint;
    op_sink.close(&r.inst);
    r.inst.self = memset(r.inst.self, 0, op_sink.state_size);
    ck_ok(sink_op_bind(&r.inst, &test_sink));
    ck_ok(op_sink.open(&r.inst));
    ck_assert_int_eq(rig_write(&r, &e), OP_FAIL);
    ck_assert_str_eq(err_text(e), "table dst: column 's' is VARCHAR(3), a value of length 6 is being written into it");
    err_free(e);
    rig_close(&r);
}
END_TEST

START_TEST(values_are_cut_and_padded_by_characters_when_told_so) {
    rig_t r;
    err_t *e = NULL;
    rig_open(&r, "table.exec.sink.type-length-enforcer", "TRIM_PAD");
    r.table.physical->fields[0].type = &type_bigint;
    op_sink.close(&r.inst);
    r.inst.self = memset(r.inst.self, 0, op_sink.state_size);
    ck_ok(sink_op_bind(&r.inst, &test_sink));
    ck_ok(op_sink.open(&r.inst));
    seen.refuse = 1;
    ck_assert_int_eq(rig_write(&r, &e), OP_DONE);
    ck_assert_str_eq(buf_cstr(&lines), "+I 1|a\xc3\xa4" "c|x   \n+U NULL|b|y   \n-D 3|NULL|NULL\n");
    rig_close(&r);
}
END_TEST

TESTS("sink", a_null_for_a_not_null_column_fails_the_job_for_good_and_names_table_and_column, dropped_rows_are_counted_once_however_often_the_sink_says_later,
      lengths_are_errors_when_told_so, values_are_cut_and_padded_by_characters_when_told_so)
