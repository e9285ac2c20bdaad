"""The ELF section of a probe's program.

section(probe, at_return=False)         # "kprobe/__get_user_pages"
"""

from __future__ import annotations

from specc.spec import ProbeSpec


def section(probe: ProbeSpec, *, at_return: bool) -> str:
    """The ELF section that tells a libbpf-based loader where to attach (libbpf's SEC conventions)."""
    match probe.kind:
        case "kprobe" | "kretprobe":
            kind = "kretprobe" if at_return else "kprobe"
        case "uprobe" | "uretprobe":
            kind = "uretprobe" if at_return else "uprobe"
        case "ksyscall" | "kretsyscall":
            kind = "kretsyscall" if at_return else "ksyscall"
        case "raw_tracepoint":
            kind = "tp_btf"
        case other:
            kind = other
    if probe.target is None:
        assert probe.function is not None
        return f"{kind}/{probe.function.text}"
    target = probe.target
    # Where libbpf's syntax cannot say it, the section names only the program type and the loader attaches by itself.
    if target.symbol is None or target.pid is not None or ":" in target.path.text or "@" in target.symbol.text:
        return kind
    offset = f"+{target.offset:#x}" if target.offset else ""
    text = f"{kind}/{target.path.text}:{target.symbol.text}{offset}"
    return text if text.isascii() and text.isprintable() else kind  # what C can say in an attribute
