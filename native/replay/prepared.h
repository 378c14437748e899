/*
 * A prepared start: what `tscrun run` left when it was asked the same before, so that it can be done again without Node
 * (docs/decisions/0022). src/engine/prepared/file.ts writes the file; test/unit/prepared-contract.test.ts reads both.
 *
 * Everything is little endian. The file begins with the header; each section lies on a border of 8 bytes.
 */
#ifndef TSCRUN_PREPARED_H
#define TSCRUN_PREPARED_H

#include <stddef.h>
#include <stdint.h>

#define PREPARED_MAGIC 0x31505354u /* "TSP1" */
#define PREPARED_VERSION 2u
#define PREPARED_MAX_BYTES (1u << 20)

enum section {
	SECTION_KEY,	      /* texts: the package's directory, the caller's, the arguments */
	SECTION_WITNESSES,    /* struct witness, each with its texts */
	SECTION_PLAN,	      /* what the stage reads, with the values of another container */
	SECTION_PLAN_MARKS,   /* struct mark: where those values stand in it */
	SECTION_RECORD,	      /* container.json, likewise */
	SECTION_RECORD_MARKS,
	SECTION_FIRST_WORDS,  /* texts: names are made of these */
	SECTION_SECOND_WORDS,
	SECTION_PLACES,	      /* texts, in the order of enum place */
	SECTION_NUMBERS,      /* 64-bit, in the order of enum number */
	SECTION_SAYINGS,      /* struct saying, each with its text */
	SECTIONS
};

enum place {
	PLACE_CONTAINERS,
	PLACE_NAMES,
	PLACE_RANGES,
	PLACE_RUNS,
	PLACE_USE_LOCK, /* empty without an image */
	PLACE_CGROUPS,	/* empty without a cgroup */
	PLACE_LEASES,	/* of its network; empty without one */
	PLACES
};

enum number {
	NUMBER_NAME_LENGTH,
	NUMBER_FIRST_ID,   /* of the pool */
	NUMBER_RANGES,	   /* how many there are in it */
	NUMBER_RANGE_SIZE,
	NUMBER_TERMINAL, /* 1: standard input is one that the monitor makes raw */
	NUMBER_LOW4,	 /* the subnet's first address */
	NUMBER_COUNT4,	 /* how many behind it may be given out; 0: it has none of this family */
	NUMBER_GATEWAY4, /* which of them may not */
	NUMBER_WIDTH4,	 /* letters that the address must have */
	NUMBER_HIGH6,	 /* the same of IPv6, whose first half comes first */
	NUMBER_LOW6,
	NUMBER_COUNT6,
	NUMBER_GATEWAY6,
	NUMBER_WIDTH6,
	NUMBERS
};

struct prepared_header {
	uint32_t magic;
	uint32_t version;
	uint32_t size; /* of the whole file */
	uint32_t pad;
	struct {
		uint32_t offset, size;
	} section[SECTIONS];
};

/* One thing the preparation has seen, to be found the same. */
struct witness {
	uint32_t kind;
	uint32_t size;	 /* with this header and the texts, a multiple of 8 */
	uint32_t number; /* what the kind makes of it */
	uint32_t error;	 /* errno; 0: what was seen follows the texts */
	uint32_t path;	 /* length of the first text; a NUL follows it */
	uint32_t extra;	 /* length of the second text; a NUL follows it */
	uint32_t seen;	 /* bytes behind the two */
	uint32_t pad;
};

enum {
	WITNESS_FILE = 1, /* what statx(2) tells but for the times it was read and made */
	WITNESS_PLACE,	  /* a directory: which one it is, its mode, the mount, the filesystem's number */
	WITNESS_TEXT,	  /* the content of a small file, such as those of /proc */
	WITNESS_LINES,	  /* the lines of a file that have the extra text in them */
	WITNESS_WORDS,	  /* so many words of each line of a file */
	WITNESS_LINK,	  /* where a link leads */
	WITNESS_ACCESS,	  /* whether it may be accessed so */
	WITNESS_INSIDE,	  /* as FILE, of the extra path below a root that links do not leave */
	WITNESS_LIMIT,	  /* a hard limit of this process */
	WITNESS_VARIABLE, /* of the environment */
	WITNESS_TERMINAL, /* whether a descriptor is one, its rows and columns */
};

struct mark {
	uint32_t offset;
	uint32_t kind;
	uint64_t number;
};

enum {
	MARK_ID = 1,  /* so many digits of the id */
	MARK_NAME,
	MARK_DECIMAL, /* first host id plus the number, in digits */
	MARK_WORD,    /* the same as a 64-bit number */
	MARK_HALF,    /* the same as a 32-bit number */
	MARK_NOW,     /* milliseconds since 1970, in 13 digits */
	MARK_PAIRS,   /* eight digits of the id, those of MAC addresses, with colons between the pairs */
	MARK_OCTETS,  /* the same as four bytes */
	MARK_IP4,     /* the IPv4 address in so many letters */
	MARK_OCTETS4, /* the same in bytes */
	MARK_IP6,
	MARK_OCTETS6,
};

/* What is told where the replay itself cannot go back: the container has run. */
struct saying {
	uint32_t what; /* SAYING_DIED, or the errno of a stream; | SAYING_ERROR_STREAM */
	uint32_t code; /* exit code */
	uint32_t size; /* of the text that follows, padded to 8 */
	uint32_t pad;
};
#define SAYING_DIED 0xffffffffu
#define SAYING_ERROR_STREAM 0x10000u

/* The file in memory; everything in it has been checked to lie within. */
struct prepared {
	const uint8_t *bytes;
	const struct prepared_header *header;
	const char *place[PLACES];
	uint64_t number[NUMBERS];
};

static inline const void *section_of(const struct prepared *prepared, enum section section)
{
	return prepared->bytes + prepared->header->section[section].offset;
}

static inline size_t size_of(const struct prepared *prepared, enum section section)
{
	return prepared->header->section[section].size;
}

#define ID_DIGITS 64
#define TAG_DIGITS 32 /* of the id, in the links that say whose a name or a range is */
#define MAX_NAME 64
#define MAX_ADDRESS 45
/* Of the digits that MAC addresses are made of, macOf in src/engine/networks/host.ts. */
#define MAC_DIGITS 8
#define MAC_AT 24
/* Where the search for an address begins, candidates in src/engine/networks/leases.ts. */
#define ADDRESS_AT 16
#define MAX_ADDRESSES (1u << 20)

/* What makes one container differ from another one of the same request. */
struct identity {
	char id[ID_DIGITS + 1];
	char name[MAX_NAME + 1];
	uint64_t first_id;
	uint64_t now_ms;
	struct address {
		char text[MAX_ADDRESS + 1]; /* empty: it has none */
		uint8_t octets[16];
	} ip4, ip6;
};

/* Finds what was prepared for these arguments. 0, or -1: there is nothing that may be used. */
int find_prepared(struct prepared *prepared, const char *package, const char *store, int argc, char **argv);
/* Whether everything the preparation saw is still the same. */
int is_current(const struct prepared *prepared);
/* Writes an identity into a copy of a section; answers the copy, or NULL. */
uint8_t *fill_in(const struct prepared *prepared, enum section section, const struct identity *identity);
/* A text list's entry; NULL past its end. */
const char *text_at(const struct prepared *prepared, enum section section, size_t index);
size_t texts_in(const struct prepared *prepared, enum section section);

#endif
