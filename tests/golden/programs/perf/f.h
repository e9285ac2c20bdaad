int f(int a, long b, long c, long d, long e, long f, short g);
