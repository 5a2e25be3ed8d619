#!/usr/bin/python3
"""Damages documents of JSON in every way it knows, and looks at what the
program does with them.

    json_battery.py PROGRAM [--full] [--jobs N] [--keep FOLDER]

A run is bad when it ends by a signal, takes longer than 20 seconds or more than
256 MB, prints something that is no line of text, or ends with another status
than 0, 1 and 2. --keep saves the documents of bad runs. Ends with 1 where one
was bad. The short form is for every commit; --full takes some minutes.
"""
import argparse
import collections
import json
import multiprocessing
import os
import pathlib
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import json_documents
import tally

# What fuzzing began with, and what it found: documents, but for the first byte.
CORPUS = pathlib.Path(__file__).resolve().parents[1] / "fuzz/corpus/json"
SECONDS = 20
KILOBYTES = 256 * 1024

VALUES = [
    "null", "true", "false", "0", "-0", "-0.0", "1", "-1", "1.5", "1e400",
    "-1e400", "1e-400", "5e-324", "9223372036854775807", "9223372036854775808",
    "-9223372036854775808", "-9223372036854775809", "18446744073709551615",
    "18446744073709551616", "1" * 400, "0." + "1" * 900, "1" * 2000, "NaN",
    "-Infinity", "nan", '""', '"x"', '"\\u0000"', '"\\ud800"', '"\\u202e"',
    '"\x7f"', '"[[0. 0.]]"', '"' + "y" * 70000 + '"', "[]", "[[]]", "[1]",
    '["a", 1]', "[1.5]", "[-1]", "[0]", "[1099511627776, 1099511627776]",
    "[1, 2, 3, 4, 5, 6, 7, 8, 9]", "[null]", "{}", '{"a": 1}',
    '{"dtype": "f32"}', '{"dtype": "f32", "data": [1]}',
    '{"dtype": "f32", "shape": [1000000000000], "encoding": "numbers", '
    '"data": [1, 2]}',
    '{"dtype": "f32", "shape": [1], "encoding": "numbers", "data": [1, 2]}',
    '{"dtype": "f32", "shape": [1], "encoding": "base64", "data": "AAAA"}',
    '{"dtype": "i8", "shape": [1], "encoding": "numbers", "data": [128]}',
    "[" * 70 + "]" * 70, '{"a":' * 70 + "1" + "}" * 70, "tru", "'x'", "",
]

# After JSONTestSuite (Nicolas Seriot): texts that parsers disagree on.
TEXTS = [
    "", " ", "\n", "\0", "[", "]", "{", "}", "[]", "{}", "null", "1", '"a"',
    "[1,]", "[,1]", "[1,,2]", '{"a":1,}', "{,}", '{"a"}', '{"a":}', '{:1}',
    '{"a" 1}', '{"a":1 "b":2}', "{a:1}", "{'a':1}", '{"a":1}}', '{"a":1}x',
    '{"a":1}{"b":2}', '{"a":1},', "/* */{}", "{}//", "{}#", '{"a":/**/1}',
    '{"a":01}', '{"a":-}', '{"a":+1}', '{"a":.5}', '{"a":1.}', '{"a":1e}',
    '{"a":1e+}', '{"a":0x1}', '{"a":1_000}', '{"a":--1}', '{"a":1 000}',
    '{"a":Infinity}', '{"a":-Infinity}', '{"a":NaN}', '{"a":nan}',
    '{"a":True}', '{"a":None}', '{"a":nul}', '{"a":"\t"}', '{"a":"\n"}',
    '{"a":"\\x41"}', '{"a":"\\u12"}', '{"a":"\\uZZZZ"}', '{"a":"\\ud800"}',
    '{"a":"\\ud800\\u0041"}', '{"a":"\\udc00"}', '{"a":"\\udc00\\ud800"}',
    '{"a":"\\', '{"a":"\\"', '{"a":"', '{"a', '{"', '{"a":1,"a":1}',
    '{"":1}', '{"\\u0000":1}', '{"a/b":{}}', '{".":{}}', '{"..":{}}',
    '\ufeff{}', '{"a":"\ufeff"}', '{"a":"\u2028\u2029"}', "\u00a0{}", "\f{}",
    "[" * 100_000, "[" * 100_000 + "]" * 100_000, '{"a":' * 100_000,
    '[{"a":' * 50_000, '{"a":[' * 50_000, '{"schema":"kvtape.dump/1"}',
    '{"schema":"kvtape.dump/2","format_version":1}', '{"schema":1}',
    '{"schema":"kvtape.info/1"}', '{"views": [null, null]}', '{"views": 1}',
]
BYTES = [
    b"\xff\xfe{\0}\0", b"\xfe\xff\0{\0}", b"\xef\xbb\xbf{}", b"\xef\xbb{}",
    b'{"a":"\xff"}', b'{"a":"\xc0\xaf"}', b'{"a":"\xed\xa0\x80"}',
    b'{"a":"\xf4\x90\x80\x80"}', b'{"a":"\xe2\x82"}', b'{"\xff":1}',
    b'{"a":\xff}', b"\x89HDF\r\n\x1a\n", b"\x89HDF\r\n\x1a\n{}", b"{\x00}",
    b'{"a":"\x1b[31m"}', b'{"\x7f":\x7f}', b"\x1b]0;x\x07{}",
]


def bombs(full):
    """Documents that make a naive reader take memory or time."""
    head = '{"schema":"kvtape.dump/1","format_version":1,'
    one = '{"dtype":"f32","shape":[%s],"encoding":"%s","data":%s}'
    count = 2_000_000 if full else 200_000
    yield head + '"a":"' + "x" * (2 << 20) + '"}'
    yield head + '"' + "k" * (2 << 20) + '":1}'
    yield head + '"a":' + "1" * (2 << 20) + "}"
    yield head + '"a":[' + "1," * count + "1]}"
    yield head + '"a":[' + "[]," * count + "[]]}"
    yield head + ",".join(f'"k{i}":{{}}' for i in range(count)) + "}"
    yield head + ",".join(f'"k{i}":1' for i in range(count)) + "}"
    yield head + ",".join(f'"k{i}":"{"v" * 400}"' for i in range(count)) + "}"
    yield head + " " * (300 << 20 if full else 1 << 20) + "}"
    yield head + '"a":' + one % ("4611686018427387904", "numbers", "[1]") + "}"
    yield head + '"a":' + one % ("2305843009213693951", "base64", '"AA=="') + "}"
    yield head + '"a":' + one % ("1", "numbers", "[" + "1," * count + "1]") + "}"
    yield head + '"a":' + one % ("1", "numbers", "[" + "1" * (9 << 20) + "]") + "}"
    yield head + '"a":' + one % ("1", "numbers", "[" + " " * (9 << 20) + "1]") + "}"
    yield head + '"a":' + one % ("1", "numbers", "[" * 100_000) + "}"
    yield head + '"a":' + one % ("1", "base64", '"' + "A" * (9 << 20) + '"') + "}"
    yield head + '"a":' + one % ("1", "base64", '"' + "A" * (9 << 20)) + "}"
    yield head + '"a":' + one % (count, "numbers",
                                 "[" + "1.5," * (count - 1) + "1.5]") + "}"


def places(value, path=()):
    """The path of every value of a document."""
    items = value.items() if isinstance(value, dict) else (
        enumerate(value) if isinstance(value, list) else ())
    for key, below in items:
        yield path + (key,)
        yield from places(below, path + (key,))


def replaced(text, path, raw):
    """The document with the value at a path replaced by a text."""
    mark = "\u2603mark"
    document = json.loads(text)
    above = document
    for key in path[:-1]:
        above = above[key]
    above[path[-1]] = mark
    return json.dumps(document).replace(json.dumps(mark), raw)


def members(text, path, change):
    """The document with the members of an object listed anew."""
    document = json.loads(text)
    above = None
    value = document
    for key in path:
        above, value = value, value[key]
    if not isinstance(value, dict):
        return None
    pairs = ", ".join(f"{json.dumps(k)}: {json.dumps(v)}"
                      for k, v in change(list(value.items())))
    if above is None:
        return "{" + pairs + "}"
    return replaced(text, path, "{" + pairs + "}")


def damaged_members(text, path):
    yield members(text, path, lambda items: items + items[:1])
    yield members(text, path, lambda items: items[:1] + items)
    yield members(text, path, lambda items: items[::-1])
    yield members(text, path, sorted_items)
    count = len(json.loads(text)) if not path else 12
    for i in range(count):
        yield members(text, path, lambda items: items[:i] + items[i + 1:])
        yield members(text, path, lambda items: items[i:] + items[:i])


def sorted_items(items):
    return sorted(items, key=lambda item: item[0])


def flips(data, count, random_):
    for _ in range(count):
        changed = bytearray(data)
        for _ in range(random_.choice((1, 1, 1, 2, 8))):
            at = random_.randrange(len(changed))
            kind = random_.randrange(5)
            if kind == 0:
                changed[at] ^= 1 << random_.randrange(8)
            elif kind == 1:
                changed[at] = random_.choice(b'{}[]",:0-eE.\\ntf \n\x00\xff')
            elif kind == 2:
                del changed[at:at + random_.choice((1, 2, 30))]
            elif kind == 3:
                changed[at:at] = changed[at:at + random_.choice((1, 3, 50))]
            else:
                changed[at:at] = random_.choice((b"0", b"9" * 30, b'"', b"[",
                                                 b"1e9", b"NaN", b",", b"{}"))
            if not changed:
                break
        yield bytes(changed)


def cases(full):
    """(what was done, the document) of every mutant."""
    random_ = random.Random(20260301)
    for text in TEXTS:
        yield "text", text.encode("utf-8", "surrogatepass")
    for data in BYTES:
        yield "bytes", data
    for text in bombs(full):
        yield "bomb", text.encode()
    for path in sorted(CORPUS.iterdir()):
        yield "corpus", path.read_bytes()[1:]
    for name, text in json_documents.texts().items():
        data = text.encode()
        tokens = [m.end() for m in
                  re.finditer(r'"(?:\\.|[^"\\])*"|[{}\[\],:]|[^\s{}\[\],:]+', text)]
        cuts = range(len(data)) if full else tokens[::17]
        for at in cuts:
            yield f"cut of {name}", data[:at]
        every = list(places(json.loads(text)))
        picked = every if full else random_.sample(every, min(len(every), 12))
        for path in picked:
            for raw in VALUES if full else random_.sample(VALUES, 10):
                yield f"value of {name}", replaced(text, path, raw).encode(
                    "utf-8", "surrogatepass")
        for path in [(), *picked]:
            for changed in damaged_members(text, path):
                if changed is not None:
                    yield f"members of {name}", changed.encode()
        for changed in flips(data, 6000 if full else 60, random_):
            yield f"flips of {name}", changed


def is_text(data):
    """Lines that do nothing to a terminal."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return False
    return not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e"
                         r"\u2066-\u2069\ufeff]", text)


def wait(child):
    """Whether it hung, its status, and the kilobytes it took."""
    signal.signal(signal.SIGALRM, lambda *_: child.kill())
    signal.alarm(SECONDS)
    _, status, usage = os.wait4(child.pid, 0)
    late = signal.alarm(0) == 0
    child.returncode = os.waitstatus_to_exitcode(status)
    return late, child.returncode, usage.ru_maxrss


LIMITED = os.environ.get("KVTAPE_ADDRESS_SPACE") != "free"


def limited():
    if LIMITED:
        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))


def run(program, path, piped):
    """What is wrong with a run, its status, seconds and kilobytes.

    Runs in a small process: a child begins with the memory of its parent.
    """
    started = time.monotonic()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        feeder = subprocess.Popen(["cat", path], stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL) if piped else None
        child = subprocess.Popen(
            [program, "validate", "--values", "-" if piped else path],
            stdin=feeder.stdout if piped else subprocess.DEVNULL, stdout=out,
            stderr=err, preexec_fn=limited)
        if feeder:
            feeder.stdout.close()
        late, status, kilobytes = wait(child)
        if feeder:
            feeder.wait()
        out.seek(0)
        err.seek(0)
        said, wrong = err.read(), []
        printed = out.read()
    if late:
        wrong.append("hangs")
    elif status < 0:
        wrong.append(f"crash: signal {-status}")
    if status > 2:
        wrong.append(f"status {status}")
    if LIMITED and kilobytes > KILOBYTES:
        wrong.append(f"takes {kilobytes // 1024} MB")
    if not is_text(printed) or not is_text(said):
        wrong.append("prints control characters")
    if status == 2 and not said.startswith(b"kvtape: error: "):
        wrong.append("no message")
    return wrong, status, time.monotonic() - started, kilobytes


class Documents:
    def __init__(self, keep):
        self.keep, self.result = keep, tally.Tally()
        self.counts, self.statuses = collections.Counter(), collections.Counter()
        self.slowest, self.most = 0.0, 0

    def add(self, what, path, result):
        wrong, status, seconds, kilobytes = result
        self.result.add("inputs")
        self.counts[what.split()[0]] += 1
        self.statuses[status] += 1
        self.slowest = max(self.slowest, seconds)
        self.most = max(self.most, kilobytes)
        for one in wrong:
            self.result.complain(f"{path.name}: {what}",
                                 f"{one}: {path.read_bytes()[:200]!r}")
        if wrong and self.keep:
            shutil.copy(path, self.keep)
        path.unlink()

    def end(self):
        """Prints it all; the exit status."""
        for kind, count in self.counts.items():
            print(f"  {kind:8} {count:7}")
        print("  status   " + ", ".join(f"{status}: {count}" for status, count
                                        in sorted(self.statuses.items())))
        return self.result.end(
            f"{self.result.tried} documents, slowest {self.slowest:.2f} s, at "
            f"most {self.most // 1024} MB")


def main():
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("program")
    options.add_argument("--full", action="store_true")
    options.add_argument("--jobs", type=int, default=2)
    options.add_argument("--keep")
    given = options.parse_args()
    program = str(pathlib.Path(given.program).resolve())
    documents = Documents(given.keep)
    with multiprocessing.Pool(given.jobs) as pool, \
            tempfile.TemporaryDirectory() as folder:
        waiting = collections.deque()
        for number, (what, data) in enumerate(cases(given.full)):
            path = pathlib.Path(folder, f"{number}.json")
            path.write_bytes(data)
            # Every other one from a pipe: it is another way in.
            waiting.append((what, path, pool.apply_async(
                run, (program, str(path), number % 2 == 1))))
            if len(waiting) > 4 * given.jobs:
                first = waiting.popleft()
                documents.add(*first[:2], first[2].get())
        for what, path, result in waiting:
            documents.add(what, path, result.get())
    sys.exit(documents.end())


if __name__ == "__main__":
    main()
