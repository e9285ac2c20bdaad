int f(int a __attribute__((frobnicate(3))));
int g(struct unknown a, int b);
