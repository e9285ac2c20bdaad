typedef unsigned long size_t;
long in_kernel(const char *name, void *data, size_t count, const long *number, char *text);
