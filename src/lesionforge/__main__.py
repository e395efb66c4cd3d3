"""`python -m lesionforge`."""

import sys

from lesionforge.cli import main

if __name__ == "__main__":
    sys.exit(main())
