/* Calls eight() a few times; specs/eight.yaml watches it. */
#include <stdio.h>

#include "../include/eight.h"

__attribute__((noinline)) long eight(int a, _Bool b, long c, struct point d, unsigned short e, signed char f, long g,
				     const char *h)
{
	return a + b + c + d.x + d.y + e + f + g + h[0];
}

int main(void)
{
	for (int i = 1; i <= 3; i++) {
		struct point d = {10 * i, 1000L * i};

		printf("eight() = %ld\n", eight(-i, i % 2, 0x123456789aL * i, d, 40000 + i, -i, 1L << (40 + i), "text"));
	}
	return 0;
}
