#include "base/text.h"

#include <stddef.h>
#include <string.h>

/// Bytes of the well-formed, printable UTF-8 character at `at`, or 0.
static size_t character_bytes(const unsigned char *at) {
    if (at[0] < 0x80) {
        return at[0] >= 0x20 && at[0] != 0x7f ? 1 : 0;
    }
    const size_t bytes = at[0] >= 0xf0 ? 4 : (at[0] >= 0xe0 ? 3 : 2);
    if (at[0] < 0xc2 || at[0] > 0xf4) {
        return 0;
    }
    for (size_t i = 1; i < bytes; i++) { // the zero at the end of the text ends this too
        if ((at[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    // Control characters U+0080 to U+009F, overlong forms, surrogates, and beyond U+10FFFF.
    if ((at[0] == 0xc2 && at[1] < 0xa0) || (at[0] == 0xe0 && at[1] < 0xa0) ||
        (at[0] == 0xed && at[1] > 0x9f) || (at[0] == 0xf0 && at[1] < 0x90) ||
        (at[0] == 0xf4 && at[1] > 0x8f)) {
        return 0;
    }
    return bytes;
}

const char *ei_printable(const char *raw, ei_text *text) {
    static const char more[] = "...";
    const unsigned char *at = (const unsigned char *)raw;
    size_t used = 0;
    while (*at != 0) {
        const size_t found = character_bytes(at);
        const size_t bytes = found == 0 ? 1 : found;
        if (used + bytes + sizeof more > EI_TEXT_BYTES) {
            memcpy(text->bytes + used, more, sizeof more);
            return text->bytes;
        }
        if (found == 0) {
            text->bytes[used] = '?';
        } else {
            memcpy(text->bytes + used, at, found);
        }
        used += bytes;
        at += bytes;
    }
    text->bytes[used] = 0;
    return text->bytes;
}
