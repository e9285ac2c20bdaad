struct mac { unsigned char bytes[6]; short port; };
struct odd { unsigned char c, v[9]; short t[2]; };
struct held { char tag[5]; unsigned char cells[3][7]; struct two { short a; long b; } pair; };
long f(struct mac m, struct odd o, struct held h);
