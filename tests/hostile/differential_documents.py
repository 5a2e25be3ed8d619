"""Our reading of JSON documents against Python's json.

Documents are damaged, or only written in other words. What Python refuses must
be refused; of the rest, Python's reading, spelled plainly, must give the same
as the document itself, and what is accepted must have Python's values. Each of
the three is a comparison.
"""
import base64
import json
import os
import random
import re
import subprocess

import exact_numbers
import json_battery
import json_documents
import tally
from exact_numbers import Number

DOCUMENTS = 60  # of a job
ALL = ["--values", "all", "--encoding", "base64"]
NONE = ["--values", "none"]
TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|[{}\[\],:]|[^\s{}\[\],:"]+|\s+|"')
ESCAPES = {"\n": "\\n", "\t": "\\t", '"': '\\"', "\\": "\\\\", "/": "\\/",
           "\b": "\\b", "\f": "\\f", "\r": "\\r"}


def unique(pairs):
    """An object; members that stand twice are refused."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member stands twice")
    return members


def strict(data):
    """Python's reading of a document, numbers as their texts; None where it
    refuses it."""
    try:
        value = json.loads(data.decode(), parse_float=Number, parse_int=Number,
                           parse_constant=exact_numbers.refuse,
                           object_pairs_hook=unique)
        spell(value).encode()  # lone surrogates are no text
    except (ValueError, RecursionError):
        return None
    return value


def spell(value):
    """A document in plain words."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{spell(name)}: {spell(below)}" for name, below
                               in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(spell, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


# ---- the same document in other words

def text_in_other_words(text, rng):
    """A text of JSON with its characters escaped or not."""
    made = []
    for one in json.loads(text):
        code = [f"\\u{unit:04{rng.choice('xX')}}" for unit in
                memoryview(one.encode("utf-16-le")).cast("H")]
        ways = ["".join(code)]
        if one in ESCAPES:
            ways.append(ESCAPES[one])
        if one not in '"\\' and one >= " ":
            ways += [one] * 4
        made.append(rng.choice(ways))
    return '"' + "".join(made) + '"'


def in_other_words(text, rng):
    """Other blanks and escapes; texts in data are read without escapes."""
    data = set(re.findall(r'"[A-Za-z0-9+/=]{12,}"|"-?Infinity"|"NaN"', text))
    made = []
    for token in TOKEN.findall(text):
        if token.isspace():
            continue
        if token[0] == '"' and token not in data and rng.random() < 0.3:
            token = text_in_other_words(token, rng)
        blanks = "".join(rng.choices(exact_numbers.BLANKS,
                                     k=rng.choice([0, 0, 1, 4])))
        made += [blanks, token]
    return "".join(made) + rng.choice(["", "\n", " \t\r\n"])


def in_other_order(value, rng):
    """The members of groups anew; those of tensors have an order."""
    if isinstance(value, dict) and next(iter(value), "") != "dtype":
        names = rng.sample(list(value), len(value))
        return {name: in_other_order(value[name], rng) for name in names}
    return value


# ---- damage

def damaged(text, rng):
    """A document of bytes that may be one no more."""
    tokens = TOKEN.findall(text)
    at = rng.randrange(len(tokens))
    how = rng.randrange(8)
    if how == 0:
        del tokens[at]
    elif how == 1:
        tokens.insert(at, rng.choice(tokens))
    elif how == 2:
        other = rng.randrange(len(tokens))
        tokens[at], tokens[other] = tokens[other], tokens[at]
    elif how == 3:
        tokens[at] = rng.choice(json_battery.VALUES)
    elif how == 4:
        tokens = tokens[:at]
    elif how == 5:
        tokens.insert(at, rng.choice(
            ["\ufeff", "\u00a0", "\f", "\v", "//", "/**/", "#", "\0", "\u2028",
             ";", "'", ",", ":", "\\n", "+", "\x1f"]))
    else:
        return next(json_battery.flips(text.encode(), 1, rng))
    return "".join(tokens).encode("utf-8", "surrogatepass")


def changed_value(text, rng):
    """A document with another value at one place, and so maybe no cache."""
    place = rng.choice(list(json_battery.places(json.loads(text))))
    return json_battery.replaced(text, place, rng.choice(
        json_battery.VALUES)).encode("utf-8", "surrogatepass")


# ---- values

def is_tensor(value):
    return isinstance(value, dict) and next(iter(value), "") == "dtype"


def bytes_of(tensor):
    """The elements of a tensor as Python reads them."""
    if tensor["encoding"] == "base64":
        return base64.b64decode(tensor["data"], validate=True)
    words = [f'"{one}"' if type(one) is str else json.dumps(one)
             if isinstance(one, bool) else one for one in tensor["data"]]
    elements = [exact_numbers.element_of(word, tensor["dtype"])
                for word in words]
    for place, bits in tensor.get("nan_payloads", []):
        elements[int(place)] = bytes.fromhex(bits)[::-1]
    return b"".join(elements)


def is_same_value(expected, found):
    """An attribute as Python reads it, and as kvtape wrote it."""
    if isinstance(expected, Number):
        if not re.fullmatch("-?[0-9]+", expected):
            return isinstance(found, (int, float)) and (
                str(float(found)) == str(float(expected)))
        return found == int(expected)
    if isinstance(expected, list):
        return isinstance(found, list) and len(expected) == len(found) and all(
            map(is_same_value, expected, found))
    return expected == found


def compare_tensor(expected, found, path):
    """What is another one in a tensor, if anything."""
    if not is_tensor(found) or expected["dtype"] != found["dtype"]:
        return f"{path}: another dtype"
    if "quantization" in expected:
        parts = [name for name in ("data", "scale", "absmax")
                 if name in expected]
        return next(filter(None, (compare_tensor(
            expected[name], found[name], f"{path}/{name}")
            for name in parts)), "")
    if expected["encoding"] in ("none", "summary"):
        return "" if found["encoding"] == "none" else f"{path}: has values"
    if bytes_of(expected) != base64.b64decode(found["data"]):
        return f"{path}: other elements"
    return ""


def compare(expected, found, path=""):
    """What is another one in a group, if anything."""
    for name, value in expected.items():
        below = f"{path}/{name}"
        if value is None and found.get(name) is None:
            continue
        if name not in found:
            return f"{below}: left out"
        if is_tensor(value):
            wrong = compare_tensor(value, found[name], below)
        elif isinstance(value, dict):
            wrong = compare(value, found[name], below)
        else:
            wrong = "" if is_same_value(value, found[name]) else (
                f"{below}: {found[name]!r}, not {value!r}")
        if wrong:
            return wrong
    return ""


class Reader:
    """The program, and the files that it is given."""

    def __init__(self, program, folder):
        self.program, self.path = program, os.path.join(folder, "document.json")
        self.values = ALL

    def dump(self, data, piped=False):
        """Status, document and what was said."""
        with open(self.path, "wb") as file:
            file.write(data)
        done = subprocess.run(
            [self.program, "dump", *self.values, "-" if piped else self.path],
            input=data if piped else None, capture_output=True, timeout=60, check=False)
        return done.returncode, done.stdout, done.stderr


def check(reader, data, must, result, where, rng):
    """Compares the readings of a document; `must` it be accepted?"""
    parsed = strict(data)
    status, out, said = reader.dump(data, rng.random() < 0.5)
    where = f"{where} {data[:120]!r}" if status else where
    result.add("comparisons")
    if parsed is None or must:
        expected = 0 if must else 2
        if status != expected:
            result.complain(where, f"silent change: status {status}, not "
                            f"{expected}: {said[:200]!r}")
        if parsed is None:
            return
    plain, plain_out, plain_said = reader.dump(spell(parsed).encode())
    result.add("comparisons")
    if (status, out) != (plain, plain_out):
        result.complain(where, f"in plain words status {plain}, not {status}: "
                        f"{plain_said[:200]!r}, {said[:200]!r}")
    if status == 0:
        result.add("comparisons")
        if "schema" not in parsed:
            parsed = {"metadata": parsed}
        try:
            wrong = compare(parsed, json.loads(out))
        except (ValueError, TypeError) as error:  # no tensor for Python
            wrong = repr(error)
        if wrong:
            result.complain(where, f"silent change: {wrong}")


def job(program, folder, seed):
    """The tally of some documents."""
    rng = random.Random(seed)
    result = tally.Tally()
    reader = Reader(program, folder)
    texts = json_documents.texts()
    for number in range(DOCUMENTS):
        name = rng.choice([*texts, "document", "document"])
        text = texts[name]
        reader.values = NONE if name in ("summary", "none") else ALL
        where = f"documents {seed} {number} {name}"
        how = rng.randrange(4)
        if how == 0:
            value = in_other_order(json.loads(text), rng)
            same = in_other_words(json.dumps(value), rng)
            check(reader, same.encode(), True, result, where, rng)
        elif how == 1:
            check(reader, changed_value(text, rng), False, result, where, rng)
        else:
            check(reader, damaged(text, rng), False, result, where, rng)
    return result
