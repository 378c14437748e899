/* What comes from a container is hostile: each length is compared with what is there. */
#include "dns.h"

#include <string.h>

#define FLAG_RESPONSE 0x8000u
#define FLAG_AUTHORITATIVE 0x0400u
#define FLAG_TRUNCATED 0x0200u
#define FLAG_RECURSION_WANTED 0x0100u
#define FLAG_RECURSION 0x0080u
#define OPCODE 0x7800u
#define POINTER 0xc0u
#define TTL_SECONDS 5
#define MAX_LABEL 63
#define OPT_BYTES 11

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + 'a' - 'A') : c;
}

/* The name of the question; where it ends, or 0. Nothing stands before it that it could point to. */
static size_t read_name(struct question *question, size_t at)
{
	size_t length = 0;
	question->is_text = 1;
	for (;;) {
		if (at >= question->size)
			return 0;
		size_t label = question->packet[at++];
		if (label == 0)
			break;
		if (label > MAX_LABEL || label > question->size - at || length + label + 1 >= MAX_NAME)
			return 0;
		if (length)
			question->name[length++] = '.';
		for (size_t i = 0; i < label; i++) {
			char c = lower((char)question->packet[at++]);
			if (c == '.' || c == 0)
				question->is_text = 0;
			question->name[length++] = c;
		}
	}
	question->name[length] = 0;
	return at;
}

/* Where the name that begins here ends, or 0. */
static size_t skip_name(const uint8_t *packet, size_t size, size_t at)
{
	while (at < size) {
		size_t label = packet[at];
		if (label == 0)
			return at + 1;
		if ((label & POINTER) == POINTER)
			return at + 2 <= size ? at + 2 : 0;
		if (label > MAX_LABEL)
			return 0;
		at += label + 1;
	}
	return 0;
}

/* Behind the question: only EDNS is looked for. */
static int read_options(struct question *question)
{
	const uint8_t *packet = question->packet;
	size_t at = question->end;
	unsigned count = load16(packet + 6) + load16(packet + 8) + load16(packet + 10);
	for (unsigned i = 0; i < count; i++) {
		at = skip_name(packet, question->size, at);
		if (at == 0 || question->size - at < 10)
			return FORMERR;
		size_t data = load16(packet + at + 8);
		if (data > question->size - at - 10)
			return FORMERR;
		if (load16(packet + at) == TYPE_OPT) {
			size_t limit = load16(packet + at + 2);
			question->has_options = 1;
			question->limit = limit < DNS_LEAST ? DNS_LEAST : limit > DNS_MOST ? DNS_MOST : limit;
		}
		at += 10 + data;
	}
	return NOERROR;
}

int question_read(struct question *question, const uint8_t *packet, size_t size)
{
	*question = (struct question){.packet = packet, .size = size, .limit = DNS_LEAST};
	if (size < DNS_HEADER || load16(packet + 2) & FLAG_RESPONSE)
		return NO_QUESTION;
	if (load16(packet + 2) & OPCODE)
		return NOTIMP;
	if (load16(packet + 4) != 1)
		return FORMERR;
	size_t at = read_name(question, DNS_HEADER);
	if (at == 0 || size - at < 4)
		return FORMERR;
	question->type = (uint16_t)load16(packet + at);
	question->class = (uint16_t)load16(packet + at + 2);
	question->end = at + 4;
	return read_options(question);
}

/* Text to labels: nobody else's names are longer, or have empty labels, than what a question can ask for. */
static size_t put_name(uint8_t *out, const char *name)
{
	size_t size = 0;
	for (const char *label = name; *label;) {
		size_t length = strcspn(label, ".");
		if (length == 0 || length > MAX_LABEL || size + length + 2 > MAX_NAME)
			return 0;
		out[size++] = (uint8_t)length;
		memcpy(out + size, label, length);
		size += length;
		label += length + (label[length] == '.');
	}
	out[size++] = 0;
	return size;
}

static size_t put_record(uint8_t *out, size_t room, const struct record *record)
{
	uint8_t target[MAX_NAME];
	const uint8_t *data = record->address;
	size_t size = record->size;
	if (record->name) {
		size = put_name(target, record->name);
		data = target;
	}
	if (size == 0 || room < 12 + size)
		return 0;
	uint8_t *at = store16(out, 0xc000u | DNS_HEADER); /* the name asked for */
	at = store16(store16(at, record->type), 1);
	at = store16(store16(store16(at, 0), TTL_SECONDS), (unsigned)size);
	memcpy(at, data, size);
	return 12 + size;
}

size_t answer_make(uint8_t *out, size_t room, const struct question *question, int error, const struct record *records,
		   unsigned count, unsigned first)
{
	size_t size = question->end ? question->end : DNS_HEADER;
	size_t options = question->has_options ? OPT_BYTES : 0;
	unsigned asked = load16(question->packet + 2), put = 0;
	unsigned flags = FLAG_RESPONSE | FLAG_RECURSION | (asked & (OPCODE | FLAG_RECURSION_WANTED)) | (unsigned)error;
	if (room < size + options)
		return 0;
	memcpy(out, question->packet, size);
	while (put < count) {
		size_t more = put_record(out + size, room - options - size, &records[(first + put) % count]);
		if (more == 0)
			break;
		size += more;
		put++;
	}
	if (put < count)
		flags |= FLAG_TRUNCATED;
	if (count)
		flags |= FLAG_AUTHORITATIVE;
	store16(out + 2, flags);
	uint8_t *counts = store16(out + 4, question->end ? 1 : 0);
	store16(store16(store16(counts, put), 0), options ? 1 : 0);
	if (options) {
		uint8_t *at = out + size;
		*at++ = 0;
		at = store16(store16(at, TYPE_OPT), DNS_MOST);
		store16(store16(store16(at, 0), 0), 0);
	}
	return size + options;
}

int answers(const struct question *question, const uint8_t *packet, size_t size)
{
	if (size < question->end || !(load16(packet + 2) & FLAG_RESPONSE) || load16(packet + 4) != 1)
		return 0;
	for (size_t i = DNS_HEADER; i < question->end; i++)
		if (lower((char)packet[i]) != lower((char)question->packet[i]))
			return 0;
	return 1;
}

/* The labels from the last to the first: what stands before `suffix`. */
static size_t reverse_parts(const char *name, const char *suffix, size_t parts, unsigned base, uint8_t *out)
{
	size_t length = strlen(name), tail = strlen(suffix), have = 0;
	if (length <= tail || strcmp(name + length - tail, suffix) != 0)
		return 0;
	const char *at = name, *end = name + length - tail;
	while (at < end) {
		unsigned value = 0, digits = 0;
		for (; at < end && *at != '.'; at++, digits++) {
			unsigned digit = *at >= '0' && *at <= '9'   ? (unsigned)(*at - '0')
					 : *at >= 'a' && *at <= 'f' ? (unsigned)(*at - 'a') + 10
								    : base;
			if (digit >= base || (value = value * base + digit) > 255)
				return 0;
		}
		if (digits == 0 || (base == 16 && digits > 1) || have == parts)
			return 0;
		out[parts - 1 - have++] = (uint8_t)value;
		at += at < end;
	}
	return have == parts ? parts : 0;
}

size_t reverse_address(const char *name, uint8_t *address)
{
	uint8_t nibbles[32];
	if (reverse_parts(name, ".in-addr.arpa", 4, 10, address))
		return 4;
	if (!reverse_parts(name, ".ip6.arpa", 32, 16, nibbles))
		return 0;
	for (size_t i = 0; i < 16; i++)
		address[i] = (uint8_t)(nibbles[2 * i] << 4 | nibbles[2 * i + 1]);
	return 16;
}
