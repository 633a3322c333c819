#!/usr/bin/env python3
"""threads.py TIDEGATE: whole jobs in one process, four subtasks on four slots, for a binary under the thread sanitizer (a race ends it with
another status): generator, keyed aggregate, windows and files. What they write is counted. The last line is "threads: N passed, N failed"."""
import glob, json, os, subprocess, sys, tempfile

TIDEGATE = os.path.abspath(sys.argv[1])
ROWS, KEYS = 20000, 200
EVENTS = 'k INT, v BIGINT, t TIMESTAMP(3)'
SOURCE = f"""SET 'execution.checkpointing.interval' = '50 ms';
CREATE TABLE i ({EVENTS}, WATERMARK FOR t AS t - INTERVAL '1' SECOND) WITH ('connector' = 'datagen', 'rows-per-second' = '10000',
  'number-of-rows' = '{ROWS}', 'event-time.speedup' = '10', 'fields.k.min' = '1', 'fields.k.max' = '{KEYS}', 'fields.v.kind' = 'sequence',
  'fields.v.start' = '0', 'fields.v.end' = '{ROWS - 1}', 'fields.t.kind' = 'event-time');
"""
WINDOWS = ("SELECT window_start, k, COUNT(*), SUM(v) FROM TABLE(TUMBLE(TABLE i, DESCRIPTOR(t), INTERVAL '5' SECOND)) "
           'GROUP BY window_start, window_end, k;\n')


def files(name, columns, path):
    return f"CREATE TABLE {name} ({columns}) WITH ('connector' = 'filesystem', 'path' = '{path}', 'format' = 'json');\n"


def run(folder, name, sql):
    path = os.path.join(folder, name + '.sql')
    with open(path, 'w') as f:
        f.write(sql)
    r = subprocess.run([TIDEGATE, 'run', '--quiet', '--slots', '4', '--parallelism', '4', '--data', os.path.join(folder, 'data'), path],
                       capture_output=True, text=True, timeout=180)
    if r.returncode:
        raise AssertionError(f'exit status {r.returncode}\n{r.stderr[-6000:]}')
    return r.stdout


def rows(folder):
    found = []
    for path in glob.glob(os.path.join(folder, '**', '*'), recursive=True):
        if os.path.isfile(path) and not os.path.basename(path).startswith(('.', '_')):
            with open(path) as f:
                found += [json.loads(line) for line in f]
    return found


def expect(what, got, wanted):
    if got != wanted:
        raise AssertionError(f'{what}: {wanted} expected, got {got}')


def two_statements_over_one_generator(d):
    out = run(d, 'agg', SOURCE + "CREATE TABLE a (k INT, n BIGINT, s BIGINT) WITH ('connector' = 'blackhole');\n"
              "CREATE TABLE w (ws TIMESTAMP(3), k INT, n BIGINT, s BIGINT) WITH ('connector' = 'print');\n"
              'INSERT INTO a SELECT k, COUNT(*), SUM(v) FROM i GROUP BY k;\nINSERT INTO w ' + WINDOWS)
    parts = [line.split('[')[1].rstrip(']').split(', ') for line in out.splitlines() if '+I[' in line]
    expect('rows in all windows', sum(int(p[2]) for p in parts), ROWS)
    expect('sum', sum(int(p[3]) for p in parts), ROWS * (ROWS - 1) // 2)


def files_written_and_read_again(d):
    raw, windows = os.path.join(d, 'raw'), os.path.join(d, 'windows')
    run(d, 'write', SOURCE + files('o', EVENTS, raw) + 'INSERT INTO o SELECT k, v, t FROM i;')
    expect('rows in files', sorted(r['v'] for r in rows(raw)), list(range(ROWS)))
    run(d, 'read', files('i', EVENTS + ", WATERMARK FOR t AS t - INTERVAL '30' SECOND", raw) + files('o', 'ws TIMESTAMP(3), k INT, n BIGINT, s BIGINT', windows) +
        'INSERT INTO o ' + WINDOWS)
    expect('sum of the counts', sum(r['n'] for r in rows(windows)), ROWS)


failed = 0
TESTS = [two_statements_over_one_generator, files_written_and_read_again]
for test in TESTS:
    with tempfile.TemporaryDirectory(prefix='tidegate-threads-') as folder:
        try:
            test(folder)
            print(f'{test.__name__}: ok, no race')
        except (AssertionError, subprocess.TimeoutExpired) as e:
            failed += 1
            print(f'{test.__name__}: FAILED: {e}')
print(f'threads: {len(TESTS) - failed} passed, {failed} failed')
sys.exit(1 if failed else 0)
