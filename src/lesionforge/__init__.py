"""Synthetic labelled MRI for rare lesions: mask first, image second, then honest controls."""

import os
import pwd

__version__ = "0.1.0"

try:
    pwd.getpwuid(os.getuid())
except KeyError:  # a container's user without an entry: libraries ask for a name and would fail
    os.environ.setdefault("LOGNAME", f"uid-{os.getuid()}")
