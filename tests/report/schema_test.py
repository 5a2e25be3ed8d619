#!/usr/bin/python3
"""Checks JSON reports against their schemas, and the schemas against damage.

    schema_test.py SCHEMAS PROGRAM NAME...

PROGRAM NAME prints a report; the schema is SCHEMAS/NAME.1.json, NAME up to
its first dash. Each report must pass; with any key renamed it must not.
"""
import copy
import json
import pathlib
import subprocess
import sys

try:
    from jsonschema import Draft202012Validator
except ImportError:
    sys.exit(77)


def objects(value, path=()):
    """The paths of all objects whose keys the schema fixes."""
    if isinstance(value, dict):
        if path[-1:] != ("attributes",):
            yield path
        for key, item in value.items():
            yield from objects(item, path + (key,))
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from objects(item, path + (place,))


def renamed(report, path, key):
    damaged = copy.deepcopy(report)
    holder = damaged
    for step in path:
        holder = holder[step]
    holder[key + "_"] = holder.pop(key)
    return damaged


def at(report, path):
    for step in path:
        report = report[step]
    return report


def check(schemas, program, name):
    schema = json.loads(
        (schemas / f"{name.split('-')[0]}.1.json").read_text())
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    text = subprocess.run([program, name], check=True, stdout=subprocess.PIPE)
    # parse_constant is called for NaN and Infinity, which are not JSON.
    report = json.loads(text.stdout, parse_constant=lambda word: 1 / 0)
    problems = [f"{name}: {list(error.path)}: {error.message}"
                for error in validator.iter_errors(report)]
    seen = set()
    for path in objects(report):
        place = tuple(step for step in path if isinstance(step, str))
        for key in at(report, path):
            if (place, key) in seen:
                continue
            seen.add((place, key))
            if validator.is_valid(renamed(report, path, key)):
                problems.append(f"{name}: {list(path)}: {key} may be anything")
    return problems


def main():
    schemas, program, *names = sys.argv[1:]
    problems = [problem for name in names
                for problem in check(pathlib.Path(schemas), program, name)]
    print("\n".join(problems), end="")
    return 1 if problems or not names else 0


sys.exit(main())
