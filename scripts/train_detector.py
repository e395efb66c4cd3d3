"""Train the detector of a regime (--regime baseline|augmented|expanded) and predict."""

from lesionforge.cli import script

if __name__ == "__main__":
    script("train-detector")
