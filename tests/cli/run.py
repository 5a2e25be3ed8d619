#!/usr/bin/python3
"""Runs the program as a person would, and compares what it says.

    run.py PROGRAM CASES [COMMAND/CASE ...]      UPDATE=1 rewrites what differs

A case is a folder CASES/<command>/<case>/ with the files cmd (a shell script),
stdout, stderr and status; one that is missing is empty, or 0. It runs in an
empty folder with the program in PATH and the folder testdata in
KVTAPE_TESTDATA. A script that ends with status 77 cannot run here.
"""
import concurrent.futures
import difflib
import os
import pathlib
import subprocess
import sys
import tempfile

SKIPPED = 77


def environment(program, home):
    return {
        "PATH": f"{program.parent}:/usr/bin:/bin",
        "LC_ALL": "C", "NO_COLOR": "1", "HOME": home, "TMPDIR": home,
        "KVTAPE_TESTDATA": os.environ.get("KVTAPE_TESTDATA", ""),
        **{name: value for name, value in os.environ.items()
           if name in ("KVTAPE_KERNEL", "MALLOC_PERTURB_")
           or name.endswith("SAN_OPTIONS")},
    }


def run(program, case):
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(["/bin/sh", case / "cmd"], cwd=folder,
                              env=environment(program, folder),
                              stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=600, check=False)
    return {"stdout": done.stdout, "stderr": done.stderr,
            "status": b"%d\n" % done.returncode}


def expected(case, name):
    path = case / name
    if path.exists():
        return path.read_bytes()
    return b"0\n" if name == "status" else b""


def difference(case, name, actual):
    lines = [text.decode(errors="backslashreplace").splitlines(True)
             for text in (expected(case, name), actual)]
    return "".join(difflib.unified_diff(*lines, f"{name} expected",
                                        f"{name} found"))


def rewrite(case, name, actual):
    path = case / name
    if actual == (b"0\n" if name == "status" else b""):
        path.unlink(missing_ok=True)
    else:
        path.write_bytes(actual)


def check(program, case):
    """What is wrong with a case: text, empty where nothing is; or None."""
    try:
        results = run(program, case)
    except subprocess.TimeoutExpired:
        return "does not end\n"
    if results["status"] == b"%d\n" % SKIPPED:
        return None
    if os.environ.get("UPDATE"):
        for name, actual in results.items():
            rewrite(case, name, actual)
    return "".join(difference(case, name, actual)
                   for name, actual in results.items())


def main():
    program = pathlib.Path(sys.argv[1]).resolve()
    root = pathlib.Path(sys.argv[2]).resolve()
    cases = [root / name for name in sys.argv[3:]]
    cases = cases or sorted(path.parent for path in root.glob("*/*/cmd"))
    passed = failed = 0
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        results = pool.map(lambda case: check(program, case), cases)
        for case, wrong in zip(cases, results):
            name = case.relative_to(root)
            if wrong is None:
                print(f"{name}: skipped")
            elif wrong:
                print(f"{name}: failed\n{wrong}")
            passed += wrong == ""
            failed += bool(wrong)
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed or not passed else 0)


if __name__ == "__main__":
    main()
