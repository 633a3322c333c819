#!/usr/bin/env python3
"""allocs.py TIDEGATE ALLOC_COUNT.SO MICRO_OP: the hot path allocates per batch, never per row, and batches are made of memory that the process has. Each
job runs over N and over 3 N rows; what the longer run allocated beyond the shorter one, for each of its rows beyond, is the steady state, and so are the
pages that the system had to give (minor faults). Operators whose input needs a broker, or comes in no such order, are run by themselves (bench/micro_op.c). The last line is "allocs: N passed, N failed"."""
import os, resource, subprocess, sys, tempfile

TIDEGATE, LIBRARY, MICRO_OP = map(os.path.abspath, sys.argv[1:4])
ROWS, LIMIT = 400000, 0.02  # allocations a row: a batch of 1024 rows may make twenty
PAGES = 0.02                # faults a row: a wide row is a tenth of a page
GENERATOR = """CREATE TABLE src (k BIGINT, v DOUBLE, t TIMESTAMP(3), WATERMARK FOR t AS t - INTERVAL '1' SECOND) WITH ('connector' = 'datagen',
  'rows-per-second' = '1000000000', 'number-of-rows' = '%d', 'fields.k.min' = '0', 'fields.k.max' = '%d', 'fields.t.kind' = 'event-time');
"""
WIDE = ', '.join(f'{c} STRING' for c in 'abcdefgh')
FILES = f"""CREATE TABLE src (id STRING, category STRING, amount DOUBLE, n BIGINT, t TIMESTAMP(3), {WIDE}) WITH ('connector' = 'filesystem', 'path' = '%s',
  'format' = '%s');
"""
LINES = {'json': '{"id":"o%06d","category":"category-%02d","amount":%d.%02d,"n":%d,"t":"2024-05-01 10:%02d:%02d.%03d"' +
                 ''.join(f',"{c}":"{c * 16}"' for c in 'abcdefgh') + '}\n',
         'csv': 'o%06d,category-%02d,%d.%02d,%d,2024-05-01 10:%02d:%02d.%03d' + ''.join(f',{c * 16}' for c in 'abcdefgh') + '\n'}
JOBS = {
    'a keyed aggregate over a thousand keys': (999, """CREATE TABLE dst (k BIGINT, n BIGINT, total DOUBLE, top DOUBLE) WITH ('connector' = 'blackhole');
INSERT INTO dst SELECT k, COUNT(*), SUM(v), MAX(v) FROM src GROUP BY k;"""),
    'a tumbling window over ten keys': (9, """CREATE TABLE dst (s TIMESTAMP(3), k BIGINT, n BIGINT, total DOUBLE) WITH ('connector' = 'blackhole');
INSERT INTO dst SELECT window_start, k, COUNT(*), SUM(v) FROM TABLE(TUMBLE(TABLE src, DESCRIPTOR(t), INTERVAL '5' SECOND))
GROUP BY window_start, window_end, k;"""),
    'distinct counts over ten keys and a thousand values': (999, """CREATE TABLE dst (k BIGINT, n BIGINT, low BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO dst SELECT k % 10, COUNT(DISTINCT k), COUNT(DISTINCT k) FILTER (WHERE v < 0.5) FROM src GROUP BY k % 10;"""),
    'a text as the key, and the largest text of each': (999, """CREATE TABLE dst (k STRING, top STRING, n BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO dst SELECT c, MAX(w), COUNT(*) FROM (SELECT 'user-' || CAST(k AS STRING) AS c, 'text-' || CAST(v AS STRING) AS w FROM src) GROUP BY c;"""),
    'several columns as the key, and an aggregate of the aggregates': (999, """CREATE TABLE dst (a BIGINT, n BIGINT, total BIGINT, top BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO dst SELECT a, COUNT(*), SUM(n), MAX(n) FROM (SELECT k % 10 AS a, CAST(k % 100 AS STRING) AS b, k, COUNT(*) AS n FROM src GROUP BY k % 10, CAST(k % 100 AS STRING), k)
GROUP BY a;"""),
    'a hopping window': (9, """CREATE TABLE dst (s TIMESTAMP(3), k BIGINT, n BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO dst SELECT window_start, k, COUNT(*) FROM TABLE(HOP(TABLE src, DESCRIPTOR(t), INTERVAL '5' SECOND, INTERVAL '20' SECOND)) GROUP BY window_start, window_end, k;"""),
    'sessions of ten keys': (9, """CREATE TABLE dst (s TIMESTAMP(3), k BIGINT, n BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO dst SELECT window_start, k, COUNT(*) FROM TABLE(SESSION(TABLE src PARTITION BY k, DESCRIPTOR(t), INTERVAL '5' SECOND)) GROUP BY window_start, window_end, k;"""),
    'decimals and regular expressions': (999, """CREATE TABLE dst (k BIGINT, p DECIMAL(23, 3), c STRING) WITH ('connector' = 'blackhole');
INSERT INTO dst SELECT k, CAST(0.908 * CAST(k AS DECIMAL(20, 0)) AS DECIMAL(23, 3)), REGEXP_EXTRACT('channel_id=' || CAST(k AS STRING), '=([0-9]+)', 1) FROM src;"""),
    'CSV in, CSV out': ('csv', """CREATE TABLE dst (id STRING, category STRING, amount DOUBLE, n BIGINT, t TIMESTAMP(3)) WITH ('connector' = 'filesystem', 'path' = '${OUT}',
  'format' = 'csv');
INSERT INTO dst SELECT id, category, amount, n, t FROM src WHERE amount > 10;"""),
    'JSON in, a filter and a projection of text': ('json', """CREATE TABLE dst (id STRING, c STRING, w BIGINT, t TIMESTAMP(3)) WITH ('connector' = 'blackhole');
INSERT INTO dst SELECT UPPER(id), category || '-' || SUBSTRING(id, 2, 4), CHAR_LENGTH(id) + n, t FROM src WHERE category LIKE 'category-%' AND id <> 'o0000';"""),
    'wide rows of JSON in': ('json', f"""CREATE TABLE dst (id STRING, category STRING, amount DOUBLE, n BIGINT, t TIMESTAMP(3), {WIDE}) WITH ('connector' = 'blackhole');
INSERT INTO dst SELECT * FROM src;"""),
    'JSON in, JSON out': ('json', """CREATE TABLE dst (id STRING, category STRING, amount DOUBLE, n BIGINT, t TIMESTAMP(3)) WITH ('connector' = 'filesystem', 'path' = '${OUT}',
  'format' = 'json');
INSERT INTO dst SELECT id, category, amount, n, t FROM src WHERE amount > 10;"""),
}


# operator, keys, rows in and out for each that comes in
OPERATORS = {'upserts of a thousand keys': ('upsert', 1000, 3), 'sessions of ten thousand keys': ('session', 10000, 1), 'rows that are taken back': ('group back', 1000, 2), 'rows in each of four windows': ('assign hop', 1000, 5)}
ROUND = 256 * 1024  # rows


def source(folder, rows, last):
    """Of that many rows: keys from 0 to `last` from the generator, or lines of that format."""
    if last not in LINES:
        return GENERATOR % (rows, last)
    path = os.path.join(folder, f'{rows}.{last}')
    if not os.path.exists(path):
        with open(path, 'w') as f:
            for i in range(rows):
                f.write(LINES[last] % (i, i % 50, i % 1000, i % 100, i * 7, i // 60000 % 60, i // 1000 % 60, i % 1000))
    return FILES % (path, last)


def costs(folder, sql, rows, last):
    """Allocations and minor faults of one run."""
    path, out = os.path.join(folder, 'job.sql'), os.path.join(folder, 'count')
    with open(path, 'w') as f:
        f.write(source(folder, rows, last) + sql.replace('${OUT}', os.path.join(folder, f'out-{last}-{rows}')))
    return counted([TIDEGATE, 'run', '--quiet', '--slots', '2', path], out)


def counted(argv, out):
    faults = resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt
    r = subprocess.run(argv, capture_output=True, text=True, timeout=100, env={**os.environ, 'LD_PRELOAD': LIBRARY, 'ALLOC_COUNT': out})
    if r.returncode:
        raise AssertionError(f'exit status {r.returncode}\n{r.stderr[-6000:]}')
    with open(out) as f:
        return int(f.read().split()[0]), resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt - faults


failed = 0


def judge(name, few, many, rows):
    global failed
    made, faults = ((m - f) / rows for f, m in zip(few, many))
    good = made <= LIMIT and faults <= PAGES
    failed += not good
    print(f'{"ok" if good else "FAILED"}: {name}: {made:.4f} allocations and {faults:.4f} new pages a row, at most {LIMIT} and {PAGES}')


with tempfile.TemporaryDirectory() as folder:
    for name, (last, sql) in JOBS.items():
        few, many = (costs(folder, sql, n, last) for n in (ROWS, 3 * ROWS))
        judge(name, few, many, 2 * ROWS)
    for name, (operator, keys, rows) in OPERATORS.items():
        few, many = (counted([MICRO_OP, operator, str(keys), str(n)], os.path.join(folder, 'count')) for n in (4, 12))
        judge(name, few, many, 8 * ROUND * rows)
print(f'allocs: {len(JOBS) + len(OPERATORS) - failed} passed, {failed} failed')
sys.exit(failed > 0)
