"""How the Graph API refuses: the platform's codes and statuses, and sentences of ours, on which nothing may depend."""

from typing import Any

from devkit.sandbox.calls import Answer
from devkit.sandbox.world import World

# (code, subcode): (HTTP status, sentence)
_KNOWN_ERRORS: dict[tuple[int, int | None], tuple[int, str]] = {
    (1, None): (500, "An unknown error occurred"),
    (1, 1357046): (500, "The messages were sent, but the request ended in an error"),
    (2, None): (500, "The service is not available for the moment"),
    (4, None): (400, "(#4) The app has reached its request limit"),
    (10, 2534022): (403, "The message falls outside of the allowed window"),
    (10, 2018300): (400, "(#10) Another app controls this conversation now"),
    (32, None): (400, "(#32) The page has reached its request limit"),
    (190, None): (400, "The access token could not be validated"),
    (230, None): (403, "(#230) The person has not agreed to share their profile"),
    (368, None): (400, "The action is temporarily blocked for a breach of policy"),
    (551, 1545041): (400, "(#551) This person cannot be reached right now"),
    (613, None): (400, "(#613) Calls to this interface have exceeded their rate"),
    (9010, None): (401, "There is no Instagram user of that id"),
    (80001, None): (400, "(#80001) Too many calls to this account"),
    (80002, None): (400, "(#80002) Too many calls to this Instagram account"),
}


class GraphErrors:
    """Makes errors in the platform's shape, each with a trace id of its own."""

    def __init__(self, world: World) -> None:
        self._world = world

    def __call__(
        self, code: int, subcode: int | None, message: str | None = None, *, status: int | None = None
    ) -> Answer:
        """Return an error in the platform's shape; status and sentence default to those known for the code."""
        fallback = (400, f"(#{code}) The request was refused")
        known = _KNOWN_ERRORS.get((code, subcode)) or _KNOWN_ERRORS.get((code, None)) or fallback
        error: dict[str, Any] = {
            "message": message or known[1],
            "type": "IGApiException" if code in {9010, 2500} or subcode == 2534022 else "OAuthException",  # noqa: PLR2004
            "code": code,
        }
        if subcode is not None:
            error["error_subcode"] = subcode
        if code in {1, 2, 4, 32, 613, 80001, 80002}:
            error["is_transient"] = True
        error["fbtrace_id"] = self._world.ids.trace()
        name = str(code) if subcode is None else f"{code}/{subcode}"
        return Answer(status or known[0], {"error": error}, error=name)

    def bad(self, message: str, subcode: int | None = None) -> Answer:
        """Return the error of a request that is wrong in itself."""
        return self(100, subcode, f"(#100) {message}")
