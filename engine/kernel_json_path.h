/* kernel_json_path.h: JSON paths, compiled once and walked per row. Private to engine/kernel_json*.c.
 *
 * $ .name ['name', ..] [n, ..] [from:to] (negative from the end), [*] .* .. and [?(filter)] which give lists, length() at the end. Without a mode
 * a path is strict, as in Flink: what is missing is then an error, and the ON ERROR clause speaks; behind the first step that gives a list, or
 * in lax mode, it is empty.
 *
 * Filters (kernel_json_filter.c) are Jayway's, as in Flink: @.path alone asks whether it is there, ! && || ( ) combine, == != < <= > >= === !==
 * compare (a number and a text by what is on the left), `in` `nin` `contains` `size` `empty`. What is missing equals nothing. */
#pragma once
#include "engine/func_int.h"
#include "engine/kernel_json.h"

#define STEPS_MAX 32
typedef struct filter_node filter_node_t;
typedef enum step_kind { STEP_NAMES, STEP_INDEXES, STEP_ALL, STEP_SLICE, STEP_FILTER, STEP_LENGTH } step_kind_t;
typedef struct step {
    step_kind_t kind;
    bool deep; /* applies to all below: .. */
    int n;
    const char **names;
    int64_t *index; /* STEP_SLICE: from and to */
    const filter_node_t *filter;
} step_t;

typedef struct json_state {
    char *text; /* of the path compiled */
    uint32_t len;
    bool lax, many;
    int n, definite; /* steps; those before the first that gives a list */
    step_t steps[STEPS_MAX];
    arena_t *path;  /* of the steps */
    arena_t *arena; /* of one row's document */
    struct json_state *top; /* of a path within a filter: that of the call; its arenas are these, and it has the document */
    int depth;      /* of filters within filters */
    json_t *root;
    uint64_t document; /* their number: of `top` */
} json_state_t;

json_state_t *json_state_of(call_t *c);
err_t *json_path_of(call_t *c, str_t path, json_state_t **ret);
err_t *json_path_error(const call_t *c, str_t path, err_code_t code);
bool json_parse_doc(json_state_t *s, str_t doc, json_t **ret);
/* BROKEN: an error of the path or the document; MISSING: empty. A JSON null is MISSING too, as in Flink. */
typedef enum found { FOUND, MISSING, BROKEN } found_t;
found_t json_lookup(json_state_t *s, str_t doc, json_t **ret);
#define JSON_RESULT_MAX (64u << 20)
err_t *json_too_long(const call_t *c); /* kernel_json_make.c */
json_t *json_list_new(arena_t *a);
void json_list_add(arena_t *a, json_t *l, json_t *v);

/* Between kernel_json_path.c and kernel_json_filter.c. */
const char *json_blanks(const char *p, const char *end);
err_t *json_path_steps(const call_t *c, json_state_t *s, str_t whole, const char **at, const char *end); /* behind $ or @ */
bool json_walk(json_state_t *s, int at, json_t *v, json_t *out); /* false: something is missing where the path is still definite */
err_t *json_filter(const call_t *c, json_state_t *s, step_t *st, str_t whole, const char **at, const char *end); /* from ? to before ] */
bool json_filter_holds(json_state_t *s, const filter_node_t *f, json_t *item);
