struct s { long x; };
struct empty {};
struct flag { char name[8], mark; };
void f(int a, struct s b, long c, long d, struct empty e, struct flag f, char h);
char letter(void);
