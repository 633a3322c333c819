"""What the workers that are left do after one died: they restore from their own disks, and ask storage for what was the dead one's."""
import os, re, time
from harness import Cluster, Failure, wait_for
from test_bad_days import Feeder, broker, copy_job, count_job, counted_once, doc, exactly_once, files_named, finish


def name_of(t, worker):
    with open(os.path.join(t.path(worker), 'name')) as f:
        return f.read().strip()


def test_a_survivor_restores_its_own_state_without_storage():
    """Table files and changelog that the survivor made are gone from checkpoint storage when the other worker dies: the job goes on."""
    c = broker()
    with Cluster('survivor', broker=c) as t:
        t.coordinator(etcd=False)
        for i in 1, 2:
            t.worker(i, args=['--base-interval', '50ms'])
        t.workers_ready(2)
        for x in 'in', 'out':
            t.topic('sv-' + x, 2)
        job = t.submit(count_job(t, 'sv'), 'sv', 2, ['--set', 'checkpoint.base.interval=1s'])
        feed = Feeder(t, 'sv-in', rate=2000, keys=5000, pad=0)

        def made_by(w):
            return {f for f in files_named(t.json('manifest', 'show', job), r'^jobs/.*\.(sst|log)$') if f'.{name_of(t, w)}' in f}
        wait_for('bases of both', lambda: all(any(f.endswith('.sst') for f in made_by(w)) for w in ('w1', 'w2')), 30)
        feed.stop()
        wait_for('quiet', lambda: not doc(t, job)['epochs_in_flight'])
        time.sleep(0.5)
        gone = made_by('w1')
        for f in gone:
            os.remove(os.path.join(t.path('checkpoints'), f))
        t.procs['w2'].kill()
        wait_for('RUNNING again', lambda: (d := doc(t, job))['state'] == 'RUNNING' and d['restarts'] == 1, 30)
        if not gone & set(files_named(t.json('manifest', 'show', job), r'^jobs/')):
            raise Failure(f'the manifest that was restored names none of the files removed: {gone}')
        for _ in range(8):
            feed.put(500)
            time.sleep(0.1)
        counted_once(t, 'sv-out', feed.sent, keys=5000)
        if doc(t, job)['restarts'] != 1:
            raise Failure(f'{doc(t, job)["restarts"]} restarts: {doc(t, job).get("last_error")}')
        said = re.findall(r'attempt restored.*fetched_bytes=(\d+)', t.procs['w1'].tail(1000))
        if len(said) != 2 or int(said[1]) == 0:
            raise Failure(f'the survivor fetched nothing of what the other one had made: {said}')
        print(f'  {len(gone)} files of the survivor gone from storage, {said[1]} bytes of the other fetched, {feed.sent} rows counted once')


def test_a_step_that_never_returns_ends_its_process():
    """A slot cannot be taken back from a step that hangs: its process says whose step it is and goes, the job goes on elsewhere (B5)."""
    c = broker()
    with Cluster('stuck', broker=c) as t:
        t.coordinator(etcd=False)
        t.worker(1)
        t.workers_ready(1)
        t.worker(2, env={'TIDEGATE_STALL': 'step:300:2000'})
        t.workers_ready(2)
        for x in 'in', 'out':
            t.topic('st-' + x, 2)
        job = t.submit(copy_job(t, 'st'), 'stuck', 2)
        feed = Feeder(t, 'st-in', rate=1000)
        bad = t.procs['w2']
        bad.expected_death = True
        wait_for('the end of the process', lambda: not bad.alive(), 60)
        said = re.search(r'slot \d+ has been in one step of task \d+ of stage \d+ for \d+ s', bad.tail(1000))
        if bad.p.returncode == 0 or not said:
            raise Failure(f'it ended with status {bad.p.returncode} and says: {bad.tail()}')
        wait_for('RUNNING again', lambda: (d := doc(t, job))['state'] == 'RUNNING' and d['restarts'] >= 1, 30)
        exactly_once(t, 'st-out', feed.stop())
        print(f'  {said.group(0)}; exit status {bad.p.returncode}; the job went on')
