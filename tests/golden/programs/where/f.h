enum color { RED = 1, GREEN };
struct file;
long in_kernel(struct file *file, const char __user *name, int count, unsigned char kind, enum color color, long offset, unsigned int flags, long last);
