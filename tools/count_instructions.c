// A plugin of qemu: how often each block of instructions ran, up to marks that the program sets.
// Built and loaded by arm_instructions.py.
//
// A block is what qemu translates as one, a run of instructions up to a jump. Blocks are entered at
// their beginning, so executions x instructions are the instructions executed. (An exception in the
// middle of one would be counted as all of it; user programs take none.)
//
// A program sets a mark with prctl(EI_MARK, ...), an operation that no kernel has: it fails, and does
// nothing else. Each mark appends to the file that the option `out` names, and only that is counted
// which ran since the mark before:
//
//     mark
//     <address> <instructions> <executions>       one line for each block, addresses in hexadecimal
//
// Distributions do not package the header of the interface, so what is used of it is declared here.
// Version 1 is that of qemu up to 8, 2 that of qemu 9 and 10; what is used is the same in both.
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EI_MARK 0x45494d4b
enum { PRCTL = 167, READS_NO_REGISTERS = 0 }; // of Linux on arm64; of qemu

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_info;

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id,
                                           void (*callback)(qemu_plugin_id_t id,
                                                            struct qemu_plugin_tb *tb));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb,
                                          void (*callback)(unsigned vcpu, void *data), int flags,
                                          void *data);
void qemu_plugin_register_vcpu_syscall_cb(qemu_plugin_id_t id,
                                          void (*callback)(qemu_plugin_id_t id, unsigned vcpu,
                                                           int64_t number, uint64_t a1, uint64_t a2,
                                                           uint64_t a3, uint64_t a4, uint64_t a5,
                                                           uint64_t a6, uint64_t a7, uint64_t a8));
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);

#define EXPORT __attribute__((visibility("default")))

EXPORT extern int qemu_plugin_version;
int qemu_plugin_version = EI_PLUGIN_VERSION;

typedef struct block {
    struct block *next;
    uint64_t address;
    uint64_t instructions;
    _Atomic uint64_t executions; // since the last mark, by all threads
} block;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static block *blocks;
static FILE *out;

static void count(unsigned vcpu, void *data) {
    (void)vcpu;
    block *ran = data;
    atomic_fetch_add_explicit(&ran->executions, 1, memory_order_relaxed);
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb) {
    (void)id;
    block *made = calloc(1, sizeof *made);
    if (made == NULL) {
        fprintf(stderr, "count_instructions: out of memory\n");
        exit(1);
    }
    made->address = qemu_plugin_tb_vaddr(tb);
    made->instructions = qemu_plugin_tb_n_insns(tb);
    pthread_mutex_lock(&lock);
    made->next = blocks; // for good: code that is translated anew is counted as another block
    blocks = made;
    pthread_mutex_unlock(&lock);
    qemu_plugin_register_vcpu_tb_exec_cb(tb, count, READS_NO_REGISTERS, made);
}

static void called(qemu_plugin_id_t id, unsigned vcpu, int64_t number, uint64_t a1, uint64_t a2,
                   uint64_t a3, uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8) {
    (void)id, (void)vcpu, (void)a2, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7, (void)a8;
    if (number != PRCTL || a1 != EI_MARK) {
        return;
    }
    pthread_mutex_lock(&lock);
    fprintf(out, "mark\n");
    for (block *each = blocks; each != NULL; each = each->next) {
        const uint64_t ran = atomic_exchange_explicit(&each->executions, 0, memory_order_relaxed);
        if (ran > 0) {
            fprintf(out, "%" PRIx64 " %" PRIu64 " %" PRIu64 "\n", each->address, each->instructions,
                    ran);
        }
    }
    fflush(out);
    pthread_mutex_unlock(&lock);
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info *info, int argc,
                               char **argv) {
    (void)info;
    if (argc != 1 || strncmp(argv[0], "out=", 4) != 0) {
        fprintf(stderr, "count_instructions: give the option out=FILE\n");
        return -1;
    }
    out = fopen(argv[0] + 4, "w");
    if (out == NULL) {
        perror(argv[0] + 4);
        return -1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_vcpu_syscall_cb(id, called);
    return 0;
}
