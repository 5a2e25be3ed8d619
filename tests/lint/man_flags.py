#!/usr/bin/python3
"""Holds every command's `--help` against its man page, in both directions.

    man_flags.py PROGRAM MAN     MAN: the folder of the pages

Every flag in the help has an entry in the page, every flag that the page names
exists, every page that a page refers to exists, and mandoc finds no fault.
"""
import pathlib
import re
import shutil
import subprocess
import sys

ROW = re.compile(r"^  (?:    )?(-\w|--[\w-]+)(?:, (--[\w-]+))?(?: |$)")


def help_of(program, *words):
    return subprocess.run([program, *words, "--help"], check=True, text=True,
                          stdout=subprocess.PIPE).stdout


def flags_of_help(text):
    rows = filter(None, map(ROW.match, text.splitlines()))
    return {flag for row in rows for flag in row.groups() if flag}


def commands_of_help(text):
    section = text.split("\ncommands:\n")[1].split("\n\n")[0]
    words = [line.split()[0] for line in section.splitlines()
             if re.match(r"  \S", line)]
    return [word for word in words if word != "help"]


def flags_of_line(line):
    """The flags of a macro line: `.It Fl q , Fl -quiet`, `.Op Fl qv`."""
    words = line.split()
    for place, word in enumerate(words[:-1]):
        if word.lstrip(".") == "Fl":
            name = words[place + 1]
            if name.startswith("-"):
                yield "-" + name
            else:
                yield from ("-" + letter for letter in name)


def flags_of_page(text):
    entries, named = set(), set()
    for line in text.splitlines():
        if line.startswith("."):
            flags = set(flags_of_line(line))
            named |= flags
            if line.startswith(".It "):
                entries |= flags
    return entries, named


def lint(page):
    if not shutil.which("mandoc"):
        return
    text = subprocess.run(["mandoc", "-T", "lint", "-W", "style", page],
                          text=True, stdout=subprocess.PIPE).stdout
    for line in text.splitlines():
        # Whether the other pages are installed here does not matter.
        if "referenced manual not found" not in line:
            yield line


def references(page, man):
    for name, section in re.findall(r"^\.Xr (\S+) (\d)", page.read_text(),
                                    re.MULTILINE):
        if name.startswith("kvtape") and not (man / f"{name}.{section}").exists():
            yield f"{page.name}: refers to {name}({section}), which is not there"


def problems_of_command(page, flags, every_flag):
    if not page.exists():
        yield f"{page.name}: is not there"
        return
    entries, named = flags_of_page(page.read_text())
    for flag in sorted(flags - entries):
        yield f"{page.name}: {flag} of --help has no entry"
    for flag in sorted(named - every_flag):
        yield f"{page.name}: {flag} is no flag"
    for flag in sorted(entries - flags if page.name != "kvtape.1" else ()):
        yield f"{page.name}: {flag} is no flag of this command"


def problems(program, man):
    root = help_of(program)
    flags = {"kvtape.1": flags_of_help(root)}
    for command in commands_of_help(root):
        flags[f"kvtape-{command}.1"] = flags_of_help(help_of(program, command))
    every_flag = set().union(*flags.values())
    for name, own in flags.items():
        yield from problems_of_command(man / name, own, every_flag)
    for page in sorted(man.glob("*.[1-9]")):
        yield from references(page, man)
        yield from lint(page)


def main():
    found = list(problems(sys.argv[1], pathlib.Path(sys.argv[2])))
    print("\n".join(found))
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
