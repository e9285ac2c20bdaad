"""Constant expressions of C: trees to values, which `arithmetic` computes, and to the type of an expression.

In: pycparser's tree of an expression.  Out: a value and its type, or a `Stop` that says what is not constant.

    evaluator.integer(parsed, node)         # `sizeof(struct s) * 2 - 1` -> 47
    evaluator.type_of(parsed, node)         # `((struct s *)0)->next` -> Pointer(Record("struct", "s", None))

C11 6.6 (constant expressions), 6.3.1.8 (usual arithmetic conversions), 6.4.4.1 (types of constants).
"""

from __future__ import annotations

from typing import Any, Protocol

from specc.diagnostics import Stop, stop
from specc.headers.arithmetic import (
    BIT_FUNCTION,
    COMPARE,
    ESCAPE,
    Value,
    bit_function,
    common,
    compute,
    constant_value,
    find_member,
    promote,
    wrap,
)
from specc.headers.syntax import Parsed
from specc.prototype import (
    CHAR,
    INT,
    INTS,
    LONG,
    ULONG,
    VOID,
    Array,
    BitInt,
    CType,
    Enum,
    Float,
    Function,
    Int,
    Pointer,
    Typedef,
    Unknown,
    Void,
    align_of,
    bare,
    decay,
    size_of,
    spell,
)


class Types(Protocol):
    """What an expression needs of the declarations around it."""

    def typename(self, parsed: Parsed, node: Any, need: bool) -> CType: ...
    def completed(self, ctype: CType, parsed: Parsed, node: Any) -> CType: ...
    def constant_of(self, name: str) -> tuple[int, CType] | None: ...
    def entity_of(self, name: str) -> CType | None: ...
    def same_types(self, parsed: Parsed, placeholder: str) -> bool: ...


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
        try:
            return constant_value(node.type, node.value)
        except (ValueError, OverflowError):
            raise self._refuse(parsed, node, f"`{node.value[:40]}` is too big for any type") from None

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
        if node.op in COMPARE:
            kind = common(left_type, right_type)
            a, _ = self._convert(parsed, node, left, kind)
            b, _ = self._convert(parsed, node, right, kind)
            return int(COMPARE[node.op](a, b)), INT
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
        result = compute(node.op, a, b)
        if result is None:
            whole = isinstance(a, int) and isinstance(b, int)
            raise self._refuse(
                parsed, node, f"it has the operator `{node.op}`" if whole else f"`{node.op}` needs integers"
            )
        return self._convert(parsed, node, result, kind)

    def _call(self, parsed: Parsed, node: Any) -> Value:
        name = node.name.name if type(node.name).__name__ == "ID" else ""
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
        if BIT_FUNCTION.fullmatch(name) and len(arguments) == 1:
            found = bit_function(name, self.integer(parsed, arguments[0]))
            if found is None:
                raise self._refuse(parsed, node, f"`{name}(0)` is undefined")
            return found
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
                return Array(CHAR, sum(1 for _ in ESCAPE.finditer(body)) + 1)
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
        if node.op in ("&&", "||", *COMPARE):
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
