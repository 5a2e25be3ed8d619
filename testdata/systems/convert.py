#!/usr/bin/python3
"""Makes the *.json files of this folder from recordings of the real systems.

    convert.py DIRECTORY

DIRECTORY holds easydel_cache, easydel_attention, transformerlens, quantizers,
penzai_v1 and penzai_v2 as .json and .npz: cases with the names of their arrays,
and the arrays. What is written are the same cases, one a line, with the arrays
that they name: {"dtype", "shape", "data": base64 of the little-endian bytes}.
Results of attention are left out, but penzai's; testdata/goldens has them.
"""
import base64
import json
import pathlib
import sys

import numpy as np

DTYPES = {"float64": "f64", "float32": "f32", "float16": "f16", "int64": "i64", "int32": "i32",
          "int8": "i8", "uint8": "u8", "bool": "bool"}
GROUPS = {"easydel_cache": None, "easydel_attention": None, "transformerlens": None,
          "quantizers": {"a8_f16", "nf4_f16", "a8_bf16", "nf4_bf16", "nf4_f32", "nf4_block_lt_dim", "nf4_odd_block"},
          "penzai_v1": None, "penzai_v2": None}
LEFT_OUT = {"weights_vanilla", "output_vanilla", "output_decode_op", "pattern", "z", "rot_q", "rot_k", "query"}
LEFT_OUT_OF_PENZAI = {"logits", "op", "variable_labels", "tolerance"}


def tensor(name, array):
    dtype = "bf16" if name.endswith("__bf16") else DTYPES[array.dtype.name]
    data = np.ascontiguousarray(array).tobytes()
    return {"dtype": dtype, "shape": array.shape, "data": base64.b64encode(data).decode()}


def with_arrays(value, arrays, left_out):
    if isinstance(value, dict):
        return {k: with_arrays(v, arrays, left_out) for k, v in value.items() if k not in left_out | {"file", "provenance"}}
    if isinstance(value, list):
        return [with_arrays(v, arrays, left_out) for v in value]
    if isinstance(value, str) and "/" in value:
        for name in (value, value + "__bf16"):
            if name in arrays:
                return tensor(name, arrays[name])
    return value


def main(directory):
    for group, chosen in GROUPS.items():
        source = pathlib.Path(directory) / group
        arrays = np.load(source.with_suffix(".npz"))
        cases = [c for c in json.loads(source.with_suffix(".json").read_text()) if not chosen or c["id"] in chosen]
        left_out = LEFT_OUT_OF_PENZAI if "penzai" in group else LEFT_OUT
        lines = [json.dumps(with_arrays(case, arrays, left_out)) for case in cases]
        out = pathlib.Path(__file__).with_name(group + ".json")
        out.write_text("[\n" + ",\n".join(lines) + "\n]\n")


main(sys.argv[1])
