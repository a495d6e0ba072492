"""How `jawab` answers: groups, one line for each failure, codes, and nothing imported that is not used."""

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from aiokafka.errors import KafkaConnectionError
from pymongo.errors import ServerSelectionTimeoutError

from cli.app import COMMANDS, run
from cli.explanation import failure_of
from cli.failures import Failure, Misconfigured

Jawab = Callable[..., tuple[int, str, str]]


def test_help_lists_every_command_under_its_group(jawab: Jawab) -> None:
    code, out, err = jawab("--help")
    assert (code, err) == (0, "")
    positions = [out.index(title) for title in ("Try it", "Set it up", "Look into it")]
    assert positions == sorted(positions)
    assert all(f" {name} " in out and about in out for name, _, _, about in COMMANDS)


@pytest.mark.parametrize("name", [name for name, *_ in COMMANDS])
def test_every_command_explains_itself(jawab: Jawab, name: str) -> None:
    code, out, err = jawab(name, "--help")
    assert (code, err) == (0, "")
    assert f"jawab {name}" in out


def test_help_needs_no_driver() -> None:
    """A command that takes a second to print its help is not asked for it."""
    probe = (
        "import sys; from cli.app import run; run(['--help']);"
        "sys.exit(any(name in sys.modules for name in ('aiokafka', 'pymongo', 'litestar', 'openai', 'uvicorn')))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, check=False, env=dict(os.environ))
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["smulate"], "there is no command 'smulate' → did you mean `jawab simulate`?"),
        (["topics", "aply"], "there is no command 'aply'"),
        (["topics", "apply", "--wrong"], "Unknown option"),
        (["simulate", "dance"], "Invalid value"),
        (["token"], "--merchant"),
        (["topics", "apply", "--replication-factor", "many"], "many"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_code_1(jawab: Jawab, arguments: list[str], said: str) -> None:
    code, out, err = jawab(*arguments)
    assert code == 1
    assert out == ""
    assert said in err
    assert err.count("\n") == 1


def test_a_missing_variable_is_one_line_and_code_78(jawab: Jawab) -> None:
    code, out, err = jawab("token", "--merchant", "dar")
    assert (code, out) == (78, "")
    assert err == "jawab: JWT_SECRET is not set (.env.example explains every variable)\n"


def test_the_file_of_the_working_directory_is_read(jawab: Jawab, tmp_path) -> None:
    (tmp_path / ".env").write_text("JWT_SECRET=" + "s" * 32)
    assert jawab("token", "--merchant", "dar")[0] == 0


def test_the_version_is_printed(jawab: Jawab) -> None:
    assert jawab("version")[1].startswith("jawab ")
    assert jawab("--version")[0] == 0


class Broken:
    """A command that fails in its own way."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __call__(self, arguments: list[str]) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (Failure("it broke", "mend it"), 1, "jawab: it broke → mend it\n"),
        (Misconfigured("X is not set"), 78, "jawab: X is not set\n"),
        (KafkaConnectionError("127.0.0.1:9092"), 1, "KAFKA_BOOTSTRAP_SERVERS"),
        (ServerSelectionTimeoutError("mongodb://user:password@host"), 1, "MONGODB_URL"),
        (TimeoutError(), 1, "no answer came in time"),
        (FileNotFoundError(2, "No such file or directory", "body.json"), 1, "body.json"),
        (ZeroDivisionError("what a customer wrote"), 1, "unexpected ZeroDivisionError at test_app.py:"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_every_failure_is_at_most_one_line_and_quotes_nothing(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, code: int, said: str
) -> None:
    assert run([], Broken(error)) == code  # type: ignore[arg-type]
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") <= 1
    assert "Traceback" not in err
    assert "password" not in err
    assert "what a customer wrote" not in err


def test_a_part_that_is_not_installed_is_named() -> None:
    assert "cli.nowhere" in failure_of(ModuleNotFoundError("No module named 'cli.nowhere'")).reason


def test_a_reader_that_leaves_early_is_no_error() -> None:
    """`jawab … | head` closes the pipe."""
    probe = "import sys; from cli.app import main; sys.argv = ['jawab', '--help']; main()"
    process = subprocess.Popen([sys.executable, "-c", probe], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate(timeout=60)
    assert b"Traceback" not in err
