"""`specc doctor`: what works on this machine, what is affected by what does not, and how to mend it.

Exit code 0 when `build` and `run` can both do something here, 3 when one of them cannot do anything.
"""

from __future__ import annotations

import argparse
import json

from specc.commands.common import FINE, LACKING, colour_wanted


def run(options: argparse.Namespace) -> int:
    import sys

    from specc.run.health import examine

    checks = examine(options.compiler)
    can = {c: all(check.works for check in checks if c in check.needed) for c in ("build", "run")}
    if options.format == "json":
        rows = [
            {"name": c.name, "works": c.works, "detail": c.detail, "affects": c.affects, "help": c.help} for c in checks
        ]
        print(json.dumps({"version": 1, **can, "checks": rows}, indent=2))
        return FINE if all(can.values()) else LACKING
    colour = colour_wanted(sys.stdout)
    wide = max(len(c.name) for c in checks)
    for check in checks:
        word = "yes" if check.works else "no"
        if colour:
            word = f"\x1b[{'32' if check.works else '31'}m{word:<3}\x1b[0m"
        print(f"{check.name:<{wide}}  {word:<3}  {check.detail}".rstrip())
        if not check.works:
            print(f"{'':<{wide}}       affects: {check.affects}")
            if check.help:
                print(f"{'':<{wide}}       mend: {check.help}")
    print()
    for name, works in can.items():
        print(f"specc {name} {'works' if works else 'does not work'} here")
    return FINE if all(can.values()) else LACKING
