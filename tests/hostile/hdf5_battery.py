#!/usr/bin/python3
"""Gives the program damaged and hostile files of HDF5.

    hdf5_battery.py PROGRAM [--mutants N] [--seed N] [--jobs N] [--keep FOLDER]

N mutants of each of four layouts (old and new headers, contiguous and in
chunks), made from caches with digests, and the files that hdf5_files.py makes.
A run is bad when it ends by a signal, takes longer than 30 seconds or more than
256 MB, ends with another status than 0, 1 and 2, or with 2 and not one line
that names the file; when it prints a control character, opens a foreign file,
or shows what is in one. A mutant whose elements or attributes are not the
original's must not be called sound by `validate --values`, and must not be
converted: that would be a silent change.
"""
import argparse
import concurrent.futures
import ctypes
import os
import pathlib
import random
import re
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import threading

import hdf5_files
import tally

SECONDS = 30
PEAK = 256 << 20
CONTROL = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")
CANARY = b"kvtape-canary-" + b"7" * 1010
COMMANDS = [["validate", "--values"], ["convert", "FILE", "OUT"],
            ["info", "--json"]]
LIMITED = os.environ.get("KVTAPE_ADDRESS_SPACE") != "free"


class Watch:
    """Counts how often files of a folder are opened (inotify)."""

    def __init__(self, folder):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.watch = self.libc.inotify_init1(os.O_NONBLOCK)
        in_open = 0x20
        self.libc.inotify_add_watch(self.watch, folder.encode(), in_open)

    def opened(self):
        """How often since the last call."""
        try:
            events = os.read(self.watch, 1 << 16)
        except BlockingIOError:
            return 0
        number = at = 0
        while at < len(events):
            at += 16 + struct.unpack_from("=iIII", events, at)[3]
            number += 1
        return number


def watch_of(folder, canary):
    """A watch that has been seen to see the canary."""
    watch = Watch(folder)
    with open(canary, "rb"):
        pass
    if watch.opened() != 1:
        sys.exit("inotify does not tell of files that are opened")
    return watch


def run(line, timeout):
    """Status, output, error and peak memory in bytes of a run."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=out,
                                   stderr=err)
        timer = threading.Timer(timeout, process.kill)
        timer.start()
        _, status, usage = os.wait4(process.pid, 0)
        timer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        return (process.returncode, out.read(1 << 24), err.read(1 << 20),
                usage.ru_maxrss * 1024)


def judge(name, status, out, err, peak):
    """What is wrong with how a run ended, or nothing."""
    if status == -9:
        return "hang"
    if status < 0:
        return f"crash: signal {-status}"
    if status not in (0, 1, 2):
        return f"status {status}"
    if LIMITED and peak > PEAK:
        return f"{peak >> 20} MB"
    if CONTROL.search(out) or CONTROL.search(err):
        return "control characters"
    if CANARY[:14] in out or CANARY[:14] in err:
        return "foreign file: its content is shown"
    lines = [line for line in err.splitlines()
             if line.startswith(b"kvtape: error: ")]
    if status == 2 and (len(lines) != 1 or name.encode() not in lines[0]):
        return f"not one line that names the file: {err[:200]!r}"
    return ""


def content(program, path, folder):
    """All that a file says, or nothing where it says none."""
    out = f"{folder}/content.json"
    line = [program, "convert", path, out, "--to-format", "json", "--force",
            "-q", "--skip-invalid"]
    status = subprocess.run(line, capture_output=True).returncode
    return open(out, "rb").read() if status == 0 else None


def try_file(program, path, folder, original):
    """(command and what is wrong of each bad run, whether it was refused, and
    whether libhdf5 died)"""
    bad = []
    refused = died = False
    out = f"{folder}/out"
    for command in COMMANDS:
        if os.path.exists(out):
            os.unlink(out)
        words = [{"FILE": path, "OUT": out}.get(word, word)
                 for word in command]
        line = [program] + words + ([] if "FILE" in command else [path])
        status, output, error, peak = run(line, SECONDS)
        wrong = judge(os.path.basename(path), status, output, error, peak)
        if wrong:
            bad.append((command[0], wrong))
        refused |= status != 0
        died |= b"kvtape-hdf5 died" in error
        if status == 0 and original is not None and command[0] != "info":
            read = out if command[0] == "convert" else path
            if content(program, read, folder) != original:
                bad.append((command[0], "silent change"))
    return bad, refused, died


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--mutants", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--keep")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    program = str(pathlib.Path(options.program).resolve())
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    counts = {"refused": 0, "died": 0}
    result = tally.Tally()
    with tempfile.TemporaryDirectory() as root, \
            concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        canaries = f"{root}/canaries"
        os.mkdir(canaries)
        canary = f"{canaries}/canary"
        with open(canary, "wb") as file:
            file.write(CANARY)

        def work(job):
            name, path, original = job
            with tempfile.TemporaryDirectory(dir=root) as folder:
                return name, path, *try_file(program, path, folder, original)

        def jobs():
            sample = f"{root}/sample.h5"
            subprocess.run([program, "sample", "-q", sample, "--layers", "1",
                            "--steps", "2", "--prompt", "3",
                            "--sequence-length", "8", "--head-dim", "8"],
                           check=True)
            for layout, how in hdf5_files.LAYOUTS.items():
                path = f"{root}/{layout}.h5"
                hdf5_files.rewrite(sample, path, **how)
                original = content(program, path, root)
                for number, (what, data) in enumerate(
                        hdf5_files.mutants(path, options.mutants, rng)):
                    mutant = f"{root}/{layout}-{number}.h5"
                    with open(mutant, "wb") as file:
                        file.write(data)
                    yield f"{layout}: {what}", mutant, original

        folder = f"{root}/hostile"
        os.mkdir(folder)
        hostile = hdf5_files.hostile(folder, canary)
        watch = watch_of(canaries, canary)
        pending = set()

        def finish(done):
            name, path, wrong, refused, died = done.result()
            result.add("inputs")
            counts["refused"] += refused
            counts["died"] += died
            for where, what in wrong:
                result.complain(f"{name}: {where}", what)
            if wrong and options.keep:
                os.makedirs(options.keep, exist_ok=True)
                shutil.copy(path, options.keep)
            os.unlink(path)

        def all_jobs():
            yield from ((name, path, None) for name, path in hostile)
            yield from jobs()

        for job in all_jobs():
            pending.add(pool.submit(work, job))
            if len(pending) >= 4 * options.jobs:
                done, pending = concurrent.futures.wait(
                    pending, return_when=concurrent.futures.FIRST_COMPLETED)
                for one in done:
                    finish(one)
        for one in pending:
            finish(one)
        for _ in range(watch.opened()):
            result.complain("canary", "foreign file: it was opened")
    sys.exit(result.end(
        f"{result.tried} bad files, {len(COMMANDS)} commands each: "
        f"{counts['refused']} refused, {counts['died']} contained where "
        "libhdf5 died"))


if __name__ == "__main__":
    main()
