"""A merchant's document, and finding merchants."""

import pytest
from bson.datetime_ms import DatetimeMS
from prometheus_client import CollectorRegistry
from pydantic import ValidationError
from pymongo.errors import AutoReconnect

from common.merchant_directory import MerchantDirectory, merchant_from_environment
from common.merchants import Account, Merchant, MerchantNotReadable
from common.mongo import MERCHANTS, READABLE_MERCHANTS, database, ensure_indexes, mongo_client
from common.sealing import Sealer
from common.settings import MerchantSettings, MongoSettings

KEY = "k" * 32


def environment_merchant() -> Merchant:
    settings = MerchantSettings(account_id="111", access_token="token-1", manychat_api_key="1:key")
    merchant = merchant_from_environment(settings, Sealer([KEY]))
    assert merchant is not None
    return merchant


OWN = environment_merchant()


def test_the_environments_keys_are_sealed_in_its_merchant():
    merchant = OWN
    assert merchant.access_token is not None
    assert "token-1" not in merchant.access_token
    assert merchant.opened("access_token", Sealer([KEY])) == "token-1"


def test_without_an_account_the_environment_has_no_merchant():
    assert merchant_from_environment(MerchantSettings(account_id=None), None) is None


def test_a_document_comes_back_as_it_was():
    assert Merchant.from_document(OWN.to_document()) == OWN


def test_a_misspelt_field_is_refused_by_name():
    with pytest.raises(ValidationError, match="ruels"):
        Merchant.from_document({**OWN.to_document(), "ruels": []})


@pytest.mark.parametrize("pause", [-0.1, 60.1, float("nan"), float("inf")])
def test_a_pause_that_nobody_would_wait_for_is_refused_by_name(pause):
    with pytest.raises(ValidationError, match="turn_pause"):
        Merchant.from_document({**OWN.to_document(), "turn_pause": pause})


def test_a_merchant_stored_before_there_was_a_pause_answers_at_once():
    document = {name: value for name, value in OWN.to_document().items() if name != "turn_pause"}
    assert Merchant.from_document(document).turn_pause == 0


# Several accounts

TWO = OWN.model_copy(
    update={
        "username": "baghdad",
        "other_accounts": (
            Account(account_id="222", username="basra", access_token="sealed-2", manychat_api_key="k2"),
        ),
    }
)


def test_a_merchant_seen_by_an_account_has_that_accounts_keys_and_no_others():
    basra = TWO.seen_by("222")
    assert basra is not None
    assert (basra.id, basra.account_id, basra.username) == ("default", "222", "basra")
    assert (basra.access_token, basra.manychat_api_key, basra.manychat_igsid_field) == ("sealed-2", "k2", None)
    assert [one.account_id for one in basra.accounts] == ["222", "111"]


def test_a_merchant_is_the_same_again_when_seen_by_its_first_account():
    assert TWO.seen_by("111") == TWO
    basra = TWO.seen_by("222")
    assert basra is not None
    assert basra.seen_by("111") == TWO


def test_a_merchant_is_not_seen_by_an_account_it_has_not():
    assert TWO.seen_by("333") is None


def test_an_account_is_changed_in_its_place_or_put_beside_the_others():
    changed = TWO.with_account(Account(account_id="222", username="erbil")).with_account(Account(account_id="333"))
    assert [(one.account_id, one.username) for one in changed.accounts] == [
        ("111", "baghdad"),
        ("222", "erbil"),
        ("333", ""),
    ]
    assert changed.with_account(Account(account_id="111")).access_token is None


def test_an_account_stands_once_in_a_document():
    with pytest.raises(ValidationError, match="names an account twice: 111"):
        Merchant.from_document({**OWN.to_document(), "other_accounts": [{"account_id": "111"}]})


def test_a_document_with_several_accounts_comes_back_as_it_was():
    assert Merchant.from_document(TWO.to_document()) == TWO


def test_a_merchant_with_one_account_leaves_nothing_for_the_index_over_the_others():
    assert "other_accounts" not in OWN.to_document()


def test_a_document_from_before_there_were_standings_is_read():
    assert Merchant.from_document({**OWN.to_document(), "connected": False}) == OWN


@pytest.fixture
async def db(mongo_url):
    client = mongo_client(MongoSettings(mongodb_url=mongo_url), service="test")
    yield database(client)
    await client.close()


@pytest.mark.mongo
async def test_a_stored_merchant_goes_before_the_environments(db):
    directory = MerchantDirectory(db, OWN, keep=0)
    assert await directory.of_account("111") == OWN
    assert await directory.by_id("default") == OWN
    assert await directory.of_account("222") is None
    await db[MERCHANTS].insert_one(OWN.model_copy(update={"name": "Stored"}).to_document())
    found = await directory.of_account("111")
    assert found is not None
    assert found.name == "Stored"


@pytest.mark.mongo
async def test_an_account_belongs_to_one_merchant(db):
    await ensure_indexes(db, owner="cli")
    await db[MERCHANTS].insert_one(OWN.to_document())
    with pytest.raises(Exception, match="duplicate key"):
        await db[MERCHANTS].insert_one({**OWN.to_document(), "_id": "second"})


@pytest.mark.mongo
async def test_a_merchant_is_found_by_each_of_its_accounts_and_seen_by_it(db):
    await db[MERCHANTS].insert_one(TWO.to_document())
    directory = MerchantDirectory(db, None, keep=0)
    assert await directory.of_account("222") == TWO.seen_by("222")
    assert await directory.of_account("111") == TWO
    assert await directory.by_id("default") == TWO
    assert await directory.of_account("333") is None


@pytest.mark.mongo
async def test_another_account_of_a_merchant_belongs_to_it_alone(db):
    await ensure_indexes(db, owner="cli")
    await db[MERCHANTS].insert_one(TWO.to_document())
    await db[MERCHANTS].insert_one({**OWN.to_document(), "_id": "without", "account_id": "333"})
    await db[MERCHANTS].insert_one({**OWN.to_document(), "_id": "neither", "account_id": "444"})
    with pytest.raises(Exception, match="duplicate key"):
        await db[MERCHANTS].insert_one({**TWO.to_document(), "_id": "second", "account_id": "555"})


@pytest.mark.mongo
async def test_an_account_that_two_merchants_claim_is_nobodys_until_somebody_decides(db):
    await db[MERCHANTS].insert_one(TWO.to_document())
    await db[MERCHANTS].insert_one({**OWN.to_document(), "_id": "second", "account_id": "222"})
    with pytest.raises(MerchantNotReadable, match="account 222 belongs to merchants default and second"):
        await MerchantDirectory(db, None).of_account("222")


@pytest.mark.mongo
async def test_a_merchant_that_cannot_be_read_is_named_with_its_field(db):
    await db[MERCHANTS].insert_one({**OWN.to_document(), "routes": ["pigeon"]})
    with pytest.raises(MerchantNotReadable, match=r"default: not valid: routes\.0 must be one of manychat, graph"):
        await MerchantDirectory(db, None).of_account("111")


@pytest.mark.mongo
async def test_answers_are_kept_for_a_while_also_that_there_is_nobody(db):
    directory = MerchantDirectory(db, None, keep=60)
    assert await directory.of_account("111") is None
    await db[MERCHANTS].insert_one(OWN.to_document())
    assert await directory.of_account("111") is None
    assert await MerchantDirectory(db, None, keep=60).of_account("111") == OWN


async def broken(db, **fields):
    await db[MERCHANTS].update_one({"_id": "default"}, {"$set": fields})


MISTAKES = [
    {"routes": ["pigeon"]},
    {"rules": [{"name": "price", "wen": {"channel": "comment"}}]},
    {"rules": "none"},
    {"name": ""},
    {"turn_pause": "soon"},
    {"a_field": "that nobody knows"},
    {"token_expires_at": DatetimeMS(2**52)},
    {"other_accounts": [{"account_id": "not a number"}]},
    {"other_accounts": 5},
]


@pytest.mark.mongo
@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: next(iter(mistake)))
@pytest.mark.parametrize("restart", [False, True], ids=["running", "after a restart"])
async def test_a_mistake_in_a_document_leaves_the_last_readable_version_in_force(db, mistake, restart):
    registry = CollectorRegistry()
    await db[MERCHANTS].insert_one(OWN.to_document())
    directory = MerchantDirectory(db, None, keep=0, registry=registry)
    assert await directory.of_account("111") == OWN
    await broken(db, **mistake)
    if restart:
        registry = CollectorRegistry()
        directory = MerchantDirectory(db, None, keep=0, registry=registry)
    assert await directory.of_account("111") == OWN
    assert await directory.by_id("default") == OWN
    assert registry.get_sample_value("merchants_unreadable", {"in_force": "last_readable"}) == 1
    await db[MERCHANTS].replace_one({"_id": "default"}, {**OWN.to_document(), "name": "Mended"})
    found = await directory.of_account("111")
    assert found is not None
    assert found.name == "Mended"
    assert registry.get_sample_value("merchants_unreadable", {"in_force": "last_readable"}) == 0


@pytest.mark.mongo
async def test_the_version_in_force_has_the_keys_of_now_and_none_are_stored_with_it(db):
    with_keys = TWO.model_copy(update={"access_token": "sealed-1", "manychat_api_key": "sealed-2"})
    with_keys = with_keys.with_account(Account(account_id="222", access_token="sealed-3"))
    await db[MERCHANTS].insert_one(with_keys.to_document())
    assert await MerchantDirectory(db, None).of_account("222") == with_keys.seen_by("222")
    assert "sealed" not in str(await db[READABLE_MERCHANTS].find({}).to_list())
    await broken(db, routes=["pigeon"], access_token="renewed", manychat_api_key=7)
    found = await MerchantDirectory(db, None).of_account("111")
    assert found is not None
    assert (found.access_token, found.manychat_api_key) == ("renewed", None)
    assert found.other_accounts[0].access_token == "sealed-3"


@pytest.mark.mongo
async def test_an_account_that_came_with_the_mistake_waits_and_the_others_do_not(db):
    await db[MERCHANTS].insert_one(OWN.to_document())
    registry = CollectorRegistry()
    directory = MerchantDirectory(db, None, keep=0, registry=registry)
    assert await directory.of_account("111") == OWN
    await broken(db, routes=["pigeon"], other_accounts=[{"account_id": "222"}])
    with pytest.raises(MerchantNotReadable, match=r"routes\.0 must be one of"):
        await directory.of_account("222")
    assert await directory.of_account("111") == OWN
    assert await directory.of_account("333") is None


@pytest.mark.mongo
async def test_a_merchant_that_is_gone_is_gone_whatever_was_readable(db):
    await db[MERCHANTS].insert_one(OWN.to_document())
    assert await MerchantDirectory(db, None).of_account("111") == OWN
    await db[MERCHANTS].delete_one({"_id": "default"})
    assert await MerchantDirectory(db, None).of_account("111") is None


@pytest.mark.mongo
async def test_a_version_that_cannot_be_stored_costs_no_answer(db):
    class Refusing:
        async def replace_one(self, *_, **__):
            raise AutoReconnect("the primary is away")

    await db[MERCHANTS].insert_one(OWN.to_document())
    directory = MerchantDirectory(db, None, keep=0)
    storing, directory._readable._collection = directory._readable._collection, Refusing()
    assert await directory.of_account("111") == OWN
    assert await db[READABLE_MERCHANTS].count_documents({}) == 0
    directory._readable._collection = storing
    assert await directory.of_account("111") == OWN
    assert await db[READABLE_MERCHANTS].count_documents({}) == 1


@pytest.mark.mongo
async def test_of_two_documents_that_claim_an_account_nobody_is_silent_about(db):
    registry = CollectorRegistry()
    await db[MERCHANTS].insert_one(TWO.to_document())
    await db[MERCHANTS].insert_one({**OWN.to_document(), "_id": "second", "account_id": "222"})
    with pytest.raises(MerchantNotReadable):
        await MerchantDirectory(db, None, registry=registry).of_account("222")
    assert registry.get_sample_value("merchants_unreadable", {"in_force": "none"}) == 1
