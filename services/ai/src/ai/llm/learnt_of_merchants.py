"""What was learnt of a server, for all merchants and for each. Nothing of it is stored.

Until a request was accepted every refusal teaches all merchants. From then on the form is everybody's, and what is
refused lies in what one merchant asks, its long instructions or a customer's picture, not in what the server takes: it
is remembered for that merchant alone, for `MAX_AGE`. So nobody's requests change those of the others.
"""

from collections import OrderedDict
from collections.abc import Callable

from ai.llm.capabilities import Capabilities, Learnt

MAX_MERCHANTS = 1000
"""With a form of their own; who is forgotten learns again."""


class LearntOfMerchants:
    """Keeps what was learnt of one server and model."""

    def __init__(self, guess: Capabilities, *, now: Callable[[], float]) -> None:
        self._now = now
        self._for_all = Learnt(guess, now=now)
        self._own: OrderedDict[str, Learnt] = OrderedDict()

    def of(self, merchant: str) -> Learnt:
        """Return what a merchant's requests go by, and teach."""
        form = self._for_all.form()
        if not self._for_all.is_proven(form):
            return self._for_all
        own = self._own.get(merchant)
        if own is None:
            own = Learnt(form, now=self._now)
            own.prove(form)
        return own

    def note(self, merchant: str, learnt: Learnt) -> None:
        """Keep what a merchant's requests have taught, where that is not what all go by."""
        if learnt is not self._for_all and learnt.form() != self._for_all.form():
            self._own[merchant] = learnt
            self._own.move_to_end(merchant)
            while len(self._own) > MAX_MERCHANTS:
                self._own.popitem(last=False)
