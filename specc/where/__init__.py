"""The conditions of probes: a C-like expression over a call, typed as C types it, and spelled as C."""

from specc.where.spell import spell_test
from specc.where.syntax import Binary, Condition, Name, Number, Tree, parse
from specc.where.typing import IntType, Meaning, Test, check

__all__ = [
    "Binary", "Condition", "IntType", "Meaning", "Name", "Number", "Test", "Tree", "check", "parse", "spell_test",
]  # fmt: skip
