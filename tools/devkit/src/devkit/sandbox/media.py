"""Where customers' media lies: what Instagram's webhooks link to, made when it is fetched.

    /media/voice.wav?words=…[&seconds=2]     a recording in which that is said
    /media/image.png                         an image
    /media/moved?to=…                        a redirect
    /media/page.html                         what a dead link shows

Faults make it slow, silent or gone (api ``media``), and the journal tells what was fetched.
"""

from devkit.sandbox.calls import Answer, Call, Request
from devkit.sandbox.faults import FaultRule
from devkit.sandbox.recordings import image, recording

LONGEST_SECONDS = 600.0
KINDS = {"/voice.wav": "voice", "/image.png": "image", "/moved": "moved", "/page.html": "page"}


class MediaRoom:
    """The content delivery network."""

    api = "media"

    def describe(self, request: Request) -> Call:
        """Say what is fetched."""
        kind = KINDS.get(request.path, "unknown") if request.method == "GET" else "unknown"
        return Call(self.api, kind, request, text=request.query.get("words", ""))

    def perform(self, call: Call) -> Answer:
        """Give it."""
        query = call.request.query
        match call.kind:
            case "voice":
                try:
                    seconds = min(float(query.get("seconds", "1")), LONGEST_SECONDS)
                except ValueError:
                    return Answer(400, {"error": "seconds: a number is needed"}, error="400")
                content = recording(query.get("words", ""), seconds=seconds)
                return Answer(200, content, {"content-type": query.get("type", "audio/wav")})
            case "image":
                return Answer(200, image(), {"content-type": "image/png"})
            case "moved":
                return Answer(302, b"", {"content-type": "text/plain", "location": query.get("to", "/")})
            case "page":
                return Answer(200, b"<h1>This content is not available</h1>", {"content-type": "text/html"})
            case _:
                return Answer(404, {"error": "there is voice.wav, image.png, moved and page.html"}, error="404")

    def fail(self, call: Call, fault: FaultRule) -> Answer:  # noqa: ARG002 - every room has this signature
        """Give the ordered status in a plain shape."""
        status = fault.status or (429 if fault.behaviour == "rate_limited" else 503)
        return Answer(status, {"error": fault.message or "out of order"}, error=str(status))
