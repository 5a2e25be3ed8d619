#!/usr/bin/python3
"""Writes the recorded cases of this folder as logs of operations, ../operations/*.json.

    operations.py

Each is a cache before the first operation, and in /trace/operations what was
done and what the system gave: kvtape-cache(5), in its JSON spelling. A case
whose steps the system did without a word but wrongly is one that
`kvtape replay` refuses, and `kvtape replay --mode faithful` reproduces.
"""
import base64
import json
import math
import pathlib

HERE = pathlib.Path(__file__).parent
OUT = HERE.parent / "operations"
FULL_MASK = ["batch", "head", "token", "position"]
CACHED = ["batch", "position", "head", "dim"]
NEW = ["batch", "token", "head", "dim"]
BYTES = {"f64": 8, "f32": 4, "f16": 2, "bf16": 2, "i64": 8, "i32": 4, "u8": 1, "bool": 1}


def tensor(array, axes):
    return {"dtype": array["dtype"], "shape": array["shape"], "axes": axes[: len(array["shape"])],
            "encoding": "base64", "data": array["data"]}


def cached(array):
    return tensor(array, CACHED)


def new(array):
    return tensor(array, NEW)


def mask(array):
    return tensor(array, ["batch", "position"] if len(array["shape"]) == 2 else FULL_MASK)


def row(array):
    return tensor(array, ["batch"])


def filled(dtype, shape, byte=0):
    data = bytes([byte]) * (math.prod(shape) * BYTES[dtype])
    return {"dtype": dtype, "shape": list(shape), "data": base64.b64encode(data).decode()}


def numbers(values):
    data = b"".join(v.to_bytes(4, "little", signed=True) for v in values)
    return {"dtype": "i32", "shape": [len(values)], "data": base64.b64encode(data).decode()}


def columns(array, first):
    """Of a mask [batch, position] of int64: the columns from `first` on."""
    rows, length = array["shape"]
    data = base64.b64decode(array["data"])
    part = b"".join(data[(r * length + first) * 8 : (r + 1) * length * 8] for r in range(rows))
    return {"dtype": "i64", "shape": [rows, length - first], "data": base64.b64encode(part).decode()}


def layer(arrays, key="key", value="value"):
    return {"key": cached(arrays[key]), "value": cached(arrays[value]), "index": row(arrays["index"]),
            "starts": row(arrays["starts"])}


def write(name, source, layers, operations, mask_before=None):
    shape = layers["0"]["key"]["shape"]
    metadata = dict(batch_size=shape[0], sequence_length=max(shape[1], 1), num_hidden_layers=len(layers),
                    pad_token_id=0, key_heads=shape[2], value_heads=layers["0"]["value"]["shape"][2],
                    key_dim=shape[3], value_dim=layers["0"]["value"]["shape"][3],
                    update_causal_mask=True, create_attention_bias=True)
    document = {"schema": "kvtape.dump/1", "format_version": 1, "source": source, "metadata": metadata}
    if mask_before:
        document["attention_mask"] = mask_before
    document["layers"] = layers
    document["trace"] = {"operations": {str(i): o for i, o in enumerate(operations)}}
    (OUT / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")


def error_of(value):
    return value["message"] if isinstance(value, dict) else str(value)


def concatenate(case):
    quantization = {"quantization": "nf4", "block_size": 32} if case["id"] == "cat_quant_nf4" else {}
    operations = []
    for step in case["steps"]:
        operation = {"op": "concatenate_to_cache", "layer": 0, "query_length": step["query_length"], **quantization}
        operation |= {n: new(step[n]) for n in ("key", "value")}
        operation |= {n: mask(step[n]) for n in ("attention_mask", "causal_mask") if n in step}
        if "token_type_ids" in step:
            operation["token_type_ids"] = tensor(step["token_type_ids"], ["batch", "token"])
        if "error" in step:
            operation["error"] = error_of(step["error"])
        else:
            expected = step["expected"]
            stored = "stored_key" in expected
            names = ("stored_key", "stored_value") if stored else ("key", "value")
            operation["result"] = {"key": cached(expected["key"]), "value": cached(expected["value"]),
                                   "mask": mask(expected["mask"]), "layers": {"0": layer(expected, *names)}}
        operations.append(operation)
    write(case["id"], "easydel", {"0": layer(case["inputs"])}, operations)


def insert(case):
    layers = lambda views: {str(i): layer(v) for i, v in enumerate(views)}
    operation = {"op": "insert", "slot": case["slot"], "other": {"layers": layers(case["other"])},
                 "result": {"layers": layers(case["expected"])}}
    if case["self"][0]["kinds"][0] == "Array8B":
        operation["quantization"] = "8bit"
    if "error" in case:
        operation["error"] = error_of(case["error"])
    write(case["id"], "easydel", layers(case["self"]), [operation])


def flat(value):
    return [n for each in value for n in flat(each)] if isinstance(value, list) else [value]


def insert_values(case):
    before, field = case["before"], case["op"].split("_")[1]
    values = flat(case["value"])
    if not all(isinstance(v, int) for v in values):
        return
    view = {"key": filled("f32", (4, 8, 1, 1)), "value": filled("f32", (4, 8, 1, 1)), "index": before, "starts": before}
    operation = {"op": case["op"], "slot": case["slot"], "values": row(numbers(values)),
                 "result": {"layers": {str(i): {field: row(e)} for i, e in enumerate(case["expected_all_layers"])}}}
    if "error" in case:
        operation["error"] = error_of(case["error"])
    write(case["id"], "easydel", {str(i): layer(view) for i in range(2)}, [operation])


def attention(case):
    inputs, operations = case["inputs"], []
    for step in case["steps"]:
        operation = {"op": "concatenate", "layer": 0, "attention_mask": mask(inputs["attention_mask"]),
                     "key": new(step["key"]), "value": new(step["value"]),
                     "result": {"mask": mask(step["expected"]["mask"]), "layers": {"0": {"index": row(step["expected"]["index"])}}}}
        if case["sliding_window"] is not None:
            operation["sliding_window"] = case["sliding_window"]
        operations.append(operation)
    operations[-1]["result"]["layers"]["0"] |= {n: cached(inputs["final_" + n]) for n in ("key", "value")}
    write(case["id"], "easydel", {"0": layer(inputs)}, operations)


def entry(shape, dtype):
    empty = cached(filled(dtype, (shape[0], 0, *shape[2:])))
    zeros = row(numbers([0] * shape[0]))
    return {"layout": "growing", "frozen": False, "key": empty, "value": empty, "index": zeros, "starts": zeros}


def append(case):
    operations, frozen, seen = [], False, 0
    for step in case["steps"]:
        now = step.get("entry_frozen", step.get("frozen"))
        if now != frozen:
            flag = {"op": "freeze" if now else "unfreeze", "result": {"layers": {"0": {"frozen": now}}}}
            if step.get("cache_frozen", now) != now:
                flag["layer"] = 0
            operations.append(flag)
            frozen = now
        full = step.get("attention_mask_full")
        if full:
            operations.append({"op": "append_attention_mask", "attention_mask": mask(columns(full, seen)),
                               "result": {"attention_mask": mask(full), "mask": mask(full)}})
            seen = full["shape"][1]
        expected = step["expected"]
        result = {"layers": {"0": {"key": cached(expected["stored_key"]), "value": cached(expected["stored_value"])}}}
        if "returned_key" in expected:
            result |= {n: cached(expected["returned_" + n]) for n in ("key", "value")}
        operations.append({"op": "append", "layer": 0, "key": new(step["key"]), "value": new(step["value"]), "result": result})
    first = case["steps"][0]["key"]
    masks = any("attention_mask_full" in s for s in case["steps"])
    before = mask(filled("i32", (first["shape"][0], 0))) if masks else None
    write(case["id"], "transformer_lens", {"0": entry(first["shape"], case.get("initial_dtype", first["dtype"]))}, operations, before)


def append_errors(case):
    operations = []
    for error in case["errors"]:
        if len(error.get("shape", [])) != 4:
            continue
        zeros = new(filled("f32", error["shape"]))
        operations.append({"op": "append", "layer": 0, "key": zeros, "value": zeros, "error": error["message"],
                           "result": {"layers": {"0": {"key": entry((2, 0, 2, 4), "f32")["key"]}}}})
    write(case["id"], "transformer_lens", {"0": entry((2, 0, 2, 4), "f32")}, operations)


def mask_dtypes(case):
    for appended, promoted in case["dtypes"]:
        values = filled(appended, (2, 3))
        result = {"attention_mask": mask(filled(promoted, (2, 3)))}
        operation = {"op": "append_attention_mask", "attention_mask": mask(values), "result": result}
        write(f"{case['id']}_{appended}", "transformer_lens", {"0": entry((2, 0, 2, 4), "f32")}, [operation],
              mask(filled("i32", (2, 0))))


WRITERS = {"concatenate_to_cache": concatenate, "insert": insert, "insert_index": insert_values,
           "insert_starts": insert_values, "prefill_then_decode": attention, "append": append,
           "attention": append, "append_errors": append_errors, "append_attention_mask": mask_dtypes}

for group in ("easydel_cache", "easydel_attention", "transformerlens"):
    for case in json.loads((HERE / f"{group}.json").read_text()):
        if case["op"] in WRITERS:
            WRITERS[case["op"]](case)
