"""The works of bench/run: each a function of (Bench, options) that returns rows for the table. A row has what was measured, its text for the
table, and where the project has set a target, that and whether it was met."""
import os
from harness import Failure
from measure import Interleaved, geometric, median, say

MILLION = 1000000
NEXMARK = ['q0', 'q1', 'q2', 'q15', 'q16', 'q17', 'q21', 'q22']
FLINK_NEXMARK = dict(zip(NEXMARK, (95e3, 114e3, 107e3, 68e3, 21e3, 81e3, 85e3, 98e3)))  # events per CPU second, measured once with Flink 2.3: for runs without --flink
BLACKHOLE = "'connector' = 'blackhole'"
CLUSTER, FLINK = ' (cluster)', ' (flink)'


def modes(b, o, variants, events, flink=False, **how):
    """{name: sql} -> {name, name on the cluster, name on Flink: function that makes a sample}"""
    out = {}
    for name, sql in variants.items():
        if o.mode in ('run', 'both'):
            out[name] = lambda sql=sql: b.run(sql, **how)
        if o.mode in ('cluster', 'both'):
            out[name + ' (cluster)'] = lambda sql=sql: b.run_on_cluster(sql, events, epochs=how.get('epochs', '1s'))
        if flink:
            out[name + FLINK] = lambda sql=sql: b.flink(sql, events)
    if o.mode in ('cluster', 'both'):
        b.cluster(memory=how.get('memory', '512M'))
    return out


def extras(b, o, row, sql, base=None, **how):
    """What the places of `run` alone can tell: allocations and instructions; base: instructions per event of what it is compared with."""
    if row['variant'].endswith((CLUSTER, FLINK)):
        return row
    try:
        row['allocations_per_event'] = round(b.allocations(sql(), **how), 4)
        row['instructions_per_event'] = b.instructions(sql(), **how)
        row['base_instructions_per_event'] = base() if base and row['instructions_per_event'] else None
    except (Failure, OSError, ValueError) as e:  # beside the point: what was measured stays
        row['error'] = str(e)
        say(f"{row['work']} {row['variant']}: no allocations or instructions: {e}")
    return row


def tumble(b, o):
    """the 5-second tumbling job per category, blackhole, 1 s epochs; group window and TVF"""
    topic = b.load('orders', 4, o.events, 100000, 50, 100000)
    sql = {'group window': b.sql('tumble.sql', TOPIC=topic, SINK=BLACKHOLE), 'tvf': b.sql('tumble_tvf.sql', TOPIC=topic, SINK=BLACKHOLE)}
    m = Interleaved(lambda: b.consume(topic, o.events), modes(b, o, sql, o.events, o.flink), o.pairs, o.min_seconds)
    rows = []
    for name in m.samples:
        row = m.row('tumble', name)
        if not name.endswith(FLINK):
            row.update(target='at least 0.70 of bare consumption', met=row['ratio'] >= 0.70)
        rows.append(extras(b, o, row, lambda: sql[name.split(' (')[0]], lambda: b.base_instructions(topic, o.events)))
    return rows


def memory(b, o):
    """peak RSS on the tumbling job, of run and of a worker"""
    topic = b.load('orders', 4, o.events, 100000, 50, 100000)
    rows = []
    for name, fn in modes(b, o, {'run': b.sql('tumble.sql', TOPIC=topic, SINK=BLACKHOLE)}, o.events).items():
        s = fn()
        rows.append({'work': 'memory', 'variant': 'worker' if name.endswith(CLUSTER) else name, 'text': f'{s.rss:.0f} MB', 'rss_mb': s.rss, 'target': '150 MB', 'met': s.rss <= 150})
    return rows


def tumble_eos(b, o):
    """the same with exactly-once output and 100 ms epochs, against itself in the same place into blackhole with 1 s epochs"""
    topic, out = b.load('orders', 4, o.events, 100000, 50, 100000), b.fresh('tumble-out')
    def exactly_once():
        b.serial += 1
        return b.sql('tumble.sql', TOPIC=topic, SINK=f"'connector' = 'kafka', 'topic' = '{out}', 'properties.bootstrap.servers' = '{b.bootstrap}', 'format' = 'json', "
                     f"'sink.delivery-guarantee' = 'exactly-once', 'sink.transactional-id-prefix' = 'eos-{os.getpid()}-{b.serial}', 'properties.transaction.timeout.ms' = '60000'")
    plain = b.sql('tumble.sql', TOPIC=topic, SINK=BLACKHOLE)
    places = []
    if o.mode in ('run', 'both'):
        places.append(('exactly once', lambda: b.run(plain), lambda: b.run(exactly_once(), epochs='100ms')))
    if o.mode in ('cluster', 'both'):
        places.append(('exactly once' + CLUSTER, lambda: b.run_on_cluster(plain, o.events), lambda: b.run_on_cluster(exactly_once(), o.events, epochs='100ms')))
    rows = []
    for name, base, variant in places:
        if name.endswith(CLUSTER):
            b.cluster()
        row = Interleaved(base, {name: variant}, o.pairs, o.min_seconds).row('tumble-eos', name, target='at least 0.95 of at 1 s into blackhole, favourable end')
        row['met'] = row['high'] >= 0.95
        rows.append(extras(b, o, row, exactly_once, lambda: b.instructions(plain), epochs='100ms'))
    return rows


def nexmark(b, o):
    """eight queries over auction events with nested rows, blackhole, 1 s epochs"""
    events = max(MILLION // 5, o.events // 4)
    topic = b.load('nexmark', 4, events, 10000)
    wanted = o.queries.split(',') if o.queries else NEXMARK
    sql = {q: b.sql('nexmark.sql', q + '.sql', TOPIC=topic) for q in wanted}
    m = Interleaved(lambda: b.consume(topic, events), modes(b, o, sql, events, o.flink), o.pairs, o.min_seconds, every=2)
    rows = []
    for name in m.samples:
        q = name.split()[0]
        row = m.row('nexmark', name)
        if not name.endswith(FLINK):
            flink, whose = (median([x.rate for x in m.samples[q + FLINK]]), "this run's") if q + FLINK in m.samples else (FLINK_NEXMARK[q], 'measured once')
            row.update(target=f'at least {5 * flink / 1e6:.2f} M (5 times Flink, {whose})', met=row['per_cpu_second'] >= 5 * flink)
        rows.append(extras(b, o, row, lambda: sql[q], lambda: b.base_instructions(topic, events)))
    for mode in ('', CLUSTER, FLINK):
        rates = [m.row('', q + mode)['per_cpu_second'] for q in NEXMARK if q + mode in m.samples]
        if len(rates) == len(NEXMARK):
            g = geometric(rates)
            row = {'work': 'nexmark', 'variant': 'geometric mean' + mode, 'per_cpu_second': g}
            if mode != FLINK:
                flink = geometric([median([x.rate for x in m.samples[q + FLINK]]) for q in NEXMARK]) if o.flink else 0.076e6
                row.update(target=f'at least {10 * flink / 1e6:.2f} M (10 times Flink)', met=g >= 10 * flink)
            rows.append(row)
    return rows
