/*
 * __get_user_pages() as Linux has declared it over the years (mm/gup.c). GUP_ARGS says which of the three:
 *
 *   8   4.18   tsk and nonblocking
 *   7   5.9 to 6.4
 *   6   6.5 and later, without vmas
 */
struct mm_struct;
struct page;
struct task_struct;
struct vm_area_struct;

#if GUP_ARGS == 8
long __get_user_pages(struct task_struct *tsk, struct mm_struct *mm,
		      unsigned long start, unsigned long nr_pages,
		      unsigned int gup_flags, struct page **pages,
		      struct vm_area_struct **vmas, int *nonblocking);
#elif GUP_ARGS == 7
long __get_user_pages(struct mm_struct *mm,
		      unsigned long start, unsigned long nr_pages,
		      unsigned int gup_flags, struct page **pages,
		      struct vm_area_struct **vmas, int *locked);
#elif GUP_ARGS == 6
long __get_user_pages(struct mm_struct *mm,
		      unsigned long start, unsigned long nr_pages,
		      unsigned int gup_flags, struct page **pages,
		      int *locked);
#else
#error "GUP_ARGS must be 8, 7 or 6"
#endif
