"""What a customer is told when no answer can be made: never silence, never a promise of a time."""

from typing import Final

from ai.language import Language

APOLOGIES: Final[dict[Language, str]] = {
    "ar": "نعتذر منك، عدنا خلل بسيط حالياً. وصلت رسالتك وواحد من فريقنا راح يجاوبك بأقرب وقت.",
    "fr": "Toutes nos excuses, un petit souci technique nous empêche de vous répondre tout de suite. "
    "Votre message est bien arrivé et quelqu'un de l'équipe va vous répondre.",
    "en": "We are sorry, a small technical problem keeps us from answering right now. "
    "Your message has arrived and somebody from our team will get back to you.",
}


def apology(language: Language) -> str:
    """Return the apology in `language`."""
    return APOLOGIES[language]
