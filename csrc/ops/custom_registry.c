#include "ops/custom_registry.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"

// Entries are never freed: a session holds a pointer to the one it found, and need not be closed when it is done with.
typedef struct ei_custom_entry {
    struct ei_custom_entry *next;
    ei_custom_op op;
    char name[EI_CUSTOM_NAME_BYTES];
} ei_custom_entry;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static ei_custom_entry *entries; // under the lock, as are `next` and the order

/// Where the pointer to the entry of that name is, or to the NULL at the end. With the lock held.
static ei_custom_entry **place_of(const char *name) {
    ei_custom_entry **place = &entries;
    while (*place != NULL && strcmp((*place)->name, name) != 0) {
        place = &(*place)->next;
    }
    return place;
}

ei_status ei_custom_registry_add(const char *name, const ei_custom_op *op) {
    ei_custom_entry *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return ei_fail(EI_ERROR_MEMORY, "no memory to register a custom operator, %zu bytes",
                       sizeof *made);
    }
    made->op = *op;
    memcpy(made->name, name, strlen(name)); // calloc has put the zero behind it
    pthread_mutex_lock(&lock);
    ei_custom_entry **place = place_of(name);
    const int taken = *place != NULL;
    if (!taken) {
        *place = made;
    }
    pthread_mutex_unlock(&lock);
    if (taken) {
        free(made);
        return ei_fail(EI_ERROR_ARGUMENT,
                       "a custom operator '%s' is registered already: unregister it first", name);
    }
    return EI_OK;
}

int ei_custom_registry_remove(const char *name) {
    pthread_mutex_lock(&lock);
    ei_custom_entry **place = place_of(name);
    const int found = *place != NULL;
    if (found) {
        *place = (*place)->next;
    }
    pthread_mutex_unlock(&lock);
    return found;
}

const ei_custom_op *ei_custom_registry_find(const char *name) {
    pthread_mutex_lock(&lock);
    const ei_custom_entry *found = *place_of(name);
    pthread_mutex_unlock(&lock);
    return found == NULL ? NULL : &found->op;
}
