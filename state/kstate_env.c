/* kstate_env.c: memory account and base of all keyed states of one job on one worker. Counters are atomic: tasks, the base
 * thread and the metrics read them; the base is opened once, under the lock. */
#include "state/kstate_env.h"
#include "state/kstate_int.h"
#include <pthread.h>
#include <stdlib.h>

#define COPIES 3 /* of what is sealed, at once: the seal and its segment, packed and not; later the segment and what is sorted */
#define ON_THE_WAY ((size_t)32 << 20) /* some ten batches in a task's queues, of wide rows in several tasks */

struct kstate_env {
    kstate_env_conf_t conf;
    pthread_mutex_t lock;
    base_db_t *base;   /* atomic; set once */
    _Atomic(base_health_t) opening; /* while there is none */
    epoch_t applied;   /* atomic */
    epoch_t restoring; /* atomic */
    size_t used, memory; /* atomic */
    size_t unsealed, unsealed_max; /* atomic */
    size_t output, output_max;     /* atomic */
    epoch_t sealed;    /* atomic: youngest with changes */
    epoch_t little;    /* atomic: applied epoch + 1 at which an eviction found too little */
    int dirty;         /* atomic: states with unsealed changes */
    int followers, full; /* atomic */
    size_t spilled;    /* atomic */
    size_t watch_step, watched; /* watched: atomic, `used` at the last call of watch */
    void (*watch)(void *arg);
    void *watch_arg;
};

kstate_env_t *kstate_env_new(const kstate_env_conf_t *conf) {
    kstate_env_t *e = xcalloc(1, sizeof *e);
    if (conf) e->conf = *conf;
    e->memory = e->conf.memory;
    e->unsealed_max = e->output_max = SIZE_MAX;
    e->restoring = UINT64_MAX;
    pthread_mutex_init(&e->lock, NULL);
    return e;
}

void kstate_env_free(kstate_env_t *e) {
    if (!e) return;
    if (e->base) e->base->close(e->base);
    pthread_mutex_destroy(&e->lock);
    free(e);
}

base_db_t *kstate_env_base(const kstate_env_t *e) { return __atomic_load_n(&e->base, __ATOMIC_ACQUIRE); }

err_t *kstate_env_need_base(kstate_env_t *e, base_db_t **ret) {
    base_db_t *b = kstate_env_base(e);
    err_t *err = NULL;
    if (!b) {
        pthread_mutex_lock(&e->lock);
        b = e->base;
        if (!b && !e->conf.open_base)
            err = err_new(ERR_UNSUPPORTED, "this job keeps its state in memory only: there is no directory for a base");
        else if (!b && (err = err_here(e->conf.open_base(e->conf.arg, &b))) != NULL)
            atomic_store(&e->opening, err_code(err) == ERR_NO_SPACE ? BASE_FULL : BASE_FAILS);
        if (!err) __atomic_store_n(&e->base, b, __ATOMIC_RELEASE);
        pthread_mutex_unlock(&e->lock);
    }
    if (err) return err_wrap(err, "cannot open the state base");
    *ret = b;
    return NULL;
}

base_health_t kstate_env_health(const kstate_env_t *e) {
    const base_db_t *b = __atomic_load_n(&e->base, __ATOMIC_ACQUIRE);
    return b ? atomic_load(&b->health) : atomic_load(&e->opening);
}
void kstate_env_health_forget(kstate_env_t *e) {
    base_db_t *b = kstate_env_base(e);
    if (b) base_ails(b, BASE_WELL);
    else atomic_store(&e->opening, BASE_WELL);
}
epoch_t kstate_env_applied(const kstate_env_t *e) { return __atomic_load_n(&e->applied, __ATOMIC_ACQUIRE); }
void kstate_env_set_applied(kstate_env_t *e, epoch_t epoch) {
    __atomic_store_n(&e->applied, epoch, __ATOMIC_RELEASE);
    if (e->conf.applied) e->conf.applied(e->conf.arg);
}
void kstate_env_set_restoring(kstate_env_t *e, epoch_t epoch) { __atomic_store_n(&e->restoring, epoch, __ATOMIC_RELEASE); }
epoch_t kstate_env_restoring(const kstate_env_t *e) { return __atomic_load_n(&e->restoring, __ATOMIC_ACQUIRE); }
size_t kstate_env_used(const kstate_env_t *e) { return __atomic_load_n(&e->used, __ATOMIC_RELAXED); }
size_t kstate_env_memory(const kstate_env_t *e) { return __atomic_load_n(&e->memory, __ATOMIC_RELAXED); }
void kstate_env_set_memory(kstate_env_t *e, size_t bytes) { __atomic_store_n(&e->memory, bytes, __ATOMIC_RELAXED); }

void kstate_env_account(kstate_env_t *e, int64_t delta) {
    size_t used = __atomic_add_fetch(&e->used, (size_t)delta, __ATOMIC_RELAXED);
    if (!e->watch) return;
    size_t seen = __atomic_load_n(&e->watched, __ATOMIC_RELAXED);
    if ((used > seen ? used - seen : seen - used) <= e->watch_step) return;
    __atomic_store_n(&e->watched, used, __ATOMIC_RELAXED);
    e->watch(e->watch_arg);
}

void kstate_env_watch(kstate_env_t *e, size_t step, void (*fn)(void *arg), void *arg) {
    e->watch_step = step;
    e->watch_arg = arg;
    e->watch = fn;
}

void kstate_env_hold_bytes(kstate_env_t *e, int64_t delta) { kstate_env_account(e, delta); }
void kstate_env_output(kstate_env_t *e, int64_t delta) { __atomic_fetch_add(&e->output, (size_t)delta, __ATOMIC_RELAXED); }
size_t kstate_env_output_bytes(const kstate_env_t *e) { return __atomic_load_n(&e->output, __ATOMIC_RELAXED); }
void kstate_env_set_output_max(kstate_env_t *e, size_t bytes) { __atomic_store_n(&e->output_max, bytes, __ATOMIC_RELAXED); }
size_t kstate_env_output_max(const kstate_env_t *e) { return __atomic_load_n(&e->output_max, __ATOMIC_RELAXED); }
bool kstate_env_output_full(const kstate_env_t *e) { return kstate_env_output_bytes(e) > kstate_env_output_max(e); }
void kstate_env_account_unsealed(kstate_env_t *e, int64_t delta) { __atomic_fetch_add(&e->unsealed, (size_t)delta, __ATOMIC_RELAXED); }
size_t kstate_env_unsealed_bytes(const kstate_env_t *e) { return __atomic_load_n(&e->unsealed, __ATOMIC_RELAXED); }
void kstate_env_set_unsealed_max(kstate_env_t *e, size_t bytes) { __atomic_store_n(&e->unsealed_max, bytes, __ATOMIC_RELAXED); }
void kstate_env_dirty(kstate_env_t *e, int delta) { __atomic_fetch_add(&e->dirty, delta, __ATOMIC_RELAXED); }
bool kstate_env_unsealed(const kstate_env_t *e) { return __atomic_load_n(&e->dirty, __ATOMIC_RELAXED) > 0; }

void kstate_env_sealed(kstate_env_t *e, epoch_t epoch) {
    epoch_t seen = __atomic_load_n(&e->sealed, __ATOMIC_RELAXED);
    while (epoch > seen && !__atomic_compare_exchange_n(&e->sealed, &seen, epoch, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {}
}

/* Never back: a task that was stopped for a while within an eviction says it of an epoch before the others', and nobody would call the base. */
void kstate_env_found_little(kstate_env_t *e, epoch_t applied) {
    epoch_t seen = __atomic_load_n(&e->little, __ATOMIC_RELAXED);
    while (applied + 1 > seen && !__atomic_compare_exchange_n(&e->little, &seen, applied + 1, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {}
}

void kstate_env_account_spilled(kstate_env_t *e, int64_t delta) { __atomic_fetch_add(&e->spilled, (size_t)delta, __ATOMIC_RELAXED); }
size_t kstate_env_spilled(const kstate_env_t *e) { return __atomic_load_n(&e->spilled, __ATOMIC_RELAXED); }
void kstate_env_follow(kstate_env_t *e, int delta) { __atomic_fetch_add(&e->followers, delta, __ATOMIC_RELAXED); }
void kstate_env_full(kstate_env_t *e, int delta) { __atomic_fetch_add(&e->full, delta, __ATOMIC_RELAXED); }
int kstate_env_spill_full(const kstate_env_t *e) { return __atomic_load_n(&e->full, __ATOMIC_RELAXED); }
bool kstate_env_follows(const kstate_env_t *e) { return __atomic_load_n(&e->followers, __ATOMIC_RELAXED) > 0; }

bool kstate_env_over(const kstate_env_t *e) {
    size_t memory = kstate_env_memory(e);
    return memory && kstate_env_used(e) > memory;
}

bool kstate_env_filling(const kstate_env_t *e) {
    size_t memory = kstate_env_memory(e);
    return memory && kstate_env_used(e) > memory - memory / 4;
}

bool kstate_env_scarce(const kstate_env_t *e) {
    size_t memory = kstate_env_memory(e), least = MIN(MAX(memory / 4, ON_THE_WAY), memory);
    return memory && kstate_env_used(e) >= memory - least;
}

bool kstate_env_short(const kstate_env_t *e) {
    if (!kstate_env_over(e)) return false;
    return !kstate_env_base(e) || __atomic_load_n(&e->little, __ATOMIC_RELAXED) == kstate_env_applied(e) + 1;
}

bool kstate_env_restored_waits(const kstate_env_t *e) {
    epoch_t restoring = kstate_env_restoring(e);
    return restoring != UINT64_MAX && restoring > kstate_env_applied(e);
}

/* Changes on their way: unsealed, or sealed (restored) and not in the base. Sealed ones only where somebody needs the base to
 * evict them, and as long as there is none (a full disk), since nobody evicts then. */
static bool on_the_way(const kstate_env_t *e) {
    bool needed = kstate_env_follows(e) || !kstate_env_base(e);
    bool sealed = needed && __atomic_load_n(&e->sealed, __ATOMIC_RELAXED) > kstate_env_applied(e);
    return kstate_env_unsealed(e) || sealed || kstate_env_restored_waits(e);
}

bool kstate_env_hold(const kstate_env_t *e) {
    size_t memory = kstate_env_memory(e), used = kstate_env_used(e);
    if (UNLIKELY(kstate_env_output_full(e))) return true;
    if (LIKELY(!memory || used <= memory / 4) || !e->conf.open_base) return false;
    size_t unsealed = kstate_env_unsealed_bytes(e);
    bool over = used > memory + memory / 8;
    bool late = unsealed > __atomic_load_n(&e->unsealed_max, __ATOMIC_RELAXED) && used + COPIES * unsealed > memory;
    return UNLIKELY(over || late) && on_the_way(e);
}
