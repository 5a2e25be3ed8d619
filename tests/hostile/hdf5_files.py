"""Cache files for the battery of HDF5: whole ones in four layouts, and ones
that no honest program writes."""
import os
import struct

import h5py
import numpy as np

LAYOUTS = {
    "old": dict(libver="earliest", gzip=False, fletcher=False),
    "new": dict(libver="latest", gzip=False, fletcher=False),
    "old-gzip": dict(libver="earliest", gzip=True, fletcher=False),
    "new-gzip": dict(libver="latest", gzip=True, fletcher=True),
}


def copy_attributes(source, target):
    for name, value in source.attrs.items():
        target.attrs[name] = value


def rewrite(source, target, libver, gzip, fletcher):
    """The same cache in another layout, its digests with it."""
    with h5py.File(source, "r") as old, \
            h5py.File(target, "w", libver=libver) as new:
        copy_attributes(old, new)

        def visit(name, item):
            if isinstance(item, h5py.Group):
                made = new.require_group(name)
            else:
                kind = {}
                if gzip and item.ndim:
                    kind = dict(chunks=tuple(max(1, (n + 1) // 2)
                                             for n in item.shape),
                                compression=4, shuffle=True,
                                fletcher32=fletcher)
                made = new.create_dataset(name, data=item[()],
                                          dtype=item.dtype, **kind)
            copy_attributes(item, made)

        old.visititems(visit)


def places_of_data(path):
    """Ranges of bytes that hold elements."""
    ranges = []
    with h5py.File(path, "r") as file:
        def visit(_, item):
            if not isinstance(item, h5py.Dataset):
                return
            if item.chunks is None:
                offset = item.id.get_offset()
                if offset is not None:
                    ranges.append((offset, offset + item.id.get_storage_size()))
                return
            for index in range(item.id.get_num_chunks()):
                info = item.id.get_chunk_info(index)
                ranges.append((info.byte_offset, info.byte_offset + info.size))

        file.visititems(visit)
    return ranges


def mutants(path, count, rng):
    """Damaged copies: (what was done, bytes)."""
    data = open(path, "rb").read()
    ranges = places_of_data(path)
    payload = [at for begin, end in ranges for at in range(begin, end)]
    inside = set(payload)
    headers = [at for at in range(len(data)) if at not in inside]
    words = [0, 1, 0x7f, 0x80, 0xff, 0xffff, 0x7fffffff, 0xffffffff,
             2**31, 2**32, 2**62, 2**63 - 1, 2**63, 2**64 - 1]
    for _ in range(count):
        copy = bytearray(data)
        how = rng.choices(["byte", "bytes", "bit", "word", "cut", "swap"],
                          [5, 3, 2, 5, 1, 1])[0]
        at = rng.choice(headers)
        if how == "byte":
            copy[at] = rng.randrange(256)
        elif how == "bytes":
            for offset in range(rng.randrange(2, 9)):
                if at + offset < len(copy):
                    copy[at + offset] = rng.randrange(256)
        elif how == "bit":
            at = rng.choice(payload)
            copy[at] ^= 1 << rng.randrange(8)
        elif how == "word":
            size = rng.choice([2, 4, 8])
            value = rng.choice(words) & (256**size - 1)
            copy[at:at + size] = value.to_bytes(size, "little")
        elif how == "cut":
            at = rng.randrange(len(copy))
            del copy[at:]
        else:
            other = rng.choice(headers)
            copy[at:at + 8], copy[other:other + 8] = (copy[other:other + 8],
                                                      copy[at:at + 8])
        yield f"{how} at {at}", bytes(copy)


# ---- files that the library itself can write, and no cache is

def cache(file):
    """What makes a file look like a cache before anything else is seen."""
    file.attrs["format"] = "kvtape"
    file.attrs["format_version"] = 1
    file.require_group("metadata").attrs.update(
        batch_size=1, sequence_length=4, num_hidden_layers=1, num_heads=2,
        head_dim=8, pad_token_id=0)
    return file.require_group("layers").require_group("0")


def texts_of_one_object(folder, made, count, length):
    """Each text of a list is the same long one: it is in the file once."""
    name = f"texts-of-one-object-{count}-{length}"
    path = os.path.join(folder, name + ".h5")
    with h5py.File(path, "w", libver="earliest") as file:
        cache(file)
        file.attrs["source"] = ["x" * length] + ["y"] * (count - 1)
    data = open(path, "rb").read()
    heap = struct.pack("<IQ", length, data.rindex(b"GCOL", 0, data.index(b"xx")))
    at = data.index(heap)
    text = data[at:at + 16]  # its length, and where it is
    with open(path, "wb") as file:
        file.write(data[:at] + count * text + data[at + count * len(text):])
    made.append((name, path))


def hostile(folder, canary):
    """(name, path) of each; `canary` is a file that must never be opened."""
    made = []

    def make(name, fill, **options):
        path = os.path.join(folder, name + ".h5")
        try:
            with h5py.File(path, "w", **options) as file:
                fill(file)
            made.append((name, path))
        except (OSError, ValueError, RuntimeError, TypeError, KeyError) as error:
            print(f"{name}: cannot be made: {error}")

    def external_link(file):
        cache(file)["key"] = h5py.ExternalLink(canary, "/layers/0/key")

    def soft_link(file):
        cache(file)["key"] = h5py.SoftLink("/nowhere")

    def link_to_itself(file):
        file["layers/0/key"] = h5py.SoftLink("/layers/0/key")
        cache(file)

    def circle(file):
        layer = cache(file)
        layer["again"] = file["layers"]

    def hard_root(file):
        cache(file)["root"] = file["/"]

    def external_storage(file):
        cache(file).create_dataset("key", (1, 4, 2, 8), "f4",
                                   external=[(canary, 0, 256)])

    def virtual(file):
        layout = h5py.VirtualLayout((1, 4, 2, 8), "f4")
        layout[...] = h5py.VirtualSource(canary, "/layers/0/key", (1, 4, 2, 8))
        cache(file).create_virtual_dataset("key", layout)

    def virtual_of_itself(file):
        layout = h5py.VirtualLayout((1, 4, 2, 8), "f4")
        layout[...] = h5py.VirtualSource(".", "/layers/0/key", (1, 4, 2, 8))
        cache(file).create_virtual_dataset("key", layout)

    def deep(levels):
        def fill(file):
            group = cache(file)
            for _ in range(levels):
                group = group.create_group("g")
        return fill

    def wide(count):
        def fill(file):
            group = cache(file)
            for number in range(count):
                group.create_group(f"g{number}")
        return fill

    def attribute_of_metadata(name, value):
        def fill(file):
            cache(file)
            file["metadata"].attrs[name] = value
        return fill

    def many_attributes(file):
        layer = cache(file)
        for number in range(2000):
            layer.attrs[f"a{number}"] = number

    def huge(shape, dtype="f4", **options):
        def fill(file):
            cache(file).create_dataset("key", shape, dtype, **options)
        return fill

    def bomb(file):
        key = cache(file).create_dataset("key", (1, 4096, 64, 1024), "f4",
                                         chunks=(1, 64, 64, 1024),
                                         compression=9)
        for first in range(0, 4096, 64):
            key[:, first:first + 64] = 0

    def of_type(dtype, data=None):
        def fill(file):
            cache(file).create_dataset("key", (4,), dtype, data=data)
        return fill

    def short_chunk(stored, mask, **options):
        def fill(file):
            key = cache(file).create_dataset("key", (1, 4, 2, 8), "f4",
                                             chunks=(1, 4, 2, 8), **options)
            key.id.write_direct_chunk((0, 0, 0, 0), stored, mask)
        return fill

    def missing_chunk(file):
        key = cache(file).create_dataset("key", (1, 8, 2, 8), "f4",
                                         chunks=(1, 4, 2, 8))
        key[:, :4] = 1

    def name_of(name):
        def fill(file):
            cache(file).create_dataset(name, data=np.zeros(4, "f4"))
            file["layers/0"].attrs["dtype"] = "\x1b[2J" + "\u202e" * 40
        return fill

    def attribute(value):
        def fill(file):
            cache(file)
            for key in ("source", "model", "producer"):
                file.attrs[key] = value
        return fill

    def named_type(file):
        cache(file)["key"] = np.dtype("f4")

    def compact(file):
        space = h5py.h5s.create_simple((16,))
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_layout(h5py.h5d.COMPACT)
        h5py.h5d.create(cache(file).id, b"key", h5py.h5t.IEEE_F32LE, space,
                        plist)

    make("external-link", external_link)
    make("soft-link", soft_link)
    make("soft-link-to-itself", link_to_itself)
    make("circle", circle)
    make("root-in-itself", hard_root)
    make("external-storage", external_storage)
    make("virtual", virtual, libver="latest")
    make("virtual-of-itself", virtual_of_itself, libver="latest")
    for levels in (16, 17, 200, 5000):
        make(f"depth-{levels}", deep(levels))
    for count in (1000, 20000, 100001):
        make(f"objects-{count}", wide(count), libver="latest")
    make("many-attributes", many_attributes, libver="latest")
    make("huge", huge((1, 2**40, 64, 128)))
    make("huge-product", huge((2**31, 2**31, 2**31)))
    make("huge-chunked", huge((2**20, 2**20, 2**20), chunks=(16, 16, 16)))
    make("huge-chunk", huge((1, 2**20, 8, 128), chunks=(1, 2**19, 8, 128)))
    make("zero", huge((1, 0, 2, 8)))
    make("rank-32", huge((1,) * 32))
    make("never-written", huge((1, 4, 2, 8)))
    make("unlimited", huge((1, 4, 2, 8), maxshape=(None,) * 4))
    make("bomb", bomb)
    make("scale-offset", huge((1, 4, 2, 8), "i4", chunks=True, scaleoffset=4))
    make("lzf", huge((1, 4, 2, 8), chunks=True, compression="lzf"))
    make("text", of_type(h5py.string_dtype()))
    make("fixed-text", of_type("S9"))
    make("compound", of_type(np.dtype([("a", "f4"), ("b", "i8")])))
    make("array", of_type(np.dtype(("f4", (3,)))))
    make("lists", of_type(h5py.vlen_dtype("f4")))
    make("reference", of_type(h5py.ref_dtype))
    make("region-reference", of_type(h5py.regionref_dtype))
    make("enum", of_type(h5py.enum_dtype({"a": 1, "b": 2})))
    make("complex", of_type("c8"))
    make("opaque", of_type(np.dtype("V7")))
    make("big-endian", of_type(">f4"))
    for bytes_ in (0, 1, 4, 255, 257):
        make(f"chunk-of-{bytes_}", short_chunk(b"x" * bytes_, 0))
    make("chunk-filter-skipped",
         short_chunk(b"x" * 4, 1, compression=4))
    make("chunk-not-deflated", short_chunk(b"x" * 100, 0, compression=4))
    make("chunk-mask-of-all",
         short_chunk(b"x" * 256, 0xffffffff, compression=4, shuffle=True))
    make("missing-chunk", missing_chunk)
    for number, name in enumerate(
            ["\x1b]0;owned\x07", "a\nb", "\u202eyek", "x" * 5000, "%n%s{}",
             "\"],}", "<script>alert(1)</script>", "..", "key\x7f", "\ufeffk"]):
        make(f"name-{number}", name_of(name))
    for number, value in enumerate(
            ["\x1b[31m", "x" * 60000, np.float64("nan"), -1, 2**63 - 1,
             np.uint64(2**64 - 1), np.arange(5000), b"\xff\xfe", "",
             h5py.Empty("f4"), np.array([1.5, 2.5]), True]):
        make(f"attribute-{number}", attribute(value))
    for name in ("batch_size", "sequence_length", "num_hidden_layers",
                 "num_heads", "head_dim"):
        for value in (0, -1, 2**31, 2**62, 2**63 - 1, 1.5, "1",
                      np.uint64(2**64 - 1)):
            make(f"{name}-{value}", attribute_of_metadata(name, value))
    for count, length in ((3000, 1000), (1000, 1_000_000), (1024, 131_072)):
        texts_of_one_object(folder, made, count, length)
    make("format", lambda file: cache(file) and
         file.attrs.create("format", np.arange(3)))
    make("named-type", named_type)
    make("compact", compact)
    for size in (0, 1, 7, 8, 47, 48, 96, 512, 4096):
        path = os.path.join(folder, f"signature-{size}.h5")
        with open(path, "wb") as file:
            file.write((b"\x89HDF\r\n\x1a\n" + b"\0" * 5000)[:size])
        made.append((f"signature-{size}", path))
    for version in range(256):
        path = os.path.join(folder, f"superblock-{version}.h5")
        with open(path, "wb") as file:
            file.write(b"\x89HDF\r\n\x1a\n" + bytes([version, 8, 8, 0]) +
                       struct.pack("<QQQQ", 0, 2**64 - 1, 128, 96) + b"\0" * 84)
        made.append((f"superblock-{version}", path))
    return made
