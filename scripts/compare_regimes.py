"""Compare the trained regimes and write the report."""

from lesionforge.cli import script

if __name__ == "__main__":
    script("compare")
