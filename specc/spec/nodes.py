"""What a node of a document holds, once the schema has found nothing wrong with it.

In: a node.  Out: its text, its number, its items, its entries.

    text_of(entries_of(node)["name"].value)       # "gup"
"""

from __future__ import annotations

from collections.abc import Mapping

from specc.source import Entry, Node


def text_of(node: Node) -> str:
    assert isinstance(node.value, str)
    return node.value


def int_of(node: Node) -> int:
    assert isinstance(node.value, int | float)
    return int(node.value)  # 64.0 is an integer to JSON Schema


def items_of(node: Node | None) -> tuple[Node, ...]:
    return node.value if node is not None and isinstance(node.value, tuple) else ()


def entries_of(node: Node | None) -> Mapping[str, Entry]:
    return node.value if node is not None and isinstance(node.value, dict) else {}
