"""tests/kafka/broker_*.c on a real broker: parts of the Kafka connector by themselves; and a load of the benchmarks. They share one broker, each has its
topics."""
import collections, json, os, subprocess
from harness import Cluster, Failure, SLOW, TIDEGATE
from test_kafka import check, expect_once

SHARED = True
shared = None


def broker():
    global shared
    if not shared:
        shared = Cluster('parts')
        shared.kafka()
    return shared


def finish():
    if shared:
        shared.__exit__(None, None, None)


def on_the_broker(name, topic, partitions):
    """Runs tests/kafka/NAME.c on a new topic; a Cluster to look at what it left."""
    exe = os.path.join(os.environ.get('TIDEGATE_BUILD', os.path.dirname(TIDEGATE)), 'tests', name)
    c = broker()
    c.topic(topic, partitions)
    r = subprocess.run([exe], env=dict(os.environ, BOOTSTRAP=c.bootstrap, TOPIC=topic, CK_FORK='no'), capture_output=True, timeout=200 * SLOW)
    if r.returncode:
        raise Failure(r.stdout.decode() + r.stderr.decode())
    print('  ' + [x for x in r.stdout.decode().splitlines() if '%' not in x][-1])
    return c


def test_lanes_on_the_broker():
    """The lane driver by itself: commits, is fenced, reads its ledger, goes on."""
    c = on_the_broker('broker_lane', 'lane-data', 4)
    rows = [v for _, _, _, v in c.dump('lane-data')]
    expect_once('rows of an epoch in parts', [v for v in rows if v.startswith('131.')], [f'131.{i}' for i in range(100)])
    check('rows of dead transactions', [v for v in rows if v.startswith('never')], [])


def test_fetching_ahead_is_bounded():
    """The gate before Fetch requests: bounded, loses nothing, does not hold back the end of the handle."""
    on_the_broker('broker_gate', 'gate-data', 1)


def test_positions_cover_the_rows_that_left():
    """The source by itself, dying again and again with rows decoded that have not left (hazards A23)."""
    on_the_broker('broker_source', 'source-data', 2)


def test_the_orders_of_the_benchmarks_have_every_user_in_order_and_then_draw_them_evenly():
    """bench/kafka_load.c: what `budget` takes for keys that are made and then updated"""
    c, users, n = broker(), 200, 41000
    for topic, made in (('orders-drawn', 0), ('orders-made', users)):
        c.topic(topic, 4)
        c.tool('orders', topic, 4, n, 1000, 50, users, *([f'sequence={made}'] if made else []))
        events = [json.loads(v) for _, _, _, v in sorted(c.dump(topic), key=lambda r: (r[1], r[0]))]
        check(f'{topic}: dealt over the partitions', [e['id'] for e in events], [f'o{i:09d}' for i in range(n)])
        check(f'{topic}: made in order', [e['user_id'] for e in events[:made]], [f'u{i:06d}' for i in range(made)])
        drawn = collections.Counter(e['user_id'] for e in events[made:])
        check(f'{topic}: the users drawn', sorted(drawn), [f'u{i:06d}' for i in range(users)])
        expected = (n - made) / users
        chi = sum((x - expected) ** 2 / expected for x in drawn.values())
        if not 100 < chi < 300:  # 199 +- 5 times 20: more is uneven, less is no chance
            raise Failure(f'{topic}: drawn unevenly, chi square {chi:.0f} of 199 degrees of freedom')
