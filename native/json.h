/* Any bytes as JSON. */
#ifndef TSCRUN_JSON_H
#define TSCRUN_JSON_H

#include <stddef.h>

/* How much room a byte may need. */
#define JSON_MOST 6

/* The inside of a JSON string; answers where the text goes on. */
char *put_json(char *at, const char *bytes, size_t size);

#endif
