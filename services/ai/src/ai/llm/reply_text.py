"""What a model wrote for the customer, as Instagram can show it: plain text. Pure.

Instagram shows Markdown and HTML as they are typed: stars, brackets and all. Emphasis goes, a link becomes its text and
its address, lines of lists and headings stay lines. Every pattern excludes its own delimiter from what it encloses, so
it is linear (`tests/contract/test_linear_patterns.py`), and the text is cut before it is searched.
"""

import html
import re
import unicodedata

from ai.llm.json_in_text import without_half_characters

MAX_CHARACTERS = 6000
"""Four times what is ever sent: a whole sentence is found in it wherever the cut is made."""

_FENCE = re.compile(r"^[ \t]*(?:```|~~~)[^\n`]*$", re.MULTILINE)
_BREAK = re.compile(r"<br ?/?>|</(?:p|div|li|ul|ol|tr|h[1-6])>", re.IGNORECASE)
_CELL = re.compile(r"</t[dh]>", re.IGNORECASE)
_ANCHOR = re.compile(
    r"<a [^<>]{0,300}href ?= ?[\"']([^\"'<>\s]{1,500})[\"'][^<>]{0,300}>([^<>]{0,500})</a>", re.IGNORECASE
)
_TAG = re.compile(r"</?[A-Za-z][A-Za-z0-9_:-]{0,30}(?: [^<>]{0,300})?/?>")
"""Of HTML, or of a template: what a tag encloses stays."""
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]{2,8});")
_CODE_POINTS = re.compile(r"(?:\\u[0-9a-fA-F]{4}){1,2000}")
_LINE_BREAK = re.compile(r"(?:\\r)?\\n")
"""Escapes of JSON that were escaped once more, as letters: a line break that reads \\n."""
_QUOTE_MARK = re.compile(r"\\([\"'])")
_CITATION = re.compile(r"【[0-9][^【】\n]{0,60}】")
_SPEAKER = re.compile(r"\A\s{0,20}(?:assistant|reply|answer|response) ?: ?", re.IGNORECASE)
_LOST = "\ufffd"
_LOST_IN_WORD = re.compile("\ufffd[^\\W_]")
"""Where bytes were no text: half an emoji may go, a word without one of its letters is none."""
_TOKEN = re.compile(r"<\|[A-Za-z_]{1,40}\|>|</?s>|\[/?INST\]")
"""Marks of a model's own template, which some servers leave in."""
_LINK = re.compile(r"!?\[([^\[\]]{0,500})\]\(<?([^()<>\s\[\]]{1,1000})>?(?: \"[^\"\n()\[\]]{0,300}\")?\)")
_AUTOLINK = re.compile(r"<((?:https?://|mailto:|tel:)[^<>\s]{1,1000})>")
_HEADING = re.compile(r"^ {0,3}#{1,6} +", re.MULTILINE)
_QUOTE = re.compile(r"^ {0,3}>{1,6} ?", re.MULTILINE)
_BULLET = re.compile(r"^( {0,8})[*+-] +", re.MULTILINE)
_TASK = re.compile(r"^( {0,8}• )\[[ xX]\] +", re.MULTILINE)
_RULE = re.compile(r"^ {0,3}(?:\*{3,80}|-{3,80}|_{3,80}|={3,80})[ \t]{0,8}$", re.MULTILINE)
_TABLE_LINE = re.compile(r"^ {0,3}\|(?:[ :-]{1,80}\|){1,30}[ \t]{0,8}$", re.MULTILINE)
_ROW = re.compile(r"^ {0,3}\|([^\n]{1,1000})\|[ \t]{0,8}$", re.MULTILINE)
_CODE = re.compile(r"``?([^`\n]{1,500})``?")
_STARS = re.compile(r"(?<![\w*\\])\*{1,3}(?![\s*])([^*\n]{1,1000})(?<![\s\\])\*{1,3}(?![\w*])")
_BOLD = re.compile(r"\*\*([^*\n]{1,1000})\*\*")
_UNDERSCORES = re.compile(r"(?<![\w/@.=&?\\-])_{1,3}(?![\s_])([^_\n]{1,1000})(?<![\s\\])_{1,3}(?![\w/])")
_STRIKE = re.compile(r"~~([^~\n]{1,1000})~~")
_ESCAPE = re.compile(r"\\([*_#\[\]()~`>|!+.-])")
_BLANK_LINES = re.compile(r"\n[ \t]{0,80}\n[ \t]{0,80}\n[ \t\n]{0,80}")

_ADDRESS = re.compile(r"(?:https?://|mailto:|tel:|www\.)\S", re.IGNORECASE)
_KEPT_CONTROLS = frozenset("\n\t")
_UNSEEN = frozenset("*_`~#>|\\\u2800\u3164\u115f\u1160\uffa0")
"""Marks of emphasis with nothing in them, and the letters of Unicode that are blank."""


def plain(text: str) -> str:
    """Return what a customer can read of a model's reply; empty where there is nothing to see."""
    text = without_half_characters(_unescaped(text[:MAX_CHARACTERS])).replace("\r\n", "\n").replace("\r", "\n")
    text = "".join(one for one in text if one in _KEPT_CONTROLS or unicodedata.category(one) != "Cc")
    if _LOST_IN_WORD.search(text):
        return ""
    text = _FENCE.sub("", _TOKEN.sub("", text.replace(_LOST, "")))
    text = _ANCHOR.sub(lambda found: _linked(found[2], found[1]), text)
    text = _AUTOLINK.sub(r"\1", text)
    text = _TAG.sub("", _CELL.sub(" ", _BREAK.sub("\n", text)))
    text = _LINK.sub(lambda found: _linked(found[1], found[2]), text)
    text = _ENTITY.sub(lambda found: html.unescape(found[0]).replace("\xa0", " ").replace(_LOST, ""), text)
    for pattern, instead in (
        (_RULE, ""),
        (_TABLE_LINE, ""),
        (_ROW, r"\1"),
        (_HEADING, ""),
        (_QUOTE, ""),
        (_BULLET, r"\1• "),
        (_TASK, r"\1"),
        (_CITATION, ""),
        (_SPEAKER, ""),
        (_CODE, r"\1"),
        (_BOLD, r"\1"),
        (_STARS, r"\1"),
        (_UNDERSCORES, r"\1"),
        (_STRIKE, r"\1"),
        (_ESCAPE, r"\1"),
        (_BLANK_LINES, "\n\n"),
    ):
        text = pattern.sub(instead, text)
    text = text.replace("**", "").strip()  # emphasis that never ended, or that ends in another line
    return text if any(map(_shows, text)) else ""


def _unescaped(text: str) -> str:
    """Return a text that was escaped once too often as it was meant."""
    text = _CODE_POINTS.sub(lambda found: found[0].encode("ascii").decode("unicode_escape"), text)
    return _QUOTE_MARK.sub(r"\1", _LINE_BREAK.sub("\n", text))


def _linked(words: str, address: str) -> str:
    """Return a link in plain text; what is no address a customer can open is left out."""
    words = words.strip()
    bare = address.removeprefix("mailto:").removeprefix("tel:")
    if not _ADDRESS.match(address):
        return words
    return bare if not words or words in {address, bare} else f"{words}: {bare}"


def _shows(character: str) -> bool:
    """Tell whether a character says something: a letter, a digit, an emoji or a sign, and none that is blank."""
    return character not in _UNSEEN and unicodedata.category(character)[0] in "LNS"
