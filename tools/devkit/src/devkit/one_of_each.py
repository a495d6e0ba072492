"""One update of every kind, so that whatever reads them can be tried with all."""

from collections.abc import Iterable

from devkit.attachments import ATTACHMENT_KINDS
from devkit.simulator import Simulator
from devkit.updates import Update


def one_of_each(simulator: Simulator, contact: str) -> Iterable[Update]:
    """Yield one update of every kind the simulator can build, standby and flat variants included."""
    first = simulator.text(contact, "هلو، شلونكم؟")
    yield first
    for kind in ATTACHMENT_KINDS:
        yield simulator.attachment(contact, kind)
    yield simulator.attachments(contact, ["image", "image", "video"])
    yield simulator.shared_post_twice(contact)
    yield simulator.unsupported(contact)
    yield simulator.story_reply(contact, "روعة 😍")
    yield simulator.reply(contact, "هذا اللي أريده", first.id)
    yield simulator.quick_reply(contact, "القياسات", "SIZES")
    yield simulator.quick_reply(contact, "القياسات", "SIZES", with_text=False)
    yield simulator.ad_message(contact, "شفت الإعلان، بعده متوفر؟", ref="winter")
    yield simulator.product_message(contact, "Is this in stock?")
    yield simulator.edit(contact, first.id, "هلو، شلونكم اليوم؟")
    yield simulator.reaction(contact, first.id)
    yield simulator.unreact(contact, first.id)
    yield simulator.read(contact, first.id)
    yield simulator.unsend(contact, first.id)
    yield simulator.echo(contact, "أهلاً بيك")
    yield simulator.echo(contact, attachments=["image"], app_id=simulator.ids.app(), metadata="m")
    yield simulator.self_message("note")
    yield simulator.postback(contact, "تتبع الطلب", "TRACK")
    yield simulator.postback(contact, "تتبع الطلب", "TRACK", with_mid=False)
    yield simulator.referral(contact, "bio-link")
    yield simulator.optin(contact)
    yield simulator.pass_thread_control(contact, simulator.ids.app(), simulator.ids.app())
    yield simulator.take_thread_control(contact, simulator.ids.app(), simulator.ids.app())
    yield simulator.request_thread_control(contact, int(simulator.ids.app()))
    yield simulator.app_roles({simulator.ids.app(): ["primary_receiver"]})
    yield simulator.unknown(contact)
    yield simulator.text(contact, "أكو توصيل؟").standby()
    yield simulator.postback(contact, "تتبع الطلب", "TRACK").standby()
    parent = simulator.comment(contact, "السعر؟")
    yield parent
    yield simulator.comment(contact, "خاص لو سمحتم", parent=parent.id, product="REELS")
    yield simulator.comment(contact, "بيش هذا؟", product="AD")
    yield simulator.comment(contact, "Super !", id_key="comment_id")
    yield simulator.comment(contact, "love it").flat()
    yield simulator.own_comment("شكراً إلك", parent=parent.id)
    yield simulator.live_comment(contact, "متوفر أسود؟")
    yield simulator.mention()
    yield simulator.mention(comment=simulator.ids.comment())
    yield simulator.story_insights()
    yield simulator.feed(contact, "حلو")
    yield simulator.feed(contact, "", verb="remove")
    yield simulator.unknown_change()
    yield simulator.message_change(simulator.text(contact, "Bonjour"))
    yield simulator.plural_messages((contact, "salut"), (contact, "prix ?"))
    yield simulator.plural_comments((contact, "génial"), (contact, "nul"))
    yield simulator.plural_mentions(contact)
