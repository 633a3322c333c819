"""Savepoints of running jobs, what may begin from them, and what `run` keeps, on real processes."""
import collections, json, os, re, signal, time
from harness import Cluster, Failure, PATIENT, SLOW, TIDEGATE, wait_for
from test_bad_days import Feeder, broker, copy_job, count, doc, exactly_once, finish
from test_kafka import check, contains, copy_job as prefixed_job, expect_once, ids, put, two_clusters, values

FLOWING = ("CREATE TABLE src (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '100', 'fields.n.kind' = 'sequence', 'fields.n.start' = '1', "
           "'fields.n.end' = '1000000');\nCREATE TABLE snk (n BIGINT) WITH ('connector' = 'print');\nINSERT INTO snk SELECT n FROM src;")


def refused(t, sql, name, args, *says):
    path = t.path(name + '.sql')
    with open(path, 'w') as f:
        f.write(sql)
    r = t.cli('submit', '--parallelism', 2, *args, path, ok=False)
    if r.returncode == 0:
        raise Failure(f'submit {" ".join(args)} is not refused: {r.stdout.decode()}')
    contains('the refusal', r.stderr.decode(), *says)


def suffix_of_each_partition(t, source, sink):
    """Every id of sink once, and of each partition of source all behind some row; returns how many."""
    seen = collections.Counter(json.loads(v)['id'] for _, _, _, v in t.dump(sink))
    if max(seen.values(), default=0) > 1:
        raise Failure(f'{sink}: twice: {[i for i, k in seen.items() if k > 1][:5]}')
    by_partition = collections.defaultdict(list)
    for p, offset, _, v in t.dump(source):
        by_partition[p].append((offset, json.loads(v)['id'] in seen))
    for p, rows in by_partition.items():
        there = [x for _, x in sorted(rows)]
        if there != sorted(there):
            raise Failure(f'{sink}: a row of partition {p} is missing behind one that is there')
    return len(seen)


def one_worker(t, slots, prefix=None, *topics):
    """A coordinator, a worker, and topics of two partitions: PREFIX-NAME of each name."""
    t.coordinator(etcd=False)
    t.worker(1, slots=slots)
    t.workers_ready(1)
    for name in topics:
        t.topic(f'{prefix}-{name}', 2)


def test_a_savepoint_while_rows_flow_and_what_may_begin_from_it():
    c = broker()
    with Cluster('savepoints', broker=c) as t:
        one_worker(t, 4, 'sp', 'in', 'out', 'other')
        job = t.submit(copy_job(t, 'sp'), 'first', 2)
        feed = Feeder(t, 'sp-in', rate=1000)
        wait_for('rows', lambda: count(t, 'sp-out') > 500)
        target = 'file://' + t.path('kept')
        check('the savepoint', t.cli('savepoint', job, '--to', target).stdout.decode().strip(), target)
        seen = count(t, 'sp-out')
        wait_for('rows after the savepoint', lambda: count(t, 'sp-out') > seen + 500)
        check('restarts', doc(t, job)['restarts'], 0)
        for lane in t.json('ledger', 'show', job)['lanes']:
            if lane['published'] > doc(t, job)['epoch']:
                raise Failure(f'published beyond the last epoch: {lane}')
        refused(t, copy_job(t, 'sp'), 'second', ['--from', target], 'both would publish the same output')
        refused(t, copy_job(t, 'sp'), 'second', ['--from', target, '--new-ledger'], "goes to topic 'sp-out'")
        other = copy_job(t, 'sp').replace("'sp-out'", "'sp-other'")
        clone = t.submit(other, 'second', 2, ['--from', target, '--new-ledger'])
        wait_for('rows of the second job', lambda: count(t, 'sp-other') > 500, 40)
        n = feed.stop()
        exactly_once(t, 'sp-out', n)
        wait_for('the same rows of the second job', lambda: json.loads(max(t.dump('sp-other'), key=lambda r: json.loads(r[3])['id'])[3])['id'] == n - 1, 30, 0.5)
        time.sleep(1)
        behind = suffix_of_each_partition(t, 'sp-in', 'sp-other')
        if not 0 < behind < n:
            raise Failure(f'the second job published {behind} of {n} rows, it began in the middle')
        wait_for('all to be published', lambda: not any(x['behind'] for x in t.json('ledger', 'show', job)['lanes']), 20)
        for x in job, clone:
            t.cli('cancel', x)
            check('state', doc(t, x)['state'], 'CANCELLED')
        print(f'  {n} rows once; the second job published the {behind} behind the savepoint')


def test_of_two_starts_from_one_savepoint_the_second_is_refused():
    """Without a prefix the name of a job is part of its ledger's, so two names are two ledgers: both would publish every row."""
    c = broker()
    with Cluster('twice', broker=c) as t:
        one_worker(t, 4, 'tw', 'in', 'out')
        first = t.submit(copy_job(t, 'tw'), 'first', 2)
        feed = Feeder(t, 'tw-in', rate=500)
        wait_for('rows', lambda: count(t, 'tw-out') > 200)
        where = t.cli('stop', first).stdout.decode().strip()
        second = t.submit(copy_job(t, 'tw'), 'second', 2, ['--from', where])
        says = f'job {second} (second)', 'goes on from the same state', "sink o goes to topic 'tw-out'"
        refused(t, copy_job(t, 'tw'), 'third', ['--from', where], *says)
        t.procs['coordinator'].kill()
        t.coordinator(etcd=False)
        refused(t, copy_job(t, 'tw'), 'third', ['--from', where], *says)

        def copies():  # with files
            jobs = t.path('checkpoints/jobs')
            return [x for x in os.listdir(jobs) if '@' in x and any(f for _, _, f in os.walk(os.path.join(jobs, x)))]
        wait_for('the copies of those that were turned away to go', lambda: len(copies()) == 1)
        check('whose the copy is that stays', [f'@{int(second):016x}' in x for x in copies()], [True])
        wait_for('RUNNING', lambda: doc(t, second)['state'] == 'RUNNING', 30)
        exactly_once(t, 'tw-out', feed.stop())
        t.cli('cancel', second)


def test_a_savepoint_older_than_what_was_published_is_refused_unless_duplicates_are_accepted():
    """What lies behind a savepoint in the sink's topic would come a second time. The savepoint of a stop has nothing behind it; used twice it has."""
    c = broker()
    with Cluster('older', broker=c) as t:
        one_worker(t, 6, 'old', 'in', 'out')
        sql = copy_job(t, 'old')
        first = t.submit(sql, 'orders', 2)
        feed = Feeder(t, 'old-in', rate=500)
        wait_for('rows', lambda: count(t, 'old-out') > 200)
        early = t.cli('savepoint', first).stdout.decode().strip()
        seen = count(t, 'old-out')
        wait_for('rows behind it', lambda: count(t, 'old-out') > seen + 500)
        late = t.cli('stop', first).stdout.decode().strip()
        behind = f'savepoint {early}: sink o, lane ', 'the ledger says epoch ', 'output published since would come a second time', '--accept-duplicates', 'last savepoint'
        refused(t, sql, 'orders', ['--from', early], *behind)
        refused(t, sql, 'renamed', ['--from', early], *behind)
        refused(t, sql, 'orders', ['--from', early, '--new-ledger'], 'the ledger is not a new one', "another 'sink.transactional-id-prefix'")
        check('jobs', len(t.json('jobs')['jobs']), 1)
        check('copies of a savepoint', [x for x in os.listdir(t.path('checkpoints/jobs')) if '@' in x], [])

        second = t.submit(sql, 'orders', 1, ['--from', late])  # and with fewer lanes than before
        n = feed.stop()
        exactly_once(t, 'old-out', n)
        t.cli('cancel', second)
        for name in 'orders', 'renamed':
            refused(t, sql, name, ['--from', late], 'may be published or not', 'another job began from the same savepoint', '--accept-duplicates')
        exactly_once(t, 'old-out', n)

        third = t.submit(sql, 'orders', 2, ['--from', early, '--accept-duplicates'])
        wait_for('the last row again', lambda: collections.Counter(json.loads(v)['id'] for _, _, _, v in t.dump('old-out'))[n - 1] == 2, 40, 0.5)
        wait_for('all to be published', lambda: not any(x['behind'] for x in t.json('ledger', 'show', third)['lanes']), 20)
        time.sleep(1)
        seen = collections.Counter(json.loads(v)['id'] for _, _, _, v in t.dump('old-out'))
        twice = sum(k == 2 for k in seen.values())
        if set(seen) != set(range(n)) or set(seen.values()) != {1, 2} or not 500 < twice < n:
            raise Failure(f'{len(seen)} of {n} rows, {twice} of them twice, {collections.Counter(seen.values())}')
        t.procs['w1'].kill()  # its own records bind it now, whatever it began from
        t.worker(2, slots=6)
        wait_for('RUNNING', lambda: doc(t, third)['state'] == 'RUNNING' and doc(t, third)['restarts'] == 1, 40)
        last = t.cli('stop', third).stdout.decode().strip()
        fourth = t.submit(sql, 'orders', 2, ['--from', last])
        wait_for('RUNNING', lambda: doc(t, fourth)['state'] == 'RUNNING', 30)
        t.cli('cancel', fourth)
        check('rows in the end', count(t, 'old-out'), n + twice)
        print(f'  {n} rows; {twice} of them twice, as was asked for')


test_a_savepoint_older_than_what_was_published_is_refused_unless_duplicates_are_accepted.limit = 400  # its waits, each of which says what it waits for


def ten_rows_kept(c):
    """A job that copies has published ten rows, and a savepoint has them."""
    for topic in 't', 'o':
        c.topic(topic, 1)
    job = c.submit(prefixed_job(c), 'first', parallelism=1)
    put(c, 't', 0, *ids(0, 10))
    wait_for('rows', lambda: count(c, 'o') == 10)
    target = 'file://' + c.path('kept')
    c.cli('savepoint', job, '--to', target)
    return job, target


def test_lanes_find_what_was_published_behind_a_savepoint_after_it_was_submitted():
    """The submit sees a ledger as it has to be. Before the job gets a slot the savepoint's job, of another cluster, publishes on: the lanes refuse."""
    with two_clusters('older-late') as (c, c2):
        first, target = ten_rows_kept(c)
        c2.procs['w1'].kill()
        second = c2.submit(prefixed_job(c), 'second', parallelism=1, args=['--from', target])
        put(c, 't', 0, *ids(10, 20))
        wait_for('rows behind it', lambda: count(c, 'o') == 20)
        c2.worker(1, slots=2)
        wait_for('the end of the second', lambda: c2.job(second)['job']['state'] == 'FAILED', 60)
        contains('its error', json.dumps(c2.job(second)['job']['error']), 'sink snk', 'the ledger says epoch ', 'would come a second time', '--accept-duplicates')
        contains('resume', c2.cli('resume', second, ok=False).stderr.decode(), 'would stop again at once')
        put(c, 't', 0, *ids(20, 30))
        wait_for('the rest', lambda: count(c, 'o') >= 30)
        check('the first, which it fenced in vain,', c.job(first)['job']['state'], 'RUNNING')
        expect_once('rows', [v['id'] for v in values(c, 'o')], range(30))
        c.cli('cancel', first)
        c2.cli('resume', '--accept-duplicates', second)
        wait_for('rows again', lambda: count(c, 'o') == 50, 60)
        check('rows', collections.Counter(v['id'] for v in values(c, 'o')), collections.Counter([*range(30), *range(10, 30)]))
        c2.cli('cancel', second)


def test_a_transaction_that_a_dead_worker_left_open_does_not_hold_who_begins_from_the_savepoint():
    """It hides the end of the ledger until the broker ends it, 15 to 25 s after it was begun. Whoever would publish there ends it."""
    with Cluster('held') as c:
        c.kafka()
        one_worker(c, 2)
        first, target = ten_rows_kept(c)
        c.procs['w1'].kill()
        w = c.worker(2, env={'TIDEGATE_CRASH': 'in-transaction'})
        w.expected_death = True
        wait_for('the job on the other worker', lambda: doc(c, first)['restarts'] == 1 and doc(c, first)['state'] == 'RUNNING')
        put(c, 't', 0, *ids(10, 20))
        wait_for('its death', lambda: not w.alive(), 30, 0.01)
        c.cli('cancel', first)
        c.worker(1)
        c.workers_ready(1)
        began = time.monotonic()
        second = c.submit(prefixed_job(c), 'second', parallelism=1, args=['--from', target])
        took = time.monotonic() - began
        if not 0.9 < took < 8 * SLOW:  # less: there was none
            raise Failure(f'the submit took {took:.1f} s')
        wait_for('the rest', lambda: count(c, 'o') >= 20)
        expect_once('rows', [v['id'] for v in values(c, 'o')], range(20))
        c.cli('cancel', second)
        print(f'  submitted in {took:.1f} s')


def test_files_written_behind_a_savepoint_fail_who_begins_from_it_by_name():
    """So it is with the savepoint of a job that failed by it. Nothing was cut for them: the last savepoint is as good as it was. Then duplicates are accepted."""
    with Cluster('older-files') as t:
        one_worker(t, 2)
        out = t.path('out')
        sql = FLOWING.replace("'connector' = 'print'", f"'connector' = 'filesystem', 'path' = 'file://{out}', 'format' = 'json', 'sink.rolling-policy.rollover-interval' = '500 ms'")

        def files():
            return sorted(x for x in (os.listdir(out) if os.path.isdir(out) else []) if x.startswith('part-'))

        def rows():
            numbers = sorted(json.loads(line)['n'] for x in files() for line in open(os.path.join(out, x)))
            check('rows', numbers, list(range(1, len(numbers) + 1)))
            return len(numbers)
        job = t.submit(sql, 'files', 1)
        wait_for('files', lambda: len(files()) > 1)
        early = t.cli('savepoint', job).stdout.decode().strip()
        before = len(files())
        wait_for('files behind it', lambda: len(files()) > before + 2)
        late = t.cli('stop', job).stdout.decode().strip()
        n = rows()
        failed = []
        for where in early, None:
            where = where or t.cli('savepoint', failed[0]).stdout.decode().strip()
            t.cli('submit', '--parallelism', 1, '--from', where, t.path('files.sql'), ok=False)  # it is FAILED at once, mostly
            failed += wait_for('its end', lambda: [str(x['id']) for x in t.json('jobs')['jobs'] if x['state'] == 'FAILED' and str(x['id']) not in failed], 30)
            contains('its error', json.dumps(doc(t, failed[-1])['error']), os.path.join(out, 'part-'), 'behind the savepoint', 'begin from the last savepoint')
            check('rows', rows(), n)
        third = t.submit(sql, 'files', 1, ['--from', late])
        wait_for('rows of the third', lambda: rows() > n + 50, 30)
        t.cli('stop', third)
        m = rows()
        fourth = t.submit(sql, 'files', 1, ['--from', early, '--accept-duplicates'])

        def counts():
            return collections.Counter(json.loads(line)['n'] for x in files() for line in open(os.path.join(out, x)))
        wait_for('rows that were there already', lambda: sum(counts().values()) > m + 50, 30)
        t.cli('stop', fourth)
        twice = sorted(k for k, c in counts().items() if c > 1)
        check('rows that came twice', twice, list(range(twice[0], twice[0] + len(twice))))
        check('all rows', [sorted(counts()), max(counts().values()), twice[0] > 10], [list(range(1, max(counts()) + 1)), 2, True])
        print(f'  {n} rows, then {m}, each once; then {len(twice)} from {twice[0]} on twice, as was asked for')


TWO_SINKS = """
CREATE TABLE events (id STRING, category STRING, amount DOUBLE, event_time TIMESTAMP(3)) WITH ('connector' = 'kafka', 'topic' = 'events',
  'properties.bootstrap.servers' = '%(servers)s', 'scan.startup.mode' = 'earliest-offset', 'format' = 'json');
CREATE TABLE big (id STRING, cents BIGINT) WITH ('connector' = 'kafka', 'topic' = 'big', 'properties.bootstrap.servers' = '%(servers)s', 'format' = 'json',
  'sink.delivery-guarantee' = 'exactly-once');
CREATE TABLE totals (category STRING, n BIGINT, cents BIGINT, PRIMARY KEY (category) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = 'totals',
  'properties.bootstrap.servers' = '%(servers)s', 'key.format' = 'json', 'value.format' = 'json', 'sink.delivery-guarantee' = 'exactly-once', 'sink.parallelism' = '4');
EXECUTE STATEMENT SET BEGIN
INSERT INTO big SELECT id, CAST(ROUND(amount * 100) AS BIGINT) FROM events;
INSERT INTO totals SELECT category, COUNT(*), SUM(CAST(ROUND(amount * 100) AS BIGINT)) FROM events GROUP BY category;
END;
"""


def offsets(t, topic):
    """{partition: the offset behind its last row}"""
    ends = {}
    for p, offset, _, _ in t.dump(topic):
        ends[p] = offset + 1
    return ends


def sinks_agree(topics):
    """Both sinks hold the same rows, each once: of each partition of the input all up to some offset. (How many these are, how many there are)."""
    ids = collections.Counter(json.loads(v)['id'] for _, _, _, v in topics['big'])
    if max(ids.values(), default=0) > 1:
        raise Failure(f'big: twice: {[i for i, k in ids.items() if k > 1][:5]}')
    last = {}
    for _, _, _, v in topics['totals']:
        row = json.loads(v)
        if row['n'] <= last.get(row['category'], (0, 0))[0]:
            raise Failure(f'totals: {row} after {last[row["category"]]}: doubled or out of order')
        last[row['category']] = (row['n'], row['cents'])
    partitions, want = collections.defaultdict(list), collections.defaultdict(lambda: (0, 0))
    for p, offset, _, v in topics['events']:
        row = json.loads(v)
        partitions[p].append((offset, row['id'] in ids))
        if row['id'] in ids:
            n, cents = want[row['category']]
            want[row['category']] = (n + 1, cents + round(row['amount'] * 100))
    for p, rows in partitions.items():
        there = [x for _, x in sorted(rows)]
        if there != sorted(there, reverse=True):
            raise Failure(f'big: a row of partition {p} is missing before one that is there')
    if last != want:
        raise Failure(f'the sinks do not hold the same rows: {[(k, last.get(k), v) for k, v in want.items() if last.get(k) != v][:4]}')
    return len(ids), sum(map(len, partitions.values()))


def test_stop_and_savepoint_at_full_rate_and_on_from_there_with_two_sinks():
    """20,000 rows a second go on coming while the job is copied, stopped, and goes on from the savepoint of its stop with another parallelism, twice:
    at each stop both sinks show the same cut through the input, and in the end each row once."""
    rate, seconds = 20000, 90  # it is ended before
    with Cluster('full-rate') as t:
        t.kafka()
        t.etcd()
        t.coordinator(args=PATIENT)
        for i in 1, 2:
            t.worker(i, slots=4)
        t.workers_ready(2)
        for x in 'events', 'big', 'totals':
            t.topic(x, 4)
        gen = t.tool('gen', 'events', 4, rate, seconds, 20, 7, background=True)
        sql = TWO_SINKS % {'servers': t.bootstrap}
        job, cuts = t.submit(sql, 'full', 4), []

        def flows(more):
            before = doc(t, job)['rows_in']
            wait_for(f'{more} rows more', lambda: (d := doc(t, job))['state'] == 'RUNNING' and d['rows_in'] > before + more, 60)
        for turn, parallelism in enumerate((2, 3)):
            flows(rate)
            kept = 'file://' + t.path(f'kept-{turn}')
            check('the savepoint', t.cli('savepoint', job, '--to', kept).stdout.decode().strip(), kept)
            flows(rate // 4)
            check('restarts', doc(t, job)['restarts'], 0)
            target = 'file://' + t.path(f'stop-{turn}')
            check('the stop', t.cli('stop', job, '--to', target).stdout.decode().strip(), target)
            if gen.poll() is not None:
                raise Failure('the generator has ended: nothing flowed when the job was stopped')
            check('state', doc(t, job)['state'], 'STOPPED')
            cuts.append((count(t, 'events'), {topic: offsets(t, topic) for topic in ('big', 'totals')}))
            job = t.submit(sql, 'full', parallelism, ['--from', target])
        gen.terminate()  # what went in is in the topic
        if gen.wait(60) not in (0, -signal.SIGTERM):
            raise Failure('the generator failed: ' + gen.stderr.read().decode())
        rows = count(t, 'events')
        wait_for('all rows', lambda: count(t, 'big') >= rows, 90, 0.5)
        wait_for('all to be published', lambda: not any(x['behind'] for x in t.json('ledger', 'show', job)['lanes']), 20)
        time.sleep(1)  # a doubled row would come now
        topics = {topic: t.dump(topic) for topic in ('events', 'big', 'totals')}
        check('rows in both sinks', sinks_agree(topics), (rows, rows))
        at = []
        for came, ends in cuts:  # as they were when the job was stopped
            at.append(sinks_agree({'events': topics['events'], **{topic: [r for r in topics[topic] if r[1] < ends[topic].get(r[0], 0)] for topic in ends}})[0])
            if not rate < at[-1] < came:
                raise Failure(f'stopped at row {at[-1]} of {came}: the cut is not in the middle')
        print(f'  cut at rows {at[0]} and {at[1]} while {rate} a second came; {rows} rows once in both sinks')


def interrupted(c, name, args):
    """The first and the last number a run printed that Ctrl-C ended."""
    with open(c.path('flow.sql'), 'w') as f:
        f.write(FLOWING)
    p = c.start(name, [TIDEGATE, 'run', '--quiet', *args, c.path('flow.sql')])
    wait_for(f'rows of {name}', lambda: p.tail(10000).count('+I[') > 30)
    check(f'exit of {name}', p.kill(signal.SIGINT), 0)
    numbers = [int(n) for n in re.findall(r'\+I\[(\d+)\]', p.tail(10000))]
    check(f'numbers of {name}', numbers, list(range(numbers[0], numbers[0] + len(numbers))))
    return numbers[0], numbers[-1]


def test_run_keeps_what_data_names_and_nothing_else():
    with Cluster('run') as c:
        os.mkdir(c.path('tmp'))
        os.environ['TMPDIR'] = c.path('tmp')
        check('a first run', interrupted(c, 'run1', [])[0], 1)
        check('what it left', os.listdir(c.path('tmp')), [])
        data = ['--data', c.path('data')]
        first, last = interrupted(c, 'run2', data)
        check('a run that keeps', first, 1)
        check('a further run', interrupted(c, 'run3', data)[0], last + 1)
        check('a fresh one', interrupted(c, 'run4', [*data, '--fresh'])[0], 1)


def test_run_goes_on_with_the_text_it_is_given_whatever_the_last_one_was():
    """The process is killed, or its statement cannot compute a row; the file is changed: the next run goes on from what there is, with the new text."""
    with Cluster('changed') as c:
        data, path = ['--data', c.path('data')], c.path('flow.sql')

        def run(name, sql, *args, until=30):
            with open(path, 'w') as f:
                f.write(sql)
            p = c.start(name, [TIDEGATE, 'run', '--quiet', *data, *args, path])
            wait_for(f'rows of {name}', lambda: not p.alive() or p.tail(100000).count('+I[') > until)
            return p

        def numbers(p):
            return [int(n) for n in re.findall(r'\+I\[(\d+)\]', p.tail(100000))]

        first = run('first', FLOWING)
        again = c.cli('run', *data, '--fresh', path, ok=False)  # must not take anything from the one that is alive
        contains('a second run', again.stderr.decode(), 'is in use by process', 'another run is alive there')
        check('its status', again.returncode, 3)
        first.kill(signal.SIGKILL)
        with open(c.path('other.sql'), 'w') as f:
            f.write(FLOWING)
        other = c.cli('run', *data, c.path('other.sql'), ok=False)
        contains('another job', other.stderr.decode(), "holds the job 'flow', which has not ended")
        check('its status', other.returncode, 3)
        narrow = c.cli('run', *data, '--slots', '1', path, ok=False)
        contains('a run with fewer slots', narrow.stderr.decode(), 'with 2 parallel tasks', '--slots 2')
        seen = numbers(first)
        second = run('second', FLOWING.replace('SELECT n FROM', 'SELECT n + 1000000 FROM'))
        contains('the notice', second.tail(100000), 'holds this job with another text', 'stopped first')
        check('its status', second.kill(signal.SIGINT), 0)
        got = sorted(n for n in numbers(second) if n < 1000000)
        new = sorted(n - 1000000 for n in numbers(second) if n >= 1000000)
        # print is at least once: what the killed one has printed since its last epoch comes again
        check('no number is missing', sorted({*seen, *got, *new}), list(range(1, max(new) + 1)))
        if not new or new != list(range(new[0], new[0] + len(new))) or new[0] <= max(got, default=0) or new[0] <= 1:
            raise Failure(f'the old text printed {got[:3]} .. {got[-3:]}, the new one {new[:3]} .. {new[-3:]}')
        bad = run('bad', FLOWING.replace('SELECT n FROM', f'SELECT n / ({new[-1] + 60} - n) FROM'), until=10000)
        bad.expected_death = True
        check('the status of a job that fails', bad.p.wait(30), 1)
        third = run('third', FLOWING.replace('SELECT n FROM', 'SELECT n + 2000000 FROM'))
        contains('the notice', third.tail(100000), 'copied')
        check('its status', third.kill(signal.SIGINT), 0)
        last = sorted(n - 2000000 for n in numbers(third))
        if last != list(range(last[0], last[0] + len(last))) or not new[-1] < last[0] <= new[-1] + 60:
            raise Failure(f'{last[:3]} .. behind {new[-1]}')
        print(f'  killed at {seen[-1]}, with another text from {new[0]}, failed at {new[-1] + 60}, with a third from {last[0]}')


def test_a_fresh_run_forgets_its_own_job_only():
    with Cluster('fresh') as c:
        data = ['--data', c.path('data')]
        check('a first run', interrupted(c, 'run1', data)[0], 1)
        last = interrupted(c, 'run2', data)[1]
        check('another job', interrupted(c, 'run3', [*data, '--set', 'pipeline.name=other'])[0], 1)
        check('the other one anew', interrupted(c, 'run4', [*data, '--set', 'pipeline.name=other', '--fresh'])[0], 1)
        check('the first goes on', interrupted(c, 'run5', data)[0], last + 1)


def test_long_lists_go_on_from_a_savepoint_with_another_parallelism():
    """Windows of lists and sets that lie in pages, and a session of them: stopped in the middle of a window, where two tasks have them, and gone on with by one."""
    rows, size = 60000, 15000
    c = broker()
    with Cluster('lists', broker=c) as t:
        one_worker(t, 6, 'li', 'w', 's')
        kafka = f"'connector' = 'kafka', 'properties.bootstrap.servers' = '{t.bootstrap}', 'format' = 'json', 'sink.delivery-guarantee' = 'exactly-once'"
        values = "COUNT(*) AS n, LISTAGG(CAST(id AS STRING)) AS l, ARRAY_AGG(DISTINCT MOD(id, 4001)) AS d, MIN(id) AS f"
        columns = '(g BIGINT, n BIGINT, l STRING, d ARRAY<BIGINT>, f BIGINT)'
        sql = (f"CREATE TABLE i (id BIGINT, ts AS TO_TIMESTAMP_LTZ(id, 3), WATERMARK FOR ts AS ts) WITH ('connector' = 'datagen', 'rows-per-second' = '3000', "
               f"'number-of-rows' = '{rows}', 'fields.id.kind' = 'sequence', 'fields.id.start' = '0', 'fields.id.end' = '{rows - 1}');\n"
               f"CREATE TABLE w {columns} WITH ({kafka}, 'topic' = 'li-w');\nCREATE TABLE s {columns} WITH ({kafka}, 'topic' = 'li-s');\n"
               "CREATE VIEW v AS SELECT id, MOD(id, 2) AS g, ts FROM i;\nBEGIN STATEMENT SET;\n"
               f"INSERT INTO w SELECT g, {values} FROM TABLE(TUMBLE(TABLE v, DESCRIPTOR(ts), INTERVAL '{size // 1000}' SECOND)) GROUP BY g, window_start, window_end;\n"
               f"INSERT INTO s SELECT g, {values} FROM TABLE(SESSION(TABLE v PARTITION BY g, DESCRIPTOR(ts), INTERVAL '1' SECOND)) "
               "GROUP BY g, window_start, window_end;\nEND;\n")
        job = t.submit(sql, 'lists', 2)
        wait_for('the middle of the second window', lambda: doc(t, job)['rows_in'] > size * 8 // 5, 60, 0.2)
        target = 'file://' + t.path('stopped')
        check('the stop', t.cli('stop', job, '--to', target).stdout.decode().strip(), target)
        at = doc(t, job)['rows_in']
        if not size < at < rows:
            raise Failure(f'stopped at row {at}: not in the middle')
        fired = count(t, 'li-w')
        if fired not in [2 * (passed // size) for passed in (at - size // 2, at)]:  # one of the two tasks may be seconds behind the other
            raise Failure(f'stopped at row {at}: {fired} results of windows')
        job = t.submit(sql, 'lists', 1, ['--from', target])
        wait_for('FINISHED', lambda: (d := doc(t, job))['state'] in ('FINISHED', 'FAILED') and d, 90, 0.5)
        check('state', doc(t, job)['state'], 'FINISHED')
        for topic, each in ('li-w', size), ('li-s', rows):
            got = sorted((r['g'], r['f'], r['n'], sorted(int(x) for x in r['l'].split(',')), sorted(r['d'])) for _, _, _, v in t.dump(topic) for r in [json.loads(v)])
            want = sorted((g, ids[0], len(ids), ids, sorted({x % 4001 for x in ids}))
                          for g in (0, 1) for begin in range(0, rows, each) for ids in [list(range(begin + (g + begin) % 2, begin + each, 2))])
            if got != want:
                raise Failure(f'{topic}: {[r[:3] for r in got]} instead of {[r[:3] for r in want]}, or their values')
        print(f'  stopped after {at} of {rows} rows and {fired} results; each window and session once, with all of its values')
