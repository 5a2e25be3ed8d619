#!/usr/bin/python3
"""Fails on what mandoc says of a manual page, but for references to pages that
are not installed.

    lint_manual.py PAGE
"""
import subprocess
import sys

said = subprocess.run(["mandoc", "-T", "lint", sys.argv[1]], capture_output=True, text=True)
lines = [line for line in (said.stdout + said.stderr).splitlines() if "referenced manual not found" not in line]
print("\n".join(lines))
sys.exit(1 if lines else 0)
