#!/usr/bin/env python3
"""oracle.py TIDEGATE ORACLE_DIR [--list FILE] [CASE ...]: runs SQL jobs whose rows a real Flink computed, and compares.

ORACLE_DIR holds cases/NAME/job.sql with expected rows, data/ and compare.py. --list names the file of cases that must pass, one a line
(tests/oracle.list); without it and without CASE all cases run. Modes are named in the first line of job.sql; each is run.
Prints a line per failure and "oracle: N passed, N failed"; exit status 1 when one failed."""
import concurrent.futures, glob, gzip, os, shutil, subprocess, sys, tempfile, time

BINARY, ORACLE = sys.argv[1:3]
rest = sys.argv[3:]
wanted = None
if rest[:1] == ['--list']:
    with open(rest[1]) as f:
        wanted = [l.split('#')[0].strip() for l in f]
    wanted = [w for w in wanted if w]
elif rest:
    wanted = rest
SLOW = float(os.environ.get('TIDEGATE_SLOW', '1'))
work = tempfile.mkdtemp(prefix='tidegate-oracle-')
data = os.path.join(work, 'data')
os.mkdir(data)
for f in glob.glob(os.path.join(ORACLE, 'data', '*')):
    name = os.path.basename(f)
    if f.endswith('.gz'):
        with gzip.open(f) as src, open(os.path.join(data, name[:-3]), 'wb') as dst:
            shutil.copyfileobj(src, dst)
    else:
        shutil.copy(f, data)


def modes(case):
    with open(os.path.join(case, 'job.sql')) as f:
        first = f.readline()
    return [m.strip() for m in first.split(':', 1)[1].split(',')] if first.startswith('-- modes:') else ['batch']


def run(job):
    case, mode = job
    name = os.path.basename(case)
    out = os.path.join(work, f'{name}-{mode}')
    os.mkdir(out)
    argv = [BINARY, 'run', '--quiet', '--set', f'execution.runtime-mode={mode}', '--param', f'DATA={data}', '--param', f'OUT={out}',
            os.path.join(case, 'job.sql')]
    start = time.monotonic()
    try:
        r = subprocess.run(argv, capture_output=True, timeout=120 * SLOW)
    except subprocess.TimeoutExpired:
        return name, mode, f'no end after {120 * SLOW:.0f} s', ''
    if r.returncode:
        return name, mode, f'exit {r.returncode}', r.stderr.decode(errors='replace').strip()
    c = subprocess.run([sys.executable, os.path.join(ORACLE, 'compare.py'), case, out], capture_output=True)
    shutil.rmtree(out, ignore_errors=True)
    return name, mode, None if c.returncode == 0 else 'rows differ', c.stdout.decode(errors='replace').strip() + c.stderr.decode(errors='replace').strip()


cases = sorted(glob.glob(os.path.join(ORACLE, 'cases', '*', '')))
cases = [c.rstrip('/') for c in cases if wanted is None or os.path.basename(c.rstrip('/')) in wanted]
missing = set(wanted or []) - {os.path.basename(c) for c in cases}
jobs = [(c, m) for c in cases for m in modes(c)]
passed, failed = 0, len(missing)
for m in sorted(missing):
    print(f'{m}: no such case')
with concurrent.futures.ThreadPoolExecutor(2) as pool:
    for name, mode, why, text in pool.map(run, jobs):
        if why is None:
            passed += 1
        else:
            failed += 1
            print(f'{name} ({mode}): {why}\n  ' + '\n  '.join(text.splitlines()[:8]))
shutil.rmtree(work, ignore_errors=True)
print(f'oracle: {passed} passed, {failed} failed')
sys.exit(1 if failed or not passed else 0)
