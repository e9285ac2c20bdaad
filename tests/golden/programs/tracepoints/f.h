struct pt_regs;
enum color { RED, GREEN = 2 };
struct word {
	unsigned long value;
};
union state {
	unsigned int whole;
	struct {
		unsigned char active;
		unsigned char migrator;
		unsigned short seq;
	};
};
void f(int other_function_of_that_name);
