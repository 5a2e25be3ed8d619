"""Our reading of numbers against fractions: texts by which parsers disagree.

Texts that are elements stand in one document, and each of its elements is a
comparison; of those that are none, each is a document that must be refused.
"""
import base64
import decimal
import fractions
import json
import os
import random
import struct
import subprocess

import numpy as np

import exact_numbers
import tally
from exact_numbers import FLOATS, INTEGERS, SIZES

TEXTS = 100  # of each dtype in a document
REFUSED = 4  # of each dtype, each in a document of its own
BORDERS = ["0", "-0", "-0.0", "0.0e-400", "0e99999", "-0E+0", "1", "1.0", "1e0",
           "10", "1e2", "100e-2", "1E+02", "1e-400", "1e400", "-1e400",
           "5e-324", "2e-324", "3e-324", "4.9e-324", "2.47e-324",
           "1.7976931348623157e308", "1.7976931348623159e308", "2.2250738585072011e-308",
           "2.2250738585072014e-308", "3.4028234e38", "3.4028235e38",
           "3.4028236e38", "3.40282357e38", "1e-45", "7e-46", "8e-46",
           "1.4e-45", "1.17549435e-38", "65504", "65519", "65520", "65519.9",
           "6e-8", "3e-8", "2.98e-8", "2.99e-8", "6.1e-5", "3.39e38", "3.4e38",
           "9e-41", "4.6e-41", "4.5e-41", "9007199254740993",
           "9007199254740992.5", "9007199254740993.0000000000000000000001",
           "1" + "0" * 300, "0." + "0" * 300 + "1", "0." + "1" * 300]
NO_NUMBERS = ["", "-", "+1", "01", "-01", "00", "1.", ".5", "-.5", "1e", "1e+",
              "1e1.0", "1.5.5", "0x1", "1f", "1_0", "NaN", "nan", "Infinity",
              "-Infinity", "inf", "--1", "1-", "1e--1", "1 2", "\u0661", "1d0",
              '"1"', '"nan"', '"inf"', '" NaN"', '"+Infinity"', "null", "[1]",
              "{}", "True", "1,", ",1", "1e5e5", "1/2", "1\u00a0", "'1'",
              '"NaN', "\x001", "1\x00", "tru", "truee", "1;", "0b1", "0o7", "1L"]


def of_any(dtype, rng):
    """A float by its bits: any, small, or near 1."""
    size = SIZES[dtype]
    if rng.random() < 0.3:
        return rng.choice([-1, 1]) * fractions.Fraction(
            np.float64(rng.uniform(0, 8) ** rng.choice([1, 3])).item())
    code = {8: "d", 4: "f", 2: "e" if dtype == "f16" else "f"}[size]
    bits = rng.randbytes(size)
    if rng.random() < 0.1:
        bits = bits[:-1] + bytes([bits[-1] & 0x80])  # a small one
    if dtype == "bf16":
        bits = b"\0\0" + bits
    value = struct.unpack("<" + code, bits)[0]
    if not np.isfinite(value):
        return fractions.Fraction(1)
    return fractions.Fraction(value)


def neighbours_middle(value, dtype):
    """Half way from an element to the next one."""
    bits, least, _, _ = FLOATS[dtype]
    value = exact_numbers.rounded(value, dtype) or fractions.Fraction(0)
    size = abs(value) or fractions.Fraction(1, 2 ** 60)
    power = size.numerator.bit_length() - size.denominator.bit_length()
    step = fractions.Fraction(2) ** max(power - bits + 1, least)
    return value + step / 2


def exact_text(value):
    """All digits of a fraction whose denominator is a power of two."""
    with decimal.localcontext() as context:
        context.prec = 1200
        return str(decimal.Decimal(value.numerator) / value.denominator)


def digits_text(value, digits):
    """It, rounded to some digits."""
    with decimal.localcontext() as context:
        context.prec = digits
        return str(decimal.Decimal(value.numerator) / value.denominator)


def respelled(text, rng):
    """The same number in other words."""
    how = rng.randrange(6)
    mantissa, mark, exponent = text.partition("E")
    if not mark:
        mantissa, mark, exponent = text.partition("e")
    if how == 0 and "." in mantissa:
        mantissa += "0" * rng.choice([1, 5, 30])
    elif how == 1 and "." not in mantissa and mantissa.lstrip("-") != "0":
        mantissa += "." + "0" * rng.choice([1, 20])
    elif how == 2 and mark:
        sign = exponent[0] if exponent[0] in "+-" else ""
        exponent = sign + "0" * rng.choice([1, 7]) + exponent[len(sign):]
    elif how == 3 and mark:
        mark = rng.choice("eE")
    elif how == 4 and not mark:
        mark, exponent = "e", rng.choice(["0", "+0", "-0", "00"])
    return mantissa + mark + exponent


def float_text(dtype, rng):
    value = of_any(dtype, rng)
    most = FLOATS[dtype][3] or 17
    how = rng.randrange(7)
    if how == 0:
        return rng.choice(BORDERS)
    if how == 1:
        value = neighbours_middle(value, dtype)
    if how == 2:
        value = neighbours_middle(value, dtype) + rng.choice([-1, 1]) * (
            fractions.Fraction(2) ** -rng.choice([60, 200, 1060]))
    if how in (1, 2, 3):
        text = exact_text(value)
    else:
        text = digits_text(value, rng.choice(
            [1, 2, 3, most - 1, most, most, most, most + 1, 17, 19, 25]))
    return respelled(text, rng)


def integer_text(dtype, rng):
    bits, signed = INTEGERS[dtype]
    top = 1 << (bits - signed)
    value = rng.choice([0, 1, top - 1, top, -top, -top - 1, 2 * top,
                        rng.randrange(-top, top), rng.randrange(top),
                        rng.randrange(1 << 70)])
    return rng.choice(["", "", "", "-"]).removeprefix("-" * (value < 0)) + str(
        value) + rng.choice(["", "", "", "", "", "", ".0", "e0", ".5"])


def text_of(dtype, rng):
    """A text that may be an element."""
    if dtype == "bool":
        return rng.choice(["true", "false", "true", "false", "1", "0", "True"])
    if dtype in INTEGERS:
        return integer_text(dtype, rng)
    if rng.random() < 0.03:
        return rng.choice(list(exact_numbers.WORDS))
    return float_text(dtype, rng)


def damaged(text, rng):
    """A text with a character more, less or another."""
    at = rng.randrange(len(text) + 1)
    one = rng.choice("+-.eE0 19_xNI,\"[]\t")
    return rng.choice([text[:at] + one + text[at:],
                       text[:at] + text[at + 1:],
                       text[:at] + one + text[at + 1:]])


def blanks(rng):
    return "".join(rng.choices(exact_numbers.BLANKS, k=rng.choice([0, 0, 0, 1,
                                                                   3])))


def document(texts, rng):
    """A cache with the texts of each dtype in a tensor."""
    tensors = ", ".join(
        f'"{name}": {{"dtype": "{name.partition("-")[0]}", '
        f'"shape": [{len(some)}], "axes": [], "encoding": "numbers", "data": ['
        + ",".join(blanks(rng) + text + blanks(rng) for text in some) + "]}"
        for name, some in texts.items())
    return ('{"schema": "kvtape.dump/1", "format_version": 1, "metadata": '
            '{"batch_size": 1, "sequence_length": 4, "num_hidden_layers": 1}, '
            '"extra": {' + tensors + "}}")


def dump(program, folder, text):
    """Status, document in base64 and what was said."""
    path = os.path.join(folder, "numbers.json")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    done = subprocess.run(
        [program, "dump", "--values", "all", "--encoding", "base64", path],
        capture_output=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


def check_elements(result, where, texts, dumped):
    for name, some in texts.items():
        size = SIZES[name]
        data = base64.b64decode(dumped["extra"][name]["data"])
        if len(data) != size * len(some):
            result.complain(f"{where} {name}", f"{len(data)} bytes")
        for number, text in enumerate(some):
            result.add("comparisons")
            expected = exact_numbers.element_of(text, name)
            found = data[number * size:(number + 1) * size]
            if found != expected:
                result.complain(f"{where} {name} {text}", "silent change: "
                                f"{found.hex()}, not {expected.hex()}")


def accepted_one_by_one(result, program, folder, where, texts):
    """Which of the texts it was that made the document be refused."""
    for name, some in texts.items():
        for text in some:
            status, _, said = dump(program, folder,
                                   document({name: [text]}, random.Random(0)))
            if status:
                result.complain(f"{where} {name} {text}", f"refused: {said!r}")


def job(program, folder, seed):
    """The tally of a document of texts that are elements, and some documents
    with one that is none."""
    rng = random.Random(seed)
    result = tally.Tally()
    where = f"numbers {seed}"
    good, none = {}, []
    for name in exact_numbers.DTYPES:
        texts = [text_of(name, rng) for _ in range(2 * TEXTS)]
        is_element = [exact_numbers.element_of(text, name) is not None
                      for text in texts]
        good[name] = [text for text, is_one in zip(texts, is_element)
                      if is_one][:TEXTS]
        refused = [text for text, is_one in zip(texts, is_element)
                   if not is_one][:REFUSED // 2]
        refused += [damaged(rng.choice(texts), rng) for _ in range(REFUSED)]
        refused.append(rng.choice(NO_NUMBERS))
        none += [(name, text) for text in refused
                 if exact_numbers.element_of(text.strip(exact_numbers.BLANKS),
                                             name) is None][:REFUSED]
    status, out, said = dump(program, folder, document(good, rng))
    if status:
        result.complain(where, f"refused: {said[:300]!r}")
        accepted_one_by_one(result, program, folder, where, good)
    else:
        check_elements(result, where, good, json.loads(out))
    for name, text in none:
        result.add("comparisons")
        status, _, _ = dump(program, folder, document({name: [text]}, rng))
        if status != 2:
            result.complain(f"{where} {name} {text!r}",
                            f"silent change: status {status}, not refused")
    return result
