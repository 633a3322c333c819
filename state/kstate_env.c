/* kstate_env.c: memory account and base of all keyed states of one job on one worker. Counters are atomic: tasks, the base
 * thread and the metrics read them; the base is opened once, under the lock. */
#include "state/kstate_env.h"
#include "state/kstate_int.h"
#include <pthread.h>
#include <stdlib.h>

struct kstate_env {
    kstate_env_conf_t conf;
    pthread_mutex_t lock;
    base_db_t *base;   /* atomic; set once */
    epoch_t applied;   /* atomic */
    epoch_t restoring; /* atomic */
    size_t used;       /* atomic */
};

kstate_env_t *kstate_env_new(const kstate_env_conf_t *conf) {
    kstate_env_t *e = xcalloc(1, sizeof *e);
    if (conf) e->conf = *conf;
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

base_db_t *kstate_env_base(kstate_env_t *e) { return __atomic_load_n(&e->base, __ATOMIC_ACQUIRE); }

err_t *kstate_env_need_base(kstate_env_t *e, base_db_t **ret) {
    base_db_t *b = kstate_env_base(e);
    err_t *err = NULL;
    if (!b) {
        pthread_mutex_lock(&e->lock);
        b = e->base;
        if (!b && !e->conf.open_base)
            err = err_new(ERR_UNSUPPORTED, "this job keeps its state in memory only: there is no directory for a base");
        else if (!b) err = e->conf.open_base(e->conf.arg, &b);
        if (!err) __atomic_store_n(&e->base, b, __ATOMIC_RELEASE);
        pthread_mutex_unlock(&e->lock);
    }
    if (err) return err_wrap(err, "cannot open the state base");
    *ret = b;
    return NULL;
}

epoch_t kstate_env_applied(const kstate_env_t *e) { return __atomic_load_n(&e->applied, __ATOMIC_ACQUIRE); }
void kstate_env_set_applied(kstate_env_t *e, epoch_t epoch) { __atomic_store_n(&e->applied, epoch, __ATOMIC_RELEASE); }
void kstate_env_set_restoring(kstate_env_t *e, epoch_t epoch) { __atomic_store_n(&e->restoring, epoch, __ATOMIC_RELEASE); }
epoch_t kstate_env_restoring(const kstate_env_t *e) { return __atomic_load_n(&e->restoring, __ATOMIC_ACQUIRE); }
size_t kstate_env_used(const kstate_env_t *e) { return __atomic_load_n(&e->used, __ATOMIC_RELAXED); }
size_t kstate_env_memory(const kstate_env_t *e) { return e->conf.memory; }

void kstate_env_account(kstate_env_t *e, int64_t delta) {
    __atomic_fetch_add(&e->used, (size_t)delta, __ATOMIC_RELAXED);
}

bool kstate_env_over(const kstate_env_t *e) { return e->conf.memory && kstate_env_used(e) > e->conf.memory; }
