typedef struct { int counter; } counted;
enum state { IDLE, BUSY = -1 };
struct inner { unsigned char id; long time; };
struct part { short a; char label[5]; };
struct node {
	struct node *next;
	struct inner in;
	union { int number; struct { unsigned short low, high; }; };
	enum state state;
	int cells[2][3];
	_Bool ready;
	struct part parts[2];
};
union either { char text[13]; int number; };
struct bits { unsigned a : 3, : 7, b : 20; };
struct mate { struct node *node; counted uses; union either either; struct inner inners[2]; };
long in_kernel(struct inner *inner, struct mate *mate, counted *uses);
struct bits *in_process(const struct node *node, struct mate *mate);
