enum mode { OFF, ON };
struct point { int x; long y; };
int take(const char *name, double ratio, enum mode mode, struct point *point, unsigned size, long pid, const void *data,
         const double *rate, struct point by_value, unsigned __int128 wide);
