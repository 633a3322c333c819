/* agent_ack.c: what an ack says, from the seals; and the printing and releasing of actions. */
#include "worker/agent.h"
#include <stdlib.h>

static void add_source(ctl_ack_t *k, const source_seal_t *s) {
    source_pos_t *p = NULL;
    for (int i = 0; i < k->nsources && !p; i++)
        if (k->sources[i].fingerprint == s->fingerprint) p = &k->sources[i];
    if (!p) {
        k->sources = xrealloc(k->sources, (size_t)(k->nsources + 1) * sizeof *p);
        p = &k->sources[k->nsources++];
        *p = (source_pos_t){.fingerprint = s->fingerprint};
    }
    for (int i = 0; i < s->splits.n; i++) split_list_add(&p->splits, &s->splits.items[i]);
}

static void add_stage(ctl_ack_t *k, int stage, int64_t watermark) {
    for (int i = 0; i < k->nstages; i++) {
        if (k->stages[i].stage != stage) continue;
        k->stages[i].watermark = MIN(k->stages[i].watermark, watermark);
        return;
    }
    k->stages = xrealloc(k->stages, (size_t)(k->nstages + 1) * sizeof *k->stages);
    k->stages[k->nstages++] = (stage_pos_t){stage, watermark};
}

void ack_from_seals(task_seal_t *const *seals, int n, ctl_ack_t *ret) {
    ret->ended = n > 0;
    for (int i = 0; i < n; i++) {
        const task_seal_t *s = seals[i];
        for (int k = 0; k < s->nsources; k++) add_source(ret, &s->sources[k]);
        add_stage(ret, s->stage, s->watermark);
        for (int k = 0; k < s->nsinks; k++) {
            if (s->sinks[k].rows == 0) continue;
            ret->lanes = xrealloc(ret->lanes, (size_t)(ret->nlanes + 1) * sizeof *ret->lanes);
            ret->lanes[ret->nlanes++] = (ctl_lane_t){s->sinks[k].fingerprint, s->sinks[k].lane, s->sinks[k].rows, s->epoch};
            ret->rows += s->sinks[k].rows;
        }
        ret->rows += s->rows_since;
        ret->ended = ret->ended && s->ended;
    }
}

bool seals_empty(task_seal_t *const *seals, int n) {
    for (int i = 0; i < n; i++) {
        if (seals[i]->nsinks > 0) return false;
        for (int k = 0; k < seals[i]->nstates; k++)
            if (seals[i]->states[k].bytes.len > 0) return false;
    }
    return true;
}

void agent_actions_clear(agent_actions_t *l) {
    for (int i = 0; i < l->n; i++) {
        agent_action_t *x = &l->items[i];
        ctl_free(x->msg);
        err_free(x->error);
        if (x->seals) {
            for (int k = 0; k < x->n; k++) task_seal_free(x->seals[k]);
            free(x->seals);
        }
    }
    l->n = 0;
}
void agent_actions_free(agent_actions_t *l) {
    agent_actions_clear(l);
    free(l->items);
    *l = (agent_actions_t){0};
}

void agent_action_print(buf_t *out, const agent_action_t *a) {
    static const char *const names[] = {"?", "connect", "close", "send", "heartbeat", "build", "start", "inject", "write", "write-again",
                                        "complete", "base-accepted", "confirm", "add-splits", "teardown", "forget", "exit"};
    buf_puts(out, a->kind <= AGENT_DO_EXIT ? names[a->kind] : "?");
    switch (a->kind) {
    case AGENT_DO_SEND:
        buf_puts(out, " ");
        buf_puts(out, ctl_kind_name(a->msg->kind));
        if (a->msg->job) buf_printf(out, " job=%" PRIu64 " attempt=%" PRIu64, a->msg->job, a->msg->attempt);
        if (a->msg->epoch) buf_printf(out, " epoch=%" PRIu64, a->msg->epoch);
        if (a->msg->kind == CTL_FAILED && a->msg->flags & FAILED_DAMAGED) buf_puts(out, " damaged");
        if (a->msg->kind == CTL_FAILED && a->msg->flags & FAILED_OWN) buf_puts(out, " own");
        if (a->msg->error) buf_printf(out, " error=%s", err_text(a->msg->error));
        break;
    case AGENT_DO_CONNECT:
    case AGENT_DO_CLOSE:
        buf_printf(out, " link=%u", a->link);
        if (a->error) buf_printf(out, " error=%s", err_text(a->error));
        break;
    case AGENT_DO_HEARTBEAT: break;
    case AGENT_DO_EXIT:
        if (a->error) buf_printf(out, " error=%s", err_text(a->error));
        break;
    default:
        buf_printf(out, " job=%" PRIu64 " attempt=%" PRIu64, a->job, a->attempt);
        if (a->epoch) buf_printf(out, " epoch=%" PRIu64, a->epoch);
        if (a->kind == AGENT_DO_WRITE) buf_printf(out, " seals=%d", a->n);
    }
}
