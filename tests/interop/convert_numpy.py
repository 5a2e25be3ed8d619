#!/usr/bin/python3
"""`kvtape convert` against numpy and h5py: parts, orders of axes, dtypes, JSON.

    convert_numpy.py KVTAPE
"""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

import h5py
import numpy as np

KVTAPE = sys.argv.pop()
WORDS = ["batch", "position", "head", "dim"]
SIZES = dict(zip(WORDS, (3, 20, 4, 6)))
ORDERS = ["batch,position,head,dim", "batch,head,position,dim",
          "dim,head,position,batch", "position,dim,batch,head"]


def canonical(dataset):
    """The numbers in the order of WORDS, whatever the dataset's is."""
    axes = dataset.attrs.get("axes", ",".join(WORDS)).split(",")
    return np.transpose(dataset[...], [axes.index(word) for word in WORDS])


def bits16(numbers):
    """bf16 of f32: to nearest, ties to even, on the bits."""
    bits = numbers.astype("<f4").view("<u4")
    odd = (bits >> 16) & 1
    rounded = ((bits.astype("u8") + 0x7fff + odd) >> 16 << 16).astype("<u4")
    return rounded.view("<f4")


class Converts(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.random = np.random.default_rng(7)

    def convert(self, name, out, *options):
        done = subprocess.run(
            [KVTAPE, "convert", "--force", self.folder / name,
             self.folder / out, *options],
            capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def opened(self, name):
        file = h5py.File(self.folder / name)
        self.addCleanup(file.close)
        return file

    def write(self, name, order, dtype="<f4", **how):
        words = order.split(",")
        numbers = {}
        with h5py.File(self.folder / name, "w") as file:
            file.attrs.update(format="kvtape", format_version=1)
            file.create_group("metadata").attrs.update(
                batch_size=SIZES["batch"], sequence_length=SIZES["position"],
                num_hidden_layers=3, num_heads=4, head_dim=6,
                pad_token_id=0)
            for layer in range(3):
                for what in ("key", "value"):
                    path = f"layers/{layer}/{what}"
                    data = self.random.standard_normal(
                        [SIZES[word] for word in words]).astype(dtype)
                    file.create_dataset(path, data=data, **how).attrs["axes"] = order
                    numbers[path] = canonical(file[path])
                file[f"layers/{layer}/index"] = np.array([20, 11, 0], "<i4")
        return numbers

    def check_same(self, numbers, name, change=lambda a: a):
        file = self.opened(name)
        for path, expected in numbers.items():
            np.testing.assert_array_equal(canonical(file[path]), change(expected))
        file.close()

    def test_axes(self):
        for order in ORDERS:
            numbers = self.write("a.h5", order)
            for other in ORDERS:
                with self.subTest(order=order, other=other):
                    self.convert("a.h5", "b.h5", "--axes", other)
                    self.check_same(numbers, "b.h5")
                    file = self.opened("b.h5")
                    key = file["layers/0/key"]
                    self.assertEqual(key.shape, tuple(SIZES[word] for word in other.split(",")))
                    file.close()

    def test_dtypes(self):
        for order in ORDERS[:2]:
            numbers = self.write("a.h5", order, chunks=True, compression="gzip")
            for word, change in {
                    "f64": lambda a: a.astype("<f8"),
                    "f32": lambda a: a,
                    "f16": lambda a: a.astype("<f2"),
                    "bf16": bits16}.items():
                with self.subTest(order=order, dtype=word):
                    out = self.convert("a.h5", "b.h5", "--dtype", word, "--json")
                    self.check_same(numbers, "b.h5", change)
                    report = json.loads(out)["rounding"]
                    errors = [np.abs(change(a).astype("f8") - a) for a in numbers.values()]
                    self.assertEqual(report["largest"], max(e.max() for e in errors))
                    self.assertEqual(report["changed"], sum(int((e > 0).sum()) for e in errors))

    def test_f64_rounds_once(self):
        """Not by way of f32, which would round halves twice."""
        numbers = self.write("a.h5", ORDERS[0], dtype="<f8")
        self.convert("a.h5", "b.h5", "--dtype", "f16")
        self.check_same(numbers, "b.h5", lambda a: a.astype("<f2"))
        self.convert("a.h5", "b.h5", "--dtype", "f32")
        self.check_same(numbers, "b.h5", lambda a: a.astype("<f4"))

    def test_parts(self):
        slices = {"row": (0, 3), "position": (1, 20), "head": (2, 4)}
        for trial in range(30):
            numbers = self.write("a.h5", ORDERS[trial % len(ORDERS)])
            index, text = [slice(None)] * 4, []
            for word, (axis, size) in slices.items():
                if self.random.integers(2):
                    first = int(self.random.integers(size))
                    last = int(self.random.integers(first, size)) + 1
                    index[axis] = slice(first, last)
                    text.append(f"{word}={first}:{last}")
            layer = int(self.random.integers(3))
            text.append(f"layer={layer}")
            with self.subTest(select=text):
                self.convert("a.h5", "b.h5", "--select", ",".join(text))
                file = self.opened("b.h5")
                self.assertEqual(list(file["layers"]), ["0"])
                for what in ("key", "value"):
                    np.testing.assert_array_equal(
                        canonical(file[f"layers/0/{what}"]),
                        numbers[f"layers/{layer}/{what}"][tuple(index)])
                at = index[1]
                lengths = np.array([20, 11, 0])[index[0]]
                if at != slice(None):
                    lengths = np.clip(lengths - at.start, 0, at.stop - at.start)
                np.testing.assert_array_equal(file["layers/0/index"][...], lengths)
                self.assertEqual(file["metadata"].attrs["num_hidden_layers"], 1)
                self.assertEqual(subprocess.run(
                    [KVTAPE, "validate", "-q", self.folder / "b.h5"]).returncode, 0)
                file.close()

    def test_json(self):
        for dtype in ("<f8", "<f4", "<f2"):
            numbers = self.write("a.h5", ORDERS[1], dtype)
            self.convert("a.h5", "a.json")
            document = json.loads((self.folder / "a.json").read_text())
            tensor = document["layers"]["1"]["key"]
            data = np.array(tensor["data"], dtype).reshape(tensor["shape"])
            order = [tensor["axes"].index(word) for word in WORDS]
            np.testing.assert_array_equal(
                np.transpose(data, order), numbers["layers/1/key"])
            for encoding in ("numbers", "base64"):
                self.convert("a.h5", "b.json", "--encoding", encoding)
                self.convert("b.json", "b.h5")
                self.check_same(numbers, "b.h5")

    def test_compressed(self):
        numbers = self.write("a.h5", ORDERS[2])
        self.convert("a.h5", "b.h5", "--level", "9")
        self.check_same(numbers, "b.h5")
        key = self.opened("b.h5")["layers/0/key"]
        self.assertEqual((key.compression, key.compression_opts, key.shuffle, key.fletcher32),
                         ("gzip", 9, True, True))


if __name__ == "__main__":
    unittest.main()
