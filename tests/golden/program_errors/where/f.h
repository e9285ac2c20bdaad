struct s { int a; };
enum color { RED, GREEN = 7 };
long f(const char *name, void *data, int count, struct s value, double real, unsigned long size, enum color color);
