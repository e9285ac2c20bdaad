struct part { void *base; unsigned long size; };
typedef struct { int id; unsigned low : 3; } cell;
struct node { struct node *next; cell *cells; int *numbers; int (*rows)[3]; struct part *parts[2]; };
struct own { const int *numbers; struct part *parts; };
long in_kernel(struct node *node, const struct part __user *vec, char **names, int *fds, struct own own);
long in_process(struct node *node, char **names, struct part *vec);
