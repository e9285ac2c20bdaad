"""The emitted module at a real buffer: specc loads and attaches, a process without specc reads, and the values are known."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest
from command import specc

from specc.api import open as open_spec

from .build import compile_c, live

pytestmark = live

PROGRAM = r"""
#include <string.h>
struct point { int x; long y; };
__attribute__((noinline, noipa)) long probed(long class, struct point at, const char *text, _Bool truth, int a, int b, int c, short from)
{
	return class + from;
}
int main(void)
{
	static char text[2][16];
	memcpy(text[0], "short", 6), memcpy(text[1], "much longer", 12);
	for (int i = 0; i < 3000; i++) /* more than is taken out at a time */
		probed(-i, (struct point){i, -2l * i}, i % 3 == 2 ? (char *)8 : text[i % 3], i & 1, 0, 0, 0, 7);
}
"""
SPEC = """
specc: 1
name: watch
buffer: {BUFFER}
fields: [pid, comm]
headers: [watch.h]
probes:
  - name: call
    uprobe: {path: PROGRAM, symbol: probed}
    args: [class, at, {text: {string: 8}}, truth, from]
  - name: done
    uretprobe: {path: PROGRAM, symbol: probed}
    args: [return, latency]
"""
HEADER = """
struct point { int x; long y; };
long probed(long class, struct point at, const char *text, _Bool truth, int a, int b, int c, short from);
"""
DRIVER = """
import json, sys
sys.path.insert(0, sys.argv[1])
import watch_events
assert not [m for m in sys.modules if m.partition(".")[0] == "specc"]
try:
    next(watch_events.events(int(sys.argv[3]), idle=0.1))
except OSError as problem:
    assert "type 6" in str(problem), problem
else:
    raise SystemExit("a map of counters was taken for a buffer")
for number, event in enumerate(watch_events.events(int(sys.argv[2]), idle=20), 1):
    match event:
        case watch_events.Call(class_=negative, at=watch_events.Point(x=x)):
            assert negative == -x
        case watch_events.Done(return_=value, latency=ns):
            assert 0 < ns < 10**9, ns
    print(json.dumps(watch_events.record(event)))
    if number == 6000:
        break
print(json.dumps(watch_events.lost(int(sys.argv[3]))))
"""


def wait_for_rings(reader: subprocess.Popen[str]) -> None:
    """Until a reader has made a perf event for each processor: before, there is no room for events."""
    processors = len(os.sched_getaffinity(0))
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        assert reader.poll() is None
        links = []
        for link in Path(f"/proc/{reader.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # it was closed meanwhile
                links.append(os.readlink(link))
        if sum("[perf_event]" in link for link in links) >= processors:
            time.sleep(0.1)  # the last is in the map soon after it was made
            return
        time.sleep(0.02)
    pytest.fail("the reader opened no perf events")


@pytest.mark.parametrize("buffer", ["ring: 1MiB", "perf: 256"])
def test_a_reader_without_specc(buffer: str, tmp_path: Path) -> None:
    program = compile_c(tmp_path / "program", PROGRAM)
    spec = tmp_path / "watch.yaml"
    spec.write_text(SPEC.replace("PROGRAM", str(program)).replace("BUFFER", buffer))
    (tmp_path / "watch.h").write_text(HEADER)
    done = specc("build", spec, "--emit", "python,jsonschema", "-o", tmp_path, cwd=tmp_path)
    assert done.code == 0, done.err
    with open_spec(spec) as running:
        maps = running._session.thing.maps
        events, lost = maps["watch_events"], maps["watch_lost"]
        command = [sys.executable, "-I", "-c", DRIVER, tmp_path, str(events), str(lost)]
        for descriptor in (events, lost):
            os.set_inheritable(descriptor, True)
        running._session.reader.close()  # a perf buffer has one ring per processor, and its reader's are in the map
        if buffer.startswith("ring"):
            subprocess.run([program], check=True)
        reader = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, close_fds=False)
        if buffer.startswith("perf"):
            wait_for_rings(reader)
            subprocess.run([program], check=True)
        out, _ = reader.communicate(timeout=60)
        assert reader.returncode == 0
    *lines, counted = map(json.loads, out.splitlines())
    assert counted == {"call": 0, "done": 0}
    schema = jsonschema.Draft202012Validator(json.loads((tmp_path / "watch.schema.json").read_text()))
    for line in lines[:20]:
        schema.validate(line)
    calls = [line for line in lines if line["probe"] == "call"]
    returns = [line for line in lines if line["probe"] == "done"]
    assert {(line["pid"] > 0, line["comm"]) for line in lines} == {(True, "program")}
    texts = [{"text": "short"}, {"text": "much lo", "text_truncated": True}, {"text": None, "text_error": "EFAULT"}]
    # A perf buffer keeps no order between processors.
    calls.sort(key=lambda line: -line["class"])
    returns.sort(key=lambda line: -line["return"])
    for line in calls:
        del line["pid"], line["comm"]
    assert calls == [
        {"probe": "call", "class": -i, "at": {"x": i, "y": -2 * i}, **texts[i % 3], "truth": bool(i & 1), "from": 7}
        for i in range(3000)
    ]
    assert [line["return"] for line in returns] == [7 - i for i in range(3000)]
