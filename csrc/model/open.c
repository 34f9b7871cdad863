// Files: mapped read-only, so that weights are shared between processes and paged in as they are
// used. The one place of the library that takes memory by itself, a handle per model.
#include "model/model.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/text.h"
#include "model/validate.h"

static ei_status fail_file(const char *path, const char *what) {
    char reason[96] = "";
    if (strerror_r(errno, reason, sizeof reason) != 0) {
        reason[0] = 0;
    }
    return ei_fail(EI_ERROR_FILE, "'%s': %s: %s", ei_printable(path, &(ei_text){0}), what, reason);
}

/// Maps the whole of a regular file.
static ei_status map_file(const char *path, void **mapping, size_t *bytes) {
    // Without O_NONBLOCK the name of a pipe would wait for somebody to write to it.
    const int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0) {
        return fail_file(path, "cannot be opened");
    }
    ei_status status = EI_OK;
    struct stat facts;
    if (fstat(file, &facts) != 0) {
        status = fail_file(path, "cannot be read");
    } else if (!S_ISREG(facts.st_mode)) {
        status = ei_fail(EI_ERROR_FILE, "'%s': is not a regular file",
                         ei_printable(path, &(ei_text){0}));
    } else if (facts.st_size == 0) {
        status =
            ei_fail(EI_ERROR_FORMAT, "'%s': the file is empty", ei_printable(path, &(ei_text){0}));
    } else if ((uint64_t)facts.st_size > SIZE_MAX / 2) {
        status = ei_fail(EI_ERROR_FILE, "'%s': has %" PRId64 " bytes, more than can be mapped",
                         ei_printable(path, &(ei_text){0}), (int64_t)facts.st_size);
    } else {
        void *made = mmap(NULL, (size_t)facts.st_size, PROT_READ, MAP_PRIVATE, file, 0);
        if (made == MAP_FAILED) {
            status = fail_file(path, "cannot be mapped");
        } else {
            *mapping = made;
            *bytes = (size_t)facts.st_size;
        }
    }
    close(file);
    return status;
}

ei_status ei_model_map(const char *path, ei_model **model) {
    void *mapping = NULL;
    size_t bytes = 0;
    EI_TRY(map_file(path, &mapping, &bytes));
    // The checksums read all of it now; a hint only, so its failure changes nothing.
    posix_madvise(mapping, bytes, POSIX_MADV_WILLNEED);

    void *memory = NULL;
    size_t memory_bytes = 0;
    ei_model *made = NULL;
    ei_status status = ei_validate_size(mapping, bytes, &memory_bytes);
    if (status != EI_OK) {
        goto fail;
    }
    memory = malloc(memory_bytes);
    if (memory == NULL) {
        status =
            ei_fail(EI_ERROR_MEMORY, "no memory for the model's handle, %zu bytes", memory_bytes);
        goto fail;
    }
    status = ei_validate(mapping, bytes, memory, memory_bytes, &made);
    if (status != EI_OK) {
        goto fail;
    }
    made->mapping = mapping;
    *model = made;
    return EI_OK;
fail:
    free(memory);
    munmap(mapping, bytes);
    return ei_fail_in(status, "'%s'", ei_printable(path, &(ei_text){0}));
}

void ei_model_unmap(ei_model *model) {
    if (model->mapping == NULL) {
        return;
    }
    munmap(model->mapping, model->bytes);
    free(model);
}
