"""Expressions as people write them, their canonical form, and the calculator's results."""

import math
import re

_FUNCTIONS = {"sqrt": math.sqrt, "sin": math.sin, "cos": math.cos, "tan": math.tan, "ln": math.log, "log10": math.log10,
              "exp": math.exp, "abs": abs, "floor": math.floor, "ceil": math.ceil,
              "round": lambda x: math.copysign(math.floor(abs(x) + 0.5), x), "min": min, "max": max, "pi": math.pi, "e": math.e}


def evaluate(expression: str) -> str:
    """The calculator's observation for an expression: a number's shortest form, or an error."""
    try:
        text = re.sub(r"(?<![\w.])(\d+)(?![\w.])", r"\1.0", expression.replace("^", "**"))
        return show(float(eval(text, {"__builtins__": {}}, dict(_FUNCTIONS))))  # expressions come from the generator alone
    except ZeroDivisionError:
        return "error: division by zero"


def show(value: float) -> str:
    if value == int(value) and abs(value) < 1e15:
        return str(int(value))
    return repr(value)


SMALL = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
eighteen nineteen twenty""".split()
OPERATORS = {
    "+": ["plus", "plus", "and also plus", "added to", "+"],
    "-": ["minus", "minus", "less", "take away", "-"],
    "*": ["times", "times", "multiplied by", "x", "×", "*", "multiplied with"],
    "/": ["divided by", "divided by", "over", "÷", "/"],
    "^": ["to the power of", "to the power", "raised to", "^", "raised to the power of"],
    "%": ["mod", "modulo"],
}


def usable(result: str) -> bool:
    if result.startswith("error"):
        return False
    value = abs(float(result))
    return value == 0 or 1e-3 <= value < 1e12


def symbolic(rng):
    """(as written, canonical): an expression in symbols is copied as it stands."""
    for _ in range(50):
        gap = rng.pick((" ", " ", "", ""))
        operator = lambda: rng.pick("++--***//^%" if rng.chance(0.15) else "++--**//")
        n = rng.number
        kind = rng.random()
        if kind < 0.45:
            text = f"{n()}{gap}{operator()}{gap}{n()}"
        elif kind < 0.62:
            text = f"{n()}{gap}{operator()}{gap}{n()}{gap}{operator()}{gap}{n()}"
        elif kind < 0.74:
            text = f"({n()}{gap}{rng.pick('+-')}{gap}{n()}){gap}{rng.pick('*/')}{gap}{n()}"
        elif kind < 0.82:
            text = f"{n()}{gap}{rng.pick('*/-')}{gap}({n()}{gap}{rng.pick('+-')}{gap}{n()})"
        elif kind < 0.88:
            text = f"({n()}{gap}{rng.pick('+-')}{gap}{n()}){gap}{rng.pick('*/')}{gap}({n()}{gap}{rng.pick('+-')}{gap}{n()})"
        elif kind < 0.92:
            text = f"({n()}+{n()})*{n()} {rng.pick('+-')} {n()}"
        elif kind < 0.95:
            text = f"-{n()}{gap}{rng.pick('+-*')}{gap}{n()}"
        else:
            text = f"{n()}{gap}{operator()}{gap}{n()}{gap}{operator()}{gap}{n()}{gap}{operator()}{gap}{n()}"
        try:
            if usable(evaluate(text)):
                return text, text
        except (OverflowError, ValueError):
            pass
    return "2+2", "2+2"


def in_words_of(rng):
    """(as written, digits) of a small whole number in words."""
    number = rng.randint(0, 20)
    return SMALL[number], str(number)


def spoken(rng):
    """(as written, canonical) of two or three numbers joined by words."""
    for _ in range(50):
        operator = rng.pick("++--***///^%" if rng.chance(0.3) else "+-*/*")
        in_words = rng.chance(0.4)
        word_or_number = lambda: in_words_of(rng) if in_words and rng.chance(0.85) else (rng.number(),) * 2
        (written_a, a), (written_b, b) = word_or_number(), word_or_number()
        if operator == "^":
            written_b = b = str(rng.randint(2, 6))
        canonical = f"{a} {operator} {b}"
        written = f"{written_a} {rng.pick(OPERATORS[operator])} {written_b}"
        if rng.chance(0.2) and operator in "+-*":
            second, (written_c, c) = rng.pick("+-*"), word_or_number()
            canonical += f" {second} {c}"
            written += f" {rng.pick(OPERATORS[second])} {written_c}"
        try:
            if usable(evaluate(canonical)):
                return written, canonical
        except (OverflowError, ValueError):
            pass
    return "2 plus 2", "2 + 2"


# Phrases with their canonical form; {a}, {b}, {c} are numbers. Noun phrases that stand after "what is".
NOUNS = [
    ("[the |]sum of {a} and {b}", "{a} + {b}"), ("[the |]difference [between|of] {a} and {b}", "{a} - {b}"),
    ("[the |]product of {a} and {b}", "{a} * {b}"), ("[the |]quotient of {a} and {b}", "{a} / {b}"),
    ("{a} squared", "{a}^2"), ("{a} cubed", "{a}^3"), ("[the |]square of {a}", "{a}^2"), ("[the |]cube of {a}", "{a}^3"),
    ("half of {a}", "{a} / 2"), ("half {a}", "{a} / 2"), ("a third of {a}", "{a} / 3"), ("a quarter of {a}", "{a} / 4"),
    ("[twice|double] {a}", "{a} * 2"), ("the double of {a}", "{a} * 2"), ("triple {a}", "{a} * 3"), ("three times {a}", "3 * {a}"),
    ("the sum of {a}, {b} and {c}", "{a} + {b} + {c}"), ("the total of {a}, {b} and {c}", "{a} + {b} + {c}"),
    ("{a} times {b} plus {c}", "{a} * {b} + {c}"), ("the remainder of {a} divided by {b}", "{a} % {b}"), ("{a} modulo {b}", "{a} % {b}"),
    ("[the |]average of {a} and {b}", "({a} + {b}) / 2"), ("[the |]mean of {a} and {b}", "({a} + {b}) / 2"),
]
FUNCTION_NOUNS = [
    ("[the |][square root|root|sqrt] of {p}", "sqrt({p})"), ("sqrt {p}", "sqrt({p})"), ("square root {p}", "sqrt({p})"), ("sqrt({p})", "sqrt({p})"),
    ("[the |][sine|sin] of {a}", "sin({a})"), ("sin {a}", "sin({a})"), ("sin({a})", "sin({a})"),
    ("[the |][cosine|cos] of {a}", "cos({a})"), ("cos {a}", "cos({a})"), ("cos({a})", "cos({a})"),
    ("[the |][tangent|tan] of {a}", "tan({a})"), ("tan {a}", "tan({a})"), ("tan({a})", "tan({a})"),
    ("[the |]natural [log|logarithm] of {p}", "ln({p})"), ("ln [of |]{p}", "ln({p})"), ("ln({p})", "ln({p})"),
    ("log10 [of |]{p}", "log10({p})"), ("log10({p})", "log10({p})"), ("[the |][base 10 log|base-10 logarithm|decimal logarithm|log base 10] of {p}", "log10({p})"),
    ("e to the power [of |]{s}", "exp({s})"), ("exp({s})", "exp({s})"), ("exp of {s}", "exp({s})"), ("e^{s}", "e^{s}"), ("the exponential of {s}", "exp({s})"),
    ("[the |]absolute value of -{a}", "abs(-{a})"), ("abs(-{a})", "abs(-{a})"), ("abs of -{a}", "abs(-{a})"),
    ("[the |]floor of {d}", "floor({d})"), ("floor({d})", "floor({d})"), ("{d} rounded down", "floor({d})"),
    ("[the |]ceiling of {d}", "ceil({d})"), ("ceil({d})", "ceil({d})"), ("ceil of {d}", "ceil({d})"), ("{d} rounded up", "ceil({d})"),
    ("{d} rounded", "round({d})"), ("round({d})", "round({d})"), ("{d} rounded to the nearest [integer|whole number]", "round({d})"),
    ("[the |][minimum|min|smaller|smallest] of {a} and {b}", "min({a}, {b})"), ("min({a}, {b})", "min({a}, {b})"), ("[the |]lower of {a} and {b}", "min({a}, {b})"),
    ("[the |][maximum|max|larger|largest|bigger] of {a} and {b}", "max({a}, {b})"), ("max({a}, {b})", "max({a}, {b})"), ("[the |]higher of {a} and {b}", "max({a}, {b})"),
    ("{q}% of {a}", "{a} * {q} / 100"), ("{q} % of {a}", "{a} * {q} / 100"), ("{q} percent of {a}", "{a} * {q} / 100"), ("{q} per cent of {a}", "{a} * {q} / 100"),
    ("{q}% of {a}", "{a} * {q} / 100"), ("{q} percent of {a}", "{a} * {q} / 100"),
    ("{a} plus {q}%", "{a} * (1 + {q} / 100)"), ("{a} minus {q}%", "{a} * (1 - {q} / 100)"),
    ("{a} increased by {q} percent", "{a} * (1 + {q} / 100)"), ("{a} decreased by {q} percent", "{a} * (1 - {q} / 100)"),
    ("sqrt({a} + {b})", "sqrt({a} + {b})"), ("sqrt({p}) * {b}", "sqrt({p}) * {b}"), ("{a} + sqrt({p})", "{a} + sqrt({p})"), ("{a} * pi", "{a} * pi"), ("{a} times pi", "{a} * pi"),
    ("2 * pi * {a}", "2 * pi * {a}"), ("max({a}, {b}) - {c}", "max({a}, {b}) - {c}"),
]


def noun(rng, table):
    """(as written, canonical) from a table of noun phrases."""
    from sampling import expand, fill
    while True:
        template, form = rng.pick(table)
        slots = {"a": rng.number(), "b": rng.number(), "c": rng.number(), "p": rng.number(), "q": str(rng.randint(1, 99)) if rng.chance(0.85) else rng.number(),
                 "s": str(rng.randint(0, 9)), "d": rng.half(lambda: f"{rng.randint(0, 999)}.{rng.randint(1, 999)}")}
        written, canonical = fill(expand(template, rng), slots), fill(form, slots)
        try:
            if usable(evaluate(canonical)):
                return written, canonical
        except (OverflowError, ValueError):
            pass


def expression(rng):
    """Any arithmetic expression without functions."""
    while True:
        kind = rng.random()
        made = symbolic(rng) if kind < 0.4 else spoken(rng) if kind < 0.75 else noun(rng, NOUNS)
        if rng.held == _held(made[1]):
            return made


def function(rng):
    while True:
        made = noun(rng, FUNCTION_NOUNS)
        if rng.held == _held(made[1]):
            return made


def _held(canonical):
    from sampling import held_out
    return held_out(canonical)
