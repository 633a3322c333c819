"""What becomes of a job when a worker's own disk fails it: the base below --data. All of it lies in checkpoint storage, too."""
import collections, glob, json, os, re, signal, subprocess, time
from harness import SLOW, TIDEGATE, Cluster, Failure, wait_for
from test_bad_days import Feeder, broker, copy_job, count, doc, exactly_once, finish, waits
from test_run import Terminal

FULL = re.compile(r'RUNNING +\d+ events/s +(\d+) events .* waits: (.*No space left on device.*)')
KEYS, TIMES, WIDTH = 200000, 3, 400  # more than --memory 96M has room for


def wide_job(c, topic, rate=20000, keys=KEYS, width=WIDTH):
    """Each key is counted several times, when its state has left the memory; every count is put out once."""
    rows = keys * TIMES
    return (f"CREATE TABLE i (id BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '{rate}', 'number-of-rows' = '{rows}', "
            f"'fields.id.kind' = 'sequence', 'fields.id.start' = '0', 'fields.id.end' = '{rows - 1}');\n"
            "CREATE TABLE o (k INT, n BIGINT, total BIGINT, width INT, PRIMARY KEY (k) NOT ENFORCED) WITH ('connector' = 'upsert-kafka', "
            f"'topic' = '{topic}', 'properties.bootstrap.servers' = '{c.bootstrap}', 'key.format' = 'json', 'value.format' = 'json', "
            "'sink.delivery-guarantee' = 'exactly-once');\n"
            "INSERT INTO o SELECT k, COUNT(*), SUM(id), CHAR_LENGTH(MAX(w)) FROM "
            f"(SELECT MOD(id, {keys}) AS k, id, LPAD(CAST(MOD(id, {keys}) AS STRING), {width}, 'x') AS w FROM i) GROUP BY k;")


def counted(c, topic, keys=KEYS, width=WIDTH):
    """No count of a key came twice, and the last of each is right."""
    seen, last = collections.Counter(), {}
    for _, _, _, value in c.dump(topic):
        r = json.loads(value)
        seen[r['k'], r['n']] += 1
        last[r['k']] = max(last.get(r['k'], (0, 0, 0)), (r['n'], r['total'], r['width']))
    twice = [x for x, times in seen.items() if times > 1]
    wrong = [(k, last.get(k)) for k in range(keys) if last.get(k) != (TIMES, TIMES * k + keys * TIMES * (TIMES - 1) // 2, width)]
    if twice or wrong or len(last) != keys:
        raise Failure(f'{len(twice)} counts came twice: {twice[:4]}; {len(wrong)} of {keys} keys are wrong: {wrong[:4]}')


def tables(t, worker, attempt='*'):
    """The table files of its live base."""
    return glob.glob(t.path(f'{worker}/base/*/{attempt}/db/*.sst'))


def cut_in_half(path):
    """Unless storage has it under another name, or it was merged into another one meanwhile."""
    if not os.path.exists(path) or os.stat(path).st_nlink > 1:
        return False
    os.truncate(path, os.path.getsize(path) // 2)
    return True


def again(t, job, restarts, *says):
    """The job has begun another attempt, and says why."""
    now = wait_for('another attempt', lambda: (d := doc(t, job))['restarts'] > restarts and d['state'] in ('RUNNING', 'FINISHED', 'FAILED') and d, 60)
    text = json.dumps(now['last_error'])
    if now['state'] == 'FAILED' or not all(s in text for s in says) or '/checkpoints/' in text:
        raise Failure(f'{now["state"]}: {text} does not say {says}, or names a file of storage')
    return now


def test_a_local_base_that_is_damaged_and_a_data_directory_that_vanishes_cost_attempts_and_no_row():
    c = broker()
    with Cluster('localbase', broker=c) as t:
        t.coordinator(etcd=False)
        for i in 1, 2:
            t.worker(i, memory='96M')
        t.workers_ready(2)
        t.topic('lb-out', 2)
        keys, width = 120000, 1500  # values that only the base takes: what is evicted of them is read from it
        job = t.submit(wide_job(t, 'lb-out', keys=keys, width=width), 'localbase', 2)
        names = {w: open(t.path(f'{w}/name')).read().strip() for w in ('w1', 'w2')}
        cut = wait_for('table files that are not in storage', lambda: [f for f in tables(t, 'w1') if cut_in_half(f)], 60)
        began = time.monotonic()
        now = again(t, job, 0, names['w1'], t.path('w1/base/'))
        if not re.search('Corruption|its end is missing', json.dumps(now['last_error'])):
            raise Failure(f'{now["last_error"]}')
        first = json.dumps(now['last_error']['text'])
        took = time.monotonic() - began
        wait_for('table files of the new attempt', lambda: tables(t, 'w2', now['attempt']), 60)
        os.rename(t.path('w2'), t.path('w2-gone'))  # all at once: files come and go in it
        now = again(t, job, now['restarts'], names['w2'], t.path('w2/base/'), 'No such file or directory')
        wait_for('FINISHED', lambda: doc(t, job)['state'] == 'FINISHED', 120, 0.5)
        counted(t, 'lb-out', keys, width)
        print(f'  {len(cut)} table files cut: {first[:260]}; another attempt after {took:.1f} s; then all of --data gone: {json.dumps(now["last_error"]["text"])[:260]}; '
              f'{doc(t, job)["restarts"]} restarts, {keys * TIMES} rows counted once')


test_a_local_base_that_is_damaged_and_a_data_directory_that_vanishes_cost_attempts_and_no_row.limit = 400  # its waits, each of which says what it waits for


def test_a_full_disk_below_data_is_waited_for_and_said():
    """Sources wait where memory ends; when there is space all goes on in the same attempt."""
    c = broker()
    with Cluster('fulldata', broker=c) as t:
        data = t.small_disk('w1', '96m')
        t.coordinator(etcd=False)
        t.worker(1, memory='96M')
        t.workers_ready(1)
        t.topic('fd-out', 2)
        job = t.submit(wide_job(t, 'fd-out'), 'fulldata', 2)
        wait_for('table files', lambda: tables(t, 'w1'), 60)
        other = open(os.path.join(data, 'somebody-elses-file'), 'wb', buffering=0)

        def fill():  # also what a merge of the base has given back meanwhile
            try:
                while other.write(b'\0' * 4096):
                    pass
            except OSError:
                pass
            return True
        full = time.monotonic()
        wait_for('the job to say it', lambda: fill() and 'No space left on device' in doc(t, job).get('waiting', ''), 40, 0.1)
        said = waits(t, job, 'local base: ', data, 'No space left on device', seconds=40)
        noticed = time.monotonic() - full

        def held():
            fill()
            before = doc(t, job)['rows_in']
            time.sleep(3)
            return doc(t, job)['rows_in'] == before
        wait_for('sources that wait', held, 60)
        now = doc(t, job)
        if now['state'] != 'RUNNING' or now['restarts'] or now['rows_in'] >= KEYS * TIMES:
            raise Failure(f'{now["state"]}, {now["restarts"]} restarts, {now["rows_in"]} rows read')
        other.close()
        os.remove(os.path.join(data, 'somebody-elses-file'))
        wait_for('FINISHED', lambda: doc(t, job)['state'] == 'FINISHED', 120, 0.5)
        counted(t, 'fd-out')
        lines = open(t.procs['w1'].log).read().count('the local base does not follow')
        if not 1 <= lines <= 6:
            raise Failure(f'{lines} log lines say that the disk is full')
        if doc(t, job)['restarts']:
            raise Failure(f'{doc(t, job)["restarts"]} restarts: {doc(t, job)["last_error"]}')
        print(f'  full disk told after {noticed:.1f} s ({said.strip()[:260]}); held at {now["rows_in"]} rows; {KEYS * TIMES} rows counted once, no restart')


test_a_full_disk_below_data_is_waited_for_and_said.limit = 400


def test_a_small_file_system_below_data_holds_evicted_groups_up_until_it_is_larger():
    """`run` evicts groups into files without a name beside its base; there is no more room for either of them once some have left memory."""
    keys, rows, width = 300000, 700000, 400
    with Cluster('smalldata') as t:
        data, p = t.small_disk('data', '600m'), None
        try:
            with open(t.path('small.sql'), 'w') as f:
                f.write(f"CREATE TABLE i (id BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '60000', 'number-of-rows' = '{rows}', "
                        f"'fields.id.kind' = 'sequence', 'fields.id.start' = '0', 'fields.id.end' = '{rows - 1}');\n"
                        "SELECT COUNT(*) AS n, SUM(c) AS r, SUM(s) AS total, SUM(len) AS lens FROM (SELECT k, COUNT(*) AS c, SUM(id) AS s, CHAR_LENGTH(MAX(w)) AS len "
                        f"FROM (SELECT MOD(id, {keys}) AS k, id, LPAD(CAST(MOD(id, {keys}) AS STRING), {width}, 'x') AS w FROM i) GROUP BY k);")
            p = Terminal(TIDEGATE, 'run', '--slots', '2', '--memory', '96M', '--data', data, t.path('small.sql'))

            def links(fd):
                try:
                    return os.readlink(fd)
                except OSError:  # closed meanwhile
                    return ''

            def nameless():
                return sum(x.startswith(data) and '/scratch-' in x for x in map(links, glob.glob(f'/proc/{p.p.pid}/fd/*')))

            def until(what, check, seconds, every):
                wait_for(what, lambda: p.p.poll() is not None or check(), seconds, every)
                if p.p.poll() is not None:
                    raise Failure(f'it ended with {p.p.poll()}: ' + p.text()[-2000:])

            def shrunk():
                used = os.statvfs(data)
                size = (used.f_blocks - used.f_bfree) * used.f_frsize + (64 << 10)
                return subprocess.run(['mount', '-o', f'remount,size={size}', data], capture_output=True).returncode == 0

            def held():
                """For three seconds it has said which file has no space, as often as it says anything, and has read nothing: it does not lack the CPU."""
                told = [(at, int(m.group(1)), m.group(2)) for at, line in p.lines if (m := FULL.search(line)) and data in m.group(2)]
                same = [x for x in told if x[1] == told[-1][1]]
                return len(same) >= 8 and same[-1][0] - same[0][0] >= 3 and same[-1][1:]
            until('groups to be evicted into files', nameless, 60, 0.2)
            until('a full file system', shrunk, 10, 0.1)
            until('sources that wait', held, 100, 0.2)
            (read, text), files = held(), nameless()
            if read >= rows:
                raise Failure(f'it had read {read} rows by then')
            subprocess.run(['mount', '-o', 'remount,size=600m', data], check=True)
            status = p.end(150 * SLOW)
            found = re.findall(r'\+[IU] ?\W *(\d+)\W+(\d+)\W+(\d+)\W+(\d+)', p.text())
            want = [keys, rows, rows * (rows - 1) // 2, keys * width]
            if status or not found or [int(x) for x in found[-1]] != want:
                raise Failure(f'exit status {status}, {found[-1:]} instead of {want}\n' + p.text()[-2000:])
            print(f'  held at {read} of {rows} rows, {files} files without a name: {text[:230]}')
        finally:
            if p and p.p.poll() is None:
                p.p.kill()
                p.p.wait()


test_a_small_file_system_below_data_holds_evicted_groups_up_until_it_is_larger.limit = 400


def test_a_worker_that_can_make_nothing_below_data_loses_its_tasks_to_others():
    c = broker()
    with Cluster('nodata', broker=c) as t:
        t.coordinator(etcd=False)
        for i in 1, 2:
            t.worker(i)
        t.workers_ready(2)
        for x in 'in', 'out':
            t.topic('nd-' + x, 2)
        job = t.submit(copy_job(t, 'nd'), 'nodata', 2)
        feed = Feeder(t, 'nd-in', rate=1000)
        wait_for('rows', lambda: count(t, 'nd-out') > 500)
        os.rename(t.path('w2/base'), t.path('base-gone'))
        open(t.path('w2/base'), 'w').close()
        t.procs['w1'].kill()
        t.worker(1)
        name = open(t.path('w1/name')).read().strip()

        def elsewhere():
            d = doc(t, job)
            return d['state'] == 'RUNNING' and d['restarts'] >= 2 and {k['worker'] for s in d['stages'] for k in s['tasks']} == {name} and d
        now = wait_for('RUNNING on the other worker alone', elsewhere, 60)
        text = json.dumps(now['last_error'])
        if f"the data directory '{t.path('w2')}' cannot be used" not in text:
            raise Failure(text)
        exactly_once(t, 'nd-out', feed.stop())
        said = re.search(r'the disk of worker \S+ failed two attempts: it gets no tasks for \d+ s', open(t.procs['coordinator'].log).read())
        if not said:
            raise Failure('the coordinator does not say why')
        print(f'  {said.group(0)}; {now["restarts"]} restarts, {feed.sent} rows once; {text[:200]}')


SETS = """SET 'checkpoint.base.interval' = '300 ms';
SET 'execution.checkpointing.interval' = '100 ms';
CREATE TABLE s (id BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '100000', 'fields.id.kind' = 'sequence', 'fields.id.start' = '1',
 'fields.id.end' = '600000');
CREATE TABLE d (g BIGINT, n BIGINT, texts BIGINT, c BIGINT) WITH ('connector' = 'print');
INSERT INTO d SELECT g, COUNT(DISTINCT u), COUNT(DISTINCT 'user-' || CAST(u AS STRING)), COUNT(*)
FROM (SELECT MOD(id, 3) AS g, MOD(id * 7919, 50021) AS u FROM s) GROUP BY g;
"""


def test_large_sets_go_on_where_they_were_below_a_data_directory_named_from_here():
    """Killed twice while six sets of 50,000 values fill, which lie in pages in the changelog and in the base; --data is a relative path."""
    want = [[str(g), *[str(len({i * 7919 % 50021 for i in range(1, 600001) if i % 3 == g}))] * 2, '200000'] for g in range(3)]
    with Cluster('sets') as c:
        with open(c.path('sets.sql'), 'w') as f:
            f.write(SETS)
        for turn in range(3):
            p = c.start(f'run{turn}', [TIDEGATE, 'run', '--quiet', '--data', 'data', 'sets.sql'])
            if turn < 2:
                wait_for('results and a base', lambda: not p.alive() or ('U[' in p.tail(100000) and glob.glob(c.path('data/checkpoints/jobs/*/base/*/c*'))), 60)
                time.sleep(1)
                p.kill(signal.SIGKILL)
        status = p.p.wait(60)
        p.expected_death = True
        last = {}
        for line in re.findall(r'\+[IU]\[(.*?)\]', p.tail(1000000)):
            last[line.split(', ')[0]] = line.split(', ')
        if status or [last.get(str(g)) for g in range(3)] != want:
            raise Failure(f'exit status {status}, {last} instead of {want}\n' + p.tail(20))
