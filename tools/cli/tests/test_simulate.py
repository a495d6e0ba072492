"""`jawab simulate`, against a webhook and a sandbox on real sockets."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from ai.media.links import AllowedHosts
from cli.sandbox import answer_in
from devkit.sandbox.serving import running_sandbox
from devkit.sandbox.settings import SandboxSettings
from devkit.signing import sign
from devkit.stack import USUAL_PORTS, Stack

Jawab = Callable[..., tuple[int, str, str]]
NOWHERE = "http://127.0.0.1:1"
SECRET = "app-secret"


class Ingest:
    """Takes webhooks as ingest does, and remembers them."""

    def __init__(self, secret: str = SECRET, status: int = 200) -> None:
        self.secret = secret
        self.status = status
        self.bodies: list[bytes] = []
        self.answers: Callable[[dict[str, Any]], None] | None = None

    def __call__(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        self.bodies.append(body)
        if headers.get("x-hub-signature-256") != sign(body, self.secret):
            return 401, b'{"detail":"the signature does not fit"}'
        if self.answers is not None:
            threading.Thread(target=self.answers, args=(json.loads(body),), daemon=True).start()
        return self.status, b""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[str]:
    with running_sandbox(SandboxSettings(port=0, echoes=False, reads=False)) as url:
        yield url


@pytest.fixture
def secret(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("META_APP_SECRET", "app-secret,an older one")
    environment.setenv("INSTAGRAM_PAGE_ID", "17841400000000001")


@pytest.mark.usefixtures("secret")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--from", "abc"), "--from abc: is not an Instagram-scoped id: 1 to 32 digits → `--from new`"),
        (("--from", "1" * 33), "1 to 32 digits"),
        (("--account", "@dar"), "--account @dar: is not an Instagram account's id"),
    ],
)
def test_who_writes_and_to_whom_must_be_ids(jawab: Jawab, arguments: tuple[str, str], said: str) -> None:
    code, out, err = jawab("simulate", "dm", *arguments, "--show")
    assert (code != 0, out) == (True, "")
    assert said in err


@pytest.mark.usefixtures("secret")
def test_a_message_is_accepted_and_its_id_printed(jawab: Jawab, serving: Any) -> None:
    ingest = Ingest()
    with serving(ingest) as url:
        code, out, _ = jawab("simulate", "dm", "--text", "شلونك", "--url", url, "--sandbox", NOWHERE)
    assert code == 0
    item = json.loads(ingest.bodies[0])["entry"][0]["messaging"][0]
    assert item["message"]["text"] == "شلونك"
    assert f"id {item['message']['mid']}" in out
    assert "answered 200" in out
    assert "Next: jawab simulate dm --wait" in out


@pytest.mark.usefixtures("secret")
def test_duplicates_are_the_same_bytes(jawab: Jawab, serving: Any) -> None:
    ingest = Ingest()
    with serving(ingest) as url:
        code, out, _ = jawab("simulate", "comment", "--duplicate", "3", "--url", url, "--sandbox", NOWHERE)
    assert (code, len(ingest.bodies), len(set(ingest.bodies))) == (0, 3, 1)
    assert out.count("answered 200") == 3


@pytest.mark.usefixtures("secret")
def test_a_refused_forgery_is_a_success_and_an_accepted_one_a_failure(jawab: Jawab, serving: Any) -> None:
    with serving(Ingest()) as url:
        code, out, _ = jawab("simulate", "forged", "--url", url, "--sandbox", NOWHERE)
    assert code == 0
    assert "refused as it should be" in out
    with serving(lambda *_: (200, b"")) as url:
        code, _, err = jawab("simulate", "forged", "--url", url, "--sandbox", NOWHERE)
    assert code == 1
    assert "answered 200, expected was 401" in err


@pytest.mark.usefixtures("secret")
@pytest.mark.parametrize(("status", "fix"), [(503, "cannot reach Kafka"), (404, "--url")])
def test_an_unexpected_answer_is_a_failure_with_its_fix(jawab: Jawab, serving: Any, status: int, fix: str) -> None:
    with serving(Ingest(status=status)) as url:
        code, _, err = jawab("simulate", "dm", "--url", url, "--sandbox", NOWHERE)
    assert code == 1
    assert f"answered {status}" in err
    assert fix in err


@pytest.mark.usefixtures("secret")
def test_another_secret_can_be_given(jawab: Jawab, serving: Any) -> None:
    with serving(Ingest(secret="other")) as url:
        assert jawab("simulate", "dm", "--url", url, "--sandbox", NOWHERE)[0] == 1
        assert jawab("simulate", "dm", "--secret", "other", "--url", url, "--sandbox", NOWHERE)[0] == 0


def test_without_a_secret_it_says_what_to_set(jawab: Jawab) -> None:
    code, _, err = jawab("simulate", "dm")
    assert code == 78
    assert "META_APP_SECRET" in err


@pytest.mark.usefixtures("secret")
def test_nobody_there_is_one_line(jawab: Jawab) -> None:
    code, out, err = jawab("simulate", "dm", "--url", NOWHERE, "--sandbox", NOWHERE)
    assert (code, out) == (1, "")
    assert f"nobody answered at {NOWHERE} (ConnectError) → start everything with `jawab up`" in err


@pytest.mark.usefixtures("secret")
def test_show_prints_what_would_be_sent_and_sends_nothing(jawab: Jawab) -> None:
    code, out, _ = jawab("simulate", "dm", "--show", "--url", NOWHERE)
    *head, body = out.rstrip("\n").split("\n")
    assert code == 0
    assert f"X-Hub-Signature-256: {sign(body.encode(), 'app-secret')}" in head


@pytest.mark.usefixtures("secret")
def test_raw_posts_a_file_as_it_is(jawab: Jawab, serving: Any, tmp_path: Path) -> None:
    (tmp_path / "body.json").write_bytes(b'{"entry": "\xc3\xa9"}\n')
    ingest = Ingest()
    with serving(ingest) as url:
        assert jawab("simulate", "raw", "body.json", "--url", url, "--sandbox", NOWHERE)[0] == 0
    assert ingest.bodies == [b'{"entry": "\xc3\xa9"}\n']
    assert "raw needs the file" in jawab("simulate", "raw")[2]
    assert "no-such-file" in jawab("simulate", "raw", "no-such-file")[2]
    assert "takes no file" in jawab("simulate", "dm", "body.json")[2]


@pytest.mark.usefixtures("secret")
def test_wait_prints_the_reply_that_reaches_the_customer(jawab: Jawab, serving: Any, sandbox: str) -> None:
    ingest = Ingest()

    def reply(body: dict[str, Any]) -> None:
        contact = body["entry"][0]["messaging"][0]["sender"]["id"]
        message = {"recipient": {"id": contact}, "message": {"text": "تدلل عيني"}}
        typing = {"recipient": {"id": contact}, "sender_action": "typing_on"}
        for sent in (typing, message):
            url = f"{sandbox}/graph/17841400000000001/messages"
            httpx2.post(url, json=sent, headers={"authorization": "Bearer any"}, timeout=10, trust_env=False)

    ingest.answers = reply
    with serving(ingest) as url:
        arguments = ("simulate", "dm", "--from", "new", "--wait", "--url", url, "--sandbox", sandbox)
        code, out, err = jawab(*arguments)
        assert code == 0, err
        assert "message over graph in " in out
        assert "تدلل عيني" in out
        assert out.count("over graph") == 1
        code, out, _ = jawab(*arguments, "--json")
    told = json.loads(out)
    assert code == 0
    assert told["posts"][0]["status"] == 200
    assert [answer["text"] for answer in told["answers"]] == ["تدلل عيني"]
    assert told["answers"][0]["contact"] == told["contacts"][0]


@pytest.mark.usefixtures("secret")
def test_a_reply_that_does_not_come_is_a_failure(jawab: Jawab, serving: Any, sandbox: str) -> None:
    with serving(Ingest()) as url:
        code, _, err = jawab(
            "simulate", "dm", "--wait", "--patience", "300ms", "--url", url, "--sandbox", sandbox, "--from", "42"
        )
    assert code == 1
    assert "no reply reached 42 within 300 ms" in err
    assert "jawab conversation 17841400000000001:42" in err


@pytest.mark.usefixtures("secret")
def test_a_recording_is_where_the_world_of_make_up_lets_it_be_fetched_from(jawab: Jawab, tmp_path: Path) -> None:
    allowed = Stack(tmp_path / "up", ports=USUAL_PORTS).environment()["AI_MEDIA_HOSTS"]
    code, out, _ = jawab("simulate", "voice", "--show")
    assert code == 0
    body = json.loads(out.splitlines()[-1])
    url = body["entry"][0]["messaging"][0]["message"]["attachments"][0]["payload"]["url"]
    assert AllowedHosts(allowed.split(",")).link(url) is not None


@pytest.mark.usefixtures("secret")
def test_what_nobody_answers_is_not_waited_for(jawab: Jawab, serving: Any, sandbox: str) -> None:
    with serving(Ingest()) as url:
        code, _, err = jawab("simulate", "read", "--mid", "m_1", "--wait", "--url", url, "--sandbox", sandbox)
    assert code == 0
    assert "nothing is waited for: read need not be answered" in err


@pytest.mark.usefixtures("secret")
def test_waiting_needs_a_sandbox(jawab: Jawab) -> None:
    code, _, err = jawab("simulate", "dm", "--wait", "--sandbox", NOWHERE)
    assert code == 1
    assert f"there is no sandbox at {NOWHERE}" in err


def test_only_words_that_reach_the_customer_are_an_answer() -> None:
    entry = {"api": "graph", "kind": "message", "effect": True, "contact": "1", "text": "hi", "message_id": "m"}
    assert answer_in(entry, {"1"}, 0.1) is not None
    for change in ({"api": "openai"}, {"effect": False}, {"contact": "2"}, {"text": ""}, {"kind": "sender_action"}):
        assert answer_in({**entry, **change}, {"1"}, 0.1) is None
