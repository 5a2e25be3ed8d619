"""What holds of any cache: nothing differs from itself, two differ the same
either way round, and a byte that is another one is noticed.

Each is a case, counted as a comparison; of `diff`, a case is a row that it
compares. A byte that is another one may be believed only where it means
nothing: the file must then still say all that it said.
"""
import json
import os
import random
import subprocess

import differential_runs
import tally

FLIPS = 60  # of a job
SAME = ("compared", "differing", "mismatched", "max_abs", "rms",
        "non_finite_mismatched")
SWAPPED = (("nan_expected", "nan_actual"), ("inf_expected", "inf_actual"))


def run(program, folder, *words):
    done = subprocess.run([program, *words], cwd=folder, capture_output=True,
                          timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


def rows_of(out):
    """The numbers of each row of a report."""
    report = json.loads(out)
    rows = {"total": report["total"]}
    for row in report["cells"]:
        rows[row["layer"], row["kind"], row["head"]] = row["stats"]
    for row in report["others"]:
        rows[row["object"]] = row["stats"]
    return rows


def check_itself(result, program, folder, name, where):
    """Nothing differs from itself, NaN and all."""
    for words in (["--exact"], ["--exact", "--dead"], []):
        status, out, said = run(program, folder, "diff", name, name, "--json",
                                "-v", *words)
        if status != 0:
            result.add("comparisons")
            result.complain(f"{where} {name}", f"differs from itself: {status} "
                            f"{said[:200]!r}")
            continue
        for row, stats in rows_of(out).items():
            result.add("comparisons")
            if stats["mismatched"] or stats["differing"] or stats["max_abs"]:
                result.complain(f"{where} {name} {row}", "differs from itself")


def check_symmetric(result, program, folder, where):
    """Two caches differ the same either way round."""
    for words in (["--exact"], ["--rtol", "0", "--atol", "0.1"]):
        there = run(program, folder, "diff", "a.h5", "b.h5", "--json", "-v",
                    *words)
        back = run(program, folder, "diff", "b.h5", "a.h5", "--json", "-v",
                   *words)
        result.add("comparisons")
        if there[0] != back[0]:
            result.complain(where, f"status {there[0]}, and {back[0]} back")
        if 2 in (there[0], back[0]):
            continue
        rows, others = rows_of(there[1]), rows_of(back[1])
        if rows.keys() != others.keys():
            result.complain(where, f"other rows back: {rows.keys()} "
                            f"{others.keys()}")
        for row in rows.keys() & others.keys():
            result.add("comparisons")
            one, other = rows[row], others[row]
            if [one[name] for name in SAME] != [other[name] for name in SAME] \
                    or any(one[a] != other[b] or one[b] != other[a]
                           for a, b in SWAPPED):
                result.complain(f"{where} {row} {words}",
                                f"{one} there, {other} back")


def content(program, folder, name):
    """All that a file says, or nothing where it is refused."""
    status, out, _ = run(program, folder, "convert", name, "-", "--to-format",
                         "json", "--skip-invalid")
    return out if status == 0 else None


def check_flips(result, program, folder, where, rng):
    """A byte that is another one is noticed."""
    said = content(program, folder, "packed.h5")
    with open(os.path.join(folder, "packed.h5"), "rb") as file:
        data = bytearray(file.read())
    for _ in range(FLIPS):
        at, flip = rng.randrange(len(data)), rng.randrange(1, 256)
        data[at] ^= flip
        with open(os.path.join(folder, "flipped.h5"), "wb") as file:
            file.write(data)
        data[at] ^= flip
        result.add("comparisons")
        status = run(program, folder, "validate", "--values", "-q",
                     "flipped.h5")[0]
        if status not in (0, 1, 2):
            result.complain(f"{where} byte {at}", f"crash: status {status}")
        if status == 0 and content(program, folder, "flipped.h5") != said:
            result.complain(f"{where} byte {at} ^ {flip}", "silent change")


def job(program, folder, seed):
    """The tally of one pair of caches."""
    rng = random.Random(seed)
    result = tally.Tally()
    where = f"laws {seed}"
    like = differential_runs.sample(program, folder, "a.h5", rng)
    differential_runs.sample(program, folder, "b.h5", rng, like)
    sound = ["sample", "-q", "--force", "packed.h5", "--layers", "1",
             "--head-dim", "8", "--seed", str(seed)]
    run(program, folder, *sound, *rng.choice([[], ["--compress"]]))
    check_itself(result, program, folder, "a.h5", where)
    check_symmetric(result, program, folder, where)
    check_flips(result, program, folder, where, rng)
    return result
