#!/usr/bin/env python3
"""flink.py TIDEGATE [NAME ...]: expressions, queries and refusals whose outcome a real Flink (2.3.0) decided: tests/flink/NAME.txt.

A file is a table `t` and what Flink makes of it. Lines: `mode M`, `set KEY=VALUE`, `option 'k'='v'`, `format F`, `table COLUMNS`,
`row TEXT` (of the file the table reads), `view STATEMENT`, then
  expr E            followed by `= TYPE VALUES`: SELECT id, E FROM t gives these values (a JSON list, ordered by id; *V: V in each row)
  query Q           followed by `= COLUMNS` and a line of JSON per row, in any order; columns that are NULL are left out
  refused Q         Flink refuses it before it starts, and so must we
DOUBLE and FLOAT are compared as numbers, the rest as it is written. Many expressions run as one job, as do many queries.
Prints a line per failure and "flink: N passed, N failed"; exit status 1 when one failed."""
import concurrent.futures, glob, json, os, shutil, subprocess, sys, tempfile
from collections import Counter

BINARY = os.path.realpath(sys.argv[1])
HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'flink')
SLOW = float(os.environ.get('TIDEGATE_SLOW', '1'))
GROUP = 60
work = tempfile.mkdtemp(prefix='tidegate-flink-')


class Number(str):
    """A JSON number as it is written."""


def read(path):
    case = {'mode': 'batch', 'set': [], 'option': '', 'format': 'json', 'row': [], 'view': [], 'expr': [], 'query': [], 'refused': []}
    last = None
    with open(path, encoding='utf-8') as f:
        for line in f.read().split('\n'):
            word, _, rest = line.partition(' ')
            if line.startswith('#') or not line:
                continue
            if word == '=' and last == 'expr':
                at = rest.find(' *') if rest.find(' *') > 0 and not 0 < rest.find(' [') < rest.find(' *') else rest.find(' [')
                kind, values = rest[:at], rest[at + 1:]
                case['expr'][-1] += [kind, [parse(values[1:])] * len(case['row']) if values[0] == '*' else parse(values)]
            elif word == '=' and last == 'query':
                case['query'][-1] += [rest, []]
            elif line[0] == '{' and last == 'query':
                case['query'][-1][2].append(line)
            elif word in ('expr', 'query'):
                case[word].append([rest])
                last = word
            elif word in ('set', 'row', 'view', 'refused'):
                case[word].append(rest)
            else:
                case[word] = rest
    return case


def parse(text):
    return json.loads(text, parse_float=Number, parse_int=Number)


def canonical(v, approx):
    if isinstance(v, Number):
        return f'#{float(v) + 0.0:.14g}' if approx else '#' + v
    if isinstance(v, list):
        return [canonical(x, approx) for x in v]
    if isinstance(v, dict):
        return {k: canonical(v[k], approx) for k in sorted(v)}
    return v


def key(v, columns):
    return json.dumps(canonical(v, 'DOUBLE' in columns or 'FLOAT' in columns), ensure_ascii=False)


def table(name, columns, path, more=''):
    return f"CREATE TABLE {name} ({columns}) WITH ('connector' = 'filesystem', 'path' = '{path}', {more})"


def rows_of(out):
    found = []
    for path in glob.glob(os.path.join(out, '*')):
        with open(path, encoding='utf-8') as f:
            found += [{k: v for k, v in parse(l).items() if v is not None} for l in f.read().split('\n') if l]
    return found


class Job:
    def __init__(self, name, case):
        self.name, self.case = name, case
        self.dir = os.path.join(work, name)
        os.makedirs(self.dir)
        path = os.path.join(self.dir, 't')
        with open(path, 'w', encoding='utf-8') as f:
            f.write(''.join(r + '\n' for r in case['row']))
        more = f"'format' = '{case['format']}'" + (', ' + case['option'] if case['option'] else '')
        self.head = [f"SET '{k}' = '{v}'" for k, v in (s.split('=', 1) for s in case['set'])]
        self.head += [table('t', case['table'], path, more)] + case['view']

    def run(self, statements, explain=False):
        path = tempfile.mktemp(suffix='.sql', dir=self.dir)
        with open(path, 'w', encoding='utf-8') as f:
            f.write(';\n'.join(self.head + statements) + ';\n')
        argv = [BINARY, 'explain', path] if explain else [BINARY, 'run', '--quiet', '--slots', '1', '--set', 'execution.runtime-mode=' + self.case['mode'], path]
        try:
            r = subprocess.run(argv, capture_output=True, timeout=60 * SLOW)
        except subprocess.TimeoutExpired:
            return -1, 'no end'
        return r.returncode, r.stderr.decode(errors='replace').strip()

    def sink(self, name, columns):
        return table(name, columns, os.path.join(self.dir, name), "'format' = 'json'")


def check_exprs(job, at, group):
    """[(what, why)] of those that differ"""
    name = f'e{at}'
    columns = ', '.join(f'c{i} {e[1].removesuffix(" NOT NULL")}' for i, e in enumerate(group))
    status, err = job.run([job.sink(name, 'id INT, ' + columns),
                           f'INSERT INTO {name} SELECT id, ' + ', '.join(f'{e[0]} AS c{i}' for i, e in enumerate(group)) + ' FROM t'])
    if status:
        if len(group) == 1:
            return [(group[0][0], err)]
        half = len(group) // 2
        return check_exprs(job, f'{at}a', group[:half]) + check_exprs(job, f'{at}b', group[half:])
    rows = sorted(rows_of(os.path.join(job.dir, name)), key=lambda r: int(r['id']))
    bad = []
    for i, (text, kind, values) in enumerate(group):
        got = [r.get(f'c{i}') for r in rows]
        if key(got, kind) != key(values, kind):
            bad.append((text, f'Flink {json.dumps(values, ensure_ascii=False)}\n  here  {json.dumps(got, ensure_ascii=False)}'))
    return bad


def check_queries(job, at, group):
    names = [f'q{at}_{i}' for i in range(len(group))]
    sinks = [job.sink(n, q[1]) for n, q in zip(names, group)]
    inserts = ''.join(f'INSERT INTO {n} {q[0]};\n' for n, q in zip(names, group))
    status, err = job.run(sinks + ['EXECUTE STATEMENT SET BEGIN\n' + inserts + 'END'])
    if status:
        if len(group) == 1:
            return [(group[0][0], err)]
        half = len(group) // 2
        return check_queries(job, f'{at}a', group[:half]) + check_queries(job, f'{at}b', group[half:])
    bad = []
    for n, (text, columns, lines) in zip(names, group):
        want = Counter(key(parse(l), columns) for l in lines)
        got = Counter(key(r, columns) for r in rows_of(os.path.join(job.dir, n)))
        if want != got:
            bad.append((text, '\n  '.join(['- ' + x for x in (want - got).elements()] + ['+ ' + x for x in (got - want).elements()])))
    return bad


def check_refused(job, group):
    """The whole group is tried one by one; each must be refused."""
    return [(q, 'Flink refuses it') for q in group if job.run([q], explain=True)[0] == 0]


def check(path):
    name = os.path.basename(path)[:-4]
    case = read(path)
    job = Job(name, case)
    bad = []
    for at in range(0, len(case['expr']), GROUP):
        bad += check_exprs(job, at, case['expr'][at:at + GROUP])
    for at in range(0, len(case['query']), GROUP):
        bad += check_queries(job, at, case['query'][at:at + GROUP])
    bad += check_refused(job, case['refused'])
    shutil.rmtree(job.dir, ignore_errors=True)
    return name, len(case['expr']) + len(case['query']) + len(case['refused']), bad


def check_two_writers():
    """Two INSERTs of one statement set into one table: the rows of both."""
    job = Job('two_writers', {**read(os.devnull), 'table': 'id INT', 'row': ['{"id":1}', '{"id":2}']})
    status, err = job.run([job.sink('pair', 'id INT'), 'EXECUTE STATEMENT SET BEGIN\nINSERT INTO pair SELECT id FROM t;\nINSERT INTO pair SELECT id + 10 FROM t;\nEND'])
    ids = sorted(int(r['id']) for r in rows_of(os.path.join(job.dir, 'pair')))
    return 'two_writers', 1, [] if ids == [1, 2, 11, 12] else [('two INSERTs into one table', err or str(ids))]


paths = sorted(glob.glob(os.path.join(HERE, '*.txt')))
paths = [p for p in paths if len(sys.argv) < 3 or os.path.basename(p)[:-4] in sys.argv[2:]]
passed = failed = 0
with concurrent.futures.ThreadPoolExecutor(2) as pool:
    for name, total, bad in [*pool.map(check, paths), check_two_writers()]:
        passed, failed = passed + total - len(bad), failed + len(bad)
        for what, why in bad:
            print(f'{name}: {what}\n  {why}')
shutil.rmtree(work, ignore_errors=True)
print(f'flink: {passed} passed, {failed} failed')
sys.exit(1 if failed or not passed else 0)
