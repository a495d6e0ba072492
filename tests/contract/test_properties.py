"""Property tests judge what the code does, and never how fast the machine is that day."""

import re

from hypothesis import HealthCheck, settings


def test_no_example_has_a_deadline():
    assert settings.default.deadline is None
    assert HealthCheck.too_slow in settings.default.suppress_health_check


def test_no_test_sets_a_deadline_of_its_own(project_root):
    tests = [*project_root.glob("*/*/tests/**/*.py"), *project_root.glob("tests/**/*.py")]
    assert len(tests) > 100
    deadline = re.compile(r"settings\([^)]*deadline=(?!None)")
    assert [path.name for path in tests if deadline.search(path.read_text(encoding="utf-8"))] == []
