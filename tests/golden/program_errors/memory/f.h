struct s { int a; };
typedef unsigned long size_t;
long f(const char *name, void *data, int count, struct s *record, long number, struct s value, char **list, double real);
double g(void);
long copies(void *data, short length, unsigned int count);
