/* kafka_refusal.c: see kafka_refusal.h. */
#include "engine/connector/kafka_refusal.h"
#include "common/base.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct refused {
    char partition[280]; /* "topic/number" */
    char reason[128];
    int64_t since_ms, last_ms;
} refused_t;

struct kafka_refusal {
    pthread_mutex_t lock;
    refused_t *items;
    int n;
};

kafka_refusal_t *kafka_refusal_new(void) {
    kafka_refusal_t *r = xcalloc(1, sizeof *r);
    pthread_mutex_init(&r->lock, NULL);
    return r;
}

void kafka_refusal_free(kafka_refusal_t *r) {
    if (!r) return;
    pthread_mutex_destroy(&r->lock);
    free(r->items);
    free(r);
}

/* "..: TOPIC [NUMBER]: MessageSet with ..": neither a topic nor a number has a blank or a colon. */
static bool partition_of(const char *line, char *ret, size_t size) {
    const char *end = strstr(line, "]: MessageSet with "), *open = end, *from;
    while (open && open > line && *open != '[') open--;
    if (!open || open <= line + 1 || open[-1] != ' ') return false;
    for (from = open - 1; from > line && from[-1] != ' '; from--) {}
    snprintf(ret, size, "%.*s/%.*s", (int)(open - 1 - from), from, (int)(end - open - 1), open + 1);
    return true;
}

static refused_t *find(kafka_refusal_t *r, const char *partition) {
    for (int i = 0; i < r->n; i++)
        if (strcmp(r->items[i].partition, partition) == 0) return &r->items[i];
    return NULL;
}

static void add(kafka_refusal_t *r, const char *partition, const char *reason, size_t len, int64_t now_ms) {
    refused_t *x = find(r, partition);
    if (!x) {
        r->items = xrealloc(r->items, sizeof *r->items * (size_t)(r->n + 1));
        x = &r->items[r->n++];
        *x = (refused_t){.last_ms = INT64_MIN / 2};
        snprintf(x->partition, sizeof x->partition, "%s", partition);
    }
    if (now_ms - x->last_ms > KAFKA_REFUSAL_FRESH_MS) x->since_ms = now_ms;
    x->last_ms = now_ms;
    snprintf(x->reason, sizeof x->reason, "%.*s", (int)len, reason);
}

void kafka_refusal_note(kafka_refusal_t *r, const char *line, int64_t now_ms) {
    static const char says[] = " encountered error: ";
    char partition[280];
    const char *reason = strstr(line, says), *end = reason ? strstr(reason, " (actions ") : NULL;
    pthread_mutex_lock(&r->lock);
    if ((reason || r->n) && partition_of(line, partition, sizeof partition)) {
        refused_t *x = reason ? NULL : find(r, partition);
        if (reason) {
            reason += strlen(says);
            add(r, partition, reason, end ? (size_t)(end - reason) : strlen(reason), now_ms);
        } else if (x) {
            *x = r->items[--r->n]; /* it was taken */
        }
    }
    pthread_mutex_unlock(&r->lock);
}

bool kafka_refusal_lasts(kafka_refusal_t *r, int64_t now_ms, char *why, size_t size) {
    int64_t longest = KAFKA_REFUSED_MS;
    bool lasts = false;
    pthread_mutex_lock(&r->lock);
    for (int i = 0; i < r->n; i++) {
        const refused_t *x = &r->items[i];
        if (now_ms - x->last_ms > KAFKA_REFUSAL_FRESH_MS || now_ms - x->since_ms <= longest) continue;
        longest = now_ms - x->since_ms;
        lasts = true;
        snprintf(why, size, "%s has been refused for %d s: %s", x->partition, (int)(longest / 1000), x->reason);
    }
    pthread_mutex_unlock(&r->lock);
    return lasts;
}
