#!/usr/bin/python3
"""Runs commands where little is allowed, and in strange surroundings.

    limits_battery.py PROGRAM

Limits of the system, outputs and inputs that are no plain files, signals,
closed streams, locales and other environment. A run must end in time, by itself
or by the signal that was sent, with nothing or one line of an error; where the
status is 0 the output is the whole new file, and otherwise the old one; no
temporary file is left, and the input is as it was.
"""
import contextlib
import fcntl
import os
import pathlib
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import tally

SECONDS = 60
OLD = b"the old file"
WRITERS = [
    ["convert", "in.h5", "OUT"], ["convert", "in.h5", "OUT", "--compress"],
    ["convert", "in.h5", "OUT", "--to-format", "json"],
    ["dump", "in.json", "-o", "OUT", "--values", "all"],
    ["replay", "in.h5", "--write", "OUT"], ["stats", "in.h5", "--svg", "OUT"],
]
READERS = [["info"], ["validate", "--values"], ["stats", "--ascii"],
           ["replay"], ["dump"]]
TEXT = re.compile(rb"[^\x00-\x08\x0b-\x1f\x7f]*\Z")
SIGNALS = [signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGABRT,
           signal.SIGALRM, signal.SIGTERM, signal.SIGUSR1, signal.SIGXCPU]


def limit(kind, value):
    return lambda: resource.setrlimit(kind, (value, value))


def succeeds(*words):
    """Whether a program is there and can do this."""
    try:
        return subprocess.run(words, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL,
                              check=False).returncode == 0
    except FileNotFoundError:
        return False


class Bench:
    """A folder with a cache in it, and what went wrong there."""

    def __init__(self, program, folder):
        self.program, self.folder = program, folder
        self.result, self.kind = tally.Tally(), ""
        self.skipped, self.whole = 0, {}
        self.make("sample", "-q", "in.h5")
        self.make("convert", "-q", "in.h5", "in.json")
        self.make("sample", "-q", "large.h5", "--layers", "2", "--head-dim",
                  "128", "--sequence-length", "4096")
        self.input = self.read("in.h5")
        for words in WRITERS:
            os.makedirs(f"{folder}/work")
            self.make(*self.named(words))
            self.whole[tuple(words)] = self.read("work/out")
            self.clear()

    def make(self, *words):
        subprocess.run([self.program, *words], cwd=self.folder, check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def read(self, name):
        return pathlib.Path(self.folder, name).read_bytes()

    def clear(self):
        for path in pathlib.Path(self.folder, "work").iterdir():
            path.unlink()
        os.rmdir(f"{self.folder}/work")

    @staticmethod
    def named(words, out="work/out"):
        return [out if word == "OUT" else word for word in words]

    def run(self, words, **more):
        """Exit status, output, error; None where it hangs."""
        more = {"cwd": self.folder, "stdout": subprocess.PIPE,
                "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL} | more
        done = subprocess.run([self.program, *words], timeout=SECONDS, **more)
        return done.returncode, done.stdout or b"", done.stderr or b""

    def check(self, name, words, statuses=(0, 1, 2), said=None, **more):
        """A run whose status must be one of these, and its error have a text."""
        self.result.add(self.kind)
        try:
            status, _, error = self.run(words, **more)
        except subprocess.TimeoutExpired:
            return self.fail(name, words, "hangs")
        if status < 0 and status not in statuses:
            return self.fail(name, words, f"crash: signal {-status}")
        if status not in statuses:
            return self.fail(name, words, f"status {status}: {error[:200]!r}")
        if status == 2 and said is not None and (
                error.count(b"kvtape: error: ") != 1 or
                said.encode() not in error or not TEXT.match(error)):
            return self.fail(name, words, f"says {error[:200]!r}")
        return status

    def check_writer(self, name, words, statuses=(0, 2), said="", extra=(),
                     **more):
        """A run that writes over an old file."""
        os.makedirs(f"{self.folder}/work")
        pathlib.Path(self.folder, "work/out").write_bytes(OLD)
        line = [*self.named(words), *extra, "--force"]
        status = self.check(name, line, statuses, said, **more)
        if status is not None:
            found = self.read("work/out")
            whole = self.whole[tuple(words)]
            if found not in ((whole,) if status == 0 else (OLD, whole)):
                self.fail(name, words, "neither old nor new is the output")
        if os.listdir(f"{self.folder}/work") != ["out"]:
            self.fail(name, words, os.listdir(f"{self.folder}/work"))
        if self.read("in.h5") != self.input:
            self.fail(name, words, "the input is another one now")
        self.clear()

    def fail(self, name, words, what):
        self.result.complain(f"{name}: {' '.join(words)}", str(what))


def limits(bench):
    """Limits of the system, from none at all to nearly enough."""
    for words in WRITERS:
        for size in (0, 1, 4096, 40000):
            bench.check_writer(f"file size {size}", words,
                               preexec_fn=limit(resource.RLIMIT_FSIZE, size))
        for files in range(4, 12):
            bench.check_writer(f"{files} files", words,
                               said="Too many open files",
                               preexec_fn=limit(resource.RLIMIT_NOFILE, files))
        for megabytes in (1, 4, 8, 12, 16, 20, 24, 32, 48, 64, 128, 512):
            # Below some size the system cannot load a program at all.
            bench.check_writer(
                f"{megabytes} MB", words, (0, 2, 127, -6, -9, -11)
                if megabytes < 12 else (0, 2),
                None if megabytes < 12 else "",
                preexec_fn=limit(resource.RLIMIT_AS, megabytes << 20))
        for megabytes in (100, 300, 400):
            # More threads than there is room for their stacks.
            bench.check_writer(
                f"threads in {megabytes} MB", words,
                extra=["--threads", "64"],
                preexec_fn=limit(resource.RLIMIT_AS, megabytes << 20))
        bench.check_writer("no processes", words,
                           preexec_fn=limit(resource.RLIMIT_NPROC, 0))
        bench.check_writer("stack", words,
                           preexec_fn=limit(resource.RLIMIT_STACK, 256 << 10))
    for words in READERS:
        bench.check("CPU", [words[0], "large.h5", *words[1:]],
                    (0, 1, -signal.SIGXCPU, -signal.SIGKILL),
                    preexec_fn=limit(resource.RLIMIT_CPU, 1))


def destinations(bench):
    """Outputs that are not a name in a folder that can be written."""
    folder = bench.folder
    os.mkdir(f"{folder}/directory")
    os.mkfifo(f"{folder}/fifo")
    os.symlink("in.h5", f"{folder}/symbolic.h5")
    os.link(f"{folder}/in.h5", f"{folder}/hard.h5")
    os.symlink("loop", f"{folder}/loop")
    outs = ["/dev/full", "/dev/null", "directory", "directory/", "fifo",
            "in.h5", "./in.h5", "directory/../in.h5", "symbolic.h5", "hard.h5",
            "loop", "nowhere/out", "in.h5/out", "/proc/out", "x" * 256,
            "y/" * 3000]
    for words in WRITERS:
        for out in outs:
            if "in.json" in words and "h5" in out and "/out" not in out:
                continue  # it does not read that one
            bench.check(f"to {out[:20]}",
                        [*bench.named(words, out), "--force"], (2,), out[:20])
    if bench.read("in.h5") != bench.input:
        bench.fail("outputs", [], "the input is another one now")
    for words in READERS:
        line = [words[0], "in.h5", *words[1:]]
        with open("/dev/full", "wb") as full:
            bench.check("standard output full", line, (2,), "No space left",
                        stdout=full)
        end, other = os.pipe()
        os.close(end)
        bench.check("nobody reads", line, (-signal.SIGPIPE,), stdout=other)
        os.close(other)


def links(bench):
    """Outputs that are another name of a file: of a link, the target is
    written, and other names of a file keep the old one."""
    for words in WRITERS:
        for kind in ("symbolic", "hard", "dangling"):
            place = pathlib.Path(tempfile.mkdtemp(dir=bench.folder))
            out, other = place / "out", place / "other"
            if kind != "dangling":
                other.write_bytes(OLD)
            if kind == "hard":
                os.link(other, out)
            else:
                out.symlink_to("other")
            bench.check(f"{kind} link", [*bench.named(words, str(out)),
                                         "--force"], (0,))
            if out.read_bytes() != bench.whole[tuple(words)]:
                bench.fail(f"{kind} link", words, "another output")
            if kind == "symbolic" and not out.is_symlink():
                bench.fail(f"{kind} link", words, "the link is one no more")
            if kind == "hard" and other.read_bytes() != OLD:
                bench.fail(f"{kind} link", words, "the other name's file")
            if set(os.listdir(place)) - {"out", "other"}:
                bench.fail(f"{kind} link", words, os.listdir(place))


@contextlib.contextmanager
def disk(bench, size):
    """A folder that is a file system of this size; None where none can be."""
    place = tempfile.mkdtemp(dir=bench.folder)
    if not succeeds("mount", "-t", "tmpfs", "-o", f"size={size}", "none",
                    place):
        bench.skipped += len(WRITERS)
        yield None
        return
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def small_disk(bench):
    """File systems that are too small: for some outputs, and for all."""
    with disk(bench, "48k") as place:
        for words in WRITERS if place else []:
            check_on_disk(bench, words, place, (0, 2))
    with disk(bench, "1m") as place:
        large = [["large.h5" if word == "in.h5" else word for word in words]
                 for words in WRITERS if "in.h5" in words and
                 "--svg" not in words]
        for words in large if place else []:
            check_on_disk(bench, words, place, (2,))


def check_on_disk(bench, words, place, statuses):
    """A run that writes over an old file there."""
    out = pathlib.Path(place, "out")
    out.write_bytes(OLD)
    status = bench.check("small disk", [*bench.named(words, str(out)),
                                        "--force"], statuses, "space left")
    expected = bench.whole[tuple(words)] if status == 0 else OLD
    if os.listdir(place) != ["out"] or out.read_bytes() != expected:
        bench.fail("small disk", words, os.listdir(place))


def read_only(bench):
    """A folder in which no file can be made."""
    with disk(bench, "1m") as place:
        if not place:
            return
        out = pathlib.Path(place, "out")
        out.write_bytes(OLD)
        subprocess.run(["mount", "-o", "remount,ro", place], check=True)
        for words in WRITERS:
            bench.check("read-only", [*bench.named(words, str(out)),
                                      "--force"], (2,), "Read-only")
            if os.listdir(place) != ["out"] or out.read_bytes() != OLD:
                bench.fail("read-only", words, os.listdir(place))


def inputs(bench):
    """Inputs that are no file, cannot be read, or are being written."""
    folder = bench.folder
    socket.socket(socket.AF_UNIX).bind(f"{folder}/socket")
    for name in ["fifo", "directory", "/dev/zero", "/dev/null", "socket",
                 "nowhere", "loop", "/proc/self/mem", "x" * 256, "in.h5/in"]:
        for words in READERS:
            bench.check(f"from {name[:20]}", [words[0], name, *words[1:]], (2,),
                        name[:20])
    with open(f"{folder}/in.h5", "rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        for words in READERS:
            bench.check("locked", [words[0], "in.h5", *words[1:]], (2,),
                        "in.h5")


def grows(bench):
    """A file that another process appends to all the while."""
    name = f"{bench.folder}/growing.h5"
    with open(f"{bench.folder}/large.h5", "rb") as stream:
        pathlib.Path(name).write_bytes(stream.read())
    ends = threading.Event()

    def grow():
        with open(name, "ab", 0) as stream:
            while not ends.is_set():
                stream.write(bytes(4096))
                time.sleep(0.001)

    writer = threading.Thread(target=grow)
    writer.start()
    for words in READERS:
        bench.check("growing", [words[0], name, *words[1:]], (2,), "growing.h5")
    ends.set()
    writer.join()


def signals(bench):
    """Every signal that ends a program, at several moments."""
    for words in WRITERS:
        for number in SIGNALS:
            for moment in (0.004, 0.012, 0.02):
                bench.check_writer(
                    f"signal {number}", words, (0, 2, -number), None,
                    preexec_fn=lambda number=number, moment=moment:
                        send_later(number, moment))


def send_later(number, moment):
    """Another process sends this one a signal, when it is another program."""
    receiver = os.getpid()
    if os.fork() == 0:
        with contextlib.suppress(OSError):
            # Until then Python would take the signal, and tell of it.
            before = os.readlink("/proc/self/exe")
            while os.readlink(f"/proc/{receiver}/exe") == before:
                time.sleep(0.001)
            time.sleep(moment)
            os.kill(receiver, number)
        os._exit(0)


def surroundings(bench):
    """Streams that are closed, locales and other environment: same bytes."""
    os.mkdir(f"{bench.folder}/locales")
    for name in ("de_DE", "tr_TR"):
        if not succeeds("localedef", "-i", name, "-f", "UTF-8",
                        f"{bench.folder}/locales/{name}.UTF-8"):
            bench.skipped += 1
    usual = {"PATH": os.environ["PATH"]}
    strange = [{"LC_ALL": name, "LOCPATH": f"{bench.folder}/locales"}
               for name in ("C", "POSIX", "de_DE.UTF-8", "tr_TR.UTF-8", "none")]
    strange += [{"TZ": name} for name in ("UTC", "Asia/Kolkata", "", ":x")]
    strange += [{"PATH": ""}, {"HOME": "/nowhere"}, {"TMPDIR": "/nowhere"},
                {"TERM": "dumb"}, {"COLUMNS": "1"}, {"COLUMNS": "99999999999"},
                {"COLUMNS": "x"}, {"NO_COLOR": "1"}, {"LANG": "\x1b[31m"}]
    for words in READERS:
        line = [words[0], "in.h5", *words[1:]]
        expected = bench.run(line, env=usual)
        for more in strange:
            if "COLUMNS" in more and words[0] != "dump":
                continue  # tables are as wide as they are told
            bench.result.add(bench.kind)
            if bench.run(line, env=usual | more) != expected:
                bench.fail(f"{more}", line, "says something else")
    for words in WRITERS:
        for more in strange:
            bench.check_writer(f"{more}", words, (0,), env=usual | more)
        for mask in (0o000, 0o077, 0o777):
            bench.check_writer(f"umask {mask:o}", words, (0,),
                               preexec_fn=lambda mask=mask: os.umask(mask))
        for closed in ([0], [1], [2], [0, 1], [1, 2], [0, 1, 2]):
            bench.check_writer(
                f"closed {closed}", words, (0, 2), None,
                preexec_fn=lambda closed=closed: [os.close(n) for n in closed])
    gone = tempfile.mkdtemp()
    there = f"{bench.folder}/in.h5"
    for words in READERS:
        bench.check("no working directory", [words[0], there, *words[1:]], (0, 1),
                    preexec_fn=lambda: (os.chdir(gone), os.rmdir(gone)), cwd="/")
        os.makedirs(gone)
    os.rmdir(gone)


# What a run of each part counts as.
PARTS = {limits: "faults", destinations: "faults", links: "faults",
         small_disk: "faults", read_only: "faults", inputs: "inputs",
         grows: "inputs", signals: "faults", surroundings: "runs"}


def main():
    program = str(pathlib.Path(sys.argv[1]).resolve())
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(program, folder)
        result = bench.result
        for part, bench.kind in PARTS.items():
            tried, bad = result.tried, len(result.lines)
            part(bench)
            print(f"{part.__name__}: {result.tried - tried} tried, "
                  f"{len(result.lines) - bad} bad")
    sys.exit(result.end(f"{result.tried} runs in strange surroundings, "
                        f"{bench.skipped} skipped"))


if __name__ == "__main__":
    main()
