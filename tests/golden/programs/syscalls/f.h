/* As linux/syscalls.h has them, and as the C library does. */
long sys_openat(int dfd, const char *filename, int flags, unsigned short mode);
long pread64(int fd, void *buf, unsigned long count, long pos);
