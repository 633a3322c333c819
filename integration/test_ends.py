"""How jobs end, on real processes: whatever fails on the way, the state of a job can be reached by a command, and who waits hears for what."""
import collections, os, shutil, signal, subprocess, time
from harness import Cluster, Failure, free_port, wait_for
from test_kafka import check, contains, copy_job, ids, put, table, values

FLOW = ("CREATE TABLE i (a BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '200');\n"
        "CREATE TABLE o (k BIGINT, n BIGINT) WITH ('connector' = 'blackhole');\nINSERT INTO o SELECT a % 10, COUNT(*) FROM i GROUP BY a % 10;")


def fails(c, status, *args, says=()):
    r = c.cli(*args, ok=False)
    if r.returncode != status:
        raise Failure(f'{" ".join(map(str, args))}: exit {r.returncode}, not {status}: {r.stderr.decode()}')
    contains(' '.join(map(str, args)), r.stderr.decode(), *says)


def ends_as(c, job, state, seconds=40):
    return wait_for(state, lambda: (d := c.job(job)['job'])['state'] == state and d, seconds)


def runs(c, job):
    doc = c.job(job)['job']
    check('state', doc['state'], 'RUNNING')
    wait_for('epochs', lambda: c.job(job)['job']['epoch'] > doc['epoch'])


def small(c, kafka=False, args=()):
    if kafka:
        c.kafka()
    c.coordinator(etcd=False, args=args)
    c.worker(1, slots=4)
    c.workers_ready(1)


def test_a_target_that_cannot_be_used_is_refused_and_the_job_runs_on():
    with Cluster('target') as c:
        small(c)
        job = c.submit(FLOW, 'flow', parallelism=1)
        open(c.path('file'), 'w').close()
        used, fresh = 'file://' + c.path('used'), 'file://' + c.path('fresh')
        check('the savepoint', c.cli('savepoint', job, '--to', used).stdout.decode().strip(), used)
        for command in 'stop', 'savepoint':
            fails(c, 3, command, job, '--to', 'file://' + c.path('file/savepoint'), says=('Not a directory',))
            fails(c, 2, command, job, '--to', 's3://bucket/savepoint', says=('s3://bucket/savepoint', 'file:///path'))
            fails(c, 3, command, job, '--to', used, says=('another savepoint lies there', 'a directory of its own'))
        runs(c, job)
        fails(c, 2, 'forget', job, says=('stop or cancel it first',))
        check('the savepoint', c.cli('stop', job, '--to', fresh).stdout.decode().strip(), fresh)
        ends_as(c, job, 'STOPPED')
        fails(c, 2, 'resume', job, says=('submit --from ' + fresh,))
        again = c.submit(FLOW, 'flow', 1, ['--from', fresh])
        runs(c, again)
        check('forget', c.cli('forget', job).stdout.decode().strip(), 'forgotten')
        fails(c, 3, 'job', job, says=('there is no job',))
        wait_for('the end of its directory', lambda: not files_below(c.path(f'checkpoints/jobs/{int(job):016x}')))
        runs(c, again)
        c.cli('cancel', again)
        c.cli('forget', again)
        wait_for('the end of all files', lambda: not files_below(c.path('checkpoints/jobs')))


def files_below(path):
    return [f for _, _, files in os.walk(path) for f in files]


def test_a_stop_that_can_copy_its_savepoint_nowhere_keeps_the_state():
    with Cluster('stranded') as c:
        full = c.small_disk('full', '8k')
        small(c, kafka=True)
        for topic in 't', 'o':
            c.topic(topic, 1)

        def rows(first, end):
            put(c, 't', 0, *ids(first, end))
            wait_for(f'{end} rows', lambda: len(c.dump('o')) >= end, 40)
            check('rows', collections.Counter(v['id'] for v in values(c, 'o')), collections.Counter(range(end)))

        job = c.submit(copy_job(c), parallelism=1)
        rows(0, 10)
        below = c.path('checkpoints/savepoints')
        open(below, 'w').close()  # in the way
        fails(c, 3, 'stop', job, '--to', f'file://{full}/one', says=(f'job {job} is STOPPED, but: savepoint savepoints/', 'its state is kept', 'tidegate resume'))
        check('holds state', c.job(job)['job']['holds_state'], True)
        contains('its job', c.cli('job', job).stdout.decode(), 'holds the only copy of its state', 'No space left on device')
        c.procs['coordinator'].kill()
        c.coordinator(etcd=False)
        wait_for('the coordinator leads', lambda: c.job(job)['job']['holds_state'])
        fails(c, 3, 'savepoint', job, says=('savepoints/',))
        wait_for('the worker', lambda: any(w['state'] == 'live' for w in c.json('workers')['workers']))
        c.cli('resume', job)
        rows(10, 20)  # behind what it had read, and none of that again
        os.remove(below)
        fails(c, 1, 'stop', job, '--to', f'file://{full}/two', says=('No space left on device',))  # found out beforehand now
        check('state', c.job(job)['job']['state'], 'RUNNING')
        shutil.rmtree(f'{full}/one')
        r = c.cli('stop', job, '--to', f'file://{full}/two')
        contains('stop', r.stderr.decode(), 'is not where it was to go', 'No space left on device')
        where = r.stdout.decode().strip()
        contains('the savepoint', where, 'savepoints/' + job)
        job = c.submit(copy_job(c), 'again', 1, ['--from', where])
        rows(20, 30)
        os.rename(c.path('checkpoints/savepoints'), c.path('old'))
        open(below, 'w').close()
        fails(c, 3, 'stop', job, says=('its state is kept',))
        os.remove(below)
        where = c.cli('savepoint', job).stdout.decode().strip()  # of the job that is over
        check('holds state', c.job(job)['job'].get('holds_state', False), False)
        job = c.submit(copy_job(c), 'once-more', 1, ['--from', where])
        rows(30, 40)
        c.cli('cancel', job)


def test_the_target_of_a_stop_survives_the_coordinator():
    with Cluster('stop-target') as c:
        small(c)
        job = c.submit(FLOW, 'flow', parallelism=1)
        runs(c, job)
        name = c.json('workers')['workers'][0]['name']
        c.procs['w1'].signal(signal.SIGSTOP)
        target = 'file://' + c.path('at-stop')
        began = time.monotonic()
        fails(c, 5, 'stop', job, '--to', target, '--timeout', '3s', says=(f'job {job} has not ended', f'is not acknowledged by {name}', 'it goes on'))
        if time.monotonic() - began < 2.5:
            raise Failure('the client did not wait as long as it was told')
        contains('its job', c.cli('job', job).stdout.decode(), 'waits for: ', name)
        c.procs['coordinator'].kill()
        c.procs['w1'].signal(signal.SIGCONT)
        c.coordinator(etcd=False)
        doc = ends_as(c, job, 'STOPPED')
        check('the savepoint', doc['savepoint'], target)
        again = c.submit(FLOW, 'flow', 1, ['--from', target])
        runs(c, again)
        c.cli('cancel', again)


def test_a_stop_and_a_cancel_name_the_lane_that_has_not_published():
    with Cluster('unpublished') as c:
        small(c, kafka=True)
        c.topic('o', 1)
        job = c.submit("CREATE TABLE src (id BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '500');\n" +
                       table(c, 'snk', 'id BIGINT', 'o', sink__delivery_guarantee='exactly-once') + 'INSERT INTO snk SELECT id FROM src;', parallelism=1)
        wait_for('publication', lambda: any(l['published'] for l in c.job(job)['job']['lanes']))
        c.kill_kafka()
        wait_for('output that waits', lambda: any(l['behind'] for l in c.job(job)['job']['lanes']), 20)
        fails(c, 5, 'stop', job, '--timeout', '4s', says=(f'job {job} has not ended', 'lane 0 of sink', 'has published epoch', f'127.0.0.1:{c.kafka_port}'))
        r = c.cli('cancel', job)
        contains('cancel', r.stdout.decode() + r.stderr.decode(), 'is CANCELLED', 'complete output is not published: lane 0 of sink')
        contains('the log', c.procs['coordinator'].tail(50), 'is cancelled with complete output that is not published: lane 0 of sink')


def test_a_job_that_failed_is_still_there_after_a_hundred_others():
    with Cluster('held') as c:
        small(c)
        bad = FLOW.replace("'rows-per-second' = '200'", "'rows-per-second' = '200', 'fields.a.kind' = 'sequence', 'fields.a.start' = '1', 'fields.a.end' = '100000'")
        bad = bad.replace('a % 10, COUNT(*)', 'a % 10, SUM(1000 / (300 - a))')
        held = c.submit(bad, 'bad', parallelism=1)
        doc = ends_as(c, held, 'FAILED')
        contains('the error', doc['error']['text'], 'zero')
        contains('for people', c.cli('job', held).stdout.decode(), f'line 3, column 34: {doc["error"]["text"]}')
        short = ("CREATE TABLE i (a BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '1');\n"
                 "CREATE TABLE o (a BIGINT) WITH ('connector' = 'blackhole');\nINSERT INTO o SELECT a FROM i;")
        first = None
        for i in range(103):
            job = c.submit(short, 'short', 1, ['--set', f'pipeline.name=short-{i}'])
            first = first or job
            ends_as(c, job, 'FINISHED')
        wait_for('the oldest to be forgotten', lambda: c.cli('job', first, ok=False).returncode == 3)
        check('state', c.job(held)['job']['state'], 'FAILED')
        where = c.cli('savepoint', held).stdout.decode().strip()  # and can be copied, for a statement that is right
        runs(c, c.submit(bad.replace('300 - a', '300000 - a'), 'good', 1, ['--from', where, '--set', 'pipeline.name=good']))
        c.cli('forget', held)
        fails(c, 3, 'job', held)


def test_a_directory_that_never_answers_holds_up_nobody_else():
    """A pipe takes the place of a file system that hangs: whoever opens MANIFEST.json there waits for ever."""
    with Cluster('hung') as c:
        small(c)
        os.mkdir(c.path('hung'))
        os.mkfifo(c.path('hung/MANIFEST.json'))
        hung = 'file://' + c.path('hung')
        job = c.submit(FLOW, 'flow', parallelism=1)
        for command in 'stop', 'savepoint':
            fails(c, 5, command, job, '--to', hung, '--timeout', '2s', says=(f'{hung} did not say within', f'job {job} goes on as it was', 'another directory'))
        fails(c, 5, 'submit', '--from', hung, '--parallelism', 1, '--timeout', '2s', '--set', 'pipeline.name=never', c.path('flow.sql'),
              says=("the job 'never' is not accepted yet after", f'savepoint {hung}'))
        contains('what it waits for', c.cli('job', 'never').stdout.decode(), f'waits for: savepoint {hung}')
        began = time.monotonic()
        other = c.submit(FLOW, 'other', parallelism=1)
        runs(c, other)
        good = 'file://' + c.path('good')
        check('the savepoint', c.cli('stop', other, '--to', good).stdout.decode().strip(), good)
        again = c.submit(FLOW, 'other', 1, ['--from', good])
        runs(c, again)
        took = time.monotonic() - began
        c.cli('cancel', 'never')
        began = time.monotonic()
        status = c.procs['coordinator'].kill(signal.SIGTERM, wait=30)
        contains('its log', c.procs['coordinator'].tail(5), 'the coordinator goes without waiting for what does not end', f'looking at {hung}', f'reading savepoint {hung}')
        check('its status', status, 70)
        ended = time.monotonic() - began
        c.coordinator(etcd=False)
        for each in job, again:
            wait_for('RUNNING', lambda: c.job(each)['job']['state'] == 'RUNNING', 30)
            runs(c, each)
            c.cli('cancel', each)
        print(f'  the other jobs began, stopped and began again in {took:.1f} s; the coordinator ended in {ended:.1f} s')


def test_a_job_is_over_before_its_memory_is_freed():
    """One thread never comes back from freeing: its job is STOPPED at once, others end, and the process goes in the end, saying for what."""
    with Cluster('free') as c:
        c.coordinator(etcd=False)
        c.worker(1, slots=4, env={'TIDEGATE_STALL': 'free:1:6000'})
        c.workers_ready(1)
        jobs = [c.submit(FLOW, f'flow{i}', parallelism=1) for i in range(3)]
        took = []
        for job in jobs[:2]:
            began = time.monotonic()
            c.cli('stop', job)
            took.append(time.monotonic() - began)
        if max(took) > 4:
            raise Failure(f'the stops took {took} s')
        runs(c, jobs[2])
        w = c.procs['w1']
        w.expected_death = True
        wait_for('the end of the process', lambda: not w.alive(), 30)
        contains('its log', w.tail(1000), f'attempt 1 of job {jobs[0]} has not ended within', f'its local base is being closed: {c.path("w1")}/base/')
        c.worker(1, slots=4)
        wait_for('RUNNING again', lambda: (d := c.job(jobs[2])['job'])['state'] == 'RUNNING' and d['restarts'] == 1, 30)
        listed = [x.split() for x in c.cli('jobs').stdout.decode().splitlines()]
        check('the columns', listed[0][:8], ['ID', 'NAME', 'STATE', 'FOR', 'SUBMITTED', '(UTC)', 'EPOCH', 'RESTARTS'])
        c.procs['coordinator'].kill()
        c.coordinator(etcd=False)
        wait_for('RUNNING again', lambda: (d := c.job(jobs[2])['job'])['state'] == 'RUNNING' and d['restarts'] == 1, 30)
        print(f'  STOPPED after {took[0]:.2f} and {took[1]:.2f} s')


def test_a_base_that_takes_no_change_for_ever_ends_the_process_when_its_job_ends():
    """The base thread never comes back from the local base: the job goes on and says so; when it is over the process goes, naming the directory that does
    not answer."""
    with Cluster('baseless') as c:
        c.coordinator(etcd=False)
        w = c.worker(1, slots=4, args=['--base-interval', '50ms'], env={'TIDEGATE_STALL': 'base:1:6000'})
        c.workers_ready(1)
        job = c.submit(FLOW, 'flow', 1, ['--set', 'checkpoint.base.interval=1s'])
        contains('waits for', wait_for('its word', lambda: c.job(job)['job'].get('waiting'), 20), 'local base: a call has not returned for ', f'{c.path("w1")}/base/')
        runs(c, job)
        w.expected_death = True
        c.cli('cancel', job)
        wait_for('the end of the process', lambda: not w.alive(), 30)
        contains('its log', w.tail(1000), f'its local base in {c.path("w1")}/base/')
        check('its status', w.p.returncode, 70)
        ends_as(c, job, 'CANCELLED')
        c.worker(1, slots=4)
        runs(c, c.submit(FLOW, 'again', 1, ['--set', 'pipeline.name=again']))


def test_a_worker_that_was_started_first_waits_and_has_lost_nothing():
    with Cluster('first') as c:
        c.ports['coordinator'] = free_port()
        w = c.worker(1)
        wait_for('its word', lambda: 'waits for a coordinator' in w.tail(1000))
        time.sleep(1)
        said = w.tail(1000)
        if said.count('waits for a coordinator') != 1 or 'coordinator lost' in said:
            raise Failure(said)
        c.coordinator(etcd=False)
        c.workers_ready(1)
        c.procs['coordinator'].kill()
        wait_for('its word', lambda: 'coordinator lost' in w.tail(1000))


def test_a_run_that_fails_says_why_once():
    with Cluster('once') as c:
        with open(c.path('bad.sql'), 'w') as f:
            f.write("CREATE TABLE i (a BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '200', 'fields.a.kind' = 'sequence', "
                    "'fields.a.start' = '1', 'fields.a.end' = '1000');\nCREATE TABLE o (k BIGINT) WITH ('connector' = 'blackhole');\n"
                    'INSERT INTO o SELECT 100 / (30 - a) FROM i;')
        r = c.cli('run', c.path('bad.sql'), ok=False)
        check('how often', r.stderr.decode().count('zero'), 1)
        check('its status', r.returncode, 1)
