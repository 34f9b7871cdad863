#include "base/thread_pool.h"

#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"

/// How long a thread without work stays awake: some three times what sleeping and being woken costs.
#define AWAKE_NANOSECONDS 100000

/// Looks at the work, with a pause after each, between looks at the clock: about half a microsecond.
#define LOOKS 32

struct ei_thread_pool {
    // Written by different threads at different times: each has a cache line of its own.
    _Alignas(64) _Atomic uint32_t waiting; // parts that nobody has taken yet, a bit for each
    _Alignas(64) _Atomic uint32_t pending; // parts that are not done
    // Of the job. Written while no part is waiting, read after one was taken.
    _Alignas(64) ei_part_fn run;
    const void *job;
    _Atomic uint32_t parts;    // a hint to whoever has not taken one
    _Atomic uint32_t sleepers; // threads that sleep, or are about to
    _Atomic uint32_t caller_sleeps;
    _Atomic uint32_t stopping;

    pthread_mutex_t lock; // held to go to sleep and to wake, for nothing else
    pthread_cond_t work, done;
    size_t bytes_each;
    uint32_t workers;
    pid_t process;
    int ended; // the threads have been; jobs are still done, by the caller
};

/// At the start of each thread's memory; its stack follows. The first one's pool is the one of all.
typedef struct ei_worker {
    ei_thread_pool pool;
    _Alignas(64) ei_thread_pool *shared;
    uint32_t index; // of the thread; 0 is the caller
    pthread_t thread;
} ei_worker;

static void pause_cpu(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__) || (defined(__ARM_ARCH) && __ARM_ARCH >= 7)
    __asm__ volatile("yield");
#endif
}

static int64_t nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int has_work(ei_thread_pool *pool) {
    return atomic_load(&pool->waiting) != 0 || atomic_load(&pool->stopping) != 0;
}

static int is_done(ei_thread_pool *pool) {
    return atomic_load(&pool->pending) == 0;
}

/// Waits awake until it is so, or the time is over; tells which.
static int wait_awake(ei_thread_pool *pool, int (*is_so)(ei_thread_pool *pool)) {
    if (is_so(pool)) {
        return 1;
    }
    const int64_t end = nanoseconds() + AWAKE_NANOSECONDS;
    do {
        for (int look = 0; look < LOOKS; look++) {
            pause_cpu();
            if (is_so(pool)) {
                return 1;
            }
        }
        sched_yield(); // whom it waits for may be waiting for this CPU
    } while (nanoseconds() < end);
    return 0;
}

/// Bits [first, end), of which there are fewer than 32 unless it is all of them.
static uint32_t bits(uint32_t first, uint32_t end) {
    return (uint32_t)((UINT64_C(1) << end) - (UINT64_C(1) << first));
}

/// The part that a thread takes next: the first of its own share, which lies at the same place of every job so that what
/// one step leaves in a core's cache is what the next step wants there; else the last of the others'.
static uint32_t choose(const ei_thread_pool *pool, uint32_t waiting, uint32_t thread,
                       uint32_t parts) {
    const uint32_t threads = pool->workers + 1;
    const uint32_t own = waiting & bits(parts * thread / threads, parts * (thread + 1) / threads);
    return own != 0 ? (uint32_t)__builtin_ctz(own) : 31u - (uint32_t)__builtin_clz(waiting);
}

/// Takes parts as long as there are any.
static void run_parts(ei_thread_pool *pool, uint32_t thread) {
    uint32_t waiting = atomic_load(&pool->waiting);
    while (waiting != 0) {
        // However old `waiting` is: where the exchange succeeds, the part is there to be taken now.
        const uint32_t parts = atomic_load_explicit(&pool->parts, memory_order_relaxed);
        const uint32_t part = choose(pool, waiting, thread, parts);
        if (!atomic_compare_exchange_weak(&pool->waiting, &waiting,
                                          waiting & ~(UINT32_C(1) << part))) {
            continue;
        }
        pool->run(pool->job, part);
        // The job may be gone once nothing is pending. Both sides of this and of the sleep below write
        // one and then read the other, in the one order that all threads see.
        if (atomic_fetch_sub(&pool->pending, 1) == 1 && atomic_load(&pool->caller_sleeps) != 0) {
            pthread_mutex_lock(&pool->lock);
            pthread_cond_signal(&pool->done);
            pthread_mutex_unlock(&pool->lock);
        }
        waiting = atomic_load(&pool->waiting);
    }
}

static void sleep_until_work(ei_thread_pool *pool) {
    pthread_mutex_lock(&pool->lock);
    atomic_fetch_add(&pool->sleepers, 1);
    while (!has_work(pool)) {
        pthread_cond_wait(&pool->work, &pool->lock);
    }
    atomic_fetch_sub(&pool->sleepers, 1);
    pthread_mutex_unlock(&pool->lock);
}

static void *work(void *argument) {
    const ei_worker *worker = argument;
    ei_thread_pool *pool = worker->shared;
    while (atomic_load(&pool->stopping) == 0) {
        if (!wait_awake(pool, has_work)) {
            sleep_until_work(pool);
        }
        run_parts(pool, worker->index);
    }
    return NULL;
}

static void wake_all(ei_thread_pool *pool) {
    // Who counts as a sleeper holds the lock until it sleeps, so no wake-up comes too early.
    if (atomic_load(&pool->sleepers) != 0) {
        pthread_mutex_lock(&pool->lock);
        pthread_cond_broadcast(&pool->work);
        pthread_mutex_unlock(&pool->lock);
    }
}

void ei_thread_pool_run(ei_thread_pool *pool, ei_part_fn run, const void *job, uint32_t parts) {
    pool->run = run;
    pool->job = job;
    atomic_store_explicit(&pool->pending, parts, memory_order_relaxed);
    atomic_store_explicit(&pool->parts, parts, memory_order_relaxed);
    atomic_store(&pool->waiting, bits(0, parts)); // publishes what is above
    wake_all(pool);
    run_parts(pool, 0);
    // What others have claimed is under way, unless the system has set its thread aside.
    if (!wait_awake(pool, is_done)) {
        pthread_mutex_lock(&pool->lock);
        atomic_store(&pool->caller_sleeps, 1);
        while (!is_done(pool)) {
            pthread_cond_wait(&pool->done, &pool->lock);
        }
        atomic_store(&pool->caller_sleeps, 0);
        pthread_mutex_unlock(&pool->lock);
    }
}

int ei_thread_pool_is_here(const ei_thread_pool *pool) {
    return pool->process == getpid();
}

static ei_worker *worker_at(ei_thread_pool *pool, uint32_t i) {
    return (ei_worker *)((uint8_t *)pool + i * pool->bytes_each); // the pool is its first member
}

static int create(ei_worker *worker, size_t bytes) {
    pthread_attr_t attributes;
    int failed = pthread_attr_init(&attributes);
    if (failed == 0) {
        failed = pthread_attr_setstack(&attributes, worker + 1, bytes - sizeof *worker);
        if (failed == 0) {
            failed = pthread_create(&worker->thread, &attributes, work, worker);
        }
        pthread_attr_destroy(&attributes);
    }
    return failed;
}

void ei_thread_pool_stop(ei_thread_pool *pool) {
    if (!ei_thread_pool_is_here(pool) || pool->ended) {
        return; // a child's threads are the parent's, and one of them may hold the lock for ever
    }
    pool->ended = 1;
    atomic_store(&pool->stopping, 1);
    wake_all(pool);
    for (uint32_t i = 0; i < pool->workers; i++) {
        pthread_join(worker_at(pool, i)->thread, NULL);
    }
}

ei_status ei_thread_pool_start(void *memory, size_t bytes_each, uint32_t workers,
                               const ei_placement *placement, ei_thread_pool **pool) {
    ei_thread_pool *made = memory;
    memset(made, 0, sizeof *made);
    made->bytes_each = bytes_each;
    made->process = getpid();
    pthread_mutex_init(&made->lock, NULL);
    pthread_cond_init(&made->work, NULL);
    pthread_cond_init(&made->done, NULL);

    // A new thread inherits the caller's mask. The application's handlers are for its own threads, and
    // these stacks are no place for them.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    ei_status status = EI_OK;
    while (status == EI_OK && made->workers < workers) {
        ei_worker *worker = worker_at(made, made->workers);
        worker->shared = made;
        worker->index = made->workers + 1;
        const int failed = create(worker, bytes_each);
        if (failed != 0) {
            status =
                ei_fail(EI_ERROR_MEMORY, "thread %" PRIu32 " of %" PRIu32 " cannot be started: %s",
                        made->workers + 2, workers + 1, strerror(failed));
            break;
        }
        made->workers++;
        status = ei_placement_apply(placement, worker->thread, made->workers);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (status != EI_OK) {
        ei_thread_pool_stop(made);
        return status;
    }
    *pool = made;
    return EI_OK;
}
