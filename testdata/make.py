#!/usr/bin/python3
"""Writes the small cache files of tests/io: one for every way to store a tensor,
and one for everything that a reader must refuse.

    make.py FOLDER

The files are the same every time; their numbers are written out below, so that
the tests can compute them again.
"""
import pathlib
import sys

import h5py
import numpy as np

BATCH, POSITIONS, HEADS, DIM = 2, 6, 2, 4
METADATA = dict(batch_size=BATCH, sequence_length=POSITIONS, num_hidden_layers=1, pad_token_id=0,
                key_heads=HEADS, value_heads=HEADS, key_dim=DIM, value_dim=DIM)


def ramp(*shape):
    """0, 1/4, 2/4, ... : exact in every dtype used here up to 8 bits of mantissa."""
    return (np.arange(np.prod(shape, dtype=int)) % 256 / 4).reshape(shape)


def bits(a):
    """bf16 bit patterns of numbers that bf16 holds exactly."""
    return (a.astype("<f4").view("<u4") >> 16).astype("<u2")


def bf16_type():
    t = h5py.h5t.IEEE_F32LE.copy()
    t.set_fields(15, 7, 8, 0, 7)
    t.set_size(2)
    t.set_ebias(127)
    return t


def start(path, metadata=METADATA, **attributes):
    f = h5py.File(path, "w", libver="latest")
    f.attrs.update({"format": "kvtape", "format_version": 1, "source": "test", **attributes})
    f.create_group("metadata").attrs.update(metadata)
    return f


def layer(f, key=None, value=None, number=0, **how):
    g = f.create_group(f"layers/{number}", track_order=False)
    shape = (BATCH, POSITIONS, HEADS, DIM)
    g.create_dataset("key", data=ramp(*shape).astype("<f4") if key is None else key, **how)
    g.create_dataset("value", data=ramp(*shape).astype("<f4") if value is None else value, **how)
    g.create_dataset("index", data=np.array([6, 4], np.int32))
    g.create_dataset("starts", data=np.array([0, 1], np.int32))
    return g


def raw(group, name, dtype_id, array, shape=None):
    """A dataset of any HDF5 type, from bytes."""
    space = h5py.h5s.create_simple(shape or array.shape)
    d = h5py.h5d.create(group.id, name.encode(), dtype_id, space)
    d.write(h5py.h5s.ALL, h5py.h5s.ALL, np.ascontiguousarray(array), mtype=dtype_id)
    return h5py.Dataset(d)


FILES = {}


def file(make):
    FILES[make.__name__] = make
    return make


# ---- what a reader takes

@file
def contiguous(path):
    with start(path) as f:
        layer(f)


@file
def old_layout(path):
    with h5py.File(path, "w", libver="earliest", userblock_size=512) as f:
        f.attrs.update({"format": np.bytes_("kvtape"), "format_version": np.uint8(1)})
        f.create_group("metadata").attrs.update(METADATA)
        layer(f)


@file
def big_endian(path):
    shape = (BATCH, POSITIONS, HEADS, DIM)
    with start(path) as f:
        g = layer(f, ramp(*shape).astype(">f4"), ramp(*shape).astype(">f8"))
        del g["index"]
        g.create_dataset("index", data=np.array([6, 4], ">i8"))


@file
def big_endian_chunked(path):
    with start(path) as f:
        layer(f, ramp(BATCH, POSITIONS, HEADS, DIM).astype(">f2"), chunks=(1, 4, 2, 3), compression="gzip", shuffle=True)


@file
def bf16(path):
    shape = (BATCH, POSITIONS, HEADS, DIM)
    words = bits(ramp(*shape))
    with start(path, {**METADATA, "num_hidden_layers": 3}) as f:
        for number in range(3):
            g = f.create_group(f"layers/{number}")
            for name in ("key", "value"):
                if number == 0:
                    raw(g, name, bf16_type(), words)
                elif number == 1:
                    raw(g, name, h5py.h5t.create(h5py.h5t.OPAQUE, 2), words.view("V2"))
                else:
                    g.create_dataset(name, data=words).attrs["dtype"] = "bfloat16"


def chunked(name, libver, **how):
    def make(path):
        with h5py.File(path, "w", libver=libver) as f:
            f.attrs.update({"format": "kvtape", "format_version": 1})
            f.create_group("metadata").attrs.update(METADATA)
            layer(f, chunks=(1, 4, 2, 3), **how)
    FILES[name] = make


chunked("chunked", "earliest")
chunked("chunked_new", "latest")
chunked("gzip", "earliest", compression="gzip")
chunked("gzip_shuffle", "earliest", compression="gzip", shuffle=True)
chunked("gzip_shuffle_fletcher32", "latest", compression="gzip", shuffle=True, fletcher32=True)
chunked("fletcher32", "earliest", fletcher32=True)


@file
def incompressible(path):
    """Deflate is skipped where it does not help: the chunk's filter mask says so."""
    noise = np.random.default_rng(1).integers(0, 2**32, (BATCH, POSITIONS, HEADS, DIM), np.uint32).view("<f4")
    with start(path) as f:
        layer(f, noise, chunks=(1, 2, 1, 1), compression="gzip", fletcher32=True)


@file
def compact(path):
    with start(path) as f:
        g = layer(f)
        del g["key"]
        creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        creation.set_layout(h5py.h5d.COMPACT)
        a = ramp(BATCH, POSITIONS, HEADS, DIM).astype(">f4")
        d = h5py.h5d.create(g.id, b"key", h5py.h5t.py_create(a.dtype), h5py.h5s.create_simple(a.shape), creation)
        d.write(h5py.h5s.ALL, h5py.h5s.ALL, a)


@file
def axes(path):
    """penzai's memory order, two batch axes, multi-query values without heads."""
    with start(path, {**METADATA, "batch_size": 6}) as f:
        g = f.create_group("layers/0")
        key = g.create_dataset("key", data=ramp(2, 3, DIM, HEADS, POSITIONS).astype("<f4"))
        key.attrs.update({"axes": "outer, inner,dim,head,position", "axis_names": "outer,inner,projection,heads,seq"})
        value = g.create_dataset("value", data=ramp(2, 3, DIM, POSITIONS).astype("<f4"))
        value.attrs["axes"] = ["outer", "inner", "dim", "position"]
        g.create_dataset("index", data=np.zeros((2, 3), np.int32)).attrs["axes"] = "outer,inner"


@file
def stack(path):
    with start(path, {**METADATA, "num_hidden_layers": 3}) as f:
        g = f.create_group("stack")
        for name in ("key", "value"):
            d = g.create_dataset(name, data=ramp(BATCH, 3, POSITIONS, HEADS, DIM).astype("<f4"))
            d.attrs.update({"axes": "batch,layer,position,head,dim", "layers": [0, 2, 5]})
        for number in (0, 2, 5):
            f.create_group(f"layers/{number}").create_dataset("index", data=np.full(BATCH, number, np.int32))


@file
def quantized(path):
    rng = np.random.default_rng(2)
    with start(path) as f:
        g = f.create_group("layers/0")
        key = g.create_group("key")
        key.attrs.update({"quantization": "8bit", "shape": [BATCH, POSITIONS, HEADS, DIM], "dtype": "float32"})
        key.create_dataset("data", data=rng.integers(-127, 128, (BATCH, POSITIONS, HEADS, DIM)).astype(np.int8))
        key.create_dataset("scale", data=rng.random((BATCH, POSITIONS, HEADS, 1)).astype("<f4"))
        value = g.create_group("value")
        value.attrs.update({"quantization": "nf4", "block_size": 4, "shape": [BATCH, POSITIONS, HEADS, DIM], "dtype": "bfloat16"})
        value.create_dataset("data", data=rng.integers(0, 256, 48).astype(np.uint8), chunks=(20,))
        value.create_dataset("absmax", data=bits(ramp(24))).attrs["dtype"] = "bfloat16"
        final = f.create_group("final/layers/0/key")
        final.attrs.update(dict(key.attrs))
        final.create_dataset("data", data=key["data"][...], chunks=(2, 4, 1, 3), compression="gzip")
        final.create_dataset("scale", data=key["scale"][...])


@file
def empty_positions(path):
    shape = (BATCH, 0, HEADS, DIM)
    with start(path) as f:
        layer(f, np.zeros(shape, "<f4"), np.zeros(shape, "<f2")).attrs["layout"] = "growing"
        f.create_dataset("attention_mask", data=np.zeros((BATCH, 0), np.int64))


@file
def everything(path):
    """Every place of the format, and some that it does not know."""
    with start(path, {**METADATA, "num_hidden_layers": 11, "num_heads": 4, "head_dim": h5py.Empty("i8"), "update_causal_mask": True,
                      "create_attention_bias": 0}, producer="make.py", model="tiny", note="kept") as f:
        f.create_group("attention").attrs.update(dict(query_heads=4, softmax_scale=np.float32(0.5), logit_softcap=0, head_map="tile",
                                                      masked_rows="zeros", visibility="mask"))
        f.create_group("rotary").attrs.update(dict(keys_rotated=True, queries_rotated=0, style="half", dims=4, attention_factor=1.5))
        f["rotary"].create_dataset("inv_freq", data=np.array([1.0, 0.25], "<f4"))
        for number in (10, 2):
            g = layer(f, number=number)
            g.attrs.update(dict(layer_index=number, frozen=False, window=4, layout="ring", theta=10000.0, visibility="causal"))
            g.create_dataset("slot_position", data=np.full((BATCH, POSITIONS), -1, np.int16))
        f.create_group("layers/3")
        f["layers/2/weights/query"] = ramp(3, 4, DIM).astype("<f2")
        f["layers/2/weights/query"].attrs["axes"] = "embedding,head,dim"
        f["attention_mask"] = np.ones((BATCH, POSITIONS), bool)
        f["tokens"] = np.arange(12, dtype=np.uint16).reshape(BATCH, POSITIONS)
        t = f.create_group("trace")
        t.attrs["keys_in"] = "cache"
        t["step_lengths"] = np.array([2, 1], np.int32)
        t["start_index"] = np.array([3, 1], np.int64)
        t["attention_mask"] = np.ones((BATCH, 3, POSITIONS), np.uint8)
        t["token_mask"] = np.ones((BATCH, 3), bool)
        t["positions"] = np.arange(6, dtype=np.int32).reshape(BATCH, 3)
        for name in ("query", "output", "key", "value", "hidden", "output_projected"):
            t.create_dataset(f"layers/2/{name}", data=ramp(*((BATCH, 3, 4, DIM) if name[:3] != "hid" and "_" not in name else (BATCH, 3, 5))))
        t["layers/2/attention_mask"] = np.ones((BATCH, 3, POSITIONS), bool)
        t["layers/2/start_index"] = np.array([3, 1], np.int32)
        t.create_group("operations/0").attrs.update(dict(op="append", at=-1, big=np.uint64(2**63), none=h5py.Empty("f4"), list=[1, 2, 3]))
        t["operations/0/key"] = ramp(BATCH, 0, HEADS, DIM).astype("<f4")
        t.create_group("operations/0/result/layers/0")
        f.create_group("final")["attention_mask"] = np.ones((BATCH, POSITIONS), np.int32)
        f["final/layers/2/index"] = np.array([6, 4], np.int32)
        f["somebody/elses"] = np.arange(3)
        f["layers/2/keys"] = np.arange(3)
        f["layers/2"].attrs["windw"] = 3


# ---- what is a finding

@file
def findings(path):
    """One of each that the reader finds."""
    wrong = {"batch_size": "two", "num_hidden_layers": 1}  # sequence_length is missing
    with start(path, wrong) as f:
        f.create_group("attention").attrs.update(dict(visibility="casual", head_map=1, query_heads=2.5))
        g = layer(f)
        g["key"].attrs["axes"] = "batch,position,head"
        g["value"].attrs["axes"] = "batch,position,position,dim"
        g["index"].attrs["axis_names"] = "one,two"
        g.attrs["windw"] = 3
        g["keys"] = np.arange(3)
        q = f.create_group("layers/1/key")
        q.attrs.update({"quantization": "8bit", "shape": [1, 2, 3, 4], "dtype": "float32"})
        q["data"] = np.zeros(24, np.int8)
        q = f.create_group("layers/1/value")
        q.attrs.update({"quantization": "4bit"})
        f.create_group("layers/last")
        f["layers/2/key"] = ramp(2, 3, 4).astype("<f4")
        f["layers/2/value"] = ramp(2, 1, 3, 1, 4).astype("<f4")
        f["stack/key"] = ramp(2, 1, 2, 1, 4).astype("<f4")
        f["stack/key"].attrs["layers"] = [1, 1]
        f["rotary/inv_freq"] = np.arange(3)
        f["trace/layers/0/query"] = np.ones((1, 2, 3, 4), np.int32)


# ---- what is refused

@file
def refused_no_format(path):
    with h5py.File(path, "w", libver="latest") as f:
        f["x"] = np.arange(3)


@file
def refused_version(path):
    with start(path, format_version=2):
        pass


@file
def refused_soft_link(path):
    with start(path) as f:
        layer(f)
        f["layers/1"] = h5py.SoftLink("/layers/0")


@file
def refused_external_link(path):
    with start(path) as f:
        f["layers/0/key"] = h5py.ExternalLink("other.h5", "/layers/0/key")


@file
def refused_cycle(path):
    with start(path) as f:
        f["layers/0/again"] = f["/"]


@file
def refused_depth(path):
    with start(path) as f:
        f.create_group("/".join("abcdefghijklmnopqr"))


@file
def refused_type_compound(path):
    with start(path) as f:
        f["layers/0/key"] = np.zeros(3, [("a", "f4"), ("b", "i4")])


@file
def refused_type_text(path):
    with start(path) as f:
        f["layers/0/key"] = ["some", "words"]


@file
def refused_type_float24(path):
    t = h5py.h5t.IEEE_F32LE.copy()
    t.set_fields(23, 15, 8, 0, 15)
    t.set_size(3)
    with start(path) as f:
        raw(f.create_group("layers/0"), "key", t, np.zeros(30, np.uint8), (2, 5))


@file
def refused_type_packed(path):
    t = h5py.h5t.STD_I16LE.copy()
    t.set_precision(12)
    with start(path) as f:
        raw(f.create_group("layers/0"), "key", t, np.zeros(10, np.int16))


@file
def refused_type_enum(path):
    with start(path) as f:
        f.create_dataset("layers/0/key", data=np.zeros(3, np.int8), dtype=h5py.enum_dtype({"A": 0, "B": 1}, "i1"))


@file
def refused_type_named(path):
    with start(path) as f:
        f["layers/0/key"] = np.dtype("f4")


@file
def refused_attribute_reference(path):
    with start(path) as f:
        f["layers/0/key"] = ramp(2, 2)
        f["layers/0/key"].attrs["where"] = f["layers/0"].ref


@file
def refused_attribute_long(path):
    with start(path) as f:
        f.attrs["note"] = "x" * 70000


@file
def refused_attribute_texts(path):
    with start(path) as f:
        f.attrs["notes"] = ["x"] * 1025


@file
def refused_attribute_shape(path):
    """Neither a scalar nor an array nor None: libhdf5 takes any number for it."""
    with h5py.File(path, "w", libver="earliest") as f:
        f.attrs["kind"] = np.int8(1)
    data = path.read_bytes()
    at = data.index(b"kind\0\0\0\0") + 24  # behind the name and the type
    assert data[at:at + 4] == bytes([1, 0, 0, 0])
    path.write_bytes(data[:at] + bytes([2, 0, 0, 4]) + data[at + 4:])


@file
def refused_none(path):
    with start(path) as f:
        f["layers/0/key"] = h5py.Empty("f4")


@file
def refused_virtual(path):
    with start(path) as f:
        virtual = h5py.VirtualLayout((2, 3), "f4")
        virtual[0] = h5py.VirtualSource("other.h5", "x", (3,))
        f.create_group("layers/0").create_virtual_dataset("key", virtual)


@file
def refused_external_storage(path):
    with start(path) as f:
        f.create_group("layers/0").create_dataset("key", (3,), "f4", external=[("/etc/passwd", 0, 12)])


@file
def refused_never_written(path):
    with start(path) as f:
        f.create_group("layers/0").create_dataset("key", (BATCH, POSITIONS, HEADS, DIM), "f4")


@file
def refused_never_written_chunked(path):
    with start(path) as f:
        f.create_group("layers/0").create_dataset("key", (BATCH, POSITIONS, HEADS, DIM), "f4", chunks=True, compression="gzip")


@file
def refused_huge(path):
    """A gzip dataset of 4 TB, as its header says."""
    with h5py.File(path, "w", libver="earliest") as f:
        f.attrs.update({"format": "kvtape", "format_version": 1})
        d = f.create_group("layers/0").create_dataset("key", (1 << 20, 1 << 10, 1 << 10), "f4", chunks=(1, 1, 1024), compression="gzip")
        d[0, 0] = 1


@file
def refused_chunk(path):
    with start(path) as f:
        f.create_group("layers/0").create_dataset("key", (1 << 12, 1 << 13), "f4", chunks=(1 << 12, 1 << 13), compression="gzip")


@file
def refused_filter(path):
    with start(path) as f:
        f.create_group("layers/0").create_dataset("key", data=np.arange(64).reshape(8, 8), chunks=(8, 8), scaleoffset=8)


@file
def refused_no_heads(path):
    with start(path) as f:
        f.create_group("layers/0").create_dataset("key", data=np.zeros((BATCH, POSITIONS, 0, DIM), "f4"))


# ---- damage that shows when the numbers are read

@file
def damaged_missing_chunk(path):
    with start(path) as f:
        g = layer(f)
        del g["key"]
        d = g.create_dataset("key", (BATCH, POSITIONS, HEADS, DIM), "<f4", chunks=(1, POSITIONS, HEADS, DIM), compression="gzip")
        d[0] = 1


@file
def damaged_short_chunk(path):
    """A deflated stream that holds fewer bytes than the chunk."""
    import zlib
    with start(path) as f:
        g = layer(f)
        del g["key"]
        d = g.create_dataset("key", (BATCH, POSITIONS, HEADS, DIM), "<f4", chunks=(BATCH, POSITIONS, HEADS, DIM), compression="gzip")
        d.id.write_direct_chunk((0, 0, 0, 0), zlib.compress(b"abcd"))


@file
def damaged_skipped_filter(path):
    """A chunk whose mask says that deflate was skipped, and that is too short."""
    with start(path) as f:
        g = layer(f)
        del g["key"]
        d = g.create_dataset("key", (BATCH, POSITIONS, HEADS, DIM), "<f4", chunks=(BATCH, POSITIONS, HEADS, DIM), compression="gzip")
        d.id.write_direct_chunk((0, 0, 0, 0), b"abcd", 1)


@file
def damaged_checksum(path):
    FILES["fletcher32"](path)
    data = path.read_bytes()
    want = ramp(BATCH, POSITIONS, HEADS, DIM).astype("<f4")[:1, :4, :, :3].tobytes()
    at = data.index(want)
    path.write_bytes(data[:at] + b"\x01" + data[at + 1:])


@file
def damaged_short_unfiltered(path):
    """The size of an unfiltered chunk, as a version 1 B-tree tells it, made 4."""
    FILES["chunked"](path)
    data = bytearray(path.read_bytes())
    tree = data.index(b"TREE\x01")  # chunks of the key, 24 bytes of header
    size = int.from_bytes(data[tree + 24:tree + 28], "little")
    assert size == 1 * 4 * 2 * 3 * 4, size
    data[tree + 24:tree + 28] = (4).to_bytes(4, "little")
    path.write_bytes(data)


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    for name, make in FILES.items():
        make(out / f"{name}.h5")
    print(len(FILES), "files,", sum(p.stat().st_size for p in out.glob("*.h5")), "bytes")


if __name__ == "__main__":
    main()
