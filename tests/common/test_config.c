/* config: one table, four origins, and errors that name theirs. */
#include "common/config.h"
#include "tests/helpers/test.h"
#include <stdio.h>
#include <unistd.h>

static config_t *load(command_t cmd, char **env, int n, char **argv) {
    config_t *c = NULL;
    bool help;
    ck_ok(config_load(cmd, n, argv, env, &c, &help));
    ck_assert(!help);
    return c;
}

START_TEST(flags_beat_environment_beats_file_beats_default) {
    char path[] = "/tmp/tidegate-config-XXXXXX";
    int fd = mkstemp(path);
    static const char text[] = "# shared by all daemons\nslots = 7\nmemory=64M\n  heartbeat = 1s \n";
    ck_assert_int_eq(write(fd, text, sizeof text - 1), sizeof text - 1);
    close(fd);
    config_t *c = load(CMD_WORKER, (char *[]){"TIDEGATE_MEMORY=1G", "TIDEGATE_DATA=/d", NULL}, 4, (char *[]){"--config", path, "--data", "/flag"});
    ck_assert_int_eq(config_i64(c, "slots"), 7);
    ck_assert_int_eq(config_i64(c, "memory"), 1 << 30);
    ck_assert_str_eq(config_str(c, "data"), "/flag");
    ck_assert_str_eq(config_str(c, "listen"), "127.0.0.1:0");
    config_free(c);
    unlink(path);
}
END_TEST

START_TEST(pairs_and_arguments) {
    config_t *c = load(CMD_RUN, NULL, 6, (char *[]){"--set", "a=b=c", "--param=X=1", "job.sql", "--fresh", "--slots=3"});
    const char *const *k, *const *v, *const *args;
    ck_assert_int_eq(config_pairs(c, "set", &k, &v), 1);
    ck_assert_str_eq(k[0], "a");
    ck_assert_str_eq(v[0], "b=c");
    ck_assert_int_eq(config_pairs(c, "param", &k, &v), 1);
    ck_assert_str_eq(k[0], "X");
    ck_assert_int_eq(config_args(c, &args), 1);
    ck_assert_str_eq(args[0], "job.sql");
    ck_assert(config_flag(c, "fresh") && !config_flag(c, "quiet"));
    config_free(c);
}
END_TEST

START_TEST(errors_name_their_origin) {
    config_t *c;
    bool help;
    ck_fails(config_load(CMD_WORKER, 1, (char *[]){"--slotz=3"}, NULL, &c, &help), ERR_INVALID, "--slotz=3");
    ck_fails(config_load(CMD_WORKER, 1, (char *[]){"--slots=x"}, NULL, &c, &help), ERR_INVALID, "--slots: 'x'");
    ck_fails(config_load(CMD_WORKER, 1, (char *[]){"--slots"}, NULL, &c, &help), ERR_INVALID, "needs a value");
    ck_fails(config_load(CMD_WORKER, 1, (char *[]){"--slots=4294967298"}, NULL, &c, &help), ERR_INVALID, "is more than 1024");
    ck_fails(config_load(CMD_WORKER, 1, (char *[]){"--slots=-1"}, NULL, &c, &help), ERR_INVALID, "is not a whole number");
    ck_fails(config_load(CMD_WORKER, 0, NULL, (char *[]){"TIDEGATE_MEMORY=many", NULL}, &c, &help), ERR_INVALID, "TIDEGATE_MEMORY");
    ck_fails(config_load(CMD_RUN, 0, NULL, NULL, &c, &help), ERR_INVALID, "takes FILE");
    ck_fails(config_load(CMD_RUN, 3, (char *[]){"a.sql", "--param", "novalue"}, NULL, &c, &help), ERR_INVALID, "NAME=VALUE");
}
END_TEST

static void hints(command_t cmd, char *flag, const char *hint) {
    config_t *c;
    bool help;
    AUTO(err_freep) err_t *e = config_load(cmd, 1, (char *[]){flag}, NULL, &c, &help);
    ck_assert_msg(strstr(err_text(e), flag) && !strncmp(err_hint_text(e), hint, strlen(hint)), "%s: %s", err_text(e), err_hint_text(e));
}

START_TEST(an_unknown_option_gets_the_near_one_of_its_command_or_all_of_them) {
    hints(CMD_RUN, "--paralelism", "did you mean --parallelism?");
    hints(CMD_RUN, "--parallelsim=4", "did you mean --parallelism?");
    hints(CMD_WORKER, "--paralelism", "known: --coordinator, "); /* a worker has none */
    hints(CMD_JOBS, "--verbose", "known: --coordinator, ");
}
END_TEST

START_TEST(help_lists_every_option_of_the_command) {
    buf_t b = buf_make(0);
    config_help(&b, CMD_WORKER);
    ck_assert(strstr(buf_cstr(&b), "--memory SIZE") && strstr(buf_cstr(&b), "[512M]") && !strstr(buf_cstr(&b), "--etcd"));
    buf_free(&b);
}
END_TEST

TESTS("config", flags_beat_environment_beats_file_beats_default, pairs_and_arguments, errors_name_their_origin,
      an_unknown_option_gets_the_near_one_of_its_command_or_all_of_them, help_lists_every_option_of_the_command)
