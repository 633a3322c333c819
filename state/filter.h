/* filter.h: which keys may lie in the base only, in some ten bits a key: a key that was never there costs no look into the base.
 *
 * Layers of blocked Bloom filters (a key is eight bits of one half of a cache line), each twice as large as the one before: the
 * keys are not kept, so a layer cannot be made larger. Ten and a half bits a key are wrong for one strange key in a hundred and
 * some per full layer.
 * Invariants
 *  1. A key that was added is found: there is no removal. What was deleted is still found: when that is most of it, or it is too small,
 *     kstate_miss.c fills a new filter and frees this one.
 *  2. A key that is found already is not added again: memory follows the number of different keys, not that of evictions.
 *  3. It never takes more than the caller allows; then it is filled beyond its measure, and is wrong more often.
 * Pure; thread: the owning task's. */
#pragma once
#include "common/base.h"

typedef struct filter filter_t;
filter_t *filter_new(uint64_t expected); /* keys that come soon: the measure of the first layer */
size_t filter_least(void);            /* bytes of the smallest */
uint64_t filter_keys(size_t bytes);   /* what so many bytes of blocks are made for */
void filter_free(filter_t *f);
void filter_add(filter_t *f, uint64_t hash, size_t most /* bytes it may take in all */);
bool filter_has(const filter_t *f, uint64_t hash); /* f may be NULL: nothing was added */
/* One hash that is looked for in several filters: its bits are told once. */
typedef struct filter_key { uint32_t mask[8]; uint64_t hash; } __attribute__((aligned(16))) filter_key_t;
filter_key_t filter_key(uint64_t hash);
bool filter_has_key(const filter_t *f, const filter_key_t *k);
void filter_prefetch(const filter_t *f, uint64_t hash);
size_t filter_bytes(const filter_t *f);
uint64_t filter_count(const filter_t *f); /* keys added; one that was found already is not counted */
int filter_layers(const filter_t *f);     /* a look goes through all of them, and each is wrong by itself */
bool filter_full(const filter_t *f);      /* a key came for which there was no room */
