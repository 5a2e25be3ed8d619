#!/usr/bin/python3
"""Runs the recipes of kvtape-json(5), as they stand there, on documents that
kvtape dumps, and holds what they give against h5py.

    json_recipes.py KVTAPE MANUAL
"""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import h5py
import numpy as np

KVTAPE, MANUAL = map(pathlib.Path, map(os.path.abspath, sys.argv[1:3]))


def recipes():
    text = MANUAL.read_text().split(".Sh RECIPES")[1].split(".Sh ")[0]
    return dict(re.findall(r"^\.Ss (\w+)\n.*?^\.Bd -literal\n(.*?)^\.Ed$", text,
                           re.M | re.S))


def run(script):
    names = {}
    exec(compile(script, "recipe", "exec"), names)
    return names


def kvtape(*words):
    subprocess.run([KVTAPE, *words], check=True)


def dumped(dtype, encoding, script):
    """What a recipe reads, and what h5py reads, as bits."""
    kvtape("sample", "-q", "--force", "--dtype", dtype, "demo.h5")
    kvtape("dump", "--force", "--encoding", encoding, "-o", "demo.json",
           "demo.h5")
    found = run(script)["a"]
    data = h5py.File("demo.h5")["layers/0/key"]
    if dtype == "bf16":
        bits = np.fromfile("demo.h5", "<u2", data.size, offset=data.id.get_offset())
        return found, (bits.astype("<u4") << 16).view("<f4").reshape(data.shape)
    return found, data[:]


def check_writing(script):
    tensor = run(script)["t"]
    kvtape("sample", "-q", "--force", "demo.h5")
    kvtape("dump", "--force", "--values", "all", "-o", "demo.json", "demo.h5")
    document = json.load(open("demo.json"))
    document["layers"]["0"]["key"] = tensor
    json.dump(document, open("demo.json", "w"))
    lines = subprocess.run([KVTAPE, "dump", "demo.json", "--format", "csv"],
                           check=True, capture_output=True, text=True).stdout
    assert "/layers/0/key,f32,\"[1, 32, 2, 16]\",1024,0,0,0.0,0.0,1024" in lines


def main():
    scripts = recipes()
    assert set(scripts) == {"numbers", "base64", "bf16", "writing"}, scripts
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for name, dtype in (("numbers", "f32"), ("base64", "f32"), ("bf16", "bf16")):
            found, expected = dumped(dtype, "numbers" if name == "numbers" else "base64",
                                     scripts[name])
            assert found.shape == expected.shape, name
            assert found.tobytes() == expected.tobytes(), name
        check_writing(scripts["writing"])


main()
