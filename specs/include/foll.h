/* How pages are pinned: the macros of include/linux/mm.h in Linux 5.10 and 6.1. Some are gone in 6.1 and their bits free;
 * 0x80 is left out, since it was FOLL_SPLIT and became FOLL_NOFAULT. Since Linux 6.3 the flags are an enum, with other values,
 * which BTF has.
 */
#define FOLL_WRITE 0x01 /* the pages will be written to */
#define FOLL_TOUCH 0x02 /* mark them as accessed */
#define FOLL_GET 0x04 /* take references of them */
#define FOLL_DUMP 0x08 /* a hole is an error */
#define FOLL_FORCE 0x10 /* permissions do not matter, as for ptrace */
#define FOLL_NOWAIT 0x20
#define FOLL_POPULATE 0x40
#define FOLL_HWPOISON 0x100
#define FOLL_NUMA 0x200
#define FOLL_MIGRATION 0x400
#define FOLL_TRIED 0x800
#define FOLL_MLOCK 0x1000
#define FOLL_REMOTE 0x2000 /* they are another process's */
#define FOLL_COW 0x4000
#define FOLL_ANON 0x8000
#define FOLL_LONGTERM 0x10000
#define FOLL_SPLIT_PMD 0x20000
#define FOLL_PIN 0x40000 /* for input and output to them */
#define FOLL_FAST_ONLY 0x80000
