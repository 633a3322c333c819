/* clock.h: the clock and randomness, for drivers. Cores never call this: time arrives in events. */
#pragma once
#include "common/base.h"
#include <pthread.h>
int64_t clock_mono_ms(void);
int64_t clock_mono_ns(void);
/* Waits for cond, with lock held, at most until that moment of clock_mono_ns(); false: it is past. Wakes without cause, as pthread_cond_wait does. */
bool clock_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t mono_ns);
/* Lets a test turn the wall clock of one process: TIDEGATE_WALL_OFFSET names a file that holds milliseconds to add, which may change at any time. */
int64_t clock_wall_ms(void);
uint64_t clock_random(void); /* from the kernel */
typedef struct rng { uint64_t s[4]; } rng_t; /* xoshiro256**; seeded, deterministic */
void rng_seed(rng_t *r, uint64_t seed);
uint64_t rng_next(rng_t *r);
uint64_t rng_below(rng_t *r, uint64_t n); /* uniform in [0, n) */
double rng_unit(rng_t *r);                /* [0, 1) */
