"""The memory budget on a real process: state several times --memory, and RSS stays within it, whatever is done with that state."""
import os, re, signal, subprocess, tempfile, threading, time
from harness import Cluster, Failure, SLOW, TIDEGATE, wait_for

BUDGET = 96 << 20
WIDTH = 400


def source(rows, rate=100000000):
    return f"""
CREATE TABLE src (id BIGINT, ts AS TO_TIMESTAMP_LTZ(id, 3), WATERMARK FOR ts AS ts) WITH ('connector' = 'datagen', 'rows-per-second' = '{rate}',
  'number-of-rows' = '{rows}', 'fields.id.kind' = 'sequence', 'fields.id.start' = '0', 'fields.id.end' = '{rows - 1}');"""


def wide(keys):
    return f"SELECT MOD(id, {keys}) AS k, id, ts, LPAD(CAST(MOD(id, {keys}) AS STRING), {WIDTH}, 'x') AS w FROM src"


def rss(pid):
    with open(f'/proc/{pid}/statm') as f:
        return int(f.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')


def check_peak(peak):
    with open(TIDEGATE, 'rb') as f:
        measured = b'__asan_init' not in f.read()  # shadow and quarantine are no memory of ours: there only the result counts
    if measured and peak > 1.2 * BUDGET:
        raise Failure(f'peak RSS {peak >> 20} MB is more than 1.2 times the budget of {BUDGET >> 20} MB')


def last_row(found, row):
    return row


def run_within_budget(sql, expected, fold=last_row):
    """Runs the job under --memory 96M; `fold` over its rows (the last one, if not told otherwise) must be `expected`, its peak RSS at most 1.2 times
    the budget."""
    began, peak, rest, found = time.time(), 0, '', None

    def take(data):
        nonlocal rest, found
        *lines, rest = (rest + data.decode()).split('\n')
        for line in lines:
            if line.startswith(('+I', '+U')):
                found = fold(found, [int(x) for x in line.split('|')[1:]])
    with tempfile.NamedTemporaryFile('w', suffix='.sql') as f, tempfile.TemporaryFile() as errors:
        f.write(sql)
        f.flush()
        p = subprocess.Popen([TIDEGATE, 'run', '--slots', '2', '--memory', str(BUDGET), f.name], stdout=subprocess.PIPE, stderr=errors)
        try:
            os.set_blocking(p.stdout.fileno(), False)
            while p.poll() is None:
                if time.time() - began > 240 * SLOW:
                    raise Failure(f'not done after {240 * SLOW:.0f} s; found until then: {found}')
                try:
                    peak = max(peak, rss(p.pid))
                except (FileNotFoundError, IndexError):
                    pass
                take(p.stdout.read() or b'')
                time.sleep(0.02)
            while data := p.stdout.read():
                take(data)
            if p.returncode != 0:
                errors.seek(0)
                raise Failure(f'exit {p.returncode}: {errors.read().decode()[-1000:]}')
        finally:
            if p.poll() is None:
                p.kill()
                p.wait()
            p.stdout.close()
    if found != expected:
        raise Failure(f'the result is {found}, expected {expected}')
    print(f'    peak RSS {peak / 2**20:.0f} MB of {BUDGET >> 20} MB, {time.time() - began:.1f} s')
    check_peak(peak)


def test_state_several_times_the_budget_stays_within_it_and_is_exact():
    """700,000 groups of some 600 bytes, each row counted once."""
    keys, rows = 700000, 1000000
    sql = source(rows) + f"""
SELECT COUNT(*) AS n, SUM(c) AS r, SUM(c * c) AS squares, SUM(s) AS total, SUM(len) AS lens FROM (
  SELECT k, COUNT(*) AS c, SUM(id) AS s, CHAR_LENGTH(MAX(w)) AS len FROM ({wide(keys)}) GROUP BY k);"""
    twice = rows - keys
    run_within_budget(sql, [keys, rows, keys - twice + 4 * twice, rows * (rows - 1) // 2, keys * WIDTH])


def test_windows_larger_than_the_budget_fire_within_it():
    """Two windows of 300,000 keys of some 600 bytes, of which most are evicted when they fire."""
    keys, rows = 300000, 800000
    sql = source(rows) + f"""
SELECT COUNT(*) AS n, SUM(c) AS r, SUM(s) AS total, SUM(len) AS lens FROM (
  SELECT k, COUNT(*) AS c, SUM(id) AS s, CHAR_LENGTH(MAX(w)) AS len
  FROM TABLE(TUMBLE(TABLE ({wide(keys)}), DESCRIPTOR(ts), INTERVAL '400' SECOND)) GROUP BY k, window_start, window_end);"""
    run_within_budget(sql, [2 * keys, rows, rows * (rows - 1) // 2, 2 * keys * WIDTH])


def test_a_sweep_over_state_larger_than_the_budget_stays_within_it():
    """Keys that never come again, forgotten after four seconds: what lives at any time is more than memory has room for. The rows are counted here: a
    count in the job were under the same TTL, and forgotten where the machine stands still for four seconds."""
    rows = 500000
    sql = "SET 'table.exec.state.ttl' = '4 s';" + source(rows, rate=40000) + f"""
SELECT k, CHAR_LENGTH(MAX(w)) AS len FROM ({wide(rows)}) GROUP BY k;"""
    run_within_budget(sql, [rows, rows * (rows - 1) // 2, rows * WIDTH], lambda found, row: [a + b for a, b in zip(found or [0, 0, 0], [1, *row])])


def spilled(pid):
    """Bytes in the files without a name that hold what was evicted."""
    n = 0
    for fd in os.listdir(f'/proc/{pid}/fd'):
        try:
            if '/scratch-' in os.readlink(f'/proc/{pid}/fd/{fd}'):
                n += os.stat(f'/proc/{pid}/fd/{fd}').st_size
        except OSError:
            pass
    return n


def tables(data):
    return [f for _, _, files in os.walk(data) for f in files if f.endswith('.sst')]


def test_kills_while_groups_are_evicted_ahead_of_the_base_lose_and_double_none():
    """A million groups, each met twice. What is evicted lies in files that end with the process, and no base need have it when the process is killed:
    first as they are made, then as they come back from there."""
    keys, rows = 1000000, 2000000
    sql = source(rows, rate=150000) + f"""
SELECT COUNT(*) AS n, SUM(c) AS r, SUM(c * c) AS squares, SUM(s) AS total FROM (
  SELECT k, COUNT(*) AS c, SUM(id) AS s FROM (SELECT MOD(id, {keys}) AS k, id FROM src) GROUP BY k);"""
    with tempfile.TemporaryDirectory() as d:
        with open(d + '/job.sql', 'w') as f:
            f.write(sql)
        for until in (300000, keys + 300000, None):
            before, row, ahead = tables(d), None, 0
            with open(d + '/errors', 'w') as errors:
                p = subprocess.Popen([TIDEGATE, 'run', '--slots', '2', '--memory', '64M', '--data', d + '/data', d + '/job.sql'], stdout=subprocess.PIPE,
                                     stderr=errors, text=True)
                bell = threading.Timer(240 * SLOW, p.kill)
                bell.start()
                try:
                    for line in p.stdout:
                        if not line.startswith(('+I', '+U')):
                            continue
                        row = [int(x) for x in line.split('|')[1:]]
                        if until and row[1] >= until and (ahead := spilled(p.pid)) >= 4 << 20:
                            break
                finally:
                    bell.cancel()
                    p.kill()
                    p.wait()
                    p.stdout.close()
            print(f'    {row[1] if row else 0} rows, {ahead >> 20} MB evicted, {len(before)} tables before and {len(tables(d))} after')
            if until and ahead < 4 << 20:
                raise Failure(f'nothing was evicted at {row}')
        if row != [keys, rows, 4 * keys, rows * (rows - 1) // 2]:
            raise Failure(f'the result is {row}; {open(d + "/errors").read()[-1000:]}')


class Peak(threading.Thread):
    """Largest RSS of a process, until `ends` is set."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.peak, self.ends = pid, 0, threading.Event()

    def run(self):
        while not self.ends.wait(0.02):
            try:
                self.peak = max(self.peak, rss(self.pid))
            except (OSError, IndexError):
                return


def ids(c, topic):
    """The id of each record of the topic, one after the other: all of it would be hundreds of megabytes."""
    with c.tool('dump', topic, 'read_committed', background=True) as p:
        for line in p.stdout:
            yield int(line.split(b'"id":', 1)[1].split(b',', 1)[0])


def test_output_that_its_broker_does_not_take_stays_within_the_budget_and_comes_once():
    """The broker stands still for a while, later it is gone: output of some 12 MB a second piles up to its share of the budget, and there the source waits."""
    rows, width = 900000, 280
    with Cluster('output') as t:
        t.kafka()
        t.coordinator(etcd=False)
        worker = t.worker(1, slots=2, memory='96M')
        t.workers_ready(1)
        t.topic('piled', 2)
        job = t.submit(f"""CREATE TABLE i (id BIGINT, pad STRING) WITH ('connector' = 'datagen', 'rows-per-second' = '40000', 'fields.id.kind' = 'sequence',
  'fields.id.start' = '0', 'fields.id.end' = '{rows - 1}', 'fields.pad.length' = '{width}');
CREATE TABLE o (id BIGINT, pad STRING) WITH ('connector' = 'kafka', 'topic' = 'piled', 'properties.bootstrap.servers' = '{t.bootstrap}', 'format' = 'json',
  'sink.delivery-guarantee' = 'exactly-once');
INSERT INTO o SELECT id, pad FROM i;""", 'output', 2)
        count = lambda: int(t.tool('count', 'piled'))
        waits = lambda: re.search('(its share of --memory is|whose memory has) 12 MB( for it)?: sources wait', t.cli('job', job).stdout.decode())  # worker or coordinator
        read = lambda: t.job(job)['job']['rows_in']
        watch = Peak(worker.p.pid)
        watch.start()
        for hang in (True, False):
            before = count()
            wait_for('rows', lambda: count() > before + 20000)
            if hang:
                os.killpg(os.getpgid(t.broker_pid), signal.SIGSTOP)
            else:
                t.kill_kafka()
            try:
                wait_for('the job to say that its sources wait', waits)
                time.sleep(2)
                held = read()
                time.sleep(6)
                if read() != held:
                    raise Failure(f'{held} rows were read when the sources waited, {read()} six seconds later')
            finally:
                if hang:
                    os.killpg(os.getpgid(t.broker_pid), signal.SIGCONT)
            if not hang:
                t.kafka()
        wait_for('all rows', lambda: count() >= rows, 120)
        wait_for('the end of the job', lambda: t.job(job)['job']['state'] == 'FINISHED')
        watch.ends.set()
        watch.join()
        seen = bytearray(rows)
        for i in ids(t, 'piled'):
            seen[i] += 1
        if seen != b'\1' * rows:
            raise Failure(f'{seen.count(0)} of {rows} rows are missing, {rows - seen.count(0) - seen.count(1)} came more than once')
        print(f'    peak RSS {watch.peak / 2**20:.0f} MB of {BUDGET >> 20} MB, {t.job(job)["job"]["restarts"]} restarts')
        check_peak(watch.peak)


for test in (test_state_several_times_the_budget_stays_within_it_and_is_exact, test_windows_larger_than_the_budget_fire_within_it,
             test_a_sweep_over_state_larger_than_the_budget_stays_within_it,
             test_output_that_its_broker_does_not_take_stays_within_the_budget_and_comes_once):
    test.alone = SLOW == 1  # how much comes between two looks at RSS depends on who else wants the cores; instrumented builds do not measure it
