/* Runs the two experiments on every case and writes what it found to standard output.
 *
 * A "source" is one byte that a callee could read at entry: 15 general registers of 8 bytes,
 * 16 vector registers of 16, then the stack upwards from just above the return address.
 * At return the sources are the general registers, the vector registers and the x87 stack.
 * FILLS times every source gets random bytes; so every *bit* of every source has a word of
 * FILLS bits that no other bit has, and a bit that the callee stored is looked up by its word. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "runtime.h"

enum { FILLS = 64, GENERAL = 15, REGISTER_BYTES = GENERAL * 8 + 16 * 16, STACK_BYTES = 16384 };
enum { SOURCES = REGISTER_BYTES + STACK_BYTES, OBJECT_BYTES = 16384, ARENA = 1 << 20 };
enum { TABLE = 1 << 19, NOWHERE = -1, SCATTERED = -2 };
enum { ANSWER_NONE, ANSWER_MEMORY, ANSWER_REGISTERS };
enum { FX_X87 = 32, FX_VECTORS = 160, FX_BYTES = 512, AFTER_BYTES = REGISTER_BYTES + 8 * 10 };
enum { OK, CRASHED, TOO_LARGE };
enum { BYTES, BOOL, X87, X87PAIR, BITINT, BITFIELD };

typedef unsigned long word;
typedef unsigned char byte;

extern const struct oracle_case oracle_cases[];
extern const unsigned oracle_case_count;
extern byte oracle_registers[];
extern byte *oracle_stack, *oracle_entry_sp;
extern void *oracle_target;
extern word oracle_answer, oracle_answer_size, oracle_answer_register;
extern word oracle_answer_registers;
extern byte oracle_answer_general[], oracle_after[], oracle_after_fx[], oracle_answer_fx[];
void oracle_enter(void), oracle_stub(void);

byte oracle_out[OBJECT_BYTES], oracle_result[OBJECT_BYTES];
void *volatile oracle_stub_pointer = oracle_stub;

static _Alignas(4096) byte arena[ARENA]; /* the stack that cases run on */
static _Alignas(4096) byte pointed[GENERAL][OBJECT_BYTES];
static byte fill[FILLS][SOURCES];
static byte seen[FILLS][OBJECT_BYTES];   /* what the callee stored */
static byte passed[FILLS][OBJECT_BYTES]; /* what the caller was given to pass */
static byte dump[FILLS][SOURCES];
static byte after[FILLS][AFTER_BYTES];    /* the registers at the callee's return */
static byte entered[FILLS][GENERAL * 8];  /* the general registers at its entry */
static byte last_fx[FX_BYTES];
static byte results[FILLS][OBJECT_BYTES]; /* what it returned */
static byte mask[OBJECT_BYTES];
static int place[OBJECT_BYTES], caller_place[OBJECT_BYTES], result_place[OBJECT_BYTES];
static struct { word key; int bit; } table[TABLE];
static unsigned window; /* how much of the stack this case could reach */
static sigjmp_buf after_crash;

static word next_random(void)
{
	static word state = 0x9e3779b97f4a7c15;
	state ^= state << 13, state ^= state >> 7, state ^= state << 17;
	return state * 0x2545f4914f6cdd1d;
}

static void randomise(byte *to, unsigned size)
{
	for (unsigned i = 0; i < size; i++)
		to[i] = next_random() >> 56;
}

static word column(byte *first, unsigned stride, unsigned bit)
{
	word key = 0;
	for (unsigned k = 0; k < FILLS; k++)
		key |= (word)(first[k * stride] >> bit & 1) << k;
	return key;
}

static unsigned slot_of(word key) { return key * 0x9e3779b97f4a7c15 >> 45; }

static void make_fills(void)
{
	for (unsigned k = 0; k < FILLS; k++) {
		randomise(fill[k], SOURCES);
		fill[k][0] = 8; /* al: as many vector registers as a variadic callee could be told of */
	}
	for (int bit = 0; bit < SOURCES * 8; bit++) {
		word key = column(&fill[0][bit / 8], SOURCES, bit % 8);
		if (key == 0 || key == ~0UL)
			continue;
		unsigned slot = slot_of(key);
		while (table[slot].key)
			slot = (slot + 1) % TABLE;
		table[slot].key = key, table[slot].bit = bit;
	}
}

static int source_bit(word key)
{
	if (key == 0)
		return NOWHERE;
	for (unsigned slot = slot_of(key); table[slot].key; slot = (slot + 1) % TABLE)
		if (table[slot].key == key)
			return table[slot].bit;
	return NOWHERE;
}

/* The source of one byte of an object, when all its data bits come from one byte unmoved. */
static int source_of(unsigned at)
{
	int source = NOWHERE;
	for (int bit = 0, first = 1; bit < 8; bit++) {
		if (!(mask[at] >> bit & 1))
			continue;
		int found = source_bit(column(&seen[0][at], OBJECT_BYTES, bit));
		int here = found == NOWHERE ? NOWHERE : found % 8 == bit ? found / 8 : SCATTERED;
		if (!first && here != source)
			return SCATTERED;
		source = here, first = 0;
	}
	return source;
}

static void crashed(int signal_number)
{
	(void)signal_number;
	siglongjmp(after_crash, 1);
}

static void catch_crashes(void)
{
	static byte other_stack[1 << 16];
	stack_t stack = { .ss_sp = other_stack, .ss_size = sizeof other_stack };
	struct sigaction action = { .sa_handler = crashed, .sa_flags = SA_ONSTACK };
	sigaltstack(&stack, 0);
	int fatal[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT };
	for (unsigned i = 0; i < sizeof fatal / sizeof *fatal; i++)
		sigaction(fatal[i], &action, 0);
}

/* Which bits are data, the parameters laid one after another and the result after them. */
static void make_mask(const struct oracle_case *c, const unsigned *start)
{
	memset(mask, 0, sizeof mask);
	for (unsigned i = 0; i < c->leaves; i++) {
		const struct oracle_leaf *leaf = &c->leaf[i];
		byte *to = mask + start[leaf->parameter] + leaf->offset;
		switch (leaf->kind) {
		case BYTES:
			memset(to, 0xff, leaf->size);
			break;
		case BOOL:
			*to |= 1;
			break;
		case X87:
			memset(to, 0xff, 10);
			break;
		case X87PAIR:
			memset(to, 0xff, 10), memset(to + leaf->size / 2, 0xff, 10);
			break;
		case BITINT:
			for (unsigned bit = 0; bit < leaf->bits; bit++)
				to[bit / 8] |= 1 << bit % 8;
			break;
		case BITFIELD:
			for (unsigned b = 0; b < leaf->size; b++)
				to[b] |= ((const byte *)leaf->mask)[b];
		}
	}
}

static void enter(void *target, const byte *sources)
{
	memcpy(oracle_registers, sources, REGISTER_BYTES);
	memcpy(oracle_stack, sources + REGISTER_BYTES, window);
	oracle_target = target;
	oracle_enter();
}

/* Every general register points to memory of its own: where does the result turn up? */
static int find_result_pointer(const struct oracle_case *c)
{
	static byte sources[SOURCES];
	int found = NOWHERE;
	memcpy(sources, fill[0], SOURCES);
	memset(pointed, 0xee, sizeof pointed);
	for (int r = 0; r < GENERAL; r++) {
		void *to = pointed[r];
		memcpy(sources + 8 * r, &to, 8);
	}
	enter(c->callee, sources);
	for (int r = 0; r < GENERAL; r++)
		for (unsigned i = 0; i < c->result_size; i++)
			if (pointed[r][i] != 0xee) {
				found = found == NOWHERE || found == r ? r : SCATTERED;
				break;
			}
	return found;
}

static void record_return(unsigned k, unsigned size)
{
	memcpy(after[k], oracle_after, GENERAL * 8);
	memcpy(after[k] + GENERAL * 8, oracle_after_fx + FX_VECTORS, 16 * 16);
	for (unsigned i = 0; i < 8; i++)
		memcpy(after[k] + REGISTER_BYTES + 10 * i, oracle_after_fx + FX_X87 + 16 * i, 10);
	memcpy(last_fx, oracle_after_fx, FX_BYTES);
	memcpy(results[k], oracle_result, size);
}

/* The result's data bits are random each time, its padding is zero. */
static void run_callee(const struct oracle_case *c, unsigned total, int pointer)
{
	static byte sources[SOURCES];
	for (unsigned k = 0; k < FILLS; k++) {
		memcpy(sources, fill[k], SOURCES);
		if (pointer >= 0) {
			void *to = pointed[pointer];
			memcpy(sources + 8 * pointer, &to, 8);
		}
		for (unsigned i = 0; i < c->result_size; i++)
			oracle_result[i] = next_random() >> 56 & mask[total + i];
		enter(c->callee, sources);
		memcpy(seen[k], oracle_out, total);
		memcpy(entered[k], sources, GENERAL * 8);
		record_return(k, c->result_size);
	}
}

/* 1: at return the same memory is pointed to by rax and holds the result. */
static int result_in_memory(const struct oracle_case *c, int pointer, unsigned total)
{
	void *to = pointed[pointer];
	for (unsigned i = 0; i < c->result_size; i++)
		if ((pointed[pointer][i] ^ oracle_result[i]) & mask[total + i])
			return 0;
	return memcmp(after[FILLS - 1], &to, 8) == 0;
}

static void run_caller(const struct oracle_case *c, const unsigned *start)
{
	oracle_answer = ANSWER_NONE;
	for (unsigned k = 0; k < FILLS; k++) {
		for (unsigned p = 0; p < c->parameters; p++) {
			byte *to = c->parameter[p].object;
			for (unsigned i = 0; i < c->parameter[p].size; i++)
				to[i] = next_random() >> 56 & mask[start[p] + i];
			memcpy(passed[k] + start[p], to, c->parameter[p].size);
		}
		enter(c->caller, fill[k]);
		memcpy(dump[k], oracle_registers, REGISTER_BYTES);
		memcpy(dump[k] + REGISTER_BYTES, oracle_entry_sp + 8, window);
	}
}

static int passed_in(unsigned at, int source)
{
	for (unsigned k = 0; k < FILLS; k++)
		if ((passed[k][at] ^ dump[k][source]) & mask[at])
			return 0;
	return 1;
}

/* The same place as in the callee if the byte is there, else wherever the caller put it. */
static int caller_source(unsigned at)
{
	if (!mask[at] || (place[at] >= 0 && passed_in(at, place[at])))
		return place[at];
	for (int source = 0; source < REGISTER_BYTES + (int)window; source++)
		if (passed_in(at, source))
			return source;
	return NOWHERE;
}

/* The caller must get the result that is put where the callee was seen to put its own. */
static int caller_takes_memory(const struct oracle_case *c, int pointer, unsigned total)
{
	const byte *got = c->result;
	memset(c->result, 0, c->result_size);
	oracle_answer = ANSWER_MEMORY;
	oracle_answer_size = c->result_size, oracle_answer_register = pointer;
	memcpy(oracle_result, results[FILLS - 1], c->result_size);
	enter(c->caller, fill[0]);
	oracle_answer = ANSWER_NONE;
	for (unsigned i = 0; i < c->result_size; i++)
		if ((got[i] ^ oracle_result[i]) & mask[total + i])
			return 0;
	return 1;
}

/* Random bytes in everything that the callee changed; a copy of them as the sources at return. */
static void make_answer(byte *sources)
{
	oracle_answer_registers = 0;
	for (unsigned r = 0; r < GENERAL; r++)
		for (unsigned k = 0; k < FILLS; k++)
			if (memcmp(after[k] + 8 * r, entered[k] + 8 * r, 8))
				oracle_answer_registers |= 1UL << r;
	randomise(sources, AFTER_BYTES);
	memcpy(oracle_answer_general, sources, GENERAL * 8);
	memcpy(oracle_answer_fx, last_fx, FX_BYTES);
	memcpy(oracle_answer_fx + FX_VECTORS, sources + GENERAL * 8, 16 * 16);
	for (unsigned i = 0; i < 8; i++)
		memcpy(oracle_answer_fx + FX_X87 + 16 * i, sources + REGISTER_BYTES + 10 * i, 10);
}

static int same_bits(const byte *one, unsigned stride, const byte *other, unsigned other_stride, byte bits)
{
	for (unsigned k = 0; k < FILLS; k++)
		if ((one[k * stride] ^ other[k * other_stride]) & bits)
			return 0;
	return 1;
}

/* Where the caller finds each byte of the result; the callee's must be there, or 0 is returned. */
static int find_result(const struct oracle_case *c, unsigned total)
{
	static byte answers[FILLS][AFTER_BYTES], got[FILLS][OBJECT_BYTES];
	int agreed = 1;
	for (unsigned k = 0; k < FILLS; k++) {
		make_answer(answers[k]);
		oracle_answer = ANSWER_REGISTERS;
		enter(c->caller, fill[k]);
		memcpy(got[k], c->result, c->result_size);
	}
	oracle_answer = ANSWER_NONE;
	for (unsigned i = 0; i < c->result_size; i++) {
		byte bits = mask[total + i];
		result_place[i] = NOWHERE;
		for (int source = 0; bits && source < AFTER_BYTES; source++)
			if (same_bits(&got[0][i], OBJECT_BYTES, &answers[0][source], AFTER_BYTES, bits))
				result_place[i] = source;
		if (bits && (result_place[i] == NOWHERE ||
			     !same_bits(&results[0][i], OBJECT_BYTES, &after[0][result_place[i]], AFTER_BYTES, bits)))
			agreed = 0;
	}
	return agreed;
}

static void put(int value) { fwrite(&value, sizeof value, 1, stdout); }

static int measure(const struct oracle_case *c, const unsigned *start, unsigned total,
		   int *pointer, int *in_memory, int *taken)
{
	if (total + c->result_size > OBJECT_BYTES)
		return TOO_LARGE;
	window = 2048 + 2 * total;
	for (unsigned p = 0; p < c->parameters; p++)
		window += c->parameter[p].align;
	if (window > STACK_BYTES)
		window = STACK_BYTES;
	make_mask(c, start);
	if (sigsetjmp(after_crash, 1))
		return CRASHED;
	memset(oracle_result, 1, c->result_size); /* a valid value of every type */
	if (c->result_size)
		*pointer = find_result_pointer(c);
	run_callee(c, total, *pointer);
	if (*pointer >= 0)
		*in_memory = result_in_memory(c, *pointer, total);
	for (unsigned i = 0; i < total; i++)
		place[i] = source_of(i);
	run_caller(c, start);
	for (unsigned i = 0; i < total; i++)
		caller_place[i] = caller_source(i);
	for (unsigned i = 0; i < c->result_size; i++)
		result_place[i] = NOWHERE;
	if (*pointer >= 0)
		*taken = caller_takes_memory(c, *pointer, total);
	else
		*taken = find_result(c, total);
	return OK;
}

/* Where a leaf begins in its object, in bits. */
static int first_bit(const struct oracle_leaf *leaf)
{
	const byte *bits = leaf->mask;
	if (leaf->kind != BITFIELD)
		return 8 * leaf->offset;
	for (unsigned i = 0; i < 8 * leaf->size; i++)
		if (bits[i / 8] >> i % 8 & 1)
			return i;
	return -1;
}

static void report(const struct oracle_case *c)
{
	unsigned start[64], total = 0;
	int pointer = NOWHERE, in_memory = 0, taken = 0;
	for (unsigned p = 0; p < c->parameters; p++)
		start[p] = total, total += c->parameter[p].size;
	start[c->parameters] = total;
	int status = measure(c, start, total, &pointer, &in_memory, &taken);
	put(status), put(pointer), put(in_memory), put(taken), put(c->result_size);
	for (unsigned i = 0; i < c->leaves; i++)
		put(first_bit(&c->leaf[i]));
	for (unsigned p = 0; p < c->parameters; p++)
		put(c->parameter[p].size), put(c->parameter[p].align);
	if (status != OK)
		return;
	fwrite(mask, 1, total + c->result_size, stdout);
	fwrite(place, sizeof *place, total, stdout);
	fwrite(caller_place, sizeof *place, total, stdout);
	fwrite(result_place, sizeof *place, c->result_size, stdout);
}

int main(void)
{
	oracle_stack = arena + ARENA - 4096 * 16;
	make_fills();
	catch_crashes();
	for (unsigned i = 0; i < oracle_case_count; i++)
		report(&oracle_cases[i]);
	return 0;
}
