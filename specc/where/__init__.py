"""The conditions of probes: a C-like expression over a call, typed as C types it, and spelled as C."""

from specc.where.spell import spell_test
from specc.where.syntax import Condition, parse
from specc.where.typing import IntType, Meaning, Test, check

__all__ = ["Condition", "IntType", "Meaning", "Test", "check", "parse", "spell_test"]
