"""Something wrong with the input, in words that say what to do."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """Something wrong with the input: which subject and file, what, and what to do.

    Attributes:
        subject: participant label or table.
        file: the file, or the folder that should hold it.
        what: the finding.
        remedy: what to do.
        fatal: False for a remark that does not stop preparation.
    """

    subject: str
    file: str
    what: str
    remedy: str
    fatal: bool = True

    def __str__(self) -> str:
        """Return one line for people."""
        return f"{self.subject}: {self.what} ({self.file}). {self.remedy}"
