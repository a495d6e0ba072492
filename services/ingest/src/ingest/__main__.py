"""`python -m ingest`: serve until SIGTERM, configured by the environment alone."""

from common.service import run
from ingest.app import create_app
from ingest.settings import Settings

if __name__ == "__main__":
    run("ingest", Settings, create_app)
