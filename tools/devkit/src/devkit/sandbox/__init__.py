"""The sandbox world: every outside party of Jawab in one process, so that all of it runs with nothing real.

Instagram's Graph API, ManyChat, an OpenAI-compatible model and the operator's inbox each have a room
(`instagram.py`, `manychat.py`, `openai.py`, `operator.py`) that behaves, refuses and errs as the real one is known
to. What is done to a customer comes back as a signed echo, as Instagram does. Every call is in the journal, with
what its caller was told and whether it took effect: that is what the tests of "never twice, never lost" count.

    python -m devkit.sandbox            # PORT=8090; see `settings.py` for the rest
"""

from devkit.sandbox.app import create_sandbox
from devkit.sandbox.settings import SandboxSettings

__all__ = ["SandboxSettings", "create_sandbox"]
