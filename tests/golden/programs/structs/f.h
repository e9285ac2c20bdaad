typedef struct { unsigned int val; } kuid_t;
struct pair { int x; long y; };
struct bits { unsigned a : 3, : 5, b : 10; int c : 7; _Bool d : 1; };
struct inner { signed char tag; short s; };
union either { int i; char bytes[4]; };
struct nested { struct inner in[2]; union either u; struct { int hidden; unsigned char more; }; };
struct __attribute__((packed)) tight { signed char c; int i; long l; };
struct big { char name[20]; long values[4]; };
struct low { long l; } __attribute__((packed, aligned(2)));
struct over { int x; } __attribute__((aligned(32)));
#pragma pack(push, 2)
struct two { signed char c; long l; int i; };
#pragma pack(pop)
struct three { char c[3]; };
struct empty {};
void registers(kuid_t owner, struct pair p, struct three t, struct bits b);
void stack(struct tight tight, struct nested nested, struct big big, kuid_t after);
void odd(struct low low, struct over over, struct two two, struct empty empty, long last);
