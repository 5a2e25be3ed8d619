"""What a number's text is worth in each dtype, by fractions.

The rule is that of man/kvtape-json.5: a text of few digits is rounded once to
the nearest element, ties to even; one of more digits must be an element, once
it is rounded to f64; what would become infinite, or 0 and is not, has none.
No code of the program is used.
"""
import decimal
import fractions
import json
import re
import struct

# Bits of the significand, least and greatest power of two, most digits of a
# text that is rounded.
FLOATS = {"f64": (53, -1074, 1023, None), "f32": (24, -149, 127, 9),
          "f16": (11, -24, 15, 5), "bf16": (8, -133, 127, 4)}
INTEGERS = {f"{sign}{bits}": (bits, sign == "i") for sign in "iu"
            for bits in (8, 16, 32, 64)}
DTYPES = [*FLOATS, *INTEGERS, "bool"]
SIZES = {"f64": 8, "f32": 4, "f16": 2, "bf16": 2, "bool": 1,
         **{name: bits // 8 for name, (bits, _) in INTEGERS.items()}}
WORDS = {'"NaN"': float("nan"), '"Infinity"': float("inf"),
         '"-Infinity"': float("-inf")}
BLANKS = " \t\r\n"


class Number(str):
    """The text of a number in a document."""


def refuse(text):
    raise ValueError(text)


def is_number(text):
    """Whether it is a number of JSON and no more, as Python's json has it."""
    try:
        return isinstance(
            json.loads(text, parse_float=Number, parse_int=Number,
                       parse_constant=refuse), Number) and text == text.strip(
                           BLANKS)
    except ValueError:
        return False


def rounded(value, dtype):
    """The element nearest to a fraction; None beyond the greatest."""
    bits, least, greatest, _ = FLOATS[dtype]
    size = abs(value)
    if not size:
        return value
    power = size.numerator.bit_length() - size.denominator.bit_length()
    if size < fractions.Fraction(2) ** power:
        power -= 1
    step = fractions.Fraction(2) ** max(power - bits + 1, least)
    result = round(value / step) * step  # of two that are as near, the even one
    return result if abs(result) < fractions.Fraction(2) ** (
        greatest + 1) else None


def bits_of(value, dtype):
    """Bytes, little-endian, of an element."""
    code = {"f64": "d", "f32": "f", "f16": "e", "bf16": "f"}[dtype]
    return struct.pack("<" + code, value)[2 if dtype == "bf16" else 0:]


def float_of(text, dtype):
    """Bytes of the element that a text is, or None."""
    if text in WORDS:
        return bits_of(WORDS[text], dtype)
    if not is_number(text):
        return None
    mantissa, _, exponent = text.lower().partition("e")
    number = decimal.Decimal(mantissa)  # it refuses exponents of 19 digits
    digits = "".join(map(str, number.as_tuple().digits)).strip("0")
    if not digits:
        return bits_of(-0.0 if text[0] == "-" else 0.0, dtype)
    power = int(exponent or 0)
    if not -500 < number.adjusted() + power < 500:
        return None
    most = FLOATS[dtype][3]
    value = fractions.Fraction(number) * fractions.Fraction(10) ** power
    if most is not None and len(digits) > most:
        value = rounded(value, "f64")
        element = value and rounded(value, dtype)
        if element != value:
            return None
    else:
        element = rounded(value, dtype)
    return bits_of(float(element), dtype) if element else None


def integer_of(text, dtype):
    bits, signed = INTEGERS[dtype]
    if not is_number(text) or not re.fullmatch("-?[0-9]+", text):
        return None
    if len(text) > 100:
        return None
    value = int(text)
    first = -(1 << bits - 1) if signed else 0
    if not first <= value < first + (1 << bits):
        return None
    return value.to_bytes(bits // 8, "little", signed=signed)


def element_of(text, dtype):
    """Bytes of the element that a text is, or None where it is none."""
    if dtype == "bool":
        return {"true": b"\1", "false": b"\0"}.get(text)
    return (float_of if dtype in FLOATS else integer_of)(text, dtype)
