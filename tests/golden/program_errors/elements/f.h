struct unknown;
struct none {};
struct part { int first; long second; };
struct tail { int length; struct { short more[]; }; };
struct large { char bytes[3000]; };
struct node {
	struct node *next, **far;
	int (*callback)(int);
	void *data;
	long number;
	struct part (*rows)[3];
	long double *wide;
	struct none none;
};
struct rest { long number; int rest[]; };
long f(struct node *node, struct unknown *unknown, struct none *none, void *data, struct tail *tail, struct large *large,
       struct rest *rest, char *text, struct part part);
