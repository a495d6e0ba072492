"""What a page of the documentation points to is there."""

import re
from pathlib import Path

LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def test_every_relative_link_in_the_documentation_leads_somewhere(project_root: Path):
    pages = [*project_root.glob("*.md"), *project_root.glob("docs/**/*.md")]
    dead = [
        f"{page.relative_to(project_root)}: {target}"
        for page in pages
        for target in LINK.findall(page.read_text(encoding="utf-8"))
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert dead == []
