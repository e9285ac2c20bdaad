"""The JSON Schema of specs, and a small validator of it whose findings have a place, a cause and a hint.

In: a `Document`.  Out: diagnostics SP101-SP119 in a Report, and the nodes that have them.

    bad = check(document, schema(), report)
"""

from specc.schema.check import check
from specc.schema.rules import PLANNED, SCHEMA_FILE, Rule, compile_schema, ecma, schema
from specc.schema.words import inline, pair

__all__ = ["PLANNED", "SCHEMA_FILE", "Rule", "check", "compile_schema", "ecma", "inline", "pair", "schema"]
