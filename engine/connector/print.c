/* print.c: the print and blackhole sinks. Print writes at once (at least once: rows of an epoch that failed come again).
 *
 * As a table's connector it writes Flink's lines, `[identifier:subtask> ]+I[a, b]`. For the bare SELECT of a `run` file
 * it writes a table: `a | b`, with a leading `op` column when the query retracts; the names come once, from the first subtask when it opens. With
 * --json a row is a line {"op":"+I","row":{..}} instead, so that no row looks like the document that follows the last. */
#include "engine/connector/connector.h"
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#define PORTION 4096 /* bytes: a pipe takes them at once */

typedef struct print_sink {
    int fd;
    char *prefix;
    encoder_t *json; /* of a bare SELECT's rows; NULL: none */
    bool terminal; /* the live line of `run` may stand there: it is cleared before rows, and no row is torn by it */
    buf_t out;
    size_t written; /* bytes of out the descriptor took */
    bool pending;   /* the batch is in out: write() comes again with it until all is out */
} print_sink_t;

static const char *const print_options[] = {"print-identifier", "standard-error", "sink.parallelism", NULL};
static const char *const blackhole_options[] = {"sink.parallelism", NULL};

static err_t *print_check(const table_t *t) {
    bool flag;
    TRY(options_check_known(t, print_options));
    return options_bool(&t->options, "standard-error", false, &flag);
}

static const char *const kind_text[] = {"+I", "-U", "+U", "-D"};

/* Width of a column for people: enough for the usual value. */
static int display_width(const field_t *f) {
    int w;
    switch (f->type->kind) {
    case TYPE_BOOLEAN: w = 5; break;
    case TYPE_TINYINT:
    case TYPE_SMALLINT: w = 6; break;
    case TYPE_INT:
    case TYPE_DATE: w = 11; break;
    case TYPE_TIME: w = 12; break;
    case TYPE_TIMESTAMP:
    case TYPE_TIMESTAMP_LTZ: w = 23; break;
    default: w = 20;
    }
    return MAX(w, (int)strlen(f->name));
}

static void pad(buf_t *out, size_t from, int width) {
    size_t chars = 0;
    for (size_t k = from; k < out->len; k++) chars += (out->data[k] & 0xC0) != 0x80;
    for (; chars < (size_t)width; chars++) buf_put_u8(out, ' ');
}

static void table_cell(buf_t *out, const field_t *f, const column_t *c, uint32_t row, bool last) {
    size_t from = out->len;
    if (c) value_print(out, c, row);
    else buf_puts(out, f->name);
    if (!last) {
        pad(out, from, display_width(f));
        buf_puts(out, " | ");
    }
}

static void table_names(sink_t *s, print_sink_t *p) {
    const schema_t *schema = s->env.op->schema;
    if (p->terminal) buf_puts(&p->out, "\r\033[K");
    if (s->env.op->retracts) buf_puts(&p->out, "op | ");
    for (int k = 0; k < schema->n; k++) table_cell(&p->out, &schema->fields[k], NULL, 0, k + 1 == schema->n);
    buf_put_u8(&p->out, '\n');
}

static void table_rows(sink_t *s, print_sink_t *p, const batch_t *b) {
    const schema_t *schema = s->env.op->schema;
    bool ops = s->env.op->retracts;
    for (uint32_t i = 0; i < b->n; i++) {
        if (ops) buf_printf(&p->out, "%s | ", kind_text[batch_kind(b, i)]);
        for (int k = 0; k < schema->n; k++)
            table_cell(&p->out, &schema->fields[k], &b->cols[k], i, k + 1 == schema->n);
        buf_put_u8(&p->out, '\n');
    }
}

static err_t *json_rows(print_sink_t *p, const batch_t *b) {
    for (uint32_t i = 0; i < b->n; i++) {
        buf_printf(&p->out, "{\"op\":\"%s\",\"row\":", kind_text[batch_kind(b, i)]);
        TRY(err_wrap(encoder_row(p->json, b, i, &p->out), "print"));
        buf_puts(&p->out, "}\n");
    }
    return NULL;
}

static void flink_rows(print_sink_t *p, const batch_t *b) {
    for (uint32_t i = 0; i < b->n; i++) {
        buf_printf(&p->out, "%s%s[", p->prefix, kind_text[batch_kind(b, i)]);
        for (int k = 0; k < b->ncols; k++) {
            if (k) buf_puts(&p->out, ", ");
            external_print(&p->out, &b->cols[k], i);
        }
        buf_puts(&p->out, "]\n");
    }
}

static err_t *rows(sink_t *s, print_sink_t *p, const batch_t *b) {
    if (p->json) return json_rows(p, b);
    if (s->env.op->sink_print) table_rows(s, p, b);
    else flink_rows(p, b);
    return NULL;
}

/* What one write() takes: whole lines where there is one. */
static size_t portion(const print_sink_t *p) {
    size_t left = p->out.len - p->written;
    if (left <= PORTION) return left;
    const uint8_t *from = p->out.data + p->written, *end = memrchr(from, '\n', PORTION);
    return end ? (size_t)(end - from) + 1 : PORTION;
}

/* Who is within a line that one write() did not take whole: the others wait, or lines would be torn. By descriptor. */
static _Atomic(print_sink_t *) within_line[STDERR_FILENO + 1];

static bool take_turn(print_sink_t *p) {
    print_sink_t *none = NULL;
    return atomic_load(&within_line[p->fd]) == p || atomic_compare_exchange_strong(&within_line[p->fd], &none, p);
}
static void end_turn(print_sink_t *p) {
    print_sink_t *own = p;
    atomic_compare_exchange_strong(&within_line[p->fd], &own, NULL);
}

/* A reader that does not read holds us for 100 ms at most; then the batch comes again. */
static op_status_t print_out(print_sink_t *p, err_t **reterr) {
    while (p->written < p->out.len) {
        struct pollfd wait = {.fd = p->fd, .events = POLLOUT};
        if (!take_turn(p)) {
            poll(NULL, 0, 1);
            return OP_MORE;
        }
        if (poll(&wait, 1, 100) == 0) {
            if (!p->written || p->out.data[p->written - 1] == '\n') end_turn(p);
            return OP_MORE;
        }
        ssize_t n = write(p->fd, p->out.data + p->written, portion(p));
        if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        if (n < 0) {
            /* a pipe nobody reads stays so: no restart helps */
            *reterr = errno == EPIPE ? err_new(ERR_DENIED, "print: nobody reads the output any more") : err_from_errno(errno, "print: cannot write");
            end_turn(p);
            return OP_FAIL;
        }
        p->written += (size_t)n;
        if (p->out.data[p->written - 1] == '\n') end_turn(p);
    }
    buf_clear(&p->out);
    p->written = 0;
    return OP_DONE;
}

static err_t *print_open(sink_t *s) {
    print_sink_t *p = s->self;
    const table_t *t = s->env.op->table;
    bool err = false;
    if (t) TRY(options_bool(&t->options, "standard-error", false, &err));
    const char *id = t ? options_get(&t->options, "print-identifier") : NULL;
    p->fd = err ? STDERR_FILENO : STDOUT_FILENO;
    p->terminal = isatty(p->fd);
    p->out = buf_make(BUF_MAX_DEFAULT);
    if (s->env.op->sink_print) p->prefix = xstrdup("");
    else if (s->env.parallelism > 1) p->prefix = id ? xprintf("%s:%d> ", id, s->env.subtask + 1) : xprintf("%d> ", s->env.subtask + 1);
    else p->prefix = id && *id ? xprintf("%s> ", id) : xstrdup("");
    if (s->env.op->sink_json) {
        static const char *keys[] = {"json.map-null-key.mode"}, *values[] = {"LITERAL"}; /* a person looks: no row fails for it */
        static const options_t options = {1, keys, values};
        format_config_t c = {.options = &options, .format = "json", .prefix = "", .fields = s->env.op->schema};
        return encoder_new(&c, &p->json);
    }
    if (!s->env.op->sink_print || s->env.subtask > 0) return NULL;
    table_names(s, p);
    err_t *e = NULL;
    print_out(p, &e); /* before another subtask has rows; a reader that does not read yet gets it with them */
    return e;
}

static op_status_t print_write(sink_t *s, const batch_t *b, err_t **reterr) {
    print_sink_t *p = s->self;
    if (!p->pending) {
        if (p->terminal) buf_puts(&p->out, "\r\033[K");
        if ((*reterr = rows(s, p, b)) != NULL) return OP_FAIL;
        p->pending = true;
        s->rows_in += b->n;
        s->bytes_out += p->out.len;
    }
    op_status_t st = print_out(p, reterr);
    if (st == OP_DONE) p->pending = false;
    else if (st == OP_MORE && s->env.wake) s->env.wake(s->env.wake_arg);
    return st;
}

static void print_close(sink_t *s) {
    print_sink_t *p = s->self;
    if (p->fd) end_turn(p); /* 0: it was not opened */
    buf_free(&p->out);
    encoder_free(p->json);
    free(p->prefix);
}

static err_t *blackhole_check(const table_t *t) { return options_check_known(t, blackhole_options); }
static err_t *blackhole_open(sink_t *s) { return NULL; }
static op_status_t blackhole_write(sink_t *s, const batch_t *b, err_t **reterr) {
    s->rows_in += b->n;
    return OP_DONE;
}
static void blackhole_close(sink_t *s) {}

const sink_vtable_t print_sink = {
    .connector = "print",
    .state_size = sizeof(print_sink_t),
    .takes_updates = true,
    .check = print_check,
    .open = print_open,
    .write = print_write,
    .close = print_close,
};
const sink_vtable_t blackhole_sink = {
    .connector = "blackhole",
    .state_size = 1,
    .takes_updates = true,
    .after_only = true,
    .check = blackhole_check,
    .open = blackhole_open,
    .write = blackhole_write,
    .close = blackhole_close,
};
