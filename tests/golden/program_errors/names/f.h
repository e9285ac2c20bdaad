void f(int a, int b, int c, int d, int e, int f, int g);
int g(int a);
void clash(int pid);
void twice(int arg1, int);
