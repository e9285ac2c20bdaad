/* What a translation unit of cases and the runtime share; put before the cases as text. */
struct oracle_leaf {
	unsigned parameter, kind, bits, offset, size;
	const void *mask; /* of a bit-field: the object with only this bit-field's bits set */
};
struct oracle_parameter {
	unsigned size, align;
	void *object; /* what the compiled caller passes */
};
struct oracle_case {
	void *callee, *caller, *result;
	unsigned result_size, parameters, leaves;
	const struct oracle_parameter *parameter;
	const struct oracle_leaf *leaf;
};
extern unsigned char oracle_out[], oracle_result[];
extern void *volatile oracle_stub_pointer;
