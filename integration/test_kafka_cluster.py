"""What a cluster makes of its topics: when a partition without rows is idle and who holds time when it is not (hazards A11), topics made anew (A8),
ledger topics that would age (A12), offsets committed for the group. The tests share one cluster."""
import json, os, signal, subprocess, time
from contextlib import contextmanager
from harness import Cluster, Failure, TOOL, wait_for
from test_kafka import EVENTS, check, contains, expect_once, ids, put, table, values

SHARED = True
shared = None
IDLE = {'scan__watermark__idle_timeout': '1 s'}


def cluster():
    global shared
    if not shared:
        shared = Cluster('kafka-cluster')
        shared.kafka()
        shared.coordinator(etcd=False)
        shared.worker(1, slots=16)
        shared.workers_ready(1)
    return shared


def finish():
    if shared:
        shared.__exit__(None, None, None)


def rows(c, topic, partition, seconds, end=None):
    put(c, topic, partition, *[{'id': s, 'ts': f'2024-01-01 00:00:{s:02d}.000'} for s in seconds], end=end)


def windows(c, topic, **options):
    """A job that counts the rows of each second of `topic` into `topic`-out; p0 has 10 s of rows."""
    c.topic(topic, 2)
    c.topic(topic + '-out', 1)
    rows(c, topic, 0, range(10))
    sql = (table(c, 'i', 'id BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts', topic, **options) +
           table(c, 'o', 'w TIMESTAMP(3), n BIGINT', topic + '-out', sink__delivery_guarantee='at-least-once') +
           "INSERT INTO o SELECT TUMBLE_START(ts, INTERVAL '1' SECOND), COUNT(*) FROM i GROUP BY TUMBLE(ts, INTERVAL '1' SECOND);")
    return c.submit(sql, topic, 1)


def fired(c, topic):
    return sorted(v['w'][17:19] for v in values(c, topic + '-out'))


def fires(c, topic, upto=9):
    """Seconds 0 to `upto` are out, no more."""
    wait_for(f'windows of {topic}', lambda: len(fired(c, topic)) >= upto, 20)
    check('windows', fired(c, topic), [f'{s:02d}' for s in range(upto)])


@contextmanager
def open_transaction(c, topic, partition, text):
    """A row in a transaction of somebody else, which is open in the block and committed at its end."""
    p = subprocess.Popen([TOOL, 'put', topic, str(partition), 'open'], env=dict(os.environ, BOOTSTRAP=c.bootstrap, TRANSACTION='somebody-' + topic),
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        p.stdin.write(text.encode() + b'\n')
        p.stdin.close()
        check('the transaction', p.stdout.readline(), b'open\n')
        yield
        p.send_signal(signal.SIGTERM)
        check('its end', p.wait(40), 0)
    finally:
        p.kill()
        p.wait()
        p.stdout.close()


def test_partitions_without_rows_are_idle_also_behind_markers():
    c = cluster()
    windows(c, 'empty', **IDLE)
    c.topic('markers', 2)
    rows(c, 'markers', 1, [0], end='commit')
    rows(c, 'markers', 1, [1, 2], end='abort')  # its last offsets are rows that nobody may read and a marker
    job = windows(c, 'markers', **IDLE)
    fires(c, 'empty')
    wait_for('windows', lambda: len(fired(c, 'markers')) >= 9, 20)
    counts = {v['w'][17:19]: v['n'] for v in values(c, 'markers-out')}
    check('rows of the second with a committed row, and of one with an aborted row', (counts['00'], counts['01']), (2, 1))
    rows(c, 'empty', 1, [9, 12])  # not idle any more: its time counts
    rows(c, 'empty', 0, [15])
    wait_for('windows of both partitions', lambda: len(fired(c, 'empty')) >= 11, 20)
    check('state', c.job(job)['job']['state'], 'RUNNING')


def test_a_partition_behind_an_open_transaction_is_not_idle_and_named():
    c = cluster()
    c.topic('open', 2)
    with open_transaction(c, 'open', 1, '{"id": 3, "ts": "2024-01-01 00:00:03.000"}'):
        job = windows(c, 'open', **IDLE)
        wait_for('the rows are read', lambda: c.job(job)['job']['rows_in'] >= 10)
        text = wait_for('the reason of waiting', lambda: c.job(job)['job'].get('waiting'), 20)
        contains('waiting', text, 'table i', 'offset 0 of open-1', 'open transaction')
        time.sleep(1.5)
        check('windows while it is open', fired(c, 'open'), [])
        check('who holds time', c.job(job)['job']['holds_time'], ['open-1'])
        contains('tidegate job', c.cli('job', job).stdout.decode(), 'waits for: ' + text, 'held by open-1')
    fires(c, 'open')  # the row, then it is idle
    counts = {v['w'][17:19]: v['n'] for v in values(c, 'open-out')}
    check('the row of the transaction', counts['03'], 2)
    wait_for('nothing is waited for', lambda: not c.job(job)['job'].get('waiting'))


def test_without_the_option_no_partition_is_idle_and_the_job_names_who_holds_time():
    c = cluster()
    job = windows(c, 'held')
    wait_for('a name', lambda: c.job(job)['job']['holds_time'], 20)
    time.sleep(2)
    check('who holds time', c.job(job)['job']['holds_time'], ['held-1'])
    contains('tidegate job', c.cli('job', job).stdout.decode(), 'held by held-1')
    check('windows', fired(c, 'held'), [])
    rows(c, 'held', 1, [5])
    fires(c, 'held', 5)


# ---------------------------------------------------------------- topics

def copy_job(c, topic, guarantee='at-least-once', **options):
    """Every row of `topic` into `topic`-out, which is made; a ledger is named after `topic`."""
    c.topic(topic + '-out', 1)
    lanes = dict(sink__transactional_id_prefix=topic) if guarantee == 'exactly-once' else {}
    return (table(c, 'i', EVENTS, topic, **options) + table(c, 'o', EVENTS, topic + '-out', sink__delivery_guarantee=guarantee, **lanes) +
            'INSERT INTO o SELECT * FROM i;')


def test_a_topic_made_anew_stops_the_job_by_name():
    """Hazards A8.4: nobody may go on at offset 10 of another topic of the name, be it shorter, as long or longer than what was read. A topic whose
    last record read went by retention is the same topic."""
    c = cluster()
    again = {'shorter': 5, 'equal': 10, 'longer': 20}
    jobs = {}
    for topic in (*again, 'trimmed', 'same'):
        c.topic(topic, 1)
        put(c, topic, 0, *ids(0, 10))
        jobs[topic] = c.submit(copy_job(c, topic), topic, 1)
    for topic in jobs:
        wait_for(f'rows of {topic}', lambda: len(values(c, topic + '-out')) == 10)
        # the position that a restart goes back to is the last one
        wait_for('the position in a manifest', lambda: c.json('manifest', 'show', jobs[topic])['sources'][0]['splits'][0]['position'] == 10)
    c.procs['w1'].kill()
    for topic, n in again.items():
        c.tool('delete', topic)
        wait_for('the end of the topic', lambda: c.topic(topic, 1) or int(c.tool('ends', topic)) == 0, every=0.2)
        put(c, topic, 0, *ids(100, 100 + n))
    c.tool('trim', 'trimmed', 0, 10)
    for topic in ('trimmed', 'same'):
        put(c, topic, 0, *ids(10, 15))
    c.worker(1, slots=16)
    for topic in again:
        error = wait_for('FAILED', lambda: (lambda j: j['state'] == 'FAILED' and j['error'])(c.job(jobs[topic])['job']), 30)
        contains('its error', error['text'], f'{topic}/0', 'made anew', 'offset 10 does not exist' if topic == 'shorter' else 'offset 9 holds another record')
        check(f'rows of {topic}', sorted(v['id'] for v in values(c, topic + '-out')), list(range(10)))
    for topic in ('trimmed', 'same'):
        wait_for(f'rows of {topic}', lambda: {v['id'] for v in values(c, topic + '-out')} == set(range(15)), 20)
        expect_once('new rows', [v['id'] for v in values(c, topic + '-out') if v['id'] >= 10], range(10, 15))
        check('state', c.job(jobs[topic])['job']['state'], 'RUNNING')


def test_a_ledger_topic_is_compacted_or_refused():
    c = cluster()
    for policy in ('delete', 'compact,delete'):
        topic = 'aged-' + policy.replace(',', '-')
        c.topic(topic, 1)
        c.topic(f'tidegate-ledger.{topic}.o', 1, 'cleanup.policy=' + policy)
        path = c.path(topic + '.sql')
        with open(path, 'w') as f:
            f.write(copy_job(c, topic, 'exactly-once'))
        said = c.cli('submit', '--parallelism', 1, path, ok=False)
        contains('what submit says', said.stderr.decode(), f"ledger topic 'tidegate-ledger.{topic}.o' has cleanup.policy={policy}", 'set cleanup.policy=compact')
        if said.returncode == 0:
            raise Failure('the job was taken')
        c.tool('config', f'tidegate-ledger.{topic}.o', 'cleanup.policy=compact')
        c.submit(copy_job(c, topic, 'exactly-once'), topic, 1)  # the way out is one
    c.topic('kept', 1)
    c.submit(copy_job(c, 'kept', 'exactly-once'), 'kept', 1)
    check('the policy of a ledger that we make', c.tool('config', 'tidegate-ledger.kept.o', 'cleanup.policy').strip(), 'compact')


def test_offsets_of_the_group_are_those_of_complete_epochs():
    """One of two workers stands still: the other reads on, but no epoch completes."""
    with Cluster('kafka-group', broker=cluster()) as c:
        c.coordinator(etcd=False)
        for i in (1, 2):
            c.worker(i, slots=1)
        c.workers_ready(2)
        c.topic('group', 2)
        for p in (0, 1):
            put(c, 'group', p, *ids(100 * p, 100 * p + 50))
        job = c.submit(copy_job(c, 'group', properties__group__id='watcher'), 'group', 2)

        def committed():
            return [int(c.tool('committed', 'group', p, 'watcher')) for p in (0, 1)]

        wait_for('the first commits', lambda: committed() == [50, 50])
        wait_for('both tasks to have read', lambda: c.job(job)['job']['rows_in'] == 100, 30)
        c.procs['w2'].signal(signal.SIGSTOP)
        for p in (0, 1):
            put(c, 'group', p, *ids(1000 + 100 * p, 1000 + 100 * p + 100))
        wait_for('rows of the one that goes on', lambda: c.job(job)['job']['rows_in'] >= 200, 40)
        for _ in range(4):
            time.sleep(0.3)
            check('committed while no epoch completes', committed(), [50, 50])
        c.procs['w2'].signal(signal.SIGCONT)
        wait_for('the next commits', lambda: committed() == [150, 150])
        expect_once('rows', [v['id'] for v in values(c, 'group-out')], [x for lo, n in ((0, 50), (100, 50), (1000, 100), (1100, 100)) for x in range(lo, lo + n)])
        check('restarts', c.job(job)['job']['restarts'], 0)
