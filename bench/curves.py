"""Curves: how the cost grows along one dimension. A point is the median of rounds that go over all points in turn, so that a machine that gets
slower bends no curve. Points name the --memory they had."""
import subprocess, time
from live import KEYED
from measure import Sample, median, sample, say, thread_cpu
from works import BLACKHOLE, CLUSTER, modes
from harness import Failure, wait_for

SHIFT = {'K': 1 << 10, 'M': 1 << 20, 'G': 1 << 30}
UPDATED = 'made, 2 updates each at random'  # a work of budget


def walk(b, o, work, points):
    """{name: function that makes a Sample} -> one row per point"""
    rounds = max(1, o.pairs // 2)
    seen = {n: [] for n in points}
    for i in range(rounds):
        for n, fn in points.items():
            seen[n].append(sample(fn, o.min_seconds / 3))
            say(f'  {i + 1}/{rounds} {n}: {seen[n][-1].rate / 1e6:.3f} M/CPU s, RSS {seen[n][-1].rss:.0f} MB')
    return [{'work': work, 'variant': n, 'per_cpu_second': median([s.rate for s in v]), 'wall_s': median([s.wall for s in v]), 'rss_mb': max(s.rss for s in v),
             'samples': [s.dict() for s in v]} for n, v in seen.items()]


def verdict(work, what, value, limit, met, unit=''):
    return {'work': work, 'variant': what, 'text': f'{value:.2f}{unit}', 'value': value, 'target': limit, 'met': met}


def keys(b, o):
    """keyed aggregate of 10^3 to 10^7 keys in memory, into blackhole: from the generator, steady (at least ten rows a key) and, for many keys, while every second row makes a group; from Kafka, beside the bare client"""
    most = 6 if o.quick else 7
    points = {}
    for e in range(3, most + 1):
        for each in (10,) if 10 * 10 ** e <= o.events else (10, 2):
            n = max(o.events if each == 10 else 0, each * 10 ** e)
            sql, name = b.sql(KEYED, ROWS=n, LAST=10 ** e - 1), f'10^{e} keys, {n // 10 ** e} rows a key, --memory 4G'
            if o.mode in ('run', 'both'):
                points[name] = lambda sql=sql: b.run(sql, memory='4G')
            if o.mode in ('cluster', 'both'):
                b.cluster(memory='4G')
                points[name + CLUSTER] = lambda sql=sql, n=n: b.run_on_cluster(sql, n)
    rows = with_wall_clock(walk(b, o, 'keys', points))
    made = [{k: v for k, v in r.items() if k not in ('target', 'met')} for r in most_against_fewest(rows, most, 2, 'every second row makes a group')]
    return rows + most_against_fewest(rows, most, 10, 'steady') + made + keys_from_kafka(b, o) + (text_keys(b, o) if o.large else [])


def keys_from_kafka(b, o):
    """From JSON orders: the path that people run, of which the aggregate is a part. As many events as the others have, but for the most keys three a key: of
    these 5 % never come, by chance, and every third row makes a group."""
    most = 5 if o.quick else 7
    topics = {}
    for e in range(3, most + 1):
        n = max(o.events, 3 * 10 ** e)
        topics[f'Kafka, 10^{e} keys, {n // 10 ** e} rows a key, --memory 4G'] = b.load('orders', 4, n, 100000, 50, 10 ** e), n
    rows = with_wall_clock(against_bare(b, o, 'keys', topics, lambda name, t: b.sql('keyed.sql', TOPIC=t, END="'latest-offset'"), memory='4G'))
    return rows + most_against_fewest(rows, most, max(3, o.events // 10 ** most), 'steady', 'Kafka, ')


def with_wall_clock(rows):
    for r in rows:
        wall = median([s['events'] / s['wall_s'] for s in r['samples']])
        r.update(per_wall_second=wall, text=f"{r['per_cpu_second'] / 1e6:.2f} M/CPU s, {wall / 1e6:.2f} M/s of wall clock")
    return rows


def most_against_fewest(rows, most, each, what, source=''):
    verdicts = []
    for mark in (CLUSTER, ''):
        mine = [r for r in rows if r['variant'].endswith('4G' + mark)]
        last = [r for r in mine if r['variant'].startswith(f'{source}10^{most} keys, {each} rows')]
        if last:
            ratio = last[0]['per_cpu_second'] / mine[0]['per_cpu_second']
            verdicts.append(verdict('keys', f'{source}10^{most} against 10^3, {what}' + mark, ratio, 'at least a third', ratio >= 1 / 3))
    return verdicts


def text_keys(b, o):
    """10^7 keys that are text of 16 bytes"""
    n = 2 * 10 ** 7
    sql = b.sql("""CREATE TABLE src (k BIGINT, v DOUBLE) WITH ('connector' = 'datagen', 'rows-per-second' = '1000000000', 'number-of-rows' = '${ROWS}',
 'fields.k.min' = '0', 'fields.k.max' = '9999999');
CREATE TABLE dst (k STRING, n BIGINT, total DOUBLE) WITH ('connector' = 'blackhole');
INSERT INTO dst SELECT k, COUNT(*), SUM(v) FROM (SELECT CONCAT('user-', LPAD(CAST(k AS STRING), 11, '0')) AS k, v FROM src) GROUP BY k;""", ROWS=n)
    points = {}
    if o.mode in ('run', 'both'):
        points['10^7 keys of text, --memory 8G'] = lambda: b.run(sql, memory='8G')
    if o.mode in ('cluster', 'both'):
        b.cluster(memory='8G')
        points['10^7 keys of text, --memory 8G' + CLUSTER] = lambda: b.run_on_cluster(sql, n)
    return walk(b, o, 'keys', points)


def budget(b, o):
    """state eight times the --memory budget: made, every key twice and far apart, and made and then updated at random, from the generator; made and updated, from Kafka: RSS and rate against the same in memory"""
    memory, n = budget_size(o)
    table = """CREATE TABLE src (id BIGINT, r BIGINT, v DOUBLE) WITH ('connector' = 'datagen', 'rows-per-second' = '1000000000', 'fields.id.kind' = 'sequence',
 'fields.id.start' = '1', 'fields.id.end' = '%d', 'fields.r.min' = '1', 'fields.r.max' = '%d');
CREATE TABLE dst (k BIGINT, n BIGINT, total DOUBLE) WITH ('connector' = 'blackhole');
INSERT INTO dst SELECT k, COUNT(*), SUM(v) FROM (SELECT %s AS k, v FROM src) GROUP BY k;"""
    works = {'made': (n, 'id'), 'twice': (2 * (n + 1), f'id * 7919 % {n + 1}'), UPDATED: (3 * n, f'CASE WHEN id <= {n} THEN id ELSE r END')}
    return within_budget(b, o, '', memory, n, {w: (rows, table % (rows, n, key)) for w, (rows, key) in works.items()}) + budget_from_kafka(b, o)


def budget_size(o):
    """--memory and the keys that are at least eight times that; with --quick they are twice that, which shows nothing but that it works"""
    return ('64M', 1000000) if o.quick else ('96M', 8000000)


def budget_from_kafka(b, o):
    """From JSON orders, whose ids are all keys in order and then twice as many at random: what makes them are the first events of the same topic."""
    memory, n = budget_size(o)
    topic = b.load('orders', 4, 3 * n, 100000, 50, n, f'sequence={n}')
    made = "'specific-offsets', 'scan.bounded.specific-offsets' = '" + ';'.join(f'partition:{p},offset:{n // 4}' for p in range(4)) + "'"
    ends = {'made': (n, made), UPDATED: (3 * n, "'latest-offset'")}
    return within_budget(b, o, 'Kafka, ', memory, n, {w: (rows, b.sql('keyed.sql', TOPIC=topic, END=end)) for w, (rows, end) in ends.items()})


def within_budget(b, o, source, memory, n, works):
    """works: {name: (rows, sql)} over n keys, first what makes them, last what updates them too. Each in 8G and in `memory`."""
    def on_cluster(memory, w):
        b.cluster(memory=memory)
        return b.run_on_cluster(works[w][1], works[w][0])
    size = int(memory[:-1]) * SHIFT[memory[-1]] / 1e6
    points, verdicts = {}, []
    name = lambda w, m, mark: f'{source}{n / 1e6:.0f} M keys {w}, --memory {m}{mark}'
    for w in works:
        for m in ('8G', memory):
            if o.mode in ('run', 'both'):
                points[name(w, m, '')] = lambda m=m, w=w: b.run(works[w][1], memory=m)
            if o.mode in ('cluster', 'both'):
                points[name(w, m, CLUSTER)] = lambda m=m, w=w: on_cluster(m, w)
    rows = walk(b, o, 'budget', points)
    seen = {r['variant']: r for r in rows}
    for mark in ('', CLUSTER):
        if name('made', '8G', mark) not in seen:
            continue
        cpu = {(w, m): works[w][0] / seen[name(w, m, mark)]['per_cpu_second'] for w in works for m in ('8G', memory)}
        made, last = list(works)[0], list(works)[-1]
        whole = seen[name(made, '8G', mark)]['rss_mb'] / size
        tight = max(seen[name(w, memory, mark)]['rss_mb'] for w in works) / size
        verdicts += [verdict('budget', f'{source}state against the budget{mark}', whole, 'at least 8 times, else not the test', whole >= 8),
                     verdict('budget', f'{source}RSS against the budget{mark}', tight, 'at most 1.20', tight <= 1.2)]
        ratios = {w: cpu[w, memory] / cpu[w, '8G'] for w in works}
        ratios['updates at random alone'] = (cpu[last, memory] - cpu[made, memory]) / (cpu[last, '8G'] - cpu[made, '8G'])
        verdicts += [verdict('budget', f'{source}slower by: {w}{mark}', r, 'at most 10 times', r <= 10) for w, r in ratios.items()]
    return rows + verdicts


def against_bare(b, o, work, topics, sql_of, **how):
    """{name: (topic, events)}: the bare client and Tidegate on each topic"""
    points = {}
    for name, (topic, events) in topics.items():
        points[name + ' bare'] = lambda topic=topic, events=events: b.consume(topic, events)
        points.update(modes(b, o, {name: sql_of(name, topic)}, events, **how))
    rows = walk(b, o, work, points)
    base = {r['variant'][:-5]: r['per_cpu_second'] for r in rows if r['variant'].endswith(' bare')}
    for r in rows:
        name = r['variant'].replace(' (cluster)', '')
        if name in base:
            r['base_per_cpu_second'] = base[name]
    return rows


def width(b, o):
    """the tumbling job on rows of 118 bytes to 4 kB"""
    topics = {}
    for w in (0, 100, 400, 1000, 4000):
        n = min(o.events, int((3e8 if o.quick else 1.5e9) / (118 + w)))
        topics[f'{118 + w} bytes'] = (b.load('orders', 4, n, 100000, 50, 100000, *(('fields=1', f'width={w}') if w else ())), n)
    return against_bare(b, o, 'width', topics, lambda name, t: b.sql('tumble.sql', TOPIC=t, SINK=BLACKHOLE))


def wide_table(b, columns, where_=''):
    names = ['id', 'user_id', 'category', 'amount', 'event_time', *(f'f{i:02d}' for i in range(11))]
    types = dict.fromkeys(names, 'STRING') | {'amount': 'DOUBLE', 'event_time': 'TIMESTAMP(3)'}
    used = (names[5:] + names[:5])[:columns]
    return f"""CREATE TABLE events ({', '.join(f'{n} {types[n]}' for n in names)}) WITH ('connector' = 'kafka', 'topic' = '${{TOPIC}}',
 'properties.bootstrap.servers' = '${{BOOTSTRAP}}', 'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset', 'format' = 'json');
CREATE TABLE dst ({', '.join(f'{n} {types[n]}' for n in used)}) WITH ('connector' = 'blackhole');
INSERT INTO dst SELECT {', '.join(used)} FROM events {where_};"""


def columns(b, o):
    """share of the columns that the query uses: 1 to 16 of 16, rows of 390 bytes"""
    n = o.events // 3
    topic = b.load('orders', 4, n, 100000, 50, 100000, 'fields=11', 'width=16')
    points = {'bare': lambda: b.consume(topic, n)}
    for c in (1, 2, 4, 8, 16):
        points.update(modes(b, o, {f'{c} of 16 columns': b.sql(wide_table(b, c), TOPIC=topic)}, n))
    return walk(b, o, 'columns', points)


def selectivity(b, o):
    """a filter that keeps 0.1 % to all rows, 16 columns of the rows that are kept"""
    n = o.events // 3
    topic = b.load('orders', 4, n, 100000, 50, 100000, 'fields=11', 'width=16')
    points = {}
    for keep in (1, 10, 100, 500, 1000):
        points.update(modes(b, o, {f'{keep / 10:g} % kept': b.sql(wide_table(b, 16, f'WHERE amount < {keep}'), TOPIC=topic)}, n))
    return walk(b, o, 'selectivity', points)


def slot_cpu(pid):
    return {name: cpu for name, cpu in thread_cpu(pid).values() if name.startswith('slot-')}


def busiest(used):
    if len(used) != 2:
        raise Failure(f'not two slots: {used}')
    return max(used.values()) / max(0.01, min(used.values()))


def slots_of_run(b, sql):
    p = subprocess.Popen([str(a) for a in b.run_args(sql)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    used = {}
    while p.poll() is None:
        try:
            used.update(slot_cpu(p.pid))
        except OSError:
            pass
        time.sleep(0.02)
    if p.returncode:
        raise Failure(f'tidegate run: status {p.returncode}')
    return busiest(used)


def slots_on_cluster(b, sql):
    b.cluster()
    pid = b.procs['w1'].p.pid
    before = slot_cpu(pid)
    b.run_on_cluster(sql, 0)
    return busiest({n: cpu - before.get(n, 0) for n, cpu in slot_cpu(pid).items()})


def skew(b, o):
    """Zipf's law of 1.2 over 100,000 keys: CPU of the two slots against each other"""
    rows = []
    for s in (0, 1.2):
        topic = b.load('orders', 4, o.events, 100000, 100000, 100000, f'zipf={s}')
        sql = b.sql(f"""CREATE TABLE events (category STRING, amount DOUBLE) WITH ('connector' = 'kafka', 'topic' = '{topic}',
 'properties.bootstrap.servers' = '${{BOOTSTRAP}}', 'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset', 'format' = 'json');
CREATE TABLE dst (category STRING, n BIGINT, total DOUBLE) WITH ('connector' = 'blackhole');
INSERT INTO dst SELECT category, COUNT(*), SUM(amount) FROM events GROUP BY category;""")
        for mark in [m for m in ('', CLUSTER) if o.mode in ('both', 'cluster' if m else 'run')]:
            ratios = [(slots_on_cluster if mark else slots_of_run)(b, sql) for _ in range(max(1, o.pairs // 2))]
            rows.append(verdict('skew', f'Zipf {s}: busiest slot against the other' + mark, median(ratios), 'at most 1.3', median(ratios) <= 1.3))
    return rows


def epochs(b, o):
    """the tumbling job at epochs of 10 ms, 100 ms, 1 s"""
    topic = b.load('orders', 4, o.events, 100000, 50, 100000)
    points = {}
    for e in ('10ms', '100ms', '1s'):
        points.update(modes(b, o, {f'epochs of {e}': b.sql('tumble.sql', TOPIC=topic, SINK=BLACKHOLE)}, o.events, epochs=e))
    return walk(b, o, 'epochs', points)


def partitions(b, o):
    """the tumbling job from 1 to 64 partitions"""
    topics = {f'{p} partitions': (b.load('orders', p, o.events // 2, 100000, 50, 100000), o.events // 2) for p in (1, 4, 16, 64)}
    return against_bare(b, o, 'partitions', topics, lambda name, t: b.sql('tumble.sql', TOPIC=t, SINK=BLACKHOLE))


def jobs(b, o):
    """1 to 20 tumbling jobs at once on one cluster (one worker, 20 slots): events of all jobs per CPU second"""
    n = o.events // 5
    topic = b.load('orders', 4, n, 100000, 50, 100000)
    sql = b.sql('tumble.sql', TOPIC=topic, SINK=BLACKHOLE)
    b.cluster(slots=20, memory='1G')
    def many(count):
        cpu, t0 = b.cluster_cpu(), time.monotonic()
        ids = []
        for _ in range(count):
            b.serial += 1
            ids.append(b.submit(sql, f'many{b.serial}', 1, ('--set', 'execution.checkpointing.interval=1s')))
        for i in ids:
            b.until_finished(i)
        return Sample(n * count, time.monotonic() - t0, b.cluster_cpu() - cpu, b.cluster_rss())
    return walk(b, o, 'jobs', {f'{c} jobs': lambda c=c: many(c) for c in (1, 5, 20)})


def workers(b, o):
    """one to three workers with six slots in all: what the network shuffle costs per row (keyed aggregate of 10^6 keys, nothing combines)"""
    rows = []
    sql = b.sql(KEYED, ROWS=o.events, LAST=999999)
    for count in (1, 2, 3):
        b.cluster(workers=count, slots=6 // count, memory='1G')
        rows += walk(b, o, 'workers', {f'{count} workers': lambda: b.run_on_cluster(sql, o.events, parallelism=6)})
        b.end_cluster()
    for r, share in ((rows[1], 1 / 2), (rows[2], 2 / 3)):
        extra = 1e9 / r['per_cpu_second'] - 1e9 / rows[0]['per_cpu_second']
        rows.append({'work': 'workers', 'variant': r['variant'] + ': a row that crosses', 'text': f'{extra / share:.0f} ns of CPU', 'value': extra / share})
    return rows


# ---- state that stands while a little of it changes: a load of SIZE keys, then RATE changes a second
STANDING = """CREATE TABLE fill (k BIGINT, v DOUBLE) WITH ('connector' = 'datagen', 'rows-per-second' = '1000000000', 'fields.k.kind' = 'sequence',
 'fields.k.start' = '1', 'fields.k.end' = '${SIZE}');
CREATE TABLE change (k BIGINT, v DOUBLE) WITH ('connector' = 'datagen', 'rows-per-second' = '${RATE}', 'fields.k.min' = '1', 'fields.k.max' = '${SIZE}');
CREATE TABLE dst (k BIGINT, n BIGINT, total DOUBLE) WITH ('connector' = 'blackhole');
INSERT INTO dst SELECT k, COUNT(*), SUM(v) FROM (SELECT * FROM fill UNION ALL SELECT * FROM change) GROUP BY k;
"""


def tasks(b, job):
    return [t for s in b.job(job)['job']['stages'] for t in s['tasks']]


def stand(b, size, rate, epoch='100ms', parallelism=2):
    """Submits it and waits until all keys are in the state of a complete epoch."""
    b.serial += 1
    job = b.submit(b.sql(STANDING, SIZE=size, RATE=rate), f'stand{b.serial}', parallelism, ('--set', f'execution.checkpointing.interval={epoch}'))
    wait_for('the state', lambda: sum(t['state_entries'] for t in tasks(b, job)) >= size, 600, 0.2)
    full = b.job(job)['job']['epoch']
    wait_for('an epoch with all of it', lambda: b.job(job)['job']['epoch'] >= full + 3, 120)
    return job


MEMBERS = """CREATE TABLE fill (u BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '1000000000', 'fields.u.kind' = 'sequence',
 'fields.u.start' = '1', 'fields.u.end' = '${SIZE}');
CREATE TABLE more (u BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '${RATE}', 'fields.u.kind' = 'sequence',
 'fields.u.start' = '${FROM}', 'fields.u.end' = '1000000000000');
CREATE TABLE dst (g BIGINT, n BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO dst SELECT g, COUNT(DISTINCT u) FROM (SELECT ${VALUE} AS u, MOD(u, 4) AS g FROM (SELECT * FROM fill UNION ALL SELECT * FROM more)) GROUP BY g;
"""
LISTED = MEMBERS.split('CREATE TABLE dst')[0].replace('(u BIGINT)', '(u BIGINT, t AS PROCTIME())') + """CREATE TABLE dst (g BIGINT, l STRING) WITH ('connector' = 'blackhole');
CREATE VIEW both_of AS SELECT ${VALUE} AS u, MOD(u, 4) AS g, t FROM (SELECT * FROM fill UNION ALL SELECT * FROM more);
INSERT INTO dst SELECT g, LISTAGG(u) FROM TABLE(TUMBLE(TABLE both_of, DESCRIPTOR(t), INTERVAL '30' DAY)) GROUP BY g, window_start, window_end;
"""


def members(b, o):
    """the same of four sets of distinct values, and of four lists in a window that does not end, against the values that they hold"""
    rows, text = [], "CONCAT('user-', CAST(u AS STRING))"
    for what, sql, value in (('sets of {} BIGINT', MEMBERS, 'u'), ('sets of {} STRING', MEMBERS, text), ('lists of {} STRING', LISTED, text)):
        per = []
        for size in (100000, 1000000):
            b.cluster(memory='4G')
            job = b.submit(b.sql(sql, SIZE=size, RATE=1000, FROM=size + 1, VALUE=value), f'stand{b.serial}', 2, ('--set', 'execution.checkpointing.interval=100ms'))
            wait_for('the sets', lambda: sum(t['state_bytes'] for t in tasks(b, job)) >= size * 10, 600, 0.2)
            time.sleep(5)
            full = b.job(job)['job']['epoch']
            wait_for('epochs with all of it', lambda: b.job(job)['job']['epoch'] >= full + 3, 120)
            time.sleep(2 if o.quick else 6)
            doc = b.job(job)['job']
            by = median([e['bytes'] for e in doc['epochs'] if not e['base'] and e['bytes'] and e['epoch'] > full])
            state = sum(t['state_bytes'] for t in tasks(b, job))
            b.cli('cancel', job, ok=False)
            per.append(by)
            rows.append({'work': 'checkpoint', 'variant': f'four {what.format(format(size // 4, ","))}, 1,000 new values/s', 'value': by, 'state_bytes': state,
                         'text': f'{by / 1e3:.1f} kB an epoch of 100 ms, {by / 100:.0f} bytes a value; state {state / 1e6:.1f} MB'})
        rows.append(verdict('checkpoint', f'{what.format("").replace("  ", " ")}: an epoch over ten times the values against before', per[1] / per[0], 'at most 1.5', per[1] <= 1.5 * per[0]))
    return rows


def checkpoint(b, o):
    """bytes of an epoch against the keys changed in it and against the size of the state, on a cluster"""
    rows, per = [], {}
    for size in (10000, 100000, 1000000) + ((10000000,) if o.large else ()):
        for rate in (1000, 10000):
            b.cluster(memory='4G')
            job = stand(b, size, rate)
            time.sleep(2 if o.quick else 6)
            doc = b.job(job)['job']
            done = [e for e in doc['epochs'] if not e['base'] and e['bytes']]
            by, state = median([e['bytes'] for e in done]), sum(t['state_bytes'] for t in tasks(b, job))
            took = median([e['duration_ms'] for e in done])
            b.cli('cancel', job, ok=False)
            per.setdefault(rate, []).append(by)
            rows.append({'work': 'checkpoint', 'variant': f'{size:,} keys, {rate:,} changes/s', 'value': by, 'state_bytes': state,
                         'text': f'{by / 1e3:.1f} kB an epoch of 100 ms, {by / (rate / 10):.0f} bytes a change, {took:.0f} ms; state {state / 1e6:.1f} MB'})
    ratio = median([b / a for a, b in zip(*per.values())])
    rows.append(verdict('checkpoint', 'ten times the changes: bytes of an epoch against those before', ratio, 'at most 10 times', ratio <= 10))
    for rate, v in per.items():
        rows.append(verdict('checkpoint', f'{rate:,} changes/s: largest epoch against smallest over {1000 if o.large else 100} times the state', max(v) / min(v), 'at most 3', max(v) <= 3 * min(v)))
    return rows + members(b, o)


LARGE_STATE = 5e9  # bytes


def recovery_sizes(o):
    """Numbers of keys; None: as many as make LARGE_STATE, by the bytes a key took before."""
    return (100000, 1000000) + (() if o.quick else (10000000,)) + ((None,) if o.large else ())


def recovery(b, o):
    """outage after kill -9 of one of two workers, against the size of the state"""
    rows, state = [], 0
    for size in recovery_sizes(o):
        size = size or int(LARGE_STATE / (state / last))
        last = size
        b.cluster(workers=2, memory='8G')
        job = stand(b, size, 1000, parallelism=4)
        state = sum(t['state_bytes'] for t in tasks(b, job))
        outages = []
        for i in range(max(1, o.pairs // 2)):
            before = b.job(job)['job']['restarts']
            b.procs['w2'].kill()
            del b.procs['w2']
            wait_for('the restart', lambda: (d := b.job(job)['job'])['restarts'] > before and d['state'] == 'RUNNING', 300)
            outages.append(b.job(job)['job']['last_outage_ms'])
            epoch = b.job(job)['job']['epoch']
            wait_for('an epoch after it', lambda: b.job(job)['job']['epoch'] > epoch, 120)
            b.cluster(workers=2, memory='8G')
            wait_for('both workers in use', lambda: len({t['worker'] for t in tasks(b, job)}) == 2, 300)
            time.sleep(1)
        rows.append({'work': 'recovery', 'variant': f'{size:,} keys', 'text': f'{median(outages):.0f} ms, {min(outages):.0f} to {max(outages):.0f}; state {state / 1e6:.0f} MB',
                     'median_ms': median(outages), 'state_bytes': state, 'samples': outages})
        b.cli('cancel', job, ok=False)
        b.end_cluster()
    return rows


WORKS = {f.__name__: f for f in (keys, budget, width, columns, selectivity, skew, epochs, partitions, jobs, workers, checkpoint, recovery)}
