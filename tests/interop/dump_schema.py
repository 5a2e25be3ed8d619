#!/usr/bin/python3
"""Checks what `kvtape dump` writes against its schema, and the schema against
damage.

    dump_schema.py KVTAPE SCHEMA FILE...     further caches, folders of them

In tensors and in the metadata no member may have another name or be missing.
"""
import copy
import json
import pathlib
import subprocess
import sys
import tempfile

try:
    from jsonschema import Draft202012Validator
except ImportError:
    sys.exit(77)

SAMPLES = [
    ["--batch-size", "2", "--padding", "left"],
    ["--dtype", "bf16", "--stacked", "--layout", "ring", "--window", "16"],
    ["--quantization", "nf4", "--dtype", "bf16"],
    ["--quantization", "8bit"],
    ["--layout", "growing", "--filled", "0"],
    ["--flaw", "nan"],
]
KINDS = [["--values", "none"], [], ["--values", "all"],
         ["--encoding", "base64", "--indent", "0"]]
# What may be left out.
OPTIONAL = {"axis_names", "attributes", "nan_payloads", "block_size",
            "quantization"}


def dump(kvtape, path, *options):
    text = subprocess.run([kvtape, "dump", path, *options], check=True,
                          stdout=subprocess.PIPE).stdout
    # parse_constant is called for NaN and Infinity, which are not JSON.
    return json.loads(text, parse_constant=lambda word: 1 / 0)


def fixed_objects(value, path=()):
    """The paths of all objects whose members the schema fixes."""
    if not isinstance(value, dict) or path[-1:] == ("attributes",):
        return
    if "dtype" in value or path[-1:] in (("metadata",), ("quantization",)):
        yield path
    for key, item in value.items():
        yield from fixed_objects(item, path + (key,))


def damaged(document, path, key):
    """Copies with a member that is called something else, and without it."""
    for name in (key + "_", None):
        copied = copy.deepcopy(document)
        holder = copied
        for step in path:
            holder = holder[step]
        item = holder.pop(key)
        if name:
            holder[name] = item
        has_data = key == "digest" and "data" in holder
        if name is None and (key in OPTIONAL or has_data):
            continue
        yield copied


def problems(validator, document, name, seen):
    for error in validator.iter_errors(document):
        yield f"{name}: {list(error.path)}: {error.message[:200]}"
    for path in fixed_objects(document):
        holder = document
        for step in path:
            holder = holder[step]
        shape = (path[-1:] == ("metadata",), tuple(holder))
        if shape in seen:
            continue
        seen.add(shape)
        for key in holder:
            if any(map(validator.is_valid, damaged(document, path, key))):
                yield f"{name}: {list(path)}: {key} may be anything"


def main():
    kvtape, schema, *names = sys.argv[1:]
    files = [path for name in map(pathlib.Path, names) for path in
             (sorted(name.rglob("*.h5")) if name.is_dir() else [name])]
    schema = json.loads(pathlib.Path(schema).read_text())
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    found, seen = [], set()
    with tempfile.TemporaryDirectory() as folder:
        for number, options in enumerate(SAMPLES):
            files.append(f"{folder}/{number}.h5")
            subprocess.run([kvtape, "sample", "-q", *options, files[-1]],
                           check=True)
        for path in files:
            for kind in KINDS:
                found += problems(validator, dump(kvtape, path, *kind),
                                  f"{pathlib.Path(path).name} {kind}", seen)
    print("\n".join(found))
    return 1 if found else 0


sys.exit(main())
