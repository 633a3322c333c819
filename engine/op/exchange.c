/* exchange.c: hash partitioning: row -> key group -> owner, by the frozen hash of the encoded keys. */
#include "engine/op/op_int.h"
#include <stdlib.h>

struct partitioner {
    int nkeys, targets;
    int *cols;
    uint16_t *owner16; /* per key group */
    keys_t keys;
    uint32_t *count, *start; /* per target */
    uint32_t *rows;          /* grouped by target, in order */
    uint16_t *target;        /* per row */
    uint32_t cap;
};

partitioner_t *partitioner_new(const int *keys, int nkeys, int targets) {
    partitioner_t *p = xcalloc(1, sizeof *p);
    p->nkeys = nkeys;
    p->targets = targets;
    p->cols = xcalloc((size_t)nkeys + 1, sizeof *p->cols);
    for (int i = 0; i < nkeys; i++) p->cols[i] = keys[i];
    p->owner16 = xmalloc(sizeof *p->owner16 * KEY_GROUPS);
    for (int g = 0; g < KEY_GROUPS; g++) p->owner16[g] = (uint16_t)key_group_owner(g, MAX(targets, 1));
    p->count = xcalloc((size_t)targets + 1, sizeof *p->count);
    p->start = xcalloc((size_t)targets + 1, sizeof *p->start);
    return p;
}

void partitioner_free(partitioner_t *p) {
    if (!p) return;
    keys_free(&p->keys);
    free(p->cols);
    free(p->owner16);
    free(p->count);
    free(p->start);
    free(p->rows);
    free(p->target);
    free(p);
}

void partitioner_run(partitioner_t *p, const batch_t *b) {
    if (p->cap < b->n) {
        p->cap = b->n;
        p->rows = xrealloc(p->rows, sizeof *p->rows * p->cap);
        p->target = xrealloc(p->target, sizeof *p->target * p->cap);
    }
    keys_hash(&p->keys, b, p->cols, p->nkeys);
    memset(p->count, 0, sizeof *p->count * (size_t)p->targets);
    for (uint32_t i = 0; i < b->n; i++) {
        p->target[i] = p->owner16[key_group_of(p->keys.hash[i])];
        p->count[p->target[i]]++;
    }
    uint32_t at = 0;
    for (int i = 0; i < p->targets; i++) {
        p->start[i] = at;
        at += p->count[i];
        p->count[i] = p->start[i];
    }
    for (uint32_t i = 0; i < b->n; i++) p->rows[p->count[p->target[i]]++] = i;
}

const uint32_t *partitioner_target(const partitioner_t *p, int target, uint32_t *ret_n) {
    *ret_n = p->count[target] - p->start[target];
    return p->rows + p->start[target];
}
