#!/usr/bin/python3
"""Counts test cases over all programs of a Meson test run.

    count.py TESTLOG.json

A program that prints its own count (Catch2's summary, or `N passed, N failed`)
counts with it, any other as one case. The last line is the sum; the status is
1 when a case failed or none ran.
"""
import json
import re
import sys

COUNTS = [  # (pattern, how to read passed and failed from it)
    (r"^All tests passed \(.* in (\d+) test cases?\)",
     lambda m: (int(m[1]), 0)),
    (r"^test cases: +(\d+) \|(?: +(\d+) passed)?(?: \|)?(?: +(\d+) failed)?",
     lambda m: (int(m[2] or 0), int(m[3] or 0))),
    (r"^(\d+) passed, (\d+) failed$", lambda m: (int(m[1]), int(m[2]))),
]


def count(test):
    for pattern, read in COUNTS:
        match = re.search(pattern, test.get("stdout", ""), re.MULTILINE)
        if match:
            passed, failed = read(match)
            bad = test["result"] not in ("OK", "SKIP")
            return passed, failed or int(bad and not failed)
    if test["result"] == "SKIP":
        return 0, 0
    return (1, 0) if test["result"] == "OK" else (0, 1)


def main():
    passed = failed = 0
    for line in open(sys.argv[1], encoding="utf-8", errors="replace"):
        good, bad = count(json.loads(line))
        passed, failed = passed + good, failed + bad
    print(f"{passed} passed, {failed} failed")
    sys.exit(0 if passed and not failed else 1)


if __name__ == "__main__":
    main()
