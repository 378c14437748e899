/* Who is called what: looked for in the texts of the members, which are few and short. */
#include "server.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "names.h"

struct member *members;

int set_text(struct member *member, int file)
{
	struct stat info;
	if (fstat(file, &info) < 0 || info.st_size <= 0 || info.st_size > NAMES_MAX_BYTES)
		return -1;
	size_t size = (size_t)info.st_size;
	char *text = malloc(size + 1);
	if (!text)
		return -1;
	if (pread(file, text, size, 0) != (ssize_t)size) {
		free(text);
		return -1;
	}
	text[size] = '\n';
	for (size_t i = 0; i <= size; i++)
		if (text[i] == '\n')
			text[i] = 0;
	free(member->text);
	member->text = text;
	member->size = size;
	return 0;
}

/* The line behind this one, or the first; NULL: there is none. */
static const char *next_line(const struct member *member, const char *line)
{
	const char *next = line ? line + strlen(line) + 1 : member->text;
	return next && next < member->text + member->size ? next : NULL;
}

static const char *next_network(const struct member *member, const char *line)
{
	while ((line = next_line(member, line)) && line[0] != 'n')
		;
	return line;
}

/* Of what belongs to a network. */
static const char *next_of(const struct member *member, const char *line, char letter)
{
	while ((line = next_line(member, line)) && line[0] != 'n')
		if (line[0] == letter && line[1] == ' ')
			return line + 2;
	return NULL;
}

/* What stands before the name. */
static size_t id_size(const char *network)
{
	return 2 + strcspn(network + 2, " ");
}

/* The same network of another member. */
static const char *same_network(const struct member *member, const char *network)
{
	size_t size = id_size(network);
	const char *line = NULL;
	while ((line = next_network(member, line)))
		if (id_size(line) == size && memcmp(line, network, size) == 0)
			return line;
	return NULL;
}

/* A name of it, or that with the network's own behind it. */
static int is_name(const struct member *member, const char *network, const char *name)
{
	const char *domain = network + id_size(network);
	domain += *domain == ' ';
	for (const char *at = network; (at = next_of(member, at, 'h'));) {
		size_t size = strlen(at);
		if (strncmp(name, at, size) != 0)
			continue;
		if (name[size] == 0 || (name[size] == '.' && *domain && strcmp(name + size + 1, domain) == 0))
			return 1;
	}
	return 0;
}

/* `ADDRESS/N`: size of the address, 0 where it is none. */
static size_t read_address(const char *text, uint8_t *address, unsigned *prefix)
{
	char part[INET6_ADDRSTRLEN];
	size_t size = strcspn(text, "/");
	if (size >= sizeof part)
		return 0;
	memcpy(part, text, size);
	part[size] = 0;
	*prefix = text[size] ? (unsigned)strtoul(text + size + 1, NULL, 10) : 128;
	if (inet_pton(AF_INET, part, address) == 1)
		return 4;
	return inet_pton(AF_INET6, part, address) == 1 ? 16 : 0;
}

static unsigned add_addresses(const struct member *member, const char *network, uint16_t type, struct record *records,
			      unsigned count)
{
	unsigned prefix;
	for (const char *at = network; count < MAX_RECORDS && (at = next_of(member, at, 'a'));) {
		struct record *record = &records[count];
		*record = (struct record){.name = NULL};
		record->size = (uint8_t)read_address(at, record->address, &prefix);
		record->type = record->size == 4 ? TYPE_A : TYPE_AAAA;
		count += record->size && (type == record->type || type == TYPE_ANY);
	}
	return count;
}

/* Of the first network of the asker's in which somebody is called so; -1: nobody is. */
static int find_name(const struct member *asker, const struct question *question, struct record *records)
{
	const char *network = NULL;
	while ((network = next_network(asker, network))) {
		unsigned count = 0;
		int known = 0;
		for (const struct member *member = members; member; member = member->next) {
			const char *same = same_network(member, network);
			if (!same || !is_name(member, same, question->name))
				continue;
			known = 1;
			count = add_addresses(member, same, question->type, records, count);
		}
		if (known)
			return (int)count;
	}
	return -1;
}

static int share_prefix(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	unsigned whole = bits / 8, rest = bits % 8;
	if (memcmp(a, b, whole) != 0)
		return 0;
	return rest == 0 || (a[whole] ^ b[whole]) >> (8 - rest) == 0;
}

/* Who has an address, by name; NULL: nobody. `inside`: it is of a network that the asker has. */
static const char *find_address(const struct member *asker, const uint8_t *address, size_t size, int *inside)
{
	uint8_t other[16];
	unsigned prefix;
	const char *network = NULL;
	*inside = 0;
	while ((network = next_network(asker, network))) {
		for (const char *at = network; (at = next_of(asker, at, 'a'));)
			if (read_address(at, other, &prefix) == size && prefix <= 8 * size && share_prefix(other, address, prefix))
				*inside = 1;
		for (const struct member *member = members; member; member = member->next) {
			const char *same = same_network(member, network);
			for (const char *at = same; at && (at = next_of(member, at, 'a'));)
				if (read_address(at, other, &prefix) == size && memcmp(other, address, size) == 0)
					return next_of(member, same, 'h');
		}
	}
	return NULL;
}

size_t answer_own(const struct member *member, const struct question *question, uint8_t *out, size_t room)
{
	static struct record records[MAX_RECORDS];
	static unsigned turn;
	uint8_t address[16];
	int inside = 0;
	if (!question->is_text || question->class != 1)
		return 0;
	int count = find_name(member, question, records);
	/* Where several have a name, each is the first in turn. */
	if (count >= 0)
		return answer_make(out, room, question, NOERROR, records, (unsigned)count, count > 1 ? turn++ % (unsigned)count : 0);
	size_t size = question->type == TYPE_PTR ? reverse_address(question->name, address) : 0;
	if (size == 0)
		return 0;
	const char *name = find_address(member, address, size, &inside);
	if (!name && !inside)
		return 0;
	records[0] = (struct record){.type = TYPE_PTR, .name = name};
	return answer_make(out, room, question, name ? NOERROR : NXDOMAIN, records, name != NULL, 0);
}
