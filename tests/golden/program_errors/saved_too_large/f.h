struct big { long v[64]; };
int f(struct big big);
