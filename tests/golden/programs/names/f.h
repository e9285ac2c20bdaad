enum state { STATE_NONE, STATE_OPEN, STATE_ALSO_OPEN = 1, STATE_BAD = -1 };
typedef enum { SHUT_RD_ = 1, SHUT_WR_ } shut_t;
enum { GUP_WRITE = 1 << 0, GUP_FORCE = 1 << 4 };
#define GUP_PIN (1u << 19)
#define GUP_BOTH (GUP_WRITE | GUP_PIN)
#define GUP_NAME "gup"
#define GUP_CALL(x) (x)
#define GUP_GONE 77
#undef GUP_GONE
#define GUP_NONE 0
#define GUP_TOP GUP_CALL(1ull << 63)
struct in_addr { unsigned int s_addr; };
struct in6_addr { unsigned char s6[16]; };
typedef unsigned int be32;
int set_state(int state, shut_t how, unsigned int flags, unsigned char narrow, struct in_addr from, struct in6_addr to,
              be32 gateway, const void *hardware, const unsigned int *where, void *callback);
