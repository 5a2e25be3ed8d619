#!/usr/bin/python3
"""Damages logs of operations, and looks at what the program does with them.

    log_battery.py PROGRAM FOLDER [--rounds N] [--seed N] [--keep FOLDER]

FOLDER holds logs in JSON. Sizes, dtypes, axes and numbers of one of them are
changed so that it stays a document that can be read. A run is bad when it ends
by a signal, takes longer than 20 seconds or more than 1 GB, or ends with
another status than 0, 1 and 2, or with no message where it is 2.
"""
import argparse
import base64
import copy
import json
import math
import os
import pathlib
import random
import resource
import subprocess
import sys
import tempfile

import tally

SECONDS = 20
BYTES = 1 << 30
SIZES = {"f64": 8, "f32": 4, "f16": 2, "bf16": 2, "i64": 8, "i32": 4, "u8": 1,
         "bool": 1}
NUMBERS = [0, -1, 1, 2, 3, 5, 7, 100, 2**31 - 1, 2**31, -2**31, 2**40,
           2**63 - 1, -2**63, None, "x", 1.5]
OPERATIONS = ["concatenate_to_cache", "concatenate", "insert", "insert_index",
              "insert_starts", "append", "append_attention_mask", "freeze",
              "unfreeze", "set_end_index", "x"]
COMMANDS = [["replay"], ["replay", "--mode", "faithful"],
            ["validate", "--values"],
            ["replay", "--mode", "faithful", "--force", "--write", "out.h5"]]


def places(value, path=()):
    """All members, with the keys that lead to them."""
    yield path, value
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], path + (key,))


def is_tensor(value):
    """Whether it is one still, whatever was put into it before."""
    return (isinstance(value, dict) and "data" in value and
            value.get("dtype") in [*SIZES] and
            isinstance(value.get("axes"), list) and
            isinstance(value.get("shape"), list) and
            all(type(size) is int and 0 <= size < 1000
                for size in value["shape"]) and
            len(value["axes"]) == len(value["shape"]) and
            math.prod(value["shape"]) < 1 << 20)


def change_tensor(tensor, rng):
    shape = list(tensor["shape"])
    what = rng.choice(["size", "size", "size", "axis", "order", "dtype"])
    axis = rng.randrange(len(shape)) if shape else None
    if what == "size" and shape:
        shape[axis] = rng.choice([0, 1, 2, 3, 4, 5, 6, 8])
    elif what == "axis" and shape:
        del shape[axis]
        del tensor["axes"][axis]
    elif what == "order":
        rng.shuffle(tensor["axes"])
    else:
        tensor["dtype"] = rng.choice(list(SIZES))
    count = math.prod(shape) * SIZES[tensor["dtype"]]
    data = bytes(rng.choices([0, 1, 0x3C, 0x80], k=count))
    tensor.update(shape=shape, data=base64.b64encode(data).decode())


def change(document, rng):
    members = [(path, value) for path, value in places(document)
               if len(path) > 1 or path in (("layers",), ("trace",))]
    path, value = rng.choice(members)
    parent = document
    for key in path[:-1]:
        parent = parent[key]
    if is_tensor(value) and rng.random() < 0.8:
        change_tensor(value, rng)
    elif path[-1] == "op":
        parent["op"] = rng.choice(OPERATIONS)
    elif isinstance(value, int) and not isinstance(value, bool):
        parent[path[-1]] = rng.choice(NUMBERS)
    elif rng.random() < 0.4:
        del parent[path[-1]]
    else:
        parent[path[-1]] = copy.deepcopy(rng.choice(members)[1])


def limited():
    if os.environ.get("KVTAPE_ADDRESS_SPACE") != "free":
        resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))


def complaint(program, words, folder):
    try:
        done = subprocess.run([program, *words, "log.json"], cwd=folder,
                              capture_output=True, timeout=SECONDS,
                              preexec_fn=limited, check=False)
    except subprocess.TimeoutExpired:
        return f"hangs: more than {SECONDS} s"
    if done.returncode < 0:
        return f"crash: signal {-done.returncode}"
    if done.returncode not in (0, 1, 2):
        return f"status {done.returncode}: {done.stderr[-500:].decode()}"
    if done.returncode == 2 and not done.stderr.startswith(b"kvtape: error: "):
        return "no message"
    return ""


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("program", type=pathlib.Path)
    arguments.add_argument("folder", type=pathlib.Path)
    arguments.add_argument("--rounds", type=int, default=60)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--keep", type=pathlib.Path)
    given = arguments.parse_args()
    rng = random.Random(given.seed)
    logs = sorted(given.folder.glob("*.json"))
    result = tally.Tally()
    with tempfile.TemporaryDirectory() as folder:
        log = pathlib.Path(folder) / "log.json"
        for number in range(given.rounds):
            document = json.loads(rng.choice(logs).read_text())
            for _ in range(rng.randint(1, 3)):
                change(document, rng)
            log.write_text(json.dumps(document))
            result.add("inputs")
            for words in COMMANDS:
                what = complaint(given.program.resolve(), words, folder)
                if not what:
                    continue
                result.complain(f"round {number}, {' '.join(words)}", what)
                if given.keep:
                    name = f"log-{given.seed}-{number}.json"
                    (given.keep / name).write_text(log.read_text())
    return result.end(f"{given.rounds} logs, {len(COMMANDS)} commands each")


sys.exit(main())
