"""Reads a study file strictly, and knows in which line each of its keys stands.

YAML's surprises are refused: a key that stands twice (YAML readers take the last one silently), a
number such as `01` (an id that would become 1), and a value that names a class to be imported. `no`
is a name like others for a regime.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from lesionforge.errors import ConfigError

TEXT = "tag:yaml.org,2002:str"
NUMBERS = {
    "int": r"[-+]?(?:0|[1-9][0-9_]*)",
    "float": r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*|[0-9][0-9_]*(?=[eE]))"
    r"(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
}
UNCLEAR = re.compile(r"[-+]?0[0-9_]+|[-+]?[0-9]+(?::[0-9]+)+")
"""An id with zeros, or 8 or 1 in base 8; a time, or a number in base 60."""
CLASSES = ("class_path", "init_args", "__path__")
"""Keys by which jsonargparse would look for a class."""


class StrictLoader(yaml.SafeLoader):
    """YAML with decimal numbers, keys that are text, and no key twice."""

    def get_single_node(self) -> yaml.Node | None:
        """Return the document's nodes, checked.

        Raises:
            ConfigError: a key stands twice or names a class, or a number is unclear.
        """
        node = super().get_single_node()
        for above, keys in _mappings(node):
            _check_keys(above, keys)
        return node

    def compose_scalar_node(self, anchor: Any) -> yaml.ScalarNode:
        """Return a single value.

        Raises:
            ConfigError: it could be a number or a text.
        """
        node = super().compose_scalar_node(anchor)
        if node.style is None and UNCLEAR.fullmatch(node.value):
            raise ConfigError(
                f"line {node.start_mark.line + 1}: {node.value} can be read as a number or as text."
                f" Put a text in quotes ('{node.value}'), write a number without leading zeros."
            )
        return node


def _decimal_numbers(loader: type[yaml.SafeLoader]) -> None:
    """Let only decimal numbers be numbers: no octal, no base 60, no dates; `1e-3` is one."""
    gone = {f"tag:yaml.org,2002:{kind}" for kind in ("timestamp", *NUMBERS)}
    loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in found if tag not in gone]
        for first, found in loader.yaml_implicit_resolvers.items()
    }
    for kind, pattern in NUMBERS.items():
        loader.add_implicit_resolver(
            f"tag:yaml.org,2002:{kind}", re.compile(rf"(?:{pattern})\Z"), list("-+.0123456789")
        )


_decimal_numbers(StrictLoader)


def load_text(text: str) -> Any:
    """Read a value, of a file or of the command line.

    Raises:
        ConfigError: a key stands twice, or names a class.
        yaml.YAMLError: it is no YAML.
    """
    return StrictLoader(text).get_single_data()


Key = tuple[str, ...]
"""A key of a study file with those above it: `("detector", "steps")`."""


def read_lines(path: Path) -> dict[Key, int]:
    """Check a study file and return the line (from 1) of each key.

    Raises:
        ConfigError: it cannot be read, is no YAML, holds no keys, or a key stands twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        load_text(text)
        root = StrictLoader(text).get_single_node()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read as a study file: {error}.") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is no YAML: {' '.join(str(error).split())}.") from None
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError(
            f"{path} holds no study: lines such as `name: my_study` and `detector: {{steps: 900}}` "
            "were expected. configs/bids.yaml explains every key."
        )
    lines: dict[Key, int] = {}
    for above, keys in _mappings(root):
        lines |= {(*above, key.value): key.start_mark.line + 1 for key in keys if not _merges(key)}
    return lines


def _merges(key: yaml.Node) -> bool:
    """Tell whether a key is YAML's `<<`, which takes in the keys of another block."""
    return bool(key.tag == "tag:yaml.org,2002:merge")


def _mappings(root: yaml.Node | None) -> Iterator[tuple[Key, list[yaml.Node]]]:
    """Yield the key of each mapping and the nodes of its own keys; each mapping once."""
    waiting: list[tuple[Key, yaml.Node | None]] = [((), root)]
    seen = set()
    while waiting:
        above, node = waiting.pop(0)
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            yield above, [key for key, _ in node.value]
            waiting += [((*above, key.value), value) for key, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            waiting += [(above, value) for value in node.value]


def _check_keys(above: Key, keys: list[yaml.Node]) -> None:
    """Make the keys of one mapping text, and refuse those that stand twice or name a class."""
    lines: dict[str, int] = {}
    for key in keys:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise ConfigError(f"line {line}: a key must be a word, got a list or a block of keys.")
        name = ".".join([*above, key.value])
        if key.value in CLASSES:
            raise ConfigError(f"line {line}: `{name}` is refused: no value names a class.")
        if key.value in lines:
            raise ConfigError(
                f"line {line}: `{name}` stands twice, in line {lines[key.value]} too, and one of "
                "them would be lost. Put both together."
            )
        lines[key.value] = line
        if not _merges(key):
            key.tag = TEXT
