/* window_time.c: which slice a row is of. Windows of a TIMESTAMP_LTZ attribute, and of processing time, lie on the wall
 * time of the session's zone, while watermarks are UTC: `zone` converts. */
#include "engine/datetime.h"
#include "engine/op/op_int.h"

static const plan_op_t *op_at(const plan_t *p, int stage, int op) { return p->stages[stage]->ops[op]; }

/* The combiner that feeds an operator, over exchanges; *stage moves along. NULL when there is none. */
static const plan_op_t *find_local(const plan_t *p, const plan_stage_t **stage, const plan_op_t *op) {
    while (op && op->kind != OP_WINDOW_LOCAL) {
        if (op->kind == OP_EXCHANGE_IN) {
            const plan_edge_t *edge = NULL;
            for (int i = 0; i < p->nedges; i++)
                if (p->edges[i]->id == op->edge) edge = p->edges[i];
            if (!edge) return NULL;
            *stage = p->stages[edge->from_stage];
            op = op_at(p, edge->from_stage, edge->from_op);
        } else if (op->ninputs >= 1) {
            op = (*stage)->ops[op->inputs[0]];
        } else {
            return NULL;
        }
    }
    return op;
}

static bool is_ltz(const schema_t *s, int col) { return col >= 0 && col < s->n && s->fields[col].type->kind == TYPE_TIMESTAMP_LTZ; }

/* Does the time line of the windows differ from that of watermarks? */
static bool is_shifted(const plan_t *p, const plan_stage_t *stage, const plan_op_t *op) {
    const plan_op_t *local = op;
    if (op->partial_input) local = find_local(p, &stage, stage->ops[op->inputs[0]]);
    if (!local) return false;
    if (local->window.proctime) return true;
    const schema_t *in = stage->ops[local->inputs[0]]->schema;
    if (local->window.time_col >= 0) return is_ltz(in, local->window.time_col);
    return is_ltz(in, local->window.attached_end + 1); /* window_time stands behind window_end */
}

err_t *window_time_open(const op_env_t *env, window_time_t *ret) {
    const plan_op_t *op = env->op;
    const window_spec_t *w = &op->window;
    *ret = (window_time_t){.math = window_math(w), .time_col = w->time_col, .end_col = -1, .proctime = w->proctime, .lo = 1, .hi = 0};
    ret->attached = w->time_col < 0 && !w->proctime && w->attached_end >= 0;
    if (op->partial_input) {
        ret->end_col = op->nkeys; /* keys.., window end, partials.. */
        ret->end_is_ms = true;
    } else if (ret->attached) {
        ret->end_col = w->attached_end;
    }
    return zone_open(env->eval->time_zone, is_shifted(env->plan, env->stage, op), &ret->zone);
}

void window_time_close(window_time_t *w) {
    zone_free(w->zone);
    w->zone = NULL;
}

static err_t *null_time(const char *what) {
    return err_hint(err_new(ERR_DATA, "%s is NULL in a row", what), "filter such rows, or give the column a value before it is the time attribute");
}

err_t *window_time_slices(window_time_t *w, const batch_t *b, int64_t now_ms, int64_t *ret) {
    if (w->proctime && w->end_col < 0) {
        int64_t end = window_slice_end(&w->math, zone_to_wall_ms(w->zone, now_ms));
        for (uint32_t i = 0; i < b->n; i++) ret[i] = end;
        return NULL;
    }
    const column_t *c = &b->cols[w->end_col >= 0 ? w->end_col : w->time_col];
    for (uint32_t i = 0; c->nulls && i < b->n; i++)
        if (c->nulls[i]) return null_time(w->end_col >= 0 ? "window_end" : "the time attribute of a window");
    if (w->end_col >= 0) {
        for (uint32_t i = 0; i < b->n; i++) ret[i] = w->end_is_ms ? c->i64[i] : us_to_ms(c->i64[i]);
        return NULL;
    }
    for (uint32_t i = 0; i < b->n; i++) {
        int64_t ts = zone_to_wall_ms(w->zone, us_to_ms(c->i64[i]));
        if (UNLIKELY(ts < w->lo || ts >= w->hi)) {
            w->hi = window_slice_end(&w->math, ts);
            w->lo = w->hi - w->math.slice;
        }
        ret[i] = w->hi;
    }
    return NULL;
}
