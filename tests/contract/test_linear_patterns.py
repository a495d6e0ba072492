"""Every regular expression of the source takes time in proportion to the text it searches.

Outside text reaches most of them, and Python's `re` can neither be stopped nor does it release the interpreter: one
quadratic pattern lets one text stop a service. The walk finds every pattern by reading the source, evaluates it in its
module, and runs it on texts made of its own characters. Linear patterns need milliseconds for the longest text,
quadratic ones need many seconds, so a bound between the two, in time of this thread alone, tells them apart on any
machine. Texts grow in steps, so that a bad pattern is found by a short one.
"""

import ast
import importlib
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from re import _constants, _parser  # the parser of `re` itself: nothing public takes a pattern apart
from typing import NamedTuple

import pytest
import regex

from ai.rules import DEFAULT_RULES

ROOT = Path(__file__).parents[2]
FUNCTIONS = {"compile", "search", "match", "fullmatch", "split", "findall", "finditer", "sub", "subn"}
KEPT_FLAGS = re.IGNORECASE | re.MULTILINE | re.DOTALL | re.VERBOSE | re.ASCII
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
LENGTHS = (22, 30, 40, 500, 3_000, 25_000, 100_000)
"""The shortest ones end what would take exponential time, before a longer one never ends."""
MAX_SECONDS = 0.25
MAX_SAMPLES = 6

COMPILED_AT_RUN_TIME = {
    # A merchant's own pattern: each search ends by a timeout (`ai.rules.REGEX_SECONDS`).
    ("ai.rules", "pattern"),
}


class Found(NamedTuple):
    module: str
    line: int
    pattern: str
    flags: int
    engine: str
    anchored: bool = False

    def __str__(self) -> str:
        return f"{self.module}:{self.line}" if self.line else f"{self.module}: {self.pattern[:30]}"


def sources() -> Iterator[tuple[str, Path]]:
    """Yield every module that is shipped, with its file."""
    for folder in sorted([*ROOT.glob("services/*/src"), *ROOT.glob("libs/*/src"), *ROOT.glob("tools/*/src")]):
        for file in sorted(folder.rglob("*.py")):
            parts = file.relative_to(folder).with_suffix("").parts
            if parts[-1] == "__main__":
                continue
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), file


def calls(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    """Yield the calls that take a pattern, with the engine's name."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="re" | "regex" as engine), attr=attr)) if (
                attr in FUNCTIONS
            ):
                yield engine, node


def uses(trees: Iterable[ast.Module]) -> defaultdict[str, set[str]]:
    """Return by which methods each named pattern is used, over all modules; a pattern without a name: by all."""
    used: defaultdict[str, set[str]] = defaultdict(set)
    for node in (one for tree in trees for one in ast.walk(tree)):
        if isinstance(node, ast.Attribute):
            owner = node.value
            name = owner.id if isinstance(owner, ast.Name) else owner.attr if isinstance(owner, ast.Attribute) else ""
            used[name].add(node.attr if node.attr in FUNCTIONS else "search")
        elif isinstance(node, ast.Call | ast.Return):  # handed on: nobody knows how it is used there
            handed = [*node.args] if isinstance(node, ast.Call) else [node.value]
            for one in handed:
                if isinstance(one, ast.Name):
                    used[one.id].add("search")
    used[""] = {"search"}
    return used


def evaluated(node: ast.expr, names: dict[str, object]) -> object:
    return eval(compile(ast.Expression(node), "<pattern>", "eval"), names)  # noqa: S307 - the source of this repository


def compiled_in(value: object, module: str) -> Iterator[Found]:
    """Yield the patterns among a module's constants: those made in a comprehension have no text of their own."""
    if isinstance(value, re.Pattern | regex.Pattern):
        text = value.pattern if isinstance(value.pattern, str) else value.pattern.decode("latin-1")
        flags = value.flags & ~re.UNICODE if isinstance(value.pattern, bytes) else value.flags
        if isinstance(value, re.Pattern):
            yield Found(module, 0, text, flags & KEPT_FLAGS, "re")
        else:
            yield Found(module, 0, text, flags & regex.IGNORECASE, "regex")
    elif isinstance(value, tuple | list | frozenset):
        for one in value:
            yield from compiled_in(one, module)
    elif isinstance(value, dict):
        yield from compiled_in(list(value.values()), module)


def found() -> list[Found]:
    patterns: list[Found] = []
    trees = {module: ast.parse(file.read_text(encoding="utf-8")) for module, file in sources()}
    used = uses(trees.values())
    for module, tree in trees.items():
        names_of = {
            id(node.value): node.targets[0].id
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        }
        inside = {id(one) for node in ast.walk(tree) if isinstance(node, FUNCTION) for one in ast.walk(node)}
        for engine, call in calls(tree):
            assert call.args, f"{module}:{call.lineno}: name the pattern by position"
            if (module, ast.unparse(call.args[0])) in COMPILED_AT_RUN_TIME:
                continue
            names = vars(importlib.import_module(module))
            try:
                pattern = evaluated(call.args[0], names)
                flags = [evaluated(one, names) for one in call.args[1:] if "re." in ast.unparse(one)]
            except NameError:
                if id(call) in inside:
                    pytest.fail(f"{module}:{call.lineno}: a pattern has to be a constant of its module")
                patterns += compiled_in(tuple(names.values()), module)
                continue
            assert isinstance(pattern, str | bytes), f"{module}:{call.lineno}: {pattern!r}"
            text = pattern.decode("latin-1") if isinstance(pattern, bytes) else pattern
            flag = 0
            for one in flags:
                flag |= int(one)
            anchored = used[names_of.get(id(call), "")] <= {"match", "fullmatch"}
            patterns.append(Found(module, call.lineno, text, flag, engine, anchored))
    for rule in DEFAULT_RULES:
        if rule.when.match == "regex":
            patterns += [Found("ai.rules", 0, value, 0, "regex") for value in rule.when.values]
    return list(dict.fromkeys(patterns))


# What a pattern's texts are made of

REPEATS = {_constants.MAX_REPEAT, _constants.MIN_REPEAT, _constants.POSSESSIVE_REPEAT}
_CATEGORIES = {
    _constants.CATEGORY_DIGIT: "7",
    _constants.CATEGORY_SPACE: " ",
    _constants.CATEGORY_WORD: "a",
    _constants.CATEGORY_NOT_DIGIT: "a",
    _constants.CATEGORY_NOT_SPACE: "a",
    _constants.CATEGORY_NOT_WORD: ".",
}


def of_class(items: list) -> list[str]:
    """Return some characters of a class."""
    characters: list[str] = []
    for kind, value in items:
        if kind is _constants.LITERAL:
            characters.append(chr(value))
        elif kind is _constants.RANGE:
            characters += [chr(value[0]), chr(value[1])]
        elif kind is _constants.CATEGORY:
            characters.append(_CATEGORIES[value])
    if items and items[0][0] is _constants.NEGATE:
        return [one for one in "a1 .\n\"'<[(*_" if one not in characters]
    return characters


def one_of(kind: object, value: object) -> list[str] | None:
    """Return some characters that a part of a pattern takes, None where it is made of other parts."""
    if kind is _constants.LITERAL:
        return [chr(value)]
    if kind is _constants.NOT_LITERAL:
        return [one for one in "a1 ." if one != chr(value)]
    if kind is _constants.ANY:
        return ["a"]
    return of_class(value) if kind is _constants.IN else None


def inside(kind: object, value: object) -> list[object]:
    """Return the parts that a part of a pattern is made of."""
    if kind in REPEATS:
        return [value[2]]
    if kind is _constants.BRANCH:
        return list(value[1])
    if kind is _constants.SUBPATTERN:
        return [value[3]]
    if kind in {_constants.ASSERT, _constants.ASSERT_NOT}:
        return [value[1]]
    return [value] if kind is _constants.ATOMIC_GROUP else []


def pieces(parsed: object) -> Iterator[list[str]]:
    """Yield for each part of a parsed pattern that takes characters which these are; repeated parts as a whole, too."""
    for kind, value in parsed:
        characters = one_of(kind, value)
        if characters is not None:
            yield characters
            continue
        within = [piece for part in inside(kind, value) for piece in pieces(part)]
        yield from within
        if kind in REPEATS and len(within) > 1:
            yield [sample(within)]


def sample(parts: list[list[str]]) -> str:
    return "".join(characters[0] for characters in parts if characters)


def seeds(pattern: str, flags: int) -> list[str]:
    """Return short texts which, repeated, make the texts that a pattern finds hardest."""
    try:
        parts = list(pieces(_parser.parse(pattern, flags)))
    except re.error:  # only the `regex` package reads it
        parts = [[one] for one in "a1 .\n-\"'*_[(<&"]
    whole = sample(parts)
    singles = list(dict.fromkeys(one for characters in parts for one in characters))[:16]
    some = singles[:MAX_SAMPLES]
    pairs = [first + second for first in some for second in some if first != second]
    cuts = [whole[:n] for n in range(1, min(len(whole), 10))]
    return list(dict.fromkeys(filter(None, [whole, *singles, *pairs, *cuts])))


def texts(pattern: str, flags: int, length: int) -> Iterator[str]:
    """Yield texts of about `length` characters: each seed over and over, begun right, and ended wrong."""
    some = seeds(pattern, flags) or [""]
    begun = some[0][: len(some[0]) // 2]
    for seed in some if length < LENGTHS[-1] else some[:3]:
        yield begun + seed * (length // max(len(seed), 1)) + "\x00"


def seconds(compiled: object, text: str, *, anchored: bool) -> float:
    began = time.thread_time()
    if anchored:
        compiled.match(text)
    else:
        for _ in compiled.finditer(text):
            pass
    compiled.fullmatch(text)
    return time.thread_time() - began


def slowest(pattern: str, flags: int = 0, engine: str = "re", *, anchored: bool = False) -> tuple[float, str]:
    """Return the longest time any text took, and the first characters of that text; the first above the bound."""
    compiled = (regex if engine == "regex" else re).compile(pattern, flags)
    worst = (0.0, "")
    for length in LENGTHS:
        for text in texts(pattern, flags, length):
            taken = seconds(compiled, text, anchored=anchored)
            if taken > MAX_SECONDS:  # once more: the collector may have run in between
                taken = min(taken, seconds(compiled, text, anchored=anchored))
            worst = max(worst, (taken, text[:20]))
            if worst[0] > MAX_SECONDS:
                return worst
    return worst


ALL = found()


@pytest.mark.parametrize("one", ALL, ids=str)
def test_every_pattern_is_linear(one: Found) -> None:
    taken, text = slowest(one.pattern, one.flags, one.engine, anchored=one.anchored)
    assert taken <= MAX_SECONDS, f"{one}: {one.pattern!r} took {taken:.1f} s of a text that begins with {text!r}"


def test_the_walk_finds_patterns_everywhere() -> None:
    packages = {one.module.split(".")[0] for one in ALL}
    assert {"ai", "ingest", "delivery", "common", "cli", "devkit"} <= packages
    assert len(ALL) >= 30


@pytest.mark.parametrize(
    "pattern",
    [
        "[.!?؟…。\\n]+[\"'»”)\\]]*(?=\\s|$)",  # the sentence end that stopped a service
        r"\s+$",
        r"(a+)+$",
        r"<[^>]*>",
    ],
)
def test_patterns_that_are_not_linear_are_caught(pattern: str) -> None:
    assert slowest(pattern)[0] > MAX_SECONDS
