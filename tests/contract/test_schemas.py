"""The published schemas are the ones the code has."""

from common.events.schemas import schema_files


def test_the_schema_files_are_what_make_schemas_writes(project_root):
    folder = project_root / "docs" / "schemas"
    assert {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.json")} == schema_files()
