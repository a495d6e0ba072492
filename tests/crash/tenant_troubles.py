"""What one merchant does wrong on a stack that serves another merchant, too: each trouble for a while, then mended.

The misbehaving merchant has an account, keys and customers of its own. Its trouble reaches Jawab through the same doors
and stores as everybody's: signed webhooks, ManyChat's External Request, its document in MongoDB, the model, its
notification address. Records that no door would accept stand for what an older or foreign producer appended.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, Final

import httpx2
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from pymongo import AsyncMongoClient

from common.events.interactions import INTERACTIONS
from common.merchants import Merchant, Rule, Then, When
from common.mongo import MERCHANTS
from common.sealing import Sealer
from devkit.sandbox.client import SandboxClient
from devkit.signing import SIGNATURE_HEADER, serialise, sign
from devkit.simulator import Simulator
from devkit.stack import Stack
from devkit.updates import Update, body_of
from ingest.account_secret import secret_of

ACCOUNT: Final = "17841400000000099"
MERCHANT: Final = "noisy"
TOKEN: Final = "EAAnoisy"
WORD: Final = "noisymerchant"
"""What its customers' texts contain, so that the model can be told to fail for them alone."""
COMPLAINT: Final = "complaint"
LONG_TEXT: Final = 60_000
IMPOSSIBLE_ID: Final = "9" * 30
"""Digits, and beyond what eight bytes carry."""
POST_SECONDS = 8.0
HANG_SECONDS = 30.0
MODEL_STATUS = 500

TROUBLES: Final = ("busy", "flood", "typo", "hanging_webhook", "slow_model", "failing_model", "wrong_model", "poison")
"""The names of the troubles; what may stop most comes last. Busy is none: as many messages as in the others, and all is
well, so that what a neighbour costs is not taken for what its trouble costs.
"""
PER_SECOND = 8.0
FLOOD_PER_SECOND = 20.0
AT_ONCE = 4


class MisbehavingMerchant:
    """One merchant that gets into trouble. `counts` counts what it did and what it was answered;
    `pace` makes its customers write less often, or more."""

    def __init__(
        self,
        stack: Stack,
        sandbox: SandboxClient,
        client: httpx2.AsyncClient,
        *,
        seed: str,
        counts: Counter[str],
        pace: float = 1.0,
    ) -> None:
        if stack.kafka is None or stack.mongo is None:
            raise ValueError("stack: its Kafka and MongoDB must be its own")
        self._environment = stack.environment()
        self._bootstrap = stack.kafka.direct_bootstrap
        self._mongo_url = stack.mongo.url
        self._ingest = stack.url("ingest")
        self._sandbox = sandbox
        self._client = client
        self._counts = counts
        self._pace = pace
        self._simulator = Simulator(seed=f"noisy {seed}", account=ACCOUNT)
        self._troubles: Mapping[str, Callable[[], AbstractAsyncContextManager[None]]] = {
            "busy": partial(self._while_posting, partial(self._post_text, "hello")),
            "flood": partial(self._while_posting, self._post_long, FLOOD_PER_SECOND),
            "poison": partial(self._while_posting, self._post_poison, FLOOD_PER_SECOND),
            "typo": self._typo,
            "hanging_webhook": partial(self._fault, COMPLAINT, api="operator", behaviour="hang", seconds=HANG_SECONDS),
            "slow_model": partial(self._fault, "slow", api="openai", behaviour="hang", seconds=HANG_SECONDS),
            "failing_model": partial(
                self._fault, "failing", api="openai", behaviour="server_error", status=MODEL_STATUS
            ),
            "wrong_model": partial(self._fault, "wrong", api="openai", behaviour="malformed"),
        }

    async def open_shop(self) -> None:
        """Connect the merchant: its document, and its account in the sandbox world."""
        await self._write_document()
        await self._sandbox.tell_account(ACCOUNT, page_id=ACCOUNT, tokens=[TOKEN])

    @contextlib.asynccontextmanager
    async def in_trouble(self, trouble: str) -> AsyncIterator[None]:
        """Be in one of `TROUBLES` as long as the block runs; afterwards what was broken is mended."""
        async with self._troubles[trouble]():
            yield

    # The troubles

    @contextlib.asynccontextmanager
    async def _typo(self) -> AsyncIterator[None]:
        """Misspell a field of a rule in the document, by hand, while customers write; correct it in the end."""
        broken = {"name": "greeting", "when": {"chanel": "direct_message", "match": "always"}, "then": {}}
        async with self._merchants() as merchants:
            await merchants.update_one({"_id": MERCHANT}, {"$set": {"rules": [broken]}})
        try:
            async with self._while_posting(partial(self._post_text, "hello")):
                yield
        finally:
            await self._write_document()

    @contextlib.asynccontextmanager
    async def _fault(self, word: str, **rule: Any) -> AsyncIterator[None]:
        """Let an outside API fail for this merchant's customers alone, while they write `word`."""
        whose = {"text": WORD} if rule["api"] == "openai" else {"account": ACCOUNT}
        number = await self._sandbox.add_fault(**rule, **whose)
        try:
            async with self._while_posting(partial(self._post_text, word)):
                yield
        finally:
            with contextlib.suppress(httpx2.HTTPStatusError):  # whoever healed everything lifted it already
                await self._sandbox.remove_fault(number)

    @contextlib.asynccontextmanager
    async def _while_posting(
        self, post: Callable[[], Awaitable[None]], per_second: float = PER_SECOND
    ) -> AsyncIterator[None]:
        """Post again and again, a few at once and at most so many a second."""

        async def keep_posting() -> None:
            while True:
                await asyncio.gather(*(post() for _ in range(AT_ONCE)))
                await asyncio.sleep(AT_ONCE / per_second / self._pace)

        posting = asyncio.create_task(keep_posting())
        try:
            yield
        finally:
            posting.cancel()
            await asyncio.gather(posting, return_exceptions=True)

    # What its customers and its flows post

    async def _post_text(self, word: str) -> None:
        await self._post_signed(self._simulator.text(self._simulator.contact(), f"{WORD} {word}"))

    async def _post_long(self) -> None:
        """Post a long message through each door."""
        contact = self._simulator.contact()
        await self._post_signed(self._simulator.text(contact, f"{WORD} {'m' * LONG_TEXT}"))
        await self._post_flow(ig_id=contact, last_input_text=WORD, notes="n" * LONG_TEXT)

    async def _post_poison(self) -> None:
        """Post what can be received and not be handled: ids that fit no store, and what is no event."""
        contact = self._simulator.contact()
        await self._post_flow(id=IMPOSSIBLE_ID, ig_id=contact, last_input_text=f"{WORD} poison {contact}")
        await self._post_signed(self._simulator.text(IMPOSSIBLE_ID, f"{WORD} poison"))
        await self._append((b"{", contact), (None, contact))

    async def _post_signed(self, *updates: Update) -> None:
        raw = serialise(body_of(*updates))
        secret = self._environment["META_APP_SECRET"].split(",")[0]
        await self._post("/webhooks/instagram", raw, {SIGNATURE_HEADER: sign(raw, secret)})

    async def _post_flow(self, **fields: str) -> None:
        raw = serialise({"account_id": ACCOUNT, **fields})
        secret = flow_secret(self._environment["MANYCHAT_WEBHOOK_SECRET"].split(",")[0])
        await self._post("/webhooks/manychat", raw, {"X-Jawab-Secret": secret})

    async def _post(self, path: str, raw: bytes, headers: Mapping[str, str]) -> None:
        with contextlib.suppress(httpx2.TransportError):
            response = await self._client.post(
                f"{self._ingest}{path}",
                content=raw,
                headers={"Content-Type": "application/json", **headers},
                timeout=POST_SECONDS,
            )
            self._counts[f"noisy merchant: {response.status_code}"] += 1

    async def _append(self, *records: tuple[bytes | None, str]) -> None:
        """Append values that are no events under keys of its conversations."""
        with contextlib.suppress(KafkaError, OSError):
            producer = AIOKafkaProducer(bootstrap_servers=self._bootstrap)
            try:
                await producer.start()
                for value, contact in records:
                    await producer.send_and_wait(INTERACTIONS, value, key=f"{ACCOUNT}:{contact}".encode())
                    self._counts["noisy merchant: unreadable records"] += 1
            finally:
                await producer.stop()

    # Its document

    async def _write_document(self) -> None:
        merchant = merchant_of(Sealer([self._environment["ENCRYPTION_KEY"]]), self._environment["OPERATOR_WEBHOOK_URL"])
        async with self._merchants() as merchants:
            await merchants.replace_one({"_id": MERCHANT}, merchant.to_document(), upsert=True)

    @contextlib.asynccontextmanager
    async def _merchants(self) -> AsyncIterator[Any]:
        async with AsyncMongoClient[dict[str, Any]](self._mongo_url, serverSelectionTimeoutMS=10_000) as client:
            yield client.get_default_database()[MERCHANTS]


def merchant_of(sealer: Sealer, operator: str) -> Merchant:
    """Return the misbehaving merchant's document as it should be."""
    alert = Rule(
        name="complaint",
        when=When(channel="direct_message", match="contains", values=(COMPLAINT,)),
        then=Then(reply={"en": "Sorry."}, alert="complaint"),
    )
    return Merchant(
        id=MERCHANT,
        name="Noisy",
        account_id=ACCOUNT,
        access_token=sealer.seal(TOKEN, ACCOUNT, "access_token"),
        operator_webhook=operator,
        rules=(alert,),
    )


def flow_secret(secret: str) -> str:
    """Return the secret with which the merchant's ManyChat flows speak."""
    return secret_of(ACCOUNT, secret)


def known(names: Sequence[str]) -> tuple[str, ...]:
    """Return the troubles of these names in the order of `TROUBLES`. Raises ValueError for one that is none."""
    for name in names:
        if name not in TROUBLES:
            raise ValueError(f"{name!r} is no trouble; there are {', '.join(TROUBLES)}")
    return tuple(name for name in TROUBLES if name in names)
