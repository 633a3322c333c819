/* kafka_load.c: the loads of the benchmarks, and the ceiling. Each load is a function of its seed, so that two runs read the same bytes. */
#include "integration/kafka_client.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define BASE_MS INT64_C(1795392000000) /* event time starts here */

/* name=value among the arguments from v[first] on; def without it. */
static double option(int argc, char **v, int first, const char *name, double def) {
    size_t n = strlen(name);
    for (int i = first; i < argc; i++)
        if (!strncmp(v[i], name, n) && v[i][n] == '=') return strtod(v[i] + n + 1, NULL);
    return def;
}

static rd_kafka_t *load_producer(void) {
    return client_new(RD_KAFKA_PRODUCER, client_conf(4, (const char *const[][2]){{"linger.ms", "20"},
                                                                                {"batch.num.messages", "10000"},
                                                                                {"queue.buffering.max.messages", "1000000"},
                                                                                {"message.max.bytes", "2000000"}}));
}

static double uniform(void) { return (double)(rng() >> 11) / 9007199254740992.0; }

/* Numbers 0 .. n-1 by Zipf's law of exponent s; s = 0: uniform. */
typedef struct zipf { uint64_t n; double *upto; } zipf_t;
static zipf_t zipf_new(uint64_t n, double s) {
    zipf_t z = {.n = n};
    if (s <= 0) return z;
    z.upto = malloc(n * sizeof *z.upto);
    double sum = 0;
    for (uint64_t i = 0; i < n; i++) z.upto[i] = sum += pow((double)(i + 1), -s);
    for (uint64_t i = 0; i < n; i++) z.upto[i] /= sum;
    return z;
}
static uint64_t zipf_draw(const zipf_t *z) {
    if (!z->upto) return rng() % z->n;
    double u = uniform();
    uint64_t lo = 0, hi = z->n - 1;
    while (lo < hi) {
        uint64_t mid = (lo + hi) / 2;
        if (z->upto[mid] < u) lo = mid + 1;
        else hi = mid;
    }
    return lo;
}

static int fill(char *out, int n) {
    for (int i = 0; i < n; i++) out[i] = (char)('a' + rng() % 26);
    return n;
}

static void orders(int argc, char **v) {
    const char *name = v[2];
    int partitions = atoi(v[3]), fields = (int)option(argc, v, 8, "fields", 0), width = (int)option(argc, v, 8, "width", 10);
    long n = atol(v[4]), rate = atol(v[5]), sequence = (long)option(argc, v, 8, "sequence", 0);
    uint64_t users = strtoull(v[7], NULL, 10);
    size_t cap = 512 + (size_t)fields * ((size_t)width + 16);
    if (partitions < 1 || rate < 1 || users < 1 || fields < 0 || width < 0) die("orders: partitions, rate and users are at least 1");
    zipf_t zipf = zipf_new(strtoull(v[6], NULL, 10), option(argc, v, 8, "zipf", 0));
    rng_seed((uint64_t)option(argc, v, 8, "seed", 1));
    rd_kafka_t *rk = load_producer();
    rd_kafka_topic_t *t = rd_kafka_topic_new(rk, name, NULL);
    char *text = malloc(cap), when[40];
    double bytes = 0;
    for (long i = 0; i < n; i++) {
        int64_t ms = BASE_MS + i * 1000 / rate;
        if (rng() % 100 < 5) ms -= (int64_t)(rng() % 3000);
        time_text(when, sizeof when, ms);
        int len = snprintf(text, cap, "{\"id\":\"o%09ld\",\"user_id\":\"u%06lu\",\"category\":\"category-%02lu\",\"amount\":%lu.%02lu,\"event_time\":\"%s\"", i,
                           i < sequence ? (unsigned long)i : (unsigned long)(rng() % users), (unsigned long)zipf_draw(&zipf),
                           (unsigned long)(rng() % 1000), (unsigned long)(rng() % 100), when);
        for (int f = 0; f < fields; f++) {
            len += snprintf(text + len, cap - (size_t)len, ",\"f%02d\":\"", f);
            len += fill(text + len, width);
            text[len++] = '"';
        }
        text[len++] = '}';
        bytes += len;
        produce(rk, t, (int)(i % partitions), NULL, 0, text, (size_t)len);
        if (i % 1024 == 0) rd_kafka_poll(rk, 0);
    }
    finish(rk, t);
    free(text);
    free(zipf.upto);
    printf("{\"events\": %ld, \"bytes_per_event\": %.1f}\n", n, n ? bytes / (double)n : 0);
}

/* ---- An auction site: of 50 events one is a person who registers, three are auctions that open, 46 are bids. Half of the bids go to the hottest
 * auction, three of four come from the hottest bidder; half of the bids name one of four channels, the rest one of 10,000. */
enum { GROUP = 50, AUCTIONS = 3, FIRST_ID = 1000, HOT = 100, OPEN = 100, ACTIVE = 1000 };

static int nex_person(char *out, size_t cap, long id, const char *when) {
    static const char *const given[] = {"Ada", "Boris", "Chen", "Dalia", "Emil", "Farah", "Goran", "Hana", "Ivo", "Jun"},
                      *const family[] = {"Abel", "Brandt", "Castro", "Dvorak", "Eriksen", "Fischer", "Gruber", "Horvat", "Ito", "Jansen"},
                      *const city[] = {"Phoenix", "Bend", "Redmond", "Boise", "Seattle", "Kent", "Portland", "San Jose"},
                      *const state[] = {"AZ", "OR", "WA", "ID", "WA", "WA", "OR", "CA"};
    const char *a = given[rng() % 10], *b = family[rng() % 10];
    unsigned where = (unsigned)(rng() % 8);
    int n = snprintf(out, cap, "{\"event_type\":0,\"person\":{\"id\":%ld,\"name\":\"%s %s\",\"emailAddress\":\"%s.%s@mail%lu.example\",\"creditCard\":\"%04lu %04lu %04lu %04lu\",\"city\":\"%s\",\"state\":\"%s\",\"dateTime\":\"%s\",\"extra\":\"",
                     id, a, b, a, b, (unsigned long)(rng() % 100), (unsigned long)(rng() % 10000), (unsigned long)(rng() % 10000),
                     (unsigned long)(rng() % 10000), (unsigned long)(rng() % 10000), city[where], state[where], when);
    n += fill(out + n, 60 + (int)(rng() % 40));
    return n + snprintf(out + n, cap - (size_t)n, "\"},\"auction\":null,\"bid\":null}");
}

static int nex_auction(char *out, size_t cap, long id, long seller, const char *when, int64_t ms) {
    char until[40];
    time_text(until, sizeof until, ms + 1000 + (int64_t)(rng() % 20000));
    long first = (long)(100 * pow(10, uniform() * 6));
    int n = snprintf(out, cap, "{\"event_type\":1,\"person\":null,\"auction\":{\"id\":%ld,\"itemName\":\"", id);
    n += fill(out + n, 12);
    n += snprintf(out + n, cap - (size_t)n, "\",\"description\":\"");
    n += fill(out + n, 40 + (int)(rng() % 40));
    n += snprintf(out + n, cap - (size_t)n, "\",\"initialBid\":%ld,\"reserve\":%ld,\"dateTime\":\"%s\",\"expires\":\"%s\",\"seller\":%ld,\"category\":%d,\"extra\":\"", first,
                  first + (long)(100 * pow(10, uniform() * 6)), when, until, seller, 10 + (int)(rng() % 5));
    n += fill(out + n, 40 + (int)(rng() % 40));
    return n + snprintf(out + n, cap - (size_t)n, "\"},\"bid\":null}");
}

static int nex_bid(char *out, size_t cap, long people, long auctions, const char *when) {
    static const char *const hot[] = {"Google", "Facebook", "Baidu", "Apple"};
    long auction = rng() % 2 ? auctions / HOT * HOT : auctions - (long)(rng() % (uint64_t)(auctions < OPEN ? auctions + 1 : OPEN));
    long bidder = rng() % 4 ? people / HOT * HOT + 1 : people - (long)(rng() % (uint64_t)(people < ACTIVE ? people + 1 : ACTIVE));
    char channel[32], tail[64] = "";
    char dir[3][8] = {{0}};
    uint64_t c = rng();
    bool famous = c % 2;
    c = famous ? c / 2 % 4 : c / 2 % 10000;
    uint64_t path = famous ? c * 7919 : c * 104729 + 17; /* a channel has its address */
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 5; j++, path = path * 6364136223846793005ULL + 1442695040888963407ULL) dir[i][j] = (char)('a' + (path >> 33) % 26);
    if (famous) snprintf(channel, sizeof channel, "%s", hot[c]);
    else {
        snprintf(channel, sizeof channel, "channel-%lu", (unsigned long)c);
        if (c % 10) snprintf(tail, sizeof tail, "&channel_id=%lu", (unsigned long)(c * 2654435761U % 4294967296UL));
    }
    int n = snprintf(out, cap, "{\"event_type\":2,\"person\":null,\"auction\":null,\"bid\":{\"auction\":%ld,\"bidder\":%ld,\"price\":%ld,\"channel\":\"%s\",\"url\":\"https://www.auctions.example/%s/%s/%s/item.htm?query=1%s\",\"dateTime\":\"%s\",\"extra\":\"",
                     FIRST_ID + auction, FIRST_ID + bidder, (long)(100 * pow(10, uniform() * 6)), channel, dir[0], dir[1], dir[2], tail, when);
    n += fill(out + n, 64 + (int)(rng() % 40));
    return n + snprintf(out + n, cap - (size_t)n, "\"}}");
}

static void nexmark(int argc, char **v) {
    int partitions = atoi(v[3]);
    long n = atol(v[4]), rate = atol(v[5]);
    if (partitions < 1 || rate < 1) die("nexmark: partitions and rate are at least 1");
    rng_seed((uint64_t)option(argc, v, 6, "seed", 1));
    rd_kafka_t *rk = load_producer();
    rd_kafka_topic_t *t = rd_kafka_topic_new(rk, v[2], NULL);
    char text[1024], when[40];
    double bytes = 0;
    for (long i = 0; i < n; i++) {
        int64_t ms = BASE_MS + i * 1000 / rate;
        long group = i / GROUP, at = i % GROUP, opened = group * AUCTIONS + (at > AUCTIONS ? AUCTIONS : at) - 1; /* the newest auction */
        long seller = rng() % 4 ? group / HOT * HOT : (long)(rng() % (uint64_t)(group + 1));
        time_text(when, sizeof when, ms);
        int len;
        if (!at) len = nex_person(text, sizeof text, FIRST_ID + group, when);
        else if (at <= AUCTIONS) len = nex_auction(text, sizeof text, FIRST_ID + opened, FIRST_ID + seller, when, ms);
        else len = nex_bid(text, sizeof text, group, opened, when);
        bytes += len;
        produce(rk, t, (int)(i % partitions), NULL, 0, text, (size_t)len);
        if (i % 1024 == 0) rd_kafka_poll(rk, 0);
    }
    finish(rk, t);
    printf("{\"events\": %ld, \"bytes_per_event\": %.1f}\n", n, n ? bytes / (double)n : 0);
}

/* ---- The ceiling. Small fetches keep payloads in cache: 200 kB beats the client's defaults by half and a queue of 64 MB by two. */
static long seen, seen_bytes;
static void on_message(rd_kafka_message_t *m, void *opaque) {
    if (m->err) return;
    seen++;
    seen_bytes += (long)m->len;
}

static void consume(const char *name, long n) {
    rd_kafka_t *rk = client_new(RD_KAFKA_CONSUMER, client_conf(5, (const char *const[][2]){{"group.id", "kafka_tool"},
                                                                                          {"enable.auto.commit", "false"},
                                                                                          {"queued.min.messages", "10000000"},
                                                                                          {"queued.max.messages.kbytes", "16384"},
                                                                                          {"fetch.message.max.bytes", "200000"}}));
    int64_t start = now_ms(), last = start;
    assign_all(rk, name, 0);
    rd_kafka_queue_t *q = rd_kafka_queue_get_consumer(rk);
    for (long before = 0; seen < n; before = seen) {
        rd_kafka_consume_callback_queue(q, 100, on_message, NULL);
        if (seen != before) last = now_ms();
        if (now_ms() - last > 20000) die("no message for 20 s, %ld of %ld read", seen, n);
    }
    double wall = (double)(now_ms() - start) / 1000;
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    printf("{\"events\": %ld, \"wall_s\": %.3f, \"cpu_s\": %.3f, \"mb_per_s\": %.1f, \"rss_mb\": %ld}\n", seen, wall, cpu_seconds(), (double)seen_bytes / wall / 1e6,
           u.ru_maxrss / 1024);
    fflush(stdout);
    _exit(0); /* closing the client is not part of the measure */
}

int load_command(int argc, char **v) {
    const char *cmd = v[1];
    if (!strcmp(cmd, "orders") && argc >= 8) orders(argc, v);
    else if (!strcmp(cmd, "nexmark") && argc >= 6) nexmark(argc, v);
    else if (!strcmp(cmd, "consume") && argc == 4) consume(v[2], atol(v[3]));
    else return -1;
    return 0;
}
