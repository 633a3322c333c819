"""The whole path on the real thing: Kafka, etcd, a coordinator, workers. The checker computes the expected rows from the input topic."""
import collections, json, os, random, signal, threading, time
from datetime import datetime, timezone
from harness import Cluster, Failure, wait_for, ROOT, SLOW

FLUSH_MS = 1790000000000 + 3600_000


def events_job(c):
    with open(os.path.join(ROOT, 'examples', 'events_per_category.sql')) as f:
        return f.read().replace('localhost:9092', c.bootstrap)


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
    c.coordinator(etcd=etcd)
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
    """Kills and restarts processes while rows flow; each outage is measured as the longest gap of growing output."""

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
    if gen.wait(seconds * 4 + 240) != 0:
        raise Failure('the generator failed: ' + gen.stderr.read().decode())
    killer.join(120)
    if killer.error:
        raise killer.error
    if killer.is_alive():
        raise Failure('the kills did not end')
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


def test_killed_workers_lose_and_double_nothing():
    with Cluster('kills') as c:
        start_cluster(c)
        c.topic('events', 4)
        c.topic('results', 4)
        job = c.submit(events_job(c), 'orders')
        run_with_kills(c, 20, [(3, kill_worker(c, 1)), (4, kill_worker(c, 2, replace=False)), (4, kill_worker(c, 3))])
        doc = finish_and_compare(c, job)
        if doc['restarts'] < 3:
            raise Failure(f'only {doc["restarts"]} restarts after three kills')


def test_killed_coordinator_and_broker():
    with Cluster('kills2') as c:
        start_cluster(c, workers=2, slots=4)
        c.topic('events', 4)
        c.topic('results', 4)
        job = c.submit(events_job(c), 'orders')
        run_with_kills(c, 20, [(3, kill_coordinator(c)), (5, kill_broker(c)), (5, kill_coordinator(c))])
        finish_and_compare(c, job)
