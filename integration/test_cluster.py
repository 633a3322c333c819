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
