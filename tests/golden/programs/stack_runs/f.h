long f(long a, long b, long c, long d, long e, long f, int g, signed char h, long i, unsigned char j, long k, short l);
