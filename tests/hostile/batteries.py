#!/usr/bin/python3
"""Runs all batteries of this folder, one after the other, and adds up.

    batteries.py BUILD [--full] [--only NAME]...

BUILD is a build folder of Meson. A line for each battery says what it tried and
what was wrong; what it printed comes before that where something was. The last
line sums them up. Ends with 1 where anything was wrong, where a battery did not
end well, or tried nothing. --full takes about half an hour on two cores.
"""
import argparse
import collections
import pathlib
import subprocess
import sys
import time

import tally

HERE = pathlib.Path(__file__).resolve().parent
LOGS = HERE.parents[1] / "testdata" / "operations"
# What stands behind a battery's name; SHIM and LOGS are files.
Battery = collections.namedtuple("Battery", "words short full")
BATTERIES = {
    "hdf5": Battery([], [], ["--mutants", "1000"]),
    "json": Battery([], [], ["--full"]),
    "log": Battery(["LOGS"], [], ["--rounds", "1000"]),
    "changing": Battery([], ["--megabytes", "6"], ["--rounds", "8"]),
    "fault": Battery(["SHIM"], [], ["--full"]),
    "limits": Battery([], [], []),
    "differential": Battery([], [], ["--full"]),
}
SECONDS = 3600  # of a battery


def run(name, build, full):
    """Whether a battery ended well, what it printed and its counts."""
    battery = BATTERIES[name]
    files = {"LOGS": str(LOGS),
             "SHIM": str(build / "tests/hostile/fail_nth.so")}
    line = [sys.executable, str(HERE / f"{name}_battery.py"),
            str(build / "src/cli/kvtape"),
            *(files[word] for word in battery.words),
            *(battery.full if full else battery.short)]
    try:
        done = subprocess.run(line, stdout=subprocess.PIPE, text=True,
                              stderr=subprocess.STDOUT, timeout=SECONDS,
                              errors="backslashreplace", check=False)
    except subprocess.TimeoutExpired as error:
        return False, f"more than {SECONDS} s\n{error.stdout}", None
    return done.returncode == 0, done.stdout, tally.parse(done.stdout)


def in_words(counts):
    """What was tried, and what was wrong, of one battery."""
    tried = [f"{counts[name]:,} {words}" for name, words in
             (("inputs", "bad inputs"), ("faults", "faults"),
              ("comparisons", "comparisons"), ("runs", "other runs"))
             if counts[name]]
    wrong = [f"{counts[name]:,} {words}" for name, words in
             (("crashes", "crashes"), ("hangs", "hangs"),
              ("foreign", "foreign files opened"),
              ("silent", "silent changes"),
              ("torn", "outputs neither old nor new"),
              (tally.OTHER, "bad otherwise"))]
    return ", ".join(tried) + ": " + ", ".join(wrong)


def summary(counts, well):
    """The last line."""
    torn, other = counts["torn"], counts[tally.OTHER]
    outputs = "every output old or new" if not torn else (
        f"{torn:,} outputs neither old nor new")
    rest = [f"{other:,} bad otherwise"] if other else []
    rest += [] if well else ["a battery did not end well"]
    return (f"{counts['inputs']:,} bad inputs tried, {counts['crashes']:,} "
            f"crashes, {counts['hangs']:,} hangs, {counts['foreign']:,} "
            f"foreign files opened, {counts['silent']:,} silent changes; "
            f"{counts['faults']:,} faults injected, "
            + "; ".join([outputs, *rest]))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--only", choices=BATTERIES, action="append")
    options = parser.parse_args()
    build = options.build.resolve()
    total, well = collections.Counter(dict.fromkeys(tally.NAMES, 0)), True
    for name in options.only or BATTERIES:
        start = time.monotonic()
        good, printed, counts = run(name, build, options.full)
        if not good or counts is None:
            print(printed)
            well = False
        total.update(counts or {})
        print(f"{name:13}", in_words(counts) if counts else "no counts",
              f"({time.monotonic() - start:.0f} s)", flush=True)
    print(f"{total['comparisons']:,} comparisons and {total['runs']:,} other "
          "runs beside them")
    print(summary(total, well))
    wrong = [name for name in (*tally.WRONG, tally.OTHER) if total[name]]
    sys.exit(1 if wrong or not well else 0)


if __name__ == "__main__":
    main()
