struct s { long a, b; };
long seven(int a, int b, int c, int d, int e, int f, int g);
long odd(double d, struct s s);
