"""The memory budget on a real process: state several times --memory, and RSS stays within it, whatever is done with that state."""
import os, subprocess, tempfile, time
from harness import Failure, SLOW, TIDEGATE

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


def run_within_budget(sql, expected):
    """Runs the job under --memory 96M; its last row must be `expected`, its peak RSS at most 1.2 times the budget."""
    began, peak, text, last = time.time(), 0, '', ''
    with tempfile.NamedTemporaryFile('w', suffix='.sql') as f, tempfile.TemporaryFile() as errors:
        f.write(sql)
        f.flush()
        p = subprocess.Popen([TIDEGATE, 'run', '--slots', '2', '--memory', str(BUDGET), f.name], stdout=subprocess.PIPE, stderr=errors)
        try:
            os.set_blocking(p.stdout.fileno(), False)
            while p.poll() is None:
                if time.time() - began > 240 * SLOW:
                    raise Failure(f'not done after {240 * SLOW:.0f} s; the last row was: {last}')
                try:
                    peak = max(peak, rss(p.pid))
                except (FileNotFoundError, IndexError):
                    pass
                text = (text + (p.stdout.read() or b'').decode())[-4000:]
                last = ([line for line in text.splitlines() if line.startswith(('+I', '+U'))] or [last])[-1]
                time.sleep(0.02)
            text += (p.stdout.read() or b'').decode()
            if p.returncode != 0:
                errors.seek(0)
                raise Failure(f'exit {p.returncode}: {errors.read().decode()[-1000:]}')
        finally:
            if p.poll() is None:
                p.kill()
                p.wait()
            p.stdout.close()
    last = [line for line in text.splitlines() if line.startswith(('+I', '+U'))][-1]
    found = [int(x) for x in last.split('|')[1:]]
    if found != expected:
        raise Failure(f'the result is {found}, expected {expected}')
    print(f'    peak RSS {peak / 2**20:.0f} MB of {BUDGET >> 20} MB, {time.time() - began:.1f} s')
    with open(TIDEGATE, 'rb') as f:
        measured = b'__asan_init' not in f.read()  # shadow and quarantine are no memory of ours: there only the result counts
    if measured and peak > 1.2 * BUDGET:
        raise Failure(f'peak RSS {peak >> 20} MB is more than 1.2 times the budget of {BUDGET >> 20} MB')


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
    """Keys that never come again, forgotten after four seconds: what lives at any time is more than memory has room for."""
    rows = 500000
    sql = "SET 'table.exec.state.ttl' = '4 s';" + source(rows, rate=40000) + f"""
SELECT COUNT(*) AS n, SUM(len) AS lens FROM (SELECT k, CHAR_LENGTH(MAX(w)) AS len FROM ({wide(rows)}) GROUP BY k);"""
    run_within_budget(sql, [rows, rows * WIDTH])


for test in (test_state_several_times_the_budget_stays_within_it_and_is_exact, test_windows_larger_than_the_budget_fire_within_it,
             test_a_sweep_over_state_larger_than_the_budget_stays_within_it):
    test.alone = SLOW == 1  # how much comes between two looks at RSS depends on who else wants the cores; instrumented builds do not measure it
