"""Constant expressions of C: their value, with C's integer types and wrap-around, and the type of an expression.

In: pycparser's tree of an expression.  Out: a value and its type, or a `Stop` that says what is not constant.

    evaluator.integer(parsed, node)         # `sizeof(struct s) * 2 - 1` -> 47
    evaluator.type_of(parsed, node)         # `((struct s *)0)->next` -> Pointer(Record("struct", "s", None))

C11 6.6 (constant expressions), 6.3.1.8 (usual arithmetic conversions), 6.4.4.1 (types of constants).
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any, Final, Protocol, TypeAlias

from specc.diagnostics import Stop, stop
from specc.headers.syntax import Parsed
from specc.prototype import (
    CHAR,
    DOUBLE,
    FLOAT,
    INT,
    INT128,
    INTS,
    LLONG,
    LONG,
    LONG_DOUBLE,
    UINT,
    UINT128,
    ULLONG,
    ULONG,
    VOID,
    Array,
    BitInt,
    Complex,
    CType,
    Enum,
    Float,
    Function,
    Int,
    Pointer,
    Record,
    Typedef,
    Unknown,
    Vector,
    Void,
    align_of,
    bare,
    decay,
    size_of,
    spell,
)

Value: TypeAlias = tuple[int | float, CType]


class Types(Protocol):
    """What an expression needs of the declarations around it."""

    def typename(self, parsed: Parsed, node: Any, need: bool) -> CType: ...
    def completed(self, ctype: CType, parsed: Parsed, node: Any) -> CType: ...
    def constant_of(self, name: str) -> tuple[int, CType] | None: ...
    def entity_of(self, name: str) -> CType | None: ...
    def same_types(self, parsed: Parsed, placeholder: str) -> bool: ...


_RANK: Final = {INT: 3, UINT: 3, LONG: 4, ULONG: 4, LLONG: 5, ULLONG: 5, INT128: 6, UINT128: 6}
_UNSIGNED: Final = {INT: UINT, LONG: ULONG, LLONG: ULLONG, INT128: UINT128}
_SUFFIX: Final = re.compile(r"([uUlL]*)$")
_ESCAPE: Final = re.compile(r"\\(?:x([0-9a-fA-F]+)|([0-7]{1,3})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))|([^\\])", re.S)
_SIMPLE_ESCAPES: Final = {"n": 10, "t": 9, "r": 13, "0": 0, "a": 7, "b": 8, "f": 12, "v": 11, "e": 27}
_COMPARE: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, ">": operator.gt, "<=": operator.le, ">=": operator.ge,
}  # fmt: skip


def wrap(value: int, ctype: CType) -> int:
    """The value as an integer type of this size and sign holds it."""
    ctype = bare(ctype)
    if ctype == INTS["_Bool"]:
        return int(value != 0)
    bits = ctype.width if isinstance(ctype, BitInt) else 8 * (size_of(ctype) or 8)
    value &= (1 << bits) - 1
    signed = isinstance(ctype, Int | Enum | BitInt) and ctype.signed
    return value - (1 << bits) if signed and value >> (bits - 1) else value


def promote(ctype: CType) -> CType:
    """C11 6.3.1.1p2: anything narrower than int becomes int."""
    ctype = bare(ctype)
    if isinstance(ctype, Enum):
        if ctype.size < 4:
            return INT
        if ctype.size == 4:
            return INT if ctype.signed else UINT
        return LONG if ctype.signed else ULONG
    if isinstance(ctype, Int) and ctype not in _RANK:
        return INT
    return ctype


def common(a: CType, b: CType) -> CType:
    """C11 6.3.1.8."""
    a, b = bare(a), bare(b)
    for kind in (Complex, Vector):
        if isinstance(a, kind) or isinstance(b, kind):
            return a if isinstance(a, kind) else b
    if isinstance(a, Float) or isinstance(b, Float):
        floats = [t for t in (a, b) if isinstance(t, Float)]
        return max(floats, key=lambda t: (t.data, t.size))
    a, b = promote(a), promote(b)
    if isinstance(a, Int) and isinstance(b, Int) and a in _RANK and b in _RANK:
        if _RANK[a] == _RANK[b]:
            return a if not a.signed else b
        high, low = (a, b) if _RANK[a] > _RANK[b] else (b, a)
        if high.signed and not low.signed and low.size == high.size:
            return _UNSIGNED[high]
        return high
    return a if isinstance(a, Pointer) else b


def find_member(record: CType, name: str) -> tuple[int, CType] | None:
    """Bit offset and type of a member, also one of an anonymous record inside."""
    record = bare(record)
    if not isinstance(record, Record):
        return None
    for m in record.members or ():
        if m.name == name:
            return m.bit_offset, m.type
        if not m.name and m.bit_width is None:
            inner = find_member(m.type, name)
            if inner is not None:
                return m.bit_offset + inner[0], inner[1]
    return None


class Evaluator:
    def __init__(self, types: Types) -> None:
        self._types = types

    def integer(self, parsed: Parsed, node: Any) -> int:
        value, _ = self.value(parsed, node)
        if isinstance(value, float):
            raise self._refuse(parsed, node, "it is a floating-point value")
        return value

    def _refuse(self, parsed: Parsed, node: Any, why: str) -> Stop:
        coord = node.coord
        where = parsed.where(coord) if coord is not None and coord.line >= 2 else parsed.scan.location(parsed.start)
        return stop("SP218", f"this is not a constant expression that specc can evaluate: {why}", where)

    def value(self, parsed: Parsed, node: Any) -> Value:
        match type(node).__name__:
            case "Constant":
                return self._constant(parsed, node)
            case "ID":
                return self._name(parsed, node)
            case "UnaryOp":
                return self._unary(parsed, node)
            case "BinaryOp":
                return self._binary(parsed, node)
            case "TernaryOp":
                condition, _ = self.value(parsed, node.cond)
                value, ctype = self.value(parsed, node.iftrue if condition else node.iffalse)
                try:
                    other = self.type_of(parsed, node.iffalse if condition else node.iftrue)
                except Stop:
                    return value, ctype
                if isinstance(bare(ctype), Int | Enum | Float) and isinstance(bare(other), Int | Enum | Float):
                    return self._convert(parsed, node, value, common(ctype, other))
                return value, ctype
            case "Cast":
                value, _ = self.value(parsed, node.expr)
                return self._convert(parsed, node, value, self._types.typename(parsed, node.to_type, False))
            case "FuncCall":
                return self._call(parsed, node)
            case "ExprList":
                return self.value(parsed, node.exprs[-1])
            case "GenericSelection":
                return self.value(parsed, self._selected(parsed, node))
            case "Compound":
                raise self._refuse(parsed, node, "it is a statement expression")
            case kind:
                raise self._refuse(parsed, node, f"it has a {kind}")

    def _convert(self, parsed: Parsed, node: Any, value: int | float, ctype: CType) -> Value:
        target = bare(ctype)
        match target:
            case Float():
                return float(value), ctype
            case Int() | Enum() | BitInt() | Pointer():
                if isinstance(value, float) and target == INTS["_Bool"]:
                    return int(value != 0), ctype
                return wrap(int(value), target), ctype
            case _:
                raise self._refuse(parsed, node, f"it is converted to `{spell(ctype)}`")

    def _constant(self, parsed: Parsed, node: Any) -> Value:
        if node.type == "string":
            raise self._refuse(parsed, node, "it is a string")
        if node.value.endswith("'"):
            return self._character(node.value)
        text = node.value.replace("'", "")  # C23 digit separators
        hexadecimal = text[:2].lower() == "0x"
        if node.type in ("float", "double", "long double"):
            digits = text[:-1] if text[-1] in "fFlL" else text
            value = float.fromhex(digits) if hexadecimal else float(digits)
            return value, {"float": FLOAT, "double": DOUBLE}.get(node.type, LONG_DOUBLE)
        m = _SUFFIX.search(text)
        assert m is not None
        suffix, digits = m[1].lower(), text[: m.start()].lower()
        if digits.startswith("0x"):
            number = int(digits, 16)
        elif digits.startswith("0b"):
            number = int(digits, 2)
        else:
            number = int(digits, 8) if digits.startswith("0") and len(digits) > 1 else int(digits)
        decimal = not digits.startswith("0") or digits == "0"
        if "ll" in suffix:
            candidates: list[Int] = [LLONG, ULLONG]
        elif "l" in suffix:
            candidates = [LONG, ULONG]
        else:
            candidates = [INT, UINT, LONG, ULONG]
        if "u" in suffix:
            candidates = [t for t in candidates if not t.signed]
        elif decimal:
            candidates = [t for t in candidates if t.signed]
        for ctype in candidates:
            if wrap(number, ctype) == number:
                return number, ctype
        raise self._refuse(parsed, node, f"`{text}` is too big for any integer type")

    def _character(self, text: str) -> Value:
        prefix, _, rest = text.partition("'")
        value = 0
        for m in _ESCAPE.finditer(rest[:-1]):
            code = (
                int(m[1], 16) if m[1] else int(m[2], 8) if m[2] else int(m[3] or m[4], 16) if m[3] or m[4]
                else _SIMPLE_ESCAPES.get(m[5], ord(m[5])) if m[5] else ord(m[6])
            )  # fmt: skip
            value = code if prefix else (value << 8) | (code & 0xFF)
        if not prefix:
            # One character has the value of a (signed) char, several make an int (gcc and clang alike).
            return wrap(value, CHAR if value < 256 else INT), INT
        return value, {"L": INT, "U": UINT}.get(prefix, INT)

    def _name(self, parsed: Parsed, node: Any) -> Value:
        if node.name in parsed.cleaned.placeholders:
            return int(self._types.same_types(parsed, node.name)), INT
        found = self._types.constant_of(node.name)
        if found is not None:
            return found
        if node.name in ("true", "false"):
            return int(node.name == "true"), INT
        raise self._refuse(parsed, node, f"`{node.name}` is not a constant")

    def _unary(self, parsed: Parsed, node: Any) -> Value:
        if node.op in ("sizeof", "_Alignof"):
            ctype = self.operand_type(parsed, node.expr)
            ctype = self._types.completed(ctype, parsed, node)
            if isinstance(bare(ctype), Unknown):
                raise self._refuse(parsed, node, f"the size of `{spell(ctype)}` is not known")
            if node.op == "_Alignof" or parsed.offset(node.coord) in parsed.cleaned.alignofs:
                return align_of(ctype), ULONG
            return (1 if isinstance(bare(ctype), Void | Function) else size_of(ctype)), ULONG
        if node.op == "&":
            address, ctype = self._address(parsed, node.expr)
            return address, Pointer(ctype)
        value, ctype = self.value(parsed, node.expr)
        if node.op == "!":
            return int(not value), INT
        kind = ctype if isinstance(bare(ctype), Float) else promote(ctype)
        match node.op:
            case "+":
                return self._convert(parsed, node, value, kind)
            case "-":
                return self._convert(parsed, node, -value, kind)
            case "~" if isinstance(value, int):
                return self._convert(parsed, node, ~value, kind)
            case _:
                raise self._refuse(parsed, node, f"it has the operator `{node.op}`")

    def _address(self, parsed: Parsed, node: Any) -> tuple[int, CType]:
        """Where an lvalue is: `((struct s *)0)->member`, the classic offsetof."""
        match type(node).__name__:
            case "StructRef":
                if node.type == "->":
                    base, pointer = self.value(parsed, node.name)
                    target = bare(pointer)
                    if not isinstance(target, Pointer):
                        raise self._refuse(parsed, node, "`->` needs a pointer")
                    record = target.target
                else:
                    base, record = self._address(parsed, node.name)
                assert isinstance(base, int)
                offset, ctype = self._member(parsed, node, record)
                return base + offset // 8, ctype
            case "ArrayRef":
                base, array = self._address(parsed, node.name)
                element = bare(array)
                if not isinstance(element, Array):
                    raise self._refuse(parsed, node, "it subscripts what is no array")
                inner = self._types.completed(element.element, parsed, node)
                return base + self.integer(parsed, node.subscript) * size_of(inner), inner
            case "UnaryOp" if node.op == "*":
                value, pointer = self.value(parsed, node.expr)
                target = bare(pointer)
                if isinstance(target, Pointer) and isinstance(value, int):
                    return value, target.target
        raise self._refuse(parsed, node, "its address is not known before the program is linked")

    def _member(self, parsed: Parsed, node: Any, record: CType) -> tuple[int, CType]:
        record = self._types.completed(record, parsed, node)
        found = find_member(record, node.field.name)
        if found is None:
            raise self._refuse(parsed, node, f"`{spell(record)}` has no member `{node.field.name}`")
        return found

    def _binary(self, parsed: Parsed, node: Any) -> Value:
        left, left_type = self.value(parsed, node.left)
        if node.op in ("&&", "||"):
            if bool(left) == (node.op == "||"):
                return int(bool(left)), INT
            return int(bool(self.value(parsed, node.right)[0])), INT
        right, right_type = self.value(parsed, node.right)
        if node.op in _COMPARE:
            kind = common(left_type, right_type)
            a, _ = self._convert(parsed, node, left, kind)
            b, _ = self._convert(parsed, node, right, kind)
            return int(_COMPARE[node.op](a, b)), INT
        if isinstance(bare(left_type), Pointer) or isinstance(bare(right_type), Pointer):
            raise self._refuse(parsed, node, "it computes with pointers")
        if node.op in ("<<", ">>"):
            kind = promote(left_type)
            if not isinstance(left, int) or not isinstance(right, int) or not 0 <= right < 8 * size_of(kind):
                raise self._refuse(parsed, node, "it shifts by an impossible count")
            return self._convert(parsed, node, left << right if node.op == "<<" else left >> right, kind)
        kind = common(left_type, right_type)
        a, _ = self._convert(parsed, node, left, kind)
        b, _ = self._convert(parsed, node, right, kind)
        if node.op in ("/", "%") and not b:
            raise self._refuse(parsed, node, "it divides by zero")
        result: int | float
        match node.op:
            case "+":
                result = a + b
            case "-":
                result = a - b
            case "*":
                result = a * b
            case "/" if isinstance(a, float) or isinstance(b, float):
                result = a / b
            case _ if isinstance(a, float) or isinstance(b, float):
                raise self._refuse(parsed, node, f"`{node.op}` needs integers")
            case "/" | "%":
                quotient = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)  # C11 6.5.5p6: towards zero
                result = quotient if node.op == "/" else a - quotient * b
            case "&":
                result = a & b
            case "|":
                result = a | b
            case "^":
                result = a ^ b
            case _:
                raise self._refuse(parsed, node, f"it has the operator `{node.op}`")
        return self._convert(parsed, node, result, kind)

    def _call(self, parsed: Parsed, node: Any) -> Value:
        name = getattr(node.name, "name", "")
        arguments = node.args.exprs if node.args is not None else []
        if name == "offsetof" and len(arguments) == 2:
            ctype = self._types.completed(self._types.typename(parsed, arguments[0], True), parsed, node)
            return self._offset(parsed, arguments[1], ctype)[0], ULONG
        if name == "__builtin_constant_p":
            try:
                self.value(parsed, arguments[0])
            except Stop:
                return 0, INT
            return 1, INT
        if name == "__builtin_expect" and arguments:
            return self._convert(parsed, node, self.value(parsed, arguments[0])[0], LONG)
        if name == "__builtin_choose_expr" and len(arguments) == 3:
            return self.value(parsed, arguments[1 if self.value(parsed, arguments[0])[0] else 2])
        m = re.fullmatch(r"__builtin_(clz|ctz|ffs|popcount|parity)(l|ll|)", name)
        if m is not None and len(arguments) == 1:
            kind = {"": UINT, "l": ULONG, "ll": ULLONG}[m[2]]
            value = wrap(self.integer(parsed, arguments[0]), kind)
            if not value and m[1] in ("clz", "ctz"):
                raise self._refuse(parsed, node, f"`{name}(0)` is undefined")
            lowest = (value & -value).bit_length()
            table = {
                "clz": 8 * kind.size - value.bit_length(),
                "ctz": lowest - 1,
                "ffs": lowest,
                "popcount": value.bit_count(),
                "parity": value.bit_count() & 1,
            }
            return table[m[1]], INT
        m = re.fullmatch(r"__builtin_bswap(16|32|64)", name)
        if m is not None and len(arguments) == 1:
            size = int(m[1]) // 8
            value = self.integer(parsed, arguments[0]) & ((1 << 8 * size) - 1)
            swapped = int.from_bytes(value.to_bytes(size, "little"), "big")
            return swapped, {2: INTS["unsigned short"], 4: UINT, 8: ULONG}[size]
        raise self._refuse(parsed, node, f"it calls `{name}`" if name else "it calls a function")

    def _offset(self, parsed: Parsed, node: Any, base: CType) -> tuple[int, CType]:
        match type(node).__name__:
            case "ID":
                found = find_member(base, node.name)
                if found is None:
                    raise self._refuse(parsed, node, f"`{spell(base)}` has no member `{node.name}`")
                return found[0] // 8, found[1]
            case "StructRef":
                offset, ctype = self._offset(parsed, node.name, base)
                inner, ctype = self._member(parsed, node, ctype)
                return offset + inner // 8, ctype
            case "ArrayRef":
                offset, ctype = self._offset(parsed, node.name, base)
                array = bare(ctype)
                if isinstance(array, Array):
                    element = self._types.completed(array.element, parsed, node)
                    return offset + self.integer(parsed, node.subscript) * size_of(element), element
        raise self._refuse(parsed, node, "it is no member of the type")

    def _selected(self, parsed: Parsed, node: Any) -> Any:
        from specc.headers.compare import same

        controlling = decay(bare(self.type_of(parsed, node.expr)))
        default = None
        for association in node.associations:
            if association.type is None:
                default = association.expr
            elif same(self._types.typename(parsed, association.type, False), controlling):
                return association.expr
        if default is None:
            raise self._refuse(parsed, node, "no association of `_Generic` fits")
        return default

    def operand_type(self, parsed: Parsed, node: Any) -> CType:
        """The type of a `sizeof` or `typeof` operand: a type name or an expression."""
        if type(node).__name__ == "Typename":
            return self._types.typename(parsed, node, False)
        return self.type_of(parsed, node)

    def type_of(self, parsed: Parsed, node: Any) -> CType:
        match type(node).__name__:
            case "Constant" if node.type == "string":
                body = node.value[node.value.index('"') + 1 : -1].replace('" "', "")
                return Array(CHAR, sum(1 for _ in _ESCAPE.finditer(body)) + 1)
            case "ID" if node.name not in parsed.cleaned.placeholders:
                found = self._types.constant_of(node.name)
                if found is not None:
                    return found[1]
                entity = self._types.entity_of(node.name)
                if entity is None:
                    raise self._refuse(parsed, node, f"`{node.name}` is not declared")
                return entity
            case "StructRef":
                record = self.type_of(parsed, node.name)
                if node.type == "->":
                    record = self._pointee(parsed, node, record)
                return self._member(parsed, node, record)[1]
            case "ArrayRef":
                return self._pointee(parsed, node, self.type_of(parsed, node.name))
            case "UnaryOp" if node.op == "*":
                return self._pointee(parsed, node, self.type_of(parsed, node.expr))
            case "UnaryOp" if node.op == "&":
                return Pointer(self.type_of(parsed, node.expr))
            case "UnaryOp" if node.op in ("+", "-", "~"):
                return promote(self.type_of(parsed, node.expr))
            case "UnaryOp" if node.op == "!":
                return INT
            case "UnaryOp" if node.op in ("sizeof", "_Alignof"):
                return ULONG
            case "UnaryOp":
                return self.type_of(parsed, node.expr)
            case "Cast":
                return self._types.typename(parsed, node.to_type, False)
            case "CompoundLiteral":
                return self._types.typename(parsed, node.type, False)
            case "BinaryOp":
                return self._binary_type(parsed, node)
            case "TernaryOp":
                a, b = self.type_of(parsed, node.iftrue), self.type_of(parsed, node.iffalse)
                return a if a == b or isinstance(decay(a), Pointer) else common(a, b)
            case "ExprList":
                return self.type_of(parsed, node.exprs[-1])
            case "Assignment":
                return self.type_of(parsed, node.lvalue)
            case "GenericSelection":
                return self.type_of(parsed, self._selected(parsed, node))
            case "FuncCall":
                if getattr(node.name, "name", "") == "__builtin_choose_expr":
                    condition, a, b = node.args.exprs
                    return self.type_of(parsed, a if self.value(parsed, condition)[0] else b)
                try:
                    return self._call(parsed, node)[1]
                except Stop:
                    function = bare(self.type_of(parsed, node.name))
                    if isinstance(function, Pointer):
                        function = bare(function.target)
                    if isinstance(function, Function):
                        return function.result
                    raise
            case _:
                return self.value(parsed, node)[1]

    def _pointee(self, parsed: Parsed, node: Any, ctype: CType) -> CType:
        match bare(ctype):
            case Pointer(target=target) | Array(element=target):
                return target
            case Function() as function:
                return function
            case _:
                raise self._refuse(parsed, node, f"`{spell(ctype)}` is not a pointer")

    def _binary_type(self, parsed: Parsed, node: Any) -> CType:
        if node.op in ("&&", "||", *_COMPARE):
            return INT
        a = decay(self.type_of(parsed, node.left))
        if node.op in ("<<", ">>"):
            return promote(a)
        b = decay(self.type_of(parsed, node.right))
        if isinstance(bare(a), Pointer) and isinstance(bare(b), Pointer):
            return Typedef("ptrdiff_t", LONG) if node.op == "-" else VOID
        if isinstance(bare(a), Pointer) or isinstance(bare(b), Pointer):
            return a if isinstance(bare(a), Pointer) else b
        return common(a, b)
