"""`python -m delivery`: serves the delivery service, configured by environment only."""

from common.service import run
from delivery.app import create_app
from delivery.settings import Settings

if __name__ == "__main__":
    run("delivery", Settings, create_app)
