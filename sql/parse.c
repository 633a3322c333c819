/* parse.c: the entry point, and what is said about a text that is no SQL. */
#include "common/near.h"
#include "sql/parse_int.h"
#include "grammar.tab.h"
#include <strings.h>

/* --- errors ------------------------------------------------------------------------------------------------------ */

static bool is(const sql_token_t *t, int kind) { return t && t->kind == kind; }

static const char *found_text(sql_parser_t *p, const sql_token_t *t) {
    int n = (int)MIN((size_t)40, (size_t)(t->end - t->begin));
    const char *at = p->text + t->begin;
    while (n > 0 && n < (int)(t->end - t->begin) && ((unsigned char)at[n] & 0xc0) == 0x80) n--;
    if (t->kind == 0) return "the end of the text";
    if (t->kind == BAD && t->bad) return t->bad;
    if (t->kind == BAD) return arena_printf(p->a, "the character '%.*s'", n, at);
    if (t->kind == RESERVED) return arena_printf(p->a, "the reserved word %.*s", n, at);
    if (t->kind == DQUOTED) return arena_printf(p->a, "text in double quotes: %.*s", n, at);
    if (t->kind == STRING) return arena_printf(p->a, "the string %.*s", n, at);
    return arena_printf(p->a, "'%.*s'", n, at);
}

static bool expects(const char *const *names, int n, const char *name) {
    for (int i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0) return true;
    return false;
}

static bool is_operator(const char *n) {
    static const char *const ops[] = {"<>", "<=", ">=", "||", "'='", "'<'", "'>'", "'+'", "'-'", "'*'", "'/'", "'%'", "AND", "OR", "IS",
                                      "BETWEEN", "IN", "LIKE", "SIMILAR", "NOT", "OVERLAPS", "AT", "'['", "'.'", "'('", "OVER", "FILTER",
                                      "WITHIN", "RESPECT", "IGNORE", "=>", "/*+"};
    return expects(ops, ARRAY_LEN(ops), n);
}

/* At most six human names. A place where a value, a type or a statement may begin is told by that, not by a list. */
static const char *expected_text(sql_parser_t *p, const char *const *names, int n) {
    buf_t out = buf_make(4096);
    int said = 0;
    bool value = expects(names, n, "CASE") && expects(names, n, "number");
    bool type = !value && expects(names, n, "type");
    bool stmt = expects(names, n, "CREATE") && expects(names, n, "INSERT");
    bool after = expects(names, n, "AND") && expects(names, n, "IS");
    bool name = !value && !stmt && expects(names, n, "name");
    if (stmt) said++, buf_puts(&out, "a statement");
    if (value) said++, buf_puts(&out, "an expression");
    if (type) said++, buf_puts(&out, "a type");
    if (name) buf_puts(&out, said++ ? ", a name" : "a name");
    for (int i = 0; i < n && said < 6; i++) {
        const char *s = names[i];
        size_t len = strlen(s);
        while (len && s[len - 1] == ' ') len--;
        if (stmt || value || (type && strcmp(s, ")") != 0) || strcmp(s, "name") == 0 || strcmp(s, "bad token") == 0) continue;
        if (after && is_operator(s)) continue;
        if (name && (expects((const char *const[]){"AFTER", "ASC", "CONDITIONAL", "ERROR", "EXCLUDING", "FIRST", "FOLLOWING", "INCLUDING",
                                                   "LAST", "METADATA", "NULLS", "ORDINALITY", "OVERWRITE", "OVERWRITING", "PARTITIONED",
                                                   "PAST", "PLACING", "PLAN", "PRECEDING", "RETURNING", "SETS", "STATEMENT",
                                                   "UNCONDITIONAL", "VIRTUAL", "WRAPPER", "ZONE", "DESC"}, 27, s)))
            continue;
        bool quoted = s[0] == '\'';
        if (strcmp(s, "end of file") == 0 || strcmp(s, "$end") == 0) s = "the end", len = 7;
        buf_printf(&out, quoted || len > 3 || (s[0] >= 'A' && s[0] <= 'Z') ? "%s%.*s" : "%s'%.*s'", said++ ? ", " : "", (int)len, s);
    }
    if (after && !said) buf_puts(&out, "an operator");
    const char *text = arena_strdup(p->a, buf_cstr(&out));
    buf_free(&out);
    return text;
}

static bool open_set(const sql_parser_t *p, int upto) {
    bool open = false;
    for (int i = 0; i < upto; i++) {
        int k = p->tok[i].kind;
        if (k == K_STATEMENT) open = true;
        if (k == K_END && (i + 1 >= p->n - 1 || p->tok[i + 1].kind == ';')) open = false;
    }
    return open;
}

static bool starts_item(const sql_token_t *t) {
    switch (t->kind) {
    case IDENT:
    case STRING:
    case INTEGER:
    case DECIMAL_LITERAL:
    case FLOAT_LITERAL:
    case K_CASE:
    case K_CAST:
    case K_WATERMARK:
    case K_PRIMARY:
    case K_CONSTRAINT: return true;
    default: return false;
    }
}

/* Words that begin a clause: one of them in a wrong place is no misspelt name. */
static bool is_clause(int kind) {
    switch (kind) {
    case K_SELECT:
    case K_FROM:
    case K_WHERE:
    case K_GROUP:
    case K_HAVING:
    case K_ORDER:
    case K_LIMIT:
    case K_JOIN:
    case K_ON:
    case K_AS:
    case K_UNION:
    case K_WITH:
    case K_INSERT:
    case K_CREATE:
    case K_END:
    case K_AND:
    case K_OR: return true;
    default: return false;
    }
}

/* The keyword that a word looks like, among those that could stand there; NULL when there is none. Short ones are near to everything: they count
 * where nothing else is possible. */
static const char *keyword_near(sql_parser_t *p, const sql_token_t *t, const char *const *names, int n) {
    near_t near = {.wanted = t->text};
    if (t->kind != IDENT || p->text[t->begin] == '`') return NULL;
    for (int i = 0; i < n; i++) {
        size_t len = strspn(names[i], "ABCDEFGHIJKLMNOPQRSTUVWXYZ_");
        if (len >= 4 || (len && n <= 2)) near_offer(&near, arena_strndup(p->a, names[i], len));
    }
    return near_word(&near) && near.distance <= 1 + (strlen(t->text) > 5) ? near_word(&near) : NULL;
}

/* A misspelt word is a name: of a column in front of what follows WATERMARK or PRIMARY, or an alias, and the next one is the first that is wrong. */
static const char *misspelt(sql_parser_t *p, const sql_token_t *t, const char *const *names, int n) {
    static const char *const items[] = {"WATERMARK", "PRIMARY", "UNIQUE"};
    const char *word = keyword_near(p, t, names, n);
    if (word) return arena_printf(p->a, "did you mean %s?", word);
    const sql_token_t *prev = t > p->tok ? t - 1 : NULL;
    if (!prev) return NULL;
    word = keyword_near(p, prev, names, n);
    if (!word && (t->word == K_FOR || t->word == K_KEY)) word = keyword_near(p, prev, items, ARRAY_LEN(items));
    return word ? arena_printf(p->a, "did you mean %s instead of %s?", word, prev->text) : NULL;
}

/* The mistakes people make; NULL when this is not one of them. */
static const char *mistake(sql_parser_t *p, const sql_token_t *t, const char *const *names, int n) {
    const sql_token_t *prev = t > p->tok ? t - 1 : NULL;
    if (t->kind == BAD) return t->hint;
    if (t->kind == DQUOTED) return "strings are in single quotes, names in backquotes";
    if (t->kind == 0 && open_set(p, (int)(t - p->tok))) return "the statement set is not closed: write END; after its last INSERT";
    if (is(prev, ',') && (t->kind == ')' || t->kind == K_FROM || t->kind == HINT_END)) return "remove the comma before it";
    if (expects(names, n, "ON") && expects(names, n, "USING")) return "a join needs ON condition or USING (columns); without one write CROSS JOIN";
    if (expects(names, n, "';'")) {
        switch (t->kind) {
        case K_SELECT:
        case K_INSERT:
        case K_CREATE:
        case K_DROP:
        case K_END:
        case OTHER: return "is a semicolon missing before it?";
        default: break;
        }
    }
    const char *word = misspelt(p, t, names, n);
    if (word) return word;
    if (t->reserved && !is_clause(t->kind) && (expects(names, n, "name") || t->kind == RESERVED))
        return arena_printf(p->a, "%s is a reserved word: to use it as a name write `%s`", t->text, t->text);
    if (prev && prev->reserved && prev->word && prev->kind == prev->word && (t->kind == TYPE_NAME || t->kind == '=' || t->kind == '.'))
        return arena_printf(p->a, "%s is a reserved word: to use it as a name write `%s`", prev->text, prev->text);
    if (expects(names, n, "','") && starts_item(t)) return "is a comma missing before it?";
    if (t->kind == IDENT && (strcasecmp(t->text, "RLIKE") == 0 || strcasecmp(t->text, "REGEXP") == 0))
        return "use the function REGEXP(text, pattern)";
    if (t->kind == IDENT && strcasecmp(t->text, "ILIKE") == 0) return "use LOWER(x) LIKE LOWER(pattern)";
    if (t->kind == '?') return "parameters are not known here: write the value";
    return NULL;
}

void sql_unexpected(sql_parser_t *p, const sql_token_t *t, const char *const *expected, int n) {
    const char *want = expected_text(p, expected, n);
    bool say = want[0] && !(t->kind == BAD && t->bad);
    err_t *e = err_new(ERR_SYNTAX, "unexpected %s%s%s", found_text(p, t), say ? ", expected " : "", say ? want : "");
    const char *hint = mistake(p, t, expected, n);
    sql_fail(p, t->pos, hint ? err_hint(e, "%s", hint) : e);
}

/* --- entry ------------------------------------------------------------------------------------------------------- */

/* Bytes of the code point at s, 0 when there is no valid one. */
static size_t utf8_len(const unsigned char *s, size_t left) {
    if (s[0] < 0x80) return 1;
    size_t n = s[0] >= 0xf0 && s[0] <= 0xf4 ? 4 : s[0] >= 0xe0 && s[0] < 0xf0 ? 3 : s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : 0;
    if (n == 0 || n > left) return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] >= 0xa0)) return 0;
    if ((s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] >= 0x90)) return 0;
    return n;
}

static err_t *check_text(const char *text, size_t len) {
    if (len > SQL_TEXT_MAX) return err_new(ERR_LIMIT, "the script has %zu bytes, the limit is %zu", len, SQL_TEXT_MAX);
    int line = 1, col = 1;
    for (size_t i = 0; i < len;) {
        size_t n = utf8_len((const unsigned char *)text + i, len - i);
        if (n == 0) return err_at(err_new(ERR_SYNTAX, "the text is not UTF-8: byte 0x%02x", (unsigned char)text[i]), line, col);
        if (text[i] == 0) return err_at(err_new(ERR_SYNTAX, "the text contains a zero byte"), line, col);
        if (text[i] == '\n') line++, col = 1;
        else col++;
        i += n;
    }
    return NULL;
}

err_t *sql_parse(arena_t *a, const char *text, size_t len, sql_script_t **ret) {
    *ret = NULL;
    TRY(check_text(text, len));
    sql_parser_t p = {.a = a, .text = arena_strndup(a, text, len), .len = len, .script = ARENA_NEW(a, sql_script_t)};
    p.script->text = p.text;
    p.script->len = len;
    sql_lex(&p);
    sql_classify(&p);
    int failed = sql_yyparse(&p);
    ASSERT((failed != 0) == (p.err != NULL));
    if (failed) return p.err;
    *ret = p.script;
    return NULL;
}
