#!/usr/bin/python3
"""Fails on an #include that goes against the layers of HACKING.md.

    layers.py ROOT        ROOT: the folder that holds src/ and include/
"""
import pathlib
import re
import sys

# layer -> the layers it may include besides itself and include/kvtape/.
ALLOWED = {
    "core": set(),
    "kernels": set(),
    "systems": {"core", "kernels"},
    "io": {"systems", "core", "kernels"},
    "hdf5": {"io", "core"},
    "ops": {"systems", "core", "kernels"},
    "report": {"ops", "core", "kernels"},
    "cli": {"report", "ops", "io", "systems", "core", "kernels"},
}
# Headers of a library that only some files may include.
FENCED = {
    r"hdf5|H5\w+\.h": ("src/hdf5/",),
    r"CLI/": ("src/cli/",),
    r"nlohmann/": ("src/io/", "src/report/", "include/kvtape/serialize.h"),
    r"immintrin|cpuid|x86intrin": ("src/kernels/",),
}
INCLUDE = re.compile(r'\s*#\s*include\s*([<"])([^>"]+)[>"]')


def problems(root):
    for path in sorted([*root.glob("src/**/*"), *root.glob("include/**/*")]):
        if path.suffix not in (".cc", ".h"):
            continue
        name = path.relative_to(root).as_posix()
        layer = name.split("/")[1] if name.startswith("src/") else "public"
        for number, line in enumerate(path.read_text().splitlines(), 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            target, where = match[2], f"{name}:{number}"
            for pattern, homes in FENCED.items():
                if re.match(pattern, target) and not name.startswith(homes):
                    yield f"{where}: {target} belongs to {', '.join(homes)}"
            if match[1] == "<":
                continue
            other = target.split("/")[0]
            if layer == "public" and other != "kvtape":
                yield f"{where}: a public header includes {target}"
            elif layer in ALLOWED and other != "kvtape":
                if other != layer and other not in ALLOWED[layer]:
                    yield f"{where}: {layer} may not include {target}"


def main():
    found = list(problems(pathlib.Path(sys.argv[1])))
    print("\n".join(found))
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
