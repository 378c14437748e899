#define _GNU_SOURCE
#include "claim.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../remove.h"
#include "../text.h"

#define RECORD "container.json"
/* A run directory that has no container is between its two removals, unless that takes too long. */
#define REMOVAL_SECONDS 2
/* STRIDE of src/engine/networks/leases.ts. */
#define STRIDE 2654435761u

static int open_directory(const char *path)
{
	return open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/* As waitForLock of src/images/lock.ts, without the waiting. The file may have been deleted by who held it before. */
static int hold_image(const char *path)
{
	struct stat held, named;
	int fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -1;
	if (flock(fd, LOCK_SH | LOCK_NB) == 0 && fstat(fd, &held) == 0 && stat(path, &named) == 0 &&
	    held.st_ino == named.st_ino)
		return fd;
	close(fd);
	return -1;
}

int open_places(struct claim *claim, const struct prepared *prepared)
{
	*claim = (struct claim){.lock = -1, .run = -1, .use_lock = -1, .leases = -1};
	claim->containers = open_directory(prepared->place[PLACE_CONTAINERS]);
	claim->names = open_directory(prepared->place[PLACE_NAMES]);
	claim->ranges = open_directory(prepared->place[PLACE_RANGES]);
	claim->runs = open(prepared->place[PLACE_RUNS], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (prepared->place[PLACE_USE_LOCK][0])
		claim->use_lock = hold_image(prepared->place[PLACE_USE_LOCK]);
	if (prepared->place[PLACE_LEASES][0] && (claim->leases = open_directory(prepared->place[PLACE_LEASES])) < 0)
		return -1;
	int held = claim->use_lock >= 0 || !prepared->place[PLACE_USE_LOCK][0];
	return held && claim->containers >= 0 && claim->names >= 0 && claim->ranges >= 0 && claim->runs >= 0 ? 0 : -1;
}

static int is_id(const char *name)
{
	return strlen(name) == ID_DIGITS && strspn(name, "0123456789abcdef") == ID_DIGITS;
}

/* Its lock is held: somebody is alive for it. */
static int is_attended(const struct claim *claim, const char *id)
{
	int fd = openat(claim->containers, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0) {
		int attended = flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
		close(fd);
		return attended;
	}
	struct stat info;
	if (errno != ENOENT || fstatat(claim->runs, id, &info, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT;
	return time(NULL) - info.st_mtime < REMOVAL_SECONDS;
}

int is_swept(const struct claim *claim)
{
	int fd = openat(claim->runs, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir)
		return 0;
	int swept = 1;
	for (struct dirent *entry; swept && (entry = readdir(dir));)
		swept = !is_id(entry->d_name) || is_attended(claim, entry->d_name);
	closedir(dir);
	return swept;
}

static unsigned value_of(const char *digits, size_t count)
{
	unsigned value = 0;
	for (size_t i = 0; i < count; i++)
		value = value << 4 | (unsigned)(digits[i] <= '9' ? digits[i] - '0' : digits[i] - 'a' + 10);
	return value;
}

/* As defaultName of src/engine/start/name.ts. 0 where it would not fit. */
static size_t make_name(char *name, const struct prepared *prepared, const char *id)
{
	size_t firsts = texts_in(prepared, SECTION_FIRST_WORDS), seconds = texts_in(prepared, SECTION_SECOND_WORDS);
	const char *first = text_at(prepared, SECTION_FIRST_WORDS, value_of(id, 4) % firsts);
	const char *second = text_at(prepared, SECTION_SECOND_WORDS, value_of(id + 4, 4) % seconds);
	if (strlen(first) + strlen(second) + 6 > MAX_NAME)
		return 0;
	char *at = put(put(put(put(name, first), "_"), second), "_");
	memcpy(at, id + 8, 4);
	at[4] = 0;
	return strlen(name);
}

/* The places of the name in the plan have room for so many letters: an id is drawn until its name has them. */
static int make_identity(struct identity *identity, const struct prepared *prepared)
{
	for (int tries = 0; tries < 1000; tries++) {
		uint8_t random[ID_DIGITS / 2];
		if (getrandom(random, sizeof random, 0) != sizeof random)
			return -1;
		for (size_t i = 0; i < sizeof random; i++) {
			identity->id[2 * i] = "0123456789abcdef"[random[i] >> 4];
			identity->id[2 * i + 1] = "0123456789abcdef"[random[i] & 15];
		}
		identity->id[ID_DIGITS] = 0;
		if (make_name(identity->name, prepared, identity->id) == prepared->number[NUMBER_NAME_LENGTH])
			return 0;
	}
	return -1;
}

static int make_link(int directory, const char *name, const char *id)
{
	char tag[TAG_DIGITS + 1];
	memcpy(tag, id, TAG_DIGITS);
	tag[TAG_DIGITS] = 0;
	return symlinkat(tag, directory, name);
}

/* As takeRange of src/engine/ids/id-range.ts. */
static int take_range(struct claim *claim, const struct prepared *prepared)
{
	uint64_t count = prepared->number[NUMBER_RANGES], begin = value_of(claim->identity.id, 8) % count;
	for (uint64_t offset = 0; offset < count; offset++) {
		uint64_t index = (begin + offset) % count;
		claim->identity.first_id = prepared->number[NUMBER_FIRST_ID] + index * prepared->number[NUMBER_RANGE_SIZE];
		*put_number(claim->range, claim->identity.first_id) = 0;
		if (make_link(claim->ranges, claim->range, claim->identity.id) == 0) {
			claim->has_range = 1;
			return 0;
		}
		if (errno != EEXIST)
			return -1;
	}
	return -1;
}

static void format_address(struct address *address, int family, uint64_t high, uint64_t low)
{
	uint8_t *at = address->octets;
	for (int shift = 56; family == AF_INET6 && shift >= 0; shift -= 8)
		*at++ = (uint8_t)(high >> shift);
	for (int shift = family == AF_INET6 ? 56 : 24; shift >= 0; shift -= 8)
		*at++ = (uint8_t)(low >> shift);
	if (!inet_ntop(family, address->octets, address->text, sizeof address->text))
		address->text[0] = 0;
}

/*
 * As takeAddress of src/engine/networks/leases.ts, of those with as many letters as the template has room for. `numbers`
 * begins with the low half of the first address.
 */
static int take_address(const struct claim *claim, struct address *address, int family, uint64_t high, const uint64_t *numbers)
{
	uint64_t low = numbers[0], count = numbers[1], gateway = numbers[2], width = numbers[3];
	uint64_t begin = value_of(claim->identity.id + ADDRESS_AT, 8);
	for (uint64_t step = 0; step < count; step++) {
		uint64_t offset = 1 + (begin + step * STRIDE) % count;
		if (offset == gateway)
			continue;
		format_address(address, family, high, low + offset);
		if (strlen(address->text) != width)
			continue;
		if (make_link(claim->leases, address->text, claim->identity.id) == 0)
			return 0;
		if (errno != EEXIST)
			return -1;
	}
	return -1;
}

static int take_addresses(struct claim *claim, const struct prepared *prepared)
{
	const uint64_t *number = prepared->number;
	struct identity *identity = &claim->identity;
	if (number[NUMBER_COUNT4]) {
		if (take_address(claim, &identity->ip4, AF_INET, 0, number + NUMBER_LOW4) < 0)
			return -1;
		claim->has_ip4 = 1;
	}
	if (number[NUMBER_COUNT6]) {
		if (take_address(claim, &identity->ip6, AF_INET6, number[NUMBER_HIGH6], number + NUMBER_LOW6) < 0)
			return -1;
		claim->has_ip6 = 1;
	}
	return 0;
}

/* A sweep may find the directory between its making and its locking, and take it for a leftover. */
static int make_and_lock(struct claim *claim)
{
	struct stat info;
	const char *id = claim->identity.id;
	if (mkdirat(claim->containers, id, 0700) < 0)
		return -1;
	claim->lock = openat(claim->containers, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (claim->lock >= 0 && flock(claim->lock, LOCK_EX | LOCK_NB) == 0 && fstat(claim->lock, &info) == 0 && info.st_nlink > 0)
		return 0;
	unlinkat(claim->containers, id, AT_REMOVEDIR);
	return -1;
}

int claim_container(struct claim *claim, const struct prepared *prepared)
{
	struct timespec now;
	if (make_identity(&claim->identity, prepared) < 0 || make_and_lock(claim) < 0)
		return -1;
	const char *id = claim->identity.id;
	if (make_link(claim->names, claim->identity.name, id) < 0)
		return -1;
	claim->has_name = 1;
	if (mkdirat(claim->runs, id, 0700) < 0)
		return -1;
	claim->has_run = 1;
	claim->run = openat(claim->runs, id, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (claim->run < 0 || take_range(claim, prepared) < 0)
		return -1;
	if (claim->leases >= 0 && take_addresses(claim, prepared) < 0)
		return -1;
	clock_gettime(CLOCK_REALTIME, &now);
	claim->identity.now_ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
	return 0;
}

int write_run_file(const struct claim *claim, const char *name, const void *bytes, size_t size)
{
	int fd = openat(claim->run, "new", O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -1;
	size_t done = 0;
	while (done < size) {
		ssize_t put = write(fd, (const char *)bytes + done, size - done);
		if (put <= 0)
			break;
		done += (size_t)put;
	}
	close(fd);
	if (done == size && renameat(claim->run, "new", claim->run, name) == 0)
		return 0;
	unlinkat(claim->run, "new", 0);
	return -1;
}

void release_image(struct claim *claim)
{
	if (claim->use_lock >= 0)
		close(claim->use_lock);
	claim->use_lock = -1;
}

/* Gives a link back if it still is this container's; answers whether it was. */
static int remove_link(int directory, const char *name, const char *id)
{
	char tag[TAG_DIGITS + 1];
	if (readlinkat(directory, name, tag, sizeof tag) != TAG_DIGITS || memcmp(tag, id, TAG_DIGITS))
		return 0;
	return unlinkat(directory, name, 0) == 0;
}

/* Somebody may have given it another name meanwhile. */
static void remove_name(int names, const char *name, const char *id)
{
	if (remove_link(names, name, id))
		return;
	int fd = openat(names, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	for (struct dirent *entry; dir && (entry = readdir(dir));)
		(void)remove_link(dirfd(dir), entry->d_name, id);
	if (dir)
		closedir(dir);
}

/* A range that others share by now is a directory with a name for each (src/engine/ids/shared-range.ts): the last one takes it. */
static void remove_range(int ranges, const char *range, const char *id)
{
	char path[sizeof ((struct claim *)0)->range + 1 + TAG_DIGITS + 1];
	(void)remove_link(ranges, range, id);
	char *at = put(put(path, range), "/");
	memcpy(at, id, TAG_DIGITS);
	at[TAG_DIGITS] = 0;
	if (unlinkat(ranges, path, 0) == 0)
		unlinkat(ranges, range, AT_REMOVEDIR);
}

/* What a container usually leaves goes by its names, which is ten times as fast as looking for it. */
static void remove_directory(int parent, const char *id, const char *const *usual)
{
	char path[ID_DIGITS + 64];
	if (unlinkat(parent, id, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return;
	for (; *usual; usual++) {
		*put(put(put(path, id), "/"), *usual) = 0;
		unlinkat(parent, path, strstr(*usual, ".json") ? 0 : AT_REMOVEDIR);
	}
	if (unlinkat(parent, id, AT_REMOVEDIR) < 0 && errno != ENOENT)
		remove_tree(parent, id);
}

void take_back_files(struct claim *claim)
{
	static const char *const in_store[] = {"work/incompat/volatile", "work/incompat", "work/work", "work", "upper",
					       "lower", "scratch", NULL};
	const char *id = claim->identity.id;
	if (claim->has_name)
		remove_name(claim->names, claim->identity.name, id);
	if (claim->has_range)
		remove_range(claim->ranges, claim->range, id);
	if (claim->has_ip4)
		(void)remove_link(claim->leases, claim->identity.ip4.text, id);
	if (claim->has_ip6)
		(void)remove_link(claim->leases, claim->identity.ip6.text, id);
	if (claim->lock >= 0)
		remove_directory(claim->containers, id, in_store);
	claim->has_name = claim->has_range = claim->has_ip4 = claim->has_ip6 = 0;
	if (claim->lock >= 0)
		close(claim->lock);
	claim->lock = -1;
}

void take_back(struct claim *claim)
{
	static const char *const in_run[] = {"state.json", RECORD, NULL};
	take_back_files(claim);
	if (claim->has_run)
		remove_directory(claim->runs, claim->identity.id, in_run);
	claim->has_run = 0;
	if (claim->run >= 0)
		close(claim->run);
	claim->run = -1;
}

void close_places(struct claim *claim)
{
	int *fds[] = {&claim->containers, &claim->names, &claim->ranges, &claim->runs, &claim->leases};
	release_image(claim);
	for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) {
		if (*fds[i] >= 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
}
