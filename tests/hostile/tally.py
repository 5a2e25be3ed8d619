"""What a battery counts, and the lines in which it says so.

Every battery ends with two lines: `counts: inputs 4376, faults 0, ...`, which
batteries.py adds up, and `N passed, N failed`, which .ci/count.py reads. What
is wrong with a run is a text; its beginning says which count it goes to.
"""

TRIED = ("inputs", "faults", "comparisons", "runs")
# How a text of what is wrong begins, by the count that it goes to.
WRONG = {"crashes": "crash", "hangs": "hang", "foreign": "foreign file",
         "silent": "silent change", "torn": "neither old nor new"}
OTHER = "other"
NAMES = (*TRIED, *WRONG, OTHER)
MOST_LINES = 100


def kind_of(wrong):
    """The count that a text of what is wrong goes to."""
    for kind, beginning in WRONG.items():
        if wrong.startswith(beginning):
            return kind
    return OTHER


def parse(text):
    """The counts that a battery printed, or nothing where it did not."""
    for line in text.splitlines():
        if line.startswith("counts: "):
            words = (part.split() for part in line[8:].split(","))
            return {name: int(number) for name, number in words}
    return None


class Tally:
    """What was tried, and what was wrong with it."""

    def __init__(self):
        self.counts = dict.fromkeys(NAMES, 0)
        self.lines = []

    @property
    def tried(self):
        return sum(self.counts[name] for name in TRIED)

    def add(self, name, number=1):
        self.counts[name] += number

    def complain(self, where, wrong):
        self.counts[kind_of(wrong)] += 1
        self.lines.append(f"{where}: {wrong}")

    def merge(self, other):
        for name, number in other.counts.items():
            self.counts[name] += number
        self.lines += other.lines

    def end(self, words):
        """Prints it all; the exit status, 1 also where nothing was tried."""
        bad = len(self.lines)
        for line in self.lines[:MOST_LINES]:
            print(line)
        print(f"{words}, {bad} bad")
        print("counts: " + ", ".join(f"{name} {number}" for name, number
                                     in self.counts.items()))
        print(f"{max(self.tried - bad, 0)} passed, {bad} failed", flush=True)
        return 1 if bad or not self.tried else 0
