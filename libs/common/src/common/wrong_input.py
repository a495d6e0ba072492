"""What is wrong with what somebody gave, in words that say how to mend it. Pure.

Pydantic's own messages are written for programmers. Here each becomes what the value must be; the value itself is never
repeated, because it may be a secret or a private matter.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

Place = tuple[int | str, ...]
Context = Mapping[str, Any]

IDENTIFIER = r"^[a-z0-9][a-z0-9_-]{0,62}$"
INSTAGRAM_ID = r"^[0-9]{1,32}$"

PATTERNS: Mapping[str, str] = {
    IDENTIFIER: "must be 1 to 63 small Latin letters, digits, - or _, and begin with a letter or a digit",
    INSTAGRAM_ID: "must be an Instagram id: 1 to 32 digits",
}
A_KEY = "[key]"
"""What Pydantic adds to the place of a name that is wrong; the name itself stands before it."""

OWN_WORDS = re.compile(r"^(Value|Assertion) error, ")
PROGRAMMERS_WORDS = re.compile(r"^(Input|Value|String|Tuple|List|Dictionary|Set|Data|Datetime|URL|Field) should ")


@dataclass(frozen=True)
class Problem:
    """One problem: where it is, its stable kind, and the rest of a sentence that begins with the place."""

    place: Place
    kind: str
    fix: str

    def sentence(self, name: Callable[[Place], str] | None = None) -> str:
        """Return place and fix together; `name` writes the place, usually with dots."""
        place = name(self.place) if name is not None else dotted(self.place)
        return f"{place} {self.fix}".strip()


def dotted(place: Place) -> str:
    """Return a place as it is usually written: `rules.0.when`."""
    return ".".join(map(str, place))


def problems(error: ValidationError) -> list[Problem]:
    """Return everything that an error complains of."""
    return [
        Problem(
            place=tuple(part for part in one["loc"] if part != A_KEY),
            kind=one["type"],
            fix=_fix(one["type"], one["msg"], one.get("ctx", {})),
        )
        for one in error.errors(include_input=False, include_url=False)
    ]


def _fix(kind: str, message: str, context: Context) -> str:
    if kind in PLAIN:
        return PLAIN[kind]
    if kind in TOLD:
        return TOLD[kind](context)
    if OWN_WORDS.match(message):
        return OWN_WORDS.sub("", message)
    # A kind that is not known here: at least a sentence about the field.
    return PROGRAMMERS_WORDS.sub("must ", message)


def _choices(expected: str) -> str:
    return ", ".join(re.findall(r"'([^']*)'", expected)) or expected


def _one_of(expected: str) -> str:
    choices = _choices(expected)
    return f"must be one of {choices}" if "," in choices else f"must be {choices}"


WHOLE, NUMBER = "must be a whole number", "must be a number"
TEXT, LIST, FIELDS = "must be a text", "must be a list", "must have named fields"
YES_OR_NO = "must be true or false"
MOMENT = "must be a moment with its offset, such as 2026-03-01T14:30:00+03:00"

PLAIN: Mapping[str, str] = {
    "missing": "is missing",
    "extra_forbidden": "is no field here",
    "string_type": TEXT,
    "string_sub_type": TEXT,
    "string_unicode": "must be whole Unicode characters",
    "int_type": WHOLE,
    "int_parsing": WHOLE,
    "int_parsing_size": "is too large a number",
    "int_from_float": WHOLE,
    "float_type": NUMBER,
    "float_parsing": NUMBER,
    "finite_number": "must be a finite number",
    "bool_type": YES_OR_NO,
    "bool_parsing": YES_OR_NO,
    "tuple_type": LIST,
    "list_type": LIST,
    "dict_type": FIELDS,
    "model_type": FIELDS,
    "model_attributes_type": FIELDS,
    "datetime_type": MOMENT,
    "datetime_parsing": MOMENT,
    "datetime_from_date_parsing": MOMENT,
    "timezone_aware": MOMENT,
}

TOLD: Mapping[str, Callable[[Context], str]] = {
    "string_pattern_mismatch": lambda c: PATTERNS.get(c["pattern"], f"must look like {c['pattern']}"),
    "string_too_short": lambda c: (
        "must not be empty" if c["min_length"] == 1 else f"needs {c['min_length']} characters"
    ),
    "string_too_long": lambda c: f"must have at most {c['max_length']} characters",
    "too_short": lambda c: "must not be empty" if c["min_length"] == 1 else f"needs {c['min_length']} entries",
    "too_long": lambda c: f"must have at most {c['max_length']} entries",
    "greater_than": lambda c: f"must be above {c['gt']:g}",
    "greater_than_equal": lambda c: f"must be at least {c['ge']:g}",
    "less_than": lambda c: f"must be below {c['lt']:g}",
    "less_than_equal": lambda c: f"must be at most {c['le']:g}",
    "literal_error": lambda c: _one_of(c["expected"]),
    "enum": lambda c: _one_of(c["expected"]),
    "union_tag_not_found": lambda c: f"needs the field {c['discriminator'].strip(chr(39))}",
    "union_tag_invalid": lambda c: f"{c['discriminator'].strip(chr(39))} {_one_of(c['expected_tags'])}",
}
