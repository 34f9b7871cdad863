/// Text from a file, made fit for a message.
#ifndef EI_BASE_TEXT_H
#define EI_BASE_TEXT_H

/// Enough for a name to be recognised; a message has room for several.
#define EI_TEXT_BYTES 96

typedef struct ei_text {
    char bytes[EI_TEXT_BYTES];
} ei_text;

/// Copies zero-terminated text of any contents: control characters and what is not UTF-8 become "?",
/// and text that is too long ends in "...". Use as ei_printable(name, &(ei_text){0}).
const char *ei_printable(const char *raw, ei_text *text);

#endif
