/* kafka_tool: what the integration tests and benchmarks need of Kafka, independent of the engine.
 *
 *   kafka_tool topic NAME PARTITIONS [config=value ...]      create (no error when it exists)
 *   kafka_tool partitions NAME PARTITIONS                    grow to so many partitions
 *   kafka_tool delete NAME                                   delete the topic
 *   kafka_tool config NAME config=value                      set one option of the topic
 *   kafka_tool config NAME config                            print it
 *   kafka_tool gen NAME PARTITIONS RATE SECONDS KEYS SEED    JSON order events, RATE per second for SECONDS 
 *   kafka_tool flush NAME PARTITIONS MS                      one event per partition at MS, so that every window before can close
 *   kafka_tool put NAME PARTITION [commit|abort|open] < lines  each line a message (key<TAB>value when KEY=1; TIMESTAMP=ms of all); commit, abort:
 *                                                            in one transaction (TRANSACTION=id) that ends so; open: says "open" and commits at SIGTERM
 *   kafka_tool dump NAME [read_uncommitted]                  all messages up to the end as of now: partition offset key value
 *   kafka_tool count NAME                                    number of committed messages
 *   kafka_tool trim NAME PARTITION OFFSET                    delete the records before OFFSET
 *   kafka_tool committed NAME PARTITION GROUP                the offset a group has committed, -1001 none
 *   kafka_tool commit NAME PARTITION GROUP OFFSET            commit it for the group
 *   kafka_tool gaps NAME                                     until stdin ends: the longest wait of a committed reader for a partition's next
 *                                                            message, in ms, and how many it read; begins anew at a line. First says "reads"
 *   kafka_tool ends NAME                                     number of offsets between the first and the last of all partitions, without reading
 *
 * Loads and measurements (one JSON object on stdout; see bench/README.md):
 *   kafka_tool orders NAME PARTITIONS N RATE CATEGORIES USERS [sequence=M] [zipf=S] [fields=F] [width=W] [seed=S]
 *                                                            N order events of 118 bytes, RATE per second of event time, 5 % up to 3 s late, event i
 *                                                            into partition i % PARTITIONS; the user uniform of 0 .. USERS-1, of the first M events
 *                                                            0 .. M-1 in order; the category by Zipf's law of exponent S; F further text fields of W
 *                                                            bytes each
 *   kafka_tool nexmark NAME PARTITIONS N RATE [seed=S]       N auction events: 1 person, 3 auctions, 46 bids of 50; nested rows, 335 bytes
 *   kafka_tool consume NAME N                                reads N messages and does nothing with them: the ceiling
 *   kafka_tool latency IN OUT RATE SECONDS [ISOLATION]       order events at their due time into IN, the field "ts" (us) back from OUT
 *   kafka_tool relay IN OUT SECONDS [setting=value ..]       copies IN to OUT: the floor of every job from Kafka to Kafka; settings of its producer
 *   kafka_tool txn DATA LEDGER EPOCHS ROWS PERIOD_MS         a transaction with a ledger record per epoch: the floor of exactly-once output
 *
 * BOOTSTRAP names the broker (default 127.0.0.1:9092). Every wait has a limit; exit status 1 and a line on stderr otherwise. */
#include "kafka_client.h"
#include <signal.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void admin(const char *name, int partitions, bool grow, int nconf, char **conf) {
    char e[256];
    rd_kafka_t *rk = handle(RD_KAFKA_PRODUCER, NULL);
    rd_kafka_queue_t *q = rd_kafka_queue_new(rk);
    if (grow) {
        rd_kafka_NewPartitions_t *p = rd_kafka_NewPartitions_new(name, (size_t)partitions, e, sizeof e);
        if (!p) die("%s", e);
        rd_kafka_CreatePartitions(rk, &p, 1, NULL, q);
    } else {
        rd_kafka_NewTopic_t *t = rd_kafka_NewTopic_new(name, partitions, 1, e, sizeof e);
        if (!t) die("%s", e);
        for (int i = 0; i < nconf; i++) {
            char *eq = strchr(conf[i], '=');
            if (!eq) die("'%s' is not config=value", conf[i]);
            *eq = 0;
            rd_kafka_NewTopic_set_config(t, conf[i], eq + 1);
        }
        rd_kafka_CreateTopics(rk, &t, 1, NULL, q);
    }
    rd_kafka_event_t *ev = rd_kafka_queue_poll(q, 30000);
    if (!ev) die("no answer to the creation of %s for 30 s", name);
    if (rd_kafka_event_error(ev)) die("%s: %s", name, rd_kafka_event_error_string(ev));
    size_t n = 0;
    const rd_kafka_topic_result_t **r = NULL;
    if (grow) r = rd_kafka_CreatePartitions_result_topics(rd_kafka_event_CreatePartitions_result(ev), &n);
    else r = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(ev), &n);
    for (size_t i = 0; i < n; i++) {
        rd_kafka_resp_err_t err = rd_kafka_topic_result_error(r[i]);
        if (err && err != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS) die("%s: %s", name, rd_kafka_err2str(err));
    }
    rd_kafka_event_destroy(ev);
    rd_kafka_queue_destroy(q);
    rd_kafka_destroy(rk);
}

static void config(const char *name, char *pair) {
    rd_kafka_t *rk = handle(RD_KAFKA_PRODUCER, NULL);
    rd_kafka_queue_t *q = rd_kafka_queue_new(rk);
    rd_kafka_ConfigResource_t *r = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, name);
    char *eq = strchr(pair, '=');
    if (!eq) die("'%s' is not config=value", pair);
    *eq = 0;
    rd_kafka_ConfigResource_set_config(r, pair, eq + 1);
    rd_kafka_AlterConfigs(rk, &r, 1, NULL, q);
    rd_kafka_event_t *ev = rd_kafka_queue_poll(q, 30000);
    if (!ev || rd_kafka_event_error(ev)) die("%s: %s", name, ev ? rd_kafka_event_error_string(ev) : "no answer for 30 s");
    size_t n;
    const rd_kafka_ConfigResource_t **done = rd_kafka_AlterConfigs_result_resources(rd_kafka_event_AlterConfigs_result(ev), &n);
    for (size_t i = 0; i < n; i++)
        if (rd_kafka_ConfigResource_error(done[i])) die("%s: %s", name, rd_kafka_ConfigResource_error_string(done[i]));
    rd_kafka_event_destroy(ev);
    rd_kafka_ConfigResource_destroy(r);
    rd_kafka_queue_destroy(q);
    rd_kafka_destroy(rk);
}

static void print_config(const char *name, const char *key) {
    rd_kafka_t *rk = handle(RD_KAFKA_PRODUCER, NULL);
    rd_kafka_queue_t *q = rd_kafka_queue_new(rk);
    rd_kafka_ConfigResource_t *r = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, name);
    rd_kafka_DescribeConfigs(rk, &r, 1, NULL, q);
    rd_kafka_event_t *ev = rd_kafka_queue_poll(q, 30000);
    if (!ev || rd_kafka_event_error(ev)) die("%s: %s", name, ev ? rd_kafka_event_error_string(ev) : "no answer for 30 s");
    size_t n, nconf;
    const rd_kafka_ConfigResource_t **res = rd_kafka_DescribeConfigs_result_resources(rd_kafka_event_DescribeConfigs_result(ev), &n);
    const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(res[0], &nconf);
    for (size_t i = 0; i < nconf; i++)
        if (!strcmp(rd_kafka_ConfigEntry_name(entries[i]), key)) puts(rd_kafka_ConfigEntry_value(entries[i]));
    rd_kafka_event_destroy(ev);
    rd_kafka_ConfigResource_destroy(r);
    rd_kafka_queue_destroy(q);
    rd_kafka_destroy(rk);
}

static void delete(const char *name) {
    rd_kafka_t *rk = handle(RD_KAFKA_PRODUCER, NULL);
    rd_kafka_queue_t *q = rd_kafka_queue_new(rk);
    rd_kafka_DeleteTopic_t *t = rd_kafka_DeleteTopic_new(name);
    rd_kafka_DeleteTopics(rk, &t, 1, NULL, q);
    rd_kafka_event_t *ev = rd_kafka_queue_poll(q, 30000);
    if (!ev || rd_kafka_event_error(ev)) die("%s: %s", name, ev ? rd_kafka_event_error_string(ev) : "no answer for 30 s");
    size_t n;
    rd_kafka_resp_err_t e = rd_kafka_topic_result_error(rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(ev), &n)[0]);
    if (e) die("%s: %s", name, rd_kafka_err2str(e));
    rd_kafka_event_destroy(ev);
    rd_kafka_DeleteTopic_destroy(t);
    rd_kafka_queue_destroy(q);
    rd_kafka_destroy(rk);
}

static void order_event(rd_kafka_t *rk, rd_kafka_topic_t *t, int partition, const char *id, int key, uint64_t cents, int64_t ms) {
    char text[256], when[40];
    time_text(when, sizeof when, ms);
    int n = snprintf(text, sizeof text, "{\"id\":\"%s\",\"category\":\"category-%04d\",\"amount\":%d.%02d,\"event_time\":\"%s\"}", id, key,
                     (int)(cents / 100), (int)(cents % 100), when);
    produce(rk, t, partition, NULL, 0, text, (size_t)n);
}

#define BASE_MS INT64_C(1790000000000) /* event time starts here */
static void gen(const char *name, int partitions, long rate, long seconds, int keys, uint64_t seed) {
    rd_kafka_t *rk = handle(RD_KAFKA_PRODUCER, NULL);
    rd_kafka_topic_t *t = rd_kafka_topic_new(rk, name, NULL);
    rng_seed(seed);
    int64_t start = now_ms();
    for (long i = 0; i < rate * seconds; i++) {
        int64_t ms = BASE_MS + i * 1000 / rate;
        if (rng() % 100 < 5) ms -= (int64_t)(rng() % 3000); /* late, but within the watermark's delay */
        char id[32];
        snprintf(id, sizeof id, "o%lx-%08ld", (unsigned long)seed, i);
        order_event(rk, t, (int)(i % partitions), id, (int)(rng() % (uint64_t)keys), rng() % 100000, ms);
        if (i % 64) continue;
        rd_kafka_poll(rk, 0);
        int64_t ahead = i * 1000 / rate - (now_ms() - start);
        if (ahead > 0) usleep((useconds_t)ahead * 1000);
    }
    finish(rk, t);
}

static void flush(const char *name, int partitions, int64_t ms) {
    rd_kafka_t *rk = handle(RD_KAFKA_PRODUCER, NULL);
    rd_kafka_topic_t *t = rd_kafka_topic_new(rk, name, NULL);
    for (int p = 0; p < partitions; p++) {
        char id[32];
        snprintf(id, sizeof id, "flush-%d", p);
        order_event(rk, t, p, id, 0, 0, ms);
    }
    finish(rk, t);
}

static void ok(rd_kafka_error_t *e, const char *what) {
    if (e) die("%s: %s", what, rd_kafka_error_string(e));
}

static void produce_at(rd_kafka_t *rk, const char *name, int partition, int64_t ms, const char *key, size_t key_len, const char *p, size_t n) {
    rd_kafka_resp_err_t e = rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(name), RD_KAFKA_V_PARTITION(partition), RD_KAFKA_V_TIMESTAMP(ms),
                                              RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY((void *)key, key_len),
                                              RD_KAFKA_V_VALUE((void *)p, n), RD_KAFKA_V_END);
    if (e) die("produce: %s", rd_kafka_err2str(e));
}

static void put(const char *name, const char *number, const char *end) {
    char *rest;
    int partition = (int)strtol(number, &rest, 10);
    if (rest == number || *rest) die("put NAME PARTITION < lines: '%s' is no number of a partition; messages come on stdin", number);
    if (end && strcmp(end, "commit") && strcmp(end, "abort") && strcmp(end, "open")) die("put NAME PARTITION [commit|abort|open] < lines: not '%s'; messages come on stdin", end);
    sigset_t term;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    if (end && !strcmp(end, "open")) sigprocmask(SIG_BLOCK, &term, NULL);
    if (end) setenv("TRANSACTION", "kafka_tool", 0);
    rd_kafka_t *rk = handle(RD_KAFKA_PRODUCER, NULL);
    rd_kafka_topic_t *t = rd_kafka_topic_new(rk, name, NULL);
    const char *stamp = getenv("TIMESTAMP");
    if (end) ok(rd_kafka_init_transactions(rk, 30000), "init_transactions");
    if (end) ok(rd_kafka_begin_transaction(rk), "begin");
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    while ((n = getline(&line, &cap, stdin)) > 0) {
        if (line[n - 1] == '\n') n--;
        char *tab = getenv("KEY") ? memchr(line, '\t', (size_t)n) : NULL;
        size_t skip = tab ? (size_t)(tab + 1 - line) : 0;
        if (stamp) produce_at(rk, name, partition, atoll(stamp), tab ? line : NULL, tab ? skip - 1 : 0, line + skip, (size_t)n - skip);
        else if (!tab) produce(rk, t, partition, NULL, 0, line, (size_t)n);
        else if (tab + 1 == line + n) produce(rk, t, partition, line, (size_t)(tab - line), NULL, 0); /* tombstone */
        else produce(rk, t, partition, line, (size_t)(tab - line), tab + 1, (size_t)(line + n - tab - 1));
    }
    free(line);
    if (end && rd_kafka_flush(rk, 60000)) die("the transaction was not delivered in 60 s");
    if (end && !strcmp(end, "open")) {
        int got;
        puts("open");
        fflush(stdout);
        sigwait(&term, &got);
    }
    if (end && !strcmp(end, "abort")) ok(rd_kafka_abort_transaction(rk, 30000), "abort");
    else if (end) ok(rd_kafka_commit_transaction(rk, 30000), "commit");
    finish(rk, t);
}

/* The broker answers a commit before its markers are in the partitions: until then a reader of what is committed does not see it. Waits for that,
 * at most 3 s: a transaction may be open on purpose. */
static void await_markers(const char *name) {
    rd_kafka_t *committed = handle(RD_KAFKA_CONSUMER, "read_committed"), *all = handle(RD_KAFKA_CONSUMER, "read_uncommitted");
    int n = partitions_of(committed, name);
    int64_t until = now_ms() + 3000;
    for (int i = 0; i < n && now_ms() < until;) {
        int64_t low, stable, end;
        if (rd_kafka_query_watermark_offsets(all, name, i, &low, &end, 30000)) die("%s: no %s", name, "end");
        if (rd_kafka_query_watermark_offsets(committed, name, i, &low, &stable, 30000)) die("%s: no %s", name, "stable end");
        if (stable >= end) i++;
        else usleep(20000);
    }
    rd_kafka_destroy(all);
    rd_kafka_destroy(committed);
}

static long dump(const char *name, const char *isolation, bool print) {
    if (print && !strcmp(isolation, "read_committed")) await_markers(name);
    rd_kafka_t *rk = handle(RD_KAFKA_CONSUMER, isolation);
    int n = partitions_of(rk, name), open = n;
    assign_all(rk, name, RD_KAFKA_OFFSET_BEGINNING);
    long count = 0;
    int64_t last = now_ms();
    bool *done = calloc((size_t)n, sizeof *done);
    while (open > 0) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(rk, 200);
        if (m) last = now_ms();
        if (!m) {
            if (now_ms() - last > 60000) die("%s: nothing for 60 s, %d partitions not read to the end", name, open);
            continue;
        }
        if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
            open -= !done[m->partition];
            done[m->partition] = true;
        } else if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR && !done[m->partition]) {
            count++;
            if (print)
                printf("%d\t%ld\t%.*s\t%.*s\n", m->partition, (long)m->offset, m->key ? (int)m->key_len : 4, m->key ? (char *)m->key : "null",
                       m->payload ? (int)m->len : 4, m->payload ? (char *)m->payload : "null");
        }
        rd_kafka_message_destroy(m);
    }
    free(done);
    rd_kafka_consumer_close(rk);
    rd_kafka_destroy(rk);
    return count;
}

/* How long a read_committed reader waits for the next row of a partition, at most, from its first row on: an open transaction in front of rows holds
 * them back. Until stdin ends. */
static void gaps(const char *name) {
    rd_kafka_t *rk = handle(RD_KAFKA_CONSUMER, "read_committed");
    int64_t last[256] = {0}, longest = 0;
    long rows = 0;
    assign_all(rk, name, RD_KAFKA_OFFSET_END);
    bool told = false;
    for (struct pollfd in = {.fd = 0, .events = POLLIN};;) {
        char line[64];
        if (poll(&in, 1, 0) && read(0, line, sizeof line) <= 0) break;
        if (in.revents) longest = rows = 0;
        rd_kafka_message_t *m = rd_kafka_consumer_poll(rk, 20);
        if (!m) continue;
        if (!m->err && m->partition < 256) {
            int64_t now = now_ms(), *at = &last[m->partition];
            if (*at && now - *at > longest) longest = now - *at;
            *at = now;
            rows++;
            if (!told) printf("reads\n");
            told = true;
            fflush(stdout);
        }
        rd_kafka_message_destroy(m);
    }
    printf("%ld %ld\n", (long)longest, rows);
    fflush(stdout);
    _exit(0);
}

static void ends(const char *name) {
    rd_kafka_t *rk = handle(RD_KAFKA_CONSUMER, "read_uncommitted");
    int64_t sum = 0;
    for (int p = 0, n = partitions_of(rk, name); p < n; p++) {
        int64_t low, high;
        rd_kafka_resp_err_t e = rd_kafka_query_watermark_offsets(rk, name, p, &low, &high, 30000);
        if (e) die("offsets of %s: %s", name, rd_kafka_err2str(e));
        sum += high - low;
    }
    printf("%ld\n", (long)sum);
    rd_kafka_destroy(rk);
}

static void trim(const char *name, int partition, int64_t offset) {
    rd_kafka_t *rk = handle(RD_KAFKA_PRODUCER, NULL);
    rd_kafka_queue_t *q = rd_kafka_queue_new(rk);
    rd_kafka_topic_partition_list_t *l = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(l, name, partition)->offset = offset;
    rd_kafka_DeleteRecords_t *d = rd_kafka_DeleteRecords_new(l);
    rd_kafka_DeleteRecords(rk, &d, 1, NULL, q);
    rd_kafka_event_t *ev = rd_kafka_queue_poll(q, 30000);
    if (!ev || rd_kafka_event_error(ev)) die("trim %s: %s", name, ev ? rd_kafka_event_error_string(ev) : "no answer");
    rd_kafka_resp_err_t e = rd_kafka_DeleteRecords_result_offsets(rd_kafka_event_DeleteRecords_result(ev))->elems[0].err;
    if (e) die("trim %s: %s", name, rd_kafka_err2str(e));
    rd_kafka_event_destroy(ev);
    rd_kafka_DeleteRecords_destroy(d);
    rd_kafka_topic_partition_list_destroy(l);
    rd_kafka_queue_destroy(q);
    rd_kafka_destroy(rk);
}

static void group_offset(const char *name, int partition, const char *group, const char *commit) {
    setenv("GROUP", group, 1);
    rd_kafka_t *rk = handle(RD_KAFKA_CONSUMER, "read_committed");
    rd_kafka_topic_partition_list_t *l = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(l, name, partition)->offset = commit ? atoll(commit) : 0;
    rd_kafka_resp_err_t e = commit ? rd_kafka_commit(rk, l, 0) : rd_kafka_committed(rk, l, 30000);
    if (!e) e = l->elems[0].err;
    if (e) die("offset of %s: %s", group, rd_kafka_err2str(e));
    if (!commit) printf("%ld\n", (long)l->elems[0].offset);
    rd_kafka_topic_partition_list_destroy(l);
    rd_kafka_destroy(rk);
}

int main(int argc, char **v) {
    const char *cmd = argc > 2 ? v[1] : "";
    if (!strcmp(cmd, "topic") && argc >= 4) admin(v[2], atoi(v[3]), false, argc - 4, v + 4);
    else if (!strcmp(cmd, "partitions") && argc == 4) admin(v[2], atoi(v[3]), true, 0, NULL);
    else if (!strcmp(cmd, "config") && argc == 4 && !strchr(v[3], '=')) print_config(v[2], v[3]);
    else if (!strcmp(cmd, "config") && argc == 4) config(v[2], v[3]);
    else if (!strcmp(cmd, "delete") && argc == 3) delete(v[2]);
    else if (!strcmp(cmd, "gen") && argc == 8) gen(v[2], atoi(v[3]), atol(v[4]), atol(v[5]), atoi(v[6]), strtoull(v[7], NULL, 10));
    else if (!strcmp(cmd, "flush") && argc == 5) flush(v[2], atoi(v[3]), atoll(v[4]));
    else if (!strcmp(cmd, "put") && (argc == 4 || argc == 5)) put(v[2], v[3], argc == 5 ? v[4] : NULL);
    else if (!strcmp(cmd, "trim") && argc == 5) trim(v[2], atoi(v[3]), atoll(v[4]));
    else if (!strcmp(cmd, "committed") && argc == 5) group_offset(v[2], atoi(v[3]), v[4], NULL);
    else if (!strcmp(cmd, "commit") && argc == 6) group_offset(v[2], atoi(v[3]), v[4], v[5]);
    else if (!strcmp(cmd, "ends") && argc == 3) ends(v[2]);
    else if (!strcmp(cmd, "gaps") && argc == 3) gaps(v[2]);
    else if (!strcmp(cmd, "dump")) dump(v[2], argc > 3 ? v[3] : "read_committed", true);
    else if (!strcmp(cmd, "count")) printf("%ld\n", dump(v[2], "read_committed", false));
    else {
        int status = load_command(argc, v);
        if (status < 0) status = latency_command(argc, v);
        if (status < 0) die("usage: topic|partitions|delete|config|gen|flush|put|dump|count|ends|gaps|trim|committed|commit|orders|nexmark|consume|latency|relay|txn NAME ..");
        return status;
    }
    return 0;
}
