"""What the sandbox's model says: small talk of a shop in Iraqi Arabic, French and English, by rule.

It stands in for a language model, so it must read like one to a person watching a demo and be the same every time
for a test. It never names a price, a date or a product: whoever checks replies against facts finds nothing invented.
"""

import re
import zlib
from dataclasses import dataclass
from typing import Literal

from devkit.sandbox.small_talk import REPLIES, Language

Sentiment = Literal["positive", "neutral", "negative"]


@dataclass(frozen=True, slots=True)
class Lead:
    """What a customer told about themselves; None for what they did not."""

    name: str | None = None
    phone: str | None = None
    email: str | None = None
    interest: str | None = None


@dataclass(frozen=True, slots=True)
class Thought:
    """An answer and what was understood of the question."""

    reply: str
    intent: str
    sentiment: Sentiment
    language: Language
    escalate: bool
    lead: Lead


# The order decides: the first intent with a word in the message is taken.
_WORDS: tuple[tuple[str, str], ...] = (
    (
        "human",
        (
            r"موظف|انسان|إنسان|احجي وي|أحجي ويا|مدير|\bhuman\b|real person|\bagent\b|manager|speak to someone"
            r"|conseiller|un humain|une personne|responsable"
        ),
    ),
    (
        "complaint",
        (
            r"زعلان|شكوى|نصب|احتيال|غشاش|تعبان|مكسور|خربان|ما وصل|متأخر|تاخر|تأخر|سيئ|سيء|اسوء|أسوأ|خايس|مو زين"
            r"|complain|broken|damaged|scam|terrible|awful|worst|disappoint|never arrived|\blate\b|\bbad\b"
            r"|plainte|cassé|abîmé|arnaque|horrible|nul\b|nulle|déçu|jamais reçu|en retard|mauvais"
        ),
    ),
    ("return", r"ارجع|أرجع|ارجاع|إرجاع|استبدال|ابدل|أبدل|refund|return|exchange|rembours|retour|échang"),
    (
        "order_status",
        r"طلبيتي|طلبي|وين الطلب|وين وصل|رقم الطلب|my order|order status|track|where is|ma commande|mon colis|suivi",
    ),
    ("contact", r"(?:\+?964|\b0)\d{9,10}|[\w.+-]{1,64}@[\w-]{1,64}\.\w+"),
    ("discount", r"خصم|تخفيض|تنزيلات|عرض|عروض|discount|sale\b|offer|promo|réduction|remise|solde"),
    (
        "delivery",
        r"توصيل|توصلون|يوصل|شحن|deliver|shipping|\bship\b|livr|expédi",
    ),
    ("size", r"قياس|مقاس|سايز|نمرة|\bsizes?\b|taille(?! \d)|pointure|\bmedium\b|\bxl\b"),
    (
        "price",
        r"شكد|شگد|بيش|بكم|بكد|سعر|أسعار|اسعار|price|how much|\bcost|prix|combien|tarif|coûte",
    ),
    ("payment", r"ادفع|أدفع|الدفع|دفع|زين كاش|ماستر|كارت|\bpay|\bcash\b|card|paie|payer|carte"),
    (
        "location",
        (
            r"وينكم|وين مكان|عنوان|موقعكم|فرع|تفتحون|الدوام|address|location|where are you|open(?:ing)?\b|hours"
            r"|adresse|où êtes|horaire|ouvert|boutique"
        ),
    ),
    (
        "order",
        (
            r"اريد اطلب|أريد أطلب|احجز|أحجز|اشتري|أشتري|اخذ|آخذ|i want to (?:buy|order)|i'?ll take|\bbuy\b|\border\b"
            r"|je veux|je voudrais|commander|acheter|je prends"
        ),
    ),
    (
        "availability",
        (
            r"اكو|أكو|متوفر|موجود|عدكم|باقي|available|in stock|do you have|still have|disponible|en stock|avez-vous"
            r"|vous avez"
        ),
    ),
    (
        "media",
        r"\[(?:image|photo|video|audio|voice|sticker|file|share|reel|ig_\w+|story\w*|attachment|media)[^\[\]]*\]",
    ),
    ("thanks", r"شكرا|شكراً|مشكور|تسلم|ممنون|thank|\bthx\b|merci"),
    (
        "praise",
        (
            r"حلو|روعة|يخبل|تجنن|ممتاز|عاشت|love|great|awesome|beautiful|amazing|perfect|super|génial|magnifique|j'adore"
            r"|parfait|😍|❤|🔥"
        ),
    ),
    (
        "greeting",
        (
            r"هلو|هلا|مرحبا|السلام عليكم|سلام|شلون|صباح|مساء|\bhi\b|\bhello\b|\bhey\b|good (?:morning|evening)"
            r"|salut|bonjour|bonsoir|coucou"
        ),
    ),
)
_INTENTS = tuple((name, re.compile(pattern, re.IGNORECASE)) for name, pattern in _WORDS)

INTENTS = tuple(REPLIES)
"""Every intent the talk knows, ``other`` included."""

_ARABIC = re.compile(r"[\u0600-\u06ff]")
_FRENCH = re.compile(
    r"\b(?:bonjour|bonsoir|salut|merci|prix|combien|livr\w*|taille|commande\w*|disponible|vous|est-ce|avez|je"
    r"|c'est|pour|avec|plaisir|les?|une?|des|du|où|quel\w*|génial|super|magnifique|s'il|svp|oui|nul|nulle|très|coucou|mon|ma)\b"
    r"|[éèêàçùôî]",
    re.IGNORECASE,
)
_ENGLISH = re.compile(
    r"\b(?:the|is|are|you|your|what|how|much|hello|hi|hey|thanks?|please|do|my|order|price|this|it|love|have)\b",
    re.IGNORECASE,
)
_PLACEHOLDER = re.compile(r"\[[^\[\]]*\]")
_PHONE = re.compile(r"(?:\+?964|\b0)[\s-]?\d{3}[\s-]?\d{3}[\s-]?\d{3,4}")
_EMAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,64}(?:\.\w{1,32}){1,8}")
_NAME = re.compile(
    r"(?:اسمي|آني اسمي|my name is|i am called|je m'appelle|mon nom est)\s+([^\W\d_]+(?:\s+[^\W\d_]+)?)",
    re.IGNORECASE,
)
_WARES = (
    ("فستان", r"فستان|فساتين"),
    ("حقيبة", r"حقيبة|جنطة|شنطة|حقائب"),
    ("حذاء", r"حذاء|قندرة|بوت|أحذية"),
    ("عباية", r"عباية|عبايات"),
    ("عطر", r"عطر|عطور"),
    ("ساعة", r"ساعة يد|ساعات"),
    ("dress", r"\bdress(?:es)?\b"),
    ("bag", r"\bbags?\b"),
    ("shoes", r"\bshoes?\b|\bsneakers?\b"),
    ("perfume", r"\bperfumes?\b"),
    ("robe", r"\brobes?\b"),
    ("sac", r"\bsacs?\b"),
    ("chaussures", r"\bchaussures?\b"),
    ("parfum", r"\bparfums?\b"),
)
_INTERESTS = tuple((name, re.compile(pattern, re.IGNORECASE)) for name, pattern in _WARES)
_NEGATIVE = re.compile(dict(_WORDS)["complaint"], re.IGNORECASE)
_POSITIVE = re.compile(dict(_WORDS)["praise"] + "|" + dict(_WORDS)["thanks"], re.IGNORECASE)


def language_of(text: str, otherwise: Language = "ar") -> Language:
    """Tell the language of a message; one without words, such as a picture, is in `otherwise`."""
    words = _PLACEHOLDER.sub(" ", text)
    if _ARABIC.search(words):
        return "ar"
    french, english = len(_FRENCH.findall(words)), len(_ENGLISH.findall(words))
    if french > english:
        return "fr"
    return "en" if english or re.search(r"[a-z]{2}", words, re.IGNORECASE) else otherwise


def intent_of(text: str) -> str:
    """Name what the message is about, one of :data:`INTENTS`."""
    return next((name for name, pattern in _INTENTS if pattern.search(text)), "other")


def sentiment_of(text: str) -> Sentiment:
    """Tell whether the message is pleased, displeased or neither."""
    if _NEGATIVE.search(text):
        return "negative"
    return "positive" if _POSITIVE.search(text) else "neutral"


def lead_of(text: str) -> Lead:
    """Collect what the customer told about themselves."""
    name, phone, email = _NAME.search(text), _PHONE.search(text), _EMAIL.search(text)
    interest = next((word for word, pattern in _INTERESTS if pattern.search(text)), None)
    return Lead(
        name=name.group(1) if name else None,
        phone=phone.group(0) if phone else None,
        email=email.group(0) if email else None,
        interest=interest,
    )


def answer(text: str, earlier: str = "") -> Thought:
    """Answer a customer's message; `earlier` is what they wrote before, for the language and the lead."""
    language = language_of(text, language_of(earlier) if earlier else "ar")
    intent = intent_of(text)
    choices = REPLIES[intent][language]
    return Thought(
        reply=choices[zlib.crc32(text.encode("utf-8", "surrogatepass")) % len(choices)],
        intent=intent,
        sentiment=sentiment_of(text),
        language=language,
        escalate=intent in {"human", "complaint"},
        lead=lead_of(f"{earlier}\n{text}" if earlier else text),
    )
