"""What bench/run measures with: processes with their CPU time, the real broker, samples, interleaved pairs, medians with their interval.

A sample is one or more whole runs, repeated until --min-seconds have passed. CPU seconds are user + system of all processes of the engine:
of `run` and of the bare client from wait4 (so process start counts), of a cluster's processes as a difference from /proc."""
import http.client, json, math, os, re, shutil, signal, subprocess, sys, time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
sys.path.insert(0, os.path.join(ROOT, 'integration'))
import harness  # noqa: E402
from harness import Failure, TIDEGATE, TOOL, wait_for  # noqa: E402

ALLOC_COUNT = os.path.join(os.environ.get('TIDEGATE_BUILD', os.path.dirname(TIDEGATE)), 'alloc_count.so')
FLINK = os.path.join(HERE, 'flink.sh')
TICK = os.sysconf('SC_CLK_TCK')


def say(text):
    print(time.strftime('%H:%M:%S ') + text, file=sys.stderr, flush=True)


# ---- statistics
def median(values):
    v = sorted(values)
    n = len(v)
    return math.nan if not n else v[n // 2] if n % 2 else (v[n // 2 - 1] + v[n // 2]) / 2


def interval(values):
    """(low, high, coverage) of the median by order statistics: the narrowest that covers 95 %, or all values when they are too few (below six)."""
    v = sorted(values)
    n = len(v)
    if not n:
        return math.nan, math.nan, 0.0
    best = (v[0], v[-1], 1 - 2 * 0.5 ** n if n > 1 else 0.0)
    for k in range(1, n // 2):
        coverage = 1 - 2 * sum(math.comb(n, i) for i in range(k + 1)) / 2 ** n
        if coverage < 0.95:
            break
        best = (v[k], v[-1 - k], coverage)
    return best


def geometric(values):
    return math.exp(sum(math.log(v) for v in values) / len(values)) if values and min(values) > 0 else math.nan


# ---- processes
def proc_cpu(pid):
    """User + system seconds of a live process."""
    with open(f'/proc/{pid}/stat') as f:
        fields = f.read().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def thread_cpu(pid):
    """{thread id: (name, seconds)}"""
    out = {}
    for tid in os.listdir(f'/proc/{pid}/task'):
        try:
            with open(f'/proc/{pid}/task/{tid}/stat') as f:
                head, tail = f.read().rsplit(')', 1)
            fields = tail.split()
            out[int(tid)] = (head.split('(', 1)[1], (int(fields[11]) + int(fields[12])) / TICK)
        except OSError:
            pass
    return out


def rss_mb(pid, what='VmHWM'):
    with open(f'/proc/{pid}/status') as f:
        return int(re.search(what + r':\s+(\d+)', f.read()).group(1)) / 1024


class Sample:
    """events, wall and CPU seconds, peak RSS in MB of what ran together"""

    def __init__(self, events=0, wall=0.0, cpu=0.0, rss=0.0, **more):
        self.events, self.wall, self.cpu, self.rss, self.more = events, wall, cpu, rss, more

    @property
    def rate(self):
        return self.events / self.cpu if self.cpu else math.nan

    def add(self, other):
        self.events += other.events
        self.wall += other.wall
        self.cpu += other.cpu
        self.rss = max(self.rss, other.rss)
        self.more.update(other.more)

    def dict(self):
        return {'events': self.events, 'wall_s': round(self.wall, 3), 'cpu_s': round(self.cpu, 3), 'rss_mb': round(self.rss, 1), **self.more}


def timed(argv, env=None, timeout=900, stdout=None):
    """Runs a process to its end: (status, stderr text, wall, cpu, peak RSS in MB)."""
    with open(os.path.join('/tmp', f'bench-{os.getpid()}.err'), 'w+b') as err:
        os.unlink(err.name)
        start = time.monotonic()
        p = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=stdout or subprocess.DEVNULL, stderr=err, env=dict(os.environ, **(env or {})))
        timer = None
        try:
            signal.signal(signal.SIGALRM, lambda *_: p.kill())
            timer = signal.alarm(timeout)
            _, status, used = os.wait4(p.pid, 0)
        except BaseException:
            p.kill()
            raise
        finally:
            signal.alarm(timer or 0)
        wall = time.monotonic() - start
        p.returncode = status
        err.seek(0)
        text = err.read().decode(errors='replace')
    return status, text, wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


# ---- the broker, the engine
class Bench(harness.Cluster):
    """A real broker, topics made once, runs of the engine in one process or on a cluster of its own."""

    kafka_jvm = os.environ.get('KAFKA_JVM', '')  # all of Java's compilers: the broker shall not be what is measured

    def __init__(self, options):
        super().__init__('bench')
        self.options, self.serial, self.flink_pid, self.rest, self.cluster_memory = options, 0, None, None, None
        self.base_counts = {}  # topic -> instructions per event of the bare client

    def path(self, name):
        return os.path.join(os.path.abspath(self.options.dir), name) if name == 'kafka' and self.options.dir else super().path(name)

    def __exit__(self, kind, value, tb):
        if self.flink_pid:
            subprocess.run([FLINK, 'down'], check=False)
        if self.broker_pid and self.options.dir:
            self.kill_kafka(signal.SIGTERM)  # its data stay: it shall not have to recover them
        return super().__exit__(kind, value, tb)

    def need_kafka(self):
        if not self.broker_pid:
            os.environ.setdefault('KAFKA_HEAP', '1g')
            subprocess.run([os.path.join(ROOT, 'integration', 'kafka.sh'), 'jars'], stdout=subprocess.DEVNULL, check=True)  # the first time they take longer than a start may
            self.kafka('log.retention.hours=-1', 'log.cleaner.enable=false')
            say(f'broker at {self.bootstrap}')

    def load(self, kind, partitions, events, *args):
        """The topic of that load, filled when it is not there yet."""
        self.need_kafka()
        name = re.sub(r'[^A-Za-z0-9]+', '-', '-'.join([kind, str(partitions), str(events), *map(str, args)]))
        self.tool('topic', name, partitions)
        wait_for(f'topic {name} to be known', lambda: self.tool('ends', name), every=0.2)
        there = int(self.tool('ends', name))
        if there not in (0, events):
            raise Failure(f'topic {name} holds {there} events instead of {events}: it was left half filled; remove the directory of --dir')
        if not there:
            say(f'fills {name}')
            self.tool(kind, name, partitions, events, *args, timeout=3600)
        return name

    def fresh(self, stem, partitions=4):
        """A new, empty topic."""
        self.need_kafka()
        self.serial += 1
        name = f'{stem}-{os.getpid()}-{self.serial}'
        self.topic(name, partitions)
        return name

    def sql(self, *files, **params):
        params.setdefault('BOOTSTRAP', self.bootstrap if self.kafka_port else '')
        self.serial += 1
        params.setdefault('PREFIX', f'bench-{os.getpid()}-{self.serial}')
        text = ''
        for f in files:
            if '\n' in f or ';' in f:
                text += f
            else:
                with open(os.path.join(HERE, 'sql', f)) as h:
                    text += h.read()
        return re.sub(r'\$\{(\w+)\}', lambda m: str(params[m.group(1)]), text)

    def run_args(self, sql, name='job', slots=2, memory='512M', parallelism=0, epochs='1s', more=()):
        path = self.path(name + '.sql')
        with open(path, 'w') as f:
            f.write(sql)
        return [TIDEGATE, 'run', '--slots', slots, '--memory', memory, *(['--parallelism', parallelism] if parallelism else []),
                '--set', f'execution.checkpointing.interval={epochs}', *more, path]

    def run(self, sql, env=None, **how):
        """One whole run of `tidegate run`, whose inputs end."""
        status, text, wall, cpu, rss = timed(self.run_args(sql, **how), env)
        m = re.search(r'FINISHED after ([\d.]+) s, (\d+) events in, (\d+) rows out', text)
        if status or not m:
            raise Failure(f'tidegate run: status {status}\n{text}\n--- of\n{sql}')
        return Sample(int(m.group(2)), wall, cpu, rss, rows_out=int(m.group(3)))

    def consume(self, topic, events):
        status, text, wall, cpu, rss = timed([TOOL, 'consume', topic, events], {'BOOTSTRAP': self.bootstrap})
        if status:
            raise Failure(text)
        return Sample(events, wall, cpu, rss)

    def allocations(self, sql, **how):
        """Allocations per event of one run."""
        out = self.path('allocations')
        s = self.run(sql, env={'LD_PRELOAD': ALLOC_COUNT, 'ALLOC_COUNT': out}, **how)
        with open(out) as f:
            return int(f.read().split()[0]) / max(1, s.events)

    def counted(self, argv):
        """(instructions, what it said) of one run, or (None, ..) where perf counts none."""
        out = self.path('perf.txt')
        try:
            status, text, *_ = timed(['perf', 'stat', '-x', ',', '-e', 'instructions', '-o', out, *map(str, argv)], {'BOOTSTRAP': self.bootstrap})
            with open(out) as f:
                n = re.search(r'^(\d+),[^,]*,instructions', f.read(), re.M)
            return (int(n.group(1)) if n and not status else None), text
        except OSError:
            return None, ''

    def instructions(self, sql, **how):
        """Instructions per event of one run, or None."""
        n, text = self.counted(self.run_args(sql, **how))
        events = re.search(r'(\d+) events in', text)
        return n / int(events.group(1)) if n and events else None

    def base_instructions(self, topic, events):
        """The same of the bare client, counted once a topic."""
        if topic not in self.base_counts:
            n, _ = self.counted([TOOL, 'consume', topic, events])
            self.base_counts[topic] = n and n / events
        return self.base_counts[topic]

    # ---- Flink
    def flink(self, sql, events):
        """One whole job on a Flink session cluster of one task manager, which alone counts."""
        if not self.flink_pid:
            say('starts Flink')
            up = subprocess.run([FLINK, 'up'], stdout=subprocess.PIPE, text=True, timeout=900)
            if up.returncode:
                raise Failure('flink.sh up failed; what it said is above')
            self.flink_pid = int(up.stdout.split()[-1])
        path = self.path('flink.sql')
        with open(path, 'w') as f:
            f.write(sql)
        cpu = proc_cpu(self.flink_pid)
        out = subprocess.run([FLINK, 'sql', path], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=3600).stdout
        if '[ERROR]' in out or 'Complete execution' not in out:
            raise Failure(f'Flink: {out[-3000:]}')
        wall = float(subprocess.run([FLINK, 'duration'], stdout=subprocess.PIPE, text=True, check=True).stdout)
        return Sample(events, wall, proc_cpu(self.flink_pid) - cpu, rss_mb(self.flink_pid))

    # ---- a cluster
    def cluster(self, workers=1, slots=2, memory='512M', coordinator_args=()):
        """Starts a coordinator and workers, or keeps those that are there, unless they have another budget: --memory is a worker's."""
        if self.cluster_memory != memory:
            self.end_cluster()
            self.cluster_memory = memory
        if 'coordinator' not in self.procs:
            self.coordinator(etcd=False, args=('--log', 'warn', *coordinator_args))
        for i in range(1, workers + 1):
            if f'w{i}' not in self.procs:
                self.worker(i, slots, memory, args=('--log', 'warn'))
        self.workers_ready(workers)

    def end_cluster(self):
        for name in [n for n in self.procs if n == 'coordinator' or re.fullmatch(r'w\d+', n)]:
            self.procs[name].kill()
            del self.procs[name]
        shutil.rmtree(self.path('checkpoints'), ignore_errors=True)
        for name in os.listdir(self.dir):
            if re.fullmatch(r'w\d+', name):
                shutil.rmtree(self.path(name), ignore_errors=True)

    def engine_pids(self):
        return {n: p.p.pid for n, p in self.procs.items() if n == 'coordinator' or re.fullmatch(r'w\d+', n)}

    def cluster_cpu(self):
        return sum(proc_cpu(pid) for pid in self.engine_pids().values())

    def forget_peak(self):
        """From here on the peak RSS of the cluster's processes is that of what runs next."""
        for pid in self.engine_pids().values():
            with open(f'/proc/{pid}/clear_refs', 'w') as f:
                f.write('5')

    def cluster_rss(self):
        return max(rss_mb(pid) for n, pid in self.engine_pids().items() if n != 'coordinator')

    def look(self, job):
        """The job as the coordinator's HTTP API shows it, over one connection that stays open: what looks on must cost the cluster little."""
        for last in (False, True):
            try:
                self.rest = self.rest or http.client.HTTPConnection('127.0.0.1', self.ports['coordinator-http'], timeout=10)
                self.rest.request('GET', f'/api/jobs/{job}')
                answer = self.rest.getresponse()
                text = answer.read()
                break
            except (OSError, http.client.HTTPException):  # the coordinator of before
                self.rest = None
                if last:
                    raise
        if answer.status != 200:
            raise Failure(f'{job}: {answer.status} {text[:500]}')
        return json.loads(text)['job']

    def until_finished(self, job, timeout=900):
        def state():
            doc = self.look(job)
            if doc['state'] in ('FAILED', 'CANCELLED', 'STOPPED'):
                raise RuntimeError(f"{job} is {doc['state']}: {doc}")
            return doc['state'] == 'FINISHED'
        wait_for(f'the end of {job}', state, timeout, 0.25)

    def run_on_cluster(self, sql, events, parallelism=2, epochs='1s'):
        """One whole job on the cluster that is up."""
        self.serial += 1
        self.forget_peak()
        cpu, start = self.cluster_cpu(), time.monotonic()
        job = self.submit(sql, f'job{self.serial}', parallelism, ('--set', f'execution.checkpointing.interval={epochs}'))
        self.until_finished(job)
        doc = self.look(job)
        wall = min(time.monotonic() - start, (doc['ended_ms'] - doc['created_ms']) / 1000)  # not what the look came too late
        return Sample(events, wall, self.cluster_cpu() - cpu, self.cluster_rss())


# ---- interleaving
def sample(fn, min_seconds):
    s = fn()
    while s.wall < min_seconds:
        s.add(fn())
    return s


class Interleaved:
    """base, variant, .., base, variant, .., base: each variant's sample is divided by the mean of the two base samples around it."""

    def __init__(self, base, variants, pairs, min_seconds, every=1):
        self.samples = {name: [] for name in variants}
        self.ratios = {name: [] for name in variants}
        self.base = [sample(base, min_seconds)]
        names = list(variants)
        for turn in range(pairs):
            for i in range(0, len(names), every):
                group = {n: sample(variants[n], min_seconds) for n in names[i:i + every]}
                self.base.append(sample(base, min_seconds))
                around = math.sqrt(self.base[-2].rate * self.base[-1].rate)
                for n, s in group.items():
                    self.samples[n].append(s)
                    self.ratios[n].append(s.rate / around)
            say(f'  {turn + 1}/{pairs}: base {self.base[-1].rate / 1e6:.2f} M/CPU s, ' +
                ', '.join(f'{n} {self.samples[n][-1].rate / 1e6:.2f}' for n in names))

    def row(self, work, name, **more):
        s, r = self.samples[name], self.ratios[name]
        low, high, coverage = interval(r)
        return {'work': work, 'variant': name, 'per_cpu_second': median([x.rate for x in s]), 'base_per_cpu_second': median([b.rate for b in self.base]),
                'ratio': median(r), 'low': low, 'high': high, 'coverage': coverage, 'wall_s': median([x.wall * s[0].events / x.events for x in s]),
                'rss_mb': max(x.rss for x in s), 'samples': [x.dict() for x in s], 'base_samples': [b.dict() for b in self.base], **more}
