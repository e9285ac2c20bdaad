enum colour { RED, GREEN, BLUE = 7 };
enum wide { BIG = 0x100000000 };
enum below { MINUS = -1, ZERO };
typedef unsigned short port_t;
/* Six in registers, the rest on the stack, every width and both signs. */
void f(_Bool flag, signed char c, unsigned char uc, short s, port_t port, int i, unsigned int u, long l,
       unsigned long long ull, enum colour colour, enum wide wide, enum below below, char *text, int array[4],
       int (*callback)(int), const volatile int *cv, _Bool last);
