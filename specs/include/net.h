/* From Linux 6.1: include/linux/sockptr.h, net/ipv4/. */
struct sock;

typedef struct {
	union {
		void *kernel;
		void __user *user;
	};
	_Bool is_kernel : 1;
} sockptr_t;

int tcp_setsockopt(struct sock *sk, int level, int optname, sockptr_t optval, unsigned int optlen);
int do_ip_getsockopt(struct sock *sk, int level, int optname, sockptr_t optval, sockptr_t optlen);
