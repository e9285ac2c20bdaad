struct empty {};
void nothing(void);
double real(void);
struct empty empty(void);
