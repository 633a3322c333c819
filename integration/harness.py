"""Real processes for the integration tests: etcd, Kafka, coordinators and workers, each with its own directory and log.

Every wait has a limit and names what it waited for. Nothing here may hide a failure: a process that dies without being
killed by the test is an error at the end of the test. TIDEGATE names the binary, KAFKA_TOOL the Kafka helper,
TIDEGATE_SLOW scales time limits (instrumented builds)."""
import fcntl, json, os, random, re, shutil, signal, socket, subprocess, tempfile, time, urllib.error, urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
TIDEGATE = os.environ.get('TIDEGATE', os.path.join(ROOT, 'build', 'tidegate'))
TOOL = os.environ.get('KAFKA_TOOL', os.path.join(os.path.dirname(TIDEGATE), 'kafka_tool'))
SLOW = float(os.environ.get('TIDEGATE_SLOW', '1'))
PATIENT = ('--worker-timeout', '60s')  # of a coordinator: a worker that was not let run for a second is not given up. One that dies is noticed at once


class Failure(Exception):
    pass


reserved = []  # open files whose locks keep the ports of this process from others


def free_port(n=1):
    """The first of n ports in a row that nobody listens on and that no other test gets until this process ends, also while the server that
    has them is down. They lie below those that the system gives to outgoing connections."""
    folder = os.path.join(tempfile.gettempdir(), f'tidegate-ports-{os.getuid()}')
    os.makedirs(folder, exist_ok=True)
    for _ in range(2000):
        first, locks = random.randrange(11000, 19990), []
        try:
            for port in range(first, first + n):
                locks.append(open(os.path.join(folder, str(port)), 'w'))
                fcntl.flock(locks[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
                with socket.socket() as s:
                    s.bind(('127.0.0.1', port))
            reserved.extend(locks)
            return first
        except OSError:
            for lock in locks:
                lock.close()
    raise Failure(f'no {n} free ports in a row in 2000 tries between 11000 and 20000')


def wait_for(what, check, seconds=30.0, every=None):
    """Calls check() until it returns something true; returns that. Many checks start a process: without `every` they come less and less often."""
    end = time.monotonic() + seconds * SLOW
    last, pause = None, every or 0.02
    while True:
        try:
            value = check()
            if value:
                return value
        except (OSError, ValueError, Failure, subprocess.SubprocessError) as e:
            last = e
        if time.monotonic() > end:
            raise Failure(f'waited {seconds * SLOW:.0f} s for {what}' + (f': {last}' if last else ''))
        time.sleep(pause)
        pause = every or min(pause * 1.4, 0.25)


def listens(port):
    with socket.socket() as s:
        s.settimeout(1)
        return s.connect_ex(('127.0.0.1', port)) == 0


class Process:
    def __init__(self, name, argv, directory, env=None):
        self.name, self.argv, self.expected_death = name, argv, False
        self.log = os.path.join(directory, name + '.log')
        self.out = open(self.log, 'ab')
        self.p = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=self.out, stderr=self.out,
                                  env=dict(os.environ, **(env or {})), cwd=directory, start_new_session=True)

    def alive(self):
        return self.p.poll() is None

    def kill(self, sig=signal.SIGKILL, wait=20):
        self.expected_death = True
        if self.alive():
            os.killpg(self.p.pid, sig)
            try:
                self.p.wait(wait * SLOW)
            except subprocess.TimeoutExpired:
                os.killpg(self.p.pid, signal.SIGKILL)
                self.p.wait(10)
                raise Failure(f'{self.name} did not end {wait * SLOW:.0f} s after signal {sig}')
        self.out.close()
        return self.p.returncode

    def signal(self, sig):
        os.killpg(self.p.pid, sig)

    def tail(self, n=15):
        with open(self.log, errors='replace') as f:
            return ''.join(f.readlines()[-n:])


def prometheus(text):
    """{'name{label="value"}': value} of a /metrics document; Failure when it is none: each family has HELP and TYPE before its samples and comes once,
    no sample comes twice."""
    samples, seen, family, kind = {}, set(), None, None
    for line in text.splitlines():
        if line.startswith('# HELP '):
            family, kind = line.split(' ')[2], None
            if family in seen:
                raise Failure(f'family {family} comes twice')
            seen.add(family)
        elif line.startswith('# TYPE '):
            name, kind = line.split(' ')[2:4]
            if name != family or kind not in ('counter', 'gauge') or (kind == 'counter') != name.endswith('_total'):
                raise Failure(f'after the help of {family}: {line}')
        else:
            m = re.fullmatch(r'([a-zA-Z_]\w*)(\{(?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\["\\n])*",?)*\})? (\S+)', line)
            if not m or m.group(1) != family or not kind:
                raise Failure(f'no sample of {family}: {line}')
            key = m.group(1) + (m.group(2) or '')
            if key in samples:
                raise Failure(f'twice: {line}')
            samples[key] = float(m.group(3))
    return samples


class Cluster:
    """with Cluster() as c: c.kafka(); c.etcd(); c.coordinator(); c.worker(1) ..."""

    kafka_jvm = '-XX:TieredStopAtLevel=1'  # the broker of a test lives too short for a better compiler

    def __init__(self, name='test', broker=None):
        """broker: another Cluster whose Kafka broker this one uses"""
        self.dir = tempfile.mkdtemp(prefix=f'tidegate-{name}-')
        self.procs = {}
        self.disks = []
        self.kafka_port = broker.kafka_port if broker else None
        self.etcd_port = None
        self.broker_pid = None
        self.ports = {}

    def __enter__(self):
        return self

    def __exit__(self, kind, value, tb):
        dead = [p for p in self.procs.values() if not p.alive() and not p.expected_death]
        for p in dead:
            print(f'  {p.name} ended by itself with status {p.p.returncode}; the end of its log:\n{p.tail()}')
        if kind:
            for p in self.procs.values():
                print(f'--- {p.name}\n{p.tail(12)}')
        for p in reversed(list(self.procs.values())):
            try:
                p.kill(signal.SIGKILL)
            except (OSError, Failure):
                pass
        if self.broker_pid:  # the script that started it has ended long ago
            try:
                os.killpg(os.getpgid(self.broker_pid), signal.SIGKILL)
            except OSError:
                pass
        for disk in self.disks:  # nobody writes into what lies below the mount any more
            subprocess.run(['umount', '-l', disk], check=True)
        if kind and os.environ.get('KEEP'):
            print(f'  kept: {self.dir}')
        else:
            shutil.rmtree(self.dir, ignore_errors=True)
        if dead and not kind:
            raise Failure('a process ended by itself: ' + ', '.join(p.name for p in dead))
        return False

    def path(self, name):
        return os.path.join(self.dir, name)

    def small_disk(self, name, size):
        """A directory that is a file system of its own, of so many bytes ('32m'), until the end of the test."""
        disk = self.path(name)
        os.mkdir(disk)
        subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={size}', 'tmpfs', disk], check=True)
        self.disks.append(disk)
        return disk

    def start(self, name, argv, env=None):
        self.procs[name] = Process(name, argv, self.dir, env)
        return self.procs[name]

    # ---- Kafka
    def kafka(self, *config):
        self.kafka_port = self.kafka_port or free_port(2)  # the controller listens on the port behind
        self.start('kafka', [os.path.join(HERE, 'kafka.sh'), 'start', self.path('kafka'), str(self.kafka_port), *config],
                   {'KAFKA_JVM': self.kafka_jvm})
        wait_for('the Kafka broker', lambda: not self.procs['kafka'].alive() or listens(self.kafka_port), 60)
        self.procs['kafka'].p.wait(60)  # the script ends when the broker answers
        if self.procs['kafka'].p.returncode:
            raise Failure('the Kafka broker did not start:\n' + self.procs['kafka'].tail())
        self.procs['kafka'].expected_death = True
        pid = int(re.findall(r'\d+', self.procs['kafka'].tail(1))[-1])  # Maven leaves escape codes before it
        self.broker_pid = pid
        return f'127.0.0.1:{self.kafka_port}'

    def kill_kafka(self, sig=signal.SIGKILL):
        # the script's process group is the broker's
        os.killpg(os.getpgid(self.broker_pid), sig)
        self.broker_pid = None
        wait_for('the end of the broker', lambda: not listens(self.kafka_port), 30)

    @property
    def bootstrap(self):
        return f'127.0.0.1:{self.kafka_port}'

    def tool(self, *args, stdin=None, timeout=180, background=False, env=None):
        e = dict(os.environ, BOOTSTRAP=self.bootstrap, **(env or {}))
        if background:
            return subprocess.Popen([TOOL, *map(str, args)], env=e, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        r = subprocess.run([TOOL, *map(str, args)], input=stdin, env=e, capture_output=True, timeout=timeout * SLOW)
        if r.returncode:
            raise Failure(f'kafka_tool {args[0]}: {r.stderr.decode(errors="replace").strip()}')
        return r.stdout.decode()

    def topic(self, name, partitions, *config):
        self.tool('topic', name, partitions, *config)
        wait_for(f'topic {name} to be known', lambda: self.tool('count', name), every=0.2)  # the broker learns it a little later

    def dump(self, topic, isolation='read_committed'):
        """[(partition, offset, key, value)]"""
        rows = []
        for line in self.tool('dump', topic, isolation).splitlines():
            p, o, k, v = line.split('\t', 3)
            rows.append((int(p), int(o), None if k == 'null' else k, None if v == 'null' else v))
        return rows

    # ---- etcd
    def etcd(self):
        self.etcd_port = self.etcd_port or free_port()
        peer = self.ports.setdefault('etcd-peer', free_port())
        url = f'http://127.0.0.1:{self.etcd_port}'
        self.start('etcd', ['etcd', '--data-dir', self.path('etcd'), '--listen-client-urls', url, '--advertise-client-urls', url,
                            '--listen-peer-urls', f'http://127.0.0.1:{peer}', '--initial-advertise-peer-urls', f'http://127.0.0.1:{peer}',
                            '--initial-cluster', f'default=http://127.0.0.1:{peer}', '--log-level', 'error'])
        wait_for('etcd', lambda: listens(self.etcd_port))
        return url

    # ---- Tidegate
    def coordinator(self, name='coordinator', etcd=True, args=(), env=None):
        """Without etcd it is patient, unless `args` say when a silent worker is dead: tests of that, and of more than one coordinator, have etcd."""
        if not etcd and '--worker-timeout' not in args:
            args = (*args, *PATIENT)
        port = self.ports.setdefault(name, free_port())
        http = self.ports.setdefault(name + '-http', free_port())
        argv = [TIDEGATE, 'coordinator', '--listen', f'127.0.0.1:{port}', '--http', f'127.0.0.1:{http}',
                '--storage', 'file://' + self.path('checkpoints'), *args]
        if etcd:
            argv += ['--etcd', f'http://127.0.0.1:{self.etcd_port}']
        p = self.start(name, argv, env)
        wait_for(name, lambda: listens(port) or not p.alive())
        return p

    @property
    def address(self):
        return ','.join(f'127.0.0.1:{p}' for n, p in self.ports.items() if n.startswith('coordinator') and not n.endswith('-http'))

    def worker(self, i, slots=2, memory='512M', args=(), env=None):
        name = f'w{i}'
        return self.start(name, [TIDEGATE, 'worker', '--coordinator', self.address, '--listen', '127.0.0.1:0', '--slots', str(slots),
                                 '--memory', memory, '--data', self.path(name), *args], env)

    def cli(self, *args, timeout=60, ok=True):
        r = subprocess.run([TIDEGATE, *map(str, args)], capture_output=True, timeout=timeout * SLOW,
                           env=dict(os.environ, TIDEGATE_COORDINATOR=self.address))
        if ok and r.returncode:
            raise Failure(f'tidegate {" ".join(map(str, args))}: exit {r.returncode}\n{r.stderr.decode(errors="replace")}')
        return r

    def json(self, *args, **kw):
        return json.loads(self.cli(*args, '--json', **kw).stdout)

    def ask(self, path):
        """The document at `path` of the coordinator that leads: what the command with --json prints, without the start of a process."""
        names = [n for n in self.ports if n.startswith('coordinator') and not n.endswith('-http')]
        end = time.monotonic() + 20 * SLOW
        while True:
            said = []
            for name in names:
                try:
                    status, body = self.get(path, name)
                except OSError as e:
                    said.append(f'{name}: {e}')
                    continue
                if status == 200:
                    return json.loads(body)
                said.append(f'{name}: {status} {body.strip()}')
                if status != 503:
                    raise Failure(f'{path}: {said[-1]}')
            if time.monotonic() > end:
                raise Failure(f'{path}: nobody leads: {said}')
            time.sleep(0.05)

    def workers_ready(self, n):
        wait_for(f'{n} workers', lambda: sum(w.get('state') == 'live' for w in self.ask('/api/workers')['workers']) == n)

    def submit(self, sql, name='job', parallelism=4, args=()):
        path = self.path(name + '.sql')
        with open(path, 'w') as f:
            f.write(sql)
        return self.cli('submit', '--parallelism', parallelism, *args, path).stdout.decode().split()[-1]

    def job(self, job_id):
        return self.ask(f'/api/jobs/{job_id}')

    def get(self, path, name='coordinator'):
        """(status, body) of the HTTP API"""
        try:
            with urllib.request.urlopen(f'http://127.0.0.1:{self.ports[name + "-http"]}{path}', timeout=10) as r:
                return r.status, r.read().decode()
        except urllib.error.HTTPError as e:
            return e.code, e.read().decode()

    def metrics(self, name='coordinator'):
        with urllib.request.urlopen(f'http://127.0.0.1:{self.ports[name + "-http"]}/metrics', timeout=10) as r:
            return r.read().decode()
