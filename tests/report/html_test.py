#!/usr/bin/python3
"""Checks that HTML reports are whole and that nothing in them can run.

    html_test.py PROGRAM NAME...        PROGRAM NAME prints a report
"""
import html.parser
import subprocess
import sys

VOID = {"meta"}
ALLOWED = {"html", "head", "meta", "title", "style", "body", "h1", "h2", "p",
           "table", "tr", "td", "th", "svg", "defs", "pattern", "path", "rect",
           "line", "text", "polyline"}


class Checker(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.wrong, self.elements = [], [], 0

    def handle_starttag(self, tag, attributes):
        self.elements += 1
        if tag not in ALLOWED:
            self.wrong.append(f"element {tag}")
        for name, value in attributes:
            if name.startswith("on") or name in ("href", "src", "xlink:href"):
                self.wrong.append(f"attribute {name}={value}")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"</{tag}> closes nothing")


def problems(program, name):
    done = subprocess.run([program, name], check=True, stdout=subprocess.PIPE)
    text = done.stdout.decode()  # which is UTF-8
    checker = Checker()
    checker.feed(text)
    checker.close()
    wrong = checker.wrong + [f"<{tag}> is not closed" for tag in checker.open]
    if checker.elements < 50:
        wrong.append(f"only {checker.elements} elements")
    if any(ord(letter) < 32 and letter != "\n" for letter in text):
        wrong.append("a control character")
    return [f"{name}: {each}" for each in wrong]


def main():
    program, *names = sys.argv[1:]
    found = [text for name in names for text in problems(program, name)]
    print("\n".join(found), end="")
    return 1 if found or not names else 0


sys.exit(main())
