struct s { long x; };
struct empty {};
void f(int a, struct s b, long c, long d, struct empty e);
