"""A typed test -> C that computes it without anything that C leaves undefined.

In: a Test, and how each text test is called.  Out: a C expression; what fails in it sets `failed`.

    spell_test(test.tree, fails, call)      # "arg_nr > 16"

Arithmetic is done unsigned and wraps; a shift count is taken modulo the width; division has code of its own, because
BPF has none with signs before its version 4 and calls x / 0 zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from specc.where.typing import Constant, IntType, Operation, TextTest, Typed, Variable, promoted

_DIVISIONS = {"/": "quotient", "%": "remainder"}


def spell_test(tree: Typed, fails: Mapping[str, str], call: Callable[[TextTest], str]) -> str:
    """`fails` has, by variable, the C that is true when it could not be read."""

    def as_type(inner: Typed, kind: IntType) -> str:
        text = spelled(inner)
        if kind == promoted(inner.type):
            return text
        return f"({_word(kind)}){text}"

    def spelled(one: Typed) -> str:
        match one:
            case Constant(value=value, type=kind):
                if kind.signed and kind.size == 4 and 0 <= value < 1 << 31:
                    return str(value)
                return f"(({_word(kind)}){value & (1 << 64) - 1:#x}ULL)"
            case Variable(name=name):
                return f"(fail(&failed, {fails[name]}), {name})" if name in fails else name
            case TextTest(variable=name):
                return f"(fail(&failed, {fails[name]}), {call(one)})" if name in fails else call(one)
            case Operation(op="!", operands=(operand,)):
                return f"!{spelled(operand)}"
            case Operation(op="+", operands=(operand,), type=kind):
                return f"({_word(kind)}){spelled(operand)}"
            case Operation(op="-" | "~" as op, operands=(operand,), type=kind):
                unsigned = IntType(kind.size, False)
                return f"(({_word(kind)}){op}({_word(unsigned)}){as_type(operand, kind)})"
            case Operation(op="||" | "&&" as op, operands=(a, b)):
                return f"({spelled(a)} {op} {spelled(b)})"
            case Operation(op="<<" | ">>" as op, operands=(a, b), type=kind):
                left = as_type(a, kind)
                if op == "<<":
                    left = f"({_word(IntType(kind.size, False))}){left}"
                return f"(({_word(kind)})({left} {op} ((__u32){spelled(b)} & {8 * kind.size - 1})))"
            case Operation(op="/" | "%" as op, operands=(a, b), type=kind):
                wide = _word(IntType(8, kind.signed))
                name = f"{'signed_' if kind.signed else ''}{_DIVISIONS[op]}"
                return f"(({_word(kind)}){name}(({wide}){as_type(a, kind)}, ({wide}){as_type(b, kind)}, &failed))"
            case Operation(op="+" | "-" | "*" as op, operands=(a, b), type=kind):
                unsigned = IntType(kind.size, False)
                word = _word(unsigned)
                return f"(({_word(kind)})(({word}){as_type(a, kind)} {op} ({word}){as_type(b, kind)}))"
            case Operation(op=op, operands=(a, b), common=kind):
                return f"({as_type(a, kind)} {op} {as_type(b, kind)})"
        raise AssertionError(f"no C for {one}")

    return spelled(tree)


def _word(kind: IntType) -> str:
    return f"__{'s' if kind.signed else 'u'}{8 * kind.size}"
