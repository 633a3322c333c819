"""Works that measure time as a user sees it: latency, starting, doing nothing, a second slot."""
import json, os, re, select, signal, subprocess, time
from measure import Sample, interval, median, proc_cpu, rss_mb, say, thread_cpu
from harness import Failure, TIDEGATE, wait_for


# ---- latency
def measure_latency(b, o, topic, out, isolation='read_uncommitted'):
    return json.loads(b.tool('latency', topic, out, o.rate, o.seconds, isolation, timeout=o.seconds + 120))


def floor(b, o, topic, out, *settings):
    p = b.tool('relay', topic, out, o.seconds + 60, *settings, background=True)
    try:
        time.sleep(0.5)
        return measure_latency(b, o, topic, out)
    finally:
        p.kill()
        p.wait()


class Job:
    """The job of that SQL while the with-block runs, in one process or on the cluster."""

    def __init__(self, b, sql, cluster, epochs, slots=2):
        self.b, self.sql, self.cluster, self.epochs, self.slots = b, sql, cluster, epochs, slots

    def __enter__(self):
        b = self.b
        if self.cluster:
            b.cluster(slots=self.slots)
            b.serial += 1
            self.job = b.submit(self.sql, f'live{b.serial}', self.slots, ('--set', f'execution.checkpointing.interval={self.epochs}'))
            wait_for('RUNNING', lambda: b.job(self.job)['job']['state'] == 'RUNNING')
            time.sleep(1)
        else:
            self.log = open(b.path('live.log'), 'wb')
            self.p = subprocess.Popen([str(a) for a in b.run_args(self.sql, 'live', slots=self.slots, epochs=self.epochs)], stdin=subprocess.DEVNULL, stdout=self.log,
                                      stderr=self.log)
            time.sleep(2)
            if self.p.poll() is not None:
                raise Failure('tidegate run ended: ' + open(b.path('live.log'), errors='replace').read()[-2000:])
        return self

    def pids(self):
        return list(self.b.engine_pids().values()) if self.cluster else [self.p.pid]

    def cpu(self):
        return sum(proc_cpu(pid) for pid in self.pids())

    def epochs_made(self):
        """Since it was submitted. `run` tells it when it has ended, and then the epoch of its stop is one of them."""
        if self.cluster:
            return self.b.job(self.job)['job'].get('epoch', 0)
        with open(self.log.name, errors='replace') as f:
            return int(re.search(r'STOPPED after .* epoch (\d+)', f.read()).group(1))

    def __exit__(self, kind, value, tb):
        if self.cluster:
            self.b.cli('cancel', self.job, ok=False)
            return False
        self.p.send_signal(signal.SIGINT)
        try:
            self.p.wait(30)
        except subprocess.TimeoutExpired:
            say('tidegate run did not end 30 s after SIGINT')
            self.p.kill()
            self.p.wait()
        self.log.close()
        return False


def places(o):
    return [c for c in (False, True) if o.mode in ('both', 'cluster' if c else 'run')]


FLOOR_TRIES = 4
SATURATED_MS = 50  # a floor above this is a queue in front of the broker: equal floors of that kind agree on nothing


def apart(a, b, ratio, ms):
    """Do two of the same kind differ by more than that ratio and that many ms?"""
    return max(a, b) > ratio * min(a, b) and abs(a - b) > ms


def steady(before, after):
    """A floor that wanders or is no floor says that the machine or the broker is what is measured."""
    if max(before['p50'], after['p50']) > SATURATED_MS:
        return False
    return not apart(before['p50'], after['p50'], 1.5, 1) and not apart(before['p99'], after['p99'], 2, 10)


COMPILING = 0.05  # of a core: above this, Java's compilers still find work in the broker
WARM_TRIES = 6


class Compilers:
    """The share of a core that the broker's compilers took while the with-block ran."""

    def __init__(self, b):
        self.b, self.share = b, 0.0

    def seconds(self):
        return sum(cpu for name, cpu in thread_cpu(self.b.broker_pid).values() if 'CompilerThre' in name)

    def __enter__(self):
        self.cpu, self.start = self.seconds(), time.monotonic()
        return self

    def __exit__(self, kind, value, tb):
        self.share = (self.seconds() - self.cpu) / (time.monotonic() - self.start)


def warm(b, o, topic, base):
    """Bare clients until the broker's compilers rest. An idempotent producer is among them: what it calls is not what the relay calls, and code that was compiled
    without it is thrown away when it comes."""
    for _ in range(WARM_TRIES):
        with Compilers(b) as c:
            base(topic)
            floor(b, o, topic, b.fresh('lat-warm'), 'enable.idempotence=true')
        say(f"warms the broker: its compilers took {100 * c.share:.0f} % of a core")
        if c.share < COMPILING or o.quick:
            return


def between_floors(b, what, base, measure):
    """One measurement with a floor before and one after it, again until they agree and the broker was not compiling, at most FLOOR_TRIES times. `steady` tells
    which it was."""
    floors = [base()]
    for i in range(FLOOR_TRIES):
        with Compilers(b) as c:
            m = measure()
        floors.append(base())
        before, after = floors[-2:]
        m['compiling'] = round(c.share, 3)
        m['steady'] = steady(before, after) and c.share < COMPILING
        say(f"  {what}: p50 {m['p50']:.1f} p99 {m['p99']:.1f} max {m['max']:.0f} ms; floor p50 {before['p50']:.1f}, {after['p50']:.1f} p99 {before['p99']:.1f}, {after['p99']:.1f} ms" +
            (f"; compilers {100 * c.share:.0f} %" if c.share >= COMPILING else '') + ('' if m['steady'] else '; not steady'))
        if m['steady']:
            break
    return m, {k: (before[k] + after[k]) / 2 for k in ('p50', 'p99', 'max')}


def latency_rows(b, o, work, guarantee, epochs, isolation, judge, base):
    rows = []
    b.need_kafka()
    topic = b.fresh('lat-in')
    warm(b, o, topic, base)
    tries = max(1, o.pairs // 2)

    def measure(kind, cluster):
        out = b.fresh('lat-out')
        with Job(b, b.sql(f'relay_{kind}.sql', TOPIC=topic, OUT=out, GUARANTEE=guarantee), cluster, epochs) as j:
            cpu = j.cpu()
            m = measure_latency(b, o, topic, out, isolation)
            m['cpu_share'] = (j.cpu() - cpu) / (o.seconds + 3)
        if m['got'] < m['sent'] and kind == 'stateless':
            raise Failure(f"{m['sent']} rows sent, {m['got']} came back")
        return m
    for kind in ('stateless', 'keyed'):
        for cluster in places(o):
            name = kind + (' (cluster)' if cluster else '')
            pairs = [between_floors(b, name, lambda: base(topic), lambda: measure(kind, cluster)) for _ in range(tries)]
            good = [p for p in pairs if p[0]['steady']]
            med = {k: median([m[k] for m, _ in good or pairs]) for k in ('p50', 'p90', 'p99', 'p999', 'max', 'gap_ms', 'cpu_share')}
            low = {k: median([f[k] for _, f in good or pairs]) for k in ('p50', 'p99', 'max')}
            target, met = judge(med, low, good or pairs)
            text = f"p50 {med['p50']:.1f} p99 {med['p99']:.1f} max {med['max']:.0f} ms; floor {low['p50']:.1f}, {low['p99']:.1f}; {100 * med['cpu_share']:.0f} % of a core"
            row = {'work': work, 'variant': name, 'target': target, 'latency_ms': med, 'floor_ms': low, 'steady': len(good), 'text': text,
                   'samples': [m for m, _ in pairs], 'floor_samples': [f for _, f in pairs]}
            if good:
                row['met'] = met
            else:
                row['text'] = f'no measurement, the floor is not steady ({text})'
            rows.append(row)
        b.end_cluster()
    return rows


def latency(b, o):
    """Kafka to Kafka at 10,000 events/s, at least once, against the relay in the same minute"""
    def judge(med, low, pairs):
        met = median([m['p50'] - f['p50'] for m, f in pairs]) <= 1 and median([m['p99'] - 1.5 * f['p99'] for m, f in pairs]) <= 3
        return 'p50 within 1 ms, p99 within 1.5 times + 3 ms of the floor', met
    floor_out = b.fresh('lat-floor')
    return latency_rows(b, o, 'latency', 'at-least-once', '1s', 'read_uncommitted', judge, lambda topic: floor(b, o, topic, floor_out))


def latency_eos(b, o):
    """the same exactly once, 100 ms epochs, seen by a read_committed consumer; the floor is a transaction per epoch"""
    data, ledger = b.fresh('txn-data'), b.fresh('txn-ledger', 1)
    def base(topic):
        return json.loads(b.tool('txn', data, ledger, max(50, o.seconds * 5), o.rate // 10, 100))
    def judge(med, low, pairs):
        met = median([m['p50'] for m, _ in pairs]) <= 50 + 40 and median([m['p99'] - 1.5 * f['p99'] for m, f in pairs]) <= 100 + 30
        return f"p50 90 ms, p99 130 ms + 1.5 times the transaction's ({100 + 30 + 1.5 * low['p99']:.0f} ms)", met
    return latency_rows(b, o, 'latency-eos', 'exactly-once', '100ms', 'read_committed', judge, base)


# ---- starting
STATELESS_GENERATOR = """CREATE TABLE src (id BIGINT, v DOUBLE) WITH ('connector' = 'datagen', 'rows-per-second' = '1000', 'fields.id.kind' = 'sequence',
 'fields.id.start' = '1', 'fields.id.end' = '1000000');
CREATE TABLE dst (id BIGINT, v DOUBLE) WITH ('connector' = 'print', 'print-identifier' = '${MARK}');
INSERT INTO dst SELECT id, v * 2 FROM src WHERE id > 0;
"""
STATELESS_KAFKA = """CREATE TABLE src (id STRING, amount DOUBLE) WITH ('connector' = 'kafka', 'topic' = '${TOPIC}', 'properties.bootstrap.servers' = '${BOOTSTRAP}',
 'scan.startup.mode' = 'earliest-offset', 'format' = 'json');
CREATE TABLE dst (id STRING, amount DOUBLE) WITH ('connector' = 'print', 'print-identifier' = '${MARK}');
INSERT INTO dst SELECT id, amount * 2 FROM src WHERE amount >= 0;
"""


def first_row_of_run(b, sql):
    argv = [str(a) for a in b.run_args(sql, 'first')]
    start = time.monotonic()
    p = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        ready, _, _ = select.select([p.stdout], [], [], 30)
        if not ready or not p.stdout.read(1):
            raise Failure('no row within 30 s of the start')
        return (time.monotonic() - start) * 1000
    finally:
        p.kill()
        p.wait()
        p.stdout.close()


def first_row_on_cluster(b, sql, mark):
    log = b.procs['w1'].log
    with open(log, 'rb') as f:
        f.seek(0, os.SEEK_END)
        path = b.path(mark + '.sql')
        with open(path, 'w') as h:
            h.write(sql)
        start = time.monotonic()
        p = subprocess.Popen([TIDEGATE, 'submit', '--parallelism', '2', path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             env=dict(os.environ, TIDEGATE_COORDINATOR=b.address))
        seen = b''
        while mark.encode() not in seen:
            seen += f.read()
            if time.monotonic() - start > 30:
                raise Failure(f'no row within 30 s of submit: {p.communicate()[0]}')
            time.sleep(0.001)
        took = (time.monotonic() - start) * 1000
    job = p.communicate()[0].decode().split()[-1]
    b.cli('cancel', job, ok=False)
    return took


def start(b, o):
    """ms from the start of the process to the first row of run, from a generator and from Kafka; from submit to the first row on a cluster"""
    topic = b.load('orders', 4, 10000, 100000, 50, 1000)
    b.cluster(slots=4)
    kinds = [('run, generator', 150, lambda m: first_row_of_run(b, b.sql(STATELESS_GENERATOR, MARK=m))),
             ('run, Kafka', 400, lambda m: first_row_of_run(b, b.sql(STATELESS_KAFKA, MARK=m, TOPIC=topic))),
             ('submit, generator', 300, lambda m: first_row_on_cluster(b, b.sql(STATELESS_GENERATOR, MARK=m), m)),
             ('submit, Kafka', None, lambda m: first_row_on_cluster(b, b.sql(STATELESS_KAFKA, MARK=m, TOPIC=topic), m))]
    times = {k[0]: [] for k in kinds}
    for i in range(3 * o.pairs):
        for name, _, fn in kinds:
            times[name].append(fn(f'mark{os.getpid()}x{b.serial}x{i}'))
    rows = []
    for name, limit, _ in kinds:
        v = sorted(times[name])
        rows.append({'work': 'start', 'variant': name, 'text': f'median {median(v):.0f} ms, {v[0]:.0f} to {v[-1]:.0f}', 'median_ms': median(v), 'samples': v,
                     **({'target': f'{limit} ms', 'met': median(v) <= limit} if limit else {})})
    return rows


def idle(b, o):
    """CPU share of an idle job with exactly-once output and 100 ms epochs, and how many epochs it made"""
    rows = []
    for cluster in places(o):
        topic, out = b.fresh('idle-in'), b.fresh('idle-out')
        with Job(b, b.sql('relay_keyed.sql', TOPIC=topic, OUT=out, GUARANTEE='exactly-once'), cluster, '100ms') as j:
            time.sleep(2 if o.quick else 5)
            cpu, t0 = j.cpu(), time.monotonic()
            time.sleep(max(10, o.seconds))
            share = (j.cpu() - cpu) / (time.monotonic() - t0)
            rss, made = max(rss_mb(pid, 'VmRSS') for pid in j.pids()), j.epochs_made() if cluster else None
        if not cluster:
            made = j.epochs_made() - 1
        rows.append({'work': 'idle', 'variant': 'cluster' if cluster else 'run', 'text': f'{100 * share:.2f} % of a core, {made} epochs since it began', 'share': share,
                     'target': 'below 1 %', 'met': share < 0.01, 'rss_mb': rss})
    return rows


KEYED = """CREATE TABLE src (k BIGINT, v DOUBLE) WITH ('connector' = 'datagen', 'rows-per-second' = '1000000000', 'number-of-rows' = '${ROWS}',
 'fields.k.min' = '0', 'fields.k.max' = '${LAST}', 'fields.v.min' = '0', 'fields.v.max' = '1000');
CREATE TABLE dst (k BIGINT, n BIGINT, total DOUBLE) WITH ('connector' = 'blackhole');
INSERT INTO dst SELECT k, COUNT(*), SUM(v) FROM src GROUP BY k;
"""


def slots(b, o):
    """two slots against one, generator to blackhole, keyed aggregate of 100,000 keys: rows per second of wall clock"""
    rows_n = o.events * 8  # seconds, not tenths: start and end of the process are the same for one slot and two
    sql = b.sql(KEYED, ROWS=rows_n, LAST=99999)
    def once(n):
        s = Sample()
        while not s.events or s.wall < o.min_seconds:
            s.add(b.run(sql, slots=n, parallelism=n))
        return s
    one, two = [once(1)], []
    for _ in range(o.pairs):
        two.append(once(2))
        one.append(once(1))
    ratios = [two[i].events / two[i].wall / ((one[i].events / one[i].wall) * (one[i + 1].events / one[i + 1].wall)) ** 0.5 for i in range(len(two))]
    low, high, coverage = interval(ratios)
    wall = lambda v: median([x.events / x.wall for x in v]) / 1e6  # noqa: E731
    return [{'work': 'slots', 'variant': 'two against one', 'ratio': median(ratios), 'low': low, 'high': high, 'coverage': coverage, 'target': 'at least 1.7 times',
             'met': median(ratios) >= 1.7, 'text': f'{wall(two):.1f} against {wall(one):.1f} M rows/s of wall clock',
             'samples': [x.dict() for x in two], 'base_samples': [x.dict() for x in one]}]


WORKS = {'latency': latency, 'latency-eos': latency_eos, 'start': start, 'idle': idle, 'slots': slots}
