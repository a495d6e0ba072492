"""Turns what a customer wrote into what is answered, by way of a model."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ai.answer import LONGEST_REPLY, Answer, shortened
from ai.completion import Completion, Usage
from ai.prompt import ChatMessage, Question, chat


class Model(Protocol):
    """Answers chat messages."""

    async def complete(self, messages: Sequence[ChatMessage], *, merchant: str = "") -> Completion:
        """Return an answer in a merchant's name. Raises ModelFailed."""
        ...


@dataclass(frozen=True)
class ModelAnswer:
    """An answer that may be sent, and what is known about its making."""

    text: str = field(repr=False)
    answer: Answer
    model: str
    usage: Usage


class InstagramAIService:
    """Answers as a merchant's assistant: history and message become a prompt, the model's answer is checked and cut."""

    def __init__(self, model: Model) -> None:
        self._model = model

    async def answer(self, question: Question) -> ModelAnswer:
        """Return what to send. Raises ModelFailed when the model gives nothing that can be sent."""
        completion = await self._model.complete(chat(question), merchant=question.merchant.id)
        text = shortened(completion.answer.reply, LONGEST_REPLY[question.channel])
        return ModelAnswer(text=text, answer=completion.answer, model=completion.model, usage=completion.usage)
