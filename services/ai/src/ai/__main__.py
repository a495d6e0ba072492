"""Starts the ai service: `python -m ai`, configured by the environment."""

from ai.app import create_app
from ai.settings import Settings
from common.service import run

if __name__ == "__main__":
    run("ai", Settings, create_app)
