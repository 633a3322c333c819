/* etcd_line.c: a standby's line to the leader: a link of its own, a PROBE every beat, an ALIVE from the leader's core. The store's thread; the link's
 * callbacks post to it. The line says what is heard; what follows from it is decided in etcd_leader.c. */
#include "common/clock.h"
#include "coordinator/meta_store_etcd_int.h"
#include <stdlib.h>

static void post_line(etcd_line_t *l, bool closed) {
    etcd_msg_t *m = etcd_msg_new(MSG_LINE);
    m->line = l;
    m->closed = closed;
    etcd_post(l->store, m);
}
static void on_message(void *arg, link_t *link, ctl_msg_t *m) { /* the link's thread */
    if (m->kind == CTL_ALIVE) post_line(arg, false);
    ctl_free(m);
}
static void on_closed(void *arg, link_t *link, err_t *why) {
    err_free(why); /* that it is closed is all we want to know; who cannot be reached is told when its lease is revoked */
    post_line(arg, true);
}

static void line_open(etcd_store_t *s) {
    etcd_line_t *l = xcalloc(1, sizeof *l);
    l->store = s;
    link_handler_t h = {on_message, on_closed, l};
    err_t *e = s->conf.connect(s->conf.arg, s->line_name, &h, &l->link);
    if (e) {
        err_free(e);
        free(l);
        return;
    }
    s->line = l;
    s->lines++;
}

void line_drop(etcd_store_t *s) {
    if (s->line) s->line->link->close(s->line->link);
    s->line = NULL;
    free(TAKE(s->line_name));
}

void line_watch(etcd_store_t *s, const char *name) {
    line_drop(s);
    s->line_heard = s->line_broken = false;
    s->probes = 0;
    s->probe_at = 0;
    if (s->conf.connect && *name && strcmp(name, s->conf.name) != 0) s->line_name = xstrdup(name);
}

int64_t line_tick(etcd_store_t *s, int64_t now) {
    if (!s->line_name) return INT64_MAX;
    if (s->state == ETCD_LEADING || s->state == ETCD_IDLE) {
        line_drop(s);
        return INT64_MAX;
    }
    if (now < s->probe_at) return s->probe_at;
    if (!s->line) line_open(s);
    if (s->line) s->line->link->send(s->line->link, ctl_new(CTL_PROBE));
    s->probes++;
    return s->probe_at = now + s->conf.beat_ms;
}

void line_message(etcd_store_t *s, etcd_msg_t *m) {
    etcd_line_t *l = m->line;
    bool current = l == s->line;
    if (!m->closed) {
        if (!current) return;
        s->probes = 0;
        s->line_heard = true;
        s->line_broken = false;
        return;
    }
    if (current) {
        s->line = NULL;
        s->line_broken = s->line_heard;
    }
    l->link->free(l->link);
    free(l);
    s->lines--;
}
