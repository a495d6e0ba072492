"""What the sandbox's model says: small talk of a shop in Iraqi Arabic, French and English, by rule.

It stands in for a language model, so it must read like one to a person watching a demo and be the same every time
for a test. It never names a price, a date or a product: whoever checks replies against facts finds nothing invented.
"""

import re
import zlib
from dataclasses import dataclass
from typing import Literal

Language = Literal["ar", "fr", "en"]
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
    ("contact", r"(?:\+?964|\b0)\d{9,10}|[\w.+-]+@[\w-]+\.\w+"),
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
    ("media", r"\[(?:image|photo|video|audio|voice|sticker|file|share|reel|ig_\w+|story\w*|attachment|media)[^\]]*\]"),
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

REPLIES: dict[str, dict[Language, tuple[str, ...]]] = {
    "greeting": {
        "ar": (
            "هلا بيك عيوني، شلونك؟ شنو اللي عاجبك حتى أساعدك؟",
            "هلا والله، نورتنا! تأمرني بشنو؟",
            "وعليكم السلام ورحمة الله، هلا بيك. شلون أگدر أخدمك هسه؟",
        ),
        "fr": (
            "Bonjour et bienvenue ! Qu'est-ce qui vous ferait plaisir ?",
            "Bonjour ! Dites-moi ce que vous cherchez, je vous aide tout de suite.",
        ),
        "en": (
            "Hello and welcome! What can I help you find today?",
            "Hi there! Tell me what caught your eye and I'll help you.",
        ),
    },
    "price": {
        "ar": (
            "تدلل! السعر يختلف حسب الموديل والقياس، دزلي صورة القطعة أو اسمها وأگلك شكد سعرها هسه.",
            "على راسي، أي قطعة تقصد؟ دزلي صورتها حتى أنطيك سعرها المضبوط.",
        ),
        "fr": (
            "Avec plaisir ! Le prix dépend du modèle et de la taille : lequel vous intéresse ?",
            "Envoyez-moi la photo ou le nom de l'article et je vous donne son prix exact.",
        ),
        "en": (
            "Happy to help! The price depends on the model and the size. Which one do you like?",
            "Send me a photo or the name of the piece and I'll get you its exact price.",
        ),
    },
    "availability": {
        "ar": (
            "هسه أشوفلك ياها، يا لون ويا قياس تريد؟",
            "إن شاء الله أكو، بس گلي اللون والقياس حتى أتأكدلك.",
        ),
        "fr": (
            "Je vérifie tout de suite en réserve et je vous confirme dans la conversation.",
            "Je regarde si nous l'avons encore et je reviens vers vous ici même.",
        ),
        "en": (
            "Let me check that for you, I'll confirm right here.",
            "I'll look in the stock room right away and tell you here.",
        ),
    },
    "delivery": {
        "ar": (
            "إي نعم نوصل لكل المحافظات، دزلي عنوانك وأگلك شوكت يوصلك وشكد أجرة التوصيل.",
            "أكو توصيل لباب البيت. دزلي عنوانك وأحسبلك التوصيل والوقت.",
        ),
        "fr": (
            "Oui, nous livrons partout ! Laissez-moi votre adresse et je vous donne le délai et les frais.",
            "La livraison est possible. Envoyez-moi votre adresse et je vous précise le délai.",
        ),
        "en": (
            "Yes, we deliver there! Send me your address and I'll tell you the time and the fee.",
            "Delivery is no problem. Send me your address and I'll check the time for you.",
        ),
    },
    "order_status": {
        "ar": (
            "حاضر، دزلي رقم الطلب أو رقم الموبايل اللي طلبت بيه وأشوفلك وين وصل هسه.",
            "على عيني، شنو رقم الطلب؟ هسه أتابعه وياك.",
        ),
        "fr": (
            "Bien sûr, donnez-moi votre numéro de commande et je regarde où elle en est.",
            "Je m'en occupe : quel est le numéro de la commande ou le téléphone utilisé ?",
        ),
        "en": (
            "Of course. Send me your order number and I'll see where it is.",
            "Let me look into it. What is the order number, or the phone it was placed with?",
        ),
    },
    "size": {
        "ar": (
            "عدنا قياسات متعددة، گلي طولك ووزنك وأختارلك القياس اللي يناسبك.",
            "شنو قياسك المعتاد؟ حتى أگلك يا نمرة أحسن إلك.",
        ),
        "fr": (
            "Quelle taille portez-vous d'habitude ? Je vous dirai laquelle choisir dans ce modèle.",
            "Donnez-moi votre taille habituelle et je vous conseille.",
        ),
        "en": (
            "What size do you usually wear? I'll tell you which one fits in this model.",
            "Tell me your usual size and I'll find the right one for you.",
        ),
    },
    "payment": {
        "ar": (
            "الدفع سهل وأكو أكثر من طريقة، شلون يريحك تدفع؟",
            "تگدر تدفع بالطريقة اللي تناسبك، گلي شنو تفضل وأشرحلك.",
        ),
        "fr": (
            "Il y a plusieurs façons de payer. Laquelle vous arrange ?",
            "Dites-moi comment vous préférez payer et je vous explique.",
        ),
        "en": (
            "There are a few ways to pay. Which one suits you best?",
            "Tell me how you'd like to pay and I'll walk you through it.",
        ),
    },
    "discount": {
        "ar": (
            "تستاهل كل خير! گلي يا قطعة عاجبتك وأشوفلك إذا عليها عرض هسه.",
            "هسه أسألك إذا أكو خصم عليها، يا موديل تقصد؟",
        ),
        "fr": (
            "Je regarde si une offre est en cours : quel article vous plaît ?",
            "Dites-moi quel article vous intéresse et je vérifie les offres du moment.",
        ),
        "en": (
            "Let me check the current offers. Which piece do you like?",
            "Which item are you after? I'll see if there's an offer on it.",
        ),
    },
    "location": {
        "ar": (
            "يا هلا بيك بالمحل! گلي أنت من وين حتى أدلك على أقرب مكان إلك وأوقات الدوام.",
            "نتشرف بزيارتك، يا منطقة قريبة عليك؟",
        ),
        "fr": (
            "Ce serait un plaisir de vous recevoir ! De quel quartier venez-vous ?",
            "Dites-moi où vous êtes et je vous indique l'adresse et les horaires.",
        ),
        "en": (
            "We'd love to see you! Which part of town are you in?",
            "Tell me where you are and I'll send you the address and the opening hours.",
        ),
    },
    "order": {
        "ar": (
            "تدلل عيوني! أحتاج اسمك ورقم موبايلك والعنوان حتى أثبتلك الطلب.",
            "صار! دزلي الاسم ورقم الموبايل والمنطقة وأجهزلك ياه.",
        ),
        "fr": (
            "Avec plaisir ! Il me faut votre nom, votre téléphone et votre adresse pour la commande.",
            "C'est noté. Envoyez-moi votre nom, un numéro et l'adresse, et je prépare tout.",
        ),
        "en": (
            "Lovely choice! I need your name, phone and address to place the order.",
            "Great! Send me your name, a phone number and the address and I'll prepare it.",
        ),
    },
    "contact": {
        "ar": (
            "تسلم، وصلت معلوماتك. راح نتصل بيك بأقرب وقت إن شاء الله.",
            "تمام عيوني، سجلتها عندي ونتواصل وياك.",
        ),
        "fr": (
            "Merci, c'est bien noté. Nous vous contactons très vite.",
            "Parfait, j'ai vos coordonnées. On revient vers vous rapidement.",
        ),
        "en": (
            "Thank you, I've noted it. We'll get in touch very soon.",
            "Perfect, I have your details. Someone will contact you shortly.",
        ),
    },
    "complaint": {
        "ar": (
            "حقك علينا وآسفين هواية. دزلي رقم الطلب وراح أحول الموضوع للمسؤول هسه.",
            "نعتذر منك من كل گلبنا، هاي مو عادتنا. هسه أبلغ المسؤول ويتواصل وياك.",
        ),
        "fr": (
            "Je suis vraiment désolé. Donnez-moi le numéro de commande, je transmets tout de suite.",
            "Toutes nos excuses. Je préviens un responsable, il vous répond au plus vite.",
        ),
        "en": (
            "I'm very sorry about that. Send me the order number and I'll pass it on right away.",
            "Please accept our apologies. I'm telling a colleague now, who will get back to you.",
        ),
    },
    "return": {
        "ar": (
            "ولا يهمك، دزلي رقم الطلب وصورة القطعة وأشوفلك شلون نبدلها.",
            "حاضر، گلي شنو المشكلة بيها حتى نرتب الاستبدال.",
        ),
        "fr": (
            "Pas de souci. Envoyez-moi le numéro de commande et une photo, je regarde pour l'échange.",
            "Bien sûr, dites-moi ce qui ne va pas et je vois comment organiser le retour.",
        ),
        "en": (
            "No problem. Send me the order number and a photo and I'll see about the exchange.",
            "Of course. Tell me what's wrong with it and I'll look into the return.",
        ),
    },
    "human": {
        "ar": ("حاضر، هسه أحولك على زميلي ويجاوبك بنفسه.", "على راسي، راح يحچي وياك واحد من الفريق."),
        "fr": (
            "Bien sûr, je vous mets en relation avec un collègue.",
            "Entendu, quelqu'un de l'équipe prend le relais.",
        ),
        "en": (
            "Of course, I'm handing you over to a colleague.",
            "Sure, someone from the team will take over from here.",
        ),
    },
    "media": {
        "ar": (
            "وصلت الصورة، حلوة! تريد سعرها لو تتأكد إذا متوفرة؟",
            "شفتها، ذوقك يخبل! شنو تحب تعرف عنها؟",
        ),
        "fr": (
            "Bien reçu ! Voulez-vous son prix ou savoir si elle est disponible ?",
            "Je l'ai vue, très bon goût ! Que souhaitez-vous savoir ?",
        ),
        "en": (
            "Got it! Would you like its price, or to know if it's available?",
            "I've seen it, lovely taste! What would you like to know about it?",
        ),
    },
    "thanks": {
        "ar": ("تدلل عيوني، بالخدمة أي وقت.", "الله يسلمك، نورتنا."),
        "fr": ("Avec grand plaisir !", "Je vous en prie, à très vite !"),
        "en": ("You're very welcome!", "My pleasure, any time."),
    },
    "praise": {
        "ar": ("تسلم على ذوقك، فرحتنا بكلامك!", "عيونك الحلوة، شكراً من القلب!"),
        "fr": ("Merci, ça nous touche beaucoup !", "Merci infiniment, vous êtes adorable !"),
        "en": ("Thank you, that means a lot to us!", "So glad you like it, thank you!"),
    },
    "other": {
        "ar": (
            "فهمت عليك، بس وضحلي أكثر حتى أگدر أساعدك.",
            "على راسي، گلي شنو تحتاج بالضبط وأجاوبك هسه.",
        ),
        "fr": (
            "Je veux être sûr de bien comprendre : pouvez-vous m'en dire un peu plus ?",
            "Bien sûr, pouvez-vous préciser ce que vous cherchez ?",
        ),
        "en": (
            "I want to get this right. Could you tell me a little more?",
            "Sure, what exactly are you looking for?",
        ),
    },
}
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
_PLACEHOLDER = re.compile(r"\[[^\]]*\]")
_PHONE = re.compile(r"(?:\+?964|\b0)[\s-]?\d{3}[\s-]?\d{3}[\s-]?\d{3,4}")
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.\w+)+")
_NAME = re.compile(
    r"(?:اسمي|آني اسمي|my name is|i am called|je m'appelle|mon nom est)\s+([^\W\d_]+(?:\s+[^\W\d_]+)?)",
    re.IGNORECASE,
)
_INTERESTS = (
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
    interest = next((word for word, pattern in _INTERESTS if re.search(pattern, text, re.IGNORECASE)), None)
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
