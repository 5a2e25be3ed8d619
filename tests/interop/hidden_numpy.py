#!/usr/bin/python3
"""`kvtape replay --from hidden` on layers that numpy computes in f64.

    hidden_numpy.py KVTAPE
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

BATCH, TOKENS, EMBEDDING, DIM = 2, 12, 16, 8


def rotated(x, theta):
    """Halves of [batch, token, head, dim], the first token at position 0."""
    half = DIM // 2
    angle = (np.arange(TOKENS)[:, None]
             * theta ** (-np.arange(half) * 2 / DIM))[None, :, None]
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * np.cos(angle) - b * np.sin(angle),
                           b * np.cos(angle) + a * np.sin(angle)], -1)


def attended(hidden, weights, window, theta):
    q = rotated(np.einsum("bte,ehd->bthd", hidden, weights["query"]), theta)
    k = rotated(np.einsum("bte,ehd->bthd", hidden, weights["key"]), theta)
    v = np.einsum("bte,ehd->bthd", hidden, weights["value"])
    group = q.shape[2] // k.shape[2]
    k, v = np.repeat(k, group, 2), np.repeat(v, group, 2)
    scores = np.einsum("bqhd,bkhd->bhqk", q, k) / np.sqrt(DIM)
    distance = np.arange(TOKENS)[:, None] - np.arange(TOKENS)
    seen = (distance >= 0) & ((window == 0) | (distance < window))
    scores = np.where(seen, scores, -np.inf)
    p = np.exp(scores - scores.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    out = np.einsum("bhqk,bkhd->bqhd", p, v)
    return np.einsum("bthd,hde->bte", out, weights["output"])


def write(path, heads, key_heads, window, dtype, damage=None):
    random = np.random.default_rng(heads * 10 + window)
    def normal(*shape):
        return random.normal(size=shape).astype(np.float32)
    hidden = normal(BATCH, TOKENS, EMBEDDING)
    weights = {"query": normal(EMBEDDING, heads, DIM) / 4,
               "key": normal(EMBEDDING, key_heads, DIM) / 4,
               "value": normal(EMBEDDING, key_heads, DIM) / 4,
               "output": normal(heads, DIM, EMBEDDING) / 4}
    output = attended(hidden.astype(float),
                      {k: v.astype(float) for k, v in weights.items()},
                      window, 10000)
    with h5py.File(path, "w", libver="latest") as file:
        file.attrs.update(format="kvtape", format_version=1, source="penzai")
        file.create_group("metadata").attrs.update(
            batch_size=BATCH, sequence_length=TOKENS, num_hidden_layers=1,
            pad_token_id=0, num_heads=key_heads, head_dim=DIM)
        file.create_group("attention").attrs["query_heads"] = heads
        file.create_group("rotary").attrs.update(style="half", theta=10000.0)
        layer = file.create_group("layers/0")
        if window:
            layer.attrs["window"] = window
        for kind in ("key", "value"):
            layer[kind] = np.zeros((BATCH, TOKENS, key_heads, DIM), dtype)
        layer["index"] = np.zeros(BATCH, np.int32)
        for name, array in weights.items():
            if name != "output" and array.shape[1] == 1:
                array = array[:, 0]  # a single head may lack its axis
            layer["weights/" + name] = array
        trace = file.create_group("trace/layers/0")
        trace["hidden"] = hidden
        if damage == "output":
            output[1, 7, 3] += 0.5
        if damage == "shape":
            output = output[:, :, 1:]
        trace["output_projected"] = output.astype(np.float32)
        steps = [4] + [1] * (TOKENS - 4)
        file["trace/step_lengths"] = np.array(steps, np.int32)
        if damage == "late":
            layer["index"][...] = 2


def replay(kvtape, path):
    done = subprocess.run([kvtape, "replay", "--from", "hidden", "--json",
                           path], stdout=subprocess.PIPE, check=False)
    return done.returncode, json.loads(done.stdout) if done.stdout else None


def problems(kvtape, folder):
    path = folder / "layer.h5"
    for heads, key_heads in ((4, 4), (4, 1), (6, 2)):
        for window in (0, 5):
            for dtype, limit in ((np.float32, 2e-6), (np.float16, 2e-2)):
                write(path, heads, key_heads, window, dtype)
                where = f"{heads}, {key_heads}, window {window}, {dtype}"
                status, report = replay(kvtape, path)
                layer = report["layers"][0]
                if status != 0:
                    yield f"{where}: status {status}"
                for part, most in (("uncached_recorded", 2e-6),
                                   ("cached_recorded", limit),
                                   ("cached_uncached", limit)):
                    if not layer[part]["max_abs"] <= most:
                        yield f"{where}: {part} {layer[part]['max_abs']}"
    write(path, 4, 2, 0, np.float32, "output")
    status, report = replay(kvtape, path)
    first = report["layers"][0]["cached_recorded"]["first"]
    if status != 1 or (first["row"], first["token"], first["element"]) != (
            1, 7, 3):
        yield f"a wrong output: {status} {first}"
    if report["layers"][0]["cached_uncached"]["out_of_tolerance"] != 0:
        yield "a wrong output: cached and uncached part"
    write(path, 4, 2, 0, np.float32, "shape")
    if replay(kvtape, path) != (2, None):
        yield "a wrong shape"
    write(path, 4, 2, 0, np.float32, "late")
    status, report = replay(kvtape, path)
    if report and (len(report["notes"]) != 1
                   or report["layers"][0]["cached_uncached"] is not None):
        yield f"a late trace: {status} {report['notes']}"


def main():
    with tempfile.TemporaryDirectory() as folder:
        found = list(problems(sys.argv[1], pathlib.Path(folder)))
    print("\n".join(found), end="")
    return 1 if found else 0


sys.exit(main())
