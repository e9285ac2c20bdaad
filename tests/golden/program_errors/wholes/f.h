struct unknown;
struct big { long words[33]; };
struct room { long words[32]; };
struct none {};
struct tail { int length; struct { short more[]; }; };
struct bits { int a; unsigned b : 3; };
struct wide { __int128 number; };
struct pair { int first; long second; };
struct wides { struct wide wides[2]; };
struct rows { struct { int a0, a1, a2, a3, a4, a5, a6, a7, a8, a9; } rows[3]; struct bits bits[2]; struct { int b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, c0, c1, c2, c3, c4, c5, c6, c7; } last; };
struct many { int a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, d0, d1, d2; };
struct all {
	struct unknown *unknown; struct big *big; struct none *none; struct tail *tail; struct bits *bits; struct wide *wide;
	struct wides *wides; struct many *many; struct pair pair, *at; struct room *room; struct bits in; struct rows *rows; void *nothing;
};
long f(struct all *all, struct unknown *unknown, struct big *big, struct bits *bits, struct pair *pair, void *nothing);
