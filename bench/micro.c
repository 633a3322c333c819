/* micro.c: one part of the data plane by itself, in one thread, without a broker: nanoseconds of CPU per event.
 *   micro [NAME]      all, or those whose name begins with NAME
 * Each number is the least of fifteen rounds: on a shared machine the rest is what others did to the caches. */
#include "bench/micro.h"
#include "common/clock.h"
#include "engine/connector/format.h"
#include <malloc.h>

#define ROUNDS 15
#define EVENTS 4000 /* in the second-level cache, as what was just fetched */
#define ROUND 100000

/* ------------------------------------------------------------------ JSON: messages in one buffer, decoded in turn */
typedef struct messages {
    buf_t text;
    uint32_t at[EVENTS + 1];
} messages_t;

static void fill(rng_t *r, buf_t *out, int n) {
    for (int i = 0; i < n; i++) buf_put_u8(out, (uint8_t)('a' + rng_below(r, 26)));
}

static void order(rng_t *r, buf_t *b, int i) {
    buf_printf(b, "{\"id\":\"o%09d\",\"user_id\":\"u%06d\",\"category\":\"category-%02d\",\"amount\":%d.%02d,\"event_time\":\"2025-03-01 10:%02d:%02d.%03d\"}", i,
               (int)rng_below(r, 1000000), (int)rng_below(r, 50), (int)rng_below(r, 1000), (int)rng_below(r, 100), (int)rng_below(r, 60),
               (int)rng_below(r, 60), (int)rng_below(r, 1000));
}

static void csv_order(rng_t *r, buf_t *b, int i) {
    buf_printf(b, "o%09d,u%06d,category-%02d,%d.%02d,2025-03-01 10:%02d:%02d.%03d", i, (int)rng_below(r, 1000000), (int)rng_below(r, 50), (int)rng_below(r, 1000),
               (int)rng_below(r, 100), (int)rng_below(r, 60), (int)rng_below(r, 60), (int)rng_below(r, 1000));
}

static void csv_quoted(rng_t *r, buf_t *b, int i) {
    buf_printf(b, "\"o%09d\",\"u%06d\",\"category-%02d\",%d.%02d,\"2025-03-01 10:%02d:%02d.%03d\"", i, (int)rng_below(r, 1000000), (int)rng_below(r, 50),
               (int)rng_below(r, 1000), (int)rng_below(r, 100), (int)rng_below(r, 60), (int)rng_below(r, 60), (int)rng_below(r, 1000));
}

static void csv_wide(rng_t *r, buf_t *b, int i) {
    csv_order(r, b, i);
    for (int k = 0; k < 11; k++) {
        buf_puts(b, ",");
        fill(r, b, 16);
    }
}

static void wide_order(rng_t *r, buf_t *b, int i) {
    order(r, b, i);
    b->len--; /* '}' */
    for (int k = 0; k < 11; k++) {
        buf_printf(b, ",\"f%02d\":\"", k);
        fill(r, b, 16);
        buf_puts(b, "\"");
    }
    buf_puts(b, "}");
}

/* As kafka_tool nexmark makes them: of 50 one person, three auctions, 46 bids. */
static void auction_site(rng_t *r, buf_t *b, int i) {
    char when[32];
    snprintf(when, sizeof when, "2025-03-01 10:%02d:%02d.%03d", i / 60000 % 60, i / 1000 % 60, i % 1000);
    if (i % 50 == 0) {
        buf_printf(b, "{\"event_type\":0,\"person\":{\"id\":%d,\"name\":\"Ada Abel\",\"emailAddress\":\"ada@mail%d.example\",\"creditCard\":\"0123 4567 8901 2345\",\"city\":\"Bend\",\"state\":\"OR\",\"dateTime\":\"%s\",\"extra\":\"",
                   1000 + i, i % 100, when);
        fill(r, b, 60 + (int)rng_below(r, 40));
        buf_puts(b, "\"},\"auction\":null,\"bid\":null}");
    } else if (i % 50 <= 3) {
        buf_printf(b, "{\"event_type\":1,\"person\":null,\"auction\":{\"id\":%d,\"itemName\":\"", 1000 + i);
        fill(r, b, 12);
        buf_puts(b, "\",\"description\":\"");
        fill(r, b, 40 + (int)rng_below(r, 40));
        buf_printf(b, "\",\"initialBid\":%d,\"reserve\":%d,\"dateTime\":\"%s\",\"expires\":\"%s\",\"seller\":%d,\"category\":10,\"extra\":\"", 100 + i, 200 + i, when,
                   when, 1000 + i / 50);
        fill(r, b, 40 + (int)rng_below(r, 40));
        buf_puts(b, "\"},\"bid\":null}");
    } else {
        bool famous = rng_below(r, 2);
        buf_printf(b, "{\"event_type\":2,\"person\":null,\"auction\":null,\"bid\":{\"auction\":%d,\"bidder\":%d,\"price\":%d,\"channel\":\"", 1000 + i / 100,
                   1000 + (int)rng_below(r, 1000), 100 + (int)rng_below(r, 10000000));
        if (famous) buf_puts(b, "Google");
        else buf_printf(b, "channel-%d", (int)rng_below(r, 10000));
        buf_puts(b, "\",\"url\":\"https://www.auctions.example/");
        for (int k = 0; k < 3; k++) {
            fill(r, b, 5);
            buf_put_u8(b, '/');
        }
        buf_puts(b, "item.htm?query=1");
        if (!famous) buf_printf(b, "&channel_id=%d", (int)rng_below(r, 1 << 30));
        buf_printf(b, "\",\"dateTime\":\"%s\",\"extra\":\"", when);
        fill(r, b, 64 + (int)rng_below(r, 40));
        buf_puts(b, "\"}}");
    }
}

static messages_t *messages_new(void (*make)(rng_t *, buf_t *, int)) {
    messages_t *m = xcalloc(1, sizeof *m);
    m->text = buf_make(64 << 20);
    rng_t r;
    rng_seed(&r, 1);
    for (int i = 0; i < EVENTS; i++) {
        make(&r, &m->text, i);
        m->at[i + 1] = (uint32_t)m->text.len;
    }
    return m;
}

static void decode_all(decoder_t *d, const messages_t *m) {
    batch_t *b = NULL;
    for (int i = 0; i < EVENTS; i++) {
        check(decoder_message(d, slice_of(m->text.data + m->at[i], m->at[i + 1] - m->at[i])));
        if (decoder_rows(d) < BATCH_ROWS_MAX) continue;
        decoder_take(d, &b);
        batch_free(b);
    }
}

/* Messages, and what decodes them into these fields and encodes rows of them. */
typedef struct rig { messages_t *m; arena_t *a; format_config_t c; decoder_t *d; } rig_t;
static rig_t rig_new(const char *format, void (*make)(rng_t *, buf_t *, int), const field_t *fields, int n) {
    static const options_t none;
    rig_t r = {.m = messages_new(make), .a = arena_new()};
    schema_t *s = schema_new(r.a, n);
    memcpy(s->fields, fields, sizeof *fields * (size_t)n);
    r.c = (format_config_t){.options = &none, .format = format, .prefix = "", .fields = s};
    check(decoder_new(&r.c, &r.d));
    return r;
}
static void rig_free(rig_t *r) {
    decoder_free(r->d);
    arena_free(r->a);
    buf_free(&r->m->text);
    free(r->m);
}

static void decode(const char *format, const char *name, const char *only, void (*make)(rng_t *, buf_t *, int), const field_t *fields, int n) {
    if (only && strncmp(name, only, strlen(only)) != 0) return;
    rig_t r = rig_new(format, make, fields, n);
    double best = 1e18, bytes = (double)r.m->text.len;
    for (int k = 0; k < ROUNDS; k++) {
        double t = cpu_ns();
        for (int i = 0; i < ROUND; i += EVENTS) decode_all(r.d, r.m);
        best = MIN(best, cpu_ns() - t);
    }
    printf("%-24s %7.1f ns/event %7.1f bytes/event %6.2f GB/s\n", name, best / ROUND, bytes / EVENTS, bytes * (ROUND / EVENTS) / best);
    rig_free(&r);
}

/* The rows of one batch, as text again. */
static void encode(const char *format, const char *name, const char *only, void (*make)(rng_t *, buf_t *, int), const field_t *fields, int n) {
    if (only && strncmp(name, only, strlen(only)) != 0) return;
    rig_t r = rig_new(format, make, fields, n);
    const messages_t *m = r.m;
    encoder_t *e;
    batch_t *b = NULL;
    buf_t out = buf_make(64 << 20);
    check(encoder_new(&r.c, &e));
    for (int i = 0; decoder_rows(r.d) < BATCH_ROWS_MAX && i < EVENTS; i++)
        check(decoder_message(r.d, slice_of(m->text.data + m->at[i], m->at[i + 1] - m->at[i])));
    decoder_take(r.d, &b);
    double best = 1e18, bytes = 0;
    uint32_t rounds = ROUND / b->n;
    for (int k = 0; k < ROUNDS; k++) {
        double t = cpu_ns();
        for (uint32_t n = 0; n < rounds; n++) {
            buf_clear(&out);
            for (uint32_t i = 0; i < b->n; i++) check(encoder_row(e, b, i, &out));
        }
        best = MIN(best, cpu_ns() - t);
        bytes = (double)out.len;
    }
    printf("%-24s %7.1f ns/event %7.1f bytes/event %6.2f GB/s\n", name, best / rounds / b->n, bytes / b->n, bytes * rounds / best);
    batch_free(b);
    buf_free(&out);
    encoder_free(e);
    rig_free(&r);
}

static const type_t *row(arena_t *a, int n, const field_t *f) {
    const type_t *types[16];
    const char *names[16];
    for (int i = 0; i < n; i++) types[i] = f[i].type, names[i] = f[i].name;
    return type_row(a, n, types, names, true);
}
#define ROW(...) row(a, ARRAY_LEN(((field_t[]){__VA_ARGS__})), (field_t[]){__VA_ARGS__})
#define CSV(name, make, ...) decode("csv", name, only, make, (field_t[]){__VA_ARGS__}, ARRAY_LEN(((field_t[]){__VA_ARGS__})))
#define JSON(name, make, ...) decode("json", name, only, make, (field_t[]){__VA_ARGS__}, ARRAY_LEN(((field_t[]){__VA_ARGS__})))

int main(int argc, char **argv) {
    const char *only = argc > 1 ? argv[1] : NULL;
    mallopt(M_MMAP_THRESHOLD, 32 << 20); /* as worker/memory.c has it: else the system's clearing of pages is measured */
    mallopt(M_TRIM_THRESHOLD, 64 << 20);
    arena_t *a = arena_new();
    const type_t *big = &type_bigint, *text = &type_string, *at = &type_timestamp3;
    JSON("json orders", order, {"id", text}, {"user_id", text}, {"category", text}, {"amount", &type_double}, {"event_time", at});
    JSON("json orders, tumble", order, {"category", text}, {"amount", &type_double}, {"event_time", at});
    JSON("json wide orders", wide_order, {"id", text}, {"user_id", text}, {"category", text}, {"amount", &type_double}, {"event_time", at}, {"f00", text},
         {"f01", text}, {"f02", text}, {"f03", text}, {"f04", text}, {"f05", text}, {"f06", text}, {"f07", text}, {"f08", text}, {"f09", text}, {"f10", text});
    JSON("json wide orders, one", wide_order, {"amount", &type_double});
    CSV("csv orders", csv_order, {"id", text}, {"user_id", text}, {"category", text}, {"amount", &type_double}, {"event_time", at});
    CSV("csv orders, quoted", csv_quoted, {"id", text}, {"user_id", text}, {"category", text}, {"amount", &type_double}, {"event_time", at});
    CSV("csv wide orders", csv_wide, {"id", text}, {"user_id", text}, {"category", text}, {"amount", &type_double}, {"event_time", at}, {"f00", text},
        {"f01", text}, {"f02", text}, {"f03", text}, {"f04", text}, {"f05", text}, {"f06", text}, {"f07", text}, {"f08", text}, {"f09", text}, {"f10", text});
    const type_t *person = ROW({"id", big}, {"name", text}, {"emailAddress", text}, {"creditCard", text}, {"city", text}, {"state", text}, {"dateTime", at}, {"extra", text}),
                 *auction = ROW({"id", big}, {"itemName", text}, {"description", text}, {"initialBid", big}, {"reserve", big}, {"dateTime", at},
                                {"expires", at}, {"seller", big}, {"category", big}, {"extra", text}),
                 *bid = ROW({"auction", big}, {"bidder", big}, {"price", big}, {"channel", text}, {"url", text}, {"dateTime", at}, {"extra", text}),
                 *time = ROW({"dateTime", at});
    JSON("json nexmark, all", auction_site, {"event_type", &type_int}, {"person", person}, {"auction", auction}, {"bid", bid});
    JSON("json nexmark, bid", auction_site, {"event_type", &type_int}, {"bid", bid});
    JSON("json nexmark, q0", auction_site, {"event_type", &type_int}, {"person", time}, {"auction", time},
         {"bid", ROW({"auction", big}, {"bidder", big}, {"price", big}, {"dateTime", at}, {"extra", text})});
    JSON("json nexmark, q2", auction_site, {"event_type", &type_int}, {"bid", ROW({"auction", big}, {"price", big})});
    encode("json", "encode orders", only, order, (field_t[]){{"id", text}, {"user_id", text}, {"category", text}, {"amount", &type_double}, {"event_time", at}}, 5);
    encode("json", "encode numbers", only, order, (field_t[]){{"amount", &type_double}}, 1);
    encode("json", "encode times", only, order, (field_t[]){{"event_time", at}}, 1);
    encode("json", "encode text", only, order, (field_t[]){{"id", text}, {"category", text}}, 2);
    encode("csv", "encode csv", only, csv_order, (field_t[]){{"id", text}, {"user_id", text}, {"category", text}, {"amount", &type_double}, {"event_time", at}}, 5);
    arena_free(a);
    return 0;
}
