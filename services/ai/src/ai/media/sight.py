"""Which of a customer's images a model gets to see. Pure.

Those of the turn that is answered, and those said a little earlier, because "and this one in blue?" is about them.
Links of the platform expire and each image costs tokens, so what is older than `RECENT`, or beyond `MOST_SHOWN`, is not
shown again: its line says "[image]" as before. Only links to hosts on the list are passed on, and only a customer's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from ai.history import Line
from ai.media.links import AllowedHosts
from ai.prompt import ImageDetail

RECENT = timedelta(minutes=30)
MOST_SHOWN = 4
"""Images in one prompt."""


@dataclass(frozen=True)
class Sight:
    """What a model can see: images on these hosts, looked at in this detail."""

    hosts: AllowedHosts
    detail: ImageDetail = "low"

    def choose(
        self, turn: Sequence[str], history: Sequence[Line], *, at: datetime
    ) -> tuple[tuple[str, ...], tuple[Line, ...]]:
        """Return the images of the turn that are shown, and the history with those of its lines; newest first chosen.

        `at` is when the customer wrote last.
        """
        shown = self._allowed(turn)[-MOST_SHOWN:]
        left = MOST_SHOWN - len(shown)
        seen: list[Line] = []
        for line in reversed(history):
            recent = line.role == "customer" and at - line.at <= RECENT
            images = self._allowed(line.images)[:left] if recent and left else ()
            left -= len(images)
            seen.append(replace(line, images=images) if line.images else line)
        return shown, tuple(reversed(seen))

    def _allowed(self, urls: Sequence[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(url for url in urls if self.hosts.link(url) is not None))


def blind(history: Sequence[Line]) -> tuple[Line, ...]:
    """Return the history for a model that sees nothing."""
    return tuple(replace(line, images=()) if line.images else line for line in history)
