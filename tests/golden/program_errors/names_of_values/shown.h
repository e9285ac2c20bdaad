enum state { STATE_NONE, STATE_OPEN, STATE_FAR = 0x10000 };
enum far { FAR_ONE = 0x10000, FAR_TWO };
#define ONE(p) p##0, p##1, p##2, p##3, p##4, p##5, p##6, p##7, p##8, p##9, p##a, p##b, p##c, p##d, p##e, p##f
#define TWO(p) ONE(p##0), ONE(p##1), ONE(p##2), ONE(p##3), ONE(p##4), ONE(p##5), ONE(p##6), ONE(p##7), \
	ONE(p##8), ONE(p##9), ONE(p##a), ONE(p##b), ONE(p##c), ONE(p##d), ONE(p##e), ONE(p##f)
enum many { TWO(A0), TWO(A1), TWO(A2), TWO(A3), TWO(A4), TWO(A5), TWO(A6), TWO(A7), TWO(A8), TWO(A9), TWO(AA), TWO(AB),
	TWO(AC), TWO(AD), TWO(AE), TWO(AF), ONE_MORE };
#define GUP_WRITE 1
#define GUP_PIN 2
typedef int number_t;
struct pair { int a, b; };
long set_state(int state, struct pair pair, unsigned long flags, unsigned char narrow, void *to, _Bool fast,
               const char *name, int length);
void set_far(double d);
