"""Make synthetic patients and controls, mask first, image second (--n 35)."""

from lesionforge.cli import script

if __name__ == "__main__":
    script("synthesize")
