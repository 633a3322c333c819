/* tokens.c: which words are keywords, and where. */
#include "sql/parse_int.h"
#include "grammar.tab.h"
#include <stdlib.h>
#include <strings.h>

typedef struct keyword {
    const char *word;
    int token;
    int reserved; /* as Flink reserves it: not a name without backquotes, but a function's name before '(' */
} keyword_t;

static const keyword_t keywords[] = {
    {"ABS", RESERVED, 1}, {"ABSENT", K_ABSENT, 0}, {"AFTER", K_AFTER, 0}, {"ALL", K_ALL, 1},
    {"ALLOCATE", RESERVED, 1}, {"ALLOW", RESERVED, 1}, {"ALTER", RESERVED, 1}, {"AND", K_AND, 1},
    {"ANY", K_ANY, 1}, {"ARE", RESERVED, 1}, {"ARRAY", K_ARRAY, 1}, {"ARRAY_MAX_CARDINALITY", RESERVED, 1},
    {"AS", K_AS, 1}, {"ASC", K_ASC, 0}, {"ASENSITIVE", RESERVED, 1}, {"ASYMMETRIC", K_ASYMMETRIC, 1},
    {"AT", K_AT, 1}, {"ATOMIC", RESERVED, 1}, {"AUTHORIZATION", RESERVED, 1}, {"AVG", RESERVED, 1},
    {"BEGIN", K_BEGIN, 1}, {"BEGIN_FRAME", RESERVED, 1}, {"BEGIN_PARTITION", RESERVED, 1},
    {"BETWEEN", K_BETWEEN, 1}, {"BIGINT", TYPE_NAME, 1}, {"BINARY", TYPE_NAME, 1}, {"BIT", RESERVED, 1},
    {"BLOB", RESERVED, 1}, {"BOOLEAN", TYPE_NAME, 1}, {"BOTH", K_BOTH, 1}, {"BY", K_BY, 1},
    {"BYTES", TYPE_NAME, 1}, {"CALL", RESERVED, 1}, {"CALLED", RESERVED, 1}, {"CARDINALITY", RESERVED, 1},
    {"CASCADED", RESERVED, 1}, {"CASE", K_CASE, 1}, {"CAST", K_CAST, 1}, {"CEIL", K_CEIL, 1},
    {"CEILING", K_CEIL, 1}, {"CENTURY", UNIT, 0}, {"CHAR", TYPE_NAME, 1}, {"CHARACTER", TYPE_NAME, 1},
    {"CHARACTER_LENGTH", RESERVED, 1}, {"CHAR_LENGTH", RESERVED, 1}, {"CHECK", RESERVED, 1},
    {"CLASSIFIER", RESERVED, 1}, {"CLOB", RESERVED, 1}, {"CLOSE", RESERVED, 1}, {"COALESCE", RESERVED, 1},
    {"COLLATE", RESERVED, 1}, {"COLLECT", RESERVED, 1}, {"COLUMN", RESERVED, 1}, {"COMMENT", K_COMMENT, 1},
    {"COMMIT", RESERVED, 1}, {"CONDITION", RESERVED, 1}, {"CONDITIONAL", K_CONDITIONAL, 0},
    {"CONNECT", RESERVED, 1}, {"CONSTRAINT", K_CONSTRAINT, 1}, {"CONTAINS", RESERVED, 1},
    {"CONVERT", RESERVED, 1}, {"CORR", RESERVED, 1}, {"CORRESPONDING", RESERVED, 1}, {"COUNT", RESERVED, 1},
    {"COVAR_POP", RESERVED, 1}, {"COVAR_SAMP", RESERVED, 1}, {"CREATE", K_CREATE, 1}, {"CROSS", K_CROSS, 1},
    {"CUBE", K_CUBE, 1}, {"CUME_DIST", RESERVED, 1}, {"CURRENT", K_CURRENT, 1},
    {"CURRENT_CATALOG", RESERVED, 1}, {"CURRENT_DATE", NILADIC, 1},
    {"CURRENT_DEFAULT_TRANSFORM_GROUP", RESERVED, 1}, {"CURRENT_PATH", RESERVED, 1},
    {"CURRENT_ROLE", RESERVED, 1}, {"CURRENT_ROW", RESERVED, 1}, {"CURRENT_SCHEMA", RESERVED, 1},
    {"CURRENT_TIME", NILADIC, 1}, {"CURRENT_TIMESTAMP", NILADIC, 1},
    {"CURRENT_TRANSFORM_GROUP_FOR_TYPE", RESERVED, 1}, {"CURRENT_USER", RESERVED, 1},
    {"CURSOR", RESERVED, 1}, {"CYCLE", RESERVED, 1}, {"DATE", K_DATE, 1}, {"DAY", UNIT, 1},
    {"DAYS", UNIT, 0}, {"DEALLOCATE", RESERVED, 1}, {"DEC", TYPE_NAME, 1}, {"DECADE", UNIT, 0},
    {"DECIMAL", TYPE_NAME, 1}, {"DECLARE", RESERVED, 1}, {"DEFAULT", K_DEFAULT, 1}, {"DEFINE", K_DEFINE, 1},
    {"DELETE", RESERVED, 1}, {"DENSE_RANK", RESERVED, 1}, {"DEREF", RESERVED, 1}, {"DESC", K_DESC, 0},
    {"DESCRIBE", RESERVED, 1}, {"DESCRIPTOR", DESCRIPTOR, 0}, {"DETERMINISTIC", RESERVED, 1},
    {"DISALLOW", RESERVED, 1}, {"DISCONNECT", RESERVED, 1}, {"DISTINCT", K_DISTINCT, 1},
    {"DOUBLE", K_DOUBLE, 1}, {"DOW", UNIT, 0}, {"DOY", UNIT, 0}, {"DROP", K_DROP, 1},
    {"DYNAMIC", RESERVED, 1}, {"EACH", RESERVED, 1}, {"ELEMENT", RESERVED, 1}, {"ELSE", K_ELSE, 1},
    {"EMPTY", K_EMPTY, 1}, {"END", K_END, 1}, {"END_FRAME", RESERVED, 1}, {"END_PARTITION", RESERVED, 1},
    {"EPOCH", UNIT, 0}, {"EQUALS", RESERVED, 1}, {"ERROR", K_ERROR, 0}, {"ESCAPE", K_ESCAPE, 1},
    {"EVERY", RESERVED, 1}, {"EXCEPT", K_EXCEPT, 1}, {"EXCLUDING", K_EXCLUDING, 0}, {"EXEC", RESERVED, 1},
    {"EXECUTE", K_EXECUTE, 1}, {"EXISTS", K_EXISTS, 1}, {"EXP", RESERVED, 1}, {"EXPLAIN", K_EXPLAIN, 1},
    {"EXTEND", RESERVED, 1}, {"EXTERNAL", RESERVED, 1}, {"EXTRACT", K_EXTRACT, 1}, {"FALSE", K_FALSE, 1},
    {"FETCH", K_FETCH, 1}, {"FILTER", K_FILTER, 1}, {"FINAL", K_FINAL, 0}, {"FIRST", K_FIRST, 0},
    {"FIRST_VALUE", RESERVED, 1}, {"FLOAT", TYPE_NAME, 1}, {"FLOOR", K_FLOOR, 1},
    {"FOLLOWING", K_FOLLOWING, 0}, {"FOR", K_FOR, 1}, {"FOREIGN", RESERVED, 1}, {"FRAC_SECOND", UNIT, 0},
    {"FRAME_ROW", RESERVED, 1}, {"FREE", RESERVED, 1}, {"FROM", K_FROM, 1}, {"FULL", K_FULL, 1},
    {"FUNCTION", RESERVED, 1}, {"FUSION", RESERVED, 1}, {"GET", RESERVED, 1}, {"GLOBAL", RESERVED, 1},
    {"GRANT", RESERVED, 1}, {"GROUP", K_GROUP, 1}, {"GROUPING", K_GROUPING, 1}, {"GROUPS", RESERVED, 1},
    {"HAVING", K_HAVING, 1}, {"HOLD", RESERVED, 1}, {"HOUR", UNIT, 1}, {"HOURS", UNIT, 0},
    {"IDENTITY", RESERVED, 1}, {"IF", K_IF, 0}, {"IGNORE", K_IGNORE, 0}, {"IMPORT", RESERVED, 1},
    {"IN", K_IN, 1}, {"INCLUDING", K_INCLUDING, 0}, {"INDICATOR", RESERVED, 1}, {"INITIAL", RESERVED, 1},
    {"INNER", K_INNER, 1}, {"INOUT", RESERVED, 1}, {"INSENSITIVE", RESERVED, 1}, {"INSERT", K_INSERT, 1},
    {"INT", TYPE_NAME, 1}, {"INTEGER", TYPE_NAME, 1}, {"INTERSECT", K_INTERSECT, 1},
    {"INTERSECTION", RESERVED, 1}, {"INTERVAL", K_INTERVAL, 1}, {"INTO", K_INTO, 1}, {"IS", K_IS, 1},
    {"ISODOW", UNIT, 0}, {"ISOYEAR", UNIT, 0}, {"JOIN", K_JOIN, 1}, {"JSON", K_JSON, 0},
    {"JSON_ARRAY", K_JSON_ARRAY, 1}, {"JSON_ARRAYAGG", K_JSON_ARRAYAGG, 1},
    {"JSON_EXISTS", K_JSON_EXISTS, 1}, {"JSON_OBJECT", K_JSON_OBJECT, 1},
    {"JSON_OBJECTAGG", K_JSON_OBJECTAGG, 1}, {"JSON_QUERY", K_JSON_QUERY, 1}, {"JSON_SCOPE", RESERVED, 1},
    {"JSON_VALUE", K_JSON_VALUE, 1}, {"KEY", K_KEY, 0}, {"LAG", RESERVED, 1}, {"LANGUAGE", RESERVED, 1},
    {"LARGE", RESERVED, 1}, {"LAST", K_LAST, 0}, {"LAST_VALUE", RESERVED, 1}, {"LATERAL", K_LATERAL, 1},
    {"LEAD", RESERVED, 1}, {"LEADING", K_LEADING, 1}, {"LEFT", K_LEFT, 1}, {"LIKE", K_LIKE, 1},
    {"LIKE_REGEX", RESERVED, 1}, {"LIMIT", K_LIMIT, 1}, {"LN", RESERVED, 1}, {"LOCAL", K_LOCAL, 1},
    {"LOCALTIME", NILADIC, 1}, {"LOCALTIMESTAMP", NILADIC, 1}, {"LOWER", RESERVED, 1}, {"MAP", K_MAP, 0},
    {"MATCH", K_MATCH, 1}, {"MATCHES", RESERVED, 1}, {"MATCH_NUMBER", RESERVED, 1},
    {"MATCH_RECOGNIZE", K_MATCH_RECOGNIZE, 1}, {"MAX", RESERVED, 1}, {"MEASURES", K_MEASURES, 1},
    {"MEMBER", RESERVED, 1}, {"MERGE", RESERVED, 1}, {"METADATA", K_METADATA, 0}, {"METHOD", RESERVED, 1},
    {"MICROSECOND", UNIT, 0}, {"MILLENNIUM", UNIT, 0}, {"MILLISECOND", UNIT, 0}, {"MIN", RESERVED, 1},
    {"MINUS", K_EXCEPT, 1}, {"MINUTE", UNIT, 1}, {"MINUTES", UNIT, 0}, {"MOD", RESERVED, 1},
    {"MODIFIES", RESERVED, 1}, {"MODULE", RESERVED, 1}, {"MONTH", UNIT, 1}, {"MONTHS", UNIT, 0},
    {"MULTISET", K_MULTISET, 1}, {"NANOSECOND", UNIT, 0}, {"NATIONAL", RESERVED, 1},
    {"NATURAL", K_NATURAL, 1}, {"NCHAR", RESERVED, 1}, {"NCLOB", RESERVED, 1}, {"NEW", RESERVED, 1},
    {"NEXT", K_NEXT, 1}, {"NO", RESERVED, 1}, {"NONE", RESERVED, 1}, {"NORMALIZE", RESERVED, 1},
    {"NOT", K_NOT, 1}, {"NTH_VALUE", RESERVED, 1}, {"NTILE", RESERVED, 1}, {"NULL", K_NULL, 1},
    {"NULLIF", RESERVED, 1}, {"NULLS", K_NULLS, 0}, {"NUMERIC", TYPE_NAME, 1}, {"OBJECT", K_OBJECT, 0},
    {"OCCURRENCES_REGEX", RESERVED, 1}, {"OCTET_LENGTH", RESERVED, 1}, {"OF", K_OF, 1},
    {"OFFSET", K_OFFSET, 1}, {"OLD", RESERVED, 1}, {"OMIT", RESERVED, 1}, {"ON", K_ON, 1},
    {"ONE", K_ONE, 1}, {"ONLY", K_ONLY, 1}, {"OPEN", RESERVED, 1}, {"OR", K_OR, 1}, {"ORDER", K_ORDER, 1},
    {"ORDINALITY", K_ORDINALITY, 0}, {"OUT", RESERVED, 1}, {"OUTER", K_OUTER, 1}, {"OVER", K_OVER, 1},
    {"OVERLAPS", K_OVERLAPS, 1}, {"OVERLAY", K_OVERLAY, 1}, {"OVERWRITE", K_OVERWRITE, 0},
    {"OVERWRITING", K_OVERWRITING, 0}, {"PARAMETER", RESERVED, 1}, {"PARTITION", K_PARTITION, 1},
    {"PARTITIONED", K_PARTITIONED, 0}, {"PAST", K_PAST, 0}, {"PATTERN", K_PATTERN, 1}, {"PER", K_PER, 1},
    {"PERCENT", RESERVED, 1}, {"PERCENTILE_CONT", RESERVED, 1}, {"PERCENTILE_DISC", RESERVED, 1},
    {"PERCENT_RANK", RESERVED, 1}, {"PERIOD", RESERVED, 1}, {"PERMUTE", K_PERMUTE, 1},
    {"PLACING", K_PLACING, 0}, {"PLAN", K_PLAN, 0}, {"PORTION", RESERVED, 1}, {"POSITION", K_POSITION, 1},
    {"POSITION_REGEX", RESERVED, 1}, {"POWER", RESERVED, 1}, {"PRECEDES", RESERVED, 1},
    {"PRECEDING", K_PRECEDING, 0}, {"PRECISION", K_PRECISION, 1}, {"PREPARE", RESERVED, 1},
    {"PREV", RESERVED, 1}, {"PRIMARY", K_PRIMARY, 1}, {"PROCEDURE", RESERVED, 1}, {"QUALIFY", K_QUALIFY, 1},
    {"QUARTER", UNIT, 0}, {"QUARTERS", UNIT, 0}, {"RANGE", K_RANGE, 1}, {"RANK", RESERVED, 1},
    {"RAW", RESERVED, 1}, {"READS", RESERVED, 1}, {"REAL", TYPE_NAME, 1}, {"RECURSIVE", K_RECURSIVE, 1},
    {"REF", RESERVED, 1}, {"REFERENCES", RESERVED, 1}, {"REFERENCING", RESERVED, 1},
    {"REGR_AVGX", RESERVED, 1}, {"REGR_AVGY", RESERVED, 1}, {"REGR_COUNT", RESERVED, 1},
    {"REGR_INTERCEPT", RESERVED, 1}, {"REGR_R2", RESERVED, 1}, {"REGR_SLOPE", RESERVED, 1},
    {"REGR_SXX", RESERVED, 1}, {"REGR_SXY", RESERVED, 1}, {"REGR_SYY", RESERVED, 1},
    {"RELEASE", RESERVED, 1}, {"REPLACE", K_REPLACE, 0}, {"RESET", K_RESET, 1}, {"RESPECT", K_RESPECT, 0},
    {"RESULT", RESERVED, 1}, {"RETURN", RESERVED, 1}, {"RETURNING", K_RETURNING, 0},
    {"RETURNS", RESERVED, 1}, {"REVOKE", RESERVED, 1}, {"RIGHT", K_RIGHT, 1}, {"ROLLBACK", RESERVED, 1},
    {"ROLLUP", K_ROLLUP, 1}, {"ROW", K_ROW, 1}, {"ROWS", K_ROWS, 1}, {"ROW_NUMBER", RESERVED, 1},
    {"RUNNING", K_RUNNING, 1}, {"SAVEPOINT", RESERVED, 1}, {"SCALAR", K_SCALAR, 0}, {"SCOPE", RESERVED, 1},
    {"SCROLL", RESERVED, 1}, {"SEARCH", RESERVED, 1}, {"SECOND", UNIT, 1}, {"SECONDS", UNIT, 0},
    {"SEEK", RESERVED, 1}, {"SELECT", K_SELECT, 1}, {"SENSITIVE", RESERVED, 1},
    {"SESSION_USER", RESERVED, 1}, {"SET", K_SET, 1}, {"SETS", K_SETS, 0}, {"SHOW", RESERVED, 1},
    {"SIMILAR", K_SIMILAR, 1}, {"SKIP", K_SKIP, 1}, {"SMALLINT", TYPE_NAME, 1}, {"SOME", K_ANY, 1},
    {"SPECIFIC", RESERVED, 1}, {"SPECIFICTYPE", RESERVED, 1}, {"SQL", RESERVED, 1},
    {"SQLEXCEPTION", RESERVED, 1}, {"SQLSTATE", RESERVED, 1}, {"SQLWARNING", RESERVED, 1},
    {"SQL_TSI_DAY", UNIT, 0}, {"SQL_TSI_HOUR", UNIT, 0}, {"SQL_TSI_MINUTE", UNIT, 0},
    {"SQL_TSI_MONTH", UNIT, 0}, {"SQL_TSI_QUARTER", UNIT, 0}, {"SQL_TSI_SECOND", UNIT, 0},
    {"SQL_TSI_WEEK", UNIT, 0}, {"SQL_TSI_YEAR", UNIT, 0}, {"SQRT", RESERVED, 1}, {"START", RESERVED, 1},
    {"STATEMENT", K_STATEMENT, 0}, {"STATIC", RESERVED, 1}, {"STDDEV_POP", RESERVED, 1},
    {"STDDEV_SAMP", RESERVED, 1}, {"STREAM", RESERVED, 1}, {"STRING", TYPE_NAME, 1},
    {"SUBMULTISET", RESERVED, 1}, {"SUBSET", K_SUBSET, 1}, {"SUBSTRING", K_SUBSTRING, 1},
    {"SUBSTRING_REGEX", RESERVED, 1}, {"SUCCEEDS", RESERVED, 1}, {"SUM", RESERVED, 1},
    {"SYMMETRIC", K_SYMMETRIC, 1}, {"SYSTEM", RESERVED, 1}, {"SYSTEM_TIME", K_SYSTEM_TIME, 1},
    {"SYSTEM_USER", RESERVED, 1}, {"TABLE", K_TABLE, 1}, {"TABLESAMPLE", RESERVED, 1},
    {"TEMPORARY", K_TEMPORARY, 0}, {"THEN", K_THEN, 1}, {"TIME", K_TIME, 1}, {"TIMESTAMP", K_TIMESTAMP, 1},
    {"TIMESTAMP_LTZ", TYPE_NAME, 1}, {"TIMEZONE_HOUR", RESERVED, 1}, {"TIMEZONE_MINUTE", RESERVED, 1},
    {"TINYINT", TYPE_NAME, 1}, {"TO", K_TO, 1}, {"TRAILING", K_TRAILING, 1}, {"TRANSLATE", RESERVED, 1},
    {"TRANSLATE_REGEX", RESERVED, 1}, {"TRANSLATION", RESERVED, 1}, {"TREAT", RESERVED, 1},
    {"TRIGGER", RESERVED, 1}, {"TRIM", K_TRIM, 1}, {"TRIM_ARRAY", RESERVED, 1}, {"TRUE", K_TRUE, 1},
    {"TRUNCATE", RESERVED, 1}, {"TRY_CAST", K_TRY_CAST, 1}, {"UESCAPE", K_UESCAPE, 1},
    {"UNBOUNDED", K_UNBOUNDED, 0}, {"UNCONDITIONAL", K_UNCONDITIONAL, 0}, {"UNION", K_UNION, 1},
    {"UNIQUE", K_UNIQUE, 1}, {"UNKNOWN", K_UNKNOWN, 1}, {"UNNEST", K_UNNEST, 1}, {"UPDATE", RESERVED, 1},
    {"UPPER", RESERVED, 1}, {"UPSERT", RESERVED, 1}, {"USE", RESERVED, 1}, {"USER", RESERVED, 1},
    {"USING", K_USING, 1}, {"VALUE", K_VALUE, 1}, {"VALUES", K_VALUES, 1}, {"VALUE_OF", RESERVED, 1},
    {"VARBINARY", TYPE_NAME, 1}, {"VARCHAR", TYPE_NAME, 1}, {"VARYING", K_VARYING, 1},
    {"VAR_POP", RESERVED, 1}, {"VAR_SAMP", RESERVED, 1}, {"VERSIONING", RESERVED, 1}, {"VIEW", K_VIEW, 0},
    {"VIRTUAL", K_VIRTUAL, 0}, {"WATERMARK", K_WATERMARK, 1}, {"WEEK", UNIT, 0}, {"WEEKS", UNIT, 0},
    {"WHEN", K_WHEN, 1}, {"WHENEVER", RESERVED, 1}, {"WHERE", K_WHERE, 1}, {"WIDTH_BUCKET", RESERVED, 1},
    {"WINDOW", K_WINDOW, 1}, {"WITH", K_WITH, 1}, {"WITHIN", K_WITHIN, 1}, {"WITHOUT", K_WITHOUT, 1},
    {"WRAPPER", K_WRAPPER, 0}, {"YEAR", UNIT, 1}, {"YEARS", UNIT, 0}, {"ZONE", K_ZONE, 0},
};

static int keyword_compare(const void *key, const void *entry) {
    return strcmp(key, ((const keyword_t *)entry)->word);
}

int sql_keyword(const char *text, size_t len, bool *reserved) {
    char upper[40];
    if (len >= sizeof upper) return 0;
    for (size_t i = 0; i < len; i++) upper[i] = text[i] >= 'a' && text[i] <= 'z' ? (char)(text[i] - 32) : text[i];
    upper[len] = 0;
    const keyword_t *k = bsearch(upper, keywords, ARRAY_LEN(keywords), sizeof *keywords, keyword_compare);
    *reserved = k && k->reserved;
    return k ? k->token : 0;
}

bool sql_is_keyword(const char *text) {
    bool reserved;
    return sql_keyword(text, strlen(text), &reserved) != 0;
}

static const sql_token_t none = {.text = ""};

static const sql_token_t *at(const sql_parser_t *p, int i) { return i >= 0 && i < p->n ? &p->tok[i] : &none; }
static int kind(const sql_parser_t *p, int i) { return at(p, i)->kind; }
/* What the token is before and after classification: the keyword it spells, else its kind. */
static int spelled(const sql_parser_t *p, int i) { return at(p, i)->word ? at(p, i)->word : at(p, i)->kind; }
static bool is_word(const sql_parser_t *p, int i, const char *word) {
    const sql_token_t *t = at(p, i);
    return t->text && t->kind != STRING && t->begin + strlen(word) == t->end && strcasecmp(t->text, word) == 0;
}

/* A unit only where the grammar has one: elsewhere DAY is reserved and WEEK is a name. */
static int classify_unit(const sql_parser_t *p, int i) {
    int prev = spelled(p, i - 1), next = spelled(p, i + 1);
    if (prev == STRING) {
        int before = spelled(p, i - 2);
        if (before == K_INTERVAL || ((before == '-' || before == '+') && spelled(p, i - 3) == K_INTERVAL)) return UNIT;
    }
    if (prev == K_INTERVAL && next != '(') return UNIT;
    if (prev == K_INTERVAL && spelled(p, i + 2) == INTEGER && !is_word(p, i - 2, "SELECT")) return UNIT;
    if (prev == K_TO) return UNIT;
    if (prev == ')' && next != '(' && at(p, i)->reserved) return UNIT; /* (a - b) DAY */
    if (prev == '(' && next == K_FROM && spelled(p, i - 2) == K_EXTRACT) return UNIT;
    if (prev == '(' && next == ',' && (is_word(p, i - 2, "TIMESTAMPADD") || is_word(p, i - 2, "TIMESTAMPDIFF"))) return UNIT;
    return next == '(' || !at(p, i)->reserved ? IDENT : RESERVED;
}

/* MAP<STRING, ..>: a type, while "map < x" compares. No expression begins with a type's name. */
static bool begins_type(const sql_parser_t *p, int i) {
    switch (spelled(p, i)) {
    case TYPE_NAME:
    case K_DOUBLE: return true;
    case K_DATE:
    case K_TIME:
    case K_TIMESTAMP: return spelled(p, i + 1) != STRING;
    case K_ARRAY: return spelled(p, i + 1) == '<';
    case K_MAP:
    case K_MULTISET:
    case K_ROW: return spelled(p, i + 1) == '<';
    case K_INTERVAL: return spelled(p, i + 1) == UNIT;
    default: return false;
    }
}

static bool after_unit(const sql_parser_t *p, int i) {
    if (kind(p, i - 1) == UNIT) return true;
    return kind(p, i - 1) == ')' && kind(p, i - 2) == INTEGER && kind(p, i - 3) == '(' && kind(p, i - 4) == UNIT;
}

/* KEY before the key of JSON_OBJECT: what follows begins an expression and cannot follow a column named key. */
static bool begins_key(int token) {
    return token == STRING || token == IDENT || token == K_CAST || token == K_CASE || token == K_TRY_CAST || token == K_TRIM ||
           token == K_SUBSTRING || token == INTEGER;
}

static bool pick(bool keyword, int token, int *ret) {
    *ret = keyword ? token : IDENT;
    return true;
}

/* Words that are keywords only beside certain neighbours; false: no such rule for the word. */
static bool classify_soft(const sql_parser_t *p, int i, int *ret) {
    int prev = spelled(p, i - 1), next = spelled(p, i + 1);
    switch (at(p, i)->word) {
    case K_ABSENT: return pick(next == K_ON, K_ABSENT, ret);
    case K_FINAL: return pick((next == IDENT || at(p, i + 1)->word) && spelled(p, i + 2) == '(' && next != K_FROM
                              && next != K_AS && next != K_IN && next != K_OVER && prev != K_AS && prev != '.', K_FINAL, ret);
    case K_IF: return pick(next == K_EXISTS || (next == K_NOT && spelled(p, i + 2) == K_EXISTS), K_IF, ret);
    case K_IGNORE:
    case K_RESPECT: /* ARRAY_AGG(x IGNORE NULLS): inside the call */
        if (next == K_NULLS && spelled(p, i + 2) == ')') return pick(true, at(p, i)->word == K_IGNORE ? K_IGNORE_LA : K_RESPECT_LA, ret);
        return pick(next == K_NULLS, at(p, i)->word, ret);
    case K_JSON: return pick(prev == K_IS || (prev == K_NOT && spelled(p, i - 2) == K_IS), K_JSON, ret);
    case K_OBJECT: return pick(kind(p, i - 1) == K_JSON || prev == K_EMPTY, K_OBJECT, ret);
    case K_SCALAR: return pick(kind(p, i - 1) == K_JSON, K_SCALAR, ret);
    case K_KEY: return pick(prev == K_PRIMARY || ((prev == '(' || prev == ',') && begins_key(next)), K_KEY, ret);
    case K_MAP: return pick(next == '[' || (next == '<' && begins_type(p, i + 2))
                            || (next == '(' && (spelled(p, i + 2) == K_SELECT || spelled(p, i + 2) == K_VALUES)), K_MAP, ret);
    case K_REPLACE: return pick(prev == K_OR && spelled(p, i - 2) == K_CREATE, K_REPLACE, ret);
    case K_TEMPORARY: return pick(prev == K_CREATE || prev == K_DROP || kind(p, i - 1) == K_REPLACE, K_TEMPORARY, ret);
    case K_VIEW: return pick(prev == K_CREATE || prev == K_DROP || kind(p, i - 1) == K_REPLACE
                             || kind(p, i - 1) == K_TEMPORARY, K_VIEW, ret);
    case K_UNBOUNDED: return pick(next == K_PRECEDING || next == K_FOLLOWING, K_UNBOUNDED, ret);
    case DESCRIPTOR: return pick(next == '(', DESCRIPTOR, ret);
    default: return false;
    }
}

static int classify_word(sql_parser_t *p, int i) {
    int word = at(p, i)->word, prev = spelled(p, i - 1), next = spelled(p, i + 1), soft;
    if (!word) return IDENT;
    if (next == ARROW) return IDENT;
    if (word == UNIT) return classify_unit(p, i);
    if (classify_soft(p, i, &soft)) return soft;
    switch (word) {
    case K_NOT:
        return next == K_BETWEEN || next == K_IN || next == K_LIKE || next == K_SIMILAR ? K_NOT_LA : K_NOT;
    case K_WITH: return next == K_LOCAL || next == K_TIME ? K_WITH_LA : K_WITH;
    case K_WITHOUT: return next == K_TIME ? K_WITHOUT_LA : K_WITHOUT;
    case K_NULL: return next == K_ON ? K_NULL_LA : K_NULL;
    case K_VALUE: return kind(p, i - 1) == K_JSON ? K_VALUE_LA : K_VALUE;
    case K_TO: return after_unit(p, i) && at(p, i + 1)->word == UNIT ? K_TO_LA : K_TO;
    case K_LEFT:
    case K_RIGHT:
    case K_NEXT:
    case K_SET:
    case NILADIC:
    case RESERVED: return next == '(' ? IDENT : word;
    case K_GROUPING: return next == K_SETS ? word : next == '(' ? IDENT : RESERVED;
    case K_INSERT: return next == '(' && prev != 0 && prev != ';' ? IDENT : word;
    default: return word;
    }
}

/* --- statements that are not of the grammar ---------------------------------------------------------------------- */

static int statement_end(const sql_parser_t *p, int i) {
    while (i < p->n - 1 && kind(p, i) != ';') i++;
    return i;
}

#define DEAD (-1) /* a token that a rule took away; gone after pack() */

/* Replaces the tokens from..to (excluded) by one that stands for their source text; returns `to`. */
static int fold(sql_parser_t *p, int from, int to, int new_kind, const char *text) {
    sql_token_t *t = &p->tok[from];
    t->kind = new_kind;
    t->word = 0;
    t->end = p->tok[to - 1].end;
    t->text = text ? text : arena_strndup(p->a, p->text + t->begin, t->end - t->begin);
    t->text_len = (uint32_t)strlen(t->text);
    for (int i = from + 1; i < to; i++) p->tok[i].kind = DEAD;
    return to;
}

static int fold_text(sql_parser_t *p, int from, int to) {
    if (from + 1 == to && kind(p, from) == STRING) p->tok[from].kind = RAW_TEXT;
    else if (from < to) fold(p, from, to, RAW_TEXT, NULL);
    return to;
}

/* SET 'k' = 'v', SET k.with-dashes = any words: key and value become one RAW_TEXT each. */
static int fold_setting(sql_parser_t *p, int i) {
    int end = statement_end(p, i), eq = i + 1;
    while (eq < end && kind(p, eq) != '=') eq++;
    fold_text(p, i + 1, eq);
    if (eq < end) fold_text(p, eq + 1, end);
    return end;
}

static void pack(sql_parser_t *p) {
    int n = 0;
    for (int i = 0; i < p->n; i++)
        if (p->tok[i].kind != DEAD) p->tok[n++] = p->tok[i];
    p->n = n;
}

/* Statements of Flink without a meaning here keep only their name. NULL: not one of them. */
static const char *other_statement(const sql_parser_t *p, int i) {
    static const char *const verbs[] = {"ALTER", "DESCRIBE", "DESC", "SHOW", "USE", "LOAD", "UNLOAD", "ANALYZE", "DELETE", "UPDATE",
                                        "MERGE", "CALL", "TRUNCATE", "ADD", "REMOVE", "COMPILE", "STOP", "UPSERT", "GRANT", "COMMIT",
                                        "HELP", "QUIT", "CLEAR", "SOURCE"};
    static const char *const objects[] = {"CATALOG", "DATABASE", "FUNCTION", "MODULE", "MODEL", "CONNECTION", "INDEX", "MATERIALIZED"};
    for (size_t v = 0; v < ARRAY_LEN(verbs); v++)
        if (is_word(p, i, verbs[v])) return verbs[v];
    if (is_word(p, i, "EXECUTE") && (is_word(p, i + 1, "PLAN") || is_word(p, i + 1, "IMMEDIATE"))) return "EXECUTE PLAN";
    bool create = spelled(p, i) == K_CREATE;
    if (!create && spelled(p, i) != K_DROP) return NULL;
    for (int j = i + 1; j < i + 5 && kind(p, j) && kind(p, j) != ';'; j++) {
        if (spelled(p, j) == K_TABLE || spelled(p, j) == K_VIEW) return NULL;
        for (size_t o = 0; o < ARRAY_LEN(objects); o++)
            if (is_word(p, j, objects[o])) return arena_printf(p->a, "%s %s", create ? "CREATE" : "DROP", objects[o]);
    }
    return NULL;
}

static void fold_statements(sql_parser_t *p) {
    bool start = true;
    int out = 0;
    for (int i = 0; i < p->n; i = out) {
        const char *what = start ? other_statement(p, i) : NULL;
        int word = at(p, i)->word;
        if (what) out = fold(p, i, statement_end(p, i), OTHER, arena_strdup(p->a, what));
        else if (start && (word == K_SET || word == K_RESET)) out = fold_setting(p, i);
        else out = i + 1;
        start = kind(p, out - 1) == ';';
    }
}

/* U&'..': \XXXX and \+XXXXXX, with another escape character after UESCAPE. */
static int unescape(sql_parser_t *p, int i) {
    sql_token_t *t = &p->tok[i];
    char esc = '\\';
    bool custom = spelled(p, i + 1) == K_UESCAPE && kind(p, i + 2) == STRING && at(p, i + 2)->text_len == 1;
    if (custom) esc = at(p, i + 2)->text[0];
    char *out = arena_alloc(p->a, t->text_len + 8);
    size_t n = 0;
    bool ok = true;
    for (size_t k = 0; k < t->text_len && ok; k++) {
        const char *s = t->text + k;
        if (*s != esc) out[n++] = *s;
        else if (s[1] == esc) out[n++] = esc, k++;
        else {
            size_t digits = s[1] == '+' ? 6 : 4, skip = s[1] == '+' ? 2 : 1;
            char hex[8] = {0}, *end;
            strncpy(hex, s + skip, digits);
            unsigned long c = strtoul(hex, &end, 16);
            ok = strlen(hex) == digits && strspn(hex, "0123456789abcdefABCDEF") == digits && c > 0 && c < 0x110000
                 && (c < 0xd800 || c > 0xdfff);
            if (!ok) break;
            if (c < 0x80) out[n++] = (char)c;
            else if (c < 0x800) out[n++] = (char)(0xc0 | c >> 6), out[n++] = (char)(0x80 | (c & 63));
            else if (c < 0x10000)
                out[n++] = (char)(0xe0 | c >> 12), out[n++] = (char)(0x80 | (c >> 6 & 63)), out[n++] = (char)(0x80 | (c & 63));
            else
                out[n++] = (char)(0xf0 | c >> 18), out[n++] = (char)(0x80 | (c >> 12 & 63)),
                out[n++] = (char)(0x80 | (c >> 6 & 63)), out[n++] = (char)(0x80 | (c & 63));
            k += skip + digits - 1;
        }
    }
    out[n] = 0;
    t->text = out;
    t->text_len = (uint32_t)n;
    t->kind = STRING;
    if (!ok) {
        t->kind = BAD;
        t->bad = "a bad escape in a unicode string";
        t->hint = "write \\ and four hexadecimal digits, or \\+ and six";
    }
    return custom ? 2 : 0;
}

/* Rules that join tokens: they run before any word is looked at by its neighbours. */
static void join_tokens(sql_parser_t *p) {
    fold_statements(p);
    for (int i = 0; i < p->n; i++) {
        int more = kind(p, i) == USTRING ? unescape(p, i) : 0;
        if (spelled(p, i) == K_NOT && is_word(p, i + 1, "ENFORCED")) {
            p->tok[i].kind = K_NOT_ENFORCED;
            p->tok[i].word = 0;
            more = 1;
        }
        if (more) p->tok[i].end = p->tok[i + more].end;
        for (int k = 1; k <= more; k++) p->tok[i + k].kind = DEAD;
        i += more;
    }
    pack(p);
}

void sql_classify(sql_parser_t *p) {
    join_tokens(p);
    for (int i = 0; i < p->n; i++)
        if (kind(p, i) == IDENT) p->tok[i].kind = classify_word(p, i);
}

/* Whether a function's name must be quoted before its parenthesis. */
bool sql_quote_function(const char *text) {
    bool reserved;
    switch (sql_keyword(text, strlen(text), &reserved)) {
    case 0:
    case RESERVED:
    case NILADIC:
    case UNIT:
    case K_LEFT:
    case K_RIGHT:
    case K_NEXT:
    case K_SET:
    case K_FIRST:
    case K_LAST:
    case K_IF:
    case K_REPLACE:
    case K_GROUPING: return false;
    default: return true;
    }
}
