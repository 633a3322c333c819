/* physical_sink.c: sinks: which stage they run in, lanes, the order of keys. */
#include "engine/operator.h"
#include "sql/physical_int.h"

static bool is_kafka(const table_t *t) {
    return strcmp(t->connector, "kafka") == 0 || strcmp(t->connector, "upsert-kafka") == 0;
}

static bool exactly_once(const table_t *t) {
    const char *g = options_get(&t->options, "sink.delivery-guarantee");
    return is_kafka(t) && g && strcmp(g, "exactly-once") == 0;
}

/* Columns of the record key: the PRIMARY KEY, or 'key.fields'. The connector has checked them. */
static const int *key_columns(phys_t *p, const table_t *t, int *ret_n) {
    *ret_n = 0;
    if (!is_kafka(t)) return NULL;
    if (strcmp(t->connector, "upsert-kafka") == 0) {
        *ret_n = t->nprimary;
        return t->primary;
    }
    const char *fields = options_get(&t->options, "key.fields");
    if (!fields) return NULL;
    int *cols = ARENA_ARRAY(p->arena, int, t->physical->n + 1);
    char *list = arena_strdup(p->arena, fields), *save = NULL;
    for (char *f = strtok_r(list, ";", &save); f; f = strtok_r(NULL, ";", &save)) {
        while (*f == ' ') f++;
        for (size_t n = strlen(f); n && f[n - 1] == ' '; n--) f[n - 1] = '\0';
        int at = schema_find(t->physical, f);
        if (at >= 0 && *ret_n < t->physical->n) cols[(*ret_n)++] = at;
    }
    return cols;
}

/* One task must own a key: then its records keep their order. As sets: the order of columns does not matter here. */
static bool spread_by_key(const pop_t *in, const int *key, int n) {
    if (in->nhash < 1) return false;
    for (int i = 0; i < in->nhash; i++) {
        bool found = false;
        for (int j = 0; j < n && !found; j++) found = in->hash[i] == key[j];
        if (!found) return false;
    }
    return true;
}

/* The input in a stage of as many tasks as the sink has lanes, each key in one of them. */
static pop_t *to_lanes(phys_t *p, pop_t *in, const int *key, int nkey, int lanes) {
    bool same = pstage_parallelism(p, pstage_of(in)) == lanes;
    if (same && (lanes == 1 || nkey == 0 || spread_by_key(in, key, nkey))) return in;
    if (nkey) return pop_exchange(p, in, EXCHANGE_HASH, key, nkey, lanes);
    return pop_exchange(p, in, EXCHANGE_REBALANCE, NULL, 0, lanes);
}

/* A name of its own per source: it is in the ids of the lanes and of their ledger. */
static const char *dead_letters_name(phys_t *p, const pop_t *source) {
    int earlier = 0;
    for (int i = 0; i < p->nops; i++) {
        const plan_op_t *o = p->ops[i]->op;
        earlier += o->dead_letters && o->table == source->op->table && o != source->op;
    }
    const char *name = source->op->table->name;
    return earlier ? arena_printf(p->arena, "%s-dead-letters-%d", name, earlier + 1) : arena_printf(p->arena, "%s-dead-letters", name);
}

static const char *dead_letters_topic(phys_t *p, const table_t *t) {
    const char *plain = options_get(&t->options, "format"), *value = options_get(&t->options, "value.format");
    const char *key = plain ? arena_printf(p->arena, "%s.dead-letter.topic", plain)
                            : arena_printf(p->arena, "value.%s.dead-letter.topic", value ? value : "");
    return options_get(&t->options, key);
}

void phys_dead_letters(phys_t *p, pop_t *source) {
    const table_t *from = source->op->table;
    const char *topic = is_kafka(from) ? dead_letters_topic(p, from) : NULL;
    if (!topic) return;
    table_t *t = ARENA_NEW(p->arena, table_t);
    *t = *from;
    t->name = dead_letters_name(p, source);
    t->options = (options_t){0, ARENA_ARRAY(p->arena, const char *, from->options.n + 1), ARENA_ARRAY(p->arena, const char *, from->options.n + 1)};
    for (int i = 0; i < from->options.n; i++) { /* how to reach the brokers; nothing of how rows are read */
        const char *key = from->options.keys[i];
        if (strncmp(key, "properties.", 11) && strcmp(key, "sink.transactional-id-prefix")) continue;
        t->options.keys[t->options.n] = key;
        t->options.values[t->options.n++] = from->options.values[i];
    }
    t->options.keys[t->options.n] = "topic";
    t->options.values[t->options.n++] = topic;
    pop_t *o = pop_after(p, OP_SINK, source, source->op->schema);
    o->op->table = t;
    o->op->label = t->name;
    o->op->lanes_max = pstage_parallelism(p, pstage_of(source));
    o->op->dead_letter = true;
    source->op->dead_letters = o->op;
    phys_identity(p, o->op, arena_printf(p->arena, "%s to %s", t->name, source->op->fingerprint_text));
}

/* Does `o` need the -U of its input? A filter does: a row that it lets pass before an update and not after must be taken back. */
static bool needs_before(const pop_t *o, bool consumers) {
    const plan_op_t *op = o->op;
    switch (op->kind) {
    case OP_SINK: {
        const sink_vtable_t *vt = op->table ? sink_find(op->table->connector) : NULL;
        return !op->sink_upsert && !op->dead_letter && !(vt && vt->after_only && !op->sink_print);
    }
    case OP_CALC: return consumers || op->filter;
    case OP_UNION:
    case OP_EXCHANGE_IN:
    case OP_EXCHANGE_OUT: return consumers;
    default: return true;
    }
}

void phys_after_only(phys_t *p) {
    bool *wanted = ARENA_ARRAY(p->arena, bool, p->nops + 1); /* by the consumers of ops[i] */
    for (int i = p->nops - 1; i >= 0; i--) {
        const pop_t *o = p->ops[i];
        if (o->op->kind == OP_GROUP_AGG) o->op->after_only = o->op->retracts && !wanted[i];
        if (!needs_before(o, wanted[i])) continue;
        for (int k = 0; k < i; k++) {
            bool input = false;
            for (int j = 0; j < o->ninputs; j++) input |= o->inputs[j] == p->ops[k];
            for (int j = 0; j < p->nedges; j++) input |= p->edges[j].in == o && p->edges[j].out == p->ops[k];
            wanted[k] |= input;
        }
    }
}

/* A name of its own per INSERT: it is in the ids of the lanes and of their ledger. */
static const table_t *one_writer(phys_t *p, const table_t *t) {
    const char *name = t->name;
    int n = 1;
    for (int i = 0; i < p->nops; i++) {
        const plan_op_t *o = p->ops[i]->op;
        if (o->kind != OP_SINK || !o->table || strcmp(o->table->name, name)) continue;
        name = arena_printf(p->arena, "%s-%d", t->name, ++n);
        i = -1;
    }
    if (n == 1) return t;
    table_t *copy = ARENA_NEW(p->arena, table_t);
    *copy = *t;
    copy->name = name;
    return copy;
}

pop_t *phys_sink(phys_t *p, const rel_t *r, pop_t *in) {
    const table_t *t = exactly_once(r->sink.table) ? one_writer(p, r->sink.table) : r->sink.table;
    int nkey, lanes = 0;
    const int *key = key_columns(p, t, &nkey);
    bool upsert = strcmp(t->connector, "upsert-kafka") == 0;
    int64_t wanted = phys_parallelism(t, "sink.parallelism");
    if (exactly_once(t)) {
        lanes = p->o->lanes ? p->o->lanes : wanted ? (int)wanted : MIN(p->o->parallelism, LANES_MAX);
        /* a result of a single task needs a single lane */
        if (pstage_of(in)->fixed == 1 && nkey == 0 && !p->o->lanes && !wanted) lanes = 1;
        in = to_lanes(p, in, key, nkey, lanes);
    } else if (wanted) { /* updates without a key have no order over several tasks: the binder has refused them */
        if (!nkey) key = t->primary, nkey = t->nprimary;
        in = to_lanes(p, in, key, nkey, (int)wanted);
    } else if (upsert && !spread_by_key(in, key, nkey) && pstage_parallelism(p, pstage_of(in)) > 1) {
        in = pop_exchange(p, in, EXCHANGE_HASH, key, nkey, 0);
    }
    pop_t *o = pop_after(p, OP_SINK, in, r->schema);
    o->op->table = t;
    o->op->lanes_max = lanes;
    o->op->sink_upsert = upsert;
    o->op->sink_print = r->sink.print;
    o->op->sink_json = r->sink.json;
    o->op->label = t->name;
    o->op->line = r->line;
    o->op->retracts = p->changes[r->inputs[0]->id].updates;
    phys_identity(p, o->op, r->identity);
    return o;
}
