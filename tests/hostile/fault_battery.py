#!/usr/bin/python3
"""Makes system calls and allocations fail under commands that write.

    fault_battery.py PROGRAM SHIM [--full] [--jobs N]

SHIM is fail_nth.c, built. For every command, with and without an old file at
the output's name, the n-th call of a class fails (once, or from then on), is
cut short, or kills the program, for n = 1, 2, ... until a run is not reached by
it; and it is killed at random times. So is the process that reads HDF5: its
calls, its allocations, and those that lock it in. A run must end with status 0
and the whole new file, or with status 2, one line and the old file (or none);
no temporary file may be left but by SIGKILL, after which the output is the old
or the new one, and the reader's process ends as well. The short form takes a
part of the n; the full one all, of allocations fewer the further they are, but
for one command.
"""
import argparse
import concurrent.futures
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

import tally

OLD = b"the old file"
# The C library's own end, where a thread has no room for its first buffer.
GLIBC_ENDS = b"Fatal glibc error: failed to register TLS destructor"
ENOSPC, EIO, ENOMEM = "28", "5", "12"
COMMANDS = [
    ["convert", "in.h5", "OUT"], ["convert", "in.h5", "OUT", "--compress"],
    ["convert", "in.h5", "OUT", "--to-format", "json"],
    ["convert", "in.json", "OUT", "--to-format", "hdf5"],
    ["dump", "in.h5", "-o", "OUT", "--values", "all"],
    ["sample", "OUT"], ["replay", "in.h5", "--write", "OUT"],
    ["replay", "in.h5", "--svg", "OUT"], ["stats", "in.h5", "--svg", "OUT"],
    ["diff", "in.h5", "in.json", "--html", "OUT"],
]
# class, how, sticky
FAULTS = [("write", ENOSPC, False), ("write", ENOSPC, True),
          ("write", EIO, False), ("write", "short", True),
          ("write", "kill", False), ("file", EIO, False), ("file", EIO, True),
          ("memory", ENOMEM, False), ("memory", ENOMEM, True)]
# Of this one each allocation fails in the full form: there are about 10,000.
EVERY = COMMANDS[0]
READER_FAULTS = [("reader memory", ENOMEM, False),
                 ("reader memory", ENOMEM, True), ("reader file", EIO, False),
                 ("reader file", EIO, True), ("reader sandbox", EIO, False),
                 ("reader sandbox", EIO, True)]
READER = """#!/bin/sh
export %s
exec '%s'
"""


def written(place):
    """The bytes of the output in a folder, if there is one."""
    out = pathlib.Path(place, "out")
    return out.read_bytes() if out.exists() else None


def reader_beside(program):
    """kvtape-hdf5 in the folder of a program, or in that of a build."""
    folder = pathlib.Path(program).parent
    for place in (folder, folder.parent / "hdf5"):
        if (place / "kvtape-hdf5").exists():
            return place / "kvtape-hdf5"
    return sys.exit("there is no kvtape-hdf5")


class Bench:
    def __init__(self, program, shim, folder):
        self.program, self.shim, self.folder = program, shim, folder
        self.reader = reader_beside(program)

    def line(self, command, place, old):
        """The words of a command that writes into a folder."""
        if old:
            pathlib.Path(f"{place}/out").write_bytes(OLD)
        words = [f"{place}/out" if word == "OUT" else word for word in command]
        return [self.program, *words, "--force"]

    def run(self, command, old, fault=None, nth=0):
        """What is wrong, whether the fault was reached, the file written."""
        with tempfile.TemporaryDirectory(dir=self.folder) as place:
            line = self.line(command, place, old)
            environment = dict(os.environ)
            if fault:
                environment |= self.arranged(place, fault, nth)
            try:
                done = subprocess.run(line, cwd=self.folder, env=environment,
                                      capture_output=True, timeout=60)
            except subprocess.TimeoutExpired:
                return "hangs", True, None
            reached = fault is not None and self.was_reached(place)
            killed = fault is not None and fault[1] == "kill" and reached
            left = [name for name in os.listdir(place) if name != "out"]
            return self.wrong(done, killed, left), reached, written(place)

    def arranged(self, place, fault, nth):
        """The environment in which the n-th call of a class fails."""
        kind, how, sticky = fault
        pathlib.Path(f"{place}.reached").write_bytes(b"\0")
        settings = {"LD_PRELOAD": self.shim, "FAIL_CLASS": kind.split()[-1],
                    "FAIL_HOW": how, "FAIL_NTH": str(nth),
                    "FAIL_REACHED": f"{place}.reached"}
        if sticky:
            settings["FAIL_STICKY"] = "1"
        if not kind.startswith("reader "):
            return settings
        # The reader is given no environment: a script sets it.
        folder = pathlib.Path(f"{place}.libexec")
        folder.mkdir()
        script = folder / self.reader.name
        script.write_text(READER % (" ".join(
            f"{name}='{value}'" for name, value in settings.items()),
            self.reader))
        script.chmod(0o755)
        return {"KVTAPE_LIBEXEC": str(folder)}

    @staticmethod
    def was_reached(place):
        """Whether the call was; what was arranged is taken away."""
        mark = pathlib.Path(f"{place}.reached")
        reached = mark.read_bytes() == b"\1"
        mark.unlink()
        shutil.rmtree(f"{place}.libexec", ignore_errors=True)
        return reached

    def run_killed(self, command, old, moment):
        """Whether a kill at a moment, in seconds, came before the end, and the
        file that is there after it."""
        with tempfile.TemporaryDirectory(dir=self.folder) as place:
            process = subprocess.Popen(
                self.line(command, place, old), cwd=self.folder,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(moment)
            process.kill()
            return process.wait() == -9, written(place)

    @staticmethod
    def wrong(done, killed, left):
        if killed:
            return "" if done.returncode == -9 else "was not killed"
        if left:
            return f"left {left}"
        if GLIBC_ENDS in done.stderr:
            return ""
        if done.returncode < 0:
            return f"crash: signal {-done.returncode}: {done.stderr[-200:]!r}"
        said = done.stderr.count(b"kvtape: error: ")
        if done.returncode == 2 and said != 1:
            return f"{said} lines of errors: {done.stderr[:200]!r}"
        if done.returncode not in (0, 2):
            return f"status {done.returncode}: {done.stderr[:200]!r}"
        return ""


def numbers(fault, every, full):
    """Which calls fail: all, or fewer the further."""
    step = 10**9
    if not full:
        step = 2 if fault in READER_FAULTS else 6
    elif "memory" in fault[0] and not every:
        step = 20 if fault in READER_FAULTS else 100
    n = 1
    while True:
        yield n
        n += max(1, n // step)


def series(bench, command, old, fault, full):
    """(bad, tried) of one command and fault."""
    wrong, _, whole = bench.run(command, old)
    if wrong or whole in (None, OLD):
        return [(f"{command}: without a fault", wrong)], 0
    before = OLD if old else None
    bad, tried = [], 0
    every = command == EVERY and old and fault == ("memory", ENOMEM, False)
    for nth in numbers(fault, every, full):
        wrong, reached, found = bench.run(command, old, fault, nth)
        if not reached:
            break
        tried += 1
        if not wrong and found not in (whole, before):
            wrong = "neither old nor new is the output"
        if wrong:
            bad.append((f"{' '.join(command)}: {fault} {nth}", wrong))
    if not tried:
        bad.append((f"{' '.join(command)}: {fault}", "no call was reached"))
    return bad, tried


def kills(bench, command, old, times, seed):
    """(bad, tried) of a command that is killed at random moments."""
    start = time.monotonic()
    wrong, _, whole = bench.run(command, old)
    lasts = time.monotonic() - start
    rng = random.Random(seed)
    bad = []
    if wrong or whole in (None, OLD):
        bad.append((f"{command}: without a fault", wrong))
    tried = hit = 0
    while hit < times and tried < 10 * times:
        tried += 1
        moment = rng.random() * lasts
        killed, found = bench.run_killed(command, old, moment)
        hit += killed
        if found not in (whole, OLD if old else None):
            bad.append((f"{' '.join(command)}: killed after {moment:.4f} s",
                        "neither old nor new is the output"))
    return bad, hit


def readers(folder):
    """The reader's processes that live now and were started in a folder."""
    found = set()
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            name, state = entry.joinpath("stat").read_text().split()[1:3]
            where = os.readlink(entry / "cwd")
        except OSError:
            continue  # it has just ended, or is somebody else's
        if name == "(kvtape-hdf5)" and state != "Z" and where == folder:
            found.add(entry.name)
    return found


def readers_left(folder, seconds=10):
    """Those that still live after a while."""
    end = time.monotonic() + seconds
    while readers(folder) and time.monotonic() < end:
        time.sleep(0.1)
    return readers(folder)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("shim")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()
    program = str(pathlib.Path(options.program).resolve())
    shim = str(pathlib.Path(options.shim).resolve())
    times = 30 if options.full else 3
    with tempfile.TemporaryDirectory() as folder, \
            concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        subprocess.run([program, "sample", "-q", f"{folder}/in.h5"], check=True)
        subprocess.run([program, "convert", "-q", f"{folder}/in.h5",
                        f"{folder}/in.json"], check=True)
        bench = Bench(program, shim, folder)
        jobs = [pool.submit(series, bench, command, old, fault, options.full)
                for command in COMMANDS for fault in FAULTS
                for old in ((False, True) if options.full else (True,))]
        jobs += [pool.submit(series, bench, command, True, fault, options.full)
                 for command in COMMANDS for fault in READER_FAULTS]
        jobs += [pool.submit(kills, bench, command, old, times, old)
                 for command in COMMANDS for old in (False, True)]
        result = tally.Tally()
        for job in jobs:
            bad, tried = job.result()
            result.add("faults", tried)
            for where, wrong in bad:
                result.complain(where, wrong)
        left = readers_left(os.path.realpath(folder))
    for process in sorted(left):
        result.complain("readers left", process)
    sys.exit(result.end(f"{result.tried} faults injected"))


if __name__ == "__main__":
    main()
