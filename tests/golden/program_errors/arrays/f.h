struct big { char bytes[264]; };
struct own { char label[8]; unsigned char v[6]; long double wide[2]; struct { int x; } parts[2]; struct big big; _Complex double z; };
long f(struct own own);
