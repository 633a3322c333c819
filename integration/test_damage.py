"""Files of checkpoint storage are damaged under a job of which nothing is published exactly once since an older epoch: it goes back there, and a person
is told. (That a job whose output is published stops with the file's name: test_bad_days.)"""
import glob, json, os, re, time
from harness import Cluster, Failure, wait_for
from test_bad_days import Feeder, broker, corrupt, doc, exactly_once, files_named, finish, table


def count_job(c, topic, exactly_once_head=0):
    """The counts of keys, at least once; and the first so many rows, exactly once: a lane that is quiet after them."""
    text = (table(c, 'i', 'k BIGINT, id BIGINT', topic + '-in', ", 'scan.startup.mode' = 'earliest-offset', 'properties.group.id' = 'g-" + topic + "'") +
            f"CREATE TABLE o (k BIGINT, n BIGINT, total BIGINT, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = '{topic}-out', "
            f"'properties.bootstrap.servers' = '{c.bootstrap}', 'key.format' = 'json', 'value.format' = 'json');\n")
    counts = 'INSERT INTO o SELECT k, COUNT(*), SUM(id) FROM i GROUP BY k;'
    if not exactly_once_head:
        return text + counts
    return (text + table(c, 'h', 'id BIGINT', topic + '-head', ", 'sink.delivery-guarantee' = 'exactly-once'") +
            f'EXECUTE STATEMENT SET BEGIN\n{counts}\nINSERT INTO h SELECT id FROM i WHERE id < {exactly_once_head};\nEND;')


def counted(c, topic, n, keys):
    """The last change of every key says what the ids below n make; no count is larger, however often rows came. Returns how many came again."""
    want = {k: (len(range(k, n, keys)), sum(range(k, n, keys))) for k in range(min(keys, n))}

    def rows():
        return [json.loads(v) for _, _, _, v in c.dump(topic)]
    wait_for('the last counts', lambda: {r['k']: (r['n'], r['total']) for r in rows()} == want, 60, 0.5)
    got = rows()
    beyond = [r for r in got if r['n'] > want[r['k']][0]]
    if beyond:
        raise Failure(f'{topic}: {len(beyond)} counts are too large: {beyond[:3]}')
    return len(got) - len({(r['k'], r['n']) for r in got})


def older_files(t):
    """What the manifests of older epochs name, by path; the newest of all manifests is the last one's."""
    bodies = sorted((json.load(open(f)) for f in glob.glob(os.path.join(t.path('checkpoints'), 'jobs', '*', 'manifest', '*.json'))), key=lambda m: m['epoch'])
    if len(bodies) < 2:
        raise Failure(f'{len(bodies)} manifests are kept')
    return bodies[-1], bodies[:-1]


def hit(t, path, how):
    """All names of one file: the workers' own copies are hard links, or files of their own."""
    files = {os.stat(f).st_ino: f for f in glob.glob(os.path.join(t.dir, '**', path), recursive=True)}
    for f in files.values():
        how(f)
    return len(files)


def goes_back(name, choose, head=0):
    c = broker()
    keys = 3000
    with Cluster(name, broker=c) as t:
        t.coordinator(etcd=False)
        for i in 1, 2:
            t.worker(i, args=['--base-interval', '50ms'])
        t.workers_ready(2)
        for x in ('in', 'out', 'head') if head else ('in', 'out'):
            t.topic(f'{name}-{x}', 2)
        job = t.submit(count_job(t, name, head), name, 2, ['--set', 'checkpoint.base.interval=2s'])
        feed = Feeder(t, f'{name}-in', rate=2000, keys=keys, pad=0)
        wait_for('rounds of bases', lambda: len(doc(t, job)['older_epochs']) == 2 and doc(t, job)['older_epochs'][-1] > 0, 60)
        wait_for('epochs after them', lambda: (d := doc(t, job))['epoch'] > d['older_epochs'][0] + 3, 30)
        feed.stop()
        wait_for('quiet', lambda: not doc(t, job)['epochs_in_flight'])
        time.sleep(0.5)
        for p in ('coordinator', 'w1', 'w2'):
            t.procs[p].kill()
        last, older = older_files(t)
        path, how = choose(t, last, older)
        if not hit(t, os.path.basename(path) if path.endswith('.log') else os.path.join('*', path), how):
            raise Failure(f'{path} is not on the disk')
        t.coordinator(etcd=False)
        for i in 1, 2:
            t.worker(i, args=['--base-interval', '50ms'])
        now = wait_for('RUNNING again', lambda: (d := doc(t, job))['state'] == 'RUNNING' and d.get('fell_back') and d, 60)
        back = now['fell_back']
        if back['from'] != last['epoch'] or back['to'] not in [m['epoch'] for m in older] or now['epoch'] <= last['epoch']:
            raise Failure(f'it went back from {back["from"]} to {back["to"]} and is at {now["epoch"]}: the last was {last["epoch"]}, kept were {[m["epoch"] for m in older]}')
        text = t.cli('job', job).stdout.decode()
        if f'go back from epoch {back["from"]} to {back["to"]}' not in text or os.path.basename(path) not in text:
            raise Failure('`tidegate job` does not say it:\n' + text)
        if not re.search(r'^tidegate_job_fallbacks_total\{[^}]*\} 1$', t.metrics(), re.M):
            raise Failure('the metrics do not count it')
        log = open(t.procs['coordinator'].log).read()
        if not re.search(rf'a file of epoch {back["from"]} is damaged: the job goes on from epoch {back["to"]}', log):
            raise Failure('the log does not say it')
        for _ in range(8):
            feed.put(500)
            time.sleep(0.1)
        again = counted(t, f'{name}-out', feed.sent, keys)
        if head:
            exactly_once(t, f'{name}-head', head)
        d = wait_for('an epoch after it', lambda: (d := doc(t, job))['epoch'] > now['epoch'] and d, 30)
        print(f'  {os.path.basename(path)} damaged: from epoch {back["from"]} to {back["to"]}, on as {now["epoch"]}, {d["restarts"]} restarts; {feed.sent} rows counted once, {again} changes came again')


def test_a_damaged_base_takes_a_job_back_to_an_older_epoch():
    def choose(t, last, older):
        kept = set(files_named(older, r'^jobs/'))
        tables = [f for f in files_named(last, r'^jobs/.*\.sst$') if f not in kept]
        if not tables:
            raise Failure('each table of the last epoch is one of an older epoch, too')
        return tables[0], corrupt
    goes_back('backbase', choose)


def test_a_torn_changelog_takes_a_job_back_behind_a_quiet_exactly_once_lane():
    def choose(t, last, older):
        kept = {}
        for m in older:
            for x in m['extents']:
                kept[x['path']] = max(kept.get(x['path'], 0), x['to'])
        for x in sorted(last['extents'], key=lambda x: -x['last']):
            begin = max(x['from'], kept.get(x['path'], 0))
            if begin < x['to']:
                at = (begin + x['to']) // 2
                return x['path'], lambda f: os.truncate(f, min(os.path.getsize(f), at))
        raise Failure('the changelog of the last epoch is that of an older one')
    goes_back('backlog', choose, head=1500)


def test_no_savepoint_is_made_of_a_damaged_file_nor_begun_from():
    sql = ("CREATE TABLE src (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '100', 'fields.n.kind' = 'sequence', 'fields.n.start' = '1', "
           "'fields.n.end' = '1000000');\nCREATE TABLE snk (n BIGINT) WITH ('connector' = 'print');\nINSERT INTO snk SELECT n FROM src;")
    with Cluster('damagedsave') as t:
        t.coordinator(etcd=False)
        t.worker(1, slots=4)
        t.workers_ready(1)
        job = t.submit(sql, 'first', 2, ['--set', 'checkpoint.base.interval=1h'])

        def flip(path):  # the same again mends it
            with open(path, 'r+b') as f:
                f.seek(80)
                old = f.read(1)
                f.seek(80)
                f.write(bytes([old[0] ^ 1]))

        def fails(path, says, *args):
            r = t.cli(*args, ok=False)
            said = r.stderr.decode()
            if r.returncode != 1 or f'{path}: segment at byte 0: byte 64: wrong checksum' not in said or says not in said:
                raise Failure(f'tidegate {" ".join(args)}: exit {r.returncode}: {said}')

        wait_for('epochs', lambda: doc(t, job)['epoch'] > 5)
        log = glob.glob(t.path('checkpoints/jobs/*/log/*.log'))
        if len(log) != 1:
            raise Failure(f'changelogs: {log}')
        flip(log[0])
        fails(log[0], 'put that file back', 'savepoint', job)
        before = wait_for('RUNNING', lambda: (d := doc(t, job))['state'] == 'RUNNING' and d)
        wait_for('epochs after it', lambda: doc(t, job)['epoch'] > before['epoch'] + 2)
        fails(log[0], 'its state is kept', 'stop', job)
        now = doc(t, job)
        if now['state'] != 'STOPPED' or now['restarts'] or not os.path.exists(log[0]):
            raise Failure(f'{now}, its changelog is {"there" if os.path.exists(log[0]) else "gone"}')
        flip(log[0])
        where = t.cli('savepoint', job).stdout.decode().strip()
        wait_for('its own files to go', lambda: not os.path.exists(log[0]))
        copy = glob.glob(os.path.join(t.path('checkpoints'), where, 'jobs/*/log/*.log'))[0]
        flip(copy)
        fails(copy, 'begin from another savepoint', 'submit', '--from', where, t.path('first.sql'))
        flip(copy)
        second = t.submit(sql, 'second', 2, ['--from', where])
        wait_for('RUNNING', lambda: doc(t, second)['state'] == 'RUNNING', 30)
        t.cli('cancel', second)
