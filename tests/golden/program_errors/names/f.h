void f(int a, int b, int c, int d, int e, int f, int g);
int g(int a);
void clash(int pid);
void errors(long a, long b, long c, long d, long e, long f, long x, long x_error);
void twice(int arg1, int);
