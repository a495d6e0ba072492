"""Fill any JSON schema with a valid value, using what is known where its names and types allow.

The model behind structured output must never answer outside the schema it was given; so neither does this.
"""

from collections.abc import Mapping
from typing import Any

MAX_DEPTH = 40

_NEUTRAL = ("other", "unknown", "none", "neutral", "general", "question")
_SYNONYMS: dict[str, tuple[str, ...]] = {
    "reply": ("answer", "response", "message", "text", "content", "body"),
    "language": ("lang", "locale"),
    "escalate": ("handoff", "needs_human", "escalation", "human"),
    "intent": ("category", "topic"),
    "sentiment": ("mood", "tone"),
}
_ALIASES = {alias: name for name, aliases in _SYNONYMS.items() for alias in aliases}
_INTENT_WORDS: dict[str, tuple[str, ...]] = {
    "price": ("price", "pricing", "cost", "prix"),
    "availability": ("availab", "stock", "product"),
    "delivery": ("deliver", "shipping"),
    "order_status": ("status", "track", "order"),
    "size": ("size", "product"),
    "order": ("purchase", "buy", "order", "sale"),
    "contact": ("lead", "contact"),
    "complaint": ("complain", "problem", "negative"),
    "return": ("return", "refund", "exchange", "complain"),
    "human": ("human", "agent", "escalat", "support"),
    "thanks": ("thank", "gratitude", "praise", "compliment"),
    "praise": ("praise", "compliment", "feedback", "thank"),
    "greeting": ("greet", "hello"),
    "location": ("location", "store", "hours", "address"),
    "payment": ("payment", "pay"),
    "discount": ("discount", "offer", "promo", "price"),
    "media": ("media", "image", "product"),
}
_FORMATS = {
    "email": "customer@example.com",
    "date-time": "2026-01-01T00:00:00Z",
    "date": "2026-01-01",
    "time": "00:00:00Z",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def fill(schema: Mapping[str, Any], known: Any = None) -> Any:
    """Return a value valid for `schema`; `known` is used where it fits, and its keys where properties match.

    Raises ValueError when the schema nests deeper than forty levels.
    """
    return _fill(schema, known, schema, 0)


def _fill(schema: Any, known: Any, root: Mapping[str, Any], depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise ValueError("schema: it nests too deep to be filled")
    if not isinstance(schema, Mapping):
        return known
    if "$ref" in schema:
        return _fill(_resolve(str(schema["$ref"]), root), known, root, depth + 1)
    if "const" in schema:
        return schema["const"]
    if isinstance(schema.get("enum"), list) and schema["enum"]:
        return _choose(schema["enum"], known)
    for word in ("anyOf", "oneOf", "allOf"):
        if isinstance(schema.get(word), list) and schema[word]:
            return _fill(_option(schema[word], known, root), known, root, depth + 1)
    kinds = schema.get("type", "object" if "properties" in schema else "string")
    kind = _kind(kinds if isinstance(kinds, list) else [kinds], known)
    if kind == "object":
        return _object(schema, known, root, depth)
    if kind == "array":
        return _array(schema, known, root, depth)
    return _scalar(kind, schema, known)


def _object(schema: Mapping[str, Any], known: Any, root: Mapping[str, Any], depth: int) -> dict[str, Any]:
    source = known if isinstance(known, Mapping) else {}
    properties = schema.get("properties")
    filled: dict[str, Any] = {}
    for name, inner in (properties if isinstance(properties, Mapping) else {}).items():
        value = source.get(name, source.get(_ALIASES.get(name, name)))
        filled[name] = _fill(inner, value, root, depth + 1)
    return filled


def _array(schema: Mapping[str, Any], known: Any, root: Mapping[str, Any], depth: int) -> list[Any]:
    items = known if isinstance(known, list) else []
    least = int(schema.get("minItems", 0))
    items = [*items, *([None] * (least - len(items)))][: int(schema.get("maxItems", 1000))]
    return [_fill(schema.get("items", {}), item, root, depth + 1) for item in items]


def _scalar(kind: str, schema: Mapping[str, Any], known: Any) -> Any:
    if kind == "null":
        return None
    if kind == "boolean":
        return known if isinstance(known, bool) else False
    if kind in {"integer", "number"}:
        low, high = schema.get("minimum"), schema.get("maximum")
        number = known if isinstance(known, int | float) and not isinstance(known, bool) else (low or 0)
        if high is not None and low is not None and known is None and kind == "number":
            number = low + (high - low) * 0.9
        number = min(max(number, low if low is not None else number), high if high is not None else number)
        return int(number) if kind == "integer" else number
    text = known if isinstance(known, str) else _FORMATS.get(str(schema.get("format")), "")
    least = int(schema.get("minLength", 0))
    return text.ljust(least, ".")[: int(schema.get("maxLength", max(least, len(text))))]


def _kind(kinds: list[Any], known: Any) -> str:
    fitting = [str(kind) for kind in kinds if _fits(str(kind), known)]
    if fitting:
        return fitting[0]
    if known is None and "null" in kinds:
        return "null"
    return next((str(kind) for kind in kinds if kind != "null"), "null")


def _fits(kind: str, known: Any) -> bool:
    if isinstance(known, bool):
        return kind == "boolean"
    types: dict[str, tuple[type, ...]] = {
        "string": (str,),
        "integer": (int,),
        "number": (int, float),
        "array": (list,),
        "object": (Mapping,),
        "null": (type(None),),
    }
    return isinstance(known, types.get(kind, ()))


def _option(options: list[Any], known: Any, root: Mapping[str, Any]) -> Any:
    def kinds(option: Any) -> list[str]:
        if isinstance(option, Mapping) and "$ref" in option:
            option = _resolve(str(option["$ref"]), root)
        if not isinstance(option, Mapping):
            return []
        if "enum" in option:
            return ["enum"] if known in option["enum"] else []
        declared = option.get("type", "object" if "properties" in option else "")
        return declared if isinstance(declared, list) else [declared]

    for option in options:
        if any(kind == "enum" or _fits(kind, known) for kind in kinds(option)):
            return option
    return next((option for option in options if kinds(option) != ["null"]), options[0])


def _choose(values: list[Any], known: Any) -> Any:
    if known in values:
        return known
    names = {str(value).lower(): value for value in values}
    for word in _INTENT_WORDS.get(str(known), ()):
        for name, value in names.items():
            if word in name:
                return value
    if known is None and None in values:
        return None
    return next((names[word] for word in _NEUTRAL if word in names), values[0])


def _resolve(pointer: str, root: Mapping[str, Any]) -> Any:
    found: Any = root
    for part in pointer.removeprefix("#").strip("/").split("/"):
        if not part:
            continue
        if not isinstance(found, Mapping):
            return {}
        found = found.get(part.replace("~1", "/").replace("~0", "~"), {})
    return found
