/* Any bytes as JSON. */
#include "json.h"

#include <string.h>

#include "text.h"

/* Length of the UTF-8 sequence at the beginning of the bytes, 0 if there is none (RFC 3629). */
static size_t utf8_length(const unsigned char *at, size_t left)
{
	size_t length = at[0] < 0x80 ? 1 : at[0] >= 0xc2 && at[0] < 0xe0 ? 2 : at[0] >= 0xe0 && at[0] < 0xf0 ? 3
			: at[0] >= 0xf0 && at[0] < 0xf5					 ? 4
											 : 0;
	if (length == 0 || length > left)
		return 0;
	for (size_t i = 1; i < length; i++)
		if ((at[i] & 0xc0) != 0x80)
			return 0;
	/* Overlong forms, surrogates, and what lies beyond the last code point. */
	if ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f) || (at[0] == 0xf0 && at[1] < 0x90) ||
	    (at[0] == 0xf4 && at[1] > 0x8f))
		return 0;
	return length;
}

/* Of characters that stand for themselves. */
static size_t plain_length(const char *bytes, size_t size)
{
	size_t length = 0;
	while (length < size && bytes[length] >= 0x20 && bytes[length] < 0x7f && bytes[length] != '"' && bytes[length] != '\\')
		length++;
	return length;
}

/* As a JSON string's inside (RFC 8259); a byte that is no UTF-8 becomes U+FFFD. */
char *put_json(char *at, const char *bytes, size_t size)
{
	static const char hex[] = "0123456789abcdef";
	for (size_t i = 0; i < size;) {
		size_t plain = plain_length(bytes + i, size - i);
		memcpy(at, bytes + i, plain);
		at += plain;
		i += plain;
		if (i == size)
			break;
		unsigned char byte = (unsigned char)bytes[i];
		size_t length = utf8_length((const unsigned char *)bytes + i, size - i);
		if (length == 0) {
			at = put(at, "\xef\xbf\xbd");
			i++;
		} else if (length > 1) {
			memcpy(at, bytes + i, length);
			at += length;
			i += length;
		} else {
			i++;
			if (byte == '"' || byte == '\\') {
				*at++ = '\\';
				*at++ = (char)byte;
			} else {
				at = put(at, "\\u00");
				*at++ = hex[byte >> 4];
				*at++ = hex[byte & 15];
			}
		}
	}
	return at;
}
