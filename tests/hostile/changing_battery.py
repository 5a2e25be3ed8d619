#!/usr/bin/python3
"""Changes cache files while the program reads them.

    changing_battery.py PROGRAM [--rounds N] [--megabytes N] [--seed N]

Every command is run on a file that is cut, made longer or written into after a
random moment. It must end with status 2 and one line that names the file, or
as if nothing had happened (the moment was too late, or the part was not read);
an output file must be whole or absent.
"""
import argparse
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

import tally

SECONDS = 60
COMMANDS = [["info"], ["validate", "--values"], ["stats"],
            ["dump", "--values", "summary"],
            ["dump", "--values", "all", "--encoding", "base64", "-o", "OUT"],
            ["replay"], ["convert", "FILE", "OUT"],
            ["convert", "FILE", "OUT", "--compress"],
            ["convert", "FILE", "OUT", "--to-format", "json"],
            ["diff", "FILE", "OTHER"], ["diff", "OTHER", "FILE"]]
SAID = ("changed while being read", "file is cut short", "file is empty",
        "cannot be read", "did not write all of it", "digest", "is damaged",
        "damaged", "neither HDF5 nor JSON", "inside the file of")


def line_of(command, file, other, out):
    words = [{"FILE": file, "OTHER": other, "OUT": out}.get(word, word)
             for word in command]
    return words if "FILE" in command else words + [file]


def harm(file, how, rng):
    size = os.path.getsize(file)
    if how == "cut":
        os.truncate(file, rng.randrange(size))
    elif how == "grow":
        with open(file, "ab") as stream:
            stream.write(bytes(rng.randrange(1, 100000)))
    else:
        with open(file, "r+b") as stream:
            stream.seek(rng.randrange(size // 2, size))
            stream.write(rng.randbytes(16))


def judge(run, file, out, whole):
    """What is wrong with how a run ended, or nothing."""
    error = run.stderr.decode("utf-8", "replace")
    if run.returncode < 0:
        return f"crash: signal {-run.returncode}"
    if run.returncode not in (0, 1, 2):
        return f"status {run.returncode}"
    if run.returncode == 2:
        if file not in error or not any(words in error for words in SAID):
            return "no line that names the file: " + error[:200]
        if os.path.exists(out):
            return "an output in spite of status 2"
    elif os.path.exists(out) and whole is not None:
        if open(out, "rb").read() != whole:
            return "neither old nor new: an output that is not whole"
    if any(name.endswith(".tmp") for name in os.listdir(os.path.dirname(out))):
        return "a temporary file is left"
    return ""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--megabytes", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    program = str(pathlib.Path(options.program).resolve())
    seen = 0
    result = tally.Tally()
    with tempfile.TemporaryDirectory() as folder:
        cache = f"{folder}/cache.h5"
        subprocess.run(
            [program, "sample", cache, "--quiet", "--layers", "4",
             "--head-dim", "128", "--steps", "4", "--sequence-length",
             str(options.megabytes * 256)], check=True)
        file, other = f"{folder}/victim.h5", f"{folder}/other.h5"
        out = f"{folder}/out/out"
        os.mkdir(f"{folder}/out")
        shutil.copy(cache, other)
        for command in COMMANDS:
            shutil.copy(cache, file)
            if os.path.exists(out):
                os.unlink(out)
            line = [program, *line_of(command, file, other, out)]
            start = time.monotonic()
            subprocess.run(line, capture_output=True, timeout=SECONDS,
                           check=True)
            lasts = time.monotonic() - start
            whole = open(out, "rb").read() if os.path.exists(out) else None
            for how in ["cut", "cut", "grow", "write"] * options.rounds:
                shutil.copy(cache, file)
                if os.path.exists(out):
                    os.unlink(out)
                moment = rng.random() * lasts
                process = subprocess.Popen(line, stdout=subprocess.PIPE,
                                           stderr=subprocess.PIPE)
                time.sleep(moment)
                harm(file, how, rng)
                result.add("inputs")
                try:
                    output, error = process.communicate(timeout=SECONDS)
                except subprocess.TimeoutExpired:
                    process.kill()
                    result.complain(f"{line[1:]} {how}", "hangs")
                    continue
                run = subprocess.CompletedProcess(line, process.returncode,
                                                  output, error)
                seen += run.returncode == 2
                wrong = judge(run, file, out, whole)
                if wrong:
                    result.complain(f"{line[1:]} {how} after {moment:.3f} s of "
                                    f"{lasts:.3f}", wrong)
    if not seen:
        result.complain("all", "no change was noticed")
    sys.exit(result.end(f"{result.tried} files changed while they were read, "
                        f"{seen} noticed"))


if __name__ == "__main__":
    main()
