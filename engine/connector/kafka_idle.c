#include "common/clock.h"
#include "engine/connector/kafka_table.h"
#include <errno.h>
#include <stdlib.h>

#define ASK_EVERY_MS 200
#define ASK_TIMEOUT_MS 2000

typedef struct place {
    char *topic;
    int partition;
    int64_t end;       /* PARTITION_EOF was seen here; -1: rows came since */
    int64_t confirmed; /* fresh answers agreed on this offset; -1 none */
} place_t;

struct kafka_idle {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stopping;
    int n;
    place_t *places;
    kafka_client_t *committed, *uncommitted;
    pthread_t thread;
};

static bool ask(kafka_client_t *c, const place_t *p, int64_t want) {
    int64_t low, high;
    return rd_kafka_query_watermark_offsets(c->rk, p->topic, p->partition, &low, &high, ASK_TIMEOUT_MS) == RD_KAFKA_RESP_ERR_NO_ERROR && high == want;
}

static void pause_until_next(kafka_idle_t *k) {
    if (!k->stopping) clock_wait_until(&k->wake, &k->lock, clock_mono_ns() + ASK_EVERY_MS * 1000000L);
}

static void *idle_thread(void *arg) {
    kafka_idle_t *k = arg;
    pthread_mutex_lock(&k->lock);
    while (!k->stopping) {
        for (int i = 0; i < k->n && !k->stopping; i++) {
            int64_t end = k->places[i].end;
            if (end < 0) continue;
            pthread_mutex_unlock(&k->lock); /* topic and partition never change */
            bool same = ask(k->committed, &k->places[i], end) && ask(k->uncommitted, &k->places[i], end);
            pthread_mutex_lock(&k->lock);
            k->places[i].confirmed = same && k->places[i].end == end ? end : -1; /* no answer: not idle */
        }
        pause_until_next(k);
    }
    pthread_mutex_unlock(&k->lock);
    return NULL;
}

err_t *kafka_idle_new(const table_t *t, const split_list_t *splits, kafka_idle_t **ret) {
    kafka_setting_t both[2][4] = {{{"group.id", "tidegate-idle"}, {"isolation.level", "read_committed"}, {"allow.auto.create.topics", "false"}, {0}},
                                  {{"group.id", "tidegate-idle"}, {"isolation.level", "read_uncommitted"}, {"allow.auto.create.topics", "false"}, {0}}};
    kafka_idle_t *k = xcalloc(1, sizeof *k);
    err_t *e = kafka_client_new(t, RD_KAFKA_CONSUMER, NULL, both[0], 0, &k->committed);
    if (!e) e = kafka_client_new(t, RD_KAFKA_CONSUMER, NULL, both[1], 0, &k->uncommitted);
    if (e) {
        kafka_client_free(k->committed);
        free(k);
        return e;
    }
    k->n = splits->n;
    k->places = xcalloc((size_t)splits->n, sizeof *k->places);
    for (int i = 0; i < splits->n; i++) {
        place_t *p = &k->places[i];
        int len = kafka_split_parse(splits->items[i].id, &p->partition);
        p->topic = xstrndup(splits->items[i].id, (size_t)len);
        p->end = p->confirmed = -1;
    }
    pthread_mutex_init(&k->lock, NULL);
    pthread_cond_init(&k->wake, NULL);
    int rc = pthread_create(&k->thread, NULL, idle_thread, k);
    ASSERT(rc == 0);
    *ret = k;
    return NULL;
}

void kafka_idle_free(kafka_idle_t *k) {
    if (!k) return;
    pthread_mutex_lock(&k->lock);
    k->stopping = true;
    pthread_cond_signal(&k->wake);
    pthread_mutex_unlock(&k->lock);
    pthread_join(k->thread, NULL);
    kafka_client_free(k->committed);
    kafka_client_free(k->uncommitted);
    for (int i = 0; i < k->n; i++) free(k->places[i].topic);
    free(k->places);
    pthread_mutex_destroy(&k->lock);
    pthread_cond_destroy(&k->wake);
    free(k);
}

void kafka_idle_at_end(kafka_idle_t *k, int split, int64_t offset) {
    pthread_mutex_lock(&k->lock);
    if (k->places[split].end != offset) k->places[split].confirmed = -1;
    k->places[split].end = offset;
    pthread_mutex_unlock(&k->lock);
}

bool kafka_idle_confirmed(kafka_idle_t *k, int split) {
    pthread_mutex_lock(&k->lock);
    bool yes = k->places[split].end >= 0 && k->places[split].confirmed == k->places[split].end;
    pthread_mutex_unlock(&k->lock);
    return yes;
}
