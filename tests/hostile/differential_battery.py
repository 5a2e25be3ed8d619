#!/usr/bin/python3
"""Compares the program with others, and with itself.

    differential_battery.py PROGRAM [--full] [--seed N] [--part NAME]...
                            [--jobs N]

The parts, each in a file of its name: `chunks`, our reading of HDF5 against
libhdf5's; `numbers` and `documents`, our reading of JSON against fractions and
Python's json; `runs`, one kernel against the other and numbers of threads
against each other; `laws`, what holds of any cache. All is random, and the same
for the same seed. It ends with 1 where two of them differ. The short form is
for every commit; --full makes 20,000 comparisons and 10,000 of laws.
"""
import argparse
import collections
import concurrent.futures
import os
import pathlib
import subprocess
import sys
import tempfile

import differential_chunks
import differential_documents
import differential_laws
import differential_numbers
import differential_runs
import tally

# A part's job, and how many of them the short form and the full one have.
Part = collections.namedtuple("Part", "job short full")
PARTS = {
    "chunks": Part(differential_chunks.job, 8, 60),
    "numbers": Part(differential_numbers.job, 2, 10),
    "documents": Part(differential_documents.job, 5, 60),
    "runs": Part(differential_runs.job, 1, 30),
    "laws": Part(differential_laws.job, 2, 85),
}


def run(name, program, seed):
    """The tally of one job of a part, in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            return name, PARTS[name].job(program, folder, seed)
        except subprocess.TimeoutExpired as error:
            result = tally.Tally()
            result.complain(f"{name} {seed} {error.cmd}", "hangs")
            return name, result


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--part", choices=PARTS, action="append")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()
    program = str(pathlib.Path(options.program).resolve())
    result, parts = tally.Tally(), collections.Counter()
    with concurrent.futures.ProcessPoolExecutor(options.jobs) as pool:
        # Parts that have long jobs come first, so that the end is not one.
        waiting = [
            pool.submit(run, name, program, 1000 * options.seed + number)
            for name in reversed(options.part or list(PARTS))
            for number in range(PARTS[name].full if options.full else
                                PARTS[name].short)]
        for job in concurrent.futures.as_completed(waiting):
            name, some = job.result()
            parts[name] += some.tried
            result.merge(some)
    for name, number in sorted(parts.items()):
        print(f"  {name:10} {number:6}")
    if not differential_runs.has_avx2(program):
        print("  this CPU runs one kernel only")
    sys.exit(result.end(f"{result.tried} comparisons"))


if __name__ == "__main__":
    main()
