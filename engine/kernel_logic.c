/* kernel_logic.c: typing of AND, OR, CASE, IF, COALESCE (evaluated in expr_lazy.c), TYPEOF, and generators. */
#include "common/clock.h"
#include "engine/func_int.h"
#include "engine/rules.h"

err_t *rule_case(binding_t *b) {
    if (b->nargs < 2) return bind_error(b, "WHEN and THEN are needed");
    for (int i = 0; i + 1 < b->nargs; i += 2) {
        if (b->args[i]->type->kind == TYPE_NULL) TRY(bind_cast(b, i, &type_boolean));
        if (b->args[i]->type->kind != TYPE_BOOLEAN) return bind_error(b, "a condition is not BOOLEAN");
    }
    const type_t *t = NULL;
    bool nullable = b->nargs % 2 == 0;
    for (int i = 1; i < b->nargs; i++) {
        if (i % 2 == 0 && i != b->nargs - 1) continue;
        t = t ? type_least_restrictive(b->a, t, b->args[i]->type) : b->args[i]->type;
        if (!t || t->kind == TYPE_SYMBOL) return bind_error(b, "the results have no common type");
    }
    nullable |= t->nullable || (strcmp(b->func->name, "IF") == 0 && b->args[0]->type->nullable); /* as Flink types IF */
    if (t->kind == TYPE_NULL) t = &type_string;
    t = type_nullable(b->a, t, nullable);
    for (int i = 1; i < b->nargs; i++)
        if (i % 2 || i == b->nargs - 1) TRY(bind_narrowed(b, i, t));
    b->type = t;
    return NULL;
}

err_t *rule_coalesce(binding_t *b) {
    const type_t *t;
    bool nullable = true;
    if (b->nargs < 1) return bind_error(b, "at least one value is needed");
    TRY(bind_common(b, 0, b->nargs, &t));
    for (int i = 0; i < b->nargs; i++) nullable &= b->args[i]->type->nullable;
    b->type = type_nullable(b->a, t, nullable);
    return NULL;
}

err_t *rule_typeof(binding_t *b) {
    /* known now: becomes a constant argument */
    expr_t **args = ARENA_ARRAY(b->a, expr_t *, 1);
    const char *text = type_text(b->a, b->args[0]->type);
    args[0] = expr_string(b->a, text, strlen(text));
    b->args = args;
    b->nargs = 1;
    b->type = &type_string;
    return NULL;
}

err_t *rule_current_database(binding_t *b) { /* there is one; becomes a constant argument */
    b->args = ARENA_ARRAY(b->a, expr_t *, 1);
    b->args[0] = expr_string(b->a, "default_database", strlen("default_database"));
    b->nargs = 1;
    b->type = type_nullable(b->a, &type_string, false);
    return NULL;
}

err_t *kernel_first(call_t *c) { /* the first argument as it is */
    for (uint32_t i = 0; i < c->n; i++) c->out->str[i] = arg_str(c, 0, i);
    return NULL;
}

/* ---- RAND, RAND_INTEGER, UUID: seeded by the context and the call's own counter */
typedef struct random_state {
    rng_t rng;
    uint64_t seed;
    bool seeded;
} random_state_t;

static rng_t *random_of(call_t *c, int seed_arg, bool has_seed) {
    random_state_t *s = *c->state;
    if (!s) s = *c->state = xcalloc(1, sizeof *s);
    uint64_t seed = c->ctx->seed;
    if (has_seed) seed = (uint64_t)arg_i32(c, seed_arg, 0) * 0x9e3779b97f4a7c15ull;
    if (!s->seeded || s->seed != seed) {
        rng_seed(&s->rng, seed);
        s->seed = seed;
        s->seeded = true;
    }
    return &s->rng;
}

err_t *kernel_rand(call_t *c) {
    rng_t *r = random_of(c, 0, c->nargs > 0 && c->n > 0);
    for (uint32_t i = 0; i < c->n; i++) c->out->f64[i] = rng_unit(r);
    return NULL;
}

err_t *kernel_rand_integer(call_t *c) {
    rng_t *r = random_of(c, 0, c->nargs > 1 && c->n > 0);
    for (uint32_t i = 0; i < c->n; i++) {
        int32_t bound = row_null(c, i) ? 1 : arg_i32(c, c->nargs - 1, i);
        if (bound <= 0) return err_new(ERR_DATA, "RAND_INTEGER: the bound %d is not positive", bound);
        c->out->i32[i] = (int32_t)rng_below(r, (uint64_t)bound);
    }
    return NULL;
}

err_t *kernel_uuid(call_t *c) {
    static const char hex[] = "0123456789abcdef";
    rng_t *r = random_of(c, 0, false);
    char *at = mem_alloc(c->m, (size_t)36 * c->n);
    for (uint32_t i = 0; i < c->n; i++, at += 36) {
        uint64_t w[2] = {rng_next(r), rng_next(r)};
        uint8_t b[16];
        memcpy(b, w, 16);
        b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
        b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
        for (int k = 0, o = 0; k < 16; k++) {
            if (k == 4 || k == 6 || k == 8 || k == 10) at[o++] = '-';
            at[o++] = hex[b[k] >> 4];
            at[o++] = hex[b[k] & 15];
        }
        out_str(c, i, at, 36);
    }
    return NULL;
}
