/* test_agent.c: the worker's session machine as stories: what comes in, and the trace of what goes out. */
#include "tests/helpers/test.h"
#include "worker/agent.h"

typedef struct world {
    agent_t *a;
    agent_actions_t out;
    buf_t trace;
    int64_t now;
    uint64_t leader;
} world_t;

static void drain(world_t *w) {
    for (int i = 0; i < w->out.n; i++) {
        agent_action_print(&w->trace, &w->out.items[i]);
        buf_puts(&w->trace, "\n");
    }
    agent_actions_clear(&w->out);
}
static void step(world_t *w, agent_event_t ev) {
    ev.now_ms = w->now;
    ev.wall_ms = 1000000 + w->now;
    agent_step(w->a, &ev, &w->out);
    drain(w);
}
static void world_new(world_t *w) {
    agent_conf_t c = {"w1", "127.0.0.1:9", 2, 1 << 20, "test", true};
    *w = (world_t){.a = agent_new(&c), .trace = buf_make(1 << 20), .leader = 5};
}
static void world_free(world_t *w) {
    agent_free(w->a);
    agent_actions_free(&w->out);
    buf_free(&w->trace);
}
/* The trace since the last look is exactly this. */
static void expect(world_t *w, const char *text) {
    ck_assert_str_eq(buf_cstr(&w->trace), text);
    buf_clear(&w->trace);
}

static ctl_msg_t *msg(world_t *w, ctl_kind_t kind, attempt_t attempt, epoch_t epoch) {
    ctl_msg_t *m = ctl_new(kind);
    m->leader = w->leader;
    m->job = kind == CTL_WELCOME || kind == CTL_GOODBYE ? 0 : 7;
    m->attempt = attempt;
    m->epoch = epoch;
    return m;
}
static uint32_t link_now = 1;
static void receive(world_t *w, ctl_msg_t *m) { step(w, (agent_event_t){.kind = AGENT_EV_MESSAGE, .link = link_now, .msg = m}); }

static ctl_msg_t *deploy(world_t *w, attempt_t attempt, int tasks_here, int tasks_there, epoch_t restored) {
    ctl_msg_t *m = msg(w, CTL_DEPLOY, attempt, 0);
    ctl_deploy_t *d = &m->deploy;
    d->nworkers = 2;
    d->workers = xcalloc(2, sizeof *d->workers);
    d->workers[0] = (ctl_peer_t){xstrdup("w1"), xstrdup("127.0.0.1:9")};
    d->workers[1] = (ctl_peer_t){xstrdup("w2"), xstrdup("127.0.0.1:8")};
    d->ntasks = tasks_here + tasks_there;
    d->tasks = xcalloc((size_t)d->ntasks + 1, sizeof *d->tasks);
    for (int i = 0; i < d->ntasks; i++) d->tasks[i] = (ctl_task_t){0, i, i >= tasks_here};
    d->manifest = manifest_new();
    d->manifest->epoch = restored;
    return m;
}
static void sealed(world_t *w, attempt_t attempt, epoch_t epoch, int subtask, uint64_t rows) {
    task_seal_t *s = xcalloc(1, sizeof *s);
    s->epoch = epoch;
    s->subtask = subtask;
    s->rows_since = rows;
    s->watermark = 100 + subtask;
    if (rows) {
        s->nstates = 1;
        s->states = xcalloc(1, sizeof *s->states);
        s->states[0].bytes = buf_make(64);
        buf_puts(&s->states[0].bytes, "state");
    }
    step(w, (agent_event_t){.kind = AGENT_EV_SEALED, .job = 7, .attempt = attempt, .epoch = epoch, .seal = s});
}
static void written(world_t *w, attempt_t attempt, epoch_t epoch, const char *error) {
    agent_event_t ev = {.kind = AGENT_EV_WRITTEN, .job = 7, .attempt = attempt, .epoch = epoch, .bytes = 10};
    if (error) ev.error = err_new(ERR_NO_SPACE, "%s", error);
    else ev.extent = (extent_t){xstrdup("f"), 0, 10, epoch, epoch, 1};
    step(w, ev);
}
static void tick(world_t *w, int64_t ms) {
    w->now += ms;
    step(w, (agent_event_t){.kind = AGENT_EV_TICK});
}

static void connect_now(world_t *w) {
    tick(w, 0);
    step(w, (agent_event_t){.kind = AGENT_EV_LINKED, .link = link_now});
    ctl_msg_t *m = msg(w, CTL_WELCOME, 0, 0);
    m->welcome.heartbeat_ms = 1000000; /* out of the way of the stories */
    receive(w, m);
}
/* With attempt 1 of job 7 being built: so many tasks here. */
static void building(world_t *w, int tasks) {
    world_new(w);
    link_now = 1;
    connect_now(w);
    receive(w, deploy(w, 1, tasks, 0, 0));
}
/* A registered worker with attempt 1 of job 7 running: two tasks here. */
static void running(world_t *w) {
    building(w, 2);
    step(w, (agent_event_t){.kind = AGENT_EV_BUILT, .job = 7, .attempt = 1});
    receive(w, msg(w, CTL_START, 1, 0));
    buf_clear(&w->trace);
}

START_TEST(a_worker_registers_runs_seals_acks_completes_and_stops) {
    world_t w;
    world_new(&w);
    link_now = 1;
    tick(&w, 0);
    expect(&w, "connect link=1\n");
    step(&w, (agent_event_t){.kind = AGENT_EV_LINKED, .link = 1});
    expect(&w, "send REGISTER\n");
    ck_assert(!agent_here(w.a));
    receive(&w, msg(&w, CTL_WELCOME, 0, 0));
    expect(&w, "heartbeat\n");
    receive(&w, deploy(&w, 1, 2, 1, 0));
    expect(&w, "build job=7 attempt=1\n");
    step(&w, (agent_event_t){.kind = AGENT_EV_BUILT, .job = 7, .attempt = 1});
    expect(&w, "send DEPLOYED job=7 attempt=1\n");
    receive(&w, msg(&w, CTL_START, 1, 0));
    expect(&w, "start job=7 attempt=1\nconfirm job=7 attempt=1\n");
    receive(&w, msg(&w, CTL_INJECT, 1, 3));
    expect(&w, "confirm job=7 attempt=1\ninject job=7 attempt=1 epoch=3\n");
    sealed(&w, 1, 3, 0, 5);
    expect(&w, ""); /* one of two tasks */
    sealed(&w, 1, 3, 1, 5);
    expect(&w, "write job=7 attempt=1 epoch=3 seals=2\n");
    written(&w, 1, 3, NULL);
    expect(&w, "send ACK job=7 attempt=1 epoch=3\n");
    receive(&w, msg(&w, CTL_COMPLETE, 1, 3));
    expect(&w, "confirm job=7 attempt=1\ncomplete job=7 attempt=1 epoch=3\n");
    receive(&w, msg(&w, CTL_STOP, 1, 0));
    expect(&w, "teardown job=7 attempt=1\n");
    step(&w, (agent_event_t){.kind = AGENT_EV_TORN, .job = 7, .attempt = 1});
    expect(&w, "send STOPPED job=7 attempt=1\n");
    receive(&w, msg(&w, CTL_RELEASE, 1, 0));
    expect(&w, "forget job=7 attempt=1\n");
    ck_assert(!agent_run_state(w.a, 7, NULL, NULL));
    world_free(&w);
}
END_TEST

START_TEST(every_message_may_come_twice) {
    world_t w;
    running(&w);
    receive(&w, deploy(&w, 1, 2, 0, 0));
    expect(&w, "send DEPLOYED job=7 attempt=1\n");
    receive(&w, msg(&w, CTL_START, 1, 0));
    expect(&w, "confirm job=7 attempt=1\n");
    receive(&w, msg(&w, CTL_INJECT, 1, 3));
    receive(&w, msg(&w, CTL_INJECT, 1, 3));
    expect(&w, "confirm job=7 attempt=1\ninject job=7 attempt=1 epoch=3\nconfirm job=7 attempt=1\n");
    sealed(&w, 1, 3, 0, 1);
    sealed(&w, 1, 3, 1, 1);
    written(&w, 1, 3, NULL);
    buf_clear(&w.trace);
    receive(&w, msg(&w, CTL_COMPLETE, 1, 3));
    receive(&w, msg(&w, CTL_COMPLETE, 1, 3));
    expect(&w, "confirm job=7 attempt=1\ncomplete job=7 attempt=1 epoch=3\nconfirm job=7 attempt=1\n");
    receive(&w, msg(&w, CTL_STOP, 1, 0));
    receive(&w, msg(&w, CTL_STOP, 1, 0));
    step(&w, (agent_event_t){.kind = AGENT_EV_TORN, .job = 7, .attempt = 1});
    receive(&w, msg(&w, CTL_STOP, 1, 0));
    expect(&w, "teardown job=7 attempt=1\nsend STOPPED job=7 attempt=1\nsend STOPPED job=7 attempt=1\n");
    world_free(&w);
}
END_TEST

/* Hazards A1: a failed write is tried again until it succeeds; no epoch is skipped, none overtakes. */
START_TEST(a_full_disk_holds_the_epoch_back_and_loses_none) {
    world_t w;
    running(&w);
    receive(&w, msg(&w, CTL_INJECT, 1, 7));
    sealed(&w, 1, 7, 0, 1);
    sealed(&w, 1, 7, 1, 1);
    receive(&w, msg(&w, CTL_INJECT, 1, 8));
    sealed(&w, 1, 8, 0, 1);
    sealed(&w, 1, 8, 1, 1);
    buf_clear(&w.trace);
    written(&w, 1, 7, "no space left on the disk");
    expect(&w, "");
    ck_assert_str_eq(agent_waiting(w.a, 7), "checkpoint storage: no space left on the disk (1 try, epoch 7 waits)");
    ck_assert_int_eq(agent_next_tick_ms(w.a), AGENT_RETRY_MS_MIN);
    tick(&w, AGENT_RETRY_MS_MIN - 1);
    expect(&w, "");
    tick(&w, 1);
    expect(&w, "write-again job=7 attempt=1 epoch=7\n");
    written(&w, 1, 7, "no space left on the disk");
    ck_assert(strstr(agent_waiting(w.a, 7), "2 tries"));
    tick(&w, 2 * AGENT_RETRY_MS_MIN);
    written(&w, 1, 7, NULL);
    expect(&w, "write-again job=7 attempt=1 epoch=7\nsend ACK job=7 attempt=1 epoch=7\nwrite job=7 attempt=1 epoch=8 seals=2\n");
    ck_assert_ptr_null(agent_waiting(w.a, 7));
    written(&w, 1, 8, NULL);
    expect(&w, "send ACK job=7 attempt=1 epoch=8\n");
    world_free(&w);
}
END_TEST

/* No storage helps it: said once and at once, with what helps; later epochs are not written in its place (A1). */
START_TEST(an_epoch_that_cannot_be_built_fails_the_attempt_and_is_not_tried_again) {
    world_t w;
    running(&w);
    receive(&w, msg(&w, CTL_INJECT, 1, 7));
    sealed(&w, 1, 7, 0, 1);
    sealed(&w, 1, 7, 1, 1);
    receive(&w, msg(&w, CTL_INJECT, 1, 8));
    sealed(&w, 1, 8, 0, 1);
    sealed(&w, 1, 8, 1, 1);
    buf_clear(&w.trace);
    step(&w, (agent_event_t){.kind = AGENT_EV_WRITTEN, .job = 7, .attempt = 1, .epoch = 7, .never = true, .error = err_new(ERR_LIMIT, "too large")});
    expect(&w, "send FAILED job=7 attempt=1 error=too large\n");
    ck_assert_ptr_null(agent_waiting(w.a, 7));
    tick(&w, 2 * AGENT_RETRY_MS_MAX);
    expect(&w, "");
    receive(&w, msg(&w, CTL_STOP, 1, 0));
    step(&w, (agent_event_t){.kind = AGENT_EV_TORN, .job = 7, .attempt = 1});
    expect(&w, "teardown job=7 attempt=1\nsend STOPPED job=7 attempt=1\n");
    world_free(&w);
}
END_TEST

/* Hazards A2, A6: what belongs to another attempt or a lower leader does nothing. */
START_TEST(stale_attempts_and_leaders_are_fenced) {
    world_t w;
    running(&w);
    receive(&w, deploy(&w, 4, 2, 0, 9)); /* a newer attempt: the old one goes first */
    expect(&w, "teardown job=7 attempt=1\n");
    sealed(&w, 1, 3, 0, 1);
    written(&w, 1, 3, NULL);
    step(&w, (agent_event_t){.kind = AGENT_EV_FAILED, .job = 7, .attempt = 1, .error = err_new(ERR_IO, "late")});
    expect(&w, "");
    step(&w, (agent_event_t){.kind = AGENT_EV_TORN, .job = 7, .attempt = 1});
    expect(&w, "send STOPPED job=7 attempt=1\nbuild job=7 attempt=4\n");
    receive(&w, deploy(&w, 3, 2, 0, 9));
    receive(&w, msg(&w, CTL_START, 3, 0));
    receive(&w, msg(&w, CTL_INJECT, 1, 12));
    receive(&w, msg(&w, CTL_STOP, 3, 0));
    expect(&w, "");
    w.leader = 4; /* a zombie coordinator */
    receive(&w, deploy(&w, 9, 2, 0, 9));
    receive(&w, msg(&w, CTL_STOP, 9, 0));
    expect(&w, "");
    w.leader = 5;
    step(&w, (agent_event_t){.kind = AGENT_EV_BUILT, .job = 7, .attempt = 1}); /* of the dead attempt */
    expect(&w, "");
    step(&w, (agent_event_t){.kind = AGENT_EV_BUILT, .job = 7, .attempt = 4});
    expect(&w, "send DEPLOYED job=7 attempt=4\n");
    receive(&w, msg(&w, CTL_STOP, 4, 0));
    step(&w, (agent_event_t){.kind = AGENT_EV_TORN, .job = 7, .attempt = 4});
    buf_clear(&w.trace);
    receive(&w, deploy(&w, 4, 2, 0, 9)); /* a DEPLOY that was on its way when its STOP came */
    expect(&w, "");
    world_free(&w);
}
END_TEST

/* Hazards A1, second half: a new leader finishes the epochs of the old one under the same ids. */
START_TEST(a_lost_coordinator_stops_nothing_and_the_next_hears_all_acks_again) {
    world_t w;
    running(&w);
    receive(&w, msg(&w, CTL_INJECT, 1, 11));
    sealed(&w, 1, 11, 0, 1);
    sealed(&w, 1, 11, 1, 1);
    written(&w, 1, 11, NULL);
    receive(&w, msg(&w, CTL_INJECT, 1, 12));
    buf_clear(&w.trace);
    step(&w, (agent_event_t){.kind = AGENT_EV_UNLINKED, .link = 1});
    ck_assert(!agent_here(w.a));
    sealed(&w, 1, 12, 0, 1);
    sealed(&w, 1, 12, 1, 1);
    written(&w, 1, 12, NULL); /* nobody to tell */
    step(&w, (agent_event_t){.kind = AGENT_EV_PUBLISHED, .job = 7, .attempt = 1, .fingerprint = 1, .lane = 0, .epoch = 10});
    expect(&w, "write job=7 attempt=1 epoch=12 seals=2\n");
    tick(&w, 200);
    expect(&w, "connect link=2\n");
    link_now = 2;
    w.leader = 6;
    step(&w, (agent_event_t){.kind = AGENT_EV_LINKED, .link = 2});
    receive(&w, msg(&w, CTL_WELCOME, 0, 0));
    expect(&w, "send REGISTER\nheartbeat\nsend DEPLOYED job=7 attempt=1\nsend PUBLISHED job=7 attempt=1 epoch=10\n"
               "send ACK job=7 attempt=1 epoch=11\nsend ACK job=7 attempt=1 epoch=12\n");
    receive(&w, msg(&w, CTL_COMPLETE, 1, 12)); /* cumulative */
    expect(&w, "confirm job=7 attempt=1\ncomplete job=7 attempt=1 epoch=12\n");
    ck_assert(!agent_in_flight(w.a, 7));
    world_free(&w);
}
END_TEST

START_TEST(what_the_old_link_still_says_is_not_heard) {
    world_t w;
    running(&w);
    step(&w, (agent_event_t){.kind = AGENT_EV_UNLINKED, .link = 1});
    tick(&w, 200);
    buf_clear(&w.trace);
    step(&w, (agent_event_t){.kind = AGENT_EV_MESSAGE, .link = 1, .msg = msg(&w, CTL_STOP, 1, 0)});
    step(&w, (agent_event_t){.kind = AGENT_EV_UNLINKED, .link = 1});
    expect(&w, "");
    world_free(&w);
}
END_TEST

START_TEST(reconnects_slow_down_and_a_dumb_server_is_left) {
    world_t w;
    world_new(&w);
    int64_t delays[6];
    for (int i = 0; i < 6; i++) {
        tick(&w, 0);
        step(&w, (agent_event_t){.kind = AGENT_EV_UNLINKED, .link = (uint32_t)i + 1});
        delays[i] = agent_next_tick_ms(w.a) - w.now;
        w.now = agent_next_tick_ms(w.a);
    }
    ck_assert_int_eq(delays[0], 0); /* the first retry is at once: another coordinator may have taken over */
    ck_assert_int_eq(delays[1], 200);
    ck_assert_int_eq(delays[5], AGENT_CONNECT_MS_MAX);
    buf_clear(&w.trace);
    tick(&w, 0);
    step(&w, (agent_event_t){.kind = AGENT_EV_LINKED, .link = 7});
    expect(&w, "connect link=7\nsend REGISTER\n");
    tick(&w, AGENT_GREETING_MS);
    expect(&w, "close link=7 error=the coordinator does not answer the registration\n");
    world_free(&w);
}
END_TEST

static void welcomed(world_t *w) { /* heartbeats every 200 ms, time-out 900 ms */
    step(w, (agent_event_t){.kind = AGENT_EV_LINKED, .link = link_now});
    ctl_msg_t *m = msg(w, CTL_WELCOME, 0, 0);
    m->welcome.heartbeat_ms = 200;
    m->welcome.timeout_ms = 900;
    receive(w, m);
    buf_clear(&w->trace);
}

START_TEST(a_coordinator_that_answers_no_heartbeat_is_left_after_twice_its_timeout) {
    world_t w;
    world_new(&w);
    link_now = 1;
    tick(&w, 0);
    welcomed(&w);
    for (int i = 0; i < 20; i++) { /* answered: for ever */
        tick(&w, 200);
        expect(&w, "heartbeat\n");
        receive(&w, msg(&w, CTL_ALIVE, 0, 0));
    }
    int64_t last_answer = w.now;
    for (int i = 0; i < 9; i++) {
        tick(&w, 200);
        expect(&w, "heartbeat\n");
    }
    tick(&w, 200);
    expect(&w, "close link=1 error=the coordinator has answered no heartbeat for 1800 ms\n");
    ck_assert_int_eq(w.now - last_answer, 2000);
    tick(&w, 200); /* to the other one, which does not lead yet; then back to the hung one, which takes connections and says nothing */
    expect(&w, "connect link=2\n");
    link_now = 2;
    step(&w, (agent_event_t){.kind = AGENT_EV_LINKED, .link = 2});
    ctl_msg_t *m = msg(&w, CTL_GOODBYE, 0, 0);
    m->error = err_new(ERR_UNAVAILABLE, "not the leader");
    m->flags = GOODBYE_ELSEWHERE;
    receive(&w, m);
    tick(&w, 500);
    link_now = 3;
    step(&w, (agent_event_t){.kind = AGENT_EV_LINKED, .link = 3});
    buf_clear(&w.trace);
    tick(&w, 1799);
    expect(&w, "");
    tick(&w, 1);
    expect(&w, "close link=3 error=the coordinator does not answer the registration\n");
    world_free(&w);
}
END_TEST

START_TEST(a_worker_that_stood_still_itself_blames_nobody) {
    world_t w;
    world_new(&w);
    link_now = 1;
    tick(&w, 0);
    welcomed(&w);
    tick(&w, 60000);
    expect(&w, "heartbeat\n");
    tick(&w, 200);
    expect(&w, "heartbeat\n");
    world_free(&w);
}
END_TEST

START_TEST(an_only_coordinator_is_not_left_for_its_silence) {
    world_t w;
    world_new(&w);
    agent_free(w.a);
    w.a = agent_new(&(agent_conf_t){"w1", "127.0.0.1:9", 2, 1 << 20, "test", false});
    link_now = 1;
    tick(&w, 0);
    welcomed(&w);
    for (int i = 0; i < 50; i++) tick(&w, 200);
    ck_assert_ptr_null(strstr(buf_cstr(&w.trace), "close"));
    world_free(&w);
}
END_TEST

/* The manifest knows the workers of an attempt by their extents (manifest_trim): one that wrote nothing would be taken for one that
 * never was, and what it restored would be dropped once the others have bases. */
START_TEST(the_first_epoch_is_written_even_when_it_is_empty_later_ones_are_only_acked) {
    world_t w;
    running(&w);
    receive(&w, msg(&w, CTL_INJECT, 1, 3));
    sealed(&w, 1, 3, 0, 0);
    buf_clear(&w.trace);
    sealed(&w, 1, 3, 1, 0);
    expect(&w, "write job=7 attempt=1 epoch=3 seals=2\n");
    written(&w, 1, 3, "no space left");
    buf_clear(&w.trace);
    tick(&w, 10000); /* a failed write counts for nothing */
    ck_assert(strstr(buf_cstr(&w.trace), "write-again job=7 attempt=1 epoch=3") != NULL);
    written(&w, 1, 3, NULL);
    buf_clear(&w.trace);
    receive(&w, msg(&w, CTL_INJECT, 1, 4));
    sealed(&w, 1, 4, 0, 0);
    buf_clear(&w.trace);
    sealed(&w, 1, 4, 1, 0);
    expect(&w, "send ACK job=7 attempt=1 epoch=4\n");
    world_free(&w);
}
END_TEST

/* Barriers run faster than control messages: seals of an epoch may be here before its INJECT. */
START_TEST(a_barrier_may_overtake_its_inject) {
    world_t w;
    running(&w);
    sealed(&w, 1, 3, 1, 1);
    receive(&w, msg(&w, CTL_INJECT, 1, 3));
    expect(&w, "confirm job=7 attempt=1\ninject job=7 attempt=1 epoch=3\n");
    sealed(&w, 1, 3, 0, 1);
    expect(&w, "write job=7 attempt=1 epoch=3 seals=2\n");
    world_free(&w);
}
END_TEST

START_TEST(a_worker_without_tasks_acks_every_epoch) {
    world_t w;
    running(&w);
    receive(&w, deploy(&w, 2, 0, 3, 4));
    step(&w, (agent_event_t){.kind = AGENT_EV_TORN, .job = 7, .attempt = 1});
    step(&w, (agent_event_t){.kind = AGENT_EV_BUILT, .job = 7, .attempt = 2});
    receive(&w, msg(&w, CTL_START, 2, 0));
    buf_clear(&w.trace);
    receive(&w, msg(&w, CTL_INJECT, 2, 5));
    expect(&w, "confirm job=7 attempt=2\ninject job=7 attempt=2 epoch=5\nsend ACK job=7 attempt=2 epoch=5\n");
    world_free(&w);
}
END_TEST

START_TEST(the_first_failure_is_reported_once_and_again_to_a_new_coordinator) {
    world_t w;
    running(&w);
    step(&w, (agent_event_t){.kind = AGENT_EV_FAILED, .job = 7, .attempt = 1, .stage = -1, .where = "w2",
                             .error = err_new(ERR_UNAVAILABLE, "the data connection with worker 'w2' broke")});
    step(&w, (agent_event_t){.kind = AGENT_EV_FAILED, .job = 7, .attempt = 1, .error = err_new(ERR_DATA, "a consequence")});
    expect(&w, "send FAILED job=7 attempt=1 error=the data connection with worker 'w2' broke\n");
    step(&w, (agent_event_t){.kind = AGENT_EV_UNLINKED, .link = 1});
    tick(&w, 200);
    link_now = 2;
    step(&w, (agent_event_t){.kind = AGENT_EV_LINKED, .link = 2});
    buf_clear(&w.trace);
    receive(&w, msg(&w, CTL_WELCOME, 0, 0));
    expect(&w, "heartbeat\nsend FAILED job=7 attempt=1 error=the data connection with worker 'w2' broke\n");
    receive(&w, msg(&w, CTL_INJECT, 1, 3)); /* a failed attempt begins no epoch */
    expect(&w, "confirm job=7 attempt=1\n");
    world_free(&w);
}
END_TEST

/* A file that is not whole may be answered with an older epoch: told apart from what only sounds alike, also when it is told again. */
START_TEST(a_damaged_file_is_told_as_such) {
    for (int damaged = 0; damaged < 2; damaged++) {
        world_t w;
        building(&w, 1);
        buf_clear(&w.trace);
        step(&w, (agent_event_t){.kind = AGENT_EV_BUILT, .job = 7, .attempt = 1, .damaged = damaged, .error = err_new(ERR_CORRUPT, "bad")});
        const char *said = damaged ? "send FAILED job=7 attempt=1 damaged error=bad\n" : "send FAILED job=7 attempt=1 error=bad\n";
        expect(&w, said);
        step(&w, (agent_event_t){.kind = AGENT_EV_UNLINKED, .link = 1});
        tick(&w, 200);
        link_now = 2;
        step(&w, (agent_event_t){.kind = AGENT_EV_LINKED, .link = 2});
        buf_clear(&w.trace);
        receive(&w, msg(&w, CTL_WELCOME, 0, 0));
        ck_assert_ptr_nonnull(strstr(buf_cstr(&w.trace), said));
        world_free(&w);
    }
}
END_TEST

START_TEST(a_fault_of_the_workers_own_disk_is_told_as_such) {
    for (int built = 0; built < 2; built++) {
        world_t w;
        building(&w, 1);
        if (built) step(&w, (agent_event_t){.kind = AGENT_EV_BUILT, .job = 7, .attempt = 1});
        buf_clear(&w.trace);
        step(&w, (agent_event_t){.kind = built ? AGENT_EV_FAILED : AGENT_EV_BUILT, .job = 7, .attempt = 1, .stage = -1, .own = true,
                                 .error = err_new(ERR_IO, "bad")});
        expect(&w, "send FAILED job=7 attempt=1 own error=bad\n");
        world_free(&w);
    }
}
END_TEST

/* What was damaged for one attempt says nothing of the next: a link that breaks while that one is deployed sends nobody back to an older epoch. */
START_TEST(a_damaged_file_of_one_attempt_is_not_told_of_the_next) {
    world_t w;
    building(&w, 1);
    step(&w, (agent_event_t){.kind = AGENT_EV_BUILT, .job = 7, .attempt = 1, .damaged = true, .error = err_new(ERR_CORRUPT, "bad")});
    receive(&w, deploy(&w, 2, 1, 0, 0));
    step(&w, (agent_event_t){.kind = AGENT_EV_TORN, .job = 7, .attempt = 1});
    step(&w, (agent_event_t){.kind = AGENT_EV_BUILT, .job = 7, .attempt = 2});
    buf_clear(&w.trace);
    step(&w, (agent_event_t){.kind = AGENT_EV_FAILED, .job = 7, .attempt = 2, .stage = -1, .where = "w2", .error = err_new(ERR_UNAVAILABLE, "the link broke")});
    expect(&w, "send FAILED job=7 attempt=2 error=the link broke\n");
    world_free(&w);
}
END_TEST

START_TEST(a_build_that_fails_is_a_failed_attempt) {
    world_t w;
    building(&w, 1);
    buf_clear(&w.trace);
    step(&w, (agent_event_t){.kind = AGENT_EV_BUILT, .job = 7, .attempt = 1, .where = "f.tgcl", .error = err_new(ERR_CORRUPT, "f.tgcl: bad checksum")});
    expect(&w, "send FAILED job=7 attempt=1 error=f.tgcl: bad checksum\n");
    receive(&w, msg(&w, CTL_START, 1, 0));
    expect(&w, "confirm job=7 attempt=1\n");
    world_free(&w);
}
END_TEST

START_TEST(stop_during_the_build_wins) {
    world_t w;
    building(&w, 1);
    receive(&w, msg(&w, CTL_STOP, 2, 0));
    step(&w, (agent_event_t){.kind = AGENT_EV_BUILT, .job = 7, .attempt = 1});
    buf_clear(&w.trace);
    step(&w, (agent_event_t){.kind = AGENT_EV_TORN, .job = 7, .attempt = 1});
    expect(&w, "send STOPPED job=7 attempt=2\n");
    receive(&w, deploy(&w, 2, 1, 0, 0)); /* it was stopped before it came */
    expect(&w, "");
    world_free(&w);
}
END_TEST

START_TEST(a_complete_for_an_epoch_that_is_not_durable_here_is_refused) {
    world_t w;
    running(&w);
    receive(&w, msg(&w, CTL_INJECT, 1, 3));
    buf_clear(&w.trace);
    receive(&w, msg(&w, CTL_COMPLETE, 1, 3));
    ck_assert(strstr(buf_cstr(&w.trace), "send FAILED"));
    ck_assert_ptr_null(strstr(buf_cstr(&w.trace), "complete job"));
    world_free(&w);
}
END_TEST

START_TEST(drain_asks_and_leaves_when_told) {
    world_t w;
    running(&w);
    step(&w, (agent_event_t){.kind = AGENT_EV_LEAVE});
    expect(&w, "send DRAIN\n");
    receive(&w, msg(&w, CTL_STOP, 1, 0));
    step(&w, (agent_event_t){.kind = AGENT_EV_TORN, .job = 7, .attempt = 1});
    buf_clear(&w.trace);
    receive(&w, msg(&w, CTL_GOODBYE, 0, 0));
    expect(&w, "exit\n");
    tick(&w, 100000);
    expect(&w, ""); /* nothing happens after the end */
    world_free(&w);
}
END_TEST

/* Nobody is there to hand the tasks to: it waits for a standby, then it goes, and that is no error. With one there it drains as ever. */
START_TEST(B16_a_worker_whose_coordinator_is_gone_leaves_within_five_seconds) {
    world_t w;
    running(&w);
    step(&w, (agent_event_t){.kind = AGENT_EV_UNLINKED, .link = link_now});
    tick(&w, 1000);
    step(&w, (agent_event_t){.kind = AGENT_EV_LEAVE});
    tick(&w, AGENT_ALONE_MS - 100);
    ck_assert_ptr_null(strstr(buf_cstr(&w.trace), "exit"));
    tick(&w, 200);
    ck_assert_ptr_nonnull(strstr(buf_cstr(&w.trace), "exit\n"));
    world_free(&w);

    running(&w); /* it dies while we drain; the next one comes and lets us go */
    step(&w, (agent_event_t){.kind = AGENT_EV_LEAVE});
    step(&w, (agent_event_t){.kind = AGENT_EV_UNLINKED, .link = link_now});
    tick(&w, 2000);
    link_now = 2;
    step(&w, (agent_event_t){.kind = AGENT_EV_LINKED, .link = 2});
    buf_clear(&w.trace);
    receive(&w, msg(&w, CTL_WELCOME, 0, 0));
    ck_assert_ptr_nonnull(strstr(buf_cstr(&w.trace), "send DRAIN\n"));
    tick(&w, 2 * AGENT_ALONE_MS);
    ck_assert_ptr_null(strstr(buf_cstr(&w.trace), "exit"));
    receive(&w, msg(&w, CTL_GOODBYE, 0, 0));
    ck_assert_ptr_nonnull(strstr(buf_cstr(&w.trace), "exit\n"));
    world_free(&w);
}
END_TEST

START_TEST(goodbyes_differ) {
    world_t w;
    running(&w);
    ctl_msg_t *m = msg(&w, CTL_GOODBYE, 0, 0);
    m->error = err_new(ERR_UNAVAILABLE, "not the leader");
    m->flags = GOODBYE_ELSEWHERE;
    receive(&w, m);
    expect(&w, "close link=1\n"); /* elsewhere, with everything running */
    tick(&w, 1000);
    link_now = 2;
    step(&w, (agent_event_t){.kind = AGENT_EV_LINKED, .link = 2});
    receive(&w, msg(&w, CTL_WELCOME, 0, 0));
    buf_clear(&w.trace);
    m = msg(&w, CTL_GOODBYE, 0, 0);
    m->error = err_new(ERR_TIMEOUT, "you were declared dead"); /* the zombie after SIGCONT: its attempts go, it comes back */
    m->flags = GOODBYE_ANEW;
    receive(&w, m);
    expect(&w, "teardown job=7 attempt=1\nclose link=2\n");
    tick(&w, 2000);
    link_now = 3;
    step(&w, (agent_event_t){.kind = AGENT_EV_LINKED, .link = 3});
    buf_clear(&w.trace);
    m = msg(&w, CTL_GOODBYE, 0, 0);
    m->error = err_new(ERR_VERSION, "versions 1 to 1, we speak 2 to 3");
    receive(&w, m);
    expect(&w, "exit error=versions 1 to 1, we speak 2 to 3\n");
    world_free(&w);
}
END_TEST

/* A worker that was told to go for tasks of its that do not stop must not come back as it is, whatever the reason looks like. */
START_TEST(B5_a_worker_told_to_exit_exits) {
    world_t w;
    running(&w);
    receive(&w, msg(&w, CTL_STOP, 1, 0)); /* and no TORN follows */
    buf_clear(&w.trace);
    ctl_msg_t *m = msg(&w, CTL_GOODBYE, 0, 0);
    m->error = err_new(ERR_TIMEOUT, "worker w1 did not stop job 7 within 5000 ms: its process has to go");
    m->flags = GOODBYE_EXIT;
    receive(&w, m);
    expect(&w, "exit error=worker w1 did not stop job 7 within 5000 ms: its process has to go\n");
    tick(&w, 100000);
    expect(&w, "");
    world_free(&w);
}
END_TEST

START_TEST(an_ack_says_what_the_seals_say) {
    task_seal_t a = {.epoch = 3, .stage = 0, .watermark = 50, .rows_since = 4, .ended = true};
    task_seal_t b = {.epoch = 3, .stage = 0, .subtask = 1, .watermark = 40, .rows_since = 5, .ended = true};
    source_seal_t sa = {.fingerprint = 9}, sb = {.fingerprint = 9};
    split_list_add(&sa.splits, &(split_t){.id = "p0", .position = 10});
    split_list_add(&sb.splits, &(split_t){.id = "p1", .position = 20});
    sink_seal_t sink = {.fingerprint = 4, .lane = 1, .rows = 2};
    a.nsources = b.nsources = 1;
    a.sources = &sa;
    b.sources = &sb;
    b.nsinks = 1;
    b.sinks = &sink;
    task_seal_t *seals[] = {&a, &b};
    ctl_msg_t *m = ctl_new(CTL_ACK);
    ack_from_seals(seals, 2, &m->ack);
    ck_assert_int_eq(m->ack.nsources, 1);
    ck_assert_int_eq(m->ack.sources[0].splits.n, 2);
    ck_assert_int_eq(m->ack.nstages, 1);
    ck_assert_int_eq(m->ack.stages[0].watermark, 40); /* the minimum: event time is the slowest's */
    ck_assert_int_eq(m->ack.nlanes, 1);
    ck_assert_int_eq(m->ack.lanes[0].rows, 2);
    ck_assert_int_eq(m->ack.rows, 11);
    ck_assert(m->ack.ended);
    ck_assert(!seals_empty(seals, 2));
    ctl_free(m);
    split_list_free(&sa.splits);
    split_list_free(&sb.splits);
}
END_TEST

TESTS("worker/agent", a_worker_registers_runs_seals_acks_completes_and_stops, every_message_may_come_twice,
      a_full_disk_holds_the_epoch_back_and_loses_none, an_epoch_that_cannot_be_built_fails_the_attempt_and_is_not_tried_again,
      stale_attempts_and_leaders_are_fenced,
      a_lost_coordinator_stops_nothing_and_the_next_hears_all_acks_again, what_the_old_link_still_says_is_not_heard,
      reconnects_slow_down_and_a_dumb_server_is_left, the_first_epoch_is_written_even_when_it_is_empty_later_ones_are_only_acked,
          a_barrier_may_overtake_its_inject,
      a_coordinator_that_answers_no_heartbeat_is_left_after_twice_its_timeout, a_worker_that_stood_still_itself_blames_nobody,
      an_only_coordinator_is_not_left_for_its_silence, a_worker_without_tasks_acks_every_epoch,
      the_first_failure_is_reported_once_and_again_to_a_new_coordinator,
      a_build_that_fails_is_a_failed_attempt,
      a_damaged_file_is_told_as_such, a_fault_of_the_workers_own_disk_is_told_as_such,
      a_damaged_file_of_one_attempt_is_not_told_of_the_next, stop_during_the_build_wins,
      a_complete_for_an_epoch_that_is_not_durable_here_is_refused,
      drain_asks_and_leaves_when_told, 
      B16_a_worker_whose_coordinator_is_gone_leaves_within_five_seconds, goodbyes_differ, B5_a_worker_told_to_exit_exits, an_ack_says_what_the_seals_say)
