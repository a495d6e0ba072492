"""`python -m cleanup` serves; `python -m cleanup <job>` does one job and ends."""

import sys

from cleanup.app import create_app
from cleanup.jobs import run_job
from cleanup.settings import Settings
from common.service import run

if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(run_job(" ".join(sys.argv[1:])))
    run("cleanup", Settings, create_app)
