"""The tables of `specc check`: where a probe's arguments are on each kernel, for a person and for a program.

    print(matrix_text(surveys))
    json.dumps(matrix_json([("specs/gup.yaml", surveys)], report.diagnostics))

Kernels next to each other where everything is the same share a row, so that twenty stay readable. The JSON has a row
for each; its keys are a contract.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from specc.diagnostics import Diagnostic, as_json
from specc.noun import dataclass
from specc.place import place_text
from specc.prototype import spell_prototype
from specc.show import piece_json
from specc.survey import Row, Survey

_SHORT: Final = {"missing": "missing!", "type": "other type!", "unreadable": "unreadable!", "unknown": "in doubt!"}
_NAMED: Final = 4  # so many kernels of a row are named one by one


@dataclass(frozen=True, slots=True)
class _Group:
    """Neighbours where all is the same. `row` is the first of them."""

    row: Row
    targets: tuple[str, ...]
    cells: tuple[str, ...]

    @property
    def label(self) -> str:
        if len(self.targets) <= _NAMED:
            return ", ".join(self.targets)
        return f"{self.targets[0]} .. {self.targets[-1]} ({len(self.targets)})"


def matrix_text(surveys: Sequence[Survey]) -> str:
    """A table per probe: its kernels, the place of each argument, what changed; under it the prototypes, once."""
    told: dict[tuple[tuple[str, str], ...], str] = {}
    return "\n".join(_probe_text(survey, told) for survey in surveys)


def _probe_text(survey: Survey, told: dict[tuple[tuple[str, str], ...], str]) -> str:
    """One table. `told` has the prototypes that were shown, and with which probe."""
    groups = _groups(survey)
    name = f"{survey.probe}: " if survey.probe != survey.function else ""
    lines = [f"{name}{survey.kind} {survey.function}", ""]
    rows = [["kernel", *survey.wanted, "against the one before" if any(g.row.changes for g in groups) else ""]]
    rows += [[g.label, *g.cells, _remark(g.row)] for g in groups]
    widths = [max(len(_visible(row[i])) for row in rows) for i in range(len(rows[0]))]
    lines += [
        ("  " + "  ".join(_visible(c).ljust(w) for c, w in zip(row, widths, strict=True))).rstrip() for row in rows
    ]
    shown = tuple((g.label, spell_prototype(g.row.prototype)) for g in groups if g.row.prototype is not None)
    if shown in told:
        lines += ["", f"  the prototypes are those of `{told[shown]}`"]
    elif shown:
        told[shown] = survey.probe
        wide = max(len(_visible(label)) for label, _ in shown)
        lines += ["", *(f"  {_visible(label).ljust(wide)}  {text}" for label, text in shown)]
    return "\n".join(lines) + "\n"


def _groups(survey: Survey) -> list[_Group]:
    groups: list[_Group] = []
    for number, row in enumerate(survey.rows):
        cells = tuple(_cell(survey, row, name) for name in survey.wanted)
        last = groups[-1] if groups else None
        apart = last is None or row.changes or (survey.declared and number == 1)
        if last is not None and not apart and (cells, _remark(row)) == (last.cells, _problem(last.row)):
            groups[-1] = _Group(last.row, (*last.targets, row.target), cells)
        else:
            groups.append(_Group(row, (row.target,), cells))
    return groups


def _cell(survey: Survey, row: Row, name: str) -> str:
    if row.prototype is None:
        return ""
    if name in row.misfits:
        return _SHORT[row.misfits[name].kind]
    return place_text(row.places[name]) if name in row.places else "-"


def _remark(row: Row) -> str:
    return _problem(row) or "; ".join(change.text for change in row.changes)


def _problem(row: Row) -> str:
    if row.problem is None:
        return ""
    return "; ".join((row.problem.message, *row.problem.notes[:1]))


def _visible(text: str) -> str:
    """The name of a file may have anything in it."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def matrix_json(specs: Sequence[tuple[str, Sequence[Survey]]], diagnostics: Sequence[Diagnostic]) -> dict[str, object]:
    """Everything about every probe on every kernel: the shape documented in docs/targets.md."""
    return {
        "version": 1,
        "specs": [{"spec": path, "probes": [_probe_json(s) for s in surveys]} for path, surveys in specs],
        "diagnostics": [as_json(d) for d in diagnostics],
    }


def _probe_json(survey: Survey) -> dict[str, object]:
    rows = survey.rows
    declaration = None
    if survey.declared:
        first, *rest = rows
        rows = tuple(rest)
        declaration = {"source": survey.declared, **_row_json(survey, first)}
    return {
        "probe": survey.probe,
        "kind": survey.kind,
        "function": survey.function,
        "declaration": declaration,
        "kernels": [{"kernel": row.target, **_row_json(survey, row)} for row in rows],
    }


def _row_json(survey: Survey, row: Row) -> dict[str, object]:
    return {
        "prototype": None if row.prototype is None else spell_prototype(row.prototype),
        "problem": None if row.problem is None else row.problem.message,
        "args": [] if row.prototype is None else [_argument_json(survey, row, name) for name in survey.wanted],
        "changes": [{"kind": c.kind, "argument": c.argument, "message": c.text} for c in row.changes],
    }


def _argument_json(survey: Survey, row: Row, name: str) -> dict[str, object]:
    pieces, misfit = row.places.get(name), row.misfits.get(name)
    return {
        "name": name,
        "optional": name in survey.optional,
        "place": None if pieces is None else place_text(pieces),
        "pieces": [piece_json(p) for p in pieces or ()],
        "misfit": None if misfit is None else {"kind": misfit.kind, "message": misfit.text, "help": misfit.help},
    }
