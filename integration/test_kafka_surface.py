"""What Flink's Kafka tables can say beyond rows: headers, metadata in other types, partitioners, topics by pattern."""
import signal
from harness import Cluster, wait_for
from test_kafka import BOUNDED, EVENTS, background, check, contains, expect_once, ids, interrupt, put, run, select, settled, table, values

HEADERS = "id BIGINT, h MAP<STRING, BYTES> METADATA FROM 'headers'"


def test_headers_are_written_and_read_by_both_ways_of_writing():
    with Cluster('kafka-headers') as c:
        c.kafka()
        for guarantee in ('at-least-once', 'exactly-once'):
            topic = 'h-' + guarantee
            c.topic(topic, 1)
            run(c, table(c, 'snk', HEADERS + ", ts TIMESTAMP(3) METADATA FROM 'timestamp'", topic, sink__delivery_guarantee=guarantee)
                + "INSERT INTO snk VALUES (1, MAP['a', CAST('x' AS BYTES), 'b', CAST('' AS BYTES)], TIMESTAMP '2024-01-02 03:04:05.678'),\n"
                "  (2, CAST(NULL AS MAP<STRING, BYTES>), TIMESTAMP '2024-01-02 03:04:06'),\n"
                "  (3, MAP['k', CAST('€' AS BYTES)], TIMESTAMP '2024-01-02 03:04:07');", name='write-' + guarantee)
            settled(c, topic)
            rows = select(c, table(c, 'src', HEADERS + " VIRTUAL, ts TIMESTAMP(3) METADATA FROM 'timestamp' VIRTUAL", topic, **BOUNDED),
                          'id BIGINT, n INT, a STRING, b STRING, k STRING, ts TIMESTAMP(3)',
                          "SELECT id, CARDINALITY(h), CAST(h['a'] AS STRING), CAST(h['b'] AS STRING), CAST(h['k'] AS STRING), ts FROM src", name='read-' + guarantee)
            check(guarantee, rows, [('1', '2', 'x', '', 'null', '2024-01-02T03:04:05.678'), ('2', '0', 'null', 'null', 'null', '2024-01-02T03:04:06'),
                                    ('3', '1', 'null', 'null', '€', '2024-01-02T03:04:07')])
            check('no header, no row less', len(values(c, topic)), 3)


def test_metadata_is_cast_to_the_type_declared():
    with Cluster('kafka-casts') as c:
        c.kafka()
        c.topic('t', 2)
        put(c, 't', 1, {'id': 1}, TIMESTAMP=1700000000123)
        src = table(c, 'src', "id BIGINT, `partition` BIGINT METADATA VIRTUAL, `offset` STRING METADATA VIRTUAL, ts TIMESTAMP(3) METADATA FROM 'timestamp' VIRTUAL, "
                    "p2 AS `partition` * 10000000000, WATERMARK FOR ts AS ts - INTERVAL '1' SECOND", 't', **BOUNDED)
        check('casts', select(c, src, 'id BIGINT, p BIGINT, o STRING, ts TIMESTAMP(3), p2 BIGINT', 'SELECT id, `partition`, `offset`, ts, p2 FROM src'),
              [('1', '1', '0', '2023-11-14T22:13:20.123', '10000000000')])
        contains('no such cast', select(c, table(c, 'src', "id BIGINT, h INT METADATA FROM 'headers' VIRTUAL", 't', **BOUNDED), 'id BIGINT, h INT', ok=False),
                 "metadata 'headers' is MAP", 'cannot be cast to INT')


def test_partitioners():
    with Cluster('kafka-partitioners') as c:
        c.kafka()
        c.topic('in', 1)
        put(c, 'in', 0, *ids(0, 600))
        for guarantee in ('at-least-once', 'exactly-once'):
            for partitioner in ('fixed', 'round-robin'):
                topic = f'{partitioner}-{guarantee}'
                c.topic(topic, 3)
                run(c, table(c, 'src', EVENTS, 'in', **BOUNDED) + table(c, 'snk', EVENTS, topic, sink__delivery_guarantee=guarantee, sink__partitioner=partitioner, sink__parallelism='1')
                    + 'INSERT INTO snk SELECT * FROM src;', name=topic)
                rows = [p for p, _, _, _ in c.dump(topic)]
                check(topic, [rows.count(p) for p in range(3)], [600, 0, 0] if partitioner == 'fixed' else [200, 200, 200])


def test_two_inserts_into_one_table_are_two_writers():
    """Each has lanes and a ledger of its own: neither takes the other's epochs for its own, nor fences it. The process is killed in between."""
    with Cluster('kafka-two') as c:
        c.kafka()
        for topic in 'in', 'out':
            c.topic(topic, 2)
        sql = (table(c, 'src', EVENTS, 'in') + table(c, 'snk', EVENTS, 'out', sink__delivery_guarantee='exactly-once') +
               'EXECUTE STATEMENT SET BEGIN\nINSERT INTO snk SELECT id, name FROM src WHERE MOD(id, 3) <> 0;\n'
               'INSERT INTO snk SELECT id + 100000, UPPER(name) FROM src;\nEND;')
        wanted, n = [], 0
        p = background(c, sql, 'first', ['--data', c.path('data')], job='two')
        for turn in range(3):
            for part in range(3):
                put(c, 'in', part % 2, *ids(n, n + 200))
                wanted += [i for i in range(n, n + 200) if i % 3] + [i + 100000 for i in range(n, n + 200)]
                n += 200
                wait_for(f'{len(wanted)} rows', lambda: int(c.tool('count', 'out')) >= len(wanted), 40)
            if turn < 2:
                p.kill(signal.SIGKILL)
                p = background(c, sql, f'again{turn}', ['--data', c.path('data')], job='two')
        check('exit status', interrupt(p), 0)
        expect_once('rows', [v['id'] for v in values(c, 'out')], wanted)
        for ledger in 'snk', 'snk-2':
            check(f'the ledger of {ledger}', int(c.tool('count', f'tidegate-ledger.tidegate.two.{ledger}')) > 0, True)


def test_topics_by_pattern_also_those_that_come_later():
    with Cluster('kafka-pattern') as c:
        c.kafka()
        for name in ('orders-eu', 'orders-us', 'orders', 'other'):
            c.topic(name, 2)
            put(c, name, 0, {'id': len(name), 'name': name})
        columns = EVENTS + ", tp STRING METADATA FROM 'topic' VIRTUAL"
        pattern = {'topic_pattern': 'orders-[a-z]+'}
        source = lambda **kw: table(c, 'src', columns, None, **pattern, **kw)
        check('whole names', select(c, source(**BOUNDED), 'id BIGINT, tp STRING', 'SELECT id, tp FROM src'), [('9', 'orders-eu'), ('9', 'orders-us')])
        c.topic('out', 1)
        p = background(c, source(scan__topic_partition_discovery__interval='300 ms') + table(c, 'snk', EVENTS, 'out', sink__delivery_guarantee='at-least-once')
                       + 'INSERT INTO snk SELECT id, name FROM src;', 'follow')
        wait_for('the topics of the start', lambda: len(values(c, 'out')) == 2, 30)
        c.topic('orders-asia', 1)
        put(c, 'orders-asia', 0, {'id': 77, 'name': 'orders-asia'})
        wait_for('the topic that came later', lambda: any(r['id'] == 77 for r in values(c, 'out')), 30)
        interrupt(p)
        contains('both', select(c, table(c, 'src', EVENTS, 'orders', **pattern, **BOUNDED), EVENTS, ok=False), 'exclude each other')
