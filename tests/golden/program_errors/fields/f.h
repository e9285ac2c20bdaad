struct unknown;
struct pair { int first; long second; };
struct long_one { int a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, c0, c1, c2, c3, c4, c5; };
struct node {
	struct node *next, **far;
	struct unknown *hidden;
	struct pair pairs[4];
	struct long_one all;
	unsigned level : 5;
	char label[8];
	int (*callback)(int);
	void *data;
	long number;
	long double wide;
	int rest[];
};
long f(struct node *node, int number, struct pair pair);
