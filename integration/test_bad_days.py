"""What happens to a cluster on a bad day, with real processes: broker outages, full disks, corrupt files, stopped processes, signals.
Each test asserts what a person sees (state, what the job waits for, exit status) and that the output is exactly once in the end. The
tests share one broker; each has a cluster of its own on it."""
import collections, glob, json, os, re, signal, subprocess, threading, time
from harness import Cluster, Failure, PATIENT, Process, SLOW, TIDEGATE, wait_for

shared = None
OUTAGE_S = float(os.environ.get('TIDEGATE_OUTAGE', 18))  # longer than the 15 s after which the broker would end a transaction


def broker():
    global shared
    if not shared:
        shared = Cluster('bad-days')
        shared.kafka()
    return shared


def finish():
    if shared:
        shared.__exit__(None, None, None)


def start(c, workers=2, slots=2, args=(), etcd=False):
    if etcd:
        c.etcd()
    c.coordinator(etcd=etcd, args=args)
    for i in range(1, workers + 1):
        c.worker(i, slots=slots)
    c.workers_ready(workers)


def table(c, name, columns, topic, extra=''):
    return (f"CREATE TABLE {name} ({columns}) WITH ('connector' = 'kafka', 'topic' = '{topic}', "
            f"'properties.bootstrap.servers' = '{c.bootstrap}', 'format' = 'json'{extra});\n")


def copy_job(c, topic, columns='id BIGINT, pad STRING'):
    """Every row of topic-in once into topic-out."""
    names = ', '.join(x.split()[0] for x in columns.split(', '))
    return (table(c, 'i', columns, topic + '-in', ", 'scan.startup.mode' = 'earliest-offset'") +
            table(c, 'o', columns, topic + '-out', ", 'sink.delivery-guarantee' = 'exactly-once'") + f'INSERT INTO o SELECT {names} FROM i;')


def count_job(c, topic):
    """How often each key was seen, as changes: the last value per key is the count, and every count comes once."""
    return (table(c, 'i', 'k BIGINT, id BIGINT', topic + '-in', ", 'scan.startup.mode' = 'earliest-offset'") +
            f"CREATE TABLE o (k BIGINT, n BIGINT, total BIGINT, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', 'topic' = '{topic}-out', "
            f"'properties.bootstrap.servers' = '{c.bootstrap}', 'key.format' = 'json', 'value.format' = 'json', "
            "'sink.delivery-guarantee' = 'exactly-once');\nINSERT INTO o SELECT k, COUNT(*), SUM(id) FROM i GROUP BY k;")


class Feeder(threading.Thread):
    """Puts rows {"k", "id", "pad"} with ids from 0 into the partitions of a topic, so many a second, until stopped."""

    def __init__(self, c, topic, rate=500, partitions=2, pad=0, keys=50):
        super().__init__(daemon=True)
        self.c, self.topic, self.rate, self.partitions, self.pad, self.keys = c, topic, rate, partitions, 'x' * pad, keys
        self.sent, self.quit, self.error = 0, threading.Event(), None
        self.start()

    def run(self):
        try:
            while not self.quit.is_set():
                self.put(self.rate // 4)
                self.quit.wait(0.25)
        except Exception as e:
            self.error = e

    def put(self, n):
        rows = [json.dumps({'k': i % self.keys, 'id': i, 'pad': self.pad}) for i in range(self.sent, self.sent + n)]
        p = (self.sent // max(n, 1)) % self.partitions
        self.c.tool('put', self.topic, p, stdin=('\n'.join(rows) + '\n').encode())
        self.sent += n

    def stop(self):
        self.quit.set()
        self.join(150)
        if self.error:
            raise self.error
        return self.sent


def count(c, topic):
    return int(c.tool('count', topic))


def exactly_once(c, topic, n, seconds=60):
    """All ids below n are in the topic once."""
    wait_for(f'{n} rows in {topic}', lambda: count(c, topic) >= n, seconds, 0.5)
    time.sleep(1)  # a doubled row would come now
    seen = collections.Counter(json.loads(v)['id'] for _, _, _, v in c.dump(topic))
    double, missing = [i for i, k in seen.items() if k > 1], [i for i in range(n) if i not in seen]
    if double or missing or len(seen) != n:
        raise Failure(f'{topic}: {n} rows expected, {len(seen)} there; twice: {double[:5]} ({len(double)}), missing: {missing[:5]} ({len(missing)})')


def counted_once(c, topic, n, keys=50, seconds=60):
    """The last change of every key says what the ids below n make."""
    want = {k: (len(range(k, n, keys)), sum(range(k, n, keys))) for k in range(min(keys, n))}

    def last():
        got = {}
        for _, _, key, value in c.dump(topic):
            row = json.loads(value)
            if row['n'] < got.get(row['k'], (0, 0))[0]:
                raise AssertionError(f'the count of key {row["k"]} fell from {got[row["k"]][0]} to {row["n"]}')
            got[row['k']] = (row['n'], row['total'])
        return got
    try:
        wait_for('the last counts', lambda: last() == want, seconds, 0.5)
    except Failure:
        got = last()
        wrong = {k: (got.get(k), v) for k, v in want.items() if got.get(k) != v}
        raise Failure(f'{len(wrong)} of {keys} keys are wrong: (there, expected) {dict(list(wrong.items())[:4])}')


def doc(c, job):
    return c.job(job)['job']


def waits(c, job, *parts, seconds=20):
    """What the job says it waits for, as soon as it says all of `parts`: in the document and in `tidegate job`."""
    def says():
        text = json.dumps({k: v for k, v in doc(c, job).items() if k not in ('error', 'last_error')})
        return text if all(p in text for p in parts) else None
    try:
        wait_for(f'job {job} to say {parts}', says, seconds, 0.2)
    except Failure as e:
        raise Failure(f'{e}\n{c.cli("job", job).stdout.decode()}')
    text = c.cli('job', job).stdout.decode()
    line = [x for x in text.splitlines() if parts[-1] in x]
    if not line:
        raise Failure(f'`tidegate job` does not say {parts[-1]}:\n{text}')
    return line[0]


def test_broker_outage_with_output_piling_up():
    """The broker is gone (connections refused) while a generator source goes on: output piles up to its bound, the sources wait
    there, the job says so, and goes on by itself. TIDEGATE_OUTAGE=600: for ten minutes instead of twenty seconds."""
    c = broker()
    with Cluster('outage', broker=c) as t:
        start(t)
        t.topic('bo-out', 2)
        sql = ("CREATE TABLE i (id BIGINT, pad STRING) WITH ('connector' = 'datagen', 'rows-per-second' = '3000', 'fields.id.kind' = 'sequence', "
               "'fields.id.start' = '0', 'fields.id.end' = '49999', 'fields.pad.length' = '100');\n" +
               table(t, 'o', 'id BIGINT, pad STRING', 'bo-out', ", 'sink.delivery-guarantee' = 'exactly-once'") + 'INSERT INTO o SELECT id, pad FROM i;')
        bound = 2 << 20
        job = t.submit(sql, 'outage', 1, ['--set', 'sink.unpublished.max=2MB'])
        wait_for('rows', lambda: count(t, 'bo-out') > 2000)
        c.kill_kafka()
        down = time.monotonic()
        said = waits(t, job, 'lanes', f'127.0.0.1:{c.kafka_port}')
        noticed = time.monotonic() - down
        if noticed > 8 * SLOW:
            raise Failure(f'the job said only after {noticed:.1f} s that the broker is gone')
        waits(t, job, 'the bound is 2 MB: sources wait', seconds=20)
        reached = time.monotonic() - down
        time.sleep(5)  # the sources stop some intervals after the last barrier
        held = doc(t, job)
        time.sleep(max(6, OUTAGE_S - (time.monotonic() - down)))
        now = doc(t, job)
        if now['rows_in'] != held['rows_in'] or now['epoch'] != held['epoch']:
            raise Failure(f'rows went on at the bound: {held["rows_in"]} and {now["rows_in"]} read, epochs {held["epoch"]} and {now["epoch"]}')
        if now['state'] != 'RUNNING' or now['restarts']:
            raise Failure(f'the job is {now["state"]} after {now["restarts"]} restarts: {now.get("last_error")}')
        pending = sum(l.get('pending_bytes', 0) for l in now['lanes'])
        if not bound <= pending <= 2 * bound:
            raise Failure(f'{pending} bytes wait, {bound} are the bound')
        c.kafka()
        up = time.monotonic()
        before = count(t, 'bo-out')
        wait_for('rows after the outage', lambda: count(t, 'bo-out') > before, 30, 0.2)
        resumed = time.monotonic() - up
        exactly_once(t, 'bo-out', 50000, 90)
        print(f'  outage of {up - down:.0f} s told after {noticed:.1f} s ({said.strip()[:150]}); at its bound after {reached:.0f} s with {pending >> 10} kB, {now["rows_in"]} rows read; published again after {resumed:.1f} s, '
              f'{doc(t, job)["restarts"]} restarts, 50000 rows once')


test_broker_outage_with_output_piling_up.limit = 240 + int(OUTAGE_S)


def test_disk_full_during_checkpoints():
    """Checkpoint storage is a small tmpfs, filled up by a file beside ours."""
    c = broker()
    with Cluster('diskfull', broker=c) as t:
        store = t.small_disk('checkpoints', '32m')
        start(t, etcd=True, args=PATIENT)
        for x in 'in', 'out':
            t.topic('df-' + x, 2)
        job = t.submit(copy_job(t, 'df'), 'diskfull', 2)
        feed = Feeder(t, 'df-in', rate=2000, pad=400)
        wait_for('rows', lambda: count(t, 'df-out') > 500)
        other = os.open(os.path.join(store, 'somebody-elses-file'), os.O_WRONLY | os.O_CREAT)
        try:
            while os.write(other, b'\0' * 4096):
                pass
        except OSError:
            os.close(other)
        full = time.monotonic()
        said = waits(t, job, 'No space left on device')
        noticed = time.monotonic() - full
        first = doc(t, job)['rows_in']
        wait_for('rows that flow although the disk is full, up to the bound', lambda: (d := doc(t, job))['rows_in'] > first and d['epochs_in_flight'] == 4, 20)
        flowed = doc(t, job)['rows_in'] - first
        time.sleep(6)
        now = doc(t, job)
        stuck = count(t, 'df-out')
        time.sleep(2)
        later = doc(t, job)
        if later['rows_in'] != now['rows_in'] or later['epochs_in_flight'] != 4:
            raise Failure(f'sources are not held at the bound: {later["rows_in"] - now["rows_in"]} rows read, {later["epochs_in_flight"]} epochs in flight')
        if now['state'] != 'RUNNING' or now['restarts'] or count(t, 'df-out') != stuck:
            raise Failure(f'{now["state"]}, {now["restarts"]} restarts, {count(t, "df-out") - stuck} rows published without a checkpoint')
        os.remove(os.path.join(store, 'somebody-elses-file'))
        space = time.monotonic()
        wait_for('rows after space came back', lambda: count(t, 'df-out') > stuck, 20, 0.1)
        resumed = time.monotonic() - space
        n = feed.stop()
        exactly_once(t, 'df-out', n)
        now = doc(t, job)
        if now['restarts'] or now.get('waiting'):
            raise Failure(f'{now["restarts"]} restarts, waits for {now.get("waiting")}')
        print(f'  full disk told after {noticed:.1f} s ({said.strip()[:150]}); {flowed} rows more until four epochs held the sources; epochs again {resumed:.1f} s after there was space; {n} rows once, no restart')


def corrupt(path):
    """Turns the bits of 64 bytes in the middle of a file over."""
    with open(path, 'r+b') as f:
        f.seek(os.path.getsize(path) // 2)
        old = f.read(64)
        f.seek(-len(old), 1)
        f.write(bytes(b ^ 0xff for b in old))


def files_named(node, pattern):
    """All strings in a document that match."""
    if isinstance(node, dict):
        node = node.values()
    if isinstance(node, str):
        return [node] if re.search(pattern, node) else []
    return [x for n in node for x in files_named(n, pattern)] if hasattr(node, '__iter__') else []


def corrupted(name, choose, base):
    """Kills a whole cluster with state, damages the files that `choose` picks from the manifest's and all others of that kind, which an older epoch
    may need, starts it again."""
    c = broker()
    with Cluster(name, broker=c) as t:
        args = ['--set', f'checkpoint.base.interval={"1s" if base else "1h"}']
        t.coordinator(etcd=False)
        for i in 1, 2:
            t.worker(i, args=['--base-interval', '50ms'] if base else [])  # a small job puts its base off for twenty of them
        t.workers_ready(2)
        for x in 'in', 'out':
            t.topic(f'{name}-{x}', 2)
        job = t.submit(count_job(t, name), name, 2, args)
        feed = Feeder(t, f'{name}-in', rate=2000, keys=5000 if base else 50, pad=0)
        wait_for('rows', lambda: count(t, f'{name}-out') > 1000)
        if base:
            wait_for('a base checkpoint', lambda: files_named(t.json('manifest', 'show', job), choose), 20)
            rows = count(t, f'{name}-out')  # output of later epochs: else the last one has none, and the job may go back to the one before this base
            wait_for('output behind it', lambda: count(t, f'{name}-out') > rows + 2000)
        feed.stop()
        wait_for('quiet', lambda: not doc(t, job)['epochs_in_flight'])
        time.sleep(0.5)
        epoch = doc(t, job)['epoch']
        named = files_named(t.json('manifest', 'show', job), choose)
        if not named:
            raise Failure(f'no file like {choose} in the manifest: {json.dumps(t.json("manifest", "show", job))[:1500]}')
        for p in ('coordinator', 'w1', 'w2'):
            t.procs[p].kill()
        before = sorted(t.dump(f'{name}-out'), key=str)  # partitions come in any order
        kind = os.path.splitext(named[0])[1]
        hit = {os.stat(path).st_ino: path for path in glob.glob(os.path.join(t.dir, '**', 'jobs', '**', '*' + kind), recursive=True)}
        for path in hit.values():  # local and stored names of one file are hard links
            corrupt(path)
        if not {os.path.basename(f) for f in named} <= {os.path.basename(f) for f in hit.values()}:
            raise Failure(f'some of {named[:3]} are not on the disk')
        t.coordinator(etcd=False)
        t.worker(1)
        t.worker(2)
        now = wait_for('FAILED', lambda: (d := doc(t, job))['state'] == 'FAILED' and d, 30)
        text = now['error']['text'] + ' ' + now['error'].get('hint', '')
        if now['error']['code'] != 'corrupt data' or not any(os.path.basename(f) in text for f in named):
            raise Failure(f'the error names none of {[os.path.basename(f) for f in named]}: {now["error"]}')
        time.sleep(1)
        if sorted(t.dump(f'{name}-out'), key=str) != before or doc(t, job)['state'] != 'FAILED':
            raise Failure('the job published something, or went on')
        status = t.cli('job', job).stdout.decode()
        if text.split(' ')[0] not in status:
            raise Failure('`tidegate job` does not say it:\n' + status)
        dead = [n for n, p in t.procs.items() if not p.alive()]
        if dead:
            raise Failure(f'ended: {dead}')
        print(f'  epoch {epoch}, {len(hit)} files damaged: {now["error"]["text"][:220]}')


def test_corrupt_changelog_stops_the_job_with_the_name_of_the_file():
    corrupted('corruptlog', r'\.log$', False)


def test_corrupt_base_stops_the_job_with_the_name_of_the_file():
    corrupted('corruptbase', r'\.sst$', True)


def busy_worker(t, job):
    """The process name of a worker that has tasks of the job."""
    names = {task['worker'] for stage in doc(t, job)['stages'] for task in stage['tasks']}
    for w in t.procs:
        if w[0] == 'w' and open(os.path.join(t.path(w), 'name')).read().strip() in names:
            return w
    raise Failure(f'no worker has tasks: {names}')


def test_zombie_worker_is_fenced_and_comes_back():
    c = broker()
    with Cluster('zombie', broker=c) as t:
        start(t, workers=3, etcd=True)
        for x in 'in', 'out':
            t.topic('zo-' + x, 2)
        job = t.submit(copy_job(t, 'zo'), 'zombie', 4)
        feed = Feeder(t, 'zo-in', rate=1000)
        wait_for('rows', lambda: count(t, 'zo-out') > 500)
        attempt = doc(t, job)['attempt']
        zombie = t.procs[wait_for('tasks', lambda: busy_worker(t, job))]
        zombie.signal(signal.SIGSTOP)
        start_at, seen = time.monotonic(), count(t, 'zo-out')
        wait_for('a new attempt without the stopped worker', lambda: (d := doc(t, job))['state'] == 'RUNNING' and d['attempt'] > attempt, 15)
        wait_for('rows again', lambda: count(t, 'zo-out') > seen + 500, 15, 0.1)
        outage = time.monotonic() - start_at
        time.sleep(4)
        zombie.signal(signal.SIGCONT)
        woke = time.monotonic()
        t.workers_ready(3)
        rejoined = time.monotonic() - woke
        time.sleep(2)
        n = feed.stop()
        exactly_once(t, 'zo-out', n)
        now = doc(t, job)
        print(f'  went on after {outage:.1f} s (coordinator: {now.get("last_outage_ms", 0)} ms); the zombie was back {rejoined:.1f} s after SIGCONT; '
              f'{now["restarts"]} restarts, {n} rows once')
        if outage > 5 * SLOW or not zombie.alive():
            raise Failure('too late, or the zombie ended')


def test_etcd_is_away_for_a_while():
    """Hazards B14: etcd is killed and comes back after 5 s. No manifest can be written meanwhile, so nothing is published; the job waits in its
    attempt, and what was sealed completes."""
    c = broker()
    with Cluster('etcd', broker=c) as t:
        start(t, etcd=True, args=PATIENT)
        for x in 'in', 'out':
            t.topic('et-' + x, 2)
        job = t.submit(copy_job(t, 'et'), 'etcd', 2)
        feed = Feeder(t, 'et-in', rate=1000)
        wait_for('rows', lambda: count(t, 'et-out') > 500)
        t.procs['etcd'].kill()
        away = time.monotonic()
        time.sleep(2)
        held = count(t, 'et-out')
        time.sleep(3)
        during = count(t, 'et-out')
        t.etcd()
        back = time.monotonic()
        wait_for('rows again', lambda: count(t, 'et-out') > during, 30, 0.2)
        resumed = time.monotonic() - back
        n = feed.stop()
        exactly_once(t, 'et-out', n)
        now = doc(t, job)
        if during != held or now['restarts'] or now['state'] != 'RUNNING':
            raise Failure(f'{during - held} rows published without a manifest; {now["state"]}, {now["restarts"]} restarts: {now.get("last_error")}')
        print(f'  {back - away:.1f} s without etcd, rows again {resumed:.1f} s after it was back; {n} rows once, no restart')


def set_clock(path, ms):
    with open(path + '.new', 'w') as f:
        f.write(str(ms))
    os.rename(path + '.new', path)


def test_a_clock_that_jumps_back_repeats_no_window_and_loses_no_row():
    """Wall clocks of the coordinator and of one worker, then of both workers, go back by some seconds while windows of processing time are
    counted, and a worker is killed in between: time stands still until the clock has caught up, no window comes twice, nobody is declared dead."""
    c = broker()
    with Cluster('clock', broker=c) as t:
        clocks = {n: t.path(n + '.clock') for n in ('coordinator', 'w1', 'w2')}
        env = {n: {'TIDEGATE_WALL_OFFSET': p} for n, p in clocks.items()}
        t.coordinator(etcd=False, env=env['coordinator'], args=('--worker-timeout', '3s'))  # shorter than what a beat by the wall clock would stay away
        for i in 1, 2:
            t.worker(i, env=env[f'w{i}'])
        t.workers_ready(2)
        for x in 'in', 'out':
            t.topic('ck-' + x, 2)
        sql = (table(t, 'i', 'k BIGINT, id BIGINT, pt AS PROCTIME()', 'ck-in', ", 'scan.startup.mode' = 'earliest-offset'") +
               table(t, 'o', 'w TIMESTAMP(3), k BIGINT, n BIGINT', 'ck-out', ", 'sink.delivery-guarantee' = 'exactly-once'") +
               "INSERT INTO o SELECT TUMBLE_START(pt, INTERVAL '1' SECOND), k, COUNT(*) FROM i GROUP BY TUMBLE(pt, INTERVAL '1' SECOND), k;")
        job = t.submit(sql, 'clock', 2)
        feed = Feeder(t, 'ck-in', rate=400, keys=4)
        wait_for('windows', lambda: count(t, 'ck-out') > 12)
        for name in 'coordinator', 'w1':
            set_clock(clocks[name], -4000)
        time.sleep(2)
        if doc(t, job)['restarts']:
            raise Failure(f'a clock that jumped cost an attempt: {doc(t, job)["last_error"]}')
        set_clock(clocks['w2'], -6000)
        t.procs['w1'].kill()
        t.worker(1, env=env['w1'])
        time.sleep(3)
        n = feed.stop()

        def total():
            seen = collections.Counter()
            for _, _, _, value in t.dump('ck-out'):
                row = json.loads(value)
                if (row['w'], row['k']) in seen:
                    raise AssertionError(f'window {row["w"]} of key {row["k"]} came twice')
                seen[row['w'], row['k']] = row['n']
            return sum(seen.values()) == n and len(seen)
        windows = wait_for(f'{n} rows in windows', total, 60, 0.5)
        print(f'  clocks back by 4 and 6 s, one worker killed: {n} rows in {windows} windows, each once; {doc(t, job)["restarts"]} restart')


def test_a_worker_without_a_version_in_common_is_refused_by_name():
    c = broker()
    with Cluster('versions', broker=c) as t:
        start(t, workers=1)
        for x in 'in', 'out':
            t.topic('ve-' + x, 2)
        job = t.submit(copy_job(t, 've'), 'versions', 2)
        feed = Feeder(t, 've-in', rate=500)
        new = t.worker(2, env={'TIDEGATE_VERSION_SHIFT': '1'}, args=['--name', 'from-the-future'])
        new.expected_death = True
        wait_for('the end of the worker', lambda: not new.alive(), 15)
        want = 'worker from-the-future speaks control versions 2 to 2, this coordinator 1 to 1'
        if new.p.returncode == 0 or want not in new.tail() or want not in t.procs['coordinator'].tail(200):
            raise Failure(f'exit {new.p.returncode}:\n{new.tail()}\n{t.procs["coordinator"].tail()}')
        n = feed.stop()
        exactly_once(t, 've-out', n)
        if doc(t, job)['restarts']:
            raise Failure('the refused worker cost the job an attempt')
        print(f'  {new.tail(3).strip()[:200]}; {n} rows once')


def test_two_workers_on_one_data_directory():
    c = broker()
    with Cluster('twins', broker=c) as t:
        start(t, workers=1)
        p = Process('twin', [TIDEGATE, 'worker', '--coordinator', t.address, '--data', t.path('w1')], t.dir)
        begin = time.monotonic()
        try:
            wait_for('the end of the second worker', lambda: not p.alive(), 10)
            text = p.tail(4)
            if p.p.returncode == 0 or t.path('w1') not in text or 'another' not in text:
                raise Failure(f'exit {p.p.returncode}: {text}')
            took = time.monotonic() - begin
        finally:
            p.kill()
        t.workers_ready(1)
        t.procs['w1'].kill()
        t.worker(1)  # the lock dies with its process
        t.workers_ready(1)
        print(f'  refused in {took:.1f} s, exit {p.p.returncode}: {next(x for x in text.splitlines() if "another" in x)[:160]}')


def test_sigterm_drains_a_worker():
    c = broker()
    with Cluster('drain', broker=c) as t:
        start(t, workers=3)
        for x in 'in', 'out':
            t.topic('dr-' + x, 2)
        job = t.submit(copy_job(t, 'dr'), 'drain', 4)
        feed = Feeder(t, 'dr-in', rate=1000)
        wait_for('rows', lambda: count(t, 'dr-out') > 500)
        victim = wait_for('tasks', lambda: busy_worker(t, job))
        begin = time.monotonic()
        status = t.procs[victim].kill(signal.SIGTERM, wait=30)
        took = time.monotonic() - begin
        if status != 0:
            raise Failure(f'the worker ended with {status}:\n{t.procs[victim].tail()}')
        seen = count(t, 'dr-out')
        wait_for('rows after the drain', lambda: count(t, 'dr-out') > seen + 300)
        n = feed.stop()
        exactly_once(t, 'dr-out', n)
        now = doc(t, job)
        print(f'  drained in {took:.1f} s with exit 0; outage {now.get("last_outage_ms", 0)} ms, {now["restarts"]} restarts, {n} rows once')
        if now['state'] != 'RUNNING' or took > 20 * SLOW:
            raise Failure(f'{now["state"]} after {took:.1f} s')


def test_sigterm_ends_a_worker_whose_coordinator_is_dead():
    with Cluster('alone') as t:
        t.coordinator(etcd=False)
        for i in 1, 2:
            t.worker(i, slots=4)
        t.workers_ready(2)
        job = t.submit("CREATE TABLE src (id BIGINT) WITH ('connector'='datagen', 'rows-per-second'='1000');\n"
                       "CREATE TABLE snk (id BIGINT) WITH ('connector'='blackhole');\nINSERT INTO snk SELECT id FROM src;", 'alone', 8)
        wait_for('epochs', lambda: t.job(job)['job']['epoch'] > 5)
        t.procs['coordinator'].kill(signal.SIGKILL)
        time.sleep(1)
        begin = time.monotonic()
        status = t.procs['w1'].kill(signal.SIGTERM, wait=15)
        took = time.monotonic() - begin
        if status != 0 or 'no coordinator answers' not in t.procs['w1'].tail() or took > 10 * SLOW:
            raise Failure(f'exit {status} after {took:.1f} s:\n{t.procs["w1"].tail()}')
        t.procs['w2'].signal(signal.SIGTERM)
        time.sleep(1)  # it waits for a coordinator
        begin = time.monotonic()
        status = t.procs['w2'].kill(signal.SIGINT, wait=2)
        print(f'  SIGTERM: ended in {took:.1f} s with exit 0; SIGTERM, then SIGINT: in {time.monotonic() - begin:.2f} s with status {status}')
        if status != -signal.SIGINT:
            raise Failure(f'ended with {status}:\n{t.procs["w2"].tail()}')


def test_control_c_ends_run_like_stop_and_a_further_run_resumes():
    c = broker()
    with Cluster('ctrlc', broker=c) as t:
        for x in 'in', 'out':
            t.topic('cc-' + x, 2)
        path = t.path('job.sql')
        with open(path, 'w') as f:
            f.write(copy_job(t, 'cc'))
        feed = Feeder(t, 'cc-in', rate=1000)
        took = []
        for turn, sig in enumerate((signal.SIGINT, signal.SIGTERM, signal.SIGKILL, signal.SIGINT)):
            seen = count(t, 'cc-out')
            p = t.start(f'run{turn}', [TIDEGATE, 'run', '--data', t.path('data'), path])
            wait_for(f'rows of run {turn}', lambda: not p.alive() or count(t, 'cc-out') > seen + 400, 30, 0.2)
            if turn == 3:
                n = feed.stop()
                wait_for('all rows', lambda: count(t, 'cc-out') >= n, 30, 0.3)
            begin = time.monotonic()
            status = p.kill(sig, wait=20)
            took.append(f'{time.monotonic() - begin:.1f} s')
            if status != (-9 if sig == signal.SIGKILL else 0):
                raise Failure(f'run {turn} ended with {status} after signal {sig}:\n{p.tail()}')
        exactly_once(t, 'cc-out', n)
        print(f'  SIGINT, SIGTERM, SIGKILL, SIGINT: ended after {", ".join(took)}; four runs, {n} rows once')
