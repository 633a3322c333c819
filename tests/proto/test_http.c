/* HTTP: requests that never wait and are sent once; a server whose handlers may answer late; what /metrics says, read by a strict parser. */
#include "common/base64.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/metrics.h"
#include "common/net/http_client.h"
#include "common/net/http_server.h"
#include "coordinator/rest.h"
#include "tests/helpers/running.h"
#include "tests/helpers/test.h"
#include "worker/rest.h"
#include <arpa/inet.h>
#include <ctype.h>
#include <math.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static void pause_ms(int ms) { nanosleep(&(struct timespec){ms / 1000, (ms % 1000) * 1000000L}, NULL); }

/* ---- calls that wait */
typedef struct waited { sem_t sem; http_response_t r; } waited_t;
static void on_done(void *arg, http_response_t *r) {
    waited_t *w = arg;
    w->r = *r;
    *r = (http_response_t){0};
    sem_post(&w->sem);
}
static waited_t *begin(http_client_t *c, const char *method, const char *url, const char *body, int timeout_ms, size_t max) {
    waited_t *w = xcalloc(1, sizeof *w);
    sem_init(&w->sem, 0, 0);
    const char *const headers[] = {"X-Test: yes", NULL};
    http_request_t q = {.method = method, .url = url, .headers = headers, .body = buf_make(1 << 24), .timeout_ms = timeout_ms, .response_max = max};
    if (body) buf_puts(&q.body, body);
    http_client_start(c, &q, (http_done_t){on_done, w});
    return w;
}
static http_response_t take(waited_t *w) {
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    ts.tv_sec += 20;
    ck_assert_msg(sem_timedwait(&w->sem, &ts) == 0, "no answer for 20 s");
    http_response_t r = w->r;
    sem_destroy(&w->sem);
    free(w);
    return r;
}
static http_response_t request(http_client_t *c, const char *method, const char *url, const char *body) {
    return take(begin(c, method, url, body, 5000, 1 << 24));
}

/* ---- a server */
typedef struct site { http_server_t *server; char base[64]; sem_t arrived; http_call_t *late; atomic_int calls; } site_t;

static void echo(void *arg, http_call_t *c) {
    buf_t b = buf_make(HTTP_BODY_MAX + 100);
    slice_t body = http_call_body(c);
    buf_printf(&b, "%s|%s|", http_call_path(c), http_call_rest(c));
    buf_put(&b, body.p, body.len);
    http_answer(c, 200, "text/plain", &b);
}
static void late(void *arg, http_call_t *c) {
    site_t *s = arg;
    s->late = c;
    sem_post(&s->arrived);
}
static void *answer_soon(void *arg) {
    pause_ms(50);
    buf_t b = buf_make(100);
    buf_puts(&b, "late");
    http_answer(arg, 200, "text/plain", &b);
    return NULL;
}
static void later(void *arg, http_call_t *c) {
    pthread_t t;
    pthread_create(&t, NULL, answer_soon, c);
    pthread_detach(t);
}
static void refuse(void *arg, http_call_t *c) { http_answer_err(c, err_hint(err_new(ERR_NOT_FOUND, "no \"such\" thing"), "look elsewhere")); }

static void site_open(site_t *s) {
    *s = (site_t){0};
    sem_init(&s->arrived, 0, 0);
    const http_route_t routes[] = {{"GET", "/echo", echo, s}, {"POST", "/echo", echo, s}, {"GET", "/echo/", echo, s}, {"PUT", "/echo/", echo, s},
                                   {"GET", "/late", late, s}, {"GET", "/later", later, s}, {"GET", "/refused", refuse, s}};
    int port;
    ck_ok(http_server_new("127.0.0.1:0", routes, ARRAY_LEN(routes), &s->server, &port));
    snprintf(s->base, sizeof s->base, "http://127.0.0.1:%d", port);
}
static http_response_t at(http_client_t *c, site_t *s, const char *method, const char *path, const char *body) {
    AUTO(auto_free) char *url = xprintf("%s%s", s->base, path);
    return request(c, method, url, body);
}
static void expect(http_client_t *c, site_t *s, const char *method, const char *path, const char *body, int status, const char *text) {
    http_response_t r = at(c, s, method, path, body);
    ck_assert_msg(!r.error, "%s", err_text(r.error));
    ck_assert_msg(r.status == status, "%s %s: %d, not %d", method, path, r.status, status);
    ck_assert_msg(strcmp(buf_cstr(&r.body), text) == 0, "%s %s: '%s', not '%s'", method, path, buf_cstr(&r.body), text);
    http_response_done(&r);
}

START_TEST(requests_reach_their_handlers) {
    site_t s;
    http_client_t *c;
    site_open(&s);
    ck_ok(http_client_new(&c));
    expect(c, &s, "GET", "/echo", NULL, 200, "/echo||");
    expect(c, &s, "GET", "/echo/a%20b?x=1", NULL, 200, "/echo/a b|a b|");
    expect(c, &s, "POST", "/echo", "the body", 200, "/echo||the body");
    expect(c, &s, "POST", "/echo", "", 200, "/echo||");
    expect(c, &s, "PUT", "/echo/1", "of a put", 200, "/echo/1|1|of a put");
    expect(c, &s, "HEAD", "/echo", NULL, 200, "");
    expect(c, &s, "GET", "/later", NULL, 200, "late");
    expect(c, &s, "GET", "/refused", NULL, 404, "{\"error\":{\"code\":\"not found\",\"text\":\"no \\\"such\\\" thing\",\"hint\":\"look elsewhere\"}}\n");
    expect(c, &s, "GET", "/nothing", NULL, 404, "{\"error\":{\"code\":\"not found\",\"text\":\"there is nothing here\"}}\n");
    expect(c, &s, "DELETE", "/echo", NULL, 405, "{\"error\":{\"code\":\"invalid\",\"text\":\"another method is needed\"}}\n");
    http_response_t r = at(c, &s, "GET", "/refused", NULL);
    ck_assert(slice_eq(http_response_header(&r, "content-type"), slice_str("application/json")));
    ck_assert_uint_eq(http_response_header(&r, "content-typ").len, 0);
    http_response_done(&r);
    char *large = xmalloc(HTTP_BODY_MAX + 2);
    memset(large, 'x', HTTP_BODY_MAX + 1);
    large[HTTP_BODY_MAX + 1] = '\0';
    r = at(c, &s, "POST", "/echo", large);
    ck_assert_int_eq(r.status, 413);
    http_response_done(&r);
    large[HTTP_BODY_MAX] = '\0';
    r = at(c, &s, "POST", "/echo", large);
    ck_assert_int_eq(r.status, 200);
    ck_assert_uint_eq(r.body.len, HTTP_BODY_MAX + 7);
    http_response_done(&r);
    free(large);
    http_client_free(c);
    http_server_free(s.server);
}
END_TEST

START_TEST(many_requests_at_once_are_all_answered) {
    site_t s;
    http_client_t *c;
    site_open(&s);
    ck_ok(http_client_new(&c));
    enum { N = 400 };
    waited_t *ws[N];
    AUTO(auto_free) char *url = xprintf("%s/echo", s.base), *slow = xprintf("%s/later", s.base);
    for (int i = 0; i < N; i++) {
        char text[16];
        snprintf(text, sizeof text, "%d", i);
        ws[i] = i % 10 ? begin(c, "POST", url, text, 15000, 1000) : begin(c, "GET", slow, NULL, 15000, 1000);
    }
    for (int i = 0; i < N; i++) {
        http_response_t r = take(ws[i]);
        char text[32];
        snprintf(text, sizeof text, i % 10 ? "/echo||%d" : "late", i);
        ck_assert_msg(!r.error, "%s", err_text(r.error));
        ck_assert_str_eq(buf_cstr(&r.body), text);
        http_response_done(&r);
    }
    http_client_free(c);
    http_server_free(s.server);
}
END_TEST

START_TEST(every_request_ends) {
    site_t s;
    http_client_t *c;
    site_open(&s);
    ck_ok(http_client_new(&c));
    AUTO(auto_free) char *hanging = xprintf("%s/late", s.base), *url = xprintf("%s/echo", s.base);
    http_response_t r = {0};
    for (int64_t until = clock_mono_ms() + 20000; !r.reached && clock_mono_ms() < until;) { /* its deadline, which may be over before it is sent */
        http_response_done(&r);
        int64_t t0 = running_ms();
        r = take(begin(c, "GET", hanging, NULL, 500, 1000));
        ck_assert_int_eq(err_code(r.error), ERR_TIMEOUT);
        ck_assert_int_lt(running_ms() - t0, 2000);
    }
    ck_assert(r.reached);
    http_response_done(&r);
    sem_wait(&s.arrived);
    buf_t b = buf_make(10);
    http_answer(s.late, 200, "text/plain", &b); /* nobody is there any more */

    r = take(begin(c, "POST", url, "0123456789", 5000, 10)); /* an answer above the bound */
    ck_assert_int_eq(err_code(r.error), ERR_LIMIT);
    ck_assert(r.reached);
    http_response_done(&r);
    r = request(c, "GET", "http://127.0.0.1:1/", NULL); /* nobody listens */
    ck_assert_int_eq(err_code(r.error), ERR_UNAVAILABLE);
    ck_assert(!r.reached);
    http_response_done(&r);
    r = request(c, "GET", "file:///etc/passwd", NULL);
    ck_assert_int_eq(err_code(r.error), ERR_INVALID);
    ck_assert(!r.reached);
    http_response_done(&r);
    waited_t *open = begin(c, "GET", hanging, NULL, 20000, 1000); /* the client is closed */
    sem_wait(&s.arrived);
    http_client_free(c);
    r = take(open);
    ck_assert_int_eq(err_code(r.error), ERR_CANCELLED);
    http_response_done(&r);
    http_server_free(s.server);
    buf_puts(&b, "too late");
    http_answer(s.late, 200, "text/plain", &b); /* the server is gone: dropped */
}
END_TEST

START_TEST(a_server_that_stops_answers_who_waits) {
    site_t s;
    http_client_t *c;
    site_open(&s);
    ck_ok(http_client_new(&c));
    AUTO(auto_free) char *hanging = xprintf("%s/late", s.base);
    waited_t *w = begin(c, "GET", hanging, NULL, 20000, 1000);
    sem_wait(&s.arrived);
    pause_ms(20); /* it sleeps now */
    http_server_free(s.server);
    http_response_t r = take(w);
    ck_assert_msg(!r.error, "%s", err_text(r.error));
    ck_assert_int_eq(r.status, 503);
    http_response_done(&r);
    http_answer_err(s.late, err_new(ERR_INTERNAL, "too late"));
    http_client_free(c);
}
END_TEST

START_TEST(addresses_are_checked) {
    http_server_t *s, *t;
    int port;
    ck_fails(http_server_new("7070", NULL, 0, &s, NULL), ERR_INVALID, "'7070'");
    ck_fails(http_server_new("127.0.0.1:port", NULL, 0, &s, NULL), ERR_INVALID, "127.0.0.1:port");
    ck_ok(http_server_new("localhost:0", NULL, 0, &s, &port));
    AUTO(auto_free) char *same = xprintf("localhost:%d", port);
    ck_fails(http_server_new(same, NULL, 0, &t, NULL), ERR_EXISTS, "in use");
    http_server_free(s);
}
END_TEST

/* A server that answers the first request on a connection and closes it when the second has come: curl would send that one again. */
typedef struct closer { int fd; atomic_int requests; atomic_bool stop; } closer_t;
static void *closer_main(void *arg) {
    closer_t *k = arg;
    while (!atomic_load(&k->stop)) {
        struct pollfd p = {k->fd, POLLIN, 0};
        if (poll(&p, 1, 20) <= 0) continue;
        int fd = accept(k->fd, NULL, NULL);
        for (int i = 0; i < 2; i++) {
            char in[4096] = "";
            size_t n = 0;
            while (!memmem(in, n, "the body", 8)) {
                struct pollfd q = {fd, POLLIN, 0};
                if (poll(&q, 1, 20) <= 0) {
                    if (atomic_load(&k->stop)) break;
                    continue;
                }
                ssize_t got = recv(fd, in + n, sizeof in - n, 0);
                if (got <= 0) break;
                n += (size_t)got;
            }
            if (!n) break;
            atomic_fetch_add(&k->requests, 1);
            static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
            if (i == 0) send(fd, ok, sizeof ok - 1, MSG_NOSIGNAL);
        }
        close(fd);
    }
    return NULL;
}

START_TEST(a_request_is_sent_once_even_when_a_kept_connection_closes) {
    closer_t k = {.fd = socket(AF_INET, SOCK_STREAM, 0)};
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    ck_assert_int_eq(bind(k.fd, (struct sockaddr *)&a, sizeof a), 0);
    ck_assert_int_eq(listen(k.fd, 8), 0);
    ck_assert_int_eq(getsockname(k.fd, (struct sockaddr *)&a, &size), 0);
    AUTO(auto_free) char *url = xprintf("http://127.0.0.1:%d/", ntohs(a.sin_port));
    pthread_t t;
    pthread_create(&t, NULL, closer_main, &k);
    http_client_t *c;
    ck_ok(http_client_new(&c));
    http_response_t r = request(c, "POST", url, "the body");
    ck_assert_msg(!r.error && r.status == 200, "%s", err_text(r.error));
    http_response_done(&r);
    r = request(c, "POST", url, "the body");
    ck_assert_ptr_nonnull(r.error);
    ck_assert(r.reached); /* the server may have acted */
    http_response_done(&r);
    pause_ms(200);
    ck_assert_int_eq(atomic_load(&k.requests), 2);
    atomic_store(&k.stop, true);
    http_client_free(c);
    pthread_join(t, NULL);
    close(k.fd);
}
END_TEST

START_TEST(base64_is_exact) {
    static const char *const pairs[][2] = {{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"}};
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        buf_t b = buf_make(100);
        base64_put(&b, slice_str(pairs[i][0]));
        ck_assert_str_eq(buf_cstr(&b), pairs[i][1]);
        buf_clear(&b);
        ck_assert(base64_read(&b, slice_str(pairs[i][1])));
        ck_assert_str_eq(buf_cstr(&b), pairs[i][0]);
        buf_free(&b);
    }
    static const char *const bad[] = {"Zg=", "Z===", "Zg==Zg==", "Z!==", "====", "Zg", "Zm9v\n"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        buf_t b = buf_make(100);
        ck_assert_msg(!base64_read(&b, slice_str(bad[i])), "%s", bad[i]);
        buf_free(&b);
    }
    buf_t all = buf_make(1000), text = buf_make(1000), back = buf_make(1000);
    for (int i = 0; i < 256; i++) buf_put_u8(&all, (uint8_t)i);
    base64_put(&text, buf_slice(&all));
    ck_assert(base64_read(&back, buf_slice(&text)));
    ck_assert(slice_eq(buf_slice(&back), buf_slice(&all)));
    buf_free(&all), buf_free(&text), buf_free(&back);
}
END_TEST

/* ---- a strict reader of Prometheus text 0.0.4 */
typedef struct samples { int n; char *lines[2000]; double values[2000]; } samples_t; /* "name{a="b"}" */

static bool is_name(const char *p, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!(isalpha((unsigned char)p[i]) || p[i] == '_' || (i && isdigit((unsigned char)p[i])))) return false;
    return n > 0;
}

/* The end of {..}; every value is quoted and escaped. */
static const char *read_labels(const char *p) {
    ck_assert_int_eq(*p++, '{');
    for (;;) {
        size_t n = strcspn(p, "=");
        ck_assert_msg(is_name(p, n), "label at '%.40s'", p);
        p += n + 1;
        ck_assert_int_eq(*p++, '"');
        for (; *p != '"'; p++) {
            ck_assert_msg(*p && *p != '\n', "a value without end");
            if (*p == '\\') {
                p++;
                ck_assert_msg(*p == '\\' || *p == '"' || *p == 'n', "escape \\%c", *p);
            }
        }
        p++;
        if (*p == '}') return p + 1;
        ck_assert_int_eq(*p++, ',');
    }
}

static void read_metrics(const char *text, samples_t *ret) {
    char family[128] = "", type[16] = "", seen[200][128];
    int nseen = 0;
    *ret = (samples_t){0};
    ck_assert(*text && text[strlen(text) - 1] == '\n');
    while (*text) {
        size_t n = strcspn(text, "\n");
        AUTO(auto_free) char *line = xstrndup(text, n);
        text += n + 1;
        if (strncmp(line, "# HELP ", 7) == 0) {
            size_t len = strcspn(line + 7, " ");
            ck_assert(is_name(line + 7, len) && len < sizeof family && strlen(line + 7) > len + 5);
            snprintf(family, sizeof family, "%.*s", (int)len, line + 7);
            for (int i = 0; i < nseen; i++) ck_assert_msg(strcmp(seen[i], family) != 0, "family %s twice", family);
            ck_assert_int_lt(nseen, 200);
            snprintf(seen[nseen++], sizeof seen[0], "%s", family);
            type[0] = '\0';
            continue;
        }
        if (strncmp(line, "# TYPE ", 7) == 0) {
            char name[128];
            ck_assert_int_eq(sscanf(line, "# TYPE %127s %15s", name, type), 2);
            ck_assert_str_eq(name, family);
            ck_assert(!strcmp(type, "counter") || !strcmp(type, "gauge"));
            size_t len = strlen(name);
            ck_assert_msg((len > 6 && !strcmp(name + len - 6, "_total")) == !strcmp(type, "counter"), "%s is a %s", name, type);
            continue;
        }
        size_t len = strcspn(line, "{ ");
        ck_assert_msg(len == strlen(family) && !strncmp(line, family, len) && *type, "sample outside its family: %s", line);
        ck_assert_int_eq(strncmp(line, "tidegate_", 9), 0);
        const char *p = line[len] == '{' ? read_labels(line + len) : line + len;
        ck_assert_int_eq(*p, ' ');
        char *end;
        ck_assert_int_lt(ret->n, 2000);
        ret->values[ret->n] = strtod(p + 1, &end);
        ck_assert_msg(end > p + 1 && !*end, "value: %s", line);
        ck_assert(strcmp(type, "counter") || ret->values[ret->n] >= 0);
        char *key = xstrndup(line, (size_t)(p - line));
        for (int i = 0; i < ret->n; i++) ck_assert_msg(strcmp(ret->lines[i], key) != 0, "twice: %s", key);
        ret->lines[ret->n++] = key;
    }
}
static void samples_free(samples_t *s) {
    for (int i = 0; i < s->n; i++) free(s->lines[i]);
}
static double value_of(const samples_t *s, const char *key) {
    for (int i = 0; i < s->n; i++)
        if (strcmp(s->lines[i], key) == 0) return s->values[i];
    for (int i = 0; i < s->n; i++) fprintf(stderr, "%s %g\n", s->lines[i], s->values[i]);
    ck_abort_msg("no sample %s", key);
    return 0;
}
static bool has(const samples_t *s, const char *part) {
    for (int i = 0; i < s->n; i++)
        if (strstr(s->lines[i], part)) return true;
    return false;
}

START_TEST(metrics_text_is_well_formed) {
    metrics_t *m = metrics_new();
    METRIC(m, METRIC_GAUGE, "tidegate_a", "of \\ and\nlines", 1.5, "x", "a\"b\\c\nd", "y", "");
    METRIC(m, METRIC_COUNTER, "tidegate_b_total", "counts things", 9007199254740993.0);
    METRIC(m, METRIC_GAUGE, "tidegate_a", "of \\ and\nlines", -3, "x", "2", "y", "");
    METRIC(m, METRIC_GAUGE, "tidegate_inf", "grows a lot", INFINITY);
    buf_t out = buf_make(1 << 20);
    metrics_print(m, &out);
    ck_assert_str_eq(buf_cstr(&out), "# HELP tidegate_a of \\\\ and\\nlines\n# TYPE tidegate_a gauge\n"
                                     "tidegate_a{x=\"a\\\"b\\\\c\\nd\",y=\"\"} 1.5\ntidegate_a{x=\"2\",y=\"\"} -3\n"
                                     "# HELP tidegate_b_total counts things\n# TYPE tidegate_b_total counter\ntidegate_b_total 9007199254740992\n"
                                     "# HELP tidegate_inf grows a lot\n# TYPE tidegate_inf gauge\ntidegate_inf +Inf\n");
    samples_t s;
    read_metrics(buf_cstr(&out), &s);
    ck_assert_int_eq(s.n, 4);
    samples_free(&s);
    buf_free(&out);
    metrics_free(m);
}
END_TEST

static const char jobs_text[] =
    "{\"cluster\":\"tidegate\",\"jobs\":[{\"id\":17,\"name\":\"or\\\"ders\",\"state\":\"RUNNING\",\"restarts\":2,\"attempt\":3,\"epoch\":100},"
    "{\"id\":18,\"name\":\"old\",\"state\":\"FAILED\",\"waiting\":\"x\",\"restarts\":0,\"attempt\":1,\"epoch\":5}]}";
static const char job_text[] =
    "{\"job\":{\"id\":17,\"name\":\"or\\\"ders\",\"state\":\"RUNNING\",\"rows_in\":1000,\"rows_out\":10,\"late_rows\":1,\"bad_records\":2,"
    "\"last_outage_ms\":250,\"watermark\":1000000,\"epochs_in_flight\":1,"
    "\"stages\":[{\"id\":0,\"label\":\"source\",\"tasks\":[{\"subtask\":0,\"worker\":\"w1\",\"rows_in\":600,\"rows_out\":600,\"bytes_in\":7000,\"late_rows\":0,"
    "\"bad_records\":2,\"stale_records\":3,\"rows_in_per_second\":60,\"rows_out_per_second\":6,\"epoch_ms\":12,\"state_entries\":0,\"state_bytes\":0,\"busy_permille\":500,\"blocked_permille\":100,\"watermark\":1000000},"
    "{\"subtask\":1,\"worker\":\"w2\",\"rows_in\":400,\"watermark\":null}]},"
    "{\"id\":1,\"tasks\":[{\"subtask\":0,\"worker\":\"w2\",\"rows_in\":1000,\"state_entries\":7,\"state_bytes\":4096,\"watermark\":\"end\"}]}],"
    "\"lanes\":[{\"sink\":\"results\",\"lane\":3,\"published\":99,\"pending_bytes\":12345,\"waits_for\":\"broker\"},{\"sink\":\"results\",\"lane\":4,\"published\":100}],"
    "\"epochs\":[{\"epoch\":100,\"ack_ms\":5,\"duration_ms\":12,\"bytes\":4000,\"rows\":20},{\"epoch\":99,\"duration_ms\":9999}]}}";
static const char workers_text[] =
    "{\"leader\":5,\"workers\":[{\"name\":\"w1\",\"state\":\"live\",\"slots\":2,\"slots_free\":1,\"memory\":536870912,\"rss\":104857600,\"heard_ms\":150},"
    "{\"name\":\"w2\",\"state\":\"gone\",\"slots\":2,\"slots_free\":0,\"memory\":1,\"rss\":2,\"heard_ms\":90000}]}";

START_TEST(coordinator_documents_become_metrics) {
    buf_t out = buf_make(1 << 20);
    slice_t detail = slice_str(job_text);
    ck_ok(rest_metrics(&out, true, 1003500, slice_str(jobs_text), 1, &detail, slice_str(workers_text)));
    samples_t s;
    read_metrics(buf_cstr(&out), &s);
    ck_assert_double_eq(value_of(&s, "tidegate_leader"), 1);
    AUTO(auto_free) char *running = xprintf("tidegate_job_state{job=\"17\",name=\"or\\\"ders\",state=\"%s\"}", job_state_name(JOB_RUNNING));
    AUTO(auto_free) char *failed = xprintf("tidegate_job_state{job=\"17\",name=\"or\\\"ders\",state=\"%s\"}", job_state_name(JOB_FAILED));
    ck_assert_double_eq(value_of(&s, running), 1);
    ck_assert_double_eq(value_of(&s, failed), 0);
#define OF_JOB "{job=\"17\",name=\"or\\\"ders\"}"
    ck_assert_double_eq(value_of(&s, "tidegate_job_restarts_total" OF_JOB), 2);
    ck_assert_double_eq(value_of(&s, "tidegate_job_epoch" OF_JOB), 100);
    ck_assert_double_eq(value_of(&s, "tidegate_job_rows_in_total" OF_JOB), 1000);
    ck_assert_double_eq(value_of(&s, "tidegate_job_watermark_lag_seconds" OF_JOB), 3.5);
    ck_assert_double_eq(value_of(&s, "tidegate_job_epoch_duration_seconds" OF_JOB), 0.012);
    ck_assert_double_eq(value_of(&s, "tidegate_job_epoch_bytes" OF_JOB), 4000);
    ck_assert_double_eq(value_of(&s, "tidegate_job_late_rows_total" OF_JOB), 1);
    ck_assert_double_eq(value_of(&s, "tidegate_job_waiting{job=\"18\",name=\"old\"}"), 1);
#define OF_TASK(stage, subtask, worker) "{job=\"17\",name=\"or\\\"ders\",stage=\"" stage "\",subtask=\"" subtask "\",worker=\"" worker "\"}"
    ck_assert_double_eq(value_of(&s, "tidegate_task_rows_in_total" OF_TASK("0", "1", "w2")), 400);
    ck_assert_double_eq(value_of(&s, "tidegate_task_busy_permille" OF_TASK("0", "0", "w1")), 500);
    ck_assert_double_eq(value_of(&s, "tidegate_task_backpressured_permille" OF_TASK("0", "0", "w1")), 100);
    ck_assert_double_eq(value_of(&s, "tidegate_task_bad_records_total" OF_TASK("0", "0", "w1")), 2);
    ck_assert_double_eq(value_of(&s, "tidegate_task_stale_records_total" OF_TASK("0", "0", "w1")), 3);
    ck_assert_double_eq(value_of(&s, "tidegate_task_rows_in_per_second" OF_TASK("0", "0", "w1")), 60);
    ck_assert_double_eq(value_of(&s, "tidegate_task_rows_out_per_second" OF_TASK("0", "0", "w1")), 6);
    ck_assert_double_eq(value_of(&s, "tidegate_task_epoch_duration_seconds" OF_TASK("0", "0", "w1")), 0.012);
    ck_assert_double_eq(value_of(&s, "tidegate_task_state_bytes" OF_TASK("1", "0", "w2")), 4096);
    ck_assert_double_eq(value_of(&s, "tidegate_task_state_entries" OF_TASK("1", "0", "w2")), 7);
    ck_assert_double_eq(value_of(&s, "tidegate_task_watermark_lag_seconds" OF_TASK("0", "0", "w1")), 3.5);
    ck_assert(!has(&s, "tidegate_task_watermark_seconds" OF_TASK("0", "1", "w2"))); /* none yet */
    ck_assert(!has(&s, "tidegate_task_watermark_seconds" OF_TASK("1", "0", "w2"))); /* the end */
    ck_assert_double_eq(value_of(&s, "tidegate_lane_unpublished_bytes{job=\"17\",name=\"or\\\"ders\",sink=\"results\",lane=\"3\"}"), 12345);
    ck_assert_double_eq(value_of(&s, "tidegate_lane_waiting{job=\"17\",name=\"or\\\"ders\",sink=\"results\",lane=\"3\"}"), 1);
    ck_assert_double_eq(value_of(&s, "tidegate_lane_waiting{job=\"17\",name=\"or\\\"ders\",sink=\"results\",lane=\"4\"}"), 0);
    ck_assert_double_eq(value_of(&s, "tidegate_worker_up{worker=\"w1\"}"), 1);
    ck_assert_double_eq(value_of(&s, "tidegate_worker_up{worker=\"w2\"}"), 0);
    ck_assert_double_eq(value_of(&s, "tidegate_worker_rss_bytes{worker=\"w1\"}"), 104857600);
    ck_assert_double_eq(value_of(&s, "tidegate_worker_heartbeat_age_seconds{worker=\"w1\"}"), 0.15);
    samples_free(&s);

    buf_clear(&out);
    ck_ok(rest_metrics(&out, false, 0, (slice_t){0}, 0, NULL, (slice_t){0}));
    read_metrics(buf_cstr(&out), &s);
    ck_assert_int_eq(s.n, 2);
    ck_assert_double_eq(value_of(&s, "tidegate_leader"), 0);
    samples_free(&s);
    ck_fails(rest_metrics(&out, true, 0, slice_str("{"), 0, NULL, slice_str("{}")), ERR_DATA, "jobs");
    buf_free(&out);
}
END_TEST

START_TEST(a_workers_status_becomes_metrics) {
    static const char text[] =
        "{\"worker\":\"w1\",\"address\":\"127.0.0.1:1\",\"coordinator\":\"c:1\",\"leader\":5,\"slots\":2,\"memory\":536870912,\"rss\":1048576,"
        "\"shuffle\":{\"frames_in\":1,\"frames_out\":2,\"bytes_in\":3,\"bytes_out\":4,\"fenced_frames\":5,\"rejected_connections\":6,\"connections\":7},"
        "\"jobs\":[{\"job\":17,\"name\":\"orders\",\"attempt\":3,\"busy\":true,\"waiting\":null,\"tables_without_files\":2,"
        "\"tasks\":[{\"stage\":0,\"subtask\":1,\"rows_in\":5,\"watermark\":null}],"
        "\"lanes\":[{\"sink\":\"a\",\"lane\":0,\"state\":\"open\",\"published\":9,\"pending_bytes\":77,\"waits_for\":null},"
        "{\"sink\":\"b\",\"lane\":0,\"state\":\"open\",\"published\":9,\"pending_bytes\":78,\"waits_for\":null}]}]}";
    buf_t out = buf_make(1 << 20);
    ck_ok(worker_rest_metrics(&out, 0, slice_str(text)));
    samples_t s;
    read_metrics(buf_cstr(&out), &s);
    ck_assert_double_eq(value_of(&s, "tidegate_worker_connected{worker=\"w1\"}"), 1);
    ck_assert_double_eq(value_of(&s, "tidegate_worker_process_rss_bytes{worker=\"w1\"}"), 1048576);
    ck_assert_double_eq(value_of(&s, "tidegate_worker_shuffle_fenced_frames_total{worker=\"w1\"}"), 5);
    ck_assert_double_eq(value_of(&s, "tidegate_worker_task_rows_in_total{job=\"17\",name=\"orders\",stage=\"0\",subtask=\"1\",worker=\"w1\"}"), 5);
    ck_assert_double_eq(value_of(&s, "tidegate_worker_tables_without_files{job=\"17\",name=\"orders\",worker=\"w1\"}"), 2);
    ck_assert_double_eq(value_of(&s, "tidegate_worker_lane_unpublished_bytes{job=\"17\",name=\"orders\",sink=\"a\",lane=\"0\"}"), 77);
    ck_assert_double_eq(value_of(&s, "tidegate_worker_lane_unpublished_bytes{job=\"17\",name=\"orders\",sink=\"b\",lane=\"0\"}"), 78);
    samples_free(&s);
    buf_clear(&out);
    ck_ok(worker_rest_metrics(&out, 0, slice_str("{}"))); /* before the first heartbeat */
    read_metrics(buf_cstr(&out), &s);
    ck_assert_int_eq(s.n, 1);
    samples_free(&s);
    buf_free(&out);
}
END_TEST

static void quiet(void *arg, coord_log_level_t level, const char *text) {}

START_TEST(a_coordinator_answers) {
    char dir[] = "/tmp/tidegate-http-XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(dir));
    disk_t *disk;
    ck_ok(disk_open_posix(dir, true, &disk));
    coord_driver_conf_t conf = {.core = coord_conf_default(), .meta = meta_store_memory_new(), .storage = disk, .address = "here", .log = quiet};
    coord_driver_t *d;
    ck_ok(coord_driver_new(&conf, &d));
    rest_t *rest;
    http_client_t *c;
    site_t s = {0};
    int port;
    ck_ok(rest_start("127.0.0.1:0", d, &rest, &port));
    snprintf(s.base, sizeof s.base, "http://127.0.0.1:%d", port);
    ck_ok(http_client_new(&c));
    for (int64_t until = clock_mono_ms() + 10000; !coord_driver_leading(d); pause_ms(10)) ck_assert(clock_mono_ms() < until);
    expect(c, &s, "GET", "/health", NULL, 200, "{\"leading\":true}\n");
    http_response_t r = at(c, &s, "GET", "/api/jobs", NULL);
    ck_assert_int_eq(r.status, 200);
    ck_assert_ptr_nonnull(strstr(buf_cstr(&r.body), "\"jobs\":[]"));
    http_response_done(&r);
    r = at(c, &s, "GET", "/api/workers", NULL);
    ck_assert_ptr_nonnull(strstr(buf_cstr(&r.body), "\"workers\":[]"));
    http_response_done(&r);
    r = at(c, &s, "GET", "/api/jobs/17", NULL);
    ck_assert_int_eq(r.status, 404);
    ck_assert_ptr_nonnull(strstr(buf_cstr(&r.body), "there is no job 17"));
    http_response_done(&r);
    r = at(c, &s, "GET", "/api/jobs/or'ders", NULL);
    ck_assert_int_eq(r.status, 404);
    http_response_done(&r);
    r = at(c, &s, "GET", "/metrics", NULL);
    ck_assert_int_eq(r.status, 200);
    ck_assert(slice_eq(http_response_header(&r, "Content-Type"), slice_str(HTTP_METRICS)));
    samples_t m;
    read_metrics(buf_cstr(&r.body), &m);
    ck_assert_double_eq(value_of(&m, "tidegate_leader"), 1);
    samples_free(&m);
    http_response_done(&r);
    rest_free(rest);
    r = at(c, &s, "GET", "/health", NULL);
    ck_assert_int_eq(err_code(r.error), ERR_UNAVAILABLE);
    http_response_done(&r);
    http_client_free(c);
    coord_driver_free(d);
    disk->free(disk);
    AUTO(auto_free) char *command = xprintf("rm -rf %s", dir);
    ck_assert_int_eq(system(command), 0);
}
END_TEST

TESTS("http", requests_reach_their_handlers, many_requests_at_once_are_all_answered, every_request_ends, a_server_that_stops_answers_who_waits,
      addresses_are_checked, a_request_is_sent_once_even_when_a_kept_connection_closes, base64_is_exact, metrics_text_is_well_formed,
      coordinator_documents_become_metrics, a_workers_status_becomes_metrics, a_coordinator_answers)
