// Counts what a model and its sessions allocate: count_allocations MODEL.edge RUNS
//
// The program's own malloc and its relatives take the place of the C library's, for the library under
// test too. Prints the numbers of calls while the model is opened, sized and bound, run, and closed.
#include <stdio.h>
#include <stdlib.h>

#include "edgeinfer.h"

// The GNU C library's functions behind the public names.
extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t count, size_t bytes);
extern void *__libc_realloc(void *memory, size_t bytes);
extern void *__libc_memalign(size_t alignment, size_t bytes);
extern void __libc_free(void *memory);

static long taken, freed;

void *malloc(size_t bytes) {
    taken++;
    return __libc_malloc(bytes);
}
void *calloc(size_t count, size_t bytes) {
    taken++;
    return __libc_calloc(count, bytes);
}
void *realloc(void *memory, size_t bytes) {
    taken++;
    return __libc_realloc(memory, bytes);
}
void *aligned_alloc(size_t alignment, size_t bytes) {
    taken++;
    return __libc_memalign(alignment, bytes);
}
int posix_memalign(void **memory, size_t alignment, size_t bytes) {
    taken++;
    *memory = __libc_memalign(alignment, bytes);
    return *memory == NULL;
}
void free(void *memory) {
    freed += memory != NULL;
    __libc_free(memory);
}

static void must(ei_status status) {
    if (status != EI_OK) {
        fprintf(stderr, "%s\n", ei_last_error());
        exit(1);
    }
}

int main(int argc, char **argv) {
    static _Alignas(64) unsigned char memory[1 << 20];
    ei_model *model;
    ei_session *session;
    size_t bytes;
    if (argc != 3) {
        return 2;
    }
    const long runs = atol(argv[2]);

    const long at_start = taken, freed_at_start = freed;
    must(ei_model_open(argv[1], &model));
    const long opened = taken;
    must(ei_session_size(model, 0, NULL, &bytes));
    must(ei_session_init(model, 0, NULL, memory, sizeof memory, &session));
    const long bound = taken;
    for (long i = 0; i < runs; i++) {
        must(ei_session_run(session, NULL, NULL));
    }
    const long ran = taken;
    ei_model_close(model);
    const long closed = freed;
    printf("%ld %ld %ld %ld\n", opened - at_start, bound - opened, ran - bound,
           closed - freed_at_start);
    return 0;
}
