/* coalesce.h: many epochs' changes of many operators into the fewest: per key the last one, nothing that a later DROP covers.
 * Output per operator: DROPs first, then PUT and DEL ordered by (key group, namespace, key), as the base stores them. */
#pragma once
#include "state/changelog.h"

typedef struct coalesce coalesce_t;
coalesce_t *coalesce_new(void);
void coalesce_free(coalesce_t *c);
void coalesce_clear(coalesce_t *c); /* as new, but the list of a single operator keeps its memory: fresh pages cost more than filling them */
err_t *coalesce_add(coalesce_t *c, uint64_t fingerprint, int slot, slice_t changes); /* copies; in order of epochs */
/* In parts: r is behind change_begin; takes changes (at least one) until coalesce_bytes is `most`. What r still has comes behind all of them:
 * into this one, or after coalesce_write into a new one. */
err_t *coalesce_add_some(coalesce_t *c, uint64_t fingerprint, int slot, reader_t *r, size_t most);
size_t coalesce_bytes(const coalesce_t *c); /* of changes; writing them takes half as much again */
bool coalesce_empty(const coalesce_t *c);
/* fn may be called several times per operator; in the order in which operators first came */
err_t *coalesce_write(coalesce_t *c, err_t *(*fn)(void *arg, uint64_t fingerprint, int slot, slice_t changes), void *arg);
