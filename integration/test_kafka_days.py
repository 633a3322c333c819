"""Bad days of the broker: it is gone, it hangs, it hangs while a worker dies. What is promised without transactions (no row missing, doubled
ones allowed), and that waiting costs no attempt. The tests share one broker and run one after another."""
import collections, json, os, signal, time
from contextlib import contextmanager
from harness import Cluster, Failure, wait_for, SLOW
from test_kafka import check, contains, table

SHARED = True
shared = None


def broker():
    global shared
    if not shared:
        shared = Cluster('kafka-days')
        shared.kafka()
    return shared


def finish():
    if shared:
        shared.__exit__(None, None, None)


@contextmanager
def cluster(name, slots=4):
    """One worker w1 and a coordinator on the shared broker."""
    with Cluster(name, broker=broker()) as c:
        c.coordinator(etcd=False)
        c.worker(1, slots=slots)
        c.workers_ready(1)
        yield c


@contextmanager
def hung_broker():
    """The broker's process stands still: connections stay open, nothing is answered."""
    group = os.getpgid(broker().broker_pid)
    os.killpg(group, signal.SIGSTOP)
    try:
        yield
    finally:
        os.killpg(group, signal.SIGCONT)


@contextmanager
def no_broker():
    """Killed, and started again at the end: connections are refused meanwhile."""
    broker().kill_kafka()
    try:
        yield
    finally:
        broker().kafka()


def cpu_seconds(c, name):
    with open(f'/proc/{c.procs[name].p.pid}/stat') as f:
        fields = f.read().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def numbers(c, sink, rate, **options):
    """A job that writes ids from 0 into topic `sink`, so many a second, until `how_many`: however slow the machine is, it still writes when the broker goes."""
    return (f"CREATE TABLE g (id BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '{rate}', 'fields.id.kind' = 'sequence', "
            "'fields.id.start' = '0', 'fields.id.end' = '999999999');\n" + table(c, 'o', 'id BIGINT', sink, **options) + 'INSERT INTO o SELECT id FROM g;')


def how_many(c, job):
    """Stops such a job; how many ids it has written."""
    c.cli('stop', job)
    return c.json('manifest', 'show', job)['sources'][0]['splits'][0]['position']


def copy(c, source, sink, **options):
    return table(c, 'i', 'id BIGINT', source) + table(c, 'o', 'id BIGINT', sink, **options) + 'INSERT INTO o SELECT id FROM i;'


def seen(c, topic):
    return collections.Counter(json.loads(v)['id'] for _, _, _, v in c.dump(topic))


def none_missing(c, topic, n, seconds=60):
    """All ids below n are there, and no other; how many came again."""
    def all_there():
        return len(seen(c, topic)) >= n
    try:
        wait_for(f'{n} ids in {topic}', all_there, seconds, 0.5)
    except Failure:
        got = seen(c, topic)
        missing = [i for i in range(n) if i not in got]
        raise Failure(f'{topic}: {len(missing)} of {n} ids are missing: {missing[:5]}')
    got = seen(c, topic)
    check(f'ids in {topic} that nobody wrote', [i for i in got if not 0 <= i < n], [])
    return sum(got.values()) - n


def none_twice(c, topic, n, seconds=60):
    check(f'rows of {topic} that came again', none_missing(c, topic, n, seconds), 0)


def doc(c, job):
    return c.job(job)['job']


def waits(c, job, *parts, seconds=20):
    """The job says what it waits for, and runs."""
    text = wait_for(f'job {job} to say {parts}', lambda: (lambda t: t if t and all(p in t for p in parts) else None)(doc(c, job).get('waiting')), seconds)
    check('state while it waits', doc(c, job)['state'], 'RUNNING')
    return text


def test_at_least_once_loses_nothing_when_the_worker_dies():
    """Hazards A15. Two jobs in a row, a generator into Kafka and a copy of that; their worker is killed three times, once while the broker hangs:
    then everything written since lies in the worker's memory, and no epoch may claim it."""
    with cluster('alo') as c:
        for topic in ('alo-a', 'alo-b'):
            c.topic(topic, 2)
        jobs = [c.submit(numbers(c, 'alo-a', 2000, sink__delivery_guarantee='at-least-once'), 'first', 1),
                c.submit(copy(c, 'alo-a', 'alo-b', sink__delivery_guarantee='at-least-once'), 'second', 1)]
        for death in range(3):
            rows = c.job(jobs[1])['job']['rows_in']
            wait_for('both jobs to go on', lambda: doc(c, jobs[1])['state'] == 'RUNNING' and doc(c, jobs[1])['rows_in'] > rows + 300, 20)
            if death == 1:
                with hung_broker():
                    time.sleep(1)  # ten intervals
                    c.procs['w1'].kill()
            else:
                c.procs['w1'].kill()
            c.worker(1, slots=4)
        wait_for('the first job to go on', lambda: (d := doc(c, jobs[0]))['state'] == 'RUNNING' and d['restarts'] >= 3, 20)
        last = max(seen(c, 'alo-a'))  # of the dead one, whose rows behind its last epoch are written anew
        wait_for('the first job to pass what the dead one wrote', lambda: max(seen(c, 'alo-a')) > last, 20)
        n = how_many(c, jobs[0])
        again = [none_missing(c, topic, n) for topic in ('alo-a', 'alo-b')]
        if doc(c, jobs[1])['restarts'] < 3:
            raise Failure(f'{doc(c, jobs[1])["restarts"]} restarts: the kills did not meet the job')
        print(f'  {n} ids through two jobs over three deaths of their worker, none missing; {again[0]} and {again[1]} rows came again')


def test_at_least_once_waits_for_the_broker_longer_than_a_delivery_may_take():
    """The broker is killed and comes back after three times what `message.timeout.ms` allows: no delivery fails, no attempt ends."""
    with cluster('patient') as c:
        c.topic('pa', 2)
        job = c.submit(numbers(c, 'pa', 1500, sink__delivery_guarantee='at-least-once', properties__message__timeout__ms='1500'), 'patient', 1)
        wait_for('rows', lambda: len(seen(c, 'pa')) > 300)
        down = time.monotonic()
        with no_broker():
            text = waits(c, job, 'Kafka', str(c.kafka_port))
            time.sleep(max(0.0, 4.5 - (time.monotonic() - down)))
        wait_for('nothing is waited for any more', lambda: not doc(c, job).get('waiting'), 20)
        rows = doc(c, job)['rows_in']
        wait_for('rows after it', lambda: doc(c, job)['rows_in'] > rows + 1500, 20)
        n = how_many(c, job)
        again = none_missing(c, 'pa', n)
        check('restarts', doc(c, job)['restarts'], 0)
        check('rows that came again', again, 0)  # the producer is idempotent
        print(f'  {time.monotonic() - down:.1f} s without the broker ({text[:120]}): {n} ids there, none twice, no restart')


def test_the_link_that_takes_no_more_is_named():
    """The only task of a sink stands still: those before it say on whom they wait, in the document and in `tidegate job`."""
    with cluster('link') as c:
        for topic in ('li', 'li2'):
            c.topic(topic, 1)
        job = c.submit("CREATE TABLE g (id BIGINT, pad STRING) WITH ('connector' = 'datagen', 'rows-per-second' = '50000', 'fields.pad.length' = '1000');\n" +
                       table(c, 'o', 'id BIGINT, pad STRING', 'li', sink__delivery_guarantee='at-least-once', sink__parallelism='1') +
                       'INSERT INTO o SELECT id, pad FROM g;', 'link', 2)
        wait_for('rows', lambda: doc(c, job)['rows_out'] > 1000)
        name = c.json('workers')['workers'][0]['name']
        with hung_broker():
            stopped = time.monotonic()
            said = wait_for('the link', lambda: {t['blocked_on'] for s in doc(c, job)['stages'] for t in s['tasks'] if 'blocked_on' in t}, 20)
            text = wait_for('the text', lambda: (lambda t: t if 'blocked on' in t else None)(c.cli('job', job).stdout.decode()), 20)
            time.sleep(max(0.0, 6 - (time.monotonic() - stopped)))  # longer than the broker's own session: it comes back without leading a partition
        other = c.submit(copy(c, 'li', 'li2', sink__delivery_guarantee='at-least-once'), 'behind', 1)  # at once
        check('on whom', said, {f'stage 1 subtask 0 at {name}'})
        contains('tidegate job', text, f'blocked on stage 1 subtask 0 at {name}')
        for each in job, other:
            c.cli('cancel', each)


def test_a_broker_that_hangs_costs_no_processor():
    """Records wait for an answer in a thread that sleeps: librdkafka's looks again without a pause."""
    with cluster('calm') as c:
        c.topic('ca', 2)
        job = c.submit(numbers(c, 'ca', 5000, sink__delivery_guarantee='at-least-once'), 'calm', 1)
        wait_for('rows', lambda: len(seen(c, 'ca')) > 5000)
        with hung_broker():
            time.sleep(1)
            before = cpu_seconds(c, 'w1')
            time.sleep(4)
            used = cpu_seconds(c, 'w1') - before
        c.cli('cancel', job)
        if used > 0.3 * SLOW:
            raise Failure(f'the worker used {used:.2f} s of CPU in 4 s without an answer')
        print(f'  {used:.2f} s of CPU in 4 s without an answer')


def test_a_broker_that_hangs_is_waited_for_and_said():
    """SIGSTOP for 10 s: no connection breaks, so only the missing answers tell."""
    with cluster('hang') as c:
        for topic in ('ha', 'ha-eo', 'ha-alo'):
            c.topic(topic, 2)
        jobs = [c.submit(numbers(c, 'ha', 1500, sink__delivery_guarantee='at-least-once', properties__message__timeout__ms='2000'), 'source', 1),
                c.submit(copy(c, 'ha', 'ha-eo', sink__delivery_guarantee='exactly-once', sink__transactional_id_prefix='hang'), 'exactly', 1),
                c.submit(copy(c, 'ha', 'ha-alo', sink__delivery_guarantee='at-least-once', properties__message__timeout__ms='2000'), 'least', 1)]
        wait_for('rows', lambda: len(seen(c, 'ha-eo')) > 300 and len(seen(c, 'ha-alo')) > 300)
        with hung_broker():
            stopped = time.monotonic()
            texts = [waits(c, job, 'Kafka', '127.0.0.1', 'has not answered for', seconds=8) for job in jobs]
            said = time.monotonic() - stopped
            time.sleep(max(0.0, 10 - said))
            for job in jobs:
                check('state', doc(c, job)['state'], 'RUNNING')
        wait_for('the broker to lead its partitions again', lambda: c.tool('count', 'ha'), 60)  # its session was over: this is its own affair
        for job in jobs:
            wait_for('nothing is waited for any more', lambda: not doc(c, job).get('waiting'), 20)
        n = how_many(c, jobs[0])
        none_twice(c, 'ha-eo', n)
        for topic in ('ha', 'ha-alo'):
            none_missing(c, topic, n)
        for job in jobs:
            check('restarts', doc(c, job)['restarts'], 0)
        print(f'  told within {said:.1f} s: {texts[1][:120]}; {n} ids, no restart')
