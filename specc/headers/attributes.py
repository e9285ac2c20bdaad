"""What specc knows about each attribute: kept for the ABI, harmless, or never to be laid out.

In: the text between `__attribute__((` and `))`, or `[[` and `]]`.  Out: `Attribute`s with their place.

    split_attributes(code, 16, 34)          # [Attribute("aligned", arguments=(24, 26), offset=16, end=27)]

An attribute that is in none of the tables is an error once the declaration that has it is needed: whether it changes
where an argument is, is not to be guessed. The lists follow the gcc manual ("Declaring Attributes of Functions",
"Common/x86 Type Attributes"), clang's AttributeReference and the sparse manual.
"""

from __future__ import annotations

import re
from typing import Final

from specc.noun import dataclass


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute. `arguments` is the range of the text inside its parentheses, None without parentheses."""

    name: str
    arguments: tuple[int, int] | None
    offset: int
    end: int
    alignas: bool = False  # `_Alignas(type or expression)`, where 0 means nothing


_KEPT = "packed aligned vector_size ext_vector_type mode transparent_union address_space btf_type_tag"
KEPT: Final = frozenset(_KEPT.split())

# Another calling convention than the psABI's: the prototype says so, and nothing is read from it.
_CONVENTIONS = """
    ms_abi regparm sseregparm fastcall stdcall thiscall vectorcall regcall pascal preserve_none swiftcall
    swiftasynccall intel_ocl_bicc interrupt
"""
CONVENTIONS: Final = frozenset(_CONVENTIONS.split())

REFUSED: Final = {
    "randomize_layout": "the kernel's randstruct plugin shuffles the members of this record",
    "scalar_storage_order": "its members are stored in another byte order",
    "ms_struct": "its bit-fields are laid out by Microsoft's rules",
    "pass_object_size": "it adds a hidden argument",
    "pass_dynamic_object_size": "it adds a hidden argument",
    "swift_context": "the argument is passed in another register",
    "swift_error_result": "the argument is passed in another register",
    "swift_indirect_result": "the argument is passed in another register",
    "swift_async_context": "the argument is passed in another register",
    "overloadable": "the symbol of an overloaded function has another name, one for each set of parameters",
    "pointer_size": "the pointer may be 4 bytes long",
    "ptr32": "the pointer is 4 bytes long",
}

# A pointer into one of these is an ordinary 8-byte pointer; the word tells which memory it is good for.
_TAGS = "__user __kernel __iomem __percpu __rcu __seg_gs __seg_fs"
TAGS: Final = frozenset(_TAGS.split())
ADDRESS_SPACES: Final = {
    # include/linux/compiler_types.h, before and after the kernel spelled them by name
    "__user": "__user", "1": "__user", "__iomem": "__iomem", "2": "__iomem", "__percpu": "__percpu", "3": "__percpu",
    "__rcu": "__rcu", "4": "__rcu", "0": "", "256": "__seg_gs", "257": "__seg_fs",
}  # fmt: skip
TYPE_TAGS: Final = {"user": "__user", "percpu": "__percpu", "rcu": "__rcu", "iomem": "__iomem"}

_HARMLESS = """
    access alias alloc_align alloc_size always_inline analyzer_noreturn annotate annotate_type artificial assume
    assume_aligned availability bitwise blocking bnd_legacy btf_decl_tag callback capability cdecl cf_check cfi_canonical
    cfi_unchecked_callee cleanup cold common const constructor consumable context convergent copy counted_by
    counted_by_or_null cpu_dispatch cpu_specific ctor deprecated designated_init destructor diagnose_as_builtin
    diagnose_if disable_sanitizer_instrumentation disable_tail_calls dllexport dllimport element_count enable_if
    enum_extensibility error expected_throw externally_visible fallthrough fd_arg fd_arg_read fd_arg_write flag_enum
    flatten force force_align_arg_pointer format format_arg format_matches function_return gcc_struct gnu_inline
    guard guarded_by hot hotpatch ifunc indirect_branch indirect_return init_priority internal_linkage
    kcfi_salt leaf likely lockable loader_uninitialized malloc may_alias maybe_unused minsize model mustcall musttail naked no_caller_saved_registers preserve_all preserve_most
    no_address_safety_analysis no_builtin no_destroy no_icf no_instrument_function no_callee_saved_registers
    no_profile_instrument_function no_randomize_layout no_reorder no_sanitize no_sanitize_address no_sanitize_coverage
    no_sanitize_memory no_sanitize_thread no_sanitize_undefined no_speculative_load_hardening no_split_stack
    no_stack_limit no_stack_protector no_thread_safety_analysis noblocking nocast noclone nocf_check nocommon nodebug
    noderef nodiscard noduplicate noescape noinit noinline noipa nomerge nonallocating nonblocking nonnull
    nonnull_if_nonzero nonstring noplt noprofile noreturn nosanitize not_tail_called nothrow nouwtable null_terminated
    null_terminated_string_arg objc_boxable objc_bridge objc_bridge_mutable objc_bridge_related ompx_aligned optimize
    optnone ownership_holds ownership_returns ownership_takes patchable_function_entry persistent pointer
    preserve_access_index preserve_static_offset pt_guarded_by pure reachable release_capability
    acquire_capability try_acquire_capability requires_capability assert_capability locks_excluded
    exclusive_locks_required shared_locks_required exclusive_lock_function shared_lock_function unlock_function
    exclusive_trylock_function shared_trylock_function acquired_after acquired_before lock_returned scoped_lockable
    release_shared_capability acquire_shared_capability requires_shared_capability release_generic_capability
    try_acquire_shared_capability assert_shared_capability assert_exclusive_lock assert_shared_lock
    reproducible require_constant_initialization retain returns_nonnull returns_twice safe section selectany sentinel
    signal_safe simd sized_by sized_by_or_null speculative_load_hardening stack_protect standalone_debug
    strict_flex_array strub swift_attr swift_bridge swift_name swift_private symver sysv_abi tainted_args target
    target_clones target_version test_typestate tls_model transaction_callable transaction_may_cancel_outer
    transaction_pure transaction_safe transaction_unsafe type_visibility unavailable uninitialized unlikely
    unsafe_buffer_usage unsequenced unused used vector_variant visibility warn_if_not_aligned warn_unused warn_unused_result
    warning weak weak_import weakref xray_always_instrument xray_log_args xray_never_instrument zero_call_used_regs
    """
HARMLESS: Final = frozenset(_HARMLESS.split())

_NAME: Final = re.compile(r"\s*(?:(\w+)\s*::\s*)?(\w+)\s*")


def known(name: str) -> bool:
    return name in HARMLESS or name in KEPT or name in CONVENTIONS or name in REFUSED


def plain(name: str) -> str:
    """`__packed__` is `packed` (gcc manual 6.39: to avoid a macro of the same name)."""
    if len(name) > 4 and name.startswith("__") and name.endswith("__"):
        return name[2:-2]
    return name


def split_attributes(code: str, start: int, end: int) -> list[Attribute]:
    """The attributes of a comma-separated list in `code[start:end]`, whose literals are blanked."""
    out = []
    at = start
    while at < end:
        if code[at] in ", \t\n":
            at += 1
            continue
        m = _NAME.match(code, at, end)
        if m is None:
            out.append(Attribute(code[at:end].strip(), None, at, end))
            break
        name, here = plain(m[2]), at
        at = m.end()
        arguments = None
        if at < end and code[at] == "(":
            closing = matching(code, at, end)
            arguments = (at + 1, closing)
            at = closing + 1
        out.append(Attribute(name, arguments, here, at))
        while at < end and code[at] != ",":
            at += 1
    return out


def matching(code: str, at: int, end: int) -> int:
    """The offset of the bracket that closes the one at `at`, or `end` when nothing does."""
    opening = code[at]
    closing = {"(": ")", "[": "]", "{": "}"}[opening]
    depth = 0
    while at < end:
        c = code[at]
        if c == opening:
            depth += 1
        elif c == closing:
            depth -= 1
            if not depth:
                return at
        at += 1
    return end
