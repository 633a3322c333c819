"""`tidegate run` as the quickstart shows it to a person: on a terminal, with examples/orders.sql as it stands."""
import os, pty, re, signal, subprocess, tempfile, threading, time
from harness import Failure, SLOW, TIDEGATE

ORDERS = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'examples', 'orders.sql')
LIVE = re.compile(r'RUNNING +(\d+) events/s +(\d+) events +watermark (\S+(?: \d\S+)?) +epoch (\d+)')


class Terminal:
    """A command on a terminal of its own; lines are (seconds since the start, text)."""

    def __init__(self, *argv, env=None):
        self.began = time.monotonic()
        master, slave = pty.openpty()
        self.p = subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, env=env)
        os.close(slave)
        self.fd, self.lines = master, []
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        rest = ''
        while True:
            try:
                data = os.read(self.fd, 65536)
            except OSError:  # the last writer is gone
                data = b''
            if not data:
                break
            *whole, rest = re.split(r'\r\n|\r\x1b\[K|\n', rest + data.decode(errors='replace'))
            self.lines += [(time.monotonic() - self.began, line) for line in whole if line]
        if rest:
            self.lines.append((time.monotonic() - self.began, rest))

    def end(self, seconds):
        try:
            status = self.p.wait(seconds)
        finally:
            if self.p.poll() is None:
                self.p.kill()
                self.p.wait()
            self.thread.join(10)
            os.close(self.fd)
        return status

    def text(self):
        return '\n'.join(line for _, line in self.lines)


def rows(t, name):
    """The changelog of one print sink: (seconds, kind, values)"""
    for at, line in t.lines:
        m = re.match(name + r'(?::\d+)?> ([+-][IUD])\[(.*)\]$', line)
        if m:
            yield at, m.group(1), m.group(2).split(', ')


def test_the_demo_shows_results_at_once_and_ends_by_itself_with_every_order_counted():
    with tempfile.TemporaryDirectory() as tmp:
        t = Terminal(TIDEGATE, 'run', ORDERS, env=dict(os.environ, TMPDIR=tmp))
        status = t.end(60 * SLOW)
        if os.listdir(tmp):
            raise Failure(f'run without --data left {os.listdir(tmp)}')
    last = t.lines[-1][1] if t.lines else ''
    if status != 0 or not re.match(r'orders: FINISHED after .*, 400000 events in, \d+ rows out', last):
        raise Failure(f'exit {status}; the last line is: {last}')
    first = next(rows(t, 'revenue'), (99, '', ''))[0]
    if first > 2 * SLOW:
        raise Failure(f'the first window came after {first:.1f} s')
    live = [m for m in (LIVE.search(line) for _, line in t.lines) if m]
    times = [m.group(3) for m in live]
    while times[:1] == ['none']:  # a slow machine has read nothing in the first fifth of a second
        times.pop(0)
    if len(live) < 20 or len(set(times)) < len(times) * 2 // 3 or sorted(times) != times:
        raise Failure(f'{len(live)} live lines; their watermarks: {times[:5]} .. {times[-5:]}')
    windows = {(v[0], v[1]): int(v[2]) for _, _, v in rows(t, 'revenue')}
    if sum(windows.values()) != 400000 or len(windows) != len(list(rows(t, 'revenue'))):
        raise Failure(f'{sum(windows.values())} orders in {len(windows)} windows, {len(list(rows(t, "revenue")))} rows')
    if sum(int(v[2]) for _, _, v in rows(t, 'users')) != 400000:
        raise Failure('the minutes do not hold 400,000 orders')
    if not any(kind == '+U' for _, kind, _ in rows(t, 'anomaly')):
        raise Failure('no user was unusual')
    print(f'  first window after {first:.2f} s; {len(windows)} windows, {len(live)} live lines; {last}')


def test_ctrl_c_ends_the_demo_cleanly():
    with tempfile.TemporaryDirectory() as tmp:
        t = Terminal(TIDEGATE, 'run', ORDERS, env=dict(os.environ, TMPDIR=tmp))
        limit = time.monotonic() + 30 * SLOW
        while not any(True for _ in rows(t, 'revenue')) and time.monotonic() < limit:
            time.sleep(0.05)
        asked = time.monotonic()
        os.killpg(t.p.pid, signal.SIGINT)
        status = t.end(30 * SLOW)
        took = time.monotonic() - asked
        if os.listdir(tmp):
            raise Failure(f'run without --data left {os.listdir(tmp)}')
    last = t.lines[-1][1] if t.lines else ''
    if status != 0 or not re.match(r'orders: STOPPED after', last) or took > 5 * SLOW:
        raise Failure(f'exit {status} after {took:.1f} s; the last line is: {last}')
    print(f'  ended {took:.2f} s after Ctrl-C; {last}')
