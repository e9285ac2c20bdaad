struct block { struct { unsigned char c; long l; } cell[32]; };
void f(struct block head, long a, long b, long c, long d, long e, long g, long tail, struct block block, int last);
