/* A function whose arguments are in six registers, split over two of them, and on the stack. */
struct point {
	int x;
	long y;
};

long eight(int a, _Bool b, long c, struct point d, unsigned short e, signed char f, long g, const char *h);
