#!/usr/bin/env python3
"""run.py [-j N] [NAME-PART ...]: runs the integration tests (functions test_* of the test_*.py beside this file), each in a process of its
own, N at a time (4 on two cores, as they mostly wait; 3 of an instrumented build), the long ones first. Prints what each said in one piece when it
has ended, then "integration: N passed, N failed"; exit status 1 when one failed.

A test is `alone` (function attribute) when it measures: these run first, with nothing beside them. The tests of a module with SHARED = True
use one cluster and run one after another in one process. `limit` (function attribute): seconds for the test, scaled by TIDEGATE_SLOW;
`load`: in the place of how many others it runs, for those that keep a core busy."""
import glob, importlib, os, signal, subprocess, sys, tempfile, time, traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import harness  # noqa: E402

LIMIT = 240
# Those that take long, in seconds; of the others none is late enough to matter. Only the order depends on it.
LONG = {'cluster.test_six_kills_in_a_minute': 95, 'bad_input': 50, 'kafka_cluster': 50, 'kafka_days': 50,
        'cluster.test_a_kill_inside_a_transaction_costs_no_more_than_another': 45, 'bad_days.test_broker_outage_with_output_piling_up': 40,
        'cluster.test_standby_takes_over_from_a_stopped_leader_and_the_workers_follow': 36,
        'cluster.test_standby_takes_over_from_a_killed_leader_in_less_than_a_second': 36,
        'memory.test_kills_while_groups_are_evicted_ahead_of_the_base_lose_and_double_none': 40,
        'recovery.test_a_step_that_never_returns_ends_its_process': 27, 'cluster.test_stateless_and_upsert_jobs_beside_each_other': 25,
        'cluster.test_stop_and_go_on_from_the_savepoint': 25,
        'savepoints.test_long_lists_go_on_from_a_savepoint_with_another_parallelism': 30,
        'local_base.test_a_small_file_system_below_data_holds_evicted_groups_up_until_it_is_larger': 30,
        'savepoints.test_stop_and_savepoint_at_full_rate_and_on_from_there_with_two_sinks': 35, 'bad_days.test_disk_full_during_checkpoints': 23,
        'cluster.test_job_runs_on_with_the_workers_that_are_left': 21, 'cluster.test_windows_reach_kafka_exactly_once': 20,
        'run.test_the_demo_shows_results_at_once_and_ends_by_itself_with_every_order_counted': 20, 'kafka.test_certificates': 19,
        'ends.test_a_stop_and_a_cancel_name_the_lane_that_has_not_published': 19, 'kafka.test_a_broker_outage_is_waited_for_and_said': 19,
        'bad_days.test_zombie_worker_is_fenced_and_comes_back': 18, 'bad_days.test_a_clock_that_jumps_back_repeats_no_window_and_loses_no_row': 18,
        'bad_days.test_etcd_is_away_for_a_while': 16, 'local_base.test_a_full_disk_below_data_is_waited_for_and_said': 70,
        'local_base.test_a_local_base_that_is_damaged_and_a_data_directory_that_vanishes_cost_attempts_and_no_row': 55}


class TimedOut(BaseException):  # no `except Exception` of a test takes it for its own
    pass


def on_signal(signum, frame):
    raise TimedOut('the test passed its time limit' if signum == signal.SIGALRM else 'the run was ended')


def tests(wanted):
    """[(module, name, function)]; `wanted`: parts of names, all when empty"""
    found = []
    for path in sorted(glob.glob(os.path.join(HERE, 'test_*.py'))):
        module = importlib.import_module(os.path.basename(path)[:-3])
        for name, fn in vars(module).items():
            full = module.__name__[5:] + '.' + name
            if name.startswith('test_') and callable(fn) and fn.__module__ == module.__name__ and (not wanted or any(w in full for w in wanted)):
                found.append((module, full, fn))
    return found


def limit(fn):
    return int(getattr(fn, 'limit', LIMIT) * harness.SLOW)


# ---------------------------------------------------------------- in a test's process

def run_here(names):
    """Runs these tests one after another; the status says nothing, the lines do."""
    chosen = [t for t in tests(names) if t[1] in names]
    signal.signal(signal.SIGALRM, on_signal)
    signal.signal(signal.SIGTERM, on_signal)
    for module, full, fn in chosen:
        start = time.monotonic()
        signal.alarm(limit(fn))
        try:
            fn()
            signal.alarm(0)
            print(f'{full}: ok, {time.monotonic() - start:.1f} s', flush=True)
        except BaseException as e:
            signal.alarm(0)
            traceback.print_exc(file=sys.stdout)
            print(f'{full}: FAILED after {time.monotonic() - start:.1f} s: {e}', flush=True)
            if isinstance(e, (KeyboardInterrupt, TimedOut)) and str(e) != 'the test passed its time limit':
                break
    for module in {m.__name__: m for m, _, _ in chosen}.values():
        if hasattr(module, 'finish'):  # what its tests shared
            module.finish()


# ---------------------------------------------------------------- the runner

class Unit:
    """Tests that run one after another in one process."""

    def __init__(self, members):
        self.names = [full for _, full, _ in members]
        self.alone = any(getattr(fn, 'alone', False) for _, _, fn in members)
        self.limit = sum(limit(fn) for _, _, fn in members) + 60 * harness.SLOW
        self.load = max(getattr(fn, 'load', 1) for _, _, fn in members)
        module = members[0][0]
        self.seconds = LONG.get(module.__name__[5:] if getattr(module, 'SHARED', False) else self.names[0], 0)
        self.process = None

    def start(self):
        self.out = tempfile.TemporaryFile()
        self.begin = time.monotonic()
        self.process = subprocess.Popen([sys.executable, '-u', os.path.abspath(__file__), '--here', *self.names], stdin=subprocess.DEVNULL,
                                        stdout=self.out, stderr=subprocess.STDOUT, start_new_session=True)

    def ended(self):
        if self.process.poll() is None and time.monotonic() - self.begin > self.limit:
            self.end(signal.SIGTERM if time.monotonic() - self.begin < self.limit + 60 else signal.SIGKILL)
        return self.process.poll() is not None

    def end(self, sig):
        try:
            os.killpg(self.process.pid, sig)
        except OSError:
            pass

    def report(self):
        """Prints what the process said; (passed, failed). A test without a verdict has failed."""
        self.out.seek(0)
        text = self.out.read().decode(errors='replace')
        print(text, end='' if text.endswith('\n') or not text else '\n', flush=True)
        passed = 0
        for name in self.names:
            if any(line.startswith(name + ': ok,') for line in text.splitlines()):
                passed += 1
            elif name + ': FAILED' not in text:
                print(f'{name}: FAILED: its process ended with {self.process.returncode} and gave no verdict', flush=True)
        if self.process.returncode and passed == len(self.names):  # what they shared did not end well
            print(f'{self.names[-1]}: FAILED: its process ended with {self.process.returncode}', flush=True)
            passed -= 1
        return passed, len(self.names) - passed


def units(wanted):
    shared, single = {}, []
    for t in tests(wanted):
        if getattr(t[0], 'SHARED', False):
            shared.setdefault(t[0].__name__, []).append(t)
        else:
            single.append(Unit([t]))
    # long ones first, so that no core waits for a late one
    found = sorted([Unit(m) for m in shared.values()] + single, key=lambda u: (not u.alone, -u.seconds))
    gone = set(LONG) - {u.names[0] for u in found} - {name[5:] for name in shared}
    if gone and not wanted:
        raise SystemExit(f'run.py: LONG names what is no test: {sorted(gone)}')
    return found


def next_of(waiting, running, jobs):
    """The first of those that wait that may run beside those that run."""
    if any(u.alone for u in running) or not waiting or (waiting[0].alone and running):
        return None
    room = jobs - sum(u.load for u in running)
    return next((u for u in waiting if u.load <= room or not running), None)


def main(args):
    cores = os.cpu_count() or 2
    jobs = cores + 1 if harness.SLOW > 1 else 2 * cores
    if args[:1] == ['--here']:
        return run_here(args[1:])
    if args[:1] == ['-j']:
        jobs, args = int(args[1]), args[2:]
    start, passed, failed = time.monotonic(), 0, 0
    waiting, running = units(args), []
    signal.signal(signal.SIGTERM, on_signal)
    try:
        while waiting or running:
            while u := next_of(waiting, running, jobs):
                waiting.remove(u)
                running.append(u)
                u.start()
            time.sleep(0.05)
            for u in [u for u in running if u.ended()]:
                running.remove(u)
                p, f = u.report()
                passed, failed = passed + p, failed + f
    finally:
        for u in running:  # interrupted: they take their brokers and workers along
            u.end(signal.SIGTERM)
        for u in running:
            try:
                u.process.wait(60)
            except subprocess.TimeoutExpired:
                u.end(signal.SIGKILL)
    print(f'{time.monotonic() - start:.0f} s, {jobs} at a time')
    print(f'integration: {passed} passed, {failed} failed')
    if passed + failed == 0:
        print('integration: no test matched', file=sys.stderr)
    return 1 if failed or passed == 0 else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
