"""Train the SPADE generator on the baseline's training subjects."""

from lesionforge.cli import script

if __name__ == "__main__":
    script("train-generator")
