"""``python -m devkit.sandbox``: the sandbox world as a process, configured by environment."""

from devkit.sandbox.serving import serve
from devkit.sandbox.settings import SandboxSettings

if __name__ == "__main__":
    serve(SandboxSettings())
