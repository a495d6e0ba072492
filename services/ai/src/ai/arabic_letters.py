"""The Arabic script's letters as Iraqi customers type them: other keyboards' forms of a letter become the letter.

Phones with a Persian, Urdu, Kurdish or Pashto keyboard look Arabic and write other code points: ھ and ہ for ه, ک for ك,
ی for ي. Iraqi writing borrows گ, چ, پ, ڤ for sounds that the Arabic keyboard writes ك, ج, ب, ف. One table says which
letters these are. Every other letter of the script (ٹ, ڈ, ښ …) is a letter of another language and stays itself; a test
over all of Unicode's Arabic letters asks for a decision about each.

Presentation forms and the mathematical alphabet are Unicode's own compatibility forms: NFKD turns them into these.
Source: the Unicode Character Database, names and decompositions, version 14 to 16.
"""

from typing import Final

FORMS: Final[dict[str, str]] = {
    # alef: wasla, wavy hamza, Extended-B's attached marks, the Quran's low alef
    "ا": "ٱٲٳݳݴࡰࡱࡲࡳࡴࡵࡶࡷࡸࡹࡺࡻࡼࡽࡾࡿࢀࢁࢂࢭ",
    # beh: Persian peh, and without its dots
    "ب": "پٮ",
    # jeem, with the Persian and Iraqi tcheh
    "ج": "چ",
    # reh and zain: Kurdish rr, Persian jeh
    "ر": "ڕ",
    "ز": "ژ",
    # feh: Iraqi and Kurdish veh, the Maghreb's veh, dot below, without its dot, African
    "ف": "ڤڥڡڢڣࢻ",
    # qaf: the Maghreb's with one dot, Tunisian gaf, without its dots, African
    "ق": "ٯڧڨࢵࢼࣄ",
    # kaf: keheh, swash kaf, gaf and ng, with whatever dots and rings
    "ك": "کڪګڬڭڮگڰڱڲڳڴػؼݢݣݤݿࢰࢴࢍࣂ",
    # lam, with the Kurdish one
    "ل": "ڵ",
    # noon: without its dot, African
    "ن": "ںࢽ",
    # heh: teh marbuta, doachashmee, goal, Kurdish and Uighur ae
    "ه": "ةھہۃەۿ",
    # waw: Kurdish, Kazakh, Kirghiz and Uighur vowels and ve
    "و": "ۄۅۆۇۈۉۊۋۏݸݹࢫࢱ",
    # yeh: alef maksura, Persian, Kurdish, Pashto and Kashmiri yeh, yeh barree
    "ي": "ىیېێۍؠؽؾؿےۑݵݶݷݺݻࢨࢩࢬࢺࢆ",
}
"""An Arabic letter, and the letters that are its forms."""

STROKES: Final = "ـٴۥۦࢃࢄࢅࢇࢎࣉﹳ"
"""What Unicode counts as a letter and only stretches or marks one: tatweel, high hamza, the Quran's small letters."""

MARKS_BY_THEMSELVES: Final = "ﱞﱟﱠﱡﱢﱣﹰﹲﹴﹶﹸﹺﹼﹾ"
"""Vowel marks as presentation forms of their own: NFKD would make a space of each, and two words of one."""

BLOCKS: Final = (
    (0x0600, 0x06FF),
    (0x0750, 0x077F),  # Supplement
    (0x0870, 0x089F),  # Extended-B
    (0x08A0, 0x08FF),  # Extended-A
    (0xFB50, 0xFDFF),  # Presentation Forms-A
    (0xFE70, 0xFEFF),  # Presentation Forms-B
    (0x10EC0, 0x10EFF),  # Extended-C
    (0x1EE00, 0x1EEFF),  # Mathematical Alphabetic Symbols
)
"""First and last code point of each block of the Arabic script."""

PLAIN: Final[dict[int, str | None]] = {
    **{ord(form): letter for letter, forms in FORMS.items() for form in forms},
    **dict.fromkeys(map(ord, STROKES), None),
}
"""For `str.translate`, after NFKD."""

WITHOUT_MARKS: Final = dict.fromkeys(map(ord, MARKS_BY_THEMSELVES), None)
"""For `str.translate`, before NFKD."""


def in_arabic_script(character: str) -> bool:
    """Tell whether a character, a letter or a mark, stands in a block of the Arabic script."""
    return any(first <= ord(character) <= last for first, last in BLOCKS)


def arabic(character: str) -> bool:
    """Tell whether a character is a letter of the Arabic script."""
    return character.isalpha() and in_arabic_script(character)
