"""Nothing that ships reads a clock of the machine but `common.clock`: a time that is compared has a kind of its own."""

import ast

import pytest

SHIPPED = ("libs/common/src", "services/ingest/src", "services/ai/src", "services/delivery/src", "services/cleanup/src")
ALLOWED = {"libs/common/src/common/clock.py"}
WALL_CLOCKS = {
    ("datetime", "now"),
    ("datetime", "utcnow"),
    ("datetime", "today"),
    ("date", "today"),
    ("time", "time"),
    ("time", "time_ns"),
    ("time", "localtime"),
    ("time", "gmtime"),
}


def clocks_read(source):
    """Return the lines of a module that read a wall clock."""
    tree = ast.parse(source)
    named = {
        (node.module, alias.name, alias.asname or alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "time"
        for alias in node.names
    }
    bare = {name for module, original, name in named if (module, original) in WALL_CLOCKS}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in bare:
            found.append(node.lineno)
        if isinstance(node, ast.Attribute):
            owner = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
            if (owner, node.attr) in WALL_CLOCKS:
                found.append(node.lineno)
    return found


@pytest.mark.parametrize(
    "source",
    [
        "datetime.now(UTC)",
        "datetime.datetime.utcnow()",
        "time.time()",
        "now = time.time",
        "from time import time_ns\ntime_ns()",
        "from time import time as t\nt()",
        "datetime.date.today()",
    ],
)
def test_a_wall_clock_is_noticed(source):
    assert clocks_read(source)


@pytest.mark.parametrize("source", ["clock.now()", "time.monotonic()", "datetime.fromtimestamp(1, UTC)"])
def test_what_reads_none_is_not_complained_about(source):
    assert not clocks_read(source)


def test_only_the_clock_module_reads_the_machines_clock(project_root):
    read = {
        f"{path.relative_to(project_root)}:{line}"
        for folder in SHIPPED
        for path in (project_root / folder).rglob("*.py")
        if str(path.relative_to(project_root)) not in ALLOWED
        for line in clocks_read(path.read_text(encoding="utf-8"))
    }
    assert read == set(), "take a Clock as an argument, or common.clock.monotonic for a wait"
