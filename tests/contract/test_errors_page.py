"""`docs/errors.md` says what the error tables say, and every action and alert it names is there."""

from typing import get_args

import yaml

from delivery.errors_page import ALERTS, DONE, page
from delivery.platforms.sending import Action


def test_the_page_is_as_the_tables_are(project_root):
    written = (project_root / "docs" / "errors.md").read_text(encoding="utf-8")
    assert written == page(), "run: python -m delivery.errors_page docs/errors.md"


def test_every_action_is_explained():
    assert DONE.keys() == set(get_args(Action))


def test_every_action_that_is_no_end_in_itself_leads_to_an_alert_that_exists(project_root):
    rules = yaml.safe_load((project_root / "deploy" / "prometheus" / "alerts.yml").read_text(encoding="utf-8"))
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    assert set(ALERTS.values()) <= alerts
    assert set(get_args(Action)) - ALERTS.keys() == {"retry", "ignore"}
