"""Our reading of HDF5 against libhdf5's: random datasets in caches, read by
H5Dread and by `dump`, written again by `convert`, also by way of JSON, and read
by H5Dread.

Every dataset that one of them reads is a comparison of all its bytes.
"""
import base64
import json
import math
import os
import random
import subprocess

import h5py
import numpy as np
from h5py import h5d, h5p, h5s, h5t

import tally

DATASETS = 30  # of a file
MOST = 3000  # elements of one
FIXED = {"f64": "IEEE_F64", "f32": "IEEE_F32", "f16": "IEEE_F16",
         "i64": "STD_I64", "i32": "STD_I32", "i16": "STD_I16", "i8": "STD_I8",
         "u64": "STD_U64", "u32": "STD_U32", "u16": "STD_U16", "u8": "STD_U8"}
# bf16 as a float, as opaque bytes, and as the integers that have its bits.
KINDS = [*FIXED, "bool", "bf16", "bf16 opaque", "bf16 integer"]


def type_of(kind, order):
    """How HDF5 spells a kind of elements; `order` is LE or BE."""
    if kind in FIXED:
        return getattr(h5t, FIXED[kind] + order)
    if kind == "bf16 integer":
        return getattr(h5t, "STD_U16" + order)
    if kind == "bf16 opaque":
        made = h5t.create(h5t.OPAQUE, 2)
        made.set_tag(b"bfloat16")
        return made
    if kind == "bool":
        made = h5t.enum_create(h5t.STD_I8LE)
        made.enum_insert(b"FALSE", 0)
        made.enum_insert(b"TRUE", 1)
        return made
    made = getattr(h5t, "IEEE_F32" + order).copy()
    made.set_fields(15, 7, 8, 0, 7)
    made.set_size(2)
    made.set_ebias(127)
    return made


def sizes_of(rng):
    """A shape of at most MOST elements, of 0 to 8 axes."""
    rank = rng.choice([0, 1, 1, 1, 2, 2, 3, 3, 4, 4, 4, 5, 6, 7, 8])
    sizes, left = [], rng.choice([60, MOST, MOST])
    for _ in range(rank):
        sizes.append(rng.randint(1, max(1, min(left, rng.choice(
            [2, 5, 9, 40, MOST])))))
        left //= sizes[-1]
    rng.shuffle(sizes)
    return tuple(sizes)


def elements_of(kind, shape, size, rng):
    """Bytes: any, few different ones that shrink, or one."""
    count = math.prod(shape)
    if kind == "bool":
        data = rng.choices([0, 1], k=count)
    elif rng.random() < 0.5:
        data = rng.randbytes(count * size)
    else:
        word = [rng.randbytes(size) for _ in range(rng.choice([1, 3, 20]))]
        data = b"".join(rng.choices(word, k=count))
    return np.frombuffer(bytes(data), "u1").reshape(*shape, size)


def plan_of(shape, rng):
    """How a dataset is laid out, and the axes' largest sizes."""
    plan = h5p.create(h5p.DATASET_CREATE)
    largest = list(shape)
    layout = rng.choices(["chunked", "contiguous", "compact"], [8, 1, 1])[0]
    if not shape or layout != "chunked":
        if layout == "compact" and math.prod(shape) < 500:
            plan.set_layout(h5d.COMPACT)
        return plan, largest
    largest = [h5s.UNLIMITED if rng.random() < 0.2 else size for size in shape]
    # A few chunks, up to more than a page of 256 of their places.
    most = rng.choice([2, 6, 30, 600])
    chunk = [rng.randint(max(1, size // most),
                         size + (3 if top == h5s.UNLIMITED else 0))
             for size, top in zip(shape, largest)]
    if rng.random() < 0.1 and len(shape) == 1:
        chunk = [rng.randint(1, min(2, *shape, 2))]
    plan.set_chunk(tuple(chunk))
    filters = [plan.set_shuffle, plan.set_fletcher32,
               lambda: plan.set_deflate(rng.randint(0, 9))]
    if rng.random() < 0.4:  # the order that most writers use is this one
        filters = [filters[0], filters[2], filters[1]]
    else:
        rng.shuffle(filters)
    for add in filters[:rng.randint(0, 3)]:
        add()
    if rng.random() < 0.3:
        plan.set_alloc_time(h5d.ALLOC_TIME_EARLY)
    return plan, largest


def boxes(shape, rng):
    """The parts in which a dataset is written: it, or halves in some order."""
    whole = [(0, size) for size in shape]
    if not shape or rng.random() < 0.5:
        return [whole]
    axis = rng.randrange(len(shape))
    middle = rng.randint(0, shape[axis])
    halves = []
    for begin, end in ((0, middle), (middle, shape[axis])):
        if begin < end:
            half = list(whole)
            half[axis] = (begin, end)
            halves.append(half)
    return rng.sample(halves, len(halves))


def write(data, values, memory_type, box):
    """Writes a part of a dataset, values being all of it."""
    if not box:
        data.write(h5s.ALL, h5s.ALL, values.copy(), memory_type)
        return
    part = np.ascontiguousarray(values[tuple(slice(*range_) for range_ in box)])
    start = tuple(begin for begin, _ in box)
    count = tuple(end - begin for begin, end in box)
    space = data.get_space()
    space.select_hyperslab(start, count)
    data.write(h5s.create_simple(count), space, part, memory_type)


def skip_filters(data, plan, rng):
    """One chunk again, stored without any filter, as its mask then says."""
    chunk = plan.get_chunk()
    origin = tuple(rng.randrange(-(-size // length)) * length
                   for size, length in zip(data.shape, chunk))
    size = data.get_type().get_size()
    stored = rng.choice([bytes(size), b"\1" * size]) * math.prod(chunk)
    data.write_direct_chunk(origin, stored, (1 << plan.get_nfilters()) - 1)


def add_dataset(group, name, kind, shape, rng):
    """A dataset of random elements and layout; all of it is written."""
    stored = type_of(kind, rng.choice(["LE", "BE"]))
    plan, largest = plan_of(shape, rng)
    space = h5s.create_simple(shape, tuple(largest)) if shape else h5s.create(
        h5s.SCALAR)
    data = h5d.create(group.id, name.encode(), stored, space, plan)
    values = elements_of(kind, shape, stored.get_size(), rng)
    for box in boxes(shape, rng):
        write(data, values, type_of(kind, "LE"), box)
    if kind == "bf16 integer":
        group[name].attrs["dtype"] = "bfloat16"
    growing = [axis for axis, size in enumerate(largest)
               if size == h5s.UNLIMITED and shape[axis] > 1]
    # Both would make libhdf5 1.10 look for checksums that it has not written.
    if plan.get_layout() == h5d.CHUNKED and plan.get_nfilters() and \
            rng.random() < 0.2:
        skip_filters(data, plan, rng)
    elif growing and name.startswith("d") and rng.random() < 0.5:
        smaller = list(shape)
        axis = rng.choice(growing)
        smaller[axis] = rng.randint(1, shape[axis] - 1)
        data.set_extent(tuple(smaller))


def make(path, rng):
    """A cache with random datasets; the kind of each by its path."""
    kinds = {}
    options = dict(libver=rng.choice(["earliest", "latest", ("earliest",
                                                             "v110")]))
    with h5py.File(path, "w", **options) as file:
        file.attrs.update(format="kvtape", format_version=1)
        heads, dims, slots = (rng.randint(1, top) for top in (3, 8, 20))
        file.create_group("metadata").attrs.update(
            batch_size=1, sequence_length=slots, num_hidden_layers=1,
            num_heads=heads, head_dim=dims, pad_token_id=0)
        layer = file.create_group("layers/0")
        for name in ("key", "value"):
            kinds[f"layers/0/{name}"] = rng.choice(
                ["f64", "f32", "f16", "bf16", "bf16 opaque", "bf16 integer"])
            add_dataset(layer, name, kinds[f"layers/0/{name}"],
                        (1, slots, heads, dims), rng)
        extra = file.create_group("extra")
        for number in range(DATASETS - 2):
            kind = rng.choice(KINDS)
            kinds[f"extra/d{number}"] = kind
            add_dataset(extra, f"d{number}", kind, sizes_of(rng), rng)
    return kinds


def read_by_libhdf5(path, kinds):
    """Shape and bytes, little-endian, of each dataset as H5Dread gives them."""
    found = {}
    with h5py.File(path, "r") as file:
        for name, kind in kinds.items():
            data = file[name].id
            memory_type = type_of(kind, "LE")
            if kind == "bf16 integer" and data.get_type().get_class() != \
                    h5t.INTEGER:
                memory_type = type_of("bf16", "LE")  # as kvtape writes it
            if kind == "bf16 opaque" and data.get_type().get_class() != \
                    h5t.OPAQUE:
                memory_type = type_of("bf16", "LE")
            out = np.empty((*data.shape, memory_type.get_size()), "u1")
            data.read(h5s.ALL, h5s.ALL, out, memory_type)
            found[name] = data.shape, out.tobytes()
    return found


def read_by_dump(text, kinds):
    """The same by the document that `dump` wrote."""
    document = json.loads(text)
    found = {}
    for name in kinds:
        tensor = document
        for part in name.split("/"):
            tensor = tensor[part]
        found[name] = tuple(tensor["shape"]), base64.b64decode(tensor["data"])
    return found


def compare(result, where, expected, found):
    for name, (shape, data) in expected.items():
        result.add("comparisons")
        if found[name][0] != shape:
            result.complain(f"{where} {name}", f"shape {found[name][0]}, not "
                            f"{shape}")
        elif found[name][1] != data:
            result.complain(f"{where} {name}", "silent change")


def job(program, folder, seed):
    """The tally of one file."""
    rng = random.Random(seed)
    result = tally.Tally()
    path = os.path.join(folder, "cache.h5")
    kinds = make(path, rng)
    expected = read_by_libhdf5(path, kinds)
    for words in (["dump", "--values", "all", "--encoding", "base64", path],
                  ["convert", path, f"{folder}/a.h5", "--compress"],
                  ["convert", path, f"{folder}/b.h5"],
                  ["convert", path, f"{folder}/numbers.json"],
                  ["convert", f"{folder}/numbers.json", f"{folder}/c.h5"]):
        done = subprocess.run([program, *words], capture_output=True,
                              timeout=60, check=False)
        where = f"chunks {seed} {words[0]}"
        if done.returncode:
            result.complain(where, f"status {done.returncode}: "
                            f"{done.stderr[:200]!r}")
        elif words[0] == "dump":
            compare(result, where, expected, read_by_dump(done.stdout, kinds))
        elif words[2].endswith(".h5"):
            compare(result, where, expected, read_by_libhdf5(words[2], kinds))
    return result
