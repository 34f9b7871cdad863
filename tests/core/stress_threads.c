// Many threads that make, run and end sessions which have threads of their own:
// stress_threads THREADS ROUNDS MODEL.edge...
//
// Built with a sanitizer, which ends the process when it finds something. Every result is compared
// with that of a session of one thread. EDGEINFER_PART_WORK=1 makes small steps shared.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "edgeinfer.h"

enum { MAX_MODELS = 64, MAX_THREADS = 16 };

typedef struct subject {
    ei_model *model;
    size_t output_bytes;
    unsigned char *expected;
} subject;

static subject subjects[MAX_MODELS];
static int subject_count, rounds;

static void fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, ei_last_error());
    _Exit(1);
}

static void must(ei_status status, const char *what) {
    if (status != EI_OK) {
        fail(what);
    }
}

static void fill_inputs(const ei_model *model, ei_session *session) {
    for (uint32_t i = 0; i < ei_model_input_count(model, 0); i++) {
        ei_tensor_info info;
        must(ei_model_input(model, 0, i, &info), "input");
        unsigned char *x = ei_session_input(session, i);
        for (size_t b = 0; b < info.bytes; b++) { // small, so that indices are in range
            x[b] = info.dtype == EI_INT8 ? (unsigned char)(b * 37 + 11) : 0;
        }
    }
}

static void run_once(const subject *tested, uint32_t threads, int runs, unsigned char *output) {
    const ei_session_options options = {.struct_bytes = sizeof options, .threads = threads};
    size_t bytes;
    ei_session *session;
    must(ei_session_size(tested->model, 0, &options, &bytes), "size");
    void *memory = aligned_alloc(64, bytes);
    must(ei_session_init(tested->model, 0, &options, memory, bytes, &session), "init");
    for (int run = 0; run < runs; run++) {
        fill_inputs(tested->model, session);
        must(ei_session_run(session, NULL, NULL), "run");
        memcpy(output, ei_session_output(session, 0), tested->output_bytes);
        if (tested->expected != NULL &&
            memcmp(output, tested->expected, tested->output_bytes) != 0) {
            fail("other bits than one thread's");
        }
        if (run % 3 == 2) { // let the session's threads fall asleep
            nanosleep(&(struct timespec){.tv_nsec = 300 * 1000}, NULL);
        }
    }
    ei_session_close(session);
    free(memory);
}

static void *work(void *argument) {
    unsigned random = *(const unsigned *)argument;
    for (int round = 0; round < rounds; round++) {
        random = random * 1103515245 + 12345;
        const subject *tested = &subjects[(random >> 8) % (unsigned)subject_count];
        unsigned char *output = malloc(tested->output_bytes);
        run_once(tested, 1 + (random >> 16) % 5, (int)((random >> 20) % 6), output);
        free(output);
    }
    return NULL;
}

int main(int argc, char **argv) {
    const int threads = argc > 3 ? atoi(argv[1]) : 0;
    subject_count = argc - 3;
    if (threads < 1 || threads > MAX_THREADS || subject_count > MAX_MODELS) {
        return 2;
    }
    rounds = atoi(argv[2]);
    for (int i = 0; i < subject_count; i++) {
        ei_tensor_info info;
        must(ei_model_open(argv[3 + i], &subjects[i].model), "open");
        must(ei_model_output(subjects[i].model, 0, 0, &info), "output");
        subjects[i].output_bytes = info.bytes;
        unsigned char *expected = malloc(info.bytes);
        run_once(&subjects[i], 1, 1, expected);
        subjects[i].expected = expected;
    }
    ei_session_close(NULL);
    pthread_t started[MAX_THREADS];
    unsigned seeds[MAX_THREADS];
    for (int i = 0; i < threads; i++) {
        seeds[i] = (unsigned)i;
        pthread_create(&started[i], NULL, work, &seeds[i]);
    }
    for (int i = 0; i < threads; i++) {
        pthread_join(started[i], NULL);
    }
    for (int i = 0; i < subject_count; i++) {
        free(subjects[i].expected);
        ei_model_close(subjects[i].model);
    }
    puts("done");
    return 0;
}
