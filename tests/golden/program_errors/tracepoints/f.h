struct pt_regs;
struct three { char bytes[3]; };
struct pair { long a, b; };
