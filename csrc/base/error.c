#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define EI_MESSAGE_BYTES 512

static _Thread_local char message[EI_MESSAGE_BYTES];

ei_status ei_fail(ei_status status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    return status;
}

ei_status ei_fail_in(ei_status status, const char *format, ...) {
    char tail[EI_MESSAGE_BYTES];
    memcpy(tail, message, sizeof tail);
    va_list arguments;
    va_start(arguments, format);
    int used = vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    if (used >= 0 && (size_t)used < sizeof message) {
        snprintf(message + used, sizeof message - (size_t)used, ": %s", tail);
    }
    return status;
}

const char *ei_last_error(void) {
    return message;
}

const char *ei_status_text(ei_status status) {
    switch (status) {
#define EI_STATUS_CASE(name, value, text)                                                          \
    case name: return text;
        EI_STATUS_LIST(EI_STATUS_CASE)
#undef EI_STATUS_CASE
    }
    return "unknown status";
}
