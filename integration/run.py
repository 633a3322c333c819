#!/usr/bin/env python3
"""run.py [NAME-PART ...]: runs the integration tests (test_*.py beside this file, functions test_*), one after the other, each with a
time limit. Prints a line per test and "integration: N passed, N failed"; exit status 1 when one failed."""
import glob, importlib, os, signal, sys, time, traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import harness  # noqa: E402

LIMIT = 240  # seconds for one test, scaled; a test may carry its own as function attribute `limit`


class TimedOut(Exception):
    pass


def on_alarm(signum, frame):
    raise TimedOut('the test passed its time limit')


def main():
    wanted = sys.argv[1:]
    signal.signal(signal.SIGALRM, on_alarm)
    passed = failed = 0
    for path in sorted(glob.glob(os.path.join(HERE, 'test_*.py'))):
        module = importlib.import_module(os.path.basename(path)[:-3])
        for name, fn in list(vars(module).items()):
            full = module.__name__[5:] + '.' + name
            if not name.startswith('test_') or not callable(fn) or (wanted and not any(w in full for w in wanted)):
                continue
            start = time.monotonic()
            print(f'{full} ...', flush=True)
            signal.alarm(int(getattr(fn, 'limit', LIMIT) * harness.SLOW))
            try:
                fn()
                passed += 1
                print(f'{full}: ok, {time.monotonic() - start:.1f} s', flush=True)
            except BaseException as e:  # KeyboardInterrupt too: report, then leave
                failed += 1
                traceback.print_exc()
                print(f'{full}: FAILED after {time.monotonic() - start:.1f} s', flush=True)
                if isinstance(e, KeyboardInterrupt):
                    break
            finally:
                signal.alarm(0)
        if hasattr(module, 'finish'):  # what its tests shared
            module.finish()
    print(f'integration: {passed} passed, {failed} failed')
    if passed + failed == 0:
        print('integration: no test matched', file=sys.stderr)
    return 1 if failed or passed == 0 else 0


if __name__ == '__main__':
    sys.exit(main())
