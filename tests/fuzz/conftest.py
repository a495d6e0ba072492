"""The modules beside this one find one another as they do when the fuzz is started: by their own names."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
