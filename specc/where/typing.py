r"""A condition's tree, and what its names mean -> tests, each with its C types; or a finding with its place.

In: a Condition, and a function that says what a name means.  Out: the parts of its `&&`, each a Test.

    check(condition, lambda name, path, where: Meaning("nr", IntType(8, signed=False)), report)

Types are C's on x86-64: integer promotions and the usual arithmetic conversions (C11 6.3.1.1, 6.3.1.8). Pointers are
compared, as unsigned numbers, and nothing else is done with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, TypeAlias

from specc.diagnostics import Location, Report, Stop, stop
from specc.noun import dataclass
from specc.path import Path, told
from specc.where.syntax import COMPARISONS, LOGIC, Binary, Condition, Name, Number, Starts, Text, Tree, Unary

COMM: Final = "comm"
COMM_MOST: Final = 15


@dataclass(frozen=True, slots=True)
class IntType:
    size: int
    signed: bool
    pointer: bool = False


INT: Final = IntType(4, True)


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a name stands for: a `value` that is known; or a `variable` of the program, read as `type`.

    `what` tells a person what it is. `text` says that it can be compared with strings; `problem` why it can be compared
    with nothing. `most` is how long its string can be.
    """

    variable: str
    type: IntType
    what: str = ""
    value: int | None = None
    text: bool = False
    problem: str = ""
    most: int | None = None


# What a name means, with the path that begins there; None when that was reported.
Mean: TypeAlias = "Callable[[str, Path | None, Location], Meaning | None]"


class Constant(NamedTuple):
    value: int
    type: IntType


class Variable(NamedTuple):
    name: str
    type: IntType


class Operation(NamedTuple):
    """`common` is the type that the operands are converted to; for a shift and for logic they keep their own."""

    op: str
    operands: tuple[Typed, ...]
    type: IntType
    common: IntType


class TextTest(NamedTuple):
    """Whether the string of a variable is `text`, or begins with it."""

    variable: str
    text: bytes
    begins: bool
    type: IntType = INT


Typed: TypeAlias = "Constant | Variable | Operation | TextTest"


@dataclass(frozen=True, slots=True)
class Test:
    """One of what `&&` joins, and the variables in it."""

    tree: Typed
    variables: tuple[str, ...]
    reads: bool  # whether it follows a pointer


def check(condition: Condition, meaning: Mean, report: Report) -> list[Test] | None:
    """The tests that must all hold; None after a finding. `meaning` gives None when it has reported the name."""
    checker = _Checker(condition, meaning)
    try:
        tree = checker.truth(condition.tree)
    except Stop as problem:
        report.diagnostics.append(problem.diagnostic)
        return None
    except _Reported:
        return None
    if isinstance(tree, Constant):
        report.error(
            "SP286", f"this is always {'true' if tree.value else 'false'}", condition.where,
            help="compare an argument or a context field",
        )  # fmt: skip
        return None
    return [Test(t, tuple(dict.fromkeys(_variables(t))), any(_reads(t))) for t in _joined(tree)]


class _Reported(Exception):
    pass


def promoted(kind: IntType) -> IntType:
    if kind.pointer:
        return IntType(8, False)
    return INT if kind.size < 4 else kind


def common(a: IntType, b: IntType) -> IntType:
    a, b = promoted(a), promoted(b)
    if a.size != b.size:
        return a if a.size > b.size else b
    return a if not a.signed else b


def wrap(value: int, kind: IntType) -> int:
    value &= (1 << 8 * kind.size) - 1
    return value - (1 << 8 * kind.size) if kind.signed and value >> (8 * kind.size - 1) else value


class _Checker:
    def __init__(self, condition: Condition, meaning: Mean) -> None:
        self.condition = condition
        self.meaning = meaning

    def wrong(self, code: str, message: str, tree: Tree, help_: str | None = None) -> Stop:
        return stop(code, message, self.condition.part(tree.start, tree.stop), help=help_)

    def known(self, name: Name) -> Meaning:
        found = self.meaning(name.text, name.path, self.condition.part(name.start, name.stop))
        if found is None:
            raise _Reported
        return found

    def truth(self, tree: Tree) -> Typed:
        """Anything that has a value: 0 and NULL are false."""
        return self.of(tree)

    def integer(self, tree: Tree, op: str) -> Typed:
        typed = self.of(tree)
        if typed.type.pointer:
            raise self.wrong("SP283", f"`{op}` is for integers, and this is a pointer", tree,
                             "pointers can be compared, and tested for NULL")  # fmt: skip
        return typed

    def of(self, tree: Tree) -> Typed:
        match tree:
            case Number(value=value, size=size, signed=signed):
                return Constant(value, IntType(size, signed))
            case Name(text=text, path=path):
                found = self.known(tree)
                if found.problem:
                    text = told(text, path.text) if path is not None else text
                    raise self.wrong("SP283", f"`{text}` is {found.what}, {found.problem}", tree)
                if found.value is not None:
                    return Constant(found.value, found.type)
                if found.variable == COMM:
                    raise self.wrong("SP283", "`comm` is a string, and has no value of its own", tree,
                                     'write `comm == "NAME"`')  # fmt: skip
                return Variable(found.variable, found.type)
            case Text():
                raise self.wrong("SP283", "a string can only be compared with a string", tree,
                                 'write `NAME == "text"` or `startswith(NAME, "text")`')  # fmt: skip
            case Starts(operand=operand, text=text_):
                return self.text(operand, text_, begins=True)
            case Unary():
                return self.unary(tree)
            case Binary():
                return self.binary(tree)

    def text(self, name: Name, text: Text, *, begins: bool) -> Typed:
        found = self.known(name)
        if not found.text:
            said = told(name.text, name.path.text) if name.path is not None else name.text
            raise self.wrong("SP283", f"`{said}` is {found.what}, and a string is compared with it", name,
                             "strings are `comm`, pointers to `char`, and what `args` records by `string`")  # fmt: skip
        if found.variable == COMM and len(text.value) > COMM_MOST:
            raise self.wrong("SP286", f"`comm` has at most {COMM_MOST} bytes, and this has {len(text.value)}", text,
                             "the kernel cuts the name of a task there")  # fmt: skip
        if found.most is not None and len(text.value) > found.most:
            raise self.wrong(
                "SP286", f"a string there has at most {found.most} bytes, and this has {len(text.value)}", text
            )
        if begins and not text.value:
            raise self.wrong("SP286", "every string begins with nothing", text)
        return TextTest(found.variable, text.value, begins)

    def unary(self, tree: Unary) -> Typed:
        if tree.op == "!":
            typed = self.of(tree.operand)
            return folded(Operation("!", (typed,), INT, promoted(typed.type)))
        typed = self.integer(tree.operand, tree.op)
        kind = promoted(typed.type)
        return folded(Operation(tree.op, (typed,), kind, kind))

    def binary(self, tree: Binary) -> Typed:
        op = tree.op
        if op in COMPARISONS and (isinstance(tree.left, Text) or isinstance(tree.right, Text)):
            return self.compared_text(tree)
        if op in LOGIC:
            return folded(Operation(op, (self.of(tree.left), self.of(tree.right)), INT, INT))
        if op in COMPARISONS:
            left, right = self.of(tree.left), self.of(tree.right)
            return folded(Operation(op, (left, right), INT, common(left.type, right.type)))
        left, right = self.integer(tree.left, op), self.integer(tree.right, op)
        if op in ("<<", ">>"):
            kind = promoted(left.type)
            if isinstance(right, Constant) and not 0 <= right.value < 8 * kind.size:
                raise self.wrong("SP285", f"a shift of {8 * kind.size} bits by {right.value}", tree.right,
                                 f"from 0 to {8 * kind.size - 1}; `1l` has 64 bits")  # fmt: skip
            return folded(Operation(op, (left, right), kind, kind))
        if op in ("/", "%") and isinstance(right, Constant) and right.value == 0:
            raise self.wrong("SP285", "a division by zero", tree.right)
        kind = common(left.type, right.type)
        return folded(Operation(op, (left, right), kind, kind))

    def compared_text(self, tree: Binary) -> Typed:
        name, text = (tree.left, tree.right) if isinstance(tree.right, Text) else (tree.right, tree.left)
        assert isinstance(text, Text)
        if tree.op not in ("==", "!="):
            raise self.wrong("SP283", f"strings have no `{tree.op}`", tree, "there is `==`, `!=` and `startswith`")
        if not isinstance(name, Name):
            raise self.wrong("SP283", "a string is compared with what is none", tree, "compare an argument, or `comm`")
        test = self.text(name, text, begins=False)
        return test if tree.op == "==" else Operation("!", (test,), INT, INT)


def folded(operation: Operation) -> Typed:
    """The operation, or its value when all of it is known."""
    values = [o.value for o in operation.operands if isinstance(o, Constant)]
    if len(values) < len(operation.operands):
        return operation
    op = operation.op
    if op in ("<<", ">>"):
        a, b = wrap(values[0], operation.common), values[1]
    elif op in LOGIC:
        a, b = values
    else:
        a, b = (wrap(v, operation.common) for v in (*values, 0)[:2])
    return Constant(wrap(_result(op, a, b, len(values)), operation.type), operation.type)


def _result(op: str, a: int, b: int, count: int) -> int:
    if count == 1:
        return {"!": int(not a), "~": ~a, "-": -a, "+": a}[op]
    match op:
        case "||" | "&&":
            return int(bool(a or b) if op == "||" else bool(a and b))
        case "/" | "%":
            quotient = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
            return quotient if op == "/" else a - quotient * b
        case "==" | "!=" | "<" | "<=" | ">" | ">=":
            found = {"==": a == b, "!=": a != b, "<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}
            return int(found[op])
        case "<<":
            return a << b
        case ">>":
            return a >> b
    return {"+": a + b, "-": a - b, "*": a * b, "&": a & b, "|": a | b, "^": a ^ b}[op]


def _joined(tree: Typed) -> Iterator[Typed]:
    if isinstance(tree, Operation) and tree.op == "&&":
        for operand in tree.operands:
            yield from _joined(operand)
    else:
        yield tree


def _variables(tree: Typed) -> Iterator[str]:
    match tree:
        case Variable(name=name):
            yield name
        case TextTest(variable=name):
            yield name
        case Operation(operands=operands):
            for operand in operands:
                yield from _variables(operand)


def _reads(tree: Typed) -> Iterator[bool]:
    match tree:
        case TextTest(variable=name):
            yield name != COMM
        case Operation(operands=operands):
            for operand in operands:
                yield from _reads(operand)
