"""Looks out for people: nothing that was observed in a conversation before a send is announced stays unheeded.

Decision (docs/decisions/0008): watch the conversation, read who owns it and whether its window is open, write
`attempting`, and only then ask whether anything was observed since the watch began, up to the end of the log as of
that moment. Whoever was acknowledged before `attempting` was written is either in what was read, or disturbs the watch;
then `attempting` is taken back and all of it begins again.
"""

from contextlib import AsyncExitStack

from common.events.replies import MessageReaction, Reply
from common.failpoints import sabotaged
from common.kafka.barrier import ReadBarrier, Watch
from delivery.rules.policy import BOT_ORIGINS, SPEAKING

MOST_DISTURBED = 5
"""How often in a row a reply begins anew before it lets its lane wait."""

DISTURBED_SECONDS = 0.2


def heeds_people(reply: Reply) -> bool:
    """Tell whether a person's word comes before this reply: what a bot says does, what people ask for does not."""
    return isinstance(reply.action, (*SPEAKING, MessageReaction)) and reply.origin in BOT_ORIGINS


class Lookout:
    """The watch of one reply on its conversation; without a barrier there is nothing to heed."""

    def __init__(self, barrier: ReadBarrier | None, conversation_id: str) -> None:
        self._barrier = barrier
        self._conversation_id = conversation_id
        self._stack: AsyncExitStack | None = None
        self._watch: Watch | None = None

    async def begin(self) -> None:
        """Watch from now on, when everything read of the conversation is taken in. Raises Retryable."""
        if self._barrier is None or sabotaged("sabotage.no_lookout"):
            return
        await self.end()
        stack = AsyncExitStack()
        self._watch = await stack.enter_async_context(self._barrier.watching(self._conversation_id))
        self._stack = stack

    @property
    def watching(self) -> bool:
        """Whether anybody is looked out for."""
        return self._watch is not None

    async def undisturbed(self) -> bool:
        """Tell whether what was read since `begin` is still all there is to know, as of now. Raises Retryable."""
        return self._watch is None or await self._watch.undisturbed()

    async def end(self) -> None:
        """Watch no longer."""
        stack, self._stack, self._watch = self._stack, None, None
        if stack is not None:
            await stack.aclose()


async def caught_up(barrier: ReadBarrier, conversation_id: str) -> None:
    """Wait until everything observed in a conversation, up to the end of the log as of now, is taken in.

    Before what a person or a program asked for is withheld because the customer seems to be silent: their message may
    wait in the log, behind which the request overtook it. Raises Retryable.
    """
    async with barrier.watching(conversation_id) as watch:
        nothing_new = await watch.undisturbed()
    if not nothing_new:
        async with barrier.watching(conversation_id):
            return
