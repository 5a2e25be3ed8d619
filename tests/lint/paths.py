#!/usr/bin/python3
"""Every path that README.md and HACKING.md name in backticks exists.

    paths.py ROOT

An x that stands for a name (`src/cli/cmd_x.cc`, `tests/cli/x/`) matches any;
a name without a folder (`scalar.cc`) may stand in any folder.
"""
import pathlib
import re
import sys

FOLDERS = r"(?:\.ci|include|man|src|testdata|tests)/[\w./-]*"
NAMES = r"[\w-]+\.(?:cc|h|py|sh|md|build|[1-8])"
PATH = re.compile(rf"(?:{FOLDERS}|{NAMES})$")
ANY = re.compile(r"(?<![a-zA-Z0-9])x(?![a-zA-Z0-9])")


def paths_of(text):
    for code in re.findall(r"`([^`\n]+)`", text):
        yield from filter(PATH.match, code.split())


def exists(root, path):
    pattern = ANY.sub("*", path.rstrip("/"))
    if "/" in path:
        return any(root.glob(pattern))
    return (root / path).exists() or any(
        any((root / part).rglob(pattern))
        for part in ("include", "man", "src", "tests"))


def main(root):
    root = pathlib.Path(root)
    found = 0
    missing = []
    for page in "README.md", "HACKING.md":
        for path in paths_of((root / page).read_text(encoding="utf-8")):
            found += 1
            if not exists(root, path):
                missing.append(f"{page}: no {path}")
    print("\n".join(missing), file=sys.stderr, end="\n" if missing else "")
    print(f"{found} paths, {len(missing)} missing")
    return 1 if missing or found == 0 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
