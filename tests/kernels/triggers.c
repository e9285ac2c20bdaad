/* Calls that reach probed functions with arguments that are known: each command of standard input (or argument) does one
 * thing and prints one line of JSON with what only this process can know: addresses, ids, times, results.
 *
 *     gcc -O2 -static -pthread triggers.c -o triggers && echo mlock | ./triggers
 *     {"do": "mlock", "addr": 140737351831552, "result": 0}
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/futex.h>
#include <linux/if_tun.h>
#include <linux/mempolicy.h>
#include <linux/netconf.h>
#include <linux/netlink.h>
#include <linux/rtc.h>
#include <linux/rtnetlink.h>
#include <linux/userfaultfd.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096UL
#define NOIPA __attribute__((noipa))

static void fact(const char *name, long long value) { printf(", \"%s\": %lld", name, value); }
static void address(const char *name, const void *p) { fact(name, (long long)(uintptr_t)p); }
static void result(long r) { fact("result", r < 0 ? -errno : r); }

static char *pages(unsigned long n)
{
	char *p = mmap(NULL, n * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	return p;
}

static int scratch(const char *name)
{
	int fd = open(name, O_RDWR | O_CREAT, 0600);
	if (fd < 0 || ftruncate(fd, 64 * PAGE)) {
		perror(name);
		exit(1);
	}
	return fd;
}

/* --- kernel functions ------------------------------------------------------------------------------------------- */

static void do_mlock(void)
{
	char *p = pages(37);
	address("addr", p);
	result(mlock(p, 37 * PAGE));
}

static void do_vmread(void)
{
	char *p = pages(8), *q = pages(3);
	memset(p, 'x', 8 * PAGE);
	/* 3 pages from the middle of one touch 4. */
	struct iovec from = {p + PAGE + 0x123, 3 * PAGE}, to = {q, 3 * PAGE};
	address("page", p + PAGE);
	address("from", &from);
	address("to", &to);
	result(process_vm_readv(getpid(), &to, 1, &from, 1, 0));
}

static void do_vmwrite(void)
{
	char a[16] = "abc", b[16];
	struct iovec from[2] = {{a, 4}, {a, 8}}, to[3] = {{b, 4}, {b, 4}, {b, 4}};
	address("from", from);
	address("to", to);
	/* No flags are defined: the call is refused, after the function was entered with them. */
	result(syscall(SYS_process_vm_writev, (long)getpid(), from, 2UL, to, 3UL, 0x1122334455667788UL));
}

static void do_futex(void)
{
	static uint32_t one = 0x5a5a1234, two;
	address("uaddr", &one);
	address("uaddr2", &two);
	/* Garbage above 32-bit arguments: the syscall cuts it off, or the stack slot keeps it. */
	result(syscall(SYS_futex, &one, (long)(FUTEX_CMP_REQUEUE | FUTEX_PRIVATE_FLAG), 0xdead000000000011UL,
		       0xfeed000011223344UL, &two, 0xbeef00005a5a1234UL));
}

static void do_mmap(void)
{
	int fd = scratch("/dev/shm/specc-mmap");
	char *p = mmap(NULL, 18000, PROT_READ, MAP_PRIVATE, fd, 3 * PAGE);
	fact("result", (long long)(uintptr_t)p);
	munmap(p, 18000);
	close(fd);
}

static int udp(struct sockaddr_in *to)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	*to = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	return fd;
}

static char payload[2048];

static void do_udp(void)
{
	struct sockaddr_in to;
	int fd = udp(&to);
	result(sendto(fd, payload, 777, MSG_DONTWAIT | MSG_NOSIGNAL, (void *)&to, sizeof(to)));
	close(fd);
}

static void do_cork(void)
{
	struct sockaddr_in to;
	int fd = udp(&to);
	result(sendto(fd, payload, 333, MSG_MORE | MSG_DONTWAIT, (void *)&to, sizeof(to)));
	close(fd);
}

static int route_socket(unsigned int *port)
{
	struct sockaddr_nl me = {.nl_family = AF_NETLINK};
	socklen_t size = sizeof(me);
	int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
	bind(fd, (void *)&me, size);
	getsockname(fd, (void *)&me, &size);
	*port = me.nl_pid;
	return fd;
}

static void do_netconf(void)
{
	struct {
		struct nlmsghdr head;
		unsigned char family, pad[3]; /* struct netconfmsg, and what aligns the attribute */
		struct rtattr attribute;
		int index;
	} ask = {
		{sizeof(ask), RTM_GETNETCONF, NLM_F_REQUEST, 0x7e57c0de, 0}, AF_INET, {0},
		{RTA_LENGTH(sizeof(int)), NETCONFA_IFINDEX}, 1,
	};
	char answer[4096];
	unsigned int port;
	int fd = route_socket(&port);
	send(fd, &ask, sizeof(ask), 0);
	fact("port", port);
	result(recv(fd, answer, sizeof(answer), 0));
	fact("type", ((struct nlmsghdr *)answer)->nlmsg_type);
	close(fd);
}

static void do_link(void)
{
	struct {
		struct nlmsghdr head;
		struct ifinfomsg body;
		struct rtattr attribute;
		unsigned int mask;
	} ask = {
		{sizeof(ask), RTM_GETLINK, NLM_F_REQUEST, 0x5eed1234, 0}, {.ifi_index = 1},
		{RTA_LENGTH(4), IFLA_EXT_MASK}, 9 /* RTEXT_FILTER_VF | RTEXT_FILTER_SKIP_STATS */,
	};
	char answer[16384];
	unsigned int port;
	int fd = route_socket(&port);
	send(fd, &ask, sizeof(ask), 0);
	fact("port", port);
	result(recv(fd, answer, sizeof(answer), 0));
	fact("type", ((struct nlmsghdr *)answer)->nlmsg_type);
	close(fd);
}

static void do_rename(void)
{
	char events[4096];
	uint32_t cookie = 0;
	mkdir("/dev/shm/specc-a", 0700);
	mkdir("/dev/shm/specc-b", 0700);
	close(scratch("/dev/shm/specc-a/name"));
	int fd = inotify_init1(IN_NONBLOCK);
	inotify_add_watch(fd, "/dev/shm/specc-a", IN_MOVED_FROM);
	inotify_add_watch(fd, "/dev/shm/specc-b", IN_MOVED_TO);
	result(rename("/dev/shm/specc-a/name", "/dev/shm/specc-b/name"));
	ssize_t n = read(fd, events, sizeof(events));
	int moved = 0;
	for (ssize_t at = 0; at < n; moved++) {
		struct inotify_event *event = (void *)(events + at);
		cookie = event->cookie;
		at += sizeof(*event) + event->len;
	}
	fact("cookie", cookie);
	fact("moved", moved);
	close(fd);
}

static long long now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void do_ppoll(void)
{
	struct timespec wait = {1234, 567891234};
	struct pollfd ready = {.events = POLLOUT};
	int pipe_fds[2];
	if (pipe(pipe_fds))
		exit(1);
	ready.fd = pipe_fds[1];
	fact("before", now());
	result(syscall(SYS_ppoll, &ready, 1UL, &wait, NULL, 8UL));
	fact("after", now());
	close(pipe_fds[0]);
	close(pipe_fds[1]);
}

static void do_setsockopt(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0), value[3] = {1};
	address("optval", value);
	result(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, value, sizeof(value)));
	close(fd);
}

static void do_getsockopt(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0), value = 0;
	socklen_t size = sizeof(value);
	address("optval", &value);
	address("optlen", &size);
	result(getsockopt(fd, IPPROTO_IP, IP_TTL, &value, &size));
	fact("value", value);
	close(fd);
}

static void do_chown(void)
{
	struct stat status;
	close(scratch("/dev/shm/specc-chown"));
	result(chown("/dev/shm/specc-chown", 1234567, 7654321));
	stat("/dev/shm/specc-chown", &status);
	fact("uid", status.st_uid);
	unlink("/dev/shm/specc-chown");
}

static void do_rtc(void)
{
	struct rtc_wkalrm alarm = {
		.time = {.tm_sec = 8, .tm_min = 7, .tm_hour = 6, .tm_mday = 5, .tm_mon = 3, .tm_year = 133, .tm_wday = 2,
			 .tm_yday = 94, .tm_isdst = 77},
	};
	int fd = open("/dev/rtc0", O_RDONLY);
	result(fd < 0 ? -1 : ioctl(fd, RTC_WKALM_SET, &alarm));
	close(fd);
}

static void do_movepages(void)
{
	char *p = pages(5);
	void *list[5];
	int nodes[5] = {0}, status[5];
	memset(p, 1, 5 * PAGE);
	for (int i = 0; i < 5; i++)
		list[i] = p + i * PAGE;
	address("pages", list);
	address("nodes", nodes);
	address("status", status);
	result(syscall(SYS_move_pages, 0L, 5UL, list, nodes, status, (long)MPOL_MF_MOVE));
}

static void do_mprotect(void)
{
	int fd = scratch("/dev/shm/specc-mprotect");
	char *p = mmap(NULL, 9 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 7 * PAGE);
	address("addr", p + 2 * PAGE);
	result(mprotect(p + 2 * PAGE, 3 * PAGE, PROT_READ));
	munmap(p, 9 * PAGE);
	close(fd);
}

static void uffd_register(int fd, char *p)
{
	struct uffdio_register range = {{(uintptr_t)p, PAGE}, UFFDIO_REGISTER_MODE_MISSING, 0};
	result(ioctl(fd, UFFDIO_REGISTER, &range));
}

/* Two areas of one userfaultfd and one of another: the context's address is the kernel's secret, but it must be the same
 * for the first two and another for the third. */
static void do_uffd(void)
{
	struct uffdio_api api = {.api = UFFD_API}, other_api = {.api = UFFD_API};
	int fd = syscall(SYS_userfaultfd, (long)O_CLOEXEC), other = syscall(SYS_userfaultfd, (long)O_CLOEXEC);
	char *area = pages(16);
	ioctl(fd, UFFDIO_API, &api);
	ioctl(other, UFFDIO_API, &other_api);
	address("first", area + 2 * PAGE);
	address("second", area + 6 * PAGE);
	address("third", area + 10 * PAGE);
	uffd_register(fd, area + 2 * PAGE);
	uffd_register(fd, area + 6 * PAGE);
	uffd_register(other, area + 10 * PAGE);
	close(fd);
	close(other);
	munmap(area, 16 * PAGE);
}

static void do_fallocate(void)
{
	int fd = scratch("/dev/shm/specc-fallocate");
	result(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0x12345000, 0x6789));
	unlink("/dev/shm/specc-fallocate");
	close(fd);
}

static void do_sendfile(void)
{
	int in = scratch("/dev/shm/specc-sendfile"), out = open("/dev/null", O_WRONLY);
	off_t at = 0x1234;
	fact("in", in);
	fact("out", out);
	result(sendfile(out, in, &at, 0x2345));
	close(in);
	close(out);
}

/* Each new link makes the kernel walk the chain below it, by recursion. */
static void do_epoll(void)
{
	int fd[5];
	for (int i = 0; i < 5; i++)
		fd[i] = epoll_create1(0);
	for (int i = 3; i >= 0; i--) {
		struct epoll_event event = {.events = EPOLLIN};
		result(epoll_ctl(fd[i], EPOLL_CTL_ADD, fd[i + 1], &event));
	}
	for (int i = 0; i < 5; i++)
		close(fd[i]);
}

/* --- functions that are declared otherwise on other kernels -------------------------------------------------------- */

static void do_wake(void)
{
	static uint32_t nobody;
	address("uaddr", &nobody);
	result(syscall(SYS_futex, &nobody, (long)(FUTEX_WAKE_BITSET | FUTEX_PRIVATE_FLAG), 0x7654321L, NULL, NULL,
		       0x1badcafeL));
}

static void do_truncate(void)
{
	close(scratch("/dev/shm/specc-truncate"));
	result(truncate("/dev/shm/specc-truncate", 0x123456789L));
	unlink("/dev/shm/specc-truncate");
}

static void do_xattr(void)
{
	static char value[0x321], back[0x765];
	const char *path = "/dev/shm/specc-xattr", *name = "trusted.specc";
	memset(value, 'v', sizeof(value));
	close(scratch(path));
	result(setxattr(path, name, value, sizeof(value), XATTR_CREATE));
	fact("set", errno);
	fact("got", getxattr(path, name, back, sizeof(back)));
	fact("same", !memcmp(value, back, sizeof(value)));
	unlink(path);
}

static void do_memory(void)
{
	static char text[] = "The quick brown fox jumps over the lazy dog", back[64];
	int fd = scratch("/dev/shm/specc-memory-of-a-name");
	fact("wrote", pwrite(fd, text, 43, 0x100));
	memset(back, 'b', sizeof(back)); /* so that it is in memory */
	result(pread(fd, back, 20, 0x104));
	close(fd);
	unlink("/dev/shm/specc-memory-of-a-name");
}

static void do_mknod(void)
{
	umask(0);
	result(mknod("/dev/shm/specc-node", S_IFCHR | 0624, makedev(0x123, 0x45678)));
	unlink("/dev/shm/specc-node");
}

static void do_mkdir(void)
{
	umask(0);
	result(mkdir("/dev/shm/specc-dir", 0613));
	rmdir("/dev/shm/specc-dir");
}

static void do_exchange(void)
{
	close(scratch("/dev/shm/specc-one"));
	close(scratch("/dev/shm/specc-other"));
	result(syscall(SYS_renameat2, AT_FDCWD, "/dev/shm/specc-one", AT_FDCWD, "/dev/shm/specc-other", 2UL));
	unlink("/dev/shm/specc-one");
	unlink("/dev/shm/specc-other");
}

static void do_access(void)
{
	int fd = open("/dev/shm/specc-access", O_RDWR | O_CREAT, 0700);
	result(access("/dev/shm/specc-access", R_OK | W_OK | X_OK));
	close(fd);
	fd = open("/dev/shm/specc-access", O_RDONLY | O_NOATIME | O_NOFOLLOW);
	fact("opened", fd >= 0);
	close(fd);
	unlink("/dev/shm/specc-access");
}

static void do_statx(void)
{
	char answer[256];
	close(scratch("/dev/shm/specc-statx"));
	result(syscall(SYS_statx, AT_FDCWD, "/dev/shm/specc-statx", 0x4000L /* AT_STATX_DONT_SYNC */, 0x304L, answer));
	unlink("/dev/shm/specc-statx");
}

static void do_receive(void)
{
	struct sockaddr_in me = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(me);
	char answer[4096];
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	bind(fd, (void *)&me, size);
	result(recv(fd, answer, 1357, MSG_DONTWAIT | MSG_PEEK));
	close(fd);
	/* The same of a connection. */
	int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
	me.sin_port = 0;
	bind(listener, (void *)&me, size);
	listen(listener, 1);
	getsockname(listener, (void *)&me, &size);
	fact("connected", connect(client, (void *)&me, size));
	recv(client, answer, 2468, MSG_DONTWAIT | MSG_PEEK);
	fact("tcp", -errno);
	close(client);
	close(listener);
}

static void do_huge(void)
{
	void *p = mmap(NULL, 6UL << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | 21 << 26, -1, 0);
	fact("mapped", p != MAP_FAILED); /* without pages set apart for it, not */
	if (p != MAP_FAILED)
		munmap(p, 6UL << 20);
}

static void do_brk(void)
{
	unsigned long old = syscall(SYS_brk, 0L), from = (old + PAGE - 1) / PAGE * PAGE;
	fact("from", from);
	result(syscall(SYS_brk, from + 5 * PAGE) == (long)(from + 5 * PAGE) ? 0 : -1);
	syscall(SYS_brk, old);
}

static void do_mtu(void)
{
	struct ifreq ask = {.ifr_name = "lo"};
	unsigned long data = 0x1122334455667788UL;
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	memcpy(&ask.ifr_data, &data, sizeof(data));
	result(ioctl(fd, SIOCGIFMTU, &ask));
	close(fd);
}

static void do_tty(void)
{
	int fd = open("/dev/ptmx", O_RDWR | O_NOCTTY);
	fact("opened", fd >= 0);
	result(ioctl(fd, 0x5abc, 0x123456789abcdef0UL));
	close(fd);
}

/* A function of a module. */
static void do_tun(void)
{
	struct ifreq ask = {.ifr_name = "lo"};
	int fd = open("/dev/net/tun", O_RDWR);
	fact("opened", fd >= 0);
	address("arg", &ask);
	result(ioctl(fd, TUNGETIFF, &ask)); /* not before it has a name */
	close(fd);
}

/* --- questions of the gallery ------------------------------------------------------------------------------------ */

static void do_opens(void)
{
	int fd = open("/dev/shm/specc-opens", O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	fact("opened", fd);
	close(fd);
	unlink("/dev/shm/specc-opens");
	result(open("/dev/shm/specc-nowhere", O_RDONLY | O_DIRECTORY));
}

/* --- fields behind pointers: a file, a socket and a process whose members system calls tell ------------------------- */

static void do_fields(void)
{
	const char *name = "/dev/shm/specc-fields-of-a-file";
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(0x1234), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd, udp = socket(AF_INET, SOCK_DGRAM, 0), on = 1, status;
	struct rlimit limit = {.rlim_cur = 0x654000, .rlim_max = RLIM_INFINITY};
	static char bytes[1100];
	struct iovec parts[3];
	struct stat st;
	pid_t child;

	unlink(name);
	fd = open(name, O_RDWR | O_CREAT, 0640);
	if (fd < 0 || ftruncate(fd, 12345))
		exit(1);
	close(fd);
	fd = open(name, O_RDONLY);
	fstat(fd, &st);
	fact("ino", st.st_ino);
	fact("mode", st.st_mode);
	fact("changed", st.st_ctim.tv_sec);
	close(fd);
	unlink(name);
	setsockopt(udp, SOL_SOCKET, SO_NO_CHECK, &on, sizeof(on));
	setsockopt(udp, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	fstat(udp, &st);
	fact("socket", st.st_ino);
	if (connect(udp, (struct sockaddr *)&to, sizeof(to)))
		exit(1);
	send(udp, "hello", 5, 0);
	close(udp);
	for (int i = 0; i < 3; i++)
		parts[i] = (struct iovec){bytes + i, 1000 + i};
	fd = open("/dev/null", O_WRONLY);
	if (writev(fd, parts, 3) != 3003)
		exit(1);
	close(fd);
	fact("third", (long)parts[2].iov_base);
	fstat(0, &st);
	fact("input", st.st_ino);
	setrlimit(RLIMIT_STACK, &limit);
	getrlimit(RLIMIT_STACK, &limit);
	fact("stack", limit.rlim_cur);
	child = fork();
	if (!child)
		_exit(0);
	waitpid(child, &status, 0);
	fact("child", child);
	result(getpid());
}

enum { QUICK_READS = 50, SLOW_READS = 3, SLOW_US = 150000 };

static void *write_late(void *argument)
{
	for (int i = 0; i < SLOW_READS; i++) {
		usleep(SLOW_US);
		if (write(*(int *)argument, "x", 1) != 1)
			exit(1);
	}
	return NULL;
}

/* Reads that need not wait, and reads of a pipe into which another thread writes only later. */
static void do_reads(void)
{
	pthread_t writer;
	char buffer[16];
	int fds[2], zero = open("/dev/zero", O_RDONLY);
	if (pipe(fds))
		exit(1);
	for (int i = 0; i < QUICK_READS; i++)
		if (read(zero, buffer, 1) != 1)
			exit(1);
	pthread_create(&writer, NULL, write_late, &fds[1]);
	for (int i = 0; i < SLOW_READS; i++)
		if (read(fds[0], buffer, sizeof(buffer)) != 1)
			exit(1);
	pthread_join(writer, NULL);
	fact("quick", QUICK_READS);
	fact("slow", SLOW_READS);
	fact("slow_us", SLOW_US);
	close(zero);
	close(fds[0]);
	close(fds[1]);
}

static long connect_to(int family, void *address, socklen_t size)
{
	int fd = socket(family, SOCK_STREAM, 0);
	long r = connect(fd, address, size) ? -errno : 0;
	close(fd);
	return r;
}

/* One that is accepted, one that is refused because nobody listens any more, and one to nowhere; and by IPv6. */
static void do_connects(void)
{
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1)};
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	struct sockaddr_in nowhere = {.sin_family = AF_INET, .sin_port = htons(443), .sin_addr.s_addr = htonl(0xc0000207)};
	socklen_t size = sizeof(four);
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	bind(listener, (void *)&four, size);
	listen(listener, 5);
	getsockname(listener, (void *)&four, &size);
	fact("port", ntohs(four.sin_port));
	fact("accepted", connect_to(AF_INET, &four, size));
	close(listener);
	fact("refused", connect_to(AF_INET, &four, size));
	fact("unreachable", connect_to(AF_INET, &nowhere, size)); /* 192.0.2.7: there is no route */
	six.sin6_port = four.sin_port;
	fact("six", connect_to(AF_INET6, &six, sizeof(six)));
}

static void do_chowns(void)
{
	const char *path = "/dev/shm/specc-of-another";
	close(scratch(path));
	result(chown(path, 1234567, 7654321));
	fact("group", chown(path, -1, 4321));
	unlink(path);
}

enum { CLOSES = 5, OPENS = 3, MKDIRS = 2 };

static void do_failing(void)
{
	for (int i = 0; i < CLOSES; i++)
		close(-1);
	for (int i = 0; i < OPENS; i++)
		open("/dev/shm/specc-nowhere", O_RDONLY);
	for (int i = 0; i < MKDIRS; i++)
		mkdir("/dev/shm", 0700);
	fact("closes", CLOSES);
	fact("opens", OPENS);
	fact("mkdirs", MKDIRS);
}

static void do_tracepoints(void)
{
	enum { MANY = 8192 };
	char *p = pages(MANY);
	int file = scratch("/dev/shm/specc-tracepoints"), compact = open("/proc/sys/vm/compact_memory", O_WRONLY), status;

	syscall(SYS_getppid);
	syscall(SYS_close, -1);
	syscall(SYS_lseek, file, 0x123456789aL, SEEK_SET);
	syscall(9999);
	prctl(PR_SET_NAME, "a-known-name-which-is-cut");
	prctl(PR_SET_NAME, "triggers");
	kill(getpid(), SIGCONT);
	usleep(2000);
	/* Holes of a page all over the memory, for compaction to have something to do. */
	for (int i = 0; i < MANY; i++)
		p[i * PAGE] = 1;
	for (int i = 0; i < MANY; i += 2)
		madvise(p + i * PAGE, PAGE, MADV_DONTNEED);
	fact("compacted", write(compact, "1", 1));
	munmap(p, MANY * PAGE);
	close(compact);
	close(file);
	unlink("/dev/shm/specc-tracepoints");
	pid_t child = vfork();
	if (!child) {
		execl("/bin/busybox", "busybox", "true", (char *)0);
		_exit(1);
	}
	waitpid(child, &status, 0);
	fact("child", child);
	fact("status", status);
}

/* --- many threads ----------------------------------------------------------------------------------------------- */

enum { THREADS = 8, READS = 40, SLEEPERS = 6 };

struct reader {
	pthread_t thread;
	int number, tid, zero, pipe[2];
	char buffer[1024];
};

/* Every read of every thread asks for its own number of bytes, and gets as many. */
static void *read_much(void *argument)
{
	struct reader *me = argument;
	me->tid = syscall(SYS_gettid);
	for (int i = 0; i < READS; i++) {
		if (syscall(SYS_read, me->zero, me->buffer, (size_t)(1 + me->number + THREADS * i)) < 0)
			exit(1);
		if (i % 8 == me->number)
			sched_yield();
	}
	/* Now several sleep in the kernel at once, and wake up in another order. */
	if (me->number < SLEEPERS && syscall(SYS_read, me->pipe[0], me->buffer, (size_t)(900 + me->number)) < 0)
		exit(1);
	return NULL;
}

static void do_threads(void)
{
	static struct reader readers[THREADS];
	printf(", \"threads\": %d, \"reads\": %d, \"sleepers\": %d", THREADS, READS, SLEEPERS);
	for (int i = 0; i < THREADS; i++) {
		readers[i].number = i;
		readers[i].zero = open("/dev/zero", O_RDONLY);
		if (pipe(readers[i].pipe))
			exit(1);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_create(&readers[i].thread, NULL, read_much, &readers[i]);
	usleep(300000);
	for (int i = SLEEPERS - 1; i >= 0; i--)
		if (write(readers[i].pipe[1], payload, 100 + i) != 100 + i)
			exit(1);
	printf(", \"readers\": [");
	for (int i = 0; i < THREADS; i++) {
		pthread_join(readers[i].thread, NULL);
		printf("%s{\"tid\": %d, \"buffer\": %lld}", i ? ", " : "", readers[i].tid,
		       (long long)(uintptr_t)readers[i].buffer);
		close(readers[i].zero);
		close(readers[i].pipe[0]);
		close(readers[i].pipe[1]);
	}
	printf("]");
}

/* --- functions of this program, for uprobes ----------------------------------------------------------------------- */

struct pair {
	long x;
	int y;
};

struct big {
	long v[5];
};

/* p finds only r9 free and goes to the stack, late gets r9, big and s are on the stack. */
NOIPA long user_spill(int a, long b, signed char c, unsigned short d, long e, struct pair p, unsigned char late,
		      struct big big, short s)
{
	(void)b, (void)c, (void)d, (void)e, (void)p, (void)late, (void)s;
	return big.v[4] * 7 + a;
}

/* Each call has a number of its own, and returns it mixed with its depth. */
NOIPA long user_recurse(long depth, long number)
{
	long below = depth ? user_recurse(depth - 1, number + 1) : 0;
	__asm__ volatile("" : "+r"(below));
	return number * 1000 + depth + (below & 0);
}

enum { CALLS = 25, DEPTH = 40 };

static void spill(long id)
{
	struct pair p = {id * 5, (int)(id * 11)};
	struct big big = {{id, id + 1, id + 2, id + 3, -id}};
	/* Volatile: 64-bit values are cut, so that registers and slots have garbage above. */
	volatile long wide = id * 0x0123456789abcdL;
	user_spill((int)wide, id * 3, (signed char)wide, (unsigned short)wide, ~id, p, (unsigned char)wide, big, (short)wide);
}

static void *call_much(void *argument)
{
	long thread = (long)argument;
	for (long i = 0; i < CALLS; i++)
		spill(thread * 1000 + i + 1);
	user_recurse(DEPTH - 1, thread * 1000);
	return (void *)(long)syscall(SYS_gettid);
}

static void do_user(void)
{
	pthread_t threads[THREADS];
	printf(", \"threads\": %d, \"calls\": %d, \"depth\": %d", THREADS, CALLS, DEPTH);
	for (long i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, call_much, (void *)i);
	printf(", \"tids\": [");
	for (long i = 0; i < THREADS; i++) {
		void *tid;
		pthread_join(threads[i], &tid);
		printf("%s%ld", i ? ", " : "", (long)tid);
	}
	printf("]");
}

/* Calls with frame pointers, down to the one that enters the kernel; each knows where in its caller it returns to. */
#define FRAMED __attribute__((noipa, optimize("no-omit-frame-pointer", "no-optimize-sibling-calls")))
static long in_middle, in_outer, in_inner;
FRAMED long stack_middle(int fd);
FRAMED long stack_outer(int fd);

FRAMED static void *return_of(void **frame)
{
	return frame[1];
}

FRAMED long stack_inner(int fd)
{
	static char text[20];
	const void *after;
	long done, got;

	in_middle = (char *)return_of(__builtin_frame_address(0)) - (char *)stack_middle;
	register long where __asm__("r10") = 0x1000;
	register long length __asm__("r8") = 0;
	__asm__ volatile("lea 1f(%%rip), %1; syscall; 1:" : "=a"(got), "=&r"(after)
			 : "a"(SYS_read), "D"((long)fd), "S"(text), "d"(20L) : "rcx", "r11", "memory");
	in_inner = (const char *)after - (char *)stack_inner;
	__asm__ volatile("syscall" : "=a"(done) : "a"(SYS_fallocate), "D"((long)fd), "S"(0L), "d"(0L), "r"(where), "r"(length)
			 : "rcx", "r11", "memory");
	return got + done;
}

FRAMED long stack_middle(int fd)
{
	in_outer = (char *)return_of(__builtin_frame_address(0)) - (char *)stack_outer;
	return stack_inner(fd) + 1;
}

FRAMED long stack_outer(int fd)
{
	return stack_middle(fd) + 1;
}

static void do_stack(void)
{
	int fd = scratch("/dev/shm/specc-stack");
	result(stack_outer(fd));
	fact("inner", in_inner);
	fact("middle", in_middle);
	fact("outer", in_outer);
	unlink("/dev/shm/specc-stack");
	close(fd);
}

/* Whether a probe sits on the function: 0xcc is a breakpoint. */
static void do_firstbyte(void)
{
	fact("byte", *(unsigned char *)(uintptr_t)user_spill);
}

/* --- what is not there, and what changes in a call -------------------------------------------------------------- */

/* A pipe has no position, nothing is at that address, and of an empty string there is only the end. */
static void do_edges(void)
{
	static char page[4321], empty[8];
	struct stat about;
	int ends[2];

	memset(empty, 0, sizeof(empty)); /* so that it is in memory */
	if (pipe(ends))
		exit(1);
	fact("wrote", write(ends[1], page, sizeof(page)));
	fact("read", read(ends[0], page, sizeof(page)));
	fact("nonblocking", fcntl(ends[0], F_SETFL, O_NONBLOCK));
	fact("nothing", read(ends[0], page, 4320));
	fact("opened", syscall(SYS_openat, AT_FDCWD, 0xdead0000UL, O_RDONLY, 0));
	fact("status", syscall(SYS_newfstatat, ends[0], empty, &about, 0x1000 /* AT_EMPTY_PATH */));
	close(ends[0]);
	close(ends[1]);
}

enum { RENAMES = 20 };

/* Of each pair of calls the first is entered under this process's own name and left under another one. */
static void do_renames(void)
{
	for (int i = 0; i < RENAMES; i++) {
		prctl(PR_SET_NAME, "other");
		prctl(PR_SET_NAME, "triggers");
	}
	fact("pairs", RENAMES);
}

/* The name of the program is where the next program's stack begins, since addresses are not random in the child. */
static void do_exec(void)
{
	int status;
	pid_t child = vfork();

	if (!child) {
		personality(ADDR_NO_RANDOMIZE);
		execl("/proc/self/exe", "triggers", "again", "/bin/busybox", (char *)0);
		_exit(1);
	}
	waitpid(child, &status, 0);
	fact("child", child);
	fact("status", status);
}

/* ------------------------------------------------------------------------------------------------------------------ */

static const struct {
	const char *name;
	void (*run)(void);
} COMMANDS[] = {
	{"mlock", do_mlock}, {"vmread", do_vmread}, {"vmwrite", do_vmwrite}, {"futex", do_futex}, {"mmap", do_mmap},
	{"udp", do_udp}, {"cork", do_cork}, {"netconf", do_netconf}, {"link", do_link}, {"rename", do_rename},
	{"ppoll", do_ppoll}, {"setsockopt", do_setsockopt}, {"getsockopt", do_getsockopt}, {"chown", do_chown},
	{"rtc", do_rtc}, {"movepages", do_movepages}, {"mprotect", do_mprotect}, {"uffd", do_uffd},
	{"fallocate", do_fallocate}, {"sendfile", do_sendfile}, {"epoll", do_epoll}, {"threads", do_threads},
	{"wake", do_wake}, {"truncate", do_truncate}, {"xattr", do_xattr}, {"memory", do_memory}, {"mknod", do_mknod}, {"mkdir", do_mkdir},
	{"exchange", do_exchange}, {"access", do_access}, {"statx", do_statx}, {"receive", do_receive}, {"huge", do_huge},
	{"brk", do_brk}, {"mtu", do_mtu}, {"tty", do_tty}, {"tun", do_tun}, {"user", do_user},
	{"opens", do_opens}, {"fields", do_fields}, {"reads", do_reads}, {"connects", do_connects}, {"chowns", do_chowns}, {"failing", do_failing},
	{"stack", do_stack}, {"firstbyte", do_firstbyte}, {"tracepoints", do_tracepoints},
	{"edges", do_edges}, {"renames", do_renames}, {"exec", do_exec},
};

static void perform(const char *name)
{
	for (size_t i = 0; i < sizeof(COMMANDS) / sizeof(*COMMANDS); i++)
		if (!strcmp(COMMANDS[i].name, name)) {
			printf("{\"do\": \"%s\"", name);
			fact("pid", getpid());
			errno = 0;
			COMMANDS[i].run();
			printf("}\n");
			fflush(stdout);
			return;
		}
	fprintf(stderr, "no trigger %s\n", name);
	exit(2);
}

int main(int argc, char **argv)
{
	char line[64];
	if (argc == 3 && !strcmp(argv[1], "again"))
		return execl(argv[2], "busybox", "true", (char *)0);
	for (int i = 1; i < argc; i++)
		perform(argv[i]);
	while (argc == 1 && fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = 0;
		perform(line);
	}
	return 0;
}
