typedef struct { int counter; } counted;
enum state { IDLE, BUSY = -1 };
struct inner { unsigned short id; char label[12]; };
struct node {
	struct node *next;
	struct inner parts[3];
	union { long number; struct { int low, high; }; };
	unsigned ready : 1, level : 5;
	signed int delta : 7;
	enum state state;
	counted uses;
	const char *name;
	short *values;
	double weight;
	int table[2][3];
	char __attribute__((address_space(0))) *buffer;
};
long in_kernel(struct node *node, counted *uses, unsigned long address, unsigned long length);
struct node *in_process(const struct node *node, int count);
