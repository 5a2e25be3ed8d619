#!/usr/bin/python3
"""Makes quantizers.json from the recorded outputs of eformer's quantizers.

Usage: convert.py DIRECTORY > quantizers.json
DIRECTORY holds quantizers.json and quantizers.npz as recorded from eformer
0f847cf (Array8B, ArrayNF4). Floats are written as the integers of their bits.
"""
import json
import os
import sys

import numpy as np


def numbers(array):
    if array.dtype.kind == "f":
        array = array.view(f"u{array.dtype.itemsize}")
    return [int(x) for x in array.reshape(-1)]


def convert(case, arrays):
    shape = arrays[case["input"]].shape
    rounds = [
        {
            "codes": numbers(arrays[r["weight" if "weight" in r else "packed"]]),
            "scales": numbers(arrays[r["scale" if "scale" in r else "absmax"]]),
            "values": numbers(arrays[r["materialized"]]),
            "block": r.get("effective_block", shape[-1]),
        }
        for r in case["rounds"]
    ]
    return {
        "id": case["id"],
        "note": case["note"],
        "method": case["method"],
        "dtype": case["dtype"],
        "input": numbers(arrays[case["input"]]),
        "rounds": rounds,
    }


def main(directory):
    path = os.path.join(directory, "quantizers")
    arrays = np.load(path + ".npz")
    with open(path + ".json") as file:
        cases = [convert(case, arrays) for case in json.load(file)]
    lines = [json.dumps(case) for case in cases]
    print("[\n" + ",\n".join(lines) + "\n]")


main(sys.argv[1])
