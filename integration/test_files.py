"""The filesystem connector under kill -9: what lies under visible names is each row once."""
import collections, glob, json, os, signal, time
from harness import Cluster, Failure, TIDEGATE, wait_for


def visible(folder):
    """Rows of the parts that a reader sees, by file; parts still written to have names that begin with a dot or an underscore."""
    files = [f for f in glob.glob(os.path.join(folder, '**'), recursive=True) if os.path.isfile(f) and os.path.basename(f)[0] not in '._']
    return {f: [json.loads(line)['id'] for line in open(f)] for f in files}


def test_files_hold_each_row_once_though_the_process_is_killed():
    """Hazards A25. 20,000 rows in parts of 20 kB, half of them by a second INSERT into the same directory, the process killed twice: a part that readers
    have seen never changes, and in the end every row is in one of them once."""
    with Cluster('files') as c:
        n, folder = 20000, c.path('out')
        os.mkdir(folder)
        with open(c.path('job.sql'), 'w') as f:
            f.write("CREATE TABLE g (id BIGINT, pad STRING) WITH ('connector' = 'datagen', 'rows-per-second' = '2000', 'fields.id.kind' = 'sequence', "
                    f"'fields.id.start' = '0', 'fields.id.end' = '{n // 2 - 1}', 'fields.pad.length' = '20');\n"
                    f"CREATE TABLE o (id BIGINT, pad STRING) WITH ('connector' = 'filesystem', 'path' = '{folder}', 'format' = 'json', "
                    "'sink.rolling-policy.file-size' = '20kB');\nINSERT INTO o SELECT * FROM g;\n"
                    f'INSERT INTO o SELECT id + {n // 2}, pad FROM g;')

        def start(name):
            return c.start(name, [TIDEGATE, 'run', '--quiet', '--slots', '2', '--data', c.path('data'), c.path('job.sql')])

        kept = {}
        p = start('first')
        for i, name in enumerate(('second', 'third')):
            wait_for('parts', lambda: sum(map(len, visible(folder).values())) > (i + 1) * 3000, 30)
            p.kill(signal.SIGKILL)
            kept.update(visible(folder))
            p = start(name)
        p.expected_death = True
        wait_for('the end of the job', lambda: not p.alive(), 60)
        if p.p.returncode:
            raise Failure(f'exit {p.p.returncode}: {p.tail()}')
        parts = visible(folder)
        changed = [os.path.basename(f) for f, rows in kept.items() if parts.get(f) != rows]
        counts = collections.Counter(i for rows in parts.values() for i in rows)
        double, missing = [i for i, k in counts.items() if k > 1], [i for i in range(n) if i not in counts]
        if changed or double or missing or len(counts) != n:
            raise Failure(f'{len(changed)} parts changed {changed[:3]}; twice: {len(double)} {double[:5]}; missing: {len(missing)} {missing[:5]}; {len(counts)} ids')
        left = [f for f in glob.glob(os.path.join(folder, '**', '*'), recursive=True) + glob.glob(os.path.join(folder, '**', '.*'), recursive=True)
                if os.path.isfile(f) and f not in parts]
        if left:
            raise Failure(f'left behind: {left[:5]}')
        print(f'  {n} rows once in {len(parts)} parts over two kills; {len(kept)} parts seen before a kill are as they were')
