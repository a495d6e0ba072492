"""A request for an answer, and what is changed about it after a failure. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from ai.completion import ModelFailed
from ai.llm.capabilities import Capabilities, Learnt, is_of_context, lessons, plainer
from ai.prompt import ChatMessage, without_history, without_images

MAX_ROOM = 4
"""How many times the room for thinking may grow, all answers together."""


class RequestObserver(Protocol):
    """Notes what a server does not take."""

    def images_refused(self) -> None:
        """Note that a request with images was refused."""
        ...


@dataclass(frozen=True)
class Request:
    """What is asked, and in which form."""

    form: Capabilities
    messages: Sequence[ChatMessage]


class Changes:
    """The changes to one request. Each form is tried once, so they end.

    A parameter that the server names is done without, and that is remembered at once. A refusal that names none may
    mean the images, or a form that this server never accepted; what then works is remembered. An answer that did not
    fit gets more room once, and so do all later ones where thinking alone had used the room up.
    """

    def __init__(self, request: Request, learnt: Learnt, *, thinking: int, observer: RequestObserver) -> None:
        self.request = request
        self._learnt = learnt
        self._thinking = thinking
        self._observer = observer
        self._tried = {request.form}
        self._roomier = False

    def after(self, failure: ModelFailed) -> bool:
        """Change the request where that may help; return whether it was changed."""
        if failure.reason == "truncated":
            return self._give_room(failure)
        if failure.reason != "bad_request":
            return False
        if is_of_context(failure.refusal) and not self.request.form.thinking and self._with_less_context(failure):
            return True  # servers name the limit of the answer where the question was too long for it
        return self._without_refused(failure) or self._with_less_context(failure) or self._in_plainest_form(failure)

    def worked(self) -> None:
        """Note that the server accepted the request as it is now."""
        self._learnt.prove(self.request.form)

    def _without_refused(self, failure: ModelFailed) -> bool:
        forms = lessons(self.request.form, failure.refusal, thinking=self._thinking)
        form = next((form for form in forms if form not in self._tried), None)
        if form is None:
            return False
        self._learnt.learn(form)
        return self._take(form)

    def _with_less_context(self, failure: ModelFailed) -> bool:
        messages = self.request.messages
        if is_of_context(failure.refusal):
            shorter = without_history(messages)
        else:
            shorter = without_images(messages)
            if shorter != list(messages):
                self._observer.images_refused()
        if shorter == list(messages):
            return False
        self.request = replace(self.request, messages=shorter)
        return True

    def _in_plainest_form(self, failure: ModelFailed) -> bool:
        if self._learnt.is_proven(self.request.form):
            return False
        tried = {replace(form, thinking=0) for form in self._tried}
        forms = plainer(self.request.form, failure.refusal, thinking=self._thinking)
        form = next((form for form in forms if replace(form, thinking=0) not in tried), None)
        return form is not None and self._take(form)

    def _give_room(self, failure: ModelFailed) -> bool:
        form = self.request.form
        room = min(form.thinking * 2 or self._thinking, self._thinking * MAX_ROOM)
        if self._roomier or room <= form.thinking or form.limit is None:
            return False
        self._roomier = True
        form = replace(form, thinking=room)
        if failure.only_thoughts:
            self._learnt.learn(form)
        return self._take(form)

    def _take(self, form: Capabilities) -> bool:
        self._tried.add(form)
        self.request = replace(self.request, form=form)
        return True
