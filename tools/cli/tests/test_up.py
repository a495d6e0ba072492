"""What `jawab up` says can be tried works as it is printed."""

from pathlib import Path

from cli.up import commands
from devkit.stack import USUAL_PORTS, Ports, Stack


def test_the_usual_addresses_need_not_be_said(tmp_path: Path) -> None:
    _, simulate, doctor = commands(Stack(tmp_path, ports=USUAL_PORTS))
    assert simulate.endswith("--wait")
    assert doctor.endswith("jawab doctor")


def test_other_addresses_are_said_to_every_command(tmp_path: Path) -> None:
    ports = Ports(ingest=1, ai=2, delivery=3, cleanup=4, sandbox=5)
    curl, simulate, doctor = commands(Stack(tmp_path, ports=ports))
    assert "http://127.0.0.1:1/webhooks/instagram?" in curl
    assert simulate.endswith(" --url http://127.0.0.1:1/webhooks/instagram --sandbox http://127.0.0.1:5")
    for option in ("--url http://127.0.0.1:1", "--ai http://127.0.0.1:2", "--delivery http://127.0.0.1:3"):
        assert option in doctor
    assert "--cleanup http://127.0.0.1:4" in doctor
