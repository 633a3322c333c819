"""What a person can get wrong, on real processes: each test asserts the exit status and that the message names what is wrong, where, why
and what to do about it, and that nothing is left behind. One broker and one cluster serve the whole file."""
import json, os, re, signal, socket, subprocess, time
from harness import Cluster, Failure, Process, TIDEGATE, free_port, prometheus, wait_for

SHARED = True
shared = None


def cluster():
    global shared
    if not shared:
        shared = Cluster('bad-input')
        shared.kafka()
        shared.coordinator(etcd=False)
        for i in (1, 2):
            http = shared.ports.setdefault(f'w{i}-http', free_port())
            shared.worker(i, slots=4, args=['--http', f'127.0.0.1:{http}'])
        shared.workers_ready(2)
    return shared


def finish():
    if shared:
        shared.__exit__(None, None, None)


def kafka(c, name, columns, topic, extra='', bootstrap=None):
    start = '' if 'sink.' in extra else ", 'scan.startup.mode' = 'earliest-offset'"
    return (f"CREATE TABLE {name} ({columns}) WITH ('connector' = 'kafka', 'topic' = '{topic}', "
            f"'properties.bootstrap.servers' = '{bootstrap or c.bootstrap}', 'format' = 'json'{start}{extra});\n")


EXACTLY_ONCE = ", 'sink.delivery-guarantee' = 'exactly-once'"
HOLE = "CREATE TABLE o (a BIGINT) WITH ('connector' = 'blackhole');\n"


def attempt(c, command, sql, name, *args):
    """(exit status, stderr, seconds)"""
    path = c.path(name + '.sql')
    with open(path, 'w') as f:
        f.write(sql)
    start = time.monotonic()
    r = c.cli(command, *args, path, ok=False)
    return r.returncode, r.stderr.decode(), time.monotonic() - start


def expect(what, text, *parts):
    missing = [p for p in parts if p not in text]
    if missing:
        raise Failure(f'{what} says nothing of {missing}:\n{text}')


def failed_job(c, job, *parts):
    """The document of a job that must be FAILED without a single restart, with an error that says all of `parts`."""
    doc = wait_for('FAILED', lambda: (d := c.job(job)['job'])['state'] == 'FAILED' and d, 15)
    expect('the error', doc['error']['text'] + '\n' + doc['error'].get('hint', ''), *parts)
    if doc['restarts']:
        raise Failure(f'{doc["restarts"]} restarts for what can never succeed')
    expect('tidegate job', c.cli('job', job).stdout.decode(), 'FAILED', doc['error']['text'])
    return doc


IN = "CREATE TABLE i (amount BIGINT, name STRING) WITH ('connector' = 'datagen', 'number-of-rows' = '5');\n"
WRONG_TEXT = [  # name, text, line and column, what the message must say
    ('table', HOLE + "INSERT INTO o SELECT a FROM ordrs;", '2:29', ["table 'ordrs' is not declared", 'CREATE TABLE']),
    ('column', IN + HOLE + "INSERT INTO o\nSELECT amuont FROM i;", '4:8', ["'amuont'", "did you mean 'amount'"]),
    ('type', IN + HOLE + "INSERT INTO o\nSELECT name FROM i;", '4:1', ["sink column 'a'", 'name: STRING', 'a: BIGINT']),
    ('operands', IN + HOLE + "INSERT INTO o\nSELECT amount + name FROM i;", '4:8', ['BIGINT + STRING', 'numbers']),
    ('syntax', IN + HOLE + "INSERT INTO o\nSELECT amount FORM i;", '4:20', ["unexpected 'i'", 'FROM']),
    ('topic', "CREATE TABLE i (a BIGINT) WITH ('connector' = 'kafka', 'properties.bootstrap.servers' = 'x:1', 'format' = 'json');\n" + HOLE +
     "INSERT INTO o SELECT a FROM i;", '1:1', ["table 'i'", "'topic' is missing"]),
    ('servers', "CREATE TABLE i (a BIGINT) WITH ('connector' = 'kafka', 'topic' = 't', 'format' = 'json');\n" + HOLE +
     "INSERT INTO o SELECT a FROM i;", '1:1', ["'properties.bootstrap.servers' is missing"]),
    ('format', "CREATE TABLE i (a BIGINT) WITH ('connector' = 'kafka', 'topic' = 't', 'properties.bootstrap.servers' = 'x:1');\n" + HOLE +
     "INSERT INTO o SELECT a FROM i;", '1:1', ["option 'format'", "'format' = 'json'"]),
    ('option', "CREATE TABLE i (a BIGINT) WITH ('connector' = 'kafka', 'topic' = 't', 'properties.bootstrap.servers' = 'x:1', 'format' = 'json',\n"
     "  'scan.startup.mod' = 'earliest-offset');\n" + HOLE + "INSERT INTO o SELECT a FROM i;", '2:3',
     ["no option 'scan.startup.mod'", "did you mean 'scan.startup.mode'"]),
    ('property', "CREATE TABLE i (a BIGINT) WITH ('connector' = 'kafka', 'topic' = 't', 'properties.bootstrap.servers' = 'x:1', 'format' = 'json',\n"
     "  'properties.fetch.min.byte' = '1');\n" + HOLE + "INSERT INTO o SELECT a FROM i;", '2:3', ["'properties.fetch.min.byte' is unknown", 'librdkafka']),
    ('connector', "CREATE TABLE i (a BIGINT) WITH ('connector' = 'kafak');\n" + HOLE + "INSERT INTO o SELECT a FROM i;", '1:33',
     ["'kafak'", "did you mean 'kafka'"]),
    ('value', "CREATE TABLE i (a BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = 'many');\n" + HOLE + "INSERT INTO o SELECT a FROM i;",
     '1:58', ["'number-of-rows' = 'many'", 'whole number']),
    ('setting', "SET 'execution.checkpointing.intervall' = '1s';\n" + IN + HOLE + "INSERT INTO o SELECT amount FROM i;", '1:5',
     ['intervall', "did you mean 'execution.checkpointing.interval'"]),
    ('duration', "SET 'execution.checkpointing.interval' = 'soon';\n" + IN + HOLE + "INSERT INTO o SELECT amount FROM i;", '1:5', ["'soon'", "'100 ms'"]),
    ('parameter', "CREATE TABLE i (a BIGINT) WITH ('connector' = 'datagen',\n  'rows-per-second' = '${RATE}');\n" + HOLE + "INSERT INTO o SELECT a FROM i;",
     '2:24', ["'RATE' has no value", '--param RATE=VALUE']),
]


def test_wrong_text_is_refused_at_its_line_and_column():
    c = cluster()
    jobs = len(c.json('jobs')['jobs'])
    slowest = 0
    for name, sql, at, parts in WRONG_TEXT:
        for command, args in (('submit', ()), ('run', ('--data', c.path('never')))):
            status, text, seconds = attempt(c, command, sql, 'wrong-' + name, *args)
            slowest = max(slowest, seconds)
            if status != 2:
                raise Failure(f'{command} of {name}: exit status {status}, not 2:\n{text}')
            expect(f'{command} of {name}', text, f'wrong-{name}.sql:{at}: ', *parts)
            line, col = map(int, at.split(':'))
            if f'{sql.splitlines()[line - 1]}\n{" " * (col - 1)}^' not in text:
                raise Failure(f'{command} of {name}: no caret below column {col} of line {line}:\n{text}')
    if len(c.json('jobs')['jobs']) != jobs or os.path.exists(c.path('never')):
        raise Failure('a refused text started something')
    print(f'  {len(WRONG_TEXT)} wrong texts refused by submit and run, the slowest in {slowest:.2f} s')


def test_broker_unreachable_at_submit():
    c = cluster()
    jobs = len(c.json('jobs')['jobs'])
    sql = kafka(c, 'i', 'a BIGINT', 'in', bootstrap='127.0.0.1:1') + HOLE + 'INSERT INTO o SELECT a FROM i;'
    took = []
    for command in 'submit', 'run':
        status, text, seconds = attempt(c, command, sql, 'dead-broker')
        took.append(f'{command} {seconds:.1f} s')
        if status != 5 or seconds > 15:
            raise Failure(f'{command}: exit status {status} after {seconds:.1f} s:\n{text}')
        expect(command, text, 'table i', "topic 'in'", '127.0.0.1:1', 'Connection refused', 'bootstrap.servers')
        if text.count('table i') > 1:
            raise Failure('says the table twice:\n' + text)
    if len(c.json('jobs')['jobs']) != jobs:
        raise Failure('a job remained')
    print('  told after: ' + ', '.join(took))


def test_missing_topic():
    c = cluster()
    c.topic('mt-in', 1)
    for name, sql in (('source', kafka(c, 'i', 'a BIGINT', 'not-there') + HOLE), ('sink', kafka(c, 'i', 'a BIGINT', 'mt-in') +
                                                                                 kafka(c, 'o', 'a BIGINT', 'not-there', EXACTLY_ONCE))):
        for command in 'submit', 'run':
            status, text, seconds = attempt(c, command, sql + 'INSERT INTO o SELECT a FROM i;', 'missing-topic-' + name)
            if status != 3 or seconds > 10:
                raise Failure(f'{command}: exit status {status} after {seconds:.1f} s:\n{text}')
            expect(command, text, 'table i' if name == 'source' else 'table o', "topic 'not-there'", 'Unknown topic', 'create it')
    try:
        c.tool('count', 'not-there')
    except Failure:
        print(f'  told in {seconds:.1f} s, the topic was not created by asking for it')
        return
    raise Failure('the topic came into being')


def test_malformed_json_fails_the_job_with_its_position():
    c = cluster()
    c.topic('mj-in', 2)
    c.topic('mj-out', 2)
    c.tool('put', 'mj-in', 1, stdin=b'{"a":1}\n{"a":2}\n{"a":3x}\n{"a":4}\n')
    text = kafka(c, 'i', 'a BIGINT', 'mj-in') + kafka(c, 'o', 'a BIGINT', 'mj-out', EXACTLY_ONCE) + 'INSERT INTO o SELECT a FROM i;'
    job = c.submit(text, 'malformed', 2)
    doc = failed_job(c, job, 'table i', 'mj-in/1', 'offset 2', 'byte 6', "expected ',' or '}'", 'ignore-parse-errors')
    if doc['error']['code'] != 'bad record':
        raise Failure(f'the code is {doc["error"]["code"]}')
    path = c.path('malformed-run.sql')
    with open(path, 'w') as f:
        f.write(text)
    r = c.cli('run', '--set', 'pipeline.name=malformed-run', path, ok=False)
    if r.returncode != 1:
        raise Failure(f'run: exit status {r.returncode}:\n{r.stderr.decode()}')
    expect('run', r.stderr.decode(), 'mj-in/1', 'offset 2', 'ignore-parse-errors')
    print(f'  {doc["error"]["text"].split(": ", 1)[1]}')


def test_malformed_json_is_skipped_and_counted_when_asked():
    c = cluster()
    c.topic('sk-in', 2)
    c.topic('sk-out', 2)
    c.tool('put', 'sk-in', 1, stdin=b'{"a":1}\n{"a":3x}\nnot json at all\n{"a":4}\n')
    job = c.submit(kafka(c, 'i', 'a BIGINT', 'sk-in', ", 'json.ignore-parse-errors' = 'true'") + kafka(c, 'o', 'a BIGINT', 'sk-out', EXACTLY_ONCE) +
                   'INSERT INTO o SELECT a FROM i;', 'skipped', 2)
    wait_for('two rows', lambda: int(c.tool('count', 'sk-out')) == 2)
    rows = sorted(json.loads(v)['a'] for _, _, _, v in c.dump('sk-out'))
    bad = wait_for('the count of skipped records', lambda: c.job(job)['job']['bad_records'], 5)
    metric = wait_for('the metric', lambda: re.search(rf'tidegate_job_bad_records_total{{job="{job}"[^}}]*}} ([1-9]\d*)', c.metrics()), 5).group(1)
    c.cli('cancel', job)
    if rows != [1, 4] or bad != 2 or metric != '2':
        raise Failure(f'rows {rows}, {bad} bad records, metric {metric}; expected [1, 4], 2, 2')
    print(f'  rows {rows}, bad records {bad}, in the job and in /metrics')


def test_number_overflow():
    c = cluster()
    for t in 'ov-big', 'ov-int', 'ov-sum', 'ov-out':
        c.topic(t, 1)
    c.tool('put', 'ov-big', 0, stdin=b'{"a":92233720368547758070}\n')
    c.tool('put', 'ov-int', 0, stdin=b'{"a":1}\n{"a":2147483648}\n')
    for topic, kind, offset in ('ov-big', 'BIGINT', 0), ('ov-int', 'INT', 1):
        job = c.submit(kafka(c, 'i', f'a {kind}', topic) + HOLE + 'INSERT INTO o SELECT a FROM i;', topic, 1)
        failed_job(c, job, f'{topic}/0', f'offset {offset}', f"field 'a' ({kind}) is out of range", 'ignore-parse-errors')
    c.tool('put', 'ov-sum', 0, stdin=b'{"a":9223372036854775807,"d":"9999999999.99"}\n')
    job = c.submit(kafka(c, 'i', 'a BIGINT, d DECIMAL(12, 2)', 'ov-sum') + kafka(c, 'o', 'a BIGINT, d DECIMAL(12, 2)', 'ov-out', EXACTLY_ONCE) +
                   'INSERT INTO o SELECT a + 1, CAST(d * 10 AS DECIMAL(12, 2)) FROM i;', 'ov-sum', 1)
    wait_for('the row', lambda: int(c.tool('count', 'ov-out')) == 1)
    row = json.loads(c.dump('ov-out')[0][3])
    c.cli('cancel', job)
    if row != {'a': -9223372036854775808, 'd': None}:
        raise Failure(f'Flink wraps a BIGINT and makes NULL of a DECIMAL that does not fit; here {row}')
    print(f'  out of range in a record: FAILED with its position; in arithmetic as in Flink: {row}')


def test_record_too_large_for_the_topic():
    c = cluster()
    c.topic('tl-in', 1)
    c.topic('tl-out', 1, 'max.message.bytes=2000')
    c.tool('put', 'tl-in', 0, stdin=b'{"a":"small"}\n{"a":"%s"}\n' % (b'x' * 5000))
    job = c.submit(kafka(c, 'i', 'a STRING', 'tl-in') + kafka(c, 'o', 'a STRING', 'tl-out', EXACTLY_ONCE) + 'INSERT INTO o SELECT a FROM i;', 'large', 1)
    doc = failed_job(c, job, "topic 'tl-out'", 'too large', 'lane 0 of sink o', 'max.message.bytes', 'tidegate resume')
    if re.search(r'(?<!\w)-1\b', doc['error']['text']):  # a worker may be called w-1a2b
        raise Failure('names a task that is none: ' + doc['error']['text'])
    if c.dump('tl-out'):
        raise Failure('half of an epoch is visible')
    c.tool('config', 'tl-out', 'max.message.bytes=100000')
    c.cli('resume', job)
    wait_for('both rows', lambda: int(c.tool('count', 'tl-out')) == 2)
    rows = [len(json.loads(v)['a']) for _, _, _, v in c.dump('tl-out')]
    c.cli('stop', job)
    if rows != [5, 5000]:
        raise Failure(f'lengths {rows} after the topic was repaired and the job resumed')
    print('  FAILED with a way out; after the topic takes larger records resume publishes both rows once')


def test_second_submit_of_a_running_name():
    c = cluster()
    sql = "CREATE TABLE i (a BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '10');\n" + HOLE + 'INSERT INTO o SELECT a FROM i;'
    job = c.submit(sql, 'twice', 1)
    status, text, seconds = attempt(c, 'submit', sql, 'twice')
    if status != 3:
        raise Failure(f'exit status {status}:\n{text}')
    expect('submit', text, f'job {job}', "'twice'", 'RUNNING', 'pipeline.name')
    doc = c.job(job)['job']
    if doc['state'] != 'RUNNING' or doc['restarts'] or doc['attempt'] != 1:
        raise Failure(f'the first job is {doc["state"]}, attempt {doc["attempt"]}')
    other = c.submit(f"SET 'pipeline.name' = '333';\n" + sql, 'twice', 1)
    expect('the job of that name', c.cli('job', '333').stdout.decode(), f"job {other} '333'")
    c.cli('cancel', '333')
    c.cli('cancel', job)
    again = c.submit(sql, 'twice', 1)  # the name is free again
    c.cli('cancel', again)
    print(f'  refused in {seconds:.2f} s, the running job undisturbed; another name and the freed name are taken')


def test_storage_not_writable():
    """The coordinator's own storage, and a worker that sees the same directory read-only (a mount of its own)."""
    c = cluster()
    blocked = c.path('file-in-the-way')
    open(blocked, 'w').close()
    r = c.cli('coordinator', '--listen', '127.0.0.1:0', '--http', 'off', '--storage', f'file://{blocked}/checkpoints', ok=False, timeout=15)
    expect('coordinator', r.stderr.decode(), '--storage', blocked, 'Not a directory')
    if r.returncode == 0:
        raise Failure('the coordinator ended as if all were well')
    store = c.path('checkpoints')
    script = 'mount --make-rprivate / 2>/dev/null; mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"'
    p = Process('w-readonly', ['unshare', '-m', '--propagation', 'unchanged', 'sh', '-c', script, 'sh', store, TIDEGATE, 'worker', '--coordinator', c.address,
                               '--slots', '1', '--data', c.path('w-readonly')], c.dir)
    try:
        wait_for('the end of the worker that cannot write', lambda: not p.alive(), 15)
        expect('worker', p.tail(5), 'checkpoint storage', store, 'Read-only file system', "coordinator's --storage")
        print(f'  the coordinator: exit {r.returncode}; the worker: exit {p.p.returncode}, ' + p.tail(2).splitlines()[0][:140])
        if p.p.returncode == 0:
            raise Failure('the worker ended as if all were well')
    finally:
        p.kill()


def talk(port, data, wait=0.3):
    """Sends bytes, reads what comes, hangs up."""
    with socket.create_connection(('127.0.0.1', port), timeout=5) as s:
        s.settimeout(wait)
        try:
            s.sendall(data)
            return s.recv(65536)
        except OSError:
            return b''


def test_garbage_on_every_port():
    c = cluster()
    job = c.submit("CREATE TABLE i (a BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '200');\n" +
                   "CREATE TABLE o (a BIGINT, n BIGINT) WITH ('connector' = 'blackhole');\nINSERT INTO o SELECT a, COUNT(*) FROM i GROUP BY a;", 'garbage', 4)
    data_ports = [int(w['address'].rsplit(':', 1)[1]) for w in c.json('workers')['workers'] if w['state'] == 'live']
    ports = [c.ports['coordinator'], c.ports['coordinator-http'], c.ports['w1-http'], *data_ports]
    noise = os.urandom(100000)
    said = [b'', b'\n', b'\0' * 65536, b'\xff' * 65536, noise, b'GET / HTTP/1.1\r\nHost: x\r\n\r\n', b'GET /' + b'a' * 200000, b'\x16\x03\x01\x02\x00\x01\x00' + noise[:600],
            b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n' + noise, b'POST /jobs HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\nx', b'TGDF' + b'\xff' * 64, b'PUT /api/jobs/1/../../x HTTP/1.1\r\n\r\n']
    before = c.job(job)['job']
    for port in ports:
        for text in said:
            talk(port, text, 0.05)
    silent = [socket.create_connection(('127.0.0.1', p)) for p in ports for _ in range(20)]  # connected, never a word
    rows = c.job(job)['job']['rows_in']
    wait_for('rows after the garbage', lambda: c.job(job)['job']['rows_in'] > rows + 100)
    for s in silent:
        s.close()
    doc = c.job(job)['job']
    if doc['state'] != 'RUNNING' or doc['restarts'] or doc['attempt'] != before['attempt']:
        raise Failure(f'the job is {doc["state"]}, attempt {doc["attempt"]}, {doc["restarts"]} restarts')
    dead = [n for n, p in c.procs.items() if not p.alive() and not p.expected_death]
    if dead or sum(w['state'] == 'live' for w in c.json('workers')['workers']) != 2:
        raise Failure(f'dead: {dead}; {c.json("workers")}')
    for name in ('coordinator', 'w1', 'w2'):
        status, metrics = c.get('/metrics', name)
        prometheus(metrics)
        wanted = 'tidegate_job_rows_in_total' if name == 'coordinator' else 'task_rows_in_total'
        if status != 200 or wanted not in metrics:
            raise Failure(f'/metrics of {name} answers {status} and has no {wanted}: {metrics[:2000]}')
        if name != 'coordinator' and not re.search(r'^tidegate_worker_connected\S* 1$', metrics, re.M):
            raise Failure(f'{name} says that it is not connected: {metrics[:2000]}')
    health, status = c.get('/health', 'w1'), c.get('/api/status', 'w1')
    if health[0] != 200 or status[0] != 200 or 'tasks' not in json.dumps(json.loads(status[1])):
        raise Failure(f'the worker says {health}, {status}')
    c.cli('cancel', job)
    print(f'  {len(said)} kinds of garbage and 20 silent connections at each of {len(ports)} ports: no restart, no death, rows go on')


def test_what_is_asked_with_json_is_answered_with_a_document():
    """Each command, with success and with an error: one JSON document on stdout, the exit status as without --json."""
    c = cluster()
    sql = "CREATE TABLE i (a BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '50');\n" + HOLE + 'INSERT INTO o SELECT a FROM i;'
    good, bad = c.path('asked.sql'), c.path('asked-wrong.sql')
    for path, text in (good, sql), (bad, sql.replace('SELECT a', 'SELECT b')):
        with open(path, 'w') as f:
            f.write(text)

    def asked(status, *args):
        r = c.cli(*args, '--json', ok=False)
        lines = r.stdout.decode().splitlines()
        if r.returncode != status or len(lines) != 1:
            raise Failure(f'tidegate {" ".join(args)} --json: exit {r.returncode}, not {status}: {r.stdout.decode()} {r.stderr.decode()}')
        doc = json.loads(lines[0])
        if status and not (doc['error']['code'] and doc['error']['text'] in r.stderr.decode()):
            raise Failure(f'tidegate {" ".join(args)} --json: {doc}, and for people: {r.stderr.decode()}')
        return doc

    job = str(asked(0, 'submit', '--parallelism', '1', good)['job']['id'])
    wait_for('epochs', lambda: c.job(job)['job']['epoch'] > 2)
    for args in ('jobs',), ('workers',), ('job', job), ('manifest', 'show', job), ('ledger', 'show', job), ('explain', good), ('savepoint', job), ('stop', job):
        asked(0, *args)
    first = asked(0, 'job', job)['job']
    again = str(asked(0, 'submit', '--parallelism', '2', '--from', first['savepoint'], good)['job']['id'])
    for args in ('cancel', again), ('forget', again):
        asked(0, *args)
    for name in 'job', 'cancel', 'stop', 'savepoint', 'resume', 'forget', 'manifest show', 'ledger show':
        doc = asked(3, *name.split(), 'nobody')
        if doc['error'] != {'code': 'not found', 'text': "there is no job 'nobody'"}:
            raise Failure(f'{name}: {doc}')
    for name in 'submit', 'explain':
        doc = asked(2, name, bad)['error']
        if (doc['file'], doc['line'], doc['col'], doc['hint']) != (bad, 3, 22, "did you mean 'a'?"):
            raise Failure(f'{name}: {doc}')
    asked(2, 'resume', job)
    asked(2, 'jobs', '--nope')
    asked(2, 'submit', '--set', 'restart.maxx=1', good)
    asked(5, 'jobs', '--coordinator', '127.0.0.1:1', '--timeout', '2s')
    c.cli('jobs', '--coordinator', f'127.0.0.1:1,127.0.0.1:{c.ports["coordinator"]}')  # the second one answers
    with open(good, 'w') as f:
        f.write(sql.replace("'rows-per-second' = '50'", "'number-of-rows' = '3'"))
    doc = asked(0, 'run', good)['job']
    if (doc['state'], doc['rows_in']) != ('FINISHED', 3):
        raise Failure(f'run: {doc}')
    asked(2, 'run', bad)
    with open(good, 'w') as f:
        f.write("SELECT k, COUNT(*) AS n FROM (VALUES ('a', 1), ('b', 2), ('a', 3)) AS t (k, v) GROUP BY k;")
    *rows, job = [json.loads(line) for line in c.cli('run', '--json', good).stdout.decode().splitlines()]
    table = {}
    for r in rows:
        table[r['row']['k']] = r['row']['n'] if r['op'][0] == '+' else table.get(r['row']['k'])
    if table != {'a': 2, 'b': 1} or job['job']['state'] != 'FINISHED':
        raise Failure(f'run of a bare SELECT: {rows}, {job}')


def test_metrics_of_two_sinks_are_told_apart_and_each_task_has_rates_and_times():
    c = cluster()
    for t in 'me-a', 'me-b':
        c.topic(t, 1)
    job = c.submit("CREATE TABLE i (a BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '200');\n" + kafka(c, 'x', 'a BIGINT', 'me-a', EXACTLY_ONCE) +
                   kafka(c, 'y', 'a BIGINT', 'me-b', EXACTLY_ONCE) +
                   'EXECUTE STATEMENT SET BEGIN\nINSERT INTO x SELECT a FROM i;\nINSERT INTO y SELECT a + 1 FROM i;\nEND;', 'two', 1)
    wait_for('published epochs of both', lambda: all(l['published'] > 5 for l in c.job(job)['job']['lanes']), 20)
    time.sleep(1.5)  # rates are of the last half second or more
    task = c.job(job)['job']['stages'][0]['tasks'][0]
    if not (100 < task['rows_in_per_second'] < 400 and 0 <= task['epoch_ms'] < 1000):
        raise Failure(f'200 rows a second: {task}')
    worker = next(n for n in ('w1', 'w2') if open(os.path.join(c.path(n), 'name')).read().strip() == task['worker'])
    for name, prefix in ('coordinator', 'tidegate_'), (worker, 'tidegate_worker_'):
        samples = prometheus(c.get('/metrics', name)[1])
        for sink in 'x', 'y':
            key = f'{prefix}lane_published_epoch{{job="{job}",name="two",sink="{sink}",lane="0"}}'
            if not samples.get(key, 0) > 5:
                raise Failure(f'{name} has no {key}: {[k for k in samples if "lane" in k]}')
        of = f'{{job="{job}",name="two",stage="0",subtask="0",worker="{task["worker"]}"}}'
        for what in ('rows_in_total', 'rows_out_total', 'rows_in_per_second', 'rows_out_per_second', 'epoch_duration_seconds', 'backpressured_permille',
                     'busy_permille', 'state_bytes'):
            if f'{prefix}task_{what}{of}' not in samples:
                raise Failure(f'{name} has no {prefix}task_{what}{of}')
    text = c.cli('job', job).stdout.decode()
    expect('tidegate job', text, 'A SECOND', 'EPOCH', 'lane x/0', 'lane y/0')
    c.cli('cancel', job)
    print(f'  {task["rows_in_per_second"]} rows a second, last epoch sealed after {task["epoch_ms"]} ms')


def test_a_signal_that_comes_twice_at_once_is_one():
    """timeout(1) signals the process and then its group: the echo must not cut short the stop that the signal began."""
    c = cluster()
    path = c.path('echo.sql')
    with open(path, 'w') as f:
        f.write("CREATE TABLE g (a BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '100');\nSELECT a FROM g;\n")
    for quick in ([TIDEGATE, 'run', path], ['timeout', '2', TIDEGATE, 'run', path]):
        p = subprocess.Popen(quick, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        if quick[0] == TIDEGATE:
            p.stdout.readline()
            p.send_signal(signal.SIGTERM)
            time.sleep(0.02)
            p.send_signal(signal.SIGTERM)
        _, text = p.communicate(timeout=60)
        if p.returncode != (124 if quick[0] == 'timeout' else 0) or b'STOPPED' not in text or b'second signal' in text:
            raise Failure(f'exit status {p.returncode}: {text.decode()}')


def test_a_run_with_too_few_slots_says_so():
    c = cluster()
    status, text, seconds = attempt(c, 'run', "CREATE TABLE g (a BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '1');\n" + HOLE + 'INSERT INTO o SELECT a FROM g;\n',
                                    'wide', '--parallelism', '4', '--slots', '2')
    expect('the error', text, 'needs 4 slots', '--slots 4')
    if status != 2 or seconds > 10:
        raise Failure(f'exit status {status} after {seconds:.1f} s')


def test_times_that_would_call_every_worker_dead_are_refused():
    for args, says in ((['--heartbeat', '5s'], ("--heartbeat: '5s' is more than half of --worker-timeout, '900ms'", 'raise --worker-timeout')),
                       (['--heartbeat', '0ms'], ("--heartbeat: '0ms' is less than 10 ms",)),
                       (['--worker-timeout', '300ms'], ("--heartbeat: '200ms' is more than half of --worker-timeout, '300ms'",))):
        r = subprocess.run([TIDEGATE, 'coordinator', '--listen', '127.0.0.1:0', '--storage', 'file:///tmp/tidegate-no-such-coordinator', *args],
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=20)
        expect(' '.join(args), r.stdout, *says)
        if r.returncode != 2:
            raise Failure(f'{args}: exit status {r.returncode}')
