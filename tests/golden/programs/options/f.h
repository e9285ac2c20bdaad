struct halves { int low, high; };
void f(unsigned long a, unsigned int b, long c, long d, long e, long f, unsigned long g);
