/* Finds and reads the file of a prepared start. Nothing in it is trusted before its bounds are checked. */
#define _GNU_SOURCE
#include "prepared.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Root's alone: nobody else may have written to it. */
static int is_ours(int fd, mode_t type)
{
	struct stat info;
	if (fd < 0 || fstat(fd, &info) < 0 || (info.st_mode & S_IFMT) != type || info.st_uid != 0 || info.st_mode & 077)
		return 0;
	return type != S_IFREG || (info.st_nlink == 1 && info.st_size >= (off_t)sizeof(struct prepared_header) &&
				   info.st_size <= (off_t)PREPARED_MAX_BYTES);
}

/* A whole file into memory of ours: what is checked cannot be another's a moment later. */
static uint8_t *read_whole(int fd, size_t *size)
{
	struct stat info;
	if (fstat(fd, &info) < 0)
		return NULL;
	uint8_t *bytes = malloc((size_t)info.st_size);
	size_t have = 0;
	while (bytes && have < (size_t)info.st_size) {
		ssize_t got = read(fd, bytes + have, (size_t)info.st_size - have);
		if (got <= 0)
			break;
		have += (size_t)got;
	}
	*size = (size_t)info.st_size;
	return have == *size ? bytes : NULL;
}

/* Texts end with a NUL each. */
static int is_list(const struct prepared *prepared, enum section section)
{
	size_t size = size_of(prepared, section);
	const char *texts = section_of(prepared, section);
	return size > 0 && texts[size - 1] == 0;
}

size_t texts_in(const struct prepared *prepared, enum section section)
{
	const char *texts = section_of(prepared, section);
	size_t count = 0;
	for (size_t i = 0; i < size_of(prepared, section); i++)
		count += texts[i] == 0;
	return count;
}

const char *text_at(const struct prepared *prepared, enum section section, size_t index)
{
	const char *text = section_of(prepared, section), *end = text + size_of(prepared, section);
	for (; text < end; text += strlen(text) + 1)
		if (index-- == 0)
			return text;
	return NULL;
}

static int is_sound(struct prepared *prepared, const uint8_t *bytes, size_t size)
{
	const struct prepared_header *header = (const void *)bytes;
	prepared->bytes = bytes;
	prepared->header = header;
	if (header->magic != PREPARED_MAGIC || header->version != PREPARED_VERSION || header->size != size)
		return 0;
	for (int i = 0; i < SECTIONS; i++) {
		uint32_t offset = header->section[i].offset;
		if (offset % 8 || offset < sizeof *header || offset > size || header->section[i].size > size - offset)
			return 0;
	}
	static const enum section lists[] = {SECTION_KEY, SECTION_FIRST_WORDS, SECTION_SECOND_WORDS, SECTION_PLACES};
	for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
		if (!is_list(prepared, lists[i]))
			return 0;
	if (size_of(prepared, SECTION_NUMBERS) != sizeof prepared->number)
		return 0;
	memcpy(prepared->number, section_of(prepared, SECTION_NUMBERS), sizeof prepared->number);
	for (size_t i = 0; i < PLACES; i++)
		if (!(prepared->place[i] = text_at(prepared, SECTION_PLACES, i)))
			return 0;
	return prepared->number[NUMBER_NAME_LENGTH] <= MAX_NAME && prepared->number[NUMBER_RANGES] > 0 &&
	       prepared->number[NUMBER_RANGES] <= UINT32_MAX && prepared->number[NUMBER_FIRST_ID] <= UINT32_MAX &&
	       prepared->number[NUMBER_RANGE_SIZE] <= UINT32_MAX && prepared->number[NUMBER_LOW4] <= UINT32_MAX &&
	       prepared->number[NUMBER_COUNT4] <= MAX_ADDRESSES && prepared->number[NUMBER_COUNT6] <= MAX_ADDRESSES;
}

struct key {
	char *text;
	size_t size;
};

static void append(struct key *key, const char *text)
{
	size_t length = strlen(text) + 1;
	memcpy(key->text + key->size, text, length);
	key->size += length;
}

static int make_key(struct key *key, const char *package, const char *directory, int argc, char **argv)
{
	size_t room = strlen(package) + strlen(directory) + 2;
	for (int i = 1; i < argc; i++)
		room += strlen(argv[i]) + 1;
	if (room > PREPARED_MAX_BYTES / 4 || !(key->text = malloc(room)))
		return -1;
	key->size = 0;
	append(key, package);
	append(key, directory);
	for (int i = 1; i < argc; i++)
		append(key, argv[i]);
	return 0;
}

/* FNV-1a, twice: only a name for the file; the key itself lies in it. */
static uint32_t hash(const struct key *key, uint32_t value)
{
	for (size_t i = 0; i < key->size; i++)
		value = (value ^ (uint8_t)key->text[i]) * 16777619u;
	return value;
}

static void name_of(const struct key *key, char name[17])
{
	uint64_t value = (uint64_t)hash(key, 0x811c9dc5u) << 32 | hash(key, 0x9747b28cu);
	for (int i = 15; i >= 0; i--, value >>= 4)
		name[i] = "0123456789abcdef"[value & 15];
	name[16] = 0;
}

static int load(struct prepared *prepared, int directory, const struct key *key)
{
	char name[17];
	name_of(key, name);
	int fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -1;
	size_t size = 0;
	uint8_t *bytes = is_ours(fd, S_IFREG) ? read_whole(fd, &size) : NULL;
	close(fd);
	if (!bytes || !is_sound(prepared, bytes, size))
		return -1;
	return size_of(prepared, SECTION_KEY) == key->size &&
			       memcmp(section_of(prepared, SECTION_KEY), key->text, key->size) == 0
		       ? 0
		       : -1;
}

int find_prepared(struct prepared *prepared, const char *package, const char *store, int argc, char **argv)
{
	static char here[PATH_MAX], path[PATH_MAX + sizeof "/prepared"];
	struct key key;
	size_t length = strlen(store);
	if (length >= PATH_MAX || !getcwd(here, sizeof here) || here[0] != '/')
		return -1;
	memcpy(path, store, length);
	strcpy(path + length, "/prepared");
	int directory = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (directory < 0)
		return -1;
	int found = -1;
	if (is_ours(directory, S_IFDIR) && make_key(&key, package, here, argc, argv) == 0)
		found = load(prepared, directory, &key);
	close(directory);
	return found;
}

static uint64_t width_of(uint64_t value)
{
	uint64_t width = 1;
	while (value >= 10) {
		value /= 10;
		width++;
	}
	return width;
}

static void put_decimal(uint8_t *at, uint64_t value, uint64_t width)
{
	for (uint64_t i = width; i > 0; i--, value /= 10)
		at[i - 1] = (uint8_t)('0' + value % 10);
}

/* The bytes that a mark stands for; 0 for one that cannot be. */
static uint64_t size_of_mark(const struct mark *mark, const struct identity *identity)
{
	switch (mark->kind) {
	case MARK_ID:
		return mark->number <= ID_DIGITS ? mark->number : 0;
	case MARK_NAME:
		return strlen(identity->name);
	case MARK_DECIMAL:
		return width_of(identity->first_id + mark->number);
	case MARK_WORD:
		return 8;
	case MARK_HALF:
		return 4;
	case MARK_NOW:
		return 13;
	case MARK_PAIRS:
		return MAC_DIGITS / 2 * 3 - 1;
	case MARK_OCTETS:
		return MAC_DIGITS / 2;
	case MARK_IP4:
		return strlen(identity->ip4.text) == mark->number ? mark->number : 0;
	case MARK_OCTETS4:
		return 4;
	case MARK_IP6:
		return strlen(identity->ip6.text) == mark->number ? mark->number : 0;
	case MARK_OCTETS6:
		return 16;
	default:
		return 0;
	}
}

static uint8_t digit_of(char digit)
{
	return (uint8_t)(digit <= '9' ? digit - '0' : digit - 'a' + 10);
}

static void put_mac(uint8_t *at, const struct mark *mark, const char *digits)
{
	for (size_t i = 0; i < MAC_DIGITS; i += 2) {
		if (mark->kind == MARK_OCTETS) {
			*at++ = (uint8_t)(digit_of(digits[i]) << 4 | digit_of(digits[i + 1]));
			continue;
		}
		*at++ = (uint8_t)digits[i];
		*at++ = (uint8_t)digits[i + 1];
		if (i + 2 < MAC_DIGITS)
			*at++ = ':';
	}
}

static void put_mark(uint8_t *at, const struct mark *mark, const struct identity *identity, uint64_t size)
{
	uint64_t value = identity->first_id + mark->number;
	switch (mark->kind) {
	case MARK_ID:
		memcpy(at, identity->id, size);
		break;
	case MARK_NAME:
		memcpy(at, identity->name, size);
		break;
	case MARK_DECIMAL:
		put_decimal(at, value, size);
		break;
	case MARK_NOW:
		put_decimal(at, identity->now_ms, size);
		break;
	case MARK_PAIRS:
	case MARK_OCTETS:
		put_mac(at, mark, identity->id + MAC_AT);
		break;
	case MARK_IP4:
		memcpy(at, identity->ip4.text, size);
		break;
	case MARK_OCTETS4:
		memcpy(at, identity->ip4.octets, size);
		break;
	case MARK_IP6:
		memcpy(at, identity->ip6.text, size);
		break;
	case MARK_OCTETS6:
		memcpy(at, identity->ip6.octets, size);
		break;
	default: /* little endian, as both processors are */
		memcpy(at, &value, size);
	}
}

uint8_t *fill_in(const struct prepared *prepared, enum section section, const struct identity *identity)
{
	size_t size = size_of(prepared, section), count = size_of(prepared, section + 1) / sizeof(struct mark);
	const struct mark *marks = section_of(prepared, section + 1);
	uint8_t *copy = malloc(size);
	if (!copy)
		return NULL;
	memcpy(copy, section_of(prepared, section), size);
	for (size_t i = 0; i < count; i++) {
		uint64_t length = size_of_mark(&marks[i], identity);
		if (length == 0 || marks[i].number > UINT32_MAX || marks[i].offset > size || length > size - marks[i].offset) {
			free(copy);
			return NULL;
		}
		put_mark(copy + marks[i].offset, &marks[i], identity, length);
	}
	return copy;
}
