struct mixed { int i; double d; };
double pow(double x, int n);
void mixed(struct mixed m);
void kernel_float(int a, float b, int c);
void doubt(long a, long b, long c, long d, long e, __int128 f, long g, long h);
void __attribute__((ms_abi)) windows(int x);
