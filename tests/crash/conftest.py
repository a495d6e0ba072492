"""The suite's modules find one another as they do when `run.py` is started: by their own names."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
