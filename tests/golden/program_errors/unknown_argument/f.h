void f(unsigned long start, unsigned long nr_pages);
