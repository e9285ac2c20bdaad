"""What bench/options.py measures: for each option a probe of a spec, and C that does the same by hand.

case = next(c for c in CASES if c.name.startswith("`string: 64`"))
case.probe          # 'args: [{text: {string: 64}}]', below `uprobe: ...` and `prototype: ...`
case.by_hand()      # C, whole
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

RING: Final = 4 << 20

TARGET: Final = """
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
struct inner { long before; int value; };
struct thing { long before[3]; struct inner *next; };
__attribute__((noinline, noipa)) long probed(const char *text, const void *data, long size, int kind,
                                             struct thing *thing, long *number, long g, long h, long i, long j)
{ __asm__ volatile("" ::: "memory"); return size + j; }
int main(void) {
	static const char text[64] = "/home/of/somebody/with/a/name/as/files/have.text", data[64] = "data";
	static struct inner inner = {1, 42};
	static struct thing thing = {{0}, &inner};
	static long number = 7;
	char line[64];
	prctl(PR_SET_NAME, "somebody");
	while (fgets(line, sizeof(line), stdin)) {
		for (long i = 0, n = atol(line); i < n; i++) probed(text, data, 64, 2, &thing, &number, 7, 8, 9, 10);
		puts("done"); fflush(stdout);
	}
	return 0;
}
"""
HEADER: Final = """
enum kind { KIND_ONE = 1, KIND_TWO, KIND_THREE };
struct inner { long before; int value; };
struct thing { long before[3]; struct inner *next; };
long probed(const char *text, const void *data, long size, int kind, struct thing *thing, long *number, long g, long h,
            long i, long j);
"""
SPEC: Final = """\
specc: 1
name: cost{number}
headers: [../cost.h]
fields: [{fields}]
buffer: {{ring: {ring}MiB}}
probes:
  - {probe}
    {kind}: {{path: {target}, symbol: probed}}
"""

EMPTY: Final = """
__attribute__((section("uprobe"), used)) int empty(void *ctx) { return 0; }
__attribute__((section("license"), used)) char LICENSE[] = "GPL";
"""
HAND: Final = """
typedef unsigned int __u32;
typedef unsigned long long __u64;
#define SEC(name) __attribute__((section(name), used))
#define __uint(name, val) int (*name)[val]
#define __type(name, val) typeof(val) *name
#define KERNEL __attribute__((preserve_access_index))
struct pt_regs { __u64 r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss; };
struct ns_common { __u32 inum; } KERNEL;
struct mnt_namespace { struct ns_common ns; } KERNEL;
struct nsproxy { struct mnt_namespace *mnt_ns; } KERNEL;
struct task_struct { int tgid; struct task_struct *real_parent; struct nsproxy *nsproxy; } KERNEL;
struct inner { long before; int value; };
struct thing { long before[3]; struct inner *next; };
static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*const bpf_map_update_elem)(void *map, const void *key, const void *value, __u64 flags) = (void *)2;
static long (*const bpf_map_delete_elem)(void *map, const void *key) = (void *)3;
static __u64 (*const bpf_ktime_get_ns)(void) = (void *)5;
static __u32 (*const bpf_get_prandom_u32)(void) = (void *)7;
static __u32 (*const bpf_get_smp_processor_id)(void) = (void *)8;
static __u64 (*const bpf_get_current_pid_tgid)(void) = (void *)14;
static __u64 (*const bpf_get_current_uid_gid)(void) = (void *)15;
static long (*const bpf_get_current_comm)(void *buf, __u32 size) = (void *)16;
static long (*const bpf_get_stackid)(void *ctx, void *map, __u64 flags) = (void *)27;
static void *(*const bpf_get_current_task)(void) = (void *)35;
static __u64 (*const bpf_get_current_cgroup_id)(void) = (void *)80;
static long (*const bpf_probe_read_user)(void *dst, __u32 size, const void *from) = (void *)112;
static long (*const bpf_probe_read_kernel)(void *dst, __u32 size, const void *from) = (void *)113;
static long (*const bpf_probe_read_user_str)(void *dst, __u32 size, const void *from) = (void *)114;
static void *(*const bpf_ringbuf_reserve)(void *ring, __u64 size, __u64 flags) = (void *)131;
static void (*const bpf_ringbuf_submit)(void *data, __u64 flags) = (void *)132;
/* Reads a member of a struct of the kernel, wherever it is there. */
#define CORE(to, from) bpf_probe_read_kernel(&(to), sizeof(to), __builtin_preserve_access_index(&(from)))
char LICENSE[] SEC("license") = "GPL";
struct { __uint(type, 27); __uint(max_entries, %(ring)d); } events SEC(".maps");
struct event { __u32 probe, errors; %(fields)s };
%(before)s
SEC("uprobe")
int by_hand(struct pt_regs *ctx)
{
	struct event *e;

	%(test)s
	e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e)
		return 0;
	e->probe = 0;
	e->errors = 0;
	%(body)s
	bpf_ringbuf_submit(e, 0);
	return 0;
}
"""


@dataclass(frozen=True, slots=True)
class Case:
    """`fields` and `probe` are the spec's. By hand: what comes `before` the program, what it does before there is an event
    (`test`), the event's members (`event`), and how they are filled (`body`). `events` is how many a hit makes; None: it
    varies."""

    name: str
    probe: str = "args: []"
    fields: str = ""
    event: str = ""
    body: str = ""
    test: str = ""
    before: str = ""
    events: int | None = 1
    at_return: bool = False

    def by_hand(self) -> str:
        parts = {"fields": self.event, "body": self.body, "test": self.test, "before": self.before}
        return HAND % {"ring": RING, **parts}


# A stack as specc records it: each frame as a build id and an offset in the file.
_STACKS: Final = """
struct { __uint(type, 7); __uint(map_flags, 1 << 5); __uint(max_entries, 16384); __uint(key_size, 4);
         __uint(value_size, 127 * 32); } stacks SEC(".maps");
"""
# What a return probe written by hand keeps of a call: by thread, so that a function that calls itself would confuse it.
_CALLS: Final = """
struct call { %(saved)s };
struct { __uint(type, 1); __uint(max_entries, 16384); __type(key, __u64); __type(value, struct call); } calls SEC(".maps");
SEC("uprobe")
int by_hand_entry(struct pt_regs *ctx)
{
	__u64 thread = bpf_get_current_pid_tgid();
	struct call call = {%(values)s};
	bpf_map_update_elem(&calls, &thread, &call, 0);
	return 0;
}
"""
_CALLED: Final = """
	__u64 thread = bpf_get_current_pid_tgid();
	struct call *call = bpf_map_lookup_elem(&calls, &thread);
	if (!call)
		return 0;
"""


# Each hit of a known key adds one to the entry of its processor, as bpftrace and most programs do it.
_COUNTS: Final = """
typedef %(key)s key_type;
struct { __uint(type, 5); __uint(max_entries, 10240); __type(key, key_type); __type(value, __u64); } counts SEC(".maps");
"""
_COUNT: Final = """
	__u64 one = 1, *count = bpf_map_lookup_elem(&counts, &key);
	if (count)
		(*count)++;
	else
		bpf_map_update_elem(&counts, &key, &one, 1);
	return 0;
"""
_LIMIT: Final = """
struct window { __u64 second, count; };
struct { __uint(type, 2); __uint(max_entries, 1); __type(key, __u32); __type(value, struct window); } limit SEC(".maps");
"""
_LIMITED: Final = """
	__u32 zero = 0;
	__u64 second = bpf_ktime_get_ns() / 1000000000;
	struct window *window = bpf_map_lookup_elem(&limit, &zero);
	if (!window)
		return 0;
	if (window->second != second) {
		window->second = second;
		window->count = 0;
	}
	if (window->count >= 1000)
		return 0;
	__sync_fetch_and_add(&window->count, 1);
"""


def _name_is(text: str) -> str:
    tests = " || ".join(f"comm[{n}] != {ord(c)}" for n, c in enumerate(text + "\0"))
    return f"char comm[16]; bpf_get_current_comm(comm, sizeof(comm)); if ({tests}) return 0;"


def _text_begins(text: str) -> str:
    tests = " || ".join(f"text[{n}] != {ord(c)}" for n, c in enumerate(text))
    size = len(text)
    return f"char text[{size}]; if (bpf_probe_read_user(text, {size}, (void *)ctx->di) || {tests}) return 0;"


_THREAD: Final = "__u64 id = bpf_get_current_pid_tgid(); e->pid = id >> 32; e->tid = id;"
_NS: Final = """struct nsproxy *proxy = 0; struct mnt_namespace *mnt = 0; struct task_struct *task = bpf_get_current_task();
	CORE(proxy, task->nsproxy); CORE(mnt, proxy->mnt_ns); CORE(e->mntns, mnt->ns.inum);"""
_PARENT: Final = """struct task_struct *parent = 0, *task = bpf_get_current_task();
	CORE(parent, task->real_parent); CORE(e->ppid, parent->tgid);"""
_SLOT: Final = "bpf_probe_read_user(&e->{}, 8, (void *)(ctx->sp + {}));"

CASES: Final = (
    Case("an event with nothing in it"),
    Case("`timestamp`", fields="timestamp", event="__u64 time;", body="e->time = bpf_ktime_get_ns();"),
    Case("`pid` and `tid`", fields="pid, tid", event="__u32 pid, tid;", body=_THREAD),
    Case("`uid` and `gid`", fields="uid, gid", event="__u32 uid, gid;",
         body="__u64 id = bpf_get_current_uid_gid(); e->uid = id; e->gid = id >> 32;"),
    Case("`cpu`", fields="cpu", event="__u32 cpu;", body="e->cpu = bpf_get_smp_processor_id();"),
    Case("`comm`", fields="comm", event="char comm[16];", body="bpf_get_current_comm(e->comm, sizeof(e->comm));"),
    Case("`cgroup`", fields="cgroup", event="__u64 cgroup;", body="e->cgroup = bpf_get_current_cgroup_id();"),
    Case("`ppid`", fields="ppid", event="__u32 ppid;", body=_PARENT),
    Case("`mntns`", fields="mntns", event="__u32 mntns;", body=_NS),
    Case("6 registers", "args: [text, data, size, kind, thing, number]",
         event="__u64 a, b, c; int d; __u64 e, f;",
         body="e->a = ctx->di; e->b = ctx->si; e->c = ctx->dx; e->d = ctx->cx; e->e = ctx->r8; e->f = ctx->r9;"),
    Case("1 stack slot", "args: [g]", event="__u64 g;", body=_SLOT.format("g", 8)),
    Case("4 stack slots", "args: [g, h, i, j]", event="__u64 g, h, i, j;",
         body=" ".join(_SLOT.format(name, 8 + 8 * n) for n, name in enumerate("ghij"))),
    Case("`enum`, decoded by the reader", "args: [{kind: {enum: kind}}]", event="int kind;", body="e->kind = ctx->cx;"),
    Case("`deref` of a number", "args: [{number: {deref: true}}]", event="long number;",
         body="bpf_probe_read_user(&e->number, 8, (void *)ctx->r9);"),
    Case("`string: 64` of 48 bytes", "args: [{text: {string: 64}}]", event="int length; char text[64];",
         body="e->length = bpf_probe_read_user_str(e->text, 64, (void *)ctx->di);"),
    Case("`bytes` of 64", "args: [{data: {bytes: {size: 64}}}]", event="char data[64];",
         body="bpf_probe_read_user(e->data, 64, (void *)ctx->si);"),
    Case("`bytes` of as many as an argument says, 64", "args: [{data: {bytes: {size: size, max: 64}}}]",
         event="__u64 length; char data[64];",
         body="__u64 n = ctx->dx; if (n > 64) n = 64; e->length = n; bpf_probe_read_user(e->data, n, (void *)ctx->si);"),
    Case("`where` on a register that matches", "args: [size]\n    where: size > 10",
         test="if ((long)ctx->dx <= 10) return 0;", event="long size;", body="e->size = ctx->dx;"),
    Case("`where` on a register that does not", "args: [size]\n    where: size > 100", events=0,
         test="if ((long)ctx->dx <= 100) return 0;", event="long size;", body="e->size = ctx->dx;"),
    Case("`where` on `comm` that matches", 'args: []\n    where: comm == "somebody"', test=_name_is("somebody")),
    Case("`where` on `comm` that does not", 'args: []\n    where: comm == "someone"', test=_name_is("someone"), events=0),
    Case("`where` on a string that matches", 'args: []\n    where: startswith(text, "/home/")',
         test=_text_begins("/home/")),
    Case("`where` on a string that does not", 'args: []\n    where: startswith(text, "/etc/")', events=0,
         test=_text_begins("/etc/")),
    Case("`return`", "args: [return]", at_return=True, event="long value;", body="e->value = ctx->ax;"),
    Case("`return` and 2 arguments of the entry", "args: [size, kind, return]", at_return=True,
         before=_CALLS % {"saved": "long size; int kind;", "values": "ctx->dx, ctx->cx"}, test=_CALLED,
         event="long size, value; int kind;",
         body="e->size = call->size; e->kind = call->kind; e->value = ctx->ax; bpf_map_delete_elem(&calls, &thread);"),
    Case("`return` and `latency`", "args: [return, latency]", at_return=True,
         before=_CALLS % {"saved": "__u64 time;", "values": "bpf_ktime_get_ns()"}, test=_CALLED,
         event="long value; __u64 latency;",
         body="e->latency = bpf_ktime_get_ns() - call->time; e->value = ctx->ax; bpf_map_delete_elem(&calls, &thread);"),
    Case("`stack: user`", "args: []\n    stack: user", before=_STACKS, event="int id;",
         body="e->id = bpf_get_stackid(ctx, &stacks, 1 << 8);"),
    Case("`field` behind two pointers", "args: [{thing: {field: next->value}}]", event="int value;",
         body="struct inner *next = 0; bpf_probe_read_user(&next, 8, &((struct thing *)ctx->r8)->next); "
              "bpf_probe_read_user(&e->value, 4, &next->value);"),
    Case("`aggregate: count`", "args: []\n    aggregate: count", before=_COUNTS % {"key": "__u32"}, events=0,
         test="__u32 key = 0; " + _COUNT),
    Case("`aggregate: {count: true, by: [pid]}`", "args: []\n    aggregate: {count: true, by: [pid]}", events=0,
         before=_COUNTS % {"key": "__u32"}, test="__u32 key = bpf_get_current_pid_tgid() >> 32; " + _COUNT),
    Case("`aggregate: {hist: size, by: [comm]}`", "args: [size]\n    aggregate: {hist: size, by: [comm]}", events=0,
         before=_COUNTS % {"key": "struct key { char comm[16]; __u32 slot; }"},
         test="struct key key = {}; bpf_get_current_comm(key.comm, 16); __u64 v = ctx->dx; "
              "for (int i = 32; i; i >>= 1) if (v >> i) { v >>= i; key.slot += i; } " + _COUNT),
    Case("`limit: 1000/s`, mostly reached", "args: []\n    limit: 1000/s", events=None, before=_LIMIT, test=_LIMITED),
    Case("`sample: 1/100`", "args: []\n    sample: 1/100", events=None,
         test="if (bpf_get_prandom_u32() > 42949672) return 0;"),
)  # fmt: skip
