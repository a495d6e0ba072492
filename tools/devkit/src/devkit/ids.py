"""Ids of the platform's look, made from a seed: what is parsed, measured or cut by their look is tried with them."""

import base64
import hashlib

DEFAULT_ACCOUNT_ID = "17841405309211844"
DEFAULT_ACCOUNT_USERNAME = "dar.zaytoon"

_NAMES = (
    "zainab.kadhim",
    "mustafa_jabbar",
    "noor.alhuda",
    "ali.basra",
    "sara.karrada",
    "hussein_najaf",
    "maryam.erbil",
    "omar_mosul",
    "camille.rdt",
    "julien.lyon",
    "emily.ward",
    "jack_moore",
)


class Ids:
    """Make ids of the platform's look, one after another, the same for the same seed."""

    def __init__(self, seed: int | str = 0) -> None:
        self._seed = str(seed)
        self._counter = 0

    def account(self) -> str:
        """Return a professional account's id: 17 digits, above 2^53."""
        return "178414" + self._digits("account", 11)

    def contact(self) -> str:
        """Return an Instagram-scoped user id (IGSID): 15 to 17 digits."""
        return self._digits("contact", 15 + self._counter % 3)

    def comment(self) -> str:
        """Return a comment's id: 17 digits."""
        return "180" + self._digits("comment", 14)

    def media(self) -> str:
        """Return a post's, reel's or story's id: 17 digits."""
        return "179" + self._digits("media", 14)

    def app(self) -> str:
        """Return an app's id: 15 or 16 digits."""
        return self._digits("app", 15 + self._counter % 2)

    def trace(self) -> str:
        """Return a Graph ``fbtrace_id``: ``A`` and 22 letters or digits."""
        return "A" + base64.urlsafe_b64encode(self._digest("trace"))[:22].decode().replace("-", "x")

    def message(self, account: str = DEFAULT_ACCOUNT_ID) -> str:
        """Return a message's id (mid): some 160 characters beginning ``aWdfZAG1f``, ending ``ZD``."""
        thread = "340282366841710301" + self._digits("thread", 21)
        number = "32" + self._digits("message", 33)
        return "aWdfZAG1f" + _mid_base64(f"item:1:IGMessageID:{account}:{thread}:{number}")

    def number(self, digits: int) -> str:
        """Return a plain number of that many digits, for links and tokens."""
        return self._digits("number", digits)

    def _digest(self, kind: str) -> bytes:
        self._counter += 1
        return hashlib.sha256(f"{self._seed}:{kind}:{self._counter}".encode()).digest()

    def _digits(self, kind: str, count: int) -> str:
        digits = str(int.from_bytes(self._digest(kind), "big"))[1 : count + 1]
        return "1" + digits[1:] if digits[0] == "0" else digits


def _mid_base64(text: str) -> str:
    """Encode as the platform does its message ids: base64 in which Z is an escape and `=` is ZD."""
    return base64.b64encode(text.encode()).decode().replace("Z", "ZA").replace("=", "ZD")


def username_of(contact: str) -> str:
    """Return the user name the sandbox world knows this person by; the same for the same id."""
    digest = hashlib.sha256(contact.encode()).digest()
    return f"{_NAMES[digest[0] % len(_NAMES)]}{digest[1] % 90 + 10}"
