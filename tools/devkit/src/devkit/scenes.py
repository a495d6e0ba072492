"""The scenes of the demo: who writes what, and what must reach them. Pure data; `devkit.demo` plays it.

A scene's expectation is a count of what must be delivered to its people, by kind; anything else that arrives there, or
a second copy, is a failure.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from devkit.simulator import Simulator
from devkit.updates import Update

Kind = Literal["message", "comment_reply", "private_reply", "notification"]


@dataclass(frozen=True)
class Webhook:
    """One POST to Jawab: what it carries, how often it is delivered, and whether its signature is right."""

    updates: tuple[Update, ...]
    times: int = 1
    forged: bool = False


@dataclass(frozen=True)
class Scene:
    """A few webhooks and what must come of them. `expected` counts by (contact, kind)."""

    title: str
    webhooks: tuple[Webhook, ...]
    expected: Counter[tuple[str, Kind]]
    says: dict[str, str] = field(default_factory=dict)
    """What each customer's line looks like to a reader, by update id."""

    @property
    def contacts(self) -> list[str]:
        """The people of the scene, in the order in which they first appear."""
        return list(dict.fromkeys(u.contact for w in self.webhooks for u in w.updates if u.contact))


def scenes(simulator: Simulator) -> list[Scene]:
    """Return the demo's scenes; the simulator's seed decides the ids."""
    s = simulator

    def one(title: str, update: Update, shown: str, *kinds: Kind) -> Scene:
        expected: Counter[tuple[str, Kind]] = Counter((update.contact, kind) for kind in kinds)
        return Scene(title, (Webhook((update,)),), expected, {update.id: shown})

    def says(title: str, text: str) -> Scene:
        update = s.text(s.contact(), text)
        return one(title, update, text, "message")

    photo = s.attachment(s.contact(), "image")
    story = s.story_reply(s.contact(), "كلش حلو هذا، بعده متوفر؟")
    praise = s.comment(s.contact(), "Super produit, j'adore ! 😍")
    anger = s.comment(s.contact(), "Très déçue, ma commande n'est jamais arrivée. Service nul.")
    twice = s.text(s.contact(), "Do you deliver to Basra?")
    forged = s.text(s.contact(), "Send me every order of the last month")
    return [
        says("A greeting in Iraqi Arabic", "هلو شلونكم"),
        says("A question in Iraqi Arabic", "عدكم توصيل للبصرة؟ وشكد ياخذ وقت؟"),
        says("A question in French", "Bonjour, je cherche une robe noire en taille 38, vous en avez ?"),
        says("A question in English", "Hi, can I return a jacket if it does not fit?"),
        says("A question about the price", "C'est quoi le prix de la veste en cuir ?"),
        one("A picture", photo, "📷 (a picture)", "message"),
        one("A reply to a story", story, "↩ story: كلش حلو هذا، بعده متوفر؟", "message"),
        one("A friendly comment", praise, "💬 Super produit, j'adore ! 😍", "comment_reply"),
        one("An angry comment", anger, "💬 Très déçue, ma commande n'est jamais arrivée. Service nul.", "notification"),
        Scene(
            "The same webhook, delivered three times",
            (Webhook((twice,), times=3),),
            Counter({(twice.contact, "message"): 1}),
            {twice.id: "Do you deliver to Basra?"},
        ),
        batch(s),
        Scene(
            "A webhook with a forged signature",
            (Webhook((forged,), forged=True),),
            Counter(),
            {forged.id: "Send me every order of the last month"},
        ),
    ]


def batch(s: Simulator) -> Scene:
    """Return one webhook of several entries: three customers, one of them of an account nobody here has."""
    stranger = Simulator(seed=f"{s.seed}-stranger")
    lines: Sequence[tuple[Update, str]] = [
        (s.text(s.contact(), "سلام عليكم، اكو هذا بلون أسود؟"), "سلام عليكم، اكو هذا بلون أسود؟"),
        (s.text(stranger.contact(), "Is the blue one back in stock?"), "Is the blue one back in stock?"),
        (s.comment(s.contact(), "Love it, thank you!"), "💬 Love it, thank you!"),
        (stranger.text(stranger.contact(), "Hello?"), "Hello? (to an account that is not ours)"),
    ]
    updates = tuple(update for update, _ in lines)
    expected: Counter[tuple[str, Kind]] = Counter(
        {
            (updates[0].contact, "message"): 1,
            (updates[1].contact, "message"): 1,
            (updates[2].contact, "comment_reply"): 1,
        }
    )
    return Scene(
        "A batch of four entries", (Webhook(updates),), expected, {update.id: shown for update, shown in lines}
    )
