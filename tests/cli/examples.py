#!/usr/bin/python3
"""Runs every command line that a man page or `-h` shows.

    examples.py PROGRAM MAN      MAN: the folder of the pages

The lines of a page run one after the other in a folder that holds sound files
of the names that the examples begin with. None may end in trouble (status 2).
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

READY = ["run.h5", "run42.h5"]  # what examples read without making it
METADATA = """{"batch_size": 2, "sequence_length": 16, "num_hidden_layers": 2,
"pad_token_id": 0, "num_heads": 4, "head_dim": 8}"""  # meta.json
COMMANDS = ["info", "dump", "validate", "diff", "replay", "stats", "convert", "sample"]


def of_page(text):
    """The commands of literal displays: `$ kvtape ...`, continued with \\e."""
    for block in re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed", text,
                            re.MULTILINE | re.DOTALL):
        for line in re.sub(r"\\e\n\s*", "", block).splitlines():
            if re.match(r"(\$ )?kvtape ", line):
                yield line.removeprefix("$ ")


def of_help(program, command):
    text = subprocess.run([program, command, "-h"], check=True, text=True,
                          stdout=subprocess.PIPE).stdout
    for line in text.split("\nexamples:\n")[1].split("\n\n")[0].splitlines():
        yield re.split(r"  +", line.strip())[0]


def run(program, lines):
    """Yields each line and what is wrong with it."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "LC_ALL": "C",
                       "PATH": f"{program.parent}:/usr/bin:/bin"}
        for name in READY:
            subprocess.run([program, "sample", "-q", name], cwd=folder,
                           check=True)
        pathlib.Path(folder, "meta.json").write_text(METADATA)
        for line in lines:
            # Large caches are made small; the same file may be made again.
            small = re.sub(r"--sequence-length \d+", "--sequence-length 64",
                           line).replace("kvtape sample", "kvtape sample --force")
            small = small.replace("--svg", "--force --svg")
            done = subprocess.run(small, shell=True, cwd=folder, text=True,
                                  env=environment, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, check=False)
            yield line, "" if done.returncode < 2 else done.stdout


def main():
    program = pathlib.Path(sys.argv[1]).resolve()
    sources = [(page.name, list(of_page(page.read_text())))
               for page in sorted(pathlib.Path(sys.argv[2]).glob("*.1"))]
    sources += [(f"kvtape {command} -h", list(of_help(program, command)))
                for command in COMMANDS]
    passed = failed = 0
    for name, lines in sources:
        for line, wrong in run(program, lines):
            if wrong:
                print(f"{name}: {line}\n{wrong}")
            passed += not wrong
            failed += bool(wrong)
        failed += not lines
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
