/// Runs a model on the lines of a camera as they come: no memory ever holds a whole frame.
///
///     camera_lines MODEL.edge < FRAMES.raw
///
/// FRAMES.raw is what a driver would deliver: frame after frame, each the model's only input as its file wants it (int8 for
/// most quantised models), line by line. For each frame the program writes the index of the largest value of the first
/// output, int8 or float32, to its standard output. `edgeinfer plan MODEL.edge` shows how much of a frame the model holds.
///
/// Build it against an installed library:
///
///     cc camera_lines.c -o camera_lines $(pkg-config --cflags --libs edgeinfer)
#include <edgeinfer.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void stop(const char *what) {
    fprintf(stderr, "camera_lines: %s: %s\n", what, ei_last_error());
    exit(1);
}

/// Opens the model and makes its session; both live as long as the program.
static ei_session *open_session(const char *path, ei_model **model) {
    size_t bytes = 0;
    ei_session *session = NULL;
    if (ei_model_open(path, model) != EI_OK || ei_session_size(*model, 0, NULL, &bytes) != EI_OK) {
        stop("model");
    }
    if (ei_session_init(*model, 0, NULL, aligned_alloc(64, bytes), bytes, &session) != EI_OK) {
        stop("session");
    }
    return session;
}

/// Takes one frame, line by line; 0 where the stream ends before it does.
static int take_frame(ei_session *session, void *line, size_t line_bytes) {
    if (ei_session_begin(session, NULL) != EI_OK) {
        stop("begin");
    }
    while (ei_session_rows_left(session, 0) != 0) {
        uint32_t taken = 0;
        if (fread(line, 1, line_bytes, stdin) != line_bytes) {
            return 0;
        }
        // The steps that have all of their lines now run before this returns.
        if (ei_session_feed(session, 0, line, 1, &taken) != EI_OK) {
            stop("feed");
        }
    }
    return 1;
}

static size_t largest(const void *values, const ei_tensor_info *info) {
    const size_t count = info->bytes / (info->dtype == EI_FLOAT32 ? sizeof(float) : 1);
    size_t best = 0;
    for (size_t i = 1; i < count; i++) {
        const int is_larger = info->dtype == EI_FLOAT32
                                  ? ((const float *)values)[i] > ((const float *)values)[best]
                                  : ((const int8_t *)values)[i] > ((const int8_t *)values)[best];
        best = is_larger ? i : best;
    }
    return best;
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: camera_lines MODEL.edge < FRAMES.raw\n");
        return 1;
    }
    ei_model *model = NULL;
    ei_session *session = open_session(argv[1], &model);
    ei_input_rows input;
    ei_tensor_info output;
    if (ei_model_input_rows(model, 0, 0, &input) != EI_OK ||
        ei_model_output(model, 0, 0, &output) != EI_OK) {
        stop("input and output");
    }
    if (ei_model_input_count(model, 0) != 1 ||
        (output.dtype != EI_INT8 && output.dtype != EI_FLOAT32)) {
        fprintf(stderr, "camera_lines: takes models with one input, and int8 or float32 results\n");
        return 1;
    }
    fprintf(stderr, "%" PRIu32 " of %" PRIu32 " lines are held, %zu bytes each\n", input.held_rows,
            input.rows, input.row_bytes);
    void *line = malloc(input.row_bytes);
    if (line == NULL) {
        return 1;
    }
    while (take_frame(session, line, input.row_bytes)) {
        printf("%zu\n", largest(ei_session_output(session, 0), &output));
    }
    free(line);
    ei_session_close(session);
    ei_model_close(model);
    return 0;
}
