#!/usr/bin/python3
"""What kvtape writes, h5py reads: the same numbers, types and attributes.

    h5py_reads.py REWRITE FILES     FILES: the folder that testdata/make.py filled
"""
import pathlib
import subprocess
import sys
import tempfile
import unittest

import h5py
import numpy as np

REWRITE, FILES = sys.argv[1], pathlib.Path(sys.argv.pop())
sys.argv.pop()
SAME = {"big_endian", "big_endian_chunked", "chunked", "compact", "contiguous", "empty_positions",
        "gzip_shuffle_fletcher32", "incompressible", "old_layout", "stack"}


def datasets(f):
    found = {}
    f.visititems(lambda name, o: found.update({name: o}) if isinstance(o, h5py.Dataset) else None)
    return found


class Reads(unittest.TestCase):
    def rewritten(self, name, *how):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = pathlib.Path(folder.name) / "out.h5"
        subprocess.run([REWRITE, FILES / f"{name}.h5", path, *how], check=True)
        f = h5py.File(path)
        self.addCleanup(f.close)
        return f

    def check_same(self, name, *how):
        new = self.rewritten(name, *how)
        with h5py.File(FILES / f"{name}.h5") as old:
            self.assertEqual(set(datasets(old)), set(datasets(new)))
            for path, data in datasets(old).items():
                with self.subTest(file=name, path=path, how=how):
                    self.assertEqual(data.dtype.newbyteorder("="), new[path].dtype.newbyteorder("="))
                    np.testing.assert_array_equal(data[...], new[path][...])
            for field, value in old["metadata"].attrs.items():
                if not isinstance(value, h5py.Empty):
                    self.assertEqual(value, new["metadata"].attrs[field])

    def test_same_numbers(self):
        for name in sorted(SAME):
            self.check_same(name)
            self.check_same(name, "compress")

    def test_everything_keeps_extras(self):
        f = self.rewritten("everything")
        self.assertEqual(f.attrs["note"], "kept")
        operation = f["trace/operations/0"].attrs
        self.assertEqual(operation["op"], "append")
        self.assertEqual(operation["at"], -1)
        self.assertEqual(operation["big"], 2**63)
        self.assertIsInstance(operation["none"], h5py.Empty)
        self.assertEqual(list(operation["list"]), [1, 2, 3])
        self.assertEqual(f["attention_mask"].dtype, np.dtype(bool))
        self.assertIs(f["rotary"].attrs["keys_rotated"].dtype, np.dtype(bool))
        self.assertEqual(f["layers/2/weights/query"].attrs["axes"], "embedding,head,dim")
        self.assertEqual(f["trace/operations/0/key"].shape, (2, 0, 2, 4))

    def test_bf16_is_a_float_of_16_bits(self):
        f = self.rewritten("bf16")
        for number in range(3):
            kind = f[f"layers/{number}/key"].id.get_type()
            self.assertEqual(kind.get_fields(), (15, 7, 8, 0, 7))
            self.assertEqual((kind.get_size(), kind.get_ebias()), (2, 127))
            np.testing.assert_array_equal(f[f"layers/{number}/key"][...].ravel(), np.arange(96) / 4)

    def test_layout(self):
        key = self.rewritten("contiguous")["layers/0/key"]
        self.assertIsNone(key.chunks)
        self.assertRegex(key.attrs["digest"], "^xxh3:[0-9a-f]{32}$")

    def test_compressed_large(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "large.h5"
            numbers = np.random.default_rng(3).standard_normal((2, 700, 4, 64)).astype("f4")
            with h5py.File(path, "w") as f:
                f.attrs.update(format="kvtape", format_version=1)
                f["layers/0/key"] = numbers
            subprocess.run([REWRITE, path, pathlib.Path(folder) / "out.h5", "compress"], check=True)
            with h5py.File(pathlib.Path(folder) / "out.h5") as f:
                key = f["layers/0/key"]
                self.assertTrue(key.shuffle and key.fletcher32 and key.compression == "gzip")
                np.testing.assert_array_equal(key[...], numbers)


if __name__ == "__main__":
    unittest.main(verbosity=2)
