struct part { void *base; unsigned long size; };
typedef struct { int id; unsigned low : 3; } cell;
struct node { struct node *next; cell *cells; int *numbers; int (*rows)[3]; struct part *parts[2]; };
struct bits { unsigned a : 3, : 2, b : 9; struct part parts[2]; struct { short x; int y : 4; } one[1]; };
struct own { const int *numbers; struct part *parts; };
long in_kernel(struct node *node, const struct part __user *vec, char **names, int *fds, struct own own);
long of_bits(struct bits *bits);
long in_process(struct node *node, char **names, struct part *vec, long a, long b, struct own own);
