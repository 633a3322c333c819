/* memory.c: see memory.h. */
#include "worker/memory.h"
#include "common/buf.h"
#include "common/clock.h"
#include "engine/lane.h"
#include "proto/budget.h"
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>

#define MB ((uint64_t)1 << 20)
#define FADE 512             /* the peak of what others need sinks by this part of the distance in 25 ms: half in 9 s, for what comes with
                              * each base or each large epoch must still be remembered when the next one comes */
#define UNSEEN_MAX (64 * MB)  /* what others are taken to need at first, at most: the first epoch's copies come before anybody has seen some */
#define SUDDEN_MAX (12 * MB)  /* what comes and goes between two looks, kept free beside an eighth: it does not grow with the budget */
#define TRIM_EVERY_MS 500
#define KEPT_SHARE 8           /* of the budget: freed buffers that stay, where memory is not scarce */
#define ARENAS 4               /* of the allocator: by default it makes eight per core, each with holes of its own */
#define THRIFTY_BYTES (128 << 10) /* blocks from here on are mapped one by one and leave the process when they are freed; .. */
#define LAVISH_BYTES (32 << 20)   /* .. or are kept for the next one, which is faster */
#define THRIFTY_TOP (128 << 10)   /* so much free memory at the end of an arena goes back to the system with the next free; else .. */
#define LAVISH_TOP_MIN (1 << 20)  /* .. several batches stay, or each is made of pages that the system must first clear: a third of what */
#define LAVISH_TOP_MAX (64 << 20) /* reading wide rows costs (docs/performance.md) */

static uint64_t clamp(uint64_t x, uint64_t lo, uint64_t hi) { return x < lo ? lo : x > hi ? hi : x; }

memory_shares_t memory_shares(uint64_t budget) {
    if (!budget) budget = 512 * MB;
    return (memory_shares_t){
        .base = clamp(budget / 6, 8 * MB, 1024 * MB),
        .apply_round = clamp(budget / 32, MB, 64 * MB),
        .unsealed = clamp(budget / 32, 2 * MB, 256 * MB),
        .output = output_share(budget),
        .transaction = clamp(budget / 32, MB, LANE_TXN_BYTES),
        .changelog = clamp(budget / 4, 4 * MB, 256 * MB),
        .changelog_most = MAX(budget * 3 / 8, 4 * MB),
    };
}

size_t memory_hot(uint64_t budget, uint64_t rss, size_t hot, uint64_t *others) {
    uint64_t now = rss > hot ? rss - hot : 0;
    *others = now >= *others ? now : *others - (*others - now) / FADE;
    uint64_t reserved = budget / 8 + MIN(budget / 8, SUDDEN_MAX) + *others, least = budget / 8;
    return (size_t)(budget > reserved + least ? budget - reserved : least);
}

void memory_divide(size_t total, int n, const size_t *used, size_t *ret) {
    for (int i = 0; i < n; i++) ret[i] = 0;
    size_t left = total;
    int open = n;
    for (bool settled = true; settled && open > 0;) { /* those below an equal part keep what they have; the part of the others grows */
        size_t part = left / (size_t)open;
        settled = false;
        for (int i = 0; i < n; i++) {
            if (ret[i] || used[i] + used[i] / 8 >= part) continue;
            ret[i] = MAX(used[i] + used[i] / 8, (size_t)1);
            left -= MIN(left, ret[i]);
            open--;
            settled = true;
        }
    }
    /* what is left over is nobody's need: all may grow into it */
    size_t part = left / (size_t)MAX(open ? open : n, 1);
    for (int i = 0; i < n; i++) ret[i] = open ? (ret[i] ? ret[i] : part) : ret[i] + part;
}

int64_t memory_wait_ms(uint64_t budget, uint64_t rss, uint64_t moved, int64_t last) {
    if (rss > budget - budget / 4) return MEMORY_LOOK_MS;
    if (moved > budget / 64) return MEMORY_LOOK_MS;
    return rss < budget / 4 ? MEMORY_LOOK_SELDOM_MS : MIN(2 * last, (int64_t)MEMORY_LOOK_SELDOM_MS);
}

/* ---------------------------------------------------------------- the thread */
struct memory {
    memory_conf_t conf;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool moved; /* look at once */
    bool quit;
    int n, cap;
    kstate_env_t **envs;
    size_t *used, *part;
    uint64_t others, rss; /* rss: at the last look */
    int64_t looked_ms, wait_ms;
    int64_t trimmed_ms;
    bool thrifty;
};

static void keep_freed(uint64_t budget, bool thrifty) {
    uint64_t top = clamp(budget / KEPT_SHARE / ARENAS, LAVISH_TOP_MIN, LAVISH_TOP_MAX);
    mallopt(M_MMAP_THRESHOLD, thrifty ? THRIFTY_BYTES : LAVISH_BYTES);
    mallopt(M_TRIM_THRESHOLD, thrifty ? THRIFTY_TOP : (int)top);
    buf_keep_free(thrifty ? 0 : (size_t)budget / KEPT_SHARE);
}

/* The allocator keeps what is freed, and what it keeps counts: when memory is scarce it is told to give blocks back at once. */
static void allocator(memory_t *m, uint64_t rss) {
    int64_t now = clock_mono_ms();
    uint64_t budget = m->conf.budget;
    bool thrifty = rss > (m->thrifty ? budget / 3 : budget / 2);
    bool trim = rss > budget - budget / 8 && now - m->trimmed_ms >= TRIM_EVERY_MS;
    if (thrifty == m->thrifty && !trim) return;
    if (trim) m->trimmed_ms = now;
    bool turn = thrifty != m->thrifty;
    m->thrifty = thrifty;
    pthread_mutex_unlock(&m->lock); /* the allocator walks its heaps: nobody waits for that */
    if (turn) keep_freed(budget, thrifty);
    if (trim) malloc_trim(0);
    pthread_mutex_lock(&m->lock);
}

static size_t share_of_tables(memory_t *m, uint64_t rss, size_t hot) {
    int64_t now = clock_mono_ms(), looks = clamp((uint64_t)(now - m->looked_ms) / MEMORY_LOOK_MS, 1, 1000);
    m->looked_ms = now;
    size_t share = 0;
    for (; looks > 0; looks--) share = memory_hot(m->conf.budget, rss, hot, &m->others); /* the peak fades with time, not with looks */
    return share;
}

static void look(memory_t *m) {
    memory_shares_t shares = memory_shares(m->conf.budget);
    size_t hot = 0;
    bool pressed = false;
    for (int i = 0; i < m->n; i++) hot += m->used[i] = kstate_env_used(m->envs[i]);
    uint64_t rss = m->conf.rss();
    memory_divide(share_of_tables(m, rss, hot), m->n, m->used, m->part);
    for (int i = 0; i < m->n; i++) {
        kstate_env_set_memory(m->envs[i], m->part[i]);
        kstate_env_set_unsealed_max(m->envs[i], shares.unsealed / (size_t)m->n);
        kstate_env_set_output_max(m->envs[i], shares.output / (size_t)m->n);
        pressed = pressed || kstate_env_short(m->envs[i]);
    }
    if (pressed) m->conf.pressed(m->conf.arg);
    m->wait_ms = pressed ? MEMORY_LOOK_MS : memory_wait_ms(m->conf.budget, rss, rss > m->rss ? rss - m->rss : m->rss - rss, m->wait_ms);
    m->rss = rss;
    allocator(m, rss);
}

static void *run(void *arg) {
    memory_t *m = arg;
    pthread_mutex_lock(&m->lock);
    while (!m->quit) {
        if (m->n) look(m);
        if (m->quit) break;
        int64_t until = clock_mono_ns() + (m->n ? m->wait_ms : 1000) * 1000000;
        while (!m->quit && !m->moved && clock_wait_until(&m->wake, &m->lock, until)) {}
        m->moved = false;
    }
    pthread_mutex_unlock(&m->lock);
    return NULL;
}

err_t *memory_new(const memory_conf_t *conf, memory_t **ret) {
    memory_t *m = xcalloc(1, sizeof *m);
    m->conf = *conf;
    m->others = MIN(conf->budget / 2, UNSEEN_MAX);
    mallopt(M_ARENA_MAX, ARENAS);
    keep_freed(conf->budget, false);
    pthread_mutex_init(&m->lock, NULL);
    pthread_cond_init(&m->wake, NULL);
    m->wait_ms = MEMORY_LOOK_MS;
    m->looked_ms = clock_mono_ms();
    int rc = pthread_create(&m->thread, NULL, run, m);
    if (rc) {
        pthread_mutex_destroy(&m->lock);
        pthread_cond_destroy(&m->wake);
        free(m);
        return err_from_errno(rc, "cannot start the memory thread");
    }
    pthread_setname_np(m->thread, "memory");
    *ret = m;
    return NULL;
}

void memory_free(memory_t *m) {
    if (!m) return;
    pthread_mutex_lock(&m->lock);
    m->quit = true;
    pthread_cond_signal(&m->wake);
    pthread_mutex_unlock(&m->lock);
    pthread_join(m->thread, NULL);
    ASSERT(m->n == 0);
    buf_keep_free(0);
    pthread_mutex_destroy(&m->lock);
    pthread_cond_destroy(&m->wake);
    free(m->envs);
    free(m->used);
    free(m->part);
    free(m);
}

static void moved(void *arg) {
    memory_t *m = arg;
    pthread_mutex_lock(&m->lock);
    m->moved = true;
    pthread_cond_signal(&m->wake);
    pthread_mutex_unlock(&m->lock);
}

void memory_idle(void) { malloc_trim(0); }

void memory_add(memory_t *m, kstate_env_t *e) {
    pthread_mutex_lock(&m->lock);
    if (m->n == m->cap) {
        m->cap = m->cap ? 2 * m->cap : 8;
        m->envs = xrealloc(m->envs, (size_t)m->cap * sizeof *m->envs);
        m->used = xrealloc(m->used, (size_t)m->cap * sizeof *m->used);
        m->part = xrealloc(m->part, (size_t)m->cap * sizeof *m->part);
    }
    m->envs[m->n++] = e;
    kstate_env_watch(e, m->conf.budget / 64, moved, m);
    m->moved = true;
    pthread_cond_signal(&m->wake);
    pthread_mutex_unlock(&m->lock);
}

void memory_remove(memory_t *m, kstate_env_t *e) {
    pthread_mutex_lock(&m->lock);
    for (int i = 0; i < m->n; i++) {
        if (m->envs[i] != e) continue;
        m->envs[i] = m->envs[--m->n];
        kstate_env_watch(e, 0, NULL, NULL);
        break;
    }
    pthread_mutex_unlock(&m->lock);
}
