"""Media that is made when it is fetched, and the ear that finds the words in it again."""

import httpx2
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devkit.sandbox import SandboxSettings
from devkit.sandbox.recordings import image, recording, seconds_of, words_in
from devkit.sandbox.serving import running_sandbox


@pytest.fixture(scope="module")
def url():
    with running_sandbox(SandboxSettings(port=0, seed="t")) as address:
        yield address


@pytest.fixture
def http(url):
    with httpx2.Client(base_url=url, trust_env=False) as client:
        yield client
        client.post("/sandbox/reset").raise_for_status()


@pytest.fixture
async def model(url):
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="sk-test", max_retries=0, timeout=5) as client:
        yield client


def journal(http, **wanted):
    return http.get("/sandbox/journal", params={**wanted, "bodies": True}).json()["entries"]


@given(st.text(max_size=200).filter(lambda words: "\x00" not in words), st.floats(0.01, 3))
def test_a_recording_holds_its_words_and_its_length(words, seconds):
    made = recording(words, seconds=seconds)
    assert words_in(made) == words
    assert seconds_of(made) == pytest.approx(seconds, abs=0.001)
    assert made[:4] + made[8:12] == b"RIFFWAVE"


@given(st.binary(max_size=200))
def test_any_other_bytes_are_no_recording_or_silence(content):
    assert words_in(content) in {None, ""}
    assert words_in(b"RIFF\x00\x00\x00\x00WAVE" + content) is not None


def test_media_is_made_when_it_is_fetched(http):
    voice = http.get("/media/voice.wav", params={"words": "شكد سعره؟", "seconds": 2})
    assert (voice.status_code, voice.headers["content-type"]) == (200, "audio/wav")
    assert (words_in(voice.content), seconds_of(voice.content)) == ("شكد سعره؟", 2.0)
    picture = http.get("/media/image.png")
    assert (picture.content, picture.headers["content-type"]) == (image(), "image/png")
    assert http.get("/media/page.html").headers["content-type"] == "text/html"
    moved = http.get("/media/moved", params={"to": "/media/image.png"})
    assert (moved.status_code, moved.headers["location"]) == (302, "/media/image.png")
    assert http.get("/media/other").status_code == http.post("/media/voice.wav").status_code == 404
    assert http.get("/media/voice.wav", params={"seconds": "x"}).status_code == 400
    assert [entry["kind"] for entry in journal(http, api="media")][:2] == ["voice", "image"]


def test_media_can_be_out_of_order(http):
    http.post("/sandbox/faults", json={"api": "media", "behaviour": "server_error", "times": 1}).raise_for_status()
    assert http.get("/media/voice.wav").status_code == 503
    assert http.get("/media/voice.wav").status_code == 200


@pytest.mark.parametrize(
    ("name", "usage"),
    [("gpt-transcribe", {"type": "duration", "seconds": 2.0}), ("gpt-4o-mini-transcribe", {"type": "tokens"})],
)
async def test_the_words_in_a_recording_are_heard_and_the_file_is_not_kept(http, model, name, usage):
    sound = recording("bikam hadha?", seconds=2)
    heard = await model.audio.transcriptions.create(file=("voice.wav", sound), model=name, response_format="json")
    assert heard.text == "bikam hadha?"
    assert usage.items() <= heard.usage.model_dump().items()
    (entry,) = journal(http, kind="transcription")
    assert (entry["text"], entry["effect"]) == ("bikam hadha?", True)
    written = entry["request"]
    assert (written["model"], written["file"]["filename"], written["file"]["bytes"]) == (name, "voice.wav", len(sound))


@pytest.mark.parametrize(
    ("file", "name"),
    [
        (("voice.wav", b"nonsense"), "gpt-transcribe"),
        (("voice.txt", recording("x")), "gpt-transcribe"),
        (("voice.wav", recording("x", seconds=0.01)), "gpt-transcribe"),
        (("voice.wav", recording("x")), "gpt-9"),
    ],
)
async def test_what_cannot_be_heard_is_refused(model, file, name):
    with pytest.raises(openai.BadRequestError):
        await model.audio.transcriptions.create(file=file, model=name)


async def test_the_ear_misbehaves_to_order(http, model):
    rule = {"api": "openai", "kind": "transcription", "times": 1}
    http.post("/sandbox/faults", json={**rule, "behaviour": "rate_limited", "retry_after": 3}).raise_for_status()
    file = ("voice.wav", recording("x"))
    with pytest.raises(openai.RateLimitError):
        await model.audio.transcriptions.create(file=file, model="gpt-transcribe")
    assert (await model.audio.transcriptions.create(file=file, model="gpt-transcribe")).text == "x"


async def test_images_are_taken_as_links_and_written_down(http, model):
    parts = [
        {"type": "text", "text": "do you have this"},
        {"type": "image_url", "image_url": {"url": "https://x.fbcdn.net/1.jpg", "detail": "low"}},
    ]
    await model.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": parts}])
    (entry,) = journal(http, kind="completion")
    assert entry["text"] == "do you have this [image]"
    assert entry["request"]["messages"][0]["content"] == parts
