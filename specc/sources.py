"""What prototypes are read from, for a whole run: headers are preprocessed once for all specs that name them, BTF is opened
once, and every file that was read is known.

    sources = Sources(preprocessor, (Path("vmlinux.btf"),))
    sources.headers(spec)       # a HeaderIndex
    sources.btfs()              # (Btf,)
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from specc.diagnostics import Location, Stop
from specc.noun import dataclass, field

if TYPE_CHECKING:
    from specc.btf import Btf
    from specc.headers import HeaderIndex, Preprocessing
    from specc.prototype import Prototype
    from specc.spec import Spec

RUNNING_TARGET = "this machine"

_Key = tuple[tuple[Path, ...], tuple[Path, ...], tuple[tuple[str, str], ...]]

RUNNING_KERNEL = Path("/sys/kernel/btf/vmlinux")


@dataclass(frozen=True, slots=True)
class Target:
    """A kernel that specs are compiled for: its name, its BTF, and that of its modules."""

    name: str
    btfs: tuple[Btf, ...]

    def prototype(self, function: str, where: Location) -> tuple[Prototype, Btf]:
        """The function's prototype there. Raises Stop, which says why there is none."""
        btf = next((b for b in self.btfs if b.find(function)), self.btfs[0])
        return btf.prototype(function, where), btf


@dataclass(slots=True)
class Sources:
    """What prototypes are read from. `preprocessor` gives the argv of a C compiler, and may Stop when there is none.

    `dependencies` collects every file that a result depended on, for caches and make.
    """

    preprocessor: Callable[[], tuple[str, ...]]
    btf_files: tuple[Path, ...] = ()
    dependencies: dict[str, None] = field(default_factory=dict)
    _headers: dict[_Key, tuple[HeaderIndex, tuple[str, ...]] | Stop] = field(default_factory=dict)
    _started: dict[_Key, Preprocessing] = field(default_factory=dict)
    _files: tuple[Btf, ...] | None = None
    _running: Btf | None = None

    def start(self, spec: Spec) -> None:
        """Start the preprocessor on a spec's headers; `headers` takes up what it gives. Raises Stop."""
        from specc.headers import start_preprocess

        key = _header_key(spec)
        if not spec.headers or key in self._headers or key in self._started:
            return
        places = [h.where for h in spec.headers]
        self._started[key] = start_preprocess(*key, self.preprocessor(), places=places)

    def headers(self, spec: Spec) -> HeaderIndex | None:
        """The index of a spec's headers, None when it names none. Raises Stop."""
        if not spec.headers:
            return None
        key = _header_key(spec)
        if key not in self._headers:
            self.start(spec)
            try:
                self._headers[key] = self._indexed(self._started.pop(key))
            except Stop as problem:
                self._headers[key] = problem
        found = self._headers[key]
        if isinstance(found, Stop):
            raise found
        index, dependencies = found
        self.dependencies.update(dict.fromkeys(dependencies))
        return index

    def _indexed(self, started: Preprocessing) -> tuple[HeaderIndex, tuple[str, ...]]:
        from specc.headers import HeaderIndex

        result = started.finish()
        return HeaderIndex(result.text), tuple(result.dependencies)

    def btfs(self) -> tuple[Btf, ...]:
        """The BTF files of the command line, a module's on top of its kernel's."""
        from specc.btf import open_all

        self.dependencies.update(dict.fromkeys(map(str, self.btf_files)))
        if self._files is None:
            self._files = open_all(self.btf_files)
        return self._files

    def targets(self) -> tuple[Target, ...]:
        """The kernels of the command line, in its order; a module's BTF belongs to the kernel's before it."""
        names: list[str] = []
        groups: list[list[Btf]] = []
        for path, btf in zip(self.btf_files, self.btfs(), strict=True):
            if btf.base is None or not groups:
                groups.append([])
                names.append(path.name.removesuffix(".btf"))
            groups[-1].append(btf)
        return tuple(Target(name, tuple(group)) for name, group in zip(names, groups, strict=True))

    def running_kernel(self) -> Btf:
        from specc.btf import open_btf

        self.dependencies[str(RUNNING_KERNEL)] = None
        if self._running is None:
            self._running = open_btf(RUNNING_KERNEL)
        return self._running


def _header_key(spec: Spec) -> _Key:
    """What a preprocessor's output depends on: headers, include directories, macros."""
    base = Path(spec.path).parent
    names = tuple(Path(h.text) if h.text.startswith("<") else base / h.text for h in spec.headers)
    return names, tuple(base / d.text for d in spec.include_dirs), spec.defines
