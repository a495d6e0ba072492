"""Commands in sentences that say what to do, with the ids that whoever wrote the sentence did not know. Pure.

The tables of errors know what a provider meant, not whose account it was; whoever shows a sentence does.
"""


def completed(sentence: str, *, merchant_id: str, account_id: str) -> str:
    """Return a sentence with the commands it names as they are to be typed for this account."""
    if not merchant_id or not account_id:
        return sentence
    typed = {
        "`jawab merchants connect`": f"`jawab merchants connect {merchant_id} --account {account_id}`",
        "`jawab merchants add`": f"`jawab merchants add {merchant_id} --update`",
    }
    for named, whole in typed.items():
        sentence = sentence.replace(named, whole)
    return sentence
