// Counts what models and their sessions allocate: count_allocations THREADS {RUNS
// MODEL.edge}...
//
// The program's own malloc and its relatives take the place of the C library's, for the library
// under test too. Prints, in a line per model, the numbers of calls while it is opened, sized and
// bound, run, and closed.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../tools/scale_op.h"
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

static void count(const char *path, long runs, uint32_t threads) {
    const ei_session_options options = {.struct_bytes = sizeof options, .threads = threads};
    static _Alignas(64) unsigned char memory[4 << 20];
    ei_model *model;
    ei_session *session;
    size_t bytes;
    memset(memory, 0, sizeof memory); // what the model before left may not be in range as an index

    const long at_start = taken, freed_at_start = freed;
    must(ei_model_open(path, &model));
    const long opened = taken;
    must(ei_session_size(model, 0, &options, &bytes));
    must(ei_session_init(model, 0, &options, memory, sizeof memory, &session));
    const long bound = taken;
    for (long i = 0; i < runs; i++) {
        must(ei_session_run(session, NULL, NULL));
    }
    const long ran = taken;
    ei_session_close(session);
    ei_model_close(model);
    const long closed = freed;
    printf("%ld %ld %ld %ld\n", opened - at_start, bound - opened, ran - bound,
           closed - freed_at_start);
}

int main(int argc, char **argv) {
    if (argc < 4 || argc % 2 == 1) {
        return 2;
    }
    must(scale_op_register());
    for (int i = 2; i < argc; i += 2) {
        count(argv[i + 1], atol(argv[i]), (uint32_t)atol(argv[1]));
    }
    return 0;
}
