"""Documents of JSON to damage: small caches that use every part of the format.

Written from man/kvtape-json.5 and nothing else: no code of the program is used.
"""
import base64
import json
import struct

METADATA = {"batch_size": 2, "sequence_length": 3, "num_hidden_layers": 2,
            "pad_token_id": 0, "num_heads": 2, "head_dim": 4, "key_heads": 1,
            "value_heads": 1, "key_dim": 4, "value_dim": 4,
            "update_causal_mask": True, "create_attention_bias": False}
AXES = ["batch", "position", "head", "dim"]
FORMATS = {"f64": "d", "f32": "f", "f16": "e", "i64": "q", "i32": "i",
           "i16": "h", "i8": "b", "u64": "Q", "u32": "I", "u16": "H",
           "u8": "B", "bool": "?"}


def tensor(dtype, shape, axes, data, **more):
    return {"dtype": dtype, "shape": shape, "axes": axes, **more,
            "encoding": "numbers", "data": data}


def in_base64(dtype, shape, axes, data):
    text = base64.b64encode(struct.pack(f"<{len(data)}{FORMATS[dtype]}", *data))
    return {"dtype": dtype, "shape": shape, "axes": axes,
            "encoding": "base64", "data": text.decode()}


def rows(data, dtype="i32"):
    return tensor(dtype, [2], ["batch"], data)


def ramp(count, step=0.25):
    return [i * step - 1 for i in range(count)]


def quantized(scheme):
    small = scheme == "nf4"
    parts = {"data": tensor("u8" if small else "i8", [12 if small else 24], [],
                            [i % 100 for i in range(12 if small else 24)]),
             "absmax" if small else "scale":
                 tensor("f32", [6], [], ramp(6, 0.5))}
    return {"dtype": "f32", "shape": [2, 3, 1, 4], "axes": AXES,
            "quantization": {"scheme": scheme, "block_size": 4}, **parts}


def layer(number):
    shape = [2, 3, 1, 4]
    key = tensor("f32", shape, AXES, ramp(24))
    value = in_base64("f16", shape, AXES, ramp(24))
    if number == 1:
        key, value = quantized("8bit"), quantized("nf4")
    return {"layer_index": number, "window": 0, "frozen": False,
            "layout": "linear", "index": rows([3, 2]), "starts": rows([0, 1]),
            "key": key, "value": value}


def document():
    nan = tensor("f32", [3], ["other"], ["NaN", "Infinity", -0.0])
    nan["nan_payloads"] = [[0, "ffc00001"]]
    nan["data"] = nan.pop("data")
    everything = {name: tensor(name, [2], [], [False, True] if name == "bool"
                               else [0, 1]) for name in (*FORMATS, "bf16")}
    return {
        "schema": "kvtape.dump/1", "format_version": 1, "source": "easydel",
        "producer": "somebody", "model": "a \u00e9 \U0001f600 \\ \" model",
        "metadata": METADATA,
        "attention": {"query_heads": 2, "softmax_scale": 0.5},
        "rotary": {"style": "half", "theta": 10000.0, "inv_freq":
                   tensor("f64", [2], [], [1.0, 0.01])},
        "layers": {"0": layer(0), "1": layer(1)},
        "attention_mask": tensor("bool", [2, 3], ["batch", "position"],
                                 [True, True, True, False, True, True]),
        "tokens": tensor("i64", [2, 3], ["batch", "position"],
                         [1, 2, 2 ** 53 + 1, 0, 4, 5]),
        "trace": {"keys_in": "cache",
                  "step_lengths": tensor("i32", [1], ["step"], [1]),
                  "layers": {"0": {"query": tensor("f32", [2, 1, 2, 4],
                                                   ["batch", "token", "head",
                                                    "dim"], ramp(16))}}},
        "extra": {"list": [1, 2, 3], "none": None, "nan": nan, **everything},
    }


def without_values(encoding="summary"):
    summary = {"count": 24, "min": -1.0, "max": 4.75, "mean": 1.875,
               "std": 1.0, "zeros": 1, "nan": 0, "inf": 0, "digest": "xxh3:0"}
    key = {"dtype": "f32", "shape": [2, 3, 1, 4], "axes": AXES,
           "encoding": encoding, **(summary if encoding == "summary" else {})}
    packed = {"dtype": "f16", "shape": [2, 3, 1, 4], "axes": AXES,
              "quantization": {"scheme": "8bit", "block_size": 4},
              "encoding": encoding}
    return {"schema": "kvtape.dump/1", "format_version": 1,
            "metadata": METADATA,
            "layers": {"0": {"key": key, "value": packed}}}


def texts():
    """Name and text of each document."""
    return {"document": json.dumps(document(), indent=1),
            "summary": json.dumps(without_values(), indent=1),
            "none": json.dumps(without_values("none")),
            "metadata": json.dumps(METADATA)}
