/* test_driver.c: real workers with real threads, tasks, files and sockets; the test plays the coordinator. */
#include "tests/worker/cluster.h"

START_TEST(one_worker_runs_a_job_to_its_end) {
    cluster_t c;
    cluster_start(&c, 1, 2, 5000);
    cluster_deploy(&c);
    ctl_free(await(&c.m[0], CTL_ENDED));
    cluster_epoch(&c, BARRIER_FINAL);
    expect_once(&c, 10000);
    cluster_end(&c);
    cluster_stop(&c);
}
END_TEST

TESTS("worker/driver", one_worker_runs_a_job_to_its_end)
