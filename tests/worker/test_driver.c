/* test_driver.c: real workers with real threads, tasks, files and sockets; the test plays the coordinator. */
#include "tests/worker/cluster.h"
#include "worker/lanes.h"

START_TEST(one_worker_runs_a_job_to_its_end) {
    cluster_t c;
    cluster_start(&c, 1, 2, 5000);
    cluster_deploy(&c);
    await_ended(&c);
    cluster_epoch(&c, BARRIER_FINAL);
    expect_once(&c, 10000);
    cluster_end(&c);
    cluster_stop(&c);
}
END_TEST

START_TEST(two_workers_exchange_rows_and_agree_on_epochs) {
    cluster_t c;
    cluster_start(&c, 2, 4, 20000);
    cluster_deploy(&c);
    uint64_t rows = 0;
    for (int i = 0; i < 5; i++) rows += cluster_epoch(&c, 0);
    await_ended(&c);
    rows += cluster_epoch(&c, BARRIER_FINAL);
    expect_once(&c, 80000);
    ck_assert_uint_ge(rows, 80000);
    cluster_end(&c);
    cluster_stop(&c);
}
END_TEST

/* An attempt dies between two epochs; the next restores the last manifest, and the ledger says what was published (A2). */
START_TEST(a_new_attempt_goes_on_from_the_manifest_and_publishes_nothing_twice) {
    cluster_t c;
    cluster_start(&c, 2, 2, 30000);
    cluster_deploy(&c);
    cluster_epoch(&c, 0);
    cluster_epoch(&c, 0);
    c.epoch++; /* sealed and durable, never complete: garbage of a dead attempt */
    tell_all(&c, CTL_INJECT, c.epoch, 0);
    for (int i = 0; i < 2; i++) ctl_free(await(&c.m[i], CTL_ACK));
    cluster_deploy(&c); /* in place: workers tear the old attempt down first */
    cluster_epoch(&c, 0);
    await_ended(&c);
    cluster_epoch(&c, BARRIER_FINAL);
    expect_once(&c, 60000);
    cluster_end(&c);
    cluster_stop(&c);
}
END_TEST

/* A broker that dies inside a commit gives no answer for seconds: the lane that hangs is said meanwhile, not only once it has failed. */
START_TEST(a_lane_whose_commit_hangs_is_said_after_a_second) {
    cluster_t c;
    cluster_start(&c, 1, 1, 1000);
    c.topic.mute_sends = true;
    int64_t began = clock_mono_ms(); /* the first commit says who owns the ledger now: it comes with START */
    cluster_deploy(&c);
    await_ended(&c);
    AUTO(auto_free) char *said = NULL;
    cluster_epoch(&c, BARRIER_FINAL);
    while (!said) {
        ctl_msg_t *h = await(&c.m[0], CTL_HEARTBEAT);
        if (h->heartbeat.njobs && h->heartbeat.jobs[0].nlanes) said = TAKE(h->heartbeat.jobs[0].lanes[0].waits_for);
        ctl_free(h);
    }
    int64_t took = clock_mono_ms() - began;
    ck_assert_msg(took >= LANES_SLOW_MS, "after %d ms: %s", (int)took, said);
    ck_assert_msg(strstr(said, "a transaction to be committed, for ") == said && strstr(said, " ms: table "), "%s", said);
    c.topic.mute_sends = false;
    topic_say(&c.topic, (lane_answer_t){.kind = LANE_ANSWER_DOUBT, .error = err_new(ERR_TIMEOUT, "the broker is away")});
    expect_once(&c, 1000);
    cluster_end(&c);
    cluster_stop(&c);
}
END_TEST

/* The manifest is durable and nothing of it published: lanes take their segments from the changelog. */
START_TEST(output_of_a_complete_epoch_is_published_by_the_next_attempt) {
    cluster_t c;
    cluster_start(&c, 2, 2, 10000);
    c.topic.hold = true;
    cluster_deploy(&c);
    await_ended(&c);
    cluster_epoch(&c, BARRIER_FINAL);
    usleep(50000);
    ck_assert_uint_eq(topic_records(&c.topic), 0);
    ctl_msg_t *h = await(&c.m[0], CTL_HEARTBEAT);
    while (h->heartbeat.njobs == 0 || h->heartbeat.jobs[0].nlanes == 0 || !h->heartbeat.jobs[0].lanes[0].waits_for) {
        ctl_free(h);
        h = await(&c.m[0], CTL_HEARTBEAT);
    }
    ck_assert_str_eq(h->heartbeat.jobs[0].lanes[0].waits_for, "the broker is away");
    ck_assert(h->heartbeat.jobs[0].lanes[0].pending_bytes > 0);
    ck_assert(h->heartbeat.jobs[0].busy); /* unpublished output is worth an epoch */
    ctl_free(h);
    cluster_end(&c);
    pthread_mutex_lock(&c.topic.lock);
    c.topic.hold = false;
    pthread_mutex_unlock(&c.topic.lock);
    cluster_deploy(&c);
    expect_once(&c, 20000);
    cluster_end(&c);
    cluster_stop(&c);
}
END_TEST

static int topic_count(topic_t *t, const int *n) {
    pthread_mutex_lock(&t->lock);
    int got = *n;
    pthread_mutex_unlock(&t->lock);
    return got;
}

/* What the workers wrote themselves they would restore from their own copies: storage, where it is read, lets reads wait. */
static void let_restores_wait(cluster_t *c) {
    AUTO(auto_free) char *rm = xprintf("rm -rf '%s'/w*/kept/jobs", c->root);
    ck_assert_int_eq(system(rm), 0);
    atomic_store(&disk_slow, true);
}

/* B7: the lanes of a dead worker are fenced and their ledgers read while storage still makes the restore wait; B9: nothing is sent before START. */
START_TEST(lanes_are_fenced_while_the_state_is_restored_and_publish_after_start) {
    cluster_t c;
    cluster_start(&c, 2, 2, 10000);
    c.topic.hold = true;
    cluster_deploy(&c);
    await_ended(&c);
    cluster_epoch(&c, BARRIER_FINAL);
    cluster_end(&c);
    pthread_mutex_lock(&c.topic.lock);
    c.topic.hold = false;
    c.topic.inits = c.topic.reads = c.topic.sends = 0;
    pthread_mutex_unlock(&c.topic.lock);
    let_restores_wait(&c);
    cluster_order(&c);
    for (int i = 0; i < 5000 && topic_count(&c.topic, &c.topic.reads) < 2; i++) usleep(2000);
    ck_assert_int_eq(topic_count(&c.topic, &c.topic.inits), 2);
    ck_assert_int_eq(topic_count(&c.topic, &c.topic.reads), 2);
    atomic_store(&disk_slow, false);
    for (int i = 0; i < c.n; i++) ctl_free(await(&c.m[i], CTL_DEPLOYED));
    usleep(100000);
    ck_assert_int_eq(topic_count(&c.topic, &c.topic.sends), 0);
    tell_all(&c, CTL_START, 0, 0);
    expect_once(&c, 20000);
    ck_assert_int_eq(topic_count(&c.topic, &c.topic.inits), 2);
    ck_assert_int_eq(topic_count(&c.topic, &c.topic.reads), 2);
    cluster_end(&c);
    cluster_stop(&c);
}
END_TEST

/* Nothing is left to process, but a sink of files that died at the end has a part to make visible: it does when it is restored. */
START_TEST(sinks_are_restored_after_the_final_epoch_and_nothing_runs) {
    cluster_t c;
    cluster_start(&c, 2, 2, 5000);
    atomic_store(&sink_keeps, 1);
    cluster_deploy(&c);
    await_ended(&c);
    cluster_epoch(&c, BARRIER_FINAL);
    expect_once(&c, 10000);
    ck_assert_int_eq(atomic_load(&sink_restored), 0);
    c.manifest->final = true;
    cluster_deploy(&c);
    ck_assert_int_eq(atomic_load(&sink_restored), 2);
    usleep(200000);
    for (int i = 0; i < 2; i++) {
        ctl_msg_t *h = await(&c.m[i], CTL_HEARTBEAT);
        for (int k = 0; k < h->heartbeat.njobs && h->heartbeat.jobs[k].attempt == c.attempt; k++)
            for (int t = 0; t < h->heartbeat.jobs[k].ntasks; t++) ck_assert_uint_eq(h->heartbeat.jobs[k].tasks[t].rows_in, 0);
        ctl_free(h);
    }
    expect_once(&c, 10000);
    cluster_end(&c);
    cluster_stop(&c);
    atomic_store(&sink_keeps, 0);
}
END_TEST

/* Hazards A6: a peer that dies ends the attempt by name; the others stay and take the next attempt. */
START_TEST(a_dead_peer_fails_the_attempt_with_its_name) {
    cluster_t c;
    cluster_start(&c, 3, 3, -1);
    cluster_deploy(&c);
    cluster_epoch(&c, 0);
    member_stop(&c.m[2]);
    for (int i = 0; i < 2; i++) {
        ctl_msg_t *f = NULL;
        for (int64_t until = clock_mono_ms() + 10000; clock_mono_ms() < until && !(f && f->kind == CTL_FAILED);) {
            ctl_free(f);
            f = mailbox_receive(c.m[i].in);
            if (!f) mailbox_wait(c.m[i].in, 100);
        }
        ck_assert(f && f->kind == CTL_FAILED);
        ck_assert_str_eq(f->failed.where, "w3");
        ck_assert(!err_deterministic(f->error));
        ctl_free(f);
    }
    c.n = 2; /* goes on with two: the same path as after any failure */
    cluster_deploy(&c);
    cluster_epoch(&c, 0);
    cluster_end(&c);
    for (uint64_t v = 0; v < TOPIC_MAX; v++) ck_assert(c.topic.seen[v] <= 1);
    cluster_stop(&c);
}
END_TEST

static void unlink_worker(cluster_t *c) {
    pthread_mutex_lock(&c->lock);
    link_t *l = &c->m[0].link->link;
    pthread_mutex_unlock(&c->lock);
    l->handler.on_closed(l->handler.arg, l, err_new(ERR_UNAVAILABLE, "killed"));
}
static void welcome_worker(cluster_t *c) {
    ctl_free(await(&c->m[0], CTL_REGISTER));
    c->leader++;
    ctl_msg_t *welcome = ctl_new(CTL_WELCOME);
    welcome->leader = c->leader;
    member_tell(&c->m[0], welcome);
}

START_TEST(a_lost_coordinator_leaves_the_job_running) {
    cluster_t c;
    cluster_start(&c, 1, 2, -1);
    cluster_deploy(&c);
    cluster_epoch(&c, 0);
    c.epoch++;
    tell_all(&c, CTL_INJECT, c.epoch, 0);
    ctl_free(await(&c.m[0], CTL_ACK));
    unlink_worker(&c);
    welcome_worker(&c);
    cluster_gather(&c, c.epoch); /* the ack the old coordinator may never have seen */
    tell_all(&c, CTL_COMPLETE, c.epoch, 0);
    cluster_epoch(&c, 0);
    cluster_end(&c);
    cluster_stop(&c);
}
END_TEST

/* Rows of the sources as the next heartbeat says; *ret_held: it also says that they wait. */
static uint64_t rows_in(cluster_t *c, bool *ret_held) {
    ctl_msg_t *h = await(&c->m[0], CTL_HEARTBEAT);
    uint64_t n = 0;
    *ret_held = false;
    for (int k = 0; k < h->heartbeat.njobs; k++) {
        const char *waiting = h->heartbeat.jobs[k].waiting;
        *ret_held = waiting && strstr(waiting, "sources wait");
        for (int t = 0; t < h->heartbeat.jobs[k].ntasks; t++)
            if (h->heartbeat.jobs[k].tasks[t].stage == 0) n += h->heartbeat.jobs[k].tasks[t].rows_in;
    }
    ctl_free(h);
    return n;
}

/* Hazards B1 and B14, and the time without a coordinator: whatever the reason is why no epoch begins, what is collected for it has a bound. */
START_TEST(sources_wait_when_no_epoch_begins_and_the_next_barrier_lets_them_go_on) {
    cluster_t c;
    bool held = false;
    cluster_start(&c, 1, 2, -1);
    cluster_deploy(&c);
    cluster_epoch(&c, 0);
    for (int64_t until = clock_mono_ms() + 20000; !held;) {
        ck_assert_msg(clock_mono_ms() < until, "the sources did not wait");
        rows_in(&c, &held);
    }
    uint64_t at = 0, now = 0;
    int same = 0; /* statistics lag behind */
    for (int64_t until = clock_mono_ms() + 20000; same < 8; same = held && now == at ? same + 1 : 0) {
        ck_assert_msg(clock_mono_ms() < until, "the sources did not stay where they were: %d rows", (int)now);
        at = now;
        now = rows_in(&c, &held);
    }
    cluster_epoch(&c, 0);
    for (int64_t until = clock_mono_ms() + 10000; now <= at; now = rows_in(&c, &held)) ck_assert_msg(clock_mono_ms() < until, "the sources did not go on");
    cluster_epoch(&c, 0);
    cluster_end(&c);
    cluster_stop(&c);
}
END_TEST

START_TEST(another_plan_is_refused) {
    cluster_t c;
    cluster_start(&c, 1, 2, 10);
    ctl_msg_t *m = order_for(&c, CTL_DEPLOY, 0);
    m->attempt = c.attempt = 1;
    m->deploy.spec.name = xstrdup("count");
    m->deploy.spec.parallelism = 2;
    m->deploy.plan_hash = 12345;
    m->deploy.manifest = manifest_new();
    member_tell(&c.m[0], m);
    ctl_msg_t *f = NULL;
    while (!f || f->kind != CTL_FAILED) {
        ctl_free(f);
        f = mailbox_receive(c.m[0].in);
        if (!f) mailbox_wait(c.m[0].in, 100);
    }
    ck_assert_int_eq(err_code(f->error), ERR_VERSION);
    ck_assert(strstr(err_text(f->error), "compiles job 'count' to another plan"));
    ctl_free(f);
    cluster_end(&c);
    cluster_stop(&c);
}
END_TEST

/* Nothing can be made below --data: the worker says so, as a misfortune of its own. When it can again the next attempt runs. */
START_TEST(a_data_directory_that_cannot_be_used_is_the_workers_misfortune_and_not_the_jobs) {
    cluster_t c;
    cluster_start(&c, 1, 2, 10000);
    AUTO(auto_free) char *in_the_way = xprintf("%s/base", c.m[0].dir);
    FILE *f = fopen(in_the_way, "w");
    ck_assert_ptr_nonnull(f);
    fclose(f);
    cluster_order(&c);
    ctl_msg_t *m = await(&c.m[0], CTL_FAILED);
    ck_assert_int_eq(err_code(m->error), ERR_IO);
    AUTO(auto_free) char *named = xprintf("the data directory '%s' cannot be used: %s/", c.m[0].dir, in_the_way);
    ck_assert_msg(strstr(err_text(m->error), named) != NULL, "%s", err_text(m->error));
    ck_assert_uint_eq(m->flags, FAILED_OWN);
    ctl_free(m);
    ck_assert_int_eq(remove(in_the_way), 0);
    cluster_deploy(&c);
    await_ended(&c);
    cluster_epoch(&c, BARRIER_FINAL);
    expect_once(&c, 20000);
    cluster_end(&c);
    cluster_stop(&c);
}
END_TEST

START_TEST(two_workers_on_one_directory_are_refused) {
    cluster_t c;
    cluster_start(&c, 1, 1, 10);
    worker_conf_t conf = member_conf(&c, &c.m[0]);
    worker_t *second;
    ck_fails(worker_start(&conf, &second), ERR_EXISTS, "another worker runs on the data directory");
    cluster_stop(&c);
}
END_TEST

START_TEST(a_worker_leaves_after_its_jobs_were_taken) {
    cluster_t c;
    cluster_start(&c, 1, 1, -1);
    cluster_deploy(&c);
    cluster_epoch(&c, 0);
    worker_leave(c.m[0].w);
    ctl_free(await(&c.m[0], CTL_DRAIN));
    cluster_end(&c);
    ctl_msg_t *bye = ctl_new(CTL_GOODBYE);
    member_tell(&c.m[0], bye);
    for (int i = 0; i < 5000 && !atomic_load(&c.m[0].exited); i++) usleep(1000);
    ck_assert(atomic_load(&c.m[0].exited));
    ck_assert_ptr_null(c.m[0].why);
    cluster_stop(&c);
}
END_TEST

START_TEST(an_idle_job_is_not_busy_and_says_so_when_it_is) {
    cluster_t c;
    cluster_start(&c, 1, 1, 100);
    cluster_deploy(&c);
    await_ended(&c);
    cluster_epoch(&c, 0);
    expect_once(&c, 100);
    cluster_epoch(&c, 0);
    bool busy = true;
    for (int i = 0; i < 100 && busy; i++) {
        ctl_msg_t *h = await(&c.m[0], CTL_HEARTBEAT);
        busy = h->heartbeat.njobs == 0 || h->heartbeat.jobs[0].busy;
        if (!busy) {
            ck_assert_uint_eq(h->heartbeat.jobs[0].ntasks, 2);
            ck_assert_uint_eq(h->heartbeat.jobs[0].tasks[0].rows_in, 100);
            ck_assert(h->heartbeat.rss > 0);
        }
        ctl_free(h);
    }
    ck_assert(!busy);
    buf_t status = buf_make(1 << 20);
    worker_status(c.m[0].w, &status);
    ck_assert(strstr(buf_cstr(&status), "\"worker\":\"w1\""));
    buf_free(&status);
    cluster_end(&c);
    cluster_stop(&c);
}
END_TEST

/* A base is made of complete epochs, named by a manifest, and the next attempt begins with it instead of the changelog. */
START_TEST(a_base_is_made_accepted_and_restored) {
    cluster_t c;
    cluster_start(&c, 2, 2, 30000);
    cluster_deploy(&c);
    cluster_epoch(&c, 0);
    usleep(150000); /* small bases wait for some intervals */
    cluster_epoch(&c, BARRIER_BASE);
    for (int i = 0; i < 2; i++) {
        ctl_msg_t *b = await(&c.m[i], CTL_BASE_DONE);
        ck_assert_uint_eq(b->epoch, 2);
        ck_assert_str_eq(b->base_done.base.worker, c.m[i].name);
        ck_assert_int_gt(b->base_done.base.nfiles, 0);
        c.manifest->bases = xrealloc(c.manifest->bases, (size_t)(c.manifest->nbases + 1) * sizeof(base_t));
        c.manifest->bases[c.manifest->nbases++] = b->base_done.base;
        b->base_done.base = (base_t){0};
        ctl_free(b);
    }
    tell_all(&c, CTL_BASE_ACCEPTED, 2, 0);
    cluster_epoch(&c, 0);
    cluster_deploy(&c);
    await_ended(&c);
    cluster_epoch(&c, BARRIER_FINAL);
    expect_once(&c, 60000);
    cluster_end(&c);
    tell_all(&c, CTL_RELEASE, 0, 0);
    cluster_stop(&c);
}
END_TEST

/* Hazards A1 with a real full disk: the epoch waits, the job says so, and nothing is lost when space returns. */
START_TEST(a_full_disk_makes_the_epoch_wait) {
    cluster_t c;
    cluster_start(&c, 1, 2, 10000);
    cluster_deploy(&c);
    await_ended(&c); /* all of it is in the epoch that finds no space */
    atomic_store(&disk_full, true);
    c.epoch++;
    tell_all(&c, CTL_INJECT, c.epoch, BARRIER_FINAL);
    bool said = false;
    for (int i = 0; i < 200 && !said; i++) {
        ctl_msg_t *h = await(&c.m[0], CTL_HEARTBEAT);
        for (int k = 0; k < h->heartbeat.njobs; k++)
            said = said || (h->heartbeat.jobs[k].waiting && strstr(h->heartbeat.jobs[k].waiting, "no space left"));
        ctl_free(h);
    }
    ck_assert(said);
    atomic_store(&disk_full, false);
    cluster_gather(&c, c.epoch);
    tell_all(&c, CTL_COMPLETE, c.epoch, 0);
    cluster_end(&c);
    cluster_deploy(&c);
    await_ended(&c);
    cluster_epoch(&c, BARRIER_FINAL);
    expect_once(&c, 20000);
    cluster_end(&c);
    cluster_stop(&c);
}
END_TEST

/* One job with an epoch to restore, and storage that makes its restore wait. */
static void restore_slowly(cluster_t *c) {
    cluster_start(c, 1, 1, 10000);
    cluster_deploy(c);
    await_ended(c);
    cluster_epoch(c, 0);
    cluster_end(c);
    c->topic.inits = c->topic.reads = 0;
    let_restores_wait(c);
    cluster_order(c);
    for (int i = 0; i < 5000 && topic_count(&c->topic, &c->topic.reads) < 1; i++) usleep(2000);
    ck_assert_int_eq(topic_count(&c->topic, &c->topic.reads), 1);
}

/* B7: what another job restores must hold back neither the fencing of this one's lanes nor its end. */
START_TEST(B7_no_job_waits_for_the_restore_of_another_to_be_fenced_or_stopped) {
    cluster_t c;
    restore_slowly(&c);
    other_job_t other = other_job(78);
    cluster_switch(&c, &other);
    cluster_order(&c);
    for (int i = 0; i < 5000 && topic_count(&c.topic, &c.topic.reads) < 2; i++) usleep(2000);
    ck_assert_int_eq(topic_count(&c.topic, &c.topic.reads), 2); /* fenced, and its ledger read */
    tell_all(&c, CTL_STOP, 0, 0);
    ctl_msg_t *stopped = await(&c.m[0], CTL_STOPPED);
    ck_assert_uint_eq(stopped->job, 78);
    ck_assert(atomic_load(&disk_slow));
    ctl_free(stopped);
    cluster_order(&c); /* and once more, before anything of it was begun */
    tell_all(&c, CTL_STOP, 0, 0);
    ctl_free(await(&c.m[0], CTL_STOPPED));
    ck_assert(atomic_load(&disk_slow));
    cluster_switch(&c, &other);
    atomic_store(&disk_slow, false);
    ctl_free(await(&c.m[0], CTL_DEPLOYED));
    tell_all(&c, CTL_START, 0, 0);
    cluster_end(&c);
    manifest_free(other.manifest);
    cluster_stop(&c);
}
END_TEST

/* B9: without a coordinator nobody knows who owns a lane. One that is in doubt while its job is still being restored takes no producer anew .. */
START_TEST(B9_a_lane_in_doubt_during_a_restore_waits_for_the_coordinator) {
    cluster_t c;
    cluster_start(&c, 1, 1, 10000);
    cluster_deploy(&c);
    await_ended(&c);
    cluster_epoch(&c, 0);
    cluster_end(&c);
    c.topic.inits = c.topic.reads = 0;
    c.topic.mute_reads = true;
    let_restores_wait(&c);
    cluster_order(&c);
    for (int i = 0; i < 5000 && topic_count(&c.topic, &c.topic.reads) < 1; i++) usleep(2000);
    unlink_worker(&c);
    welcome_worker(&c); /* it speaks to a coordinator again, which has not said that this attempt is its job's */
    topic_say(&c.topic, (lane_answer_t){.kind = LANE_ANSWER_DOUBT, .error = err_new(ERR_TIMEOUT, "no answer")});
    usleep(200000);
    ck_assert_int_eq(topic_count(&c.topic, &c.topic.inits), 1);
    c.topic.mute_reads = false;
    atomic_store(&disk_slow, false);
    ctl_free(await(&c.m[0], CTL_DEPLOYED));
    ck_assert_int_eq(topic_count(&c.topic, &c.topic.inits), 1);
    tell_all(&c, CTL_START, 0, 0);
    expect_once(&c, 10000);
    ck_assert_int_eq(topic_count(&c.topic, &c.topic.inits), 2);
    cluster_end(&c);
    cluster_stop(&c);
}
END_TEST

/* .. and one whose coordinator was lost while the job was compiled takes none at all. */
START_TEST(B9_a_lane_whose_coordinator_was_lost_before_it_was_known_is_not_fenced) {
    cluster_t c;
    cluster_start(&c, 1, 1, 10000);
    atomic_store(&compiler_slow, true);
    cluster_order(&c);
    usleep(50000);
    unlink_worker(&c);
    welcome_worker(&c);
    atomic_store(&compiler_slow, false);
    ctl_free(await(&c.m[0], CTL_DEPLOYED));
    usleep(100000);
    ck_assert_int_eq(topic_count(&c.topic, &c.topic.inits), 0);
    tell_all(&c, CTL_START, 0, 0);
    await_ended(&c);
    cluster_epoch(&c, BARRIER_FINAL);
    expect_once(&c, 10000);
    cluster_end(&c);
    cluster_stop(&c);
}
END_TEST

/* Until puts are fast again. A small base waits for some intervals, and one that was made a moment ago is not made again. */
static void base_hangs(cluster_t *c) {
    atomic_store(&puts_slow, true);
    for (int64_t until = clock_mono_ms() + 20000; !atomic_load(&puts_waiting);) {
        ck_assert_msg(clock_mono_ms() < until, "no base is made");
        cluster_epoch(c, BARRIER_BASE);
        usleep(20000);
    }
}

/* The base of one job is uploaded for minutes: another's end does not wait for it. */
START_TEST(no_job_waits_for_the_base_of_another_to_be_stopped) {
    cluster_t c;
    cluster_start(&c, 1, 1, -1);
    cluster_deploy(&c);
    other_job_t other = other_job(78);
    cluster_switch(&c, &other);
    cluster_deploy(&c);
    cluster_switch(&c, &other);
    cluster_epoch(&c, 0);
    base_hangs(&c);
    cluster_switch(&c, &other);
    tell_all(&c, CTL_STOP, 0, 0);
    ctl_msg_t *stopped = await(&c.m[0], CTL_STOPPED);
    ck_assert_uint_eq(stopped->job, 78);
    ck_assert(atomic_load(&puts_slow));
    ctl_free(stopped);
    cluster_switch(&c, &other);
    atomic_store(&puts_slow, false);
    ctl_free(await(&c.m[0], CTL_BASE_DONE)); /* it was under way all the time */
    cluster_end(&c);
    manifest_free(other.manifest);
    cluster_stop(&c);
}
END_TEST

/* Files of the last epoch may be whole only here: until an older one is the last, which START says, they stay. */
START_TEST(A4_copies_of_the_last_epoch_stay_while_an_older_one_is_restored) {
    cluster_t c;
    cluster_start(&c, 1, 1, /* no rows: the ledger knows of no epoch */ 0);
    cluster_deploy(&c);
    cluster_epoch(&c, 0);
    cluster_end(&c);
    ck_assert_int_eq(c.manifest->nextents, 1);
    AUTO(auto_free) char *copy = xprintf("%s/kept/%s", c.m[0].dir, c.manifest->extents[0].path);
    other_job_t older = other_job(77);
    manifest_free(c.manifest);
    c.manifest = older.manifest;
    cluster_order(&c);
    ctl_free(await(&c.m[0], CTL_DEPLOYED));
    ck_assert_int_eq(access(copy, F_OK), 0);
    tell_all(&c, CTL_START, 0, 0);
    for (int i = 0; i < 5000 && access(copy, F_OK) == 0; i++) usleep(1000);
    ck_assert_int_ne(access(copy, F_OK), 0);
    cluster_end(&c);
    cluster_stop(&c);
}
END_TEST

static bool there(const cluster_t *c, const char *kind, job_id_t job, const char *more) {
    AUTO(auto_free) char *path = xprintf("%s/%s/%016" PRIx64 "%s", c->m[0].dir, kind, job, more);
    return access(path, F_OK) == 0;
}

/* A release that comes late, for an attempt that is over, takes no files from the one that runs. Its own takes them all. */
START_TEST(a_late_release_takes_nothing_from_a_later_attempt) {
    cluster_t c;
    cluster_start(&c, 1, 1, -1);
    cluster_deploy(&c);
    other_job_t other = other_job(78);
    cluster_switch(&c, &other);
    cluster_deploy(&c);
    cluster_epoch(&c, 0);
    cluster_end(&c);
    cluster_switch(&c, &other);
    cluster_epoch(&c, 0);
    base_hangs(&c); /* what its thread is told stays undone */
    cluster_switch(&c, &other);
    ck_assert(there(&c, "kept/jobs", 78, ""));
    tell_all(&c, CTL_RELEASE, 0, 0);
    pthread_mutex_lock(&c.topic.lock);
    c.topic.ledger[0] = (ledger_pos_t){0}; /* the other job has written it */
    pthread_mutex_unlock(&c.topic.lock);
    cluster_deploy(&c);
    ck_assert(there(&c, "base", 78, "/2"));
    atomic_store(&puts_slow, false);
    ctl_free(await(&c.m[0], CTL_BASE_DONE));
    usleep(200000); /* now it is done */
    ck_assert(there(&c, "base", 78, "/2"));
    cluster_epoch(&c, 0);
    cluster_end(&c);
    tell_all(&c, CTL_RELEASE, 0, 0);
    for (int i = 0; i < 5000 && (there(&c, "base", 78, "") || there(&c, "kept/jobs", 78, "")); i++) usleep(1000);
    ck_assert(!there(&c, "base", 78, "") && !there(&c, "kept/jobs", 78, ""));
    cluster_switch(&c, &other);
    cluster_end(&c);
    manifest_free(other.manifest);
    cluster_stop(&c);
}
END_TEST

/* The process goes, and says why and on which lane; then the lane closes, or this process would go, too. */
static void expect_exit(cluster_t *c, const char *why) {
    for (int i = 0; i < 20000 && !atomic_load(&c->m[0].exited); i++) usleep(1000);
    ck_assert(atomic_load(&c->m[0].exited));
    ck_assert_msg(strstr(err_text(c->m[0].why), "lane 0 of sink results (") != NULL, "%s", err_text(c->m[0].why));
    ck_assert_msg(strstr(err_text(c->m[0].why), why) != NULL, "%s", err_text(c->m[0].why));
    topic_say(&c->topic, (lane_answer_t){.kind = LANE_ANSWER_CLOSED});
}

/* B5 outside of slots: a lane that does not close. The worker says so, and when the coordinator sends it away the process goes and the reason names
 * the lane .. */
START_TEST(B5_an_end_that_hangs_is_named_and_ends_the_process) {
    cluster_t c;
    cluster_start(&c, 1, 1, -1);
    cluster_deploy(&c);
    cluster_epoch(&c, 0);
    c.topic.mute_closes = true;
    tell_all(&c, CTL_STOP, 0, 0);
    bool said = false;
    for (int i = 0; i < 200 && !said; i++) {
        ctl_msg_t *h = await(&c.m[0], CTL_HEARTBEAT);
        for (int k = 0; k < h->heartbeat.njobs; k++)
            said = said || (h->heartbeat.jobs[k].waiting && strstr(h->heartbeat.jobs[k].waiting, "lane 0 of sink results (") == h->heartbeat.jobs[k].waiting);
        ctl_free(h);
    }
    ck_assert(said);
    ck_assert(!atomic_load(&c.m[0].exited));
    ctl_msg_t *bye = ctl_new(CTL_GOODBYE);
    bye->flags = GOODBYE_EXIT;
    bye->error = err_new(ERR_TIMEOUT, "worker w1 did not stop job 77 within 5000 ms");
    member_tell(&c.m[0], bye);
    expect_exit(&c, "did not stop job 77");
    cluster_stop(&c);
}
END_TEST

/* .. or at the latest when its own time is over, whoever is there. */
START_TEST(B5_an_end_that_hangs_ends_the_process_when_its_own_time_is_over) {
    cluster_t c;
    cluster_start_with(&c, 1, 1, -1, 3000);
    cluster_deploy(&c);
    cluster_epoch(&c, 0);
    c.topic.mute_closes = true;
    tell_all(&c, CTL_STOP, 0, 0);
    expect_exit(&c, "attempt 1 of job 77 has not ended within ");
    int said = 0; /* how long it really was: a process that was not let run looks later */
    ck_assert_int_eq(sscanf(strstr(err_text(c.m[0].why), "not ended within "), "not ended within %d s", &said), 1);
    ck_assert_int_ge(said, 3);
    cluster_stop(&c);
}
END_TEST

static char *waiting_of(cluster_t *c, int i) {
    ctl_msg_t *h = await(&c->m[i], CTL_HEARTBEAT);
    char *text = h->heartbeat.njobs && h->heartbeat.jobs[0].waiting ? xstrdup(h->heartbeat.jobs[0].waiting) : NULL;
    ctl_free(h);
    return text;
}

/* B1: what is not published has an eighth of the worker's memory; barriers pass meanwhile, also those of a new attempt that restored it. */
START_TEST(B1_sources_wait_while_output_fills_its_share_of_memory_and_go_on_when_it_is_published) {
    cluster_t c;
    worker_memory = 32 << 20;
    cluster_start(&c, 1, 2, -1); /* without end: 32 rows a millisecond */
    worker_memory = 256 << 20;
    sink_width = 500;
    c.topic.hold = true;
    cluster_deploy(&c);
    AUTO(auto_free) char *said = NULL;
    for (int i = 0; i < 500 && !(said && strstr(said, "its share of --memory is 4 MB: sources wait")); i++) {
        cluster_epoch(&c, 0);
        free(said);
        said = waiting_of(&c, 0);
    }
    ck_assert_msg(said && strstr(said, "MB wait to be published, its share of --memory is 4 MB"), "%s", said ? said : "nothing is said");
    cluster_epoch(&c, 0); /* what was on its way */
    ck_assert_uint_eq(cluster_epoch(&c, 0), 0);
    cluster_end(&c);
    cluster_deploy(&c); /* what was restored counts as well */
    cluster_epoch(&c, 0);
    ck_assert_uint_eq(cluster_epoch(&c, 0), 0);
    cluster_end(&c);
    pthread_mutex_lock(&c.topic.lock);
    c.topic.hold = false;
    pthread_mutex_unlock(&c.topic.lock);
    cluster_deploy(&c);
    uint64_t more = 0, all = 0;
    for (int i = 0; i < 500 && !more; i++) more = cluster_epoch(&c, 0);
    ck_assert_uint_gt(more, 0);
    cluster_epoch(&c, BARRIER_FINAL);
    sink_width = 8;
    const source_pos_t *pos = manifest_source(c.manifest, 11);
    for (int k = 0; k < 2; k++) all += (uint64_t)pos->splits.items[k].position;
    await_records(&c, all);
    for (int k = 0; k < 2; k++)
        for (int64_t v = atoi(pos->splits.items[k].id); v < MIN(2 * pos->splits.items[k].position, (int64_t)TOPIC_MAX); v += 2)
            ck_assert_msg(c.topic.seen[v] == 1, "%d published %d times", (int)v, c.topic.seen[v]);
    cluster_end(&c);
    cluster_stop(&c);
}
END_TEST

TESTS("worker/driver", a_lane_whose_commit_hangs_is_said_after_a_second, B1_sources_wait_while_output_fills_its_share_of_memory_and_go_on_when_it_is_published,
      A4_copies_of_the_last_epoch_stay_while_an_older_one_is_restored,
      a_late_release_takes_nothing_from_a_later_attempt, B7_no_job_waits_for_the_restore_of_another_to_be_fenced_or_stopped,
      B9_a_lane_in_doubt_during_a_restore_waits_for_the_coordinator,
      B9_a_lane_whose_coordinator_was_lost_before_it_was_known_is_not_fenced, no_job_waits_for_the_base_of_another_to_be_stopped,
      B5_an_end_that_hangs_is_named_and_ends_the_process,
      B5_an_end_that_hangs_ends_the_process_when_its_own_time_is_over, a_base_is_made_accepted_and_restored, a_full_disk_makes_the_epoch_wait,
      one_worker_runs_a_job_to_its_end, sinks_are_restored_after_the_final_epoch_and_nothing_runs, two_workers_exchange_rows_and_agree_on_epochs,
      a_new_attempt_goes_on_from_the_manifest_and_publishes_nothing_twice, output_of_a_complete_epoch_is_published_by_the_next_attempt,
      lanes_are_fenced_while_the_state_is_restored_and_publish_after_start,
      a_dead_peer_fails_the_attempt_with_its_name, a_lost_coordinator_leaves_the_job_running, another_plan_is_refused,
      sources_wait_when_no_epoch_begins_and_the_next_barrier_lets_them_go_on,
      two_workers_on_one_directory_are_refused, a_data_directory_that_cannot_be_used_is_the_workers_misfortune_and_not_the_jobs,
      a_worker_leaves_after_its_jobs_were_taken, an_idle_job_is_not_busy_and_says_so_when_it_is)
