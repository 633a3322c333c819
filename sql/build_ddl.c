/* build_ddl.c: the parser's actions: names, literals of intervals, types and statements. */
#include "sql/parse_int.h"
#include <stdlib.h>
#include <strings.h>

ast_ident_t sql_ident(const sql_token_t *t) { return (ast_ident_t){t->pos, t->text}; }

void sql_name_add(sql_parser_t *p, ast_name_t *n, const sql_token_t *t) {
    struct {
        int n;
        const char **item;
    } list = {n->n, n->part};
    if (!n->n) n->pos = t->pos;
    LIST_ADD(p, list, t->text);
    n->n = list.n;
    n->part = list.item;
}

static const char *upper(sql_parser_t *p, const char *text) {
    char *s = arena_strdup(p->a, text);
    for (char *c = s; *c; c++)
        if (*c >= 'a' && *c <= 'z') *c = (char)(*c - 32);
    return s;
}

bool sql_int(sql_parser_t *p, const sql_token_t *t, int max, int *ret) {
    unsigned long v = t->text_len > 10 ? (unsigned long)max + 1 : strtoul(t->text, NULL, 10);
    *ret = (int)v;
    if (v <= (unsigned long)max || v == TYPE_LEN_MAX) return true;
    sql_fail(p, t->pos, err_new(ERR_INVALID, "the number %.20s is too large here", t->text));
    return false;
}

/* --- intervals -------------------------------------------------------------------------------------------------- */

ast_unit_t sql_unit(const char *text) {
    static const char *const names[] = {"YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "HOUR", "MINUTE", "SECOND"};
    if (strncasecmp(text, "SQL_TSI_", 8) == 0) text += 8;
    size_t n = strlen(text);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        size_t len = strlen(names[i]);
        bool plural = n == len + 1 && (text[len] | 0x20) == 's';
        if ((n == len || plural) && strncasecmp(text, names[i], len) == 0) return (ast_unit_t)(AST_UNIT_YEAR + (int)i);
    }
    return AST_UNIT_NONE;
}

bool sql_unit_range(sql_parser_t *p, ast_interval_t *ret, const sql_token_t *from, int from_p, const sql_token_t *to, int to_p,
                    int fraction) {
    *ret = (ast_interval_t){.precision = from_p, .fraction = to ? to_p : fraction};
    ret->from = sql_unit(from->text);
    ret->to = to ? sql_unit(to->text) : AST_UNIT_NONE;
    ret->is_month = ret->from >= AST_UNIT_YEAR && ret->from <= AST_UNIT_MONTH;
    bool ok = ret->from != AST_UNIT_NONE;
    if (to) {
        ok = ok && ret->to > ret->from && ret->from != AST_UNIT_QUARTER && ret->from != AST_UNIT_WEEK;
        ok = ok && (ret->is_month ? ret->to == AST_UNIT_MONTH : true);
    }
    if (ok && from_p <= 10 && ret->fraction <= 9) return true;
    sql_fail(p, from->pos, err_hint(err_new(ERR_SYNTAX, "no interval has the unit %s%s%s", from->text, to ? " TO " : "", to ? to->text : ""),
                                    "YEAR, QUARTER, MONTH, WEEK, DAY, HOUR, MINUTE, SECOND, YEAR TO MONTH, DAY TO SECOND and what lies between"));
    return false;
}

static int64_t unit_size(ast_unit_t u) {
    switch (u) {
    case AST_UNIT_YEAR: return 12;
    case AST_UNIT_QUARTER: return 3;
    case AST_UNIT_MONTH: return 1;
    case AST_UNIT_WEEK: return 7 * 86400000ll;
    case AST_UNIT_DAY: return 86400000ll;
    case AST_UNIT_HOUR: return 3600000ll;
    case AST_UNIT_MINUTE: return 60000ll;
    default: return 1000ll;
    }
}

/* digits; false when there are none or more than the value can hold */
static bool take_number(const char **s, int64_t *ret) {
    const char *at = *s;
    int64_t v = 0;
    while (*at >= '0' && *at <= '9' && at - *s < 12) v = v * 10 + (*at++ - '0');
    bool ok = at > *s && !(*at >= '0' && *at <= '9');
    *s = at;
    *ret = v;
    return ok;
}

static int64_t take_millis(const char **s) {
    int64_t v = 0;
    int n = 0;
    for (; **s >= '0' && **s <= '9'; (*s)++)
        if (n < 3) v = v * 10 + (**s - '0'), n++;
    for (; n < 3; n++) v *= 10;
    return v;
}

/* "1-2", "3 04:05:06.789" and their parts; the first number may be of any size, the others stay below their unit. */
static bool interval_value(ast_interval_t *iv) {
    static const int64_t limit[] = {0, 0, 0, 12, 0, 0, 24, 60, 60};
    const char *s = iv->text;
    while (*s == ' ') s++;
    bool negative = *s == '-';
    if (*s == '-' || *s == '+') s++;
    int64_t total = 0, v;
    ast_unit_t last = iv->to ? iv->to : iv->from;
    for (int u = iv->from; u <= (int)last; u++) {
        if (u == AST_UNIT_QUARTER && iv->to) continue;
        if (!take_number(&s, &v)) return false;
        if (u != (int)iv->from && v >= limit[u]) return false;
        if (__builtin_mul_overflow(v, unit_size((ast_unit_t)u), &v) || __builtin_add_overflow(total, v, &total)) return false;
        if (u == (int)last) break;
        char sep = iv->is_month ? '-' : u == AST_UNIT_DAY ? ' ' : ':';
        if (*s++ != sep) return false;
    }
    if (last == AST_UNIT_SECOND && *s == '.') {
        s++;
        total += take_millis(&s);
    }
    while (*s == ' ') s++;
    iv->value = negative ? -total : total;
    return *s == 0 && (!iv->is_month || total <= INT32_MAX);
}

ast_expr_t *sql_interval(sql_parser_t *p, ast_pos_t pos, const sql_token_t *t, bool negative, const ast_interval_t *q) {
    ast_expr_t *e = sql_expr(p, AST_INTERVAL, pos);
    e->interval = ARENA_NEW(p->a, ast_interval_t);
    *e->interval = *q;
    e->interval->text = t->text;
    if (!interval_value(e->interval)) {
        const char *to = q->to ? ast_unit_name(q->to) : "";
        sql_fail(p, t->pos, err_hint(err_new(ERR_INVALID, "'%.60s' is not an interval of %s%s%s", t->text, ast_unit_name(q->from),
                                             q->to ? " TO " : "", to),
                                     "for example INTERVAL '10' SECOND, INTERVAL '1-6' YEAR TO MONTH, INTERVAL '1 02:30:00' DAY TO SECOND"));
        return NULL;
    }
    if (!negative) return e;
    e->interval->value = -e->interval->value;
    bool minus = t->text[0] == '-';
    e->interval->text = minus ? t->text + 1 : arena_printf(p->a, "-%s", t->text + (t->text[0] == '+'));
    return e;
}

/* --- types ------------------------------------------------------------------------------------------------------ */

static bool type_set(sql_parser_t *p, ast_pos_t pos, const type_t *t, int depth, sql_type_t *ret) {
    if (depth > 64) {
        sql_fail(p, pos, err_new(ERR_LIMIT, "a type nested deeper than 64 levels"));
        return false;
    }
    ret->node = ARENA_NEW(p->a, ast_type_t);
    *ret->node = (ast_type_t){pos, t};
    ret->depth = depth;
    return true;
}

static bool type_bad(sql_parser_t *p, ast_pos_t pos, err_code_t code, const char *what, const char *hint) {
    err_t *e = err_new(code, "%s", what);
    sql_fail(p, pos, hint ? err_hint(e, "%s", hint) : e);
    return false;
}

static bool type_make(sql_parser_t *p, ast_pos_t pos, type_kind_t kind, int precision, int scale, sql_type_t *ret) {
    type_t *t = ARENA_NEW(p->a, type_t);
    *t = (type_t){.kind = kind, .nullable = true, .precision = precision, .scale = scale};
    return type_set(p, pos, t, 1, ret);
}

typedef struct basic {
    const char *word;
    type_kind_t kind;
    int nparam; /* at most */
    int def;    /* precision or length when not written */
    int max;
} basic_t;
static const basic_t basics[] = {
    {"BOOLEAN", TYPE_BOOLEAN, 0, 0, 0}, {"TINYINT", TYPE_TINYINT, 0, 0, 0}, {"SMALLINT", TYPE_SMALLINT, 0, 0, 0},
    {"INT", TYPE_INT, 0, 0, 0}, {"INTEGER", TYPE_INT, 0, 0, 0}, {"BIGINT", TYPE_BIGINT, 0, 0, 0},
    {"FLOAT", TYPE_FLOAT, 0, 0, 0}, {"REAL", TYPE_FLOAT, 0, 0, 0}, {"DOUBLE", TYPE_DOUBLE, 0, 0, 0}, {"DATE", TYPE_DATE, 0, 0, 0},
    {"DECIMAL", TYPE_DECIMAL, 2, 10, 38}, {"DEC", TYPE_DECIMAL, 2, 10, 38}, {"NUMERIC", TYPE_DECIMAL, 2, 10, 38},
    {"CHAR", TYPE_CHAR, 1, 1, TYPE_LEN_MAX}, {"CHARACTER", TYPE_CHAR, 1, 1, TYPE_LEN_MAX},
    {"VARCHAR", TYPE_VARCHAR, 1, TYPE_LEN_MAX, TYPE_LEN_MAX}, {"STRING", TYPE_VARCHAR, 0, TYPE_LEN_MAX, 0},
    {"BINARY", TYPE_BINARY, 1, 1, TYPE_LEN_MAX}, {"VARBINARY", TYPE_VARBINARY, 1, TYPE_LEN_MAX, TYPE_LEN_MAX},
    {"BYTES", TYPE_VARBINARY, 0, TYPE_LEN_MAX, 0}, {"TIMESTAMP_LTZ", TYPE_TIMESTAMP_LTZ, 1, 6, 9},
};

bool sql_type_basic(sql_parser_t *p, ast_pos_t pos, const char *word, int nparam, const int *param, sql_type_t *ret) {
    const basic_t *b = basics;
    while (strcasecmp(b->word, word) != 0) b++; /* the lexer's list of TYPE_NAMEs is this one */
    if (nparam > b->nparam)
        return type_bad(p, pos, ERR_SYNTAX, arena_printf(p->a, "%s does not take %d parameter%s", b->word, nparam, nparam > 1 ? "s" : ""),
                        b->kind == TYPE_VARCHAR ? "VARCHAR(n) has a length, STRING has none" : NULL);
    if (b->kind == TYPE_TIMESTAMP_LTZ) return sql_type_time(p, pos, true, nparam ? param[0] : -1, 1, ret);
    int precision = nparam ? param[0] : b->def, scale = nparam > 1 ? param[1] : 0;
    if (nparam && (precision < 1 || precision > b->max))
        return type_bad(p, pos, ERR_INVALID, arena_printf(p->a, "%s(%d): the %s is from 1 to %d", b->word, precision,
                                                          b->kind == TYPE_DECIMAL ? "precision" : "length", b->max), NULL);
    if (scale > precision)
        return type_bad(p, pos, ERR_INVALID, arena_printf(p->a, "%s(%d, %d): the scale is larger than the precision", b->word, precision,
                                                          scale), NULL);
    return type_make(p, pos, b->kind, precision, scale, ret);
}

/* zone: 0 none, 1 WITH LOCAL TIME ZONE, 2 WITH TIME ZONE */
bool sql_type_time(sql_parser_t *p, ast_pos_t pos, bool timestamp, int precision, int zone, sql_type_t *ret) {
    if (zone == 2 || (zone && !timestamp))
        return type_bad(p, pos, ERR_UNSUPPORTED, "a type WITH TIME ZONE is not supported: no value keeps a zone of its own",
                        "use TIMESTAMP_LTZ(p), a moment that is shown in the session's time zone");
    int def = timestamp ? 6 : 0, max = timestamp ? 6 : 3;
    if (precision < 0) precision = def;
    if (precision > 9) return type_bad(p, pos, ERR_INVALID, "the precision of a time is from 0 to 9", NULL);
    if (precision > max)
        return type_bad(p, pos, ERR_UNSUPPORTED,
                        arena_printf(p->a, "precision %d is not supported: values hold %s", precision,
                                     timestamp ? "microseconds" : "milliseconds"),
                        timestamp ? "use a precision of at most 6" : "use TIME(3) at most");
    return type_make(p, pos, !timestamp ? TYPE_TIME : zone ? TYPE_TIMESTAMP_LTZ : TYPE_TIMESTAMP, precision, 0, ret);
}

bool sql_type_interval(sql_parser_t *p, ast_pos_t pos, const ast_interval_t *q, sql_type_t *ret) {
    return type_set(p, pos, q->is_month ? &type_interval_month : &type_interval_second, 1, ret);
}

bool sql_type_of(sql_parser_t *p, ast_pos_t pos, type_kind_t kind, sql_type_t x, sql_type_t y, sql_type_t *ret) {
    type_t *t = ARENA_NEW(p->a, type_t);
    const type_t **child = ARENA_ARRAY(p->a, const type_t *, 2);
    child[0] = x.node->type;
    if (y.node) child[1] = y.node->type;
    *t = (type_t){.kind = kind, .nullable = true, .nchild = y.node ? 2 : 1, .child = child};
    return type_set(p, pos, t, MAX(x.depth, y.depth) + 1, ret);
}

bool sql_type_row(sql_parser_t *p, ast_pos_t pos, sql_fields_t fields, sql_type_t *ret) {
    type_t *t = ARENA_NEW(p->a, type_t);
    const type_t **child = ARENA_ARRAY(p->a, const type_t *, fields.n + 1);
    const char **names = ARENA_ARRAY(p->a, const char *, fields.n + 1);
    int depth = 0;
    for (int i = 0; i < fields.n; i++) {
        child[i] = fields.item[i].type.node->type;
        names[i] = fields.item[i].name.text;
        depth = MAX(depth, fields.item[i].type.depth);
    }
    *t = (type_t){.kind = TYPE_ROW, .nullable = true, .nchild = fields.n, .child = child, .names = names};
    return type_set(p, pos, t, depth + 1, ret);
}

bool sql_type_unknown(sql_parser_t *p, const sql_token_t *t) {
    static const struct {
        const char *foreign, *ours;
    } known[] = {{"TEXT", "STRING"}, {"DATETIME", "TIMESTAMP(3)"}, {"LONG", "BIGINT"}, {"INT64", "BIGINT"}, {"INT32", "INT"},
                 {"BOOL", "BOOLEAN"}, {"FLOAT64", "DOUBLE"}, {"TIMESTAMPTZ", "TIMESTAMP_LTZ(3)"}, {"JSON", "STRING"},
                 {"NUMBER", "DECIMAL(p, s)"}, {"UUID", "STRING"}, {"BLOB", "BYTES"}, {"STRUCT", "ROW<name type, ..>"}};
    const char *hint = "the types are BOOLEAN, TINYINT, SMALLINT, INT, BIGINT, FLOAT, DOUBLE, DECIMAL, STRING, BYTES, DATE, TIME, TIMESTAMP, "
                       "TIMESTAMP_LTZ, ARRAY, MAP, MULTISET, ROW";
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (strcasecmp(t->text, known[i].foreign) == 0) hint = arena_printf(p->a, "the type is called %s here", known[i].ours);
    if (strcasecmp(t->text, "KEY") == 0) hint = "a key is written PRIMARY KEY (columns) NOT ENFORCED";
    return type_bad(p, t->pos, ERR_SYNTAX, arena_printf(p->a, "unknown type %.60s", t->text), hint);
}

sql_type_t sql_type_null(sql_parser_t *p, sql_type_t t, bool nullable) {
    type_t *copy = ARENA_NEW(p->a, type_t);
    *copy = *t.node->type;
    copy->nullable = nullable;
    t.node->type = copy;
    return t;
}

/* --- statements ------------------------------------------------------------------------------------------------- */

ast_stmt_t *sql_stmt(sql_parser_t *p, ast_stmt_kind_t kind, sql_loc_t at) {
    ast_stmt_t *s = ARENA_NEW(p->a, ast_stmt_t);
    s->kind = kind;
    s->pos = POS(at);
    s->begin = at.begin;
    s->end = at.end;
    return s;
}

ast_hint_t sql_hint(sql_parser_t *p, ast_ident_t name) { return (ast_hint_t){.pos = name.pos, .name = upper(p, name.text)}; }

bool sql_like_word(sql_parser_t *p, ast_ident_t *word) {
    static const char *const known[] = {"ALL", "CONSTRAINTS", "GENERATED", "METADATA", "OPTIONS", "PARTITIONS", "WATERMARKS",
                                        "DISTRIBUTION"};
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (strcasecmp(known[i], word->text) != 0) continue;
        word->text = known[i];
        return true;
    }
    return type_bad(p, word->pos, ERR_SYNTAX, arena_printf(p->a, "LIKE does not know '%.60s'", word->text),
                    "ALL, CONSTRAINTS, GENERATED, METADATA, OPTIONS, PARTITIONS, WATERMARKS");
}

ast_create_table_t *sql_create_column(sql_parser_t *p, ast_column_t c) {
    ast_create_table_t *t = ARENA_NEW(p->a, ast_create_table_t);
    t->ncol = 1;
    t->col = ARENA_NEW(p->a, ast_column_t);
    *t->col = c;
    return t;
}

ast_create_table_t *sql_create_key(sql_parser_t *p, ast_pos_t pos, const char *name, ast_idents_t cols, bool not_enforced) {
    ast_create_table_t *t = ARENA_NEW(p->a, ast_create_table_t);
    t->primary_key_pos = pos;
    t->primary_key_name = name;
    t->primary_key = cols;
    t->not_enforced = not_enforced;
    return t;
}

bool sql_create_merge(sql_parser_t *p, ast_create_table_t *into, const ast_create_table_t *part) {
    struct {
        int n;
        ast_column_t *item;
    } cols = {into->ncol, into->col};
    for (int i = 0; i < part->ncol; i++) LIST_ADD(p, cols, part->col[i]);
    into->ncol = cols.n;
    into->col = cols.item;
    struct {
        int n;
        ast_watermark_t *item;
    } marks = {into->nwatermark, into->watermark};
    for (int i = 0; i < part->nwatermark; i++) LIST_ADD(p, marks, part->watermark[i]);
    into->nwatermark = marks.n;
    into->watermark = marks.item;
    if (!part->primary_key_pos.line) return true;
    if (into->primary_key_pos.line)
        return type_bad(p, part->primary_key_pos, ERR_INVALID, "a table has one PRIMARY KEY, this is the second",
                        "name all columns of the key in one PRIMARY KEY (a, b) NOT ENFORCED");
    into->primary_key_pos = part->primary_key_pos;
    into->primary_key_name = part->primary_key_name;
    into->primary_key = part->primary_key;
    into->not_enforced = part->not_enforced;
    return true;
}

bool sql_create_table_check(sql_parser_t *p, ast_create_table_t *c) {
    for (int i = 0; i < c->ncol; i++)
        if (c->col[i].is_virtual && c->col[i].kind != AST_COLUMN_METADATA)
            return type_bad(p, c->col[i].name.pos, ERR_SYNTAX, "VIRTUAL belongs to METADATA columns",
                            "write name type METADATA VIRTUAL");
    if (c->primary_key_pos.line && !c->not_enforced)
        return type_bad(p, c->primary_key_pos, ERR_SYNTAX, "PRIMARY KEY needs NOT ENFORCED: the data lives outside and is not checked",
                        "write PRIMARY KEY (..) NOT ENFORCED");
    return true;
}
