/*
 * writer BYTES: numbered lines of many lengths, the same ones each time; now and then one that is longer than any piece of
 * a log.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char filler[40000];

int main(int argc, char **argv)
{
	unsigned long long most = strtoull(argc > 1 ? argv[1] : "0", NULL, 10), written = 0;
	memset(filler, 'x', sizeof filler);
	static char buffer[1 << 16];
	setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
	for (unsigned long long number = 0; written < most; number++) {
		int length = number % 5000 == 4999 ? 33000 + (int)(number % 7000) : (int)(number * 2654435761u % 300);
		written += (unsigned long long)printf("%016llx %.*s\n", number, length, filler);
	}
	return fflush(stdout) ? 1 : 0;
}
