struct pair { int x; long y; };
struct three { char c[3]; };
int f(int a, struct pair pair, struct three t, long b, struct pair spilled, unsigned char last);
struct large { long words[3]; };
long too_large(struct large by_value, int a);
