"""What README and docs show is so: every command in a ```sh fence is run, every spec is checked, every link leads somewhere.

The convention, also told in CONTRIBUTING.md: the commands of a ```sh fence are run one by one in a copy of the checkout.
A fence that begins right after it shows what came of it: ```text all that the commands printed, ```json the same as data,
```c a part of a file that they wrote; a line `...` stands for any number of lines. `make` is left to CI, and a fence
after a line `<!-- not run: REASON -->` is skipped with that reason.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from command import PATIENCE, ROOT, environment, specc

DOCS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
COPIED = ("specs", "generated", "templates", "tests/golden", "docs")


@dataclass(frozen=True, slots=True)
class Fence:
    """A fenced block of a page. `shown` is the block right after it, if any."""

    page: Path
    line: int
    language: str
    text: str
    not_run: str = ""
    shown: Fence | None = None

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def fences(page: Path) -> list[Fence]:
    found: list[Fence] = []
    lines = page.read_text(encoding="utf-8").splitlines()
    number = 0
    ended = -1  # the line after the end of the last fence
    while number < len(lines):
        opening = re.fullmatch(r"```(\w*)", lines[number])
        if opening is None:
            number += 1
            continue
        end = lines.index("```", number + 1)
        comment = re.fullmatch(r"<!-- not run: (.+) -->", lines[number - 1]) if number else None
        text = "".join(f"{line}\n" for line in lines[number + 1 : end])
        fence = Fence(page, number + 1, opening[1], text, comment[1] if comment else "")
        if found and number == ended and found[-1].language == "sh":
            last = found[-1]
            found[-1] = Fence(last.page, last.line, last.language, last.text, last.not_run, fence)
        else:
            found.append(fence)
        number = ended = end + 1
    return found


FENCES = [fence for page in DOCS for fence in fences(page)]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkout")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name)
    (folder / ".git").mkdir()  # what a spec may reach ends at the project
    (folder / "bin").mkdir()
    (folder / "bin" / "specc").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m specc "$@"\n')
    (folder / "bin" / "specc").chmod(0o755)
    return folder


def matches(shown: str, text: str, *, part: bool = False) -> bool:
    """Whether the text is as shown, where a line `...` is any lines; with `part`, whether it has such a part."""
    pattern = "".join("(?:.*\n)*?" if line == "..." else re.escape(f"{line}\n") for line in shown.splitlines())
    return re.search(rf"^{pattern}" if part else rf"\A{pattern}\Z", text, re.MULTILINE) is not None


@pytest.mark.parametrize("fence", [f for f in FENCES if f.language == "sh"], ids=str)
def test_commands(fence: Fence, checkout: Path) -> None:
    if fence.not_run:
        pytest.skip(fence.not_run)
    commands = [line for line in fence.text.splitlines() if line and not line.startswith("#")]
    run = [line for line in commands if not line.startswith("make ")]
    if not run:
        assert fence.shown is None
        pytest.skip(f"CI runs make itself: {'; '.join(c.partition('#')[0].strip() for c in commands)}")
    env = environment(PATH=f"{checkout / 'bin'}{os.pathsep}{os.environ['PATH']}", PYTHONPATH=str(ROOT))
    output = ""
    shown_findings = fence.shown is not None and re.search(r"^SP\d{3} ", fence.shown.text, re.MULTILINE)
    for command in run:
        done = subprocess.run(
            ["sh", "-c", command], cwd=checkout, env=env, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        # A command that is shown to find something exits with 1, any other with 0.
        assert done.returncode == (1 if shown_findings else 0), f"{command}\n{done.stdout}"
        output += done.stdout
    match fence.shown:
        case None:
            pass
        case Fence(language="text", text=text):
            assert matches(text, output), output
        case Fence(language="json", text=text):
            assert json.loads(text) == json.loads(output)
        case Fence(language="c", text=text):
            written = [p for p in (checkout / "generated").iterdir() if p.suffix in (".c", ".h")]
            assert [p.name for p in written if matches(text, p.read_text(), part=True)], (
                f"no generated file has\n{text}"
            )
        case other:
            pytest.fail(f"{other}: a ```{other.language} fence after ```sh shows nothing that can be compared")


SPECS = [f for f in FENCES if re.match(r"(#.*\n)*specc\s*[:=]", f.text)]


@pytest.mark.parametrize("fence", SPECS, ids=str)
def test_specs(fence: Fence, tmp_path: Path) -> None:
    """A whole spec on a page is a spec; one by the name of an example is that example."""
    suffix = {"yaml": ".yaml", "toml": ".toml"}[fence.language]
    (tmp_path / f"spec{suffix}").write_text(fence.text)
    for header in re.findall(r"[\w/]+\.h\b", fence.text):
        (tmp_path / header).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / header).touch()
    done = specc("check", "--no-resolve", f"spec{suffix}", cwd=tmp_path)
    assert done.code == 0, done.err
    name = re.search(r"^name\s*[:=]\s*\"?(\w+)", fence.text, re.MULTILINE)
    assert name is not None
    example = ROOT / "specs" / f"{name[1]}{suffix}"
    if fence.page.name in ("README.md", "gallery.md") and example.exists():
        assert fence.text in example.read_text()


def test_everything_that_a_spec_may_say_has_an_example() -> None:
    """Each key of the schema, and each format, in a spec of the page about the language, which is checked above."""
    schema = json.loads((ROOT / "specc" / "spec.schema.json").read_text())
    keys: set[str] = set()

    def look(node: object) -> None:
        if isinstance(node, dict):
            properties = node.get("properties")
            keys.update(properties if isinstance(properties, dict) else ())
            for value in node.values():
                look(value)
        elif isinstance(node, list):
            for value in node:
                look(value)

    look(schema)
    assert {"aggregate", "field", "kprobe", "license", "ring"} < keys  # of every level
    text = "".join(f.text for f in SPECS if f.page.name == "spec-language.md")
    assert [k for k in sorted(keys) if not re.search(rf"\b{k}\b\s*[:=]", text)] == []
    assert [f for f in schema["$defs"]["format"]["enum"] if not re.search(rf"format\s*[:=]\s*\"?{f}\b", text)] == []


@pytest.mark.parametrize("page", DOCS, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert [link for link in links if link and not (page.parent / link).exists()] == []


def test_matching() -> None:
    assert matches("a\n...\nd\n", "a\nb\nc\nd\n")
    assert matches("a\n...\nd\n", "a\nd\n")
    assert not matches("a\n", "a\nb\n")
    assert not matches("a.\n", "ab\n")
    assert matches("b\nc\n", "a\nb\nc\nd\n", part=True)
    assert not matches("b\nd\n", "a\nb\nc\nd\n", part=True)
