"""`jawab`: the commands by group, and how each ends.

Commands are named by where they are and imported when they are used, so that `jawab --help` answers at once and a
command can be tried on a machine where another one's needs are missing.
"""

import difflib
import logging
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

import structlog
from cyclopts import App, CycloptsError, Group, Parameter, UnknownCommandError

from cli.environment import RUNNING_STACK, read_dotenv, read_running
from cli.failures import EXIT_FAILED, Failure, show

INTERRUPTED = 130
"""128 + SIGINT, as shells say it."""

STARTING = (["up"], ["demo"])
"""Commands that start a world of their own and must not take another's addresses for the operator's wishes."""

TRYING = Group("Try it", sort_key=1)
RUNNING = Group("Set it up", sort_key=2)
LOOKING = Group("Look into it", sort_key=3)

COMMANDS: tuple[tuple[str, str, Group, str], ...] = (
    ("demo", "cli.demo:demo", TRYING, "Start everything, play conversations, show what was delivered."),
    ("up", "cli.up:up", TRYING, "Start everything and stay up."),
    ("simulate", "cli.simulate:simulate", TRYING, "Act as a customer: send a signed webhook."),
    ("doctor", "cli.doctor:doctor", RUNNING, "Check the set-up and say how to mend what is wrong."),
    ("topics", "cli.topics:app", RUNNING, "Create and list the Kafka topics."),
    ("merchants", "cli.merchants:app", RUNNING, "Add, change and list merchants and their rules."),
    (
        "secrets",
        "cli.secrets_rotation:app",
        RUNNING,
        "Seal merchants' stored keys and tokens again with the newest key.",
    ),
    ("privacy", "cli.privacy:app", RUNNING, "Erase or export what is stored of customers."),
    ("token", "cli.tokens:token", RUNNING, "Make a token for the HTTP API of one merchant."),
    ("waiting", "cli.waiting:waiting", LOOKING, "List the conversations that wait for a person."),
    ("conversation", "cli.conversation:conversation", LOOKING, "Show one conversation and what became of each reply."),
    ("replay", "cli.replay:replay", LOOKING, "Compare what was decided with what would be decided now."),
    ("dlq", "cli.dead_letters:app", LOOKING, "List and show dead letters."),
)


def create_app() -> App:
    """Return the command with every subcommand under its group."""
    app = App(
        name="jawab",
        help="Answers a merchant's Instagram customers. A `.env` in this directory is read; the environment wins.",
        version=installed_version("jawab-cli"),
        help_flags=("--help", "-h"),
        exit_on_error=False,
        print_error=False,
        help_format="plaintext",
        default_parameter=Parameter(negative=()),
        result_action="return_value",
        suppress_keyboard_interrupt=False,
    )
    app["--help"].group = app["--version"].group = Group("Options", sort_key=9)
    for name, place, group, about in COMMANDS:
        app.command(place, name=name, help=about, group=group)

    @app.command(name="version", group=LOOKING)
    def version() -> None:
        """Print the version."""
        sys.stdout.write(f"jawab {installed_version('jawab-cli')}\n")

    return app


def run(arguments: Sequence[str], app: App | None = None) -> int:
    """Run one command and return its exit code. Every failure becomes one line on standard error."""
    try:
        if list(arguments[:1]) not in STARTING:
            read_running(RUNNING_STACK, os.environ)
        read_dotenv(Path(".env"), os.environ)
        result: Any = (app or create_app())(list(arguments))
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit as leaving:
        return _exit_code(leaving)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the exit's flush has somewhere to go
        return EXIT_FAILED
    except UnknownCommandError as error:
        show(_unknown(str((error.unused_tokens or [""])[0])))
        return EXIT_FAILED
    except CycloptsError as error:
        error.verbose = False
        show(Failure(str(error), "`--help` after the command lists what it takes"))
        return EXIT_FAILED
    except Failure as failure:
        show(failure)
        return failure.code
    except Exception as error:
        if os.environ.get("JAWAB_DEBUG"):
            raise
        from cli.explanation import failure_of  # noqa: PLC0415 it brings every driver

        explained = failure_of(error)
        show(explained)
        return explained.code
    return result if isinstance(result, int) else 0


def _exit_code(leaving: SystemExit) -> int:
    code: object = leaving.code
    return code if isinstance(code, int) else EXIT_FAILED if code else 0


def _unknown(typed: str) -> Failure:
    """Not cyclopts' own words: to find what is similar it would import every command."""
    close = difflib.get_close_matches(typed, [name for name, *_ in COMMANDS], n=1)
    hint = f"did you mean `jawab {close[0]}`?" if close else "`--help` lists the commands"
    return Failure(f"there is no command {typed!r}", hint)


def main() -> None:
    """Be the `jawab` script."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without Arabic gets question marks, not a crash
    # What libraries log would stand between the lines of a result, or inside its JSON.
    logging.getLogger().addHandler(logging.NullHandler())
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    sys.exit(run(sys.argv[1:]))
