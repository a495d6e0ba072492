"""Commands in remedies are those to be typed."""

from common.remedies import completed


def test_a_command_gets_the_ids_that_are_known():
    said = "connect the account again: `jawab merchants connect`. Or the key: `jawab merchants add`."
    assert completed(said, merchant_id="dar", account_id="178") == (
        "connect the account again: `jawab merchants connect dar --account 178`. "
        "Or the key: `jawab merchants add dar --update`."
    )


def test_a_whole_command_stays_and_so_does_one_about_nobody():
    whole = "`jawab merchants connect dar --account 178`"
    assert completed(whole, merchant_id="zay", account_id="1") == whole
    assert completed("`jawab merchants connect`", merchant_id="", account_id="1") == "`jawab merchants connect`"
