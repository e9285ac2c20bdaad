"""Fields behind pointers, in one object for all four kernels, and what they must have shown.

In: what the trigger `fields` did.  Out: nothing, or an AssertionError.

    check("6.12", on.events("fields-clang"), on.facts("fields-clang")["fields"])

The members are elsewhere on each kernel: `f_path` is inside of an anonymous union in some, `i_ctime_sec` is there since
6.11 only, and nobody tells the compiler. What the trigger knows it has from system calls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

Events = Mapping[str, Sequence[Mapping[str, Any]]]

_FILE: Final = [
    {"file": {"field": "f_path.dentry->d_name.name", "string": 64, "as": "name"}},
    {"file": {"field": "f_path.dentry->d_parent->d_parent.d_sb->s_type->name", "string": 16, "as": "above"}},
    {"file": {"field": "f_inode->i_ino", "as": "ino"}},
    {"file": {"field": "f_inode->i_mode", "as": "mode"}},
    {"file": {"field": "f_inode->i_size", "as": "size"}},
    {"file": {"field": "f_inode->i_ctime_sec", "as": "changed", "optional": True}},
    {"file": {"field": "f_inode->i_sb->s_id", "as": "system"}},
    {"file": {"field": "f_flags", "as": "flags"}},
    {"file": {"field": "f_path", "as": "path"}},
    {"file": {"field": "f_path.dentry", "as": "dentry"}},
    {"file": {"field": "f_path.mnt", "as": "mount"}},
]
# An array of structs that have 64 bytes on 5.10 and 6.1, and 56 on 6.12: /proc/sys/net/ipv4/ipfrag_*, in this order.
_TABLE: Final = "__sk_common.skc_net.net->ipv4.frags_hdr->ctl_table"
PROBES: Final[tuple[Mapping[str, Any], ...]] = (
    {"name": "opened", "kprobe": "security_file_open", "args": _FILE, "where": "file->f_inode->i_size == 12345"},
    {"name": "done", "kretprobe": "security_file_open", "args": [*_FILE, "return"],
     "where": 'startswith(file->f_path.dentry->d_name.name, "specc-fields")'},
    {"name": "quick", "fentry": "security_file_open", "args": _FILE,
     "where": 'file->f_path.dentry->d_name.name == "specc-fields-of-a-file" && file->f_inode->i_mode & 0o040'},
    {"name": "sent", "kprobe": "udp_sendmsg", "args": [
        {"sk": {"field": "sk_no_check_tx", "as": "no_check"}},
        {"sk": {"field": "sk_no_check_rx", "as": "no_check_received"}},
        {"sk": {"field": "__sk_common.skc_reuse", "as": "reuse"}},
        {"sk": {"field": "__sk_common.skc_dport", "as": "port"}},
        {"sk": {"field": "__sk_common.skc_daddr", "as": "address"}},
        {"sk": {"field": "sk_type", "as": "type"}},
        {"sk": {"field": "sk_socket->file->f_inode->i_ino", "as": "ino"}},
        {"sk": {"field": f"{_TABLE}[2].procname", "string": 16, "as": "third"}},
        {"sk": {"field": f"{_TABLE}[3].procname", "string": 16, "as": "fourth"}},
        {"sk": {"field": f"{_TABLE}[1].mode", "as": "table_mode"}},
        "len"], "where": f'sk->sk_no_check_tx && len == 5 && sk->{_TABLE}[1].procname == "ipfrag_low_thresh"'},
    {"name": "woken", "kprobe": "wake_up_new_task", "args": [
        {"p": {"field": "comm", "as": "name"}},
        {"p": {"field": "real_parent->tgid", "as": "parent"}},
        {"p": {"field": "tgid", "as": "child"}},
        {"p": {"field": "signal->rlim[3].rlim_cur", "as": "stack"}},
        {"p": {"field": "signal->rlim[3]", "as": "limit"}},
        {"p": {"field": "real_parent->comm", "string": 6, "as": "cut"}},
        {"p": {"field": "files->fdt->fd[0]->f_inode->i_ino", "as": "input"}},
        {"p": {"field": "real_parent->mm->exe_file->f_path.dentry->d_name.name", "string": 16, "as": "program"}},
     ]},
    {"name": "asked", "kprobe": "security_inode_getattr", "args": [
        {"path": {"deref": True, "as": "whole"}}, {"path": {"field": "dentry", "as": "entry"}},
        {"path": {"field": "mnt", "as": "mount"}},
     ], "where": "path->dentry->d_inode->i_size == 12345"},
    # The parts are in the process: BTF does not say so.
    {"name": "gathered", "kprobe": "vfs_writev", "args": [
        {"vec": {"field": "[1].iov_len", "memory": "user", "as": "length"}},
        {"vec": {"field": "[2]", "memory": "user", "as": "part"}}, "vlen",
     ], "where": "vlen == 3"},
)  # fmt: skip


def check(series: str, events: Events, facts: Mapping[str, Any]) -> None:
    changed = None if series in ("5.10", "6.1") else facts["changed"]
    file = {"name": "specc-fields-of-a-file", "above": "tmpfs", "ino": facts["ino"], "mode": facts["mode"], "size": 12345,
            "system": "tmpfs"}  # fmt: skip
    again = [e for e in events["opened"] if e["ino"] == facts["ino"]]
    assert len(again) == 1
    # The first open makes the file; the second one finds it as it is.
    for event in (*again, events["done"][-1], events["quick"][-1]):
        assert {k: event[k] for k in file} == file, event
        assert event["flags"] & 0o3 == 0 and event["changed"] == changed, event
        assert event["path"] == {"mnt": event["mount"], "dentry": event["dentry"]} and event["dentry"] > 1 << 63, event
    (asked,) = events["asked"]
    assert asked["whole"] == {"mnt": asked["mount"], "dentry": asked["entry"]}
    assert {asked["entry"], asked["mount"]} == {again[0]["dentry"], again[0]["mount"]}
    assert [e["size"] for e in events["done"]] == [0, 12345]
    assert [e["return"] for e in events["done"]] == [0, 0]
    assert len(events["quick"]) == 2
    (sent,) = events["sent"]
    wanted = {"no_check": 1, "no_check_received": 0, "reuse": 1, "port": 0x3412, "address": 0x0100007F, "type": 2,
              "ino": facts["socket"], "len": 5, "third": "ipfrag_time", "fourth": "ipfrag_max_dist", "table_mode": 0o644}  # fmt: skip
    assert {k: sent[k] for k in wanted} == wanted
    (woken,) = events["woken"]
    wanted = {"name": "triggers", "parent": facts["result"], "child": facts["child"], "stack": facts["stack"],
              "limit": {"rlim_cur": facts["stack"], "rlim_max": (1 << 64) - 1},
              "cut": "trigg", "cut_truncated": True, "program": "triggers", "input": facts["input"]}  # fmt: skip
    assert {k: woken[k] for k in wanted} == wanted
    (gathered,) = events["gathered"]
    assert gathered["length"] == 1001
    assert gathered["part"] == {"iov_base": facts["third"], "iov_len": 1002}
