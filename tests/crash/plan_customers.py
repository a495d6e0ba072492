"""What customers, agents and forgers do in a chaos run, and when, drawn from a seed. Pure; see `plan`."""

import random
from collections.abc import Iterator, Sequence

from steps import Edit, Erase, How, PersonAnswers, Say, Unsend, Webhook, conversation_of

WITH_A_PERSON = 0.12
ERASED = 0.08
FORGED = 4
LAST_WORDS = 0.35


def webhooks_of(draw: random.Random, conversations: int, heal_at: float) -> tuple[Webhook, ...]:
    found: list[Webhook] = []
    for conversation in range(conversations):
        found += _conversation(draw, conversation, heal_at)
    for conversation in range(conversations, conversations + FORGED):
        items = (Say(conversation, 1),)
        found += [Webhook(draw.uniform(0.0, heal_at), items, forged=True) for _ in range(2)]
    return tuple(sorted(_batched(draw, found), key=lambda webhook: (webhook.at, str(webhook))))


def _conversation(draw: random.Random, conversation: int, heal_at: float) -> list[Webhook]:
    found: list[Webhook] = []
    at = draw.uniform(0.0, heal_at * 0.8)
    number = 0
    episodes = draw.randint(1, 4)
    person_at = draw.randint(1, episodes) if draw.random() < WITH_A_PERSON else 0
    erased_at = draw.randint(1, episodes) if not person_at and draw.random() < ERASED else 0
    for episode in range(1, episodes + 1):
        said: list[Webhook] = []
        how, length, gap, loose = _episode(draw)
        for _ in range(length):
            number += 1
            copies = draw.choice((2, 3, 4)) if draw.random() < 0.1 else 1
            said.append(Webhook(at, (Say(conversation, number, how),), copies, loose=loose))
            at += gap * draw.uniform(0.3, 1.0)
        found += said
        found += _second_thoughts(draw, said)
        if episode == person_at:
            late = draw.choice((0.0, 0.1, 0.3, 1.0, 2.0)) * draw.uniform(0.5, 1.0)
            found.append(Webhook(at + late, (PersonAnswers(conversation, 1),)))
        if episode == erased_at:
            found.append(Webhook(at + draw.choice((0.0, 0.5, 3.0)), (Erase(conversation),)))
        at += draw.uniform(1.0, max(2.0, heal_at / 6))
        if at >= heal_at:
            break
    found = [webhook for webhook in found if webhook.at < heal_at]
    if draw.random() < LAST_WORDS or erased_at:
        found.append(Webhook(heal_at + draw.uniform(0.5, 3.5), (Say(conversation, number + 1),)))
    return found


def _episode(draw: random.Random) -> tuple[How, int, float, bool]:
    """Return how it is said, in how many messages, with how many seconds between them, and whether in any order."""
    chance = draw.random()
    if chance < 0.30:
        return "text", draw.randint(2, 5), draw.choice((0.05, 0.4, 1.5)), draw.random() < 0.15
    ways: Sequence[How] = ("text", "text", "text", "text", "long", "story", "postback", "comment", "comment", "live")
    return draw.choice(ways), 1, 0.1, False


def _second_thoughts(draw: random.Random, said: Sequence[Webhook]) -> Iterator[Webhook]:
    """Yield what happens to a message afterwards: changed, taken back, delivered again."""
    for webhook in said:
        say = webhook.items[0]
        if not isinstance(say, Say):
            continue
        chance = draw.random()
        if say.how == "text" and chance < 0.06:
            yield Webhook(webhook.at + draw.choice((0.05, 0.5, 3.0)), (Edit(say),))
        elif say.how == "text" and chance < 0.11:
            yield Webhook(webhook.at + draw.choice((0.05, 0.5, 3.0)), (Unsend(say),))
        elif chance < 0.22:
            yield Webhook(webhook.at + draw.choice((1.0, 8.0, 30.0)), webhook.items, loose=True, again=True)


def _batched(draw: random.Random, webhooks: list[Webhook]) -> Iterator[Webhook]:
    """Put some neighbours into one body, as the platform does when it has much to tell."""
    waiting: Webhook | None = None
    for webhook in sorted(webhooks, key=lambda webhook: (webhook.at, str(webhook))):
        apart = webhook.loose or webhook.forged or webhook.again or isinstance(webhook.items[0], Erase)
        plain = not apart and webhook.copies == 1
        if waiting is not None and (webhook.at - waiting.at >= 0.5 or not _apart(waiting, webhook)):
            yield waiting
            waiting = None
        if waiting is not None and plain and len(waiting.items) < 4:
            waiting = Webhook(webhook.at, (*waiting.items, *webhook.items))
        elif waiting is None and plain and draw.random() < 0.05:
            waiting = webhook
        else:
            yield webhook
    if waiting is not None:
        yield waiting


def _apart(one: Webhook, other: Webhook) -> bool:
    return not {conversation_of(item) for item in one.items} & {conversation_of(item) for item in other.items}
