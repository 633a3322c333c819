/* agg.h: aggregate functions.
 *
 * A group's accumulators lie one behind the other in one flat block ("accs") at offsets fixed when the calls are
 * laid out. The table's entries are (resolve result type, init, update, retract, merge, emit, encode, decode, clear).
 * Updates are batched: for each input row i, accs[i] is the block of its group.
 * NULL rules as SQL: arguments that are NULL are skipped, SUM/MIN/MAX/AVG over nothing are NULL, COUNT is 0. */
#pragma once
#include "engine/expr.h"

typedef struct agg_fn agg_fn_t;

typedef struct agg_call {
    const agg_fn_t *fn;
    bool distinct;
    int nargs;
    int args[4];  /* input columns; arguments were projected before */
    int filter;   /* BOOLEAN input column, -1 none: only rows where it is TRUE */
    const type_t *arg_types[4];
    const type_t *type; /* result */
    const char *name;   /* output column name, for printing */
} agg_call_t;

bool agg_exists(const char *name);
/* Types and checks one call; args are the bound argument expressions, possibly replaced by cast ones. */
err_t *agg_bind(arena_t *a, const char *name, bool distinct, expr_t **args, int nargs, const agg_fn_t **ret_fn,
                const type_t **ret_type);
const char *agg_fn_name(const agg_fn_t *fn);
/* Can partial accumulators be merged after a combiner (false for DISTINCT, FIRST_VALUE, ..)? */
bool agg_can_combine(const agg_call_t *c);
bool agg_can_retract(const agg_call_t *c);
/* Columns a combiner sends for this call (e.g. AVG: BIGINT count, DOUBLE sum). Returns their number. */
int agg_partial_types(arena_t *a, const agg_call_t *c, const type_t **ret /* room for 4 */);

typedef struct agg_set agg_set_t; /* the laid-out calls of one operator instance */
agg_set_t *agg_set_new(const agg_call_t *calls, int n, bool retracting);
void agg_set_free(agg_set_t *s);
uint32_t agg_set_size(const agg_set_t *s);             /* bytes of accs */
void agg_set_init(const agg_set_t *s, void *accs);
void agg_set_clear(const agg_set_t *s, void *accs);    /* frees what accs point to */
/* rows sel[0..n) of in (sel NULL: all rows 0..n); accs[k] belongs to the k-th selected row */
err_t *agg_set_update(agg_set_t *s, const batch_t *in, const uint32_t *sel, uint32_t n, void **accs);
/* combiner side: writes the partial columns (all calls in order) of n groups */
err_t *agg_set_partial(agg_set_t *s, void **accs, uint32_t n, mem_t *m, column_t *out);
/* The same for a group of each row of in, without accumulators; the columns may share memory of `in`, which m must link. False: some call
 * needs them, and nothing was written. */
bool agg_set_partial_rows(agg_set_t *s, const batch_t *in, mem_t *m, column_t *out);
/* Does each added row change the result (COUNT(*))? */
bool agg_set_grows(const agg_set_t *s);
/* receiver side: merges partial columns starting at input column first_col */
err_t *agg_set_merge_partial(agg_set_t *s, const batch_t *in, int first_col, const uint32_t *sel, uint32_t n,
                             void **accs);
err_t *agg_set_merge(agg_set_t *s, void *into, const void *from); /* same layout: panes, sessions */
err_t *agg_set_emit(agg_set_t *s, void **accs, uint32_t n, mem_t *m, column_t *out); /* result columns */
bool agg_set_emit_equal(agg_set_t *s, const void *a, const void *b); /* would they emit the same values? false, too, when there is an error to meet */
void agg_set_encode(const agg_set_t *s, const void *accs, buf_t *out); /* for the changelog; versioned */
/* The same at p, where there is room for so many bytes; 0: only into a buffer. */
uint32_t agg_set_encode_most(const agg_set_t *s);
uint8_t *agg_set_encode_at(const agg_set_t *s, const void *accs, uint8_t *p);
bool agg_set_decode(const agg_set_t *s, reader_t *r, void *accs);      /* false: malformed */
/* Pages: where the caller keeps them for it, a large set or list of values is not part of a group's encoded form but lies in parts of a kB or two, of
 * which those are written that changed: then a checkpoint costs what changed of the set, not the set (engine/agg_page.c). A decoded group that has
 * some is absent until they were read: it can be encoded and cleared, and, if not emits_pages, emitted; nothing else. */
void agg_set_keep_pages(agg_set_t *s);                  /* before anything is decoded; from here on pages_out comes before encode */
bool agg_set_pageable(const agg_set_t *s);              /* since keep_pages: has a call with a set of values */
bool agg_set_emits_pages(const agg_set_t *s);           /* some result is made of all values */
bool agg_set_paged(const agg_set_t *s, const void *accs); /* some set is in pages */
bool agg_set_absent(const agg_set_t *s, const void *accs);
#define AGG_PAGES_AT_ONCE 64
typedef struct agg_pages_io {
    void *arg;
    err_t *(*put)(void *arg, int call, uint32_t page, bool stored, slice_t bytes); /* `stored`: in place of what was put before */
    err_t *(*drop)(void *arg, int call, uint32_t page);                            /* was put once */
    /* n <= AGG_PAGES_AT_ONCE from `page` on; valid until the next call. p NULL: there is none */
    err_t *(*get)(void *arg, int call, uint32_t page, uint32_t n, slice_t *ret);
} agg_pages_io_t;
err_t *agg_set_pages_out(agg_set_t *s, void *accs, const agg_pages_io_t *io);  /* what changed since */
err_t *agg_set_pages_in(agg_set_t *s, void *accs, const agg_pages_io_t *io);   /* an absent group is there */
void agg_set_pages_leave(agg_set_t *s, void *accs); /* a group that is as pages_in made it: absent again */
err_t *agg_set_pages_drop(const agg_set_t *s, const void *accs, const agg_pages_io_t *io); /* all: the group goes, or is cleared */
bool agg_set_owns(const agg_set_t *s);                  /* may accs hold anything outside the block? Else clear does nothing */
size_t agg_set_heap(const agg_set_t *s, const void *accs); /* bytes held outside the block */
/* Of those: what its encoded form has, which is all but sets in pages; *ret_more: of their pages, those that have changed since it was asked. */
size_t agg_set_writes(agg_set_t *s, void *accs, size_t *ret_more);
void agg_set_most(agg_set_t *s, uint64_t bytes); /* tests: a bound of what a group may hold and of a result, below the own ones of the functions */
