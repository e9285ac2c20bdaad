# Enters a function with every register and the stack as the experiment wants them, and
# stands in for a function to record every register as a caller left it.
# No rule about arguments is used here: all registers are treated alike.

    .macro each_general do
        \do %rax, 0
        \do %rbx, 1
        \do %rcx, 2
        \do %rdx, 3
        \do %rsi, 4
        \do %rdi, 5
        \do %rbp, 6
        \do %r8, 7
        \do %r9, 8
        \do %r10, 9
        \do %r11, 10
        \do %r12, 11
        \do %r13, 12
        \do %r14, 13
        \do %r15, 14
    .endm
    .macro each_vector do
        .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
            \do %xmm\n, \n
        .endr
    .endm
    .macro load_general register, index
        mov oracle_registers + 8 * \index(%rip), \register
    .endm
    .macro save_general register, index
        mov \register, oracle_registers + 8 * \index(%rip)
    .endm
    .macro load_vector register, index
        movups oracle_registers + 120 + 16 * \index(%rip), \register
    .endm
    .macro save_vector register, index
        movups \register, oracle_registers + 120 + 16 * \index(%rip)
    .endm
    .macro save_after register, index
        mov \register, oracle_after + 8 * \index(%rip)
    .endm

    .macro answer_general register, index
        btl $\index, oracle_answer_registers(%rip)
        jnc 1f
        mov oracle_answer_general + 8 * \index(%rip), \register
1:
    .endm

    .text
    .globl oracle_enter
oracle_enter:                           # void oracle_enter(void)
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, oracle_saved_sp(%rip)
    mov oracle_stack(%rip), %rsp
    each_vector load_vector
    each_general load_general
    call *oracle_target(%rip)
oracle_leave:
    each_general save_after
    fxsave oracle_after_fx(%rip)
    mov oracle_saved_sp(%rip), %rsp
    cld
    fninit                              # a result may be left on the x87 stack
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret

    .globl oracle_stub
oracle_stub:                            # what a compiled caller calls instead of the function
    each_general save_general
    each_vector save_vector
    mov %rsp, oracle_entry_sp(%rip)
    mov oracle_answer(%rip), %eax
    test %eax, %eax
    jz oracle_leave                     # never returns to the caller
    dec %eax
    jz in_memory
    # Return with these values in the registers that the callee was seen to change.
    fxrstor oracle_answer_fx(%rip)
    each_general answer_general
    ret
in_memory:                              # write it where the callee was seen to write it
    mov oracle_answer_register(%rip), %rdi
    lea oracle_registers(%rip), %rsi
    mov (%rsi,%rdi,8), %rdi
    mov %rdi, %rax
    lea oracle_result(%rip), %rsi
    mov oracle_answer_size(%rip), %rcx
    rep movsb
    ret

    .bss
    .balign 16
    .globl oracle_registers, oracle_saved_sp, oracle_stack, oracle_target
    .globl oracle_entry_sp, oracle_after, oracle_after_fx, oracle_answer, oracle_answer_size
    .globl oracle_answer_register, oracle_answer_fx, oracle_answer_registers, oracle_answer_general
oracle_after_fx:        .zero 512
oracle_answer_fx:       .zero 512
oracle_registers:       .zero 15 * 8 + 16 * 16
oracle_after:           .zero 15 * 8
    .balign 8
oracle_saved_sp:        .zero 8
oracle_stack:           .zero 8
oracle_target:          .zero 8
oracle_entry_sp:        .zero 8
oracle_answer:          .zero 8
oracle_answer_size:     .zero 8
oracle_answer_registers: .zero 8
oracle_answer_general:  .zero 15 * 8
oracle_answer_register: .zero 8
    .section .note.GNU-stack, "", @progbits
