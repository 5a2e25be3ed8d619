#!/usr/bin/python3
"""Runs the commands that a Markdown file shows and compares what they print.

    readme_test.py README.md BINDIR [SOURCE]

Lines that begin with `$ ` in a block are run in order, in one temporary
folder, BINDIR first in PATH; what follows up to the next command is what they
print. UPDATE=1 writes the file anew from what they do print. SOURCE is the
folder that pictures are compared with: man/replay.svg with drift.svg.
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

BLOCK = re.compile(r"(?<=^```\n)\$ .*?(?=^```$)", re.MULTILINE | re.DOTALL)
ENVIRONMENT = {"LC_ALL": "C", "NO_COLOR": "1", "COLUMNS": "80"}


def printed(command, folder, bindir):
    env = {**os.environ, **ENVIRONMENT}
    env["PATH"] = f"{bindir}:{env['PATH']}"
    run = subprocess.run(["sh", "-c", command], cwd=folder, env=env,
                         stdin=subprocess.DEVNULL, capture_output=True,
                         text=True, timeout=60)
    return run.stdout + run.stderr


def main():
    readme = pathlib.Path(sys.argv[1])
    text, good, bad = readme.read_text(), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        def again(match):
            nonlocal good, bad
            result = ""
            for part in re.split(r"^(?=\$ )", match[0], flags=re.MULTILINE):
                if not part:
                    continue
                command = part.splitlines()[0]
                actual = f"{command}\n{printed(command[2:], folder, sys.argv[2])}"
                if actual == part:
                    good += 1
                else:
                    bad += 1
                    print(f"README shows\n{part}and it prints\n{actual}")
                result += actual
            return result

        rewritten = BLOCK.sub(again, text)
        if len(sys.argv) > 3:
            shown = pathlib.Path(sys.argv[3]) / "man/replay.svg"
            drawn = (pathlib.Path(folder) / "drift.svg").read_text()
            if os.environ.get("UPDATE"):
                shown.write_text(drawn)
            elif shown.read_text() != drawn:
                bad += 1
                print("man/replay.svg is not what replay --svg draws")
    if os.environ.get("UPDATE"):
        readme.write_text(rewritten)
        bad = 0
    print(f"{good} passed, {bad} failed")
    sys.exit(1 if bad or not good else 0)


if __name__ == "__main__":
    main()
