"""The whole path on the real thing: Kafka, etcd, a coordinator, workers. The checker computes the expected rows from the input topic."""
import collections, json, os, random, signal, threading, time
from datetime import datetime, timezone
from harness import Cluster, Failure, wait_for, PATIENT, ROOT, SLOW

FLUSH_MS = 1790000000000 + 3600_000


def example(c, name):
    with open(os.path.join(ROOT, 'examples', name + '.sql')) as f:
        return f.read().replace('localhost:9092', c.bootstrap)


def events_job(c):
    return example(c, 'events_per_category')


def event_ms(text):
    return int(datetime.strptime(text, '%Y-%m-%d %H:%M:%S.%f').replace(tzinfo=timezone.utc).timestamp() * 1000)


def expected_windows(c, topic='events', size=5000):
    """{(window start, category): [count, sum]} of all windows that the watermark has closed."""
    windows, ids = {}, set()
    for _, _, _, value in c.dump(topic):
        row = json.loads(value)
        if row['id'] in ids:
            raise Failure(f'the generator wrote {row["id"]} twice')
        ids.add(row['id'])
        ms = event_ms(row['event_time'])
        if ms >= FLUSH_MS:
            continue
        w = windows.setdefault((ms - ms % size, row['category']), [0, 0.0])
        w[0] += 1
        w[1] += row['amount']
    return windows


def actual_windows(c, topic='results'):
    seen = {}
    for p, o, _, value in c.dump(topic):
        row = json.loads(value)
        text = row['window_start']
        start = event_ms(text if '.' in text else text + '.000')
        key = (start, row['category'])
        if key in seen:
            raise Failure(f'window {text} of {row["category"]} is there twice: {seen[key]} and {row} at {p}/{o}')
        seen[key] = row
    return seen


def compare(expected, actual):
    missing = [k for k in expected if k not in actual]
    extra = [k for k in actual if k not in expected]
    if missing or extra:
        raise Failure(f'{len(expected)} windows expected, {len(actual)} there; {len(missing)} missing {sorted(missing)[:3]}, {len(extra)} unexpected {sorted(extra)[:3]}')
    for k, (n, total) in expected.items():
        row = actual[k]
        if row['cnt'] != n or abs(row['total'] - total) > 1e-9 * abs(total) or abs(row['average'] - total / n) > 1e-9 * abs(total / n):
            raise Failure(f'window {k}: expected count {n} sum {total}, got {row}')


def start_cluster(c, workers=3, etcd=True, slots=2):
    c.kafka()
    if etcd:
        c.etcd()
    c.coordinator(etcd=etcd, args=PATIENT)
    for i in range(1, workers + 1):
        c.worker(i, slots=slots)
    c.workers_ready(workers)


def wait_rows(c, topic, n, seconds=60):
    wait_for(f'{n} rows in {topic}', lambda: int(c.tool('count', topic)) >= n, seconds, every=0.5)


def test_windows_reach_kafka_exactly_once():
    with Cluster('windows') as c:
        start_cluster(c)
        c.topic('events', 4)
        c.topic('results', 4)
        job = c.submit(events_job(c), 'orders')
        c.tool('gen', 'events', 4, 20000, 8, 20, 1)
        c.tool('flush', 'events', 4, FLUSH_MS)
        expected = expected_windows(c)
        wait_rows(c, 'results', len(expected))
        compare(expected, actual_windows(c))
        doc = c.job(job)['job']
        if doc['state'] != 'RUNNING' or doc['restarts']:
            raise Failure(f'the job is {doc["state"]} after {doc["restarts"]} restarts')
        c.cli('stop', job)
        wait_for('STOPPED', lambda: c.job(job)['job']['state'] == 'STOPPED')


class Killer(threading.Thread):
    """Kills and restarts processes while rows flow."""

    def __init__(self, c, plan):
        super().__init__(daemon=True)
        self.c, self.plan, self.error, self.log = c, plan, None, []

    def run(self):
        try:
            for pause, action in self.plan:
                time.sleep(pause)
                start = time.monotonic()
                what = action()
                self.log.append(f'{what} ({time.monotonic() - start:.1f} s)')
        except BaseException as e:  # told by the test's thread
            self.error = e


def kill_worker(c, i, replace=True, sig=signal.SIGKILL):
    def action():
        c.procs[f'w{i}'].kill(sig)
        if replace:
            c.worker(i)
        return f'worker {i} killed' + (' and started again' if replace else '')
    return action


def kill_coordinator(c):
    def action():
        c.procs['coordinator'].kill()
        c.coordinator()
        return 'coordinator killed and started again'
    return action


def kill_broker(c):
    def action():
        c.kill_kafka()
        time.sleep(1)
        c.kafka()
        return 'broker killed and started again'
    return action


def run_with_kills(c, seconds, plan, rate=20000):
    """Generates for `seconds` while the plan runs; returns when everything was produced."""
    gen = c.tool('gen', 'events', 4, rate, seconds, 20, 7, background=True)
    killer = Killer(c, plan)
    killer.start()
    began = time.monotonic()
    if gen.wait(seconds * 4 + 240) != 0:
        raise Failure('the generator failed: ' + gen.stderr.read().decode())
    killer.produced_s = time.monotonic() - began
    killer.join(120)
    if killer.error:
        raise killer.error
    if killer.is_alive():
        raise Failure('the kills did not end')
    if len(killer.log) != len(plan):
        raise Failure(f'{len(killer.log)} of {len(plan)} kills: {killer.log}')
    if killer.produced_s > seconds * 1.3 * SLOW:
        raise Failure(f'{rate} rows a second for {seconds} s took {killer.produced_s:.0f} s: the load was not kept up')
    for line in killer.log:
        print('  ' + line)


def finish_and_compare(c, job, seconds=120):
    c.tool('flush', 'events', 4, FLUSH_MS)
    expected = expected_windows(c)
    wait_rows(c, 'results', len(expected), seconds)
    time.sleep(2)  # a doubled row would come now
    compare(expected, actual_windows(c))
    doc = c.job(job)['job']
    print(f'  {len(expected)} windows exactly once; {doc["restarts"]} restarts, last outage {doc.get("last_outage_ms", 0)} ms')
    return doc


def aimed(c, name, start, point):
    """Starts process `name` again so that it dies at the crash point; waits for that death, then starts it as usual."""
    def action():
        if c.procs[name].alive():
            c.procs[name].kill()
        p = start({'TIDEGATE_CRASH': point})
        p.expected_death = True
        wait_for(f'{name} to die at {point}', lambda: not p.alive(), 30)
        if p.p.returncode != -signal.SIGKILL:
            raise Failure(f'{name} ended with {p.p.returncode} instead of being killed at {point}:\n{p.tail()}')
        start({})
        return f'{name} killed at {point}'
    return action


def worker_again(c, i):
    return lambda env: c.worker(i, slots=1, env=env, args=['--base-interval', '100ms'])


def test_six_kills_in_a_minute():
    """The promise of the project: 20,000 events a second for 60 s, kill -9 of workers, coordinator and broker, three of them aimed: no row
    lost, none twice."""
    with Cluster('kills') as c:
        c.kafka()
        c.etcd()
        c.coordinator()
        for i in (1, 2, 3):
            worker_again(c, i)({})
        c.workers_ready(3)
        c.topic('events', 4)
        c.topic('results', 4)
        job = c.submit(events_job(c), 'orders', parallelism=3, args=['--set', 'checkpoint.base.interval=1s'])
        outages = []
        def outage(action):
            """Each of these costs an attempt: the coordinator has seen it when it counts one more."""
            def run():
                before = c.job(job)['job']['restarts']
                text = action()
                after = wait_for('one more restart, and RUNNING', lambda: (lambda d: d['state'] == 'RUNNING' and d['restarts'] > before and d)(c.job(job)['job']), 60)
                outages.append(after.get('last_outage_ms'))  # none, where another leader was elected meanwhile
                return f'{text}, outage {outages[-1]} ms'
            return run
        back = lambda: (worker_again(c, 1)({}), 'worker 1 is back')[1]
        run_with_kills(c, 60, [
            (3, outage(kill_worker(c, 1, replace=False))), (4, outage(back)),
            (4, aimed(c, 'coordinator', lambda env: c.coordinator(env=env), 'manifest-durable:3')),
            (3, outage(aimed(c, 'w2', worker_again(c, 2), 'in-transaction:2'))),
            (3, outage(aimed(c, 'w3', worker_again(c, 3), 'in-base'))),
            (3, kill_broker(c)),
            (3, outage(aimed(c, 'w1', worker_again(c, 1), 'sealed:5')))])
        stale = finish_and_compare(c, job, 180)['stale_records']
        if stale:
            raise Failure(f'{stale} records came again behind their offset (A24)')
        rows = int(c.tool('count', 'events'))
        if rows < 60 * 20000:
            raise Failure(f'only {rows} rows went in')
        print(f'  {rows} rows; outages as the coordinator saw them, from the fault to all tasks RUNNING: {outages} ms')


test_six_kills_in_a_minute.limit = 600
test_six_kills_in_a_minute.load = 2


EACH_ROW = """
CREATE TABLE events (id STRING, category STRING, amount DOUBLE, event_time TIMESTAMP(3))
WITH ('connector' = 'kafka', 'topic' = 'events', 'properties.bootstrap.servers' = '%s', 'scan.startup.mode' = 'earliest-offset', 'format' = 'json');
CREATE TABLE big (id STRING, cents BIGINT)
WITH ('connector' = 'kafka', 'topic' = 'big', 'properties.bootstrap.servers' = '%s', 'format' = 'json', 'sink.delivery-guarantee' = 'exactly-once');
INSERT INTO big SELECT id, CAST(ROUND(amount * 100) AS BIGINT) FROM events;
"""


def test_a_kill_inside_a_transaction_costs_no_more_than_another():
    """A worker dies with its lane's transaction open: a read_committed reader of these partitions waits until the lane is fenced, which must not
    be the 15 s after which the broker would give up. Prints the outage of the job and the longest wait of such a reader for a partition's next row."""
    with Cluster('in-transaction') as c:
        c.kafka()
        c.etcd()
        c.coordinator()
        for i in (1, 2, 3):
            c.worker(i, slots=1)
        c.workers_ready(3)
        c.topic('events', 4)
        c.topic('big', 4)
        job = c.submit(EACH_ROW % (c.bootstrap, c.bootstrap), 'big', parallelism=3)
        gen = c.tool('gen', 'events', 4, 1000, 300, 20, 7, background=True)
        wait_for('rows', lambda: int(c.tool('count', 'big')) > 1000, 30)
        figures = {'inside a transaction': [], 'at any time': []}

        with open(c.path('w2/name')) as f:
            name = f.read().strip()

        def runs(with_it):
            """The job, when it runs and the worker has tasks of it or has not. How often it was restarted may be forgotten with a leader."""
            doc = c.job(job)['job']
            return doc['state'] == 'RUNNING' and (name in {k['worker'] for s in doc['stages'] for k in s['tasks']}) == with_it and doc

        for what in ('at any time', 'inside a transaction', 'inside a transaction'):
            if c.procs['w2'].alive():
                c.procs['w2'].kill()
                wait_for('the job without the worker', lambda: runs(False), 30)
            reader = c.tool('gaps', 'big', background=True)
            if reader.stdout.readline() != b'reads\n':
                raise Failure(f'kafka_tool gaps: {reader.communicate()[1].decode()}')
            w = c.worker(2, slots=1, env={'TIDEGATE_CRASH': 'in-transaction:25'} if what.startswith('inside') else {})
            w.expected_death = True
            wait_for('the job with the worker again', lambda: runs(True) or not w.alive(), 30)
            reader.stdin.write(b'from here on\n')
            reader.stdin.flush()
            if what.startswith('inside'):
                wait_for('its death', lambda: not w.alive(), 30, 0.01)
            else:
                time.sleep(2)
                w.kill()
            doc = wait_for('RUNNING again', lambda: runs(False), 30, 0.02)
            time.sleep(2)
            said, complaint = reader.communicate(b'', timeout=20)
            if reader.returncode:
                raise Failure(f'kafka_tool gaps: {complaint.decode()}')
            longest, rows = map(int, said.split())
            if rows < 1000:
                raise Failure(f'the reader saw {rows} rows')
            figures[what].append((doc.get('last_outage_ms', 0), longest))  # a leader that came meanwhile does not know it, the reader does
        gen.terminate()  # rows have flowed as long as they were needed; what went in is in the topic
        if gen.wait(60) not in (0, -signal.SIGTERM):
            raise Failure('the generator failed: ' + gen.stderr.read().decode())
        for what, pairs in figures.items():
            print(f'  killed {what}: outages {[o for o, _ in pairs]} ms, longest waits of a read_committed reader {[g for _, g in pairs]} ms')
        for outage, gap in figures['inside a transaction']:
            if outage > 5000 * SLOW or gap > 7500 * SLOW:
                raise Failure(f'an outage of {outage} ms, a reader that waited {gap} ms: half of what the broker would let it wait')
        rows = {json.loads(v)['id'] for _, _, _, v in c.dump('events')}
        wait_rows(c, 'big', len(rows))
        got = [json.loads(v)['id'] for _, _, _, v in c.dump('big')]
        if len(got) != len(rows) or set(got) != rows:
            raise Failure(f'{len(rows)} rows expected, {len(got)} there')


test_a_kill_inside_a_transaction_costs_no_more_than_another.limit = 400


def test_job_runs_on_with_the_workers_that_are_left():
    with Cluster('left') as c:
        start_cluster(c)
        c.topic('events', 4)
        c.topic('results', 4)
        job = c.submit(events_job(c), 'orders')
        run_with_kills(c, 8, [(3, kill_worker(c, 2, replace=False))])
        doc = finish_and_compare(c, job)
        if doc['restarts'] != 1:
            raise Failure(f'{doc["restarts"]} restarts after one kill')


def two_coordinators(c):
    """A leader, a standby that speaks to it, two workers that know both; a job that runs."""
    c.kafka()
    c.etcd()
    c.coordinator()
    wait_for('the first to lead', lambda: leads(c, 'coordinator'))
    c.coordinator('coordinator2')
    for i in (1, 2):
        c.worker(i, slots=4)
    c.workers_ready(2)
    c.topic('events', 4)
    c.topic('results', 4)
    return c.submit(events_job(c), 'orders')


def leads(c, name):
    """Whether this coordinator says of itself that it leads."""
    return c.get('/api/jobs', name)[0] == 200


def take_over(c, act, what, limit):
    """act() on the leader; measures until the standby leads and until the job runs again under it."""
    def action():
        act()
        begin = time.monotonic()
        wait_for('the standby to lead', lambda: leads(c, 'coordinator2'), 20, 0.01)
        led = time.monotonic() - begin
        wait_for('the job to run', lambda: any(j['state'] == 'RUNNING' for j in json.loads(c.get('/api/jobs', 'coordinator2')[1])['jobs']), 30, 0.02)
        runs = time.monotonic() - begin
        if led > limit * SLOW:
            raise Failure(f'{led:.2f} s until the standby led, {limit} are the limit')
        return f'{what}: the standby leads after {led:.2f} s, the job runs again after {runs:.2f} s'
    return action


def test_standby_takes_over_from_a_killed_leader_in_less_than_a_second():
    with Cluster('standby') as c:
        job = two_coordinators(c)
        run_with_kills(c, 10, [(3, take_over(c, c.procs['coordinator'].kill, 'leader killed', 1.0))])
        finish_and_compare(c, job)


def test_standby_takes_over_from_a_stopped_leader_and_the_workers_follow():
    """SIGSTOP closes no connection: silence alone must tell. When the leader wakes it finds itself out and stands by."""
    with Cluster('hung') as c:
        job = two_coordinators(c)
        old = c.procs['coordinator']
        run_with_kills(c, 13, [(3, take_over(c, lambda: old.signal(signal.SIGSTOP), 'leader stopped', 2.0)),
                               (4, lambda: (old.signal(signal.SIGCONT), 'the old leader goes on')[1])])
        finish_and_compare(c, job)
        if leads(c, 'coordinator') or not leads(c, 'coordinator2') or not old.alive():
            raise Failure('the leader that was stopped leads again, or ended')


def test_stateless_and_upsert_jobs_beside_each_other():
    with Cluster('two') as c:
        start_cluster(c, workers=3, slots=4)
        for t in ('events', 'big', 'totals'):
            c.topic(t, 4)
        c.submit(example(c, 'large_events'), 'big')
        upsert = c.submit(example(c, 'totals_per_category'), 'totals')
        run_with_kills(c, 10, [(4, kill_worker(c, 1))])
        rows = [json.loads(v) for _, _, _, v in c.dump('events')]
        expected = {r['id']: round(r['amount'] * 100) for r in rows if r['amount'] >= 900}
        wait_rows(c, 'big', len(expected))
        time.sleep(1)
        got = [json.loads(v) for _, _, _, v in c.dump('big')]
        if len(got) != len(expected) or {r['id']: r['cents'] for r in got} != expected:
            raise Failure(f'stateless job: {len(expected)} rows expected, {len(got)} there, {len(got) - len({r["id"] for r in got})} of them twice')
        truth = collections.defaultdict(lambda: [0, 0.0])
        for r in rows:
            truth[r['category']][0] += 1
            truth[r['category']][1] += r['amount']

        def final_table():
            table = {}
            for _, _, k, v in c.dump('totals'):
                table[json.loads(k)['category']] = json.loads(v)
            return table if {k: v['n'] for k, v in table.items()} == {k: v[0] for k, v in truth.items()} else None
        table = wait_for('the final totals', final_table, 60, every=1)
        for k, (n, total) in truth.items():
            if abs(table[k]['total'] - total) > 1e-9 * total:
                raise Failure(f'{k}: expected {total}, got {table[k]}')
        c.cli('cancel', upsert)


def test_stop_and_go_on_from_the_savepoint():
    with Cluster('savepoint') as c:
        start_cluster(c, workers=2, slots=4)
        c.topic('events', 4)
        c.topic('results', 4)
        job = c.submit(events_job(c), 'orders')
        c.tool('gen', 'events', 4, 20000, 5, 20, 3)
        savepoint = c.cli('stop', job).stdout.decode().strip()
        if not savepoint:
            raise Failure('stop printed no savepoint')
        wait_for('STOPPED', lambda: c.job(job)['job']['state'] == 'STOPPED')
        again = c.submit(events_job(c), 'orders', args=['--from', savepoint], parallelism=2)
        c.tool('gen', 'events', 4, 20000, 5, 20, 4)
        finish_and_compare(c, again)
