#include "cli/cli.h"
#include "common/clock.h"
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

int signals_open(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_DFL); /* a shell starts what it puts into the background with SIGINT ignored */
    signal(SIGTERM, SIG_DFL);
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    ASSERT(fd >= 0);
    return fd;
}

/* timeout(1) and shells signal a process and then its group: the echo of a signal is not the second one that means "at once". */
#define ECHO_MS 300

int signals_wait_or(int fd, int other, int timeout_ms) {
    static int64_t last_ms;
    static int last;
    struct pollfd p[] = {{.fd = fd, .events = POLLIN}, {.fd = other, .events = POLLIN}};
    struct signalfd_siginfo info;
    if (poll(p, ARRAY_LEN(p), timeout_ms) <= 0 || !p[0].revents || read(fd, &info, sizeof info) != (ssize_t)sizeof info) return 0;
    int signal = (int)info.ssi_signo;
    int64_t now = clock_mono_ms();
    bool echo = signal == last && now - last_ms < ECHO_MS;
    last = signal;
    last_ms = now;
    return echo ? 0 : signal;
}

int signals_wait(int fd, int timeout_ms) { return signals_wait_or(fd, -1, timeout_ms); }

void signals_kill_next(int fd, int64_t first_ms) {
    int second = 0;
    for (int64_t left; !second && (left = first_ms + ECHO_MS - clock_mono_ms()) > 0;) second = signals_wait(fd, (int)left);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL); /* of this thread: the kernel finds it, whatever the others do */
    if (second) raise(second);
}
