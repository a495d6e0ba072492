"""What a record's key says, whoever wrote it."""

from hypothesis import given
from hypothesis import strategies as st

from common.events.ids import NOBODY, conversation_id
from common.kafka.keys import MAX_ACCOUNT, account_of, conversation_of

ACCOUNT = st.from_regex(r"[0-9]{1,32}", fullmatch=True, alphabet=st.characters(codec="ascii"))


@given(ACCOUNT, st.one_of(st.none(), ACCOUNT, st.just(NOBODY)))
def test_a_key_of_ours_names_its_conversation_and_its_account(account, contact):
    conversation = conversation_id(account, contact)
    assert conversation_of(conversation.encode()) == conversation
    assert account_of(conversation.encode()) == account.encode()


@given(st.one_of(st.none(), st.binary(max_size=400)))
def test_whatever_a_key_is_what_it_names_is_short_and_plain(key):
    named = conversation_of(key)
    assert named is None or (named.isascii() and named.isprintable() and len(named) <= 161)
    assert len(account_of(key)) <= MAX_ACCOUNT
