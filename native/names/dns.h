/* Messages of the domain name system (RFC 1035, RFC 6891), as far as a forwarder of questions has to know them. */
#ifndef TSCRUN_NAMES_DNS_H
#define TSCRUN_NAMES_DNS_H

#include <stddef.h>
#include <stdint.h>

#define DNS_HEADER 12
#define DNS_LEAST 512	     /* what everybody takes of a datagram */
#define DNS_MOST 4096	     /* what is sent in one */
#define MAX_NAME 256
#define MAX_RECORDS 256

enum { TYPE_A = 1, TYPE_PTR = 12, TYPE_AAAA = 28, TYPE_OPT = 41, TYPE_ANY = 255 };
enum { NOERROR = 0, FORMERR = 1, SERVFAIL = 2, NXDOMAIN = 3, NOTIMP = 4, REFUSED = 5 };

struct question {
	const uint8_t *packet;
	size_t size;
	size_t end; /* of the question's section; 0 where it could not be read */
	char name[MAX_NAME]; /* in small letters, without the last dot */
	int is_text; /* no label has a dot or NUL in it */
	uint16_t type, class;
	int has_options; /* EDNS */
	size_t limit; /* of an answer by datagram */
};

struct record {
	uint16_t type;
	uint8_t size; /* of an address: 4 or 16 bytes */
	uint8_t address[16];
	const char *name; /* PTR */
};

#define NO_QUESTION (-1)

/* 0; the error to answer; or NO_QUESTION: an answer, or less than a header. */
int question_read(struct question *question, const uint8_t *packet, size_t size);
/* Builds an answer of at most `room` bytes; marked as cut off (TC) where not all fits. Its size. */
size_t answer_make(uint8_t *out, size_t room, const struct question *question, int error, const struct record *records,
		   unsigned count, unsigned first);
/* Whether this is an answer to this very question. */
int answers(const struct question *question, const uint8_t *packet, size_t size);
/* The address that a name of in-addr.arpa or ip6.arpa stands for: its size, 0 for any other name. */
size_t reverse_address(const char *name, uint8_t *address);

static inline unsigned load16(const uint8_t *at)
{
	return (unsigned)at[0] << 8 | at[1];
}

static inline uint8_t *store16(uint8_t *at, unsigned value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
	return at + 2;
}

#endif
