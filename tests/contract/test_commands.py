"""Every command that a page names can be typed: it exists, and takes the options it is shown with."""

import html
import re
import shlex
from pathlib import Path

import pytest

from cli.app import create_app, run

COMMAND = re.compile(r"(?:[`>]|^ *|\$\()(?:scripts/uv run )?jawab ((?:\\\n|[^`<\n()]|<[A-Za-z -]+>)+)", re.MULTILINE)
PAGE = "tools/devkit/src/devkit/sandbox/page.html"


def commands_in(text: str) -> list[list[str]]:
    """Return the commands of a page as words, without what stands for something left out."""
    found = (re.sub(r"<[A-Za-z -]+>", "111", one.replace("\\\n", " ")) for one in COMMAND.findall(text))
    words = ([word.partition("|")[0] for word in shlex.split(one, comments=True)] for one in found)
    return [[word for word in one if word != "…"] for one in words]


def mistake(words: list[str]) -> str:
    """Return what is wrong with a command line; what it lacks is no mistake of a page that only names it."""
    _, apps, rest = create_app().parse_commands(words)
    options = {word.partition("=")[0] for word in [*words, *rest] if word.startswith("--")} - {"--help"}
    if apps[-1].default_command is None:
        return f"there is no {rest[0]}" if rest else ""
    if not options:
        return ""
    known = {name for argument in apps[-1].assemble_argument_collection() for name in argument.names}
    return ", ".join(f"there is no {option}" for option in sorted(options - known))


def test_every_command_of_the_documentation_can_be_typed(project_root: Path) -> None:
    pages = [*project_root.glob("*.md"), *project_root.glob("docs/**/*.md"), project_root / PAGE]
    named = [(page, words) for page in pages for words in commands_in(page.read_text(encoding="utf-8"))]
    assert len(named) > 40
    wrong = [f"{page.name}: jawab {' '.join(words)}: {said}" for page, words in named if (said := mistake(words))]
    assert wrong == []


@pytest.mark.parametrize("words", [["waitng"], ["merchants", "conect", "dar"], ["token", "--merchnt", "dar"]])
def test_a_command_that_does_not_exist_would_be_noticed(words: list[str]) -> None:
    assert mistake(words)


def test_what_the_sandboxs_page_proposes_can_be_done(
    project_root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("META_APP_SECRET", "secret")
    monkeypatch.setenv("INSTAGRAM_PAGE_ID", "17841400000000001")
    (proposed,) = commands_in(html.unescape((project_root / PAGE).read_text(encoding="utf-8")))
    assert run([*proposed, "--show"]) == 0
