#!/usr/bin/env python3
"""tidy.py ROOT: the style as a test. Who may include whom, banned calls, sizes, leftovers, machine-specific words.
Prints each offence as file:line: what; the last line counts. Exit status 1 when there is one."""
import os, re, subprocess, sys

ROOT = sys.argv[1] if len(sys.argv) > 1 else '.'
LINE_MAX, FILE_MAX, FUNCTION_MAX = 160, 800, 110

# folder -> folders of ours it may include (itself always); the longest prefix of the including file decides
MAY = {
    'common': [],
    'common/net': ['common', 'proto', 'state'],
    'state': ['common'],
    'engine': ['common', 'state'],
    'proto': ['common', 'state'],
    'sql': ['common', 'engine', 'state'],
    'coordinator/core': ['common', 'proto', 'state', 'engine/channel.h'],
    'coordinator': ['common', 'proto', 'state', 'sql', 'engine'],
    'worker': ['common', 'proto', 'state', 'sql', 'engine'],
    'cli': ['common', 'proto', 'state', 'sql', 'engine', 'coordinator', 'worker'],
    'tests': None, 'integration': None, 'bench': None,
}
# third-party header prefix -> files that may use it
THIRD = {
    'librdkafka/': r'engine/connector/.*kafka|worker/lane_kafka|coordinator/kafka|integration/|bench/|tests/kafka/',
    'grpc/': r'common/net/rpc|cli/',
    'curl/': r'common/net/http_client',
    'microhttpd': r'common/net/http_server',
    'rocksdb/': r'state/base_rocks',
    'lz4': r'state/(changelog|segment)|worker/shuffle/frame',
    'pcre2': r'engine/',
    'openssl/': r'engine/|state/',
}
BANNED = {
    r'\bstrcpy\(': 'snprintf or memcpy', r'\bstrcat\(': 'buf_t', r'(?<!\w)sprintf\(': 'snprintf or buf_printf', r'\batoi\(': 'strtol with a check',
    r'\bgets\(': 'getline', r'\bstrtok\(': 'an explicit scan', r'(?<![\w_])rand\(\)': 'rng_t', r'(?<![\w_])time\(NULL\)': 'clock.h',
    r'(?<![\w_>.])sleep\(': 'a wait with an event', r'\bsetjmp\(': 'err_t',
}
LEFT = re.compile(r'\b(TO' + r'DO|FIX' + r'ME|XX' + r'X|HA' + r'CK)\b')
PURE = re.compile(r'^(coordinator/core/|worker/agent|worker/shuffle/(frame|credit)|engine/(align|lane|task|op/)|state/(kstate(?!_env)|change|segment|extent_check|manifest))')
IMPURE_CALLS = re.compile(r'\b(clock_(mono|wall)_\w+|clock_random|pthread_\w+|usleep|getenv|log_line|log_err|printf|fprintf)\s*\(')

offences = []


def say(path, line, what):
    offences.append(f'{path}:{line}: {what}')


def allowed(path, target):
    best = max((k for k in MAY if path.startswith(k + '/')), key=len, default=None)
    if best is None or MAY[best] is None:
        return True
    return any(target.startswith(p + '/') or target == p for p in [best, *MAY[best]])


def check_functions(path, lines):
    start = None
    for n, line in enumerate(lines, 1):
        if line and not line[0].isspace() and line.rstrip().endswith('{') and '(' in line and not line.startswith(('typedef', 'struct', 'enum', 'union', '#')):
            start = n
        elif line.startswith(')') and line.rstrip().endswith('{'):
            start = n
        elif line.startswith('}') and start:
            if n - start > FUNCTION_MAX:
                say(path, start, f'function of {n - start} lines, {FUNCTION_MAX} are the limit')
            start = None


def check(path, text):
    lines = text.split('\n')
    product = not path.startswith(('tests/', 'bench/', 'integration/'))
    code = re.sub(r'/\*.*?\*/', lambda m: '\n' * m.group().count('\n'), text, flags=re.S)
    for n, line in enumerate(lines, 1):
        width = len(re.sub(r'"(?:[^"\\]|\\.)*"', '""', line))  # texts for people are not broken: they are searched for
        if width > LINE_MAX:
            say(path, n, f'{width} columns beside its texts, {LINE_MAX} are the limit')
        if LEFT.search(line):
            say(path, n, 'unfinished work is marked')
    for n, line in enumerate(code.split('\n'), 1):
        m = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
        if m and '/' in m.group(1) and not allowed(path, m.group(1)):
            say(path, n, f'may not include {m.group(1)}')
        m = re.match(r'\s*#\s*include\s+<([^>]+)>', line)
        if m:
            for prefix, who in THIRD.items():
                if m.group(1).startswith(prefix) and not re.match(r'tests/', path) and not re.search(who, path):
                    say(path, n, f'may not use <{m.group(1)}>')
        if not product:
            continue
        for pattern, instead in BANNED.items():
            if re.search(pattern, line):
                say(path, n, f'{re.search(pattern, line).group()} is banned: use {instead}')
        if PURE.match(path) and IMPURE_CALLS.search(line):
            say(path, n, f'{IMPURE_CALLS.search(line).group()} in a pure part')
    if len(lines) > FILE_MAX and path.endswith('.c') and product:
        say(path, 1, f'{len(lines)} lines, {FILE_MAX} are the limit: split by concept')
    if product and path.endswith('.c'):
        check_functions(path, lines)


files = subprocess.run(['git', '-C', ROOT, 'ls-files'], capture_output=True, text=True).stdout.split('\n')
if not any(files):  # an exported tree
    files = [os.path.relpath(os.path.join(d, f), ROOT) for d, _, fs in os.walk(ROOT) for f in fs]
seen = 0
for f in sorted(files):
    if f.endswith(('.c', '.h')) and os.path.exists(os.path.join(ROOT, f)):
        seen += 1
        with open(os.path.join(ROOT, f), encoding='utf-8') as h:
            check(f, h.read())
for o in offences:
    print(o)
print(f'tidy: {seen} files, {len(offences)} offences')
sys.exit(1 if offences or not seen else 0)
