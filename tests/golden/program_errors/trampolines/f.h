struct big { long a, b, c; };
struct pair { long a, b; };
void big(struct big b, int n);
struct pair gives(int n);
void variadic(int n, ...);
void many(struct pair a, struct pair b, struct pair c, struct pair d, struct pair e, struct pair f, long g);
void real(double d, int n);
struct big memory(int n);
