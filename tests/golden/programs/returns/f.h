struct pair { int x; long y; };
struct big { long v[3]; signed char c; };
long f(int a, long b, long c, long d, long e, long x, signed char g, struct pair p);
struct pair pair(void);
struct big in_memory(int x);
signed char narrow(void);
void nothing(int x);
