#!/usr/bin/python3
"""Holds the summaries of `kvtape dump` against numpy, which reads the elements
from the base64 of the same cache.

    dump_numpy.py KVTAPE FILE...     folders stand for the caches in them
"""
import base64
import json
import pathlib
import subprocess
import sys

import numpy as np

DTYPES = {"f64": "<f8", "f32": "<f4", "f16": "<f2", "i64": "<i8", "i32": "<i4",
          "i16": "<i2", "i8": "i1", "u64": "<u8", "u32": "<u4", "u16": "<u2",
          "u8": "u1", "bool": "u1"}


def caches(names):
    for path in map(pathlib.Path, names):
        yield from sorted(path.rglob("*.h5")) if path.is_dir() else [path]


def dump(kvtape, path, *options):
    done = subprocess.run([kvtape, "dump", path, "--format", "ndjson", *options],
                          capture_output=True, text=True)
    return {tensor["path"]: tensor
            for tensor in map(json.loads, done.stdout.splitlines())}


def elements(tensor):
    data = base64.b64decode(tensor["data"])
    if tensor["dtype"] == "bf16":
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
    return np.frombuffer(data, DTYPES[tensor["dtype"]])


def rounded(number, tensor, values):
    """A decimal as the element that it is the shortest text of."""
    if tensor["dtype"] == "bf16":  # to nearest, ties to even
        bits = int(np.float32(number).view("<u4"))
        bits = (bits + 0x7fff + (bits >> 16 & 1)) >> 16 << 16
        return float(np.array(bits, "<u4").view("<f4"))
    if values.dtype.kind == "f":
        return float(values.dtype.type(number))
    return number


def close(found, expected):
    return abs(found - expected) <= 1e-12 * max(1.0, abs(expected))


def problems(summary, values):
    wide = values.astype("f8")
    finite = wide[np.isfinite(wide)]
    counts = {"count": values.size, "zeros": int((wide == 0).sum()),
              "nan": int(np.isnan(wide).sum()), "inf": int(np.isinf(wide).sum())}
    for key, expected in counts.items():
        if summary[key] != expected:
            yield f"{key}: expected {expected}, found {summary[key]}"
    for key in ("min", "max", "mean", "std"):
        if finite.size == 0:
            if summary[key] is not None:
                yield f"{key}: expected null, found {summary[key]}"
            continue
        found, expected = summary[key], getattr(np, key)(finite)
        if key in ("min", "max"):
            same = rounded(found, summary, values) == float(expected)
        else:
            same = close(found, float(expected))
        if not same:
            yield f"{key}: expected {expected}, found {summary[key]}"


def main():
    kvtape, *files = sys.argv[1:]
    found, compared = [], 0
    for path in caches(files):
        spelled = dump(kvtape, path, "--encoding", "base64")
        for name, summary in dump(kvtape, path).items():
            if "data" not in spelled[name] or "encoding" not in spelled[name]:
                continue  # quantized
            if summary["encoding"] != "summary":
                found.append(f"{path.name} {name}: {summary['encoding']}")
                continue
            compared += 1
            with np.errstate(all="ignore"):
                found += [f"{path.name} {name}: {line}" for line in
                          problems(summary, elements(spelled[name]))]
    print(*found, f"{compared} summaries compared", sep="\n")
    return 1 if found or compared < 100 else 0


sys.exit(main())
