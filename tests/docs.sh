#!/usr/bin/env bash
# docs.sh TIDEGATE: the documentation against the program. Generated pages equal what the binary prints; every relative link and anchor in
# *.md exists, and so does each test that exactly-once.md and testing.md name, and each hazard has one; each ```sql runnable block of docs/sql.md prints exactly the ```text block after it, each ```sql refused block ends with
# status 2 or 3 and exactly that text on stderr. Prints each offence; the last line is "docs: N passed, N failed".
set -euo pipefail
[ $# = 1 ] || { sed -n 2p "$0"; exit 2; }
root=$(cd "$(dirname "$0")/.." && pwd)
exec python3 - "$root" "$(realpath "$1")" <<'PY'
import difflib, glob, os, re, subprocess, sys, tempfile

root, tidegate = sys.argv[1:]
passed = failed = 0


def verdict(ok, what, detail=''):
    global passed, failed
    passed, failed = passed + ok, failed + (not ok)
    if not ok:
        print(f'{what}\n{detail}'.rstrip())


def differ(expected, actual, a, b):
    return '\n'.join(difflib.unified_diff(expected.splitlines(), actual.splitlines(), a, b, lineterm=''))


def read(path):
    with open(os.path.join(root, path), encoding='utf-8') as f:
        return f.read()


def generated():
    for name in 'functions', 'config':
        out = subprocess.run([tidegate, 'docs', name], capture_output=True, text=True, timeout=60, check=True).stdout
        path = f'docs/{name}.md'
        verdict(out == read(path), f'{path} is not what the binary prints: tidegate docs {name} > {path}', differ(read(path), out, path, 'tidegate'))


def without_code(text):
    return re.sub(r'^```.*?^```', '', text, flags=re.S | re.M)


def anchors(path):
    seen = set()
    for line in without_code(read(path)).splitlines():
        m = re.match(r'#+ +(.*)', line)
        if m:
            text = re.sub(r'[^\w\- ]', '', m.group(1).strip().lower()).replace(' ', '-')
            n, slug = 0, text
            while slug in seen:
                n, slug = n + 1, f'{text}-{n + 1}'
            seen.add(slug)
    return seen


def links():
    pages = subprocess.run(['git', '-C', root, 'ls-files', '-co', '--exclude-standard', '*.md'], capture_output=True, text=True)
    names = pages.stdout.split() or [os.path.relpath(p, root) for p in glob.glob(root + '/**/*.md', recursive=True)]
    for page in names:
        for target in re.findall(r'\]\(([^)\s]+)\)', re.sub(r'`[^`\n]*`', '', without_code(read(page)))):
            if re.match(r'[a-z]+:', target):
                continue
            file, _, anchor = target.partition('#')
            path = os.path.normpath(os.path.join(os.path.dirname(page), file)) if file else page
            there = os.path.exists(os.path.join(root, path))
            verdict(there and (not anchor or anchor in anchors(path)), f'{page}: link to {target}, which is not there')


def names():
    """Tests and rows of the crash table that the pages name must exist."""
    code = ''
    for pattern in 'tests/**/*.[ch]', 'integration/*.py':
        for path in glob.glob(os.path.join(root, pattern), recursive=True):
            with open(path, encoding='utf-8') as f:
                code += f.read()
    for page in 'docs/exactly-once.md', 'docs/testing.md':
        for name in sorted(set(re.findall(r'`((?:ROW_)?[A-Za-z0-9]+(?:_[A-Za-z0-9]+){2,}|ROW_\w+)`', read(page)))):
            verdict(re.search(r'\b' + name + r'\b', code) is not None, f'{page} names {name}, which is no test')


def hazards():
    """Each hazard has a row in testing.md, and but for what the product does not have (its row says so) a test."""
    tests = set()
    for pattern, test in ('tests/**/*.c', r'START_TEST\((\w+)\)'), ('integration/*.py', r'^def (test_\w+)'):
        for path in glob.glob(os.path.join(root, pattern), recursive=True):
            with open(path, encoding='utf-8') as f:
                tests |= set(re.findall(test, f.read(), flags=re.M))
    rows = dict(re.findall(r'^\| ([AB]\d+) \| [^|]* \| ([^|]*) \|$', read('docs/testing.md'), flags=re.M))
    for hazard in [f'A{i}' for i in range(1, 29)] + [f'B{i}' for i in range(1, 17)]:
        named = re.findall(r'`(\w+)`', rows.get(hazard, ''))
        gone = [n for n in named if n not in tests]
        verdict(not gone and bool(named or rows.get(hazard) == 'no such sink'), f'docs/testing.md: hazard {hazard} has no test' + (f', these are none: {gone}' if gone else ''))


def run_block(kind, sql, directory):
    with open(os.path.join(directory, 'job.sql'), 'w') as f:
        f.write(sql)
    r = subprocess.run([tidegate, 'run', '--quiet', '--parallelism', '1', 'job.sql'], cwd=directory, capture_output=True, text=True,
                       timeout=60 * float(os.environ.get('TIDEGATE_SLOW', '1')))
    if kind == 'runnable':
        return r.returncode == 0, r.stdout, r
    return r.returncode in (2, 3), r.stderr, r


def examples():
    text = read('docs/sql.md')
    found = 0
    for m in re.finditer(r'^```sql (runnable|refused)\n(.*?)^```\n(?:```text\n(.*?)^```\n)?', text, flags=re.S | re.M):
        kind, sql, expected = m.groups()
        where = f'docs/sql.md:{text.count(chr(10), 0, m.start()) + 1}'
        found += 1
        if expected is None:
            verdict(False, f'{where}: no ```text block follows')
            continue
        with tempfile.TemporaryDirectory() as directory:
            ok, actual, r = run_block(kind, sql, directory)
        actual = '\n'.join(line.rstrip() for line in actual.splitlines())
        verdict(ok and actual == expected.rstrip('\n'), f'{where}: the example ({kind}) ended with status {r.returncode}',
                differ(expected, actual, 'docs', 'tidegate') + ('\n' + r.stderr if kind == 'runnable' else ''))
    verdict(found >= 5, f'docs/sql.md: only {found} examples were found')


def helps():
    """Each command that --help lists has a --help of its own, which names its options; those that tell something take --json."""
    text = subprocess.run([tidegate, '--help'], capture_output=True, text=True, timeout=60, check=True).stdout
    commands = re.findall(r'^  (\w+) +(?:(show) )?', text, flags=re.M)
    verdict(len(commands) >= 15, f'tidegate --help lists {len(commands)} commands only', text)
    for name, show in commands:
        command = [name, show] if show else [name]
        r = subprocess.run([tidegate, *command, '--help'], capture_output=True, text=True, timeout=60)
        verdict(r.returncode == 0 and f'usage: tidegate {name} ' in r.stdout and (name == 'docs' or '\n  --' in r.stdout),
                f'tidegate {" ".join(command)} --help ended with {r.returncode}', r.stdout + r.stderr)
        if name in ('jobs', 'job', 'workers', 'manifest', 'ledger', 'submit', 'savepoint', 'stop', 'cancel', 'resume'):
            verdict('--json' in r.stdout, f'tidegate {" ".join(command)} has no --json', r.stdout)


generated()
helps()
links()
names()
hazards()
examples()
print(f'docs: {passed} passed, {failed} failed')
sys.exit(failed > 0)
PY
