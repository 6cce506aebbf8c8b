"""The modules in `jboat_scripts` are imported by name, as a script's own modules are."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "jboat_scripts"))
