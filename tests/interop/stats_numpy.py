#!/usr/bin/python3
"""Statistics of `kvtape stats` against numpy, on caches read with h5py.

    stats_numpy.py KVTAPE
"""
import json
import pathlib
import subprocess
import sys
import tempfile

try:
    import h5py
    import numpy as np
except ImportError:
    sys.exit(77)


def widened(dataset):
    array = dataset[()]
    if array.dtype == np.uint16:  # bf16
        return (array.astype(np.uint32) << 16).view(np.float32).astype(float)
    return array.astype(float)


def problems(kvtape, dtype, folder):
    path = folder / f"{dtype}.h5"
    subprocess.run([kvtape, "sample", "-q", path, "--dtype", dtype,
                    "--layers", "3", "--sequence-length", "200",
                    "--prompt", "150"], check=True)
    done = subprocess.run([kvtape, "stats", "--json", "--dead", path],
                          check=True, stdout=subprocess.PIPE)
    report = json.loads(done.stdout)
    assert len(report["rows"]) == 6
    with h5py.File(path) as file:
        for row in report["rows"]:
            where = f"layers/{row['layer']}/{row['kind']}"
            values = widened(file[where]).ravel()
            sizes = np.sort(np.abs(values))
            near = dict(mean=values.mean(), std=values.std())
            same = dict(min=values.min(), max=values.max(), count=values.size,
                        zeros=int((values == 0).sum()))
            for key, value in near.items():
                if not np.isclose(row[key], value, rtol=1e-12, atol=1e-14):
                    yield f"{dtype} {where}: {key} {row[key]} {value}"
            for key, value in same.items():
                if row[key] != value:
                    yield f"{dtype} {where}: {key} {row[key]} {value}"
            for key, part in dict(p50=.5, p90=.9, p99=.99, p999=.999).items():
                found = row["abs"][key]
                value = np.quantile(sizes, part, method="inverted_cdf")
                exact = dtype in ("f16", "bf16")
                if row["abs"]["exact"] != exact:
                    yield f"{dtype} {where}: exact"
                if not (found == value if exact
                        else value * (1 - 2 ** -7) <= found <= value):
                    yield f"{dtype} {where}: {key} {found} {value}"


def main():
    kvtape = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        found = [text for dtype in ("f32", "f16", "bf16")
                 for text in problems(kvtape, dtype, pathlib.Path(folder))]
    print("\n".join(found), end="")
    return 1 if found else 0


sys.exit(main())
