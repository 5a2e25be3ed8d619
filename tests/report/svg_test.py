#!/usr/bin/python3
"""Checks that pictures are XML and that nothing is drawn outside of them.

    svg_test.py PROGRAM NAME...        PROGRAM NAME prints a picture
"""
import subprocess
import sys
import xml.etree.ElementTree as xml

ACROSS, DOWN = ("x", "x1", "x2"), ("y", "y1", "y2")


def points(element):
    for key in ACROSS:
        if key in element.attrib:
            yield float(element.get(key)), 0.0
    for key in DOWN:
        if key in element.attrib:
            yield 0.0, float(element.get(key))
    for pair in element.get("points", "").split():
        x, y = pair.split(",")
        yield float(x), float(y)


def problems(program, name):
    text = subprocess.run([program, name], check=True, stdout=subprocess.PIPE)
    root = xml.fromstring(text.stdout)
    width, height = (float(size) for size in root.get("viewBox").split()[2:])
    elements = list(root.iter())
    if len(elements) < 20:
        yield f"{name}: only {len(elements)} elements"
    for element in elements:
        for x, y in points(element):
            if not (0 <= x <= width and 0 <= y <= height):
                yield f"{name}: {element.tag} at {x}, {y}"


def main():
    program, *names = sys.argv[1:]
    found = [text for name in names for text in problems(program, name)]
    print("\n".join(found), end="")
    return 1 if found or not names else 0


sys.exit(main())
