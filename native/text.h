/* Texts without the weight of printf(3). Each answers where the text goes on; the caller has made sure of the room. */
#ifndef TSCRUN_TEXT_H
#define TSCRUN_TEXT_H

#include <stdint.h>
#include <string.h>

static inline char *put(char *at, const char *text)
{
	size_t length = strlen(text);
	memcpy(at, text, length);
	return at + length;
}

/* With zeros in front. */
static inline char *put_digits(char *at, uint64_t value, int digits)
{
	for (int i = digits - 1; i >= 0; i--, value /= 10)
		at[i] = (char)('0' + value % 10);
	return at + digits;
}

static inline char *put_number(char *at, uint64_t value)
{
	int digits = 1;
	for (uint64_t rest = value; rest >= 10; rest /= 10)
		digits++;
	return put_digits(at, value, digits);
}

#endif
