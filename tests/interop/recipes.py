#!/usr/bin/python3
"""Runs the recipes of kvtape-cache(5), as they stand there, on stand-ins for
the objects of the three systems, and reads the files with kvtape.

    recipes.py KVTAPE MANUAL
"""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import types
import unittest

import numpy as np

KVTAPE, MANUAL = sys.argv[1], pathlib.Path(sys.argv.pop())
sys.argv.pop()
Record = types.SimpleNamespace


def recipes():
    text = MANUAL.read_text().split(".Sh RECIPES")[1].split(".Sh ")[0]
    found = re.findall(r"^\.Ss (\w+)\n.*?^\.Bd -literal\n(.*?)^\.Ed$", text, re.M | re.S)
    return {name: script.replace("\\e", "\\").replace("\\-", "-") for name, script in found}


def ramp(*shape, dtype=np.float32):
    return (np.arange(np.prod(shape)) % 256 / 4).astype(dtype).reshape(shape)


def bits(a):
    return (a.astype("<f4").view("<u4") >> 16).astype("<u2")


class Recipes(unittest.TestCase):
    def run_recipe(self, name, modules=None, **objects):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        script, before = recipes()[name], os.getcwd()
        os.chdir(folder.name)
        sys.modules.update(modules or {})
        try:
            exec(compile(script, f"recipe for {name}", "exec"), objects)
        finally:
            os.chdir(before)
            for module in modules or {}:
                del sys.modules[module]
        path = pathlib.Path(folder.name) / "cache.h5"
        valid = subprocess.run([KVTAPE, "validate", path], capture_output=True, text=True)
        self.assertEqual(valid.returncode, 0, valid.stdout + valid.stderr)
        info = subprocess.run([KVTAPE, "info", "--json", path], capture_output=True, text=True, check=True)
        return json.loads(info.stdout)["files"][0]

    def test_there_are_three(self):
        self.assertEqual(set(recipes()), {"EasyDeL", "penzai", "TransformerLens"})

    def test_easydel(self):
        metadata = Record(batch_size=2, sequence_length=8, num_hidden_layers=2, pad_token_id=0, num_heads=2, head_dim=4,
                          key_heads=2, value_heads=2, key_dim=4, value_dim=4, update_causal_mask=True,
                          create_attention_bias=True)
        view = Record(metadata=metadata, key=ramp(2, 8, 2, 4), value=ramp(2, 8, 2, 4, dtype=np.float16),
                      index=np.array([5, 5], np.int32), starts=np.array([0, 2], np.int32))
        info = self.run_recipe("EasyDeL", cache=Record(views=[view, view]))
        self.assertEqual(info["source"], "easydel")
        self.assertEqual(len(info["layers"]), 2)
        self.assertEqual(info["metadata"]["sequence_length"], 8)
        self.assertEqual(info["layers"][0]["key"]["shape"], [2, 8, 2, 4])
        self.assertEqual(info["layers"][0]["value"]["dtype"], "f16")

    def test_penzai(self):
        class Named:
            """A named array whose axes stand in the order of its names."""

            def __init__(self, **axes):
                self.named_shape = {"heads" if n == "head_groups" else n: s for n, s in axes.items()}
                self.data = ramp(*axes.values())

            def unwrap(self, *names):
                order = list(self.named_shape)
                return self.data.transpose([order.index(n) for n in names])

        cache = tuple(Named(outer=2, inner=3, heads=2, projection=4, seq=8) for _ in range(2))
        tokens = Named(outer=2, inner=3, seq=8)
        tokens.data = tokens.data.astype(np.int32)
        variables = {"sampler/cache_0": cache, "sampler/cache_1": cache, "sampler/cache_end_index": np.int32(5),
                     "sampler/previous_tokens": tokens}
        penzai = types.ModuleType("penzai")
        penzai.pz = Record(unbind_state_vars=lambda m: (m, [Record(label=k, value=v) for k, v in variables.items()]))
        info = self.run_recipe("penzai", {"penzai": penzai},
                               model=Record(batch_axes={"outer": 2, "inner": 3}, cache_len=8, pad_id=0))
        self.assertEqual(info["metadata"]["batch_size"], 6)
        key = info["layers"][1]["key"]
        self.assertEqual(key["axes"], ["batch", "batch", "head", "dim", "position"])
        self.assertEqual(key["axis_names"], ["outer", "inner", "heads", "projection", "seq"])

    def test_transformer_lens(self):
        class Fake:
            """As much of a torch tensor as the recipe uses."""

            def __init__(self, array, dtype):
                self.array, self.dtype, self.shape = array, dtype, array.shape

            def view(self, dtype):
                return Fake(self.array.view(dtype), dtype)

            def cpu(self):
                return self

            def numpy(self):
                return self.array

        torch = types.ModuleType("torch")
        torch.bfloat16, torch.int16 = "bfloat16", np.int16
        key = Fake(bits(ramp(2, 5, 2, 4)), torch.bfloat16)
        cache = Record(entries=[Record(past_keys=key, past_values=key, frozen=False)] * 3,
                       previous_attention_mask=Fake(np.ones((2, 5), np.int64), "int64"))
        cfg = Record(n_key_value_heads=2, n_heads=4, n_ctx=64, d_head=4, attn_scale=2.0, attn_scores_soft_cap=-1.0,
                     positional_embedding_type="rotary", rotary_dim=4, rotary_base=10000, rotary_adjacent_pairs=False)
        info = self.run_recipe("TransformerLens", {"torch": torch}, cache=cache, model=Record(cfg=cfg))
        self.assertEqual(info["layers"][2]["key"]["dtype"], "bf16")
        self.assertEqual(info["layers"][2]["layout"], "growing")
        self.assertFalse(info["resolved"]["keys_rotated"])
        self.assertEqual(info["resolved"]["query_heads"], 4)
        self.assertEqual(info["attention_mask"]["shape"], [2, 5])


if __name__ == "__main__":
    unittest.main(verbosity=2)
