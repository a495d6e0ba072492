"""Texts longer than the platform takes, cut where a reader would pause.

Instagram takes 1,000 bytes of UTF-8 in one message; Arabic needs two bytes a letter and an emoji up to thirty. A cut
falls behind a sentence if one ends late enough, else at white space, else between two characters as a reader sees
them: an accent, an Arabic vowel mark, a skin tone or a joined emoji stays with what it belongs to.
"""

import unicodedata

MAX_BYTES = 1000
SENTENCE_ENDS = frozenset(".!?…؟۔。！？\n")
CLOSERS = frozenset("\"'”’»)]")
ZERO_WIDTH_JOINER = "\u200d"
ELLIPSIS = "…"


def split(text: str, limit: int = MAX_BYTES) -> tuple[str, ...]:
    """Return `text` in parts of at most `limit` bytes; nothing is lost but the white space at the cuts.

    A text that fits stays as it is. One that is nothing but white space has no part.
    """
    if not text.strip():
        return ()
    if _size(text) <= limit:
        return (text,)
    parts = []
    rest = text.strip()
    while _size(rest) > limit:
        cut = _cut(rest, limit)
        parts.append(rest[:cut].rstrip())
        rest = rest[cut:].lstrip()
    if rest:
        parts.append(rest)
    return tuple(parts)


def shortened(text: str, limit: int = MAX_BYTES) -> str:
    """Return the first part of `text` with an ellipsis, or all of it where it fits: for what can be sent only once."""
    if _size(text) <= limit:
        return text
    return split(text, limit - _size(ELLIPSIS))[0] + ELLIPSIS


def _size(text: str) -> int:
    return len(text.encode())


def _cut(text: str, limit: int) -> int:
    """Return how many characters the next part takes; `text` is longer than `limit` and begins with no space."""
    fits = _fitting(text, limit)
    sentence, space = 0, 0
    for at in range(fits, 0, -1):
        if not (text[at - 1].isspace() or text[at].isspace()):
            continue
        space = space or at
        if _ends_a_sentence(text, at):
            sentence = at
            break
    if sentence * 2 >= fits:
        return sentence
    if space:
        return space
    return _between_characters(text, fits)


def _fitting(text: str, limit: int) -> int:
    """Return how many characters of `text` fit into `limit` bytes, at least one."""
    size = 0
    for at, character in enumerate(text):
        size += _size(character)
        if size > limit:
            return max(at, 1)
    return len(text)


def _ends_a_sentence(text: str, at: int) -> bool:
    before = text[:at].rstrip(" \t\r")
    return before.rstrip("".join(CLOSERS))[-1:] in SENTENCE_ENDS if before else False


def _between_characters(text: str, fits: int) -> int:
    """Return the last place up to `fits` that splits no visible character; `fits` where one is longer."""
    for at in range(fits, 0, -1):
        if not _belongs_together(text, at):
            return at
    return fits


def _belongs_together(text: str, at: int) -> bool:
    """Tell whether a cut before `text[at]` would split one visible character (after Unicode UAX #29, shortened)."""
    before, after = text[at - 1], text[at]
    if ZERO_WIDTH_JOINER in (before, after) or _extends(after):
        return True
    if _is_flag_letter(before) and _is_flag_letter(after):
        letters = 0
        while letters < at and _is_flag_letter(text[at - 1 - letters]):
            letters += 1
        return letters % 2 == 1
    return False


def _extends(character: str) -> bool:
    return (
        unicodedata.category(character) in {"Mn", "Me", "Mc"}
        or "\U0001f3fb" <= character <= "\U0001f3ff"  # skin tones
        or "\U000e0020" <= character <= "\U000e007f"  # tags, as in the flags of England and Scotland
        or "\u1160" <= character <= "\u11ff"  # Hangul vowels and finals
    )


def _is_flag_letter(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"
