/* What a process sees of a machine that slept, for tests: its clocks, and nothing else.
 *
 * This stands for the part that cannot be had where the tests run: nobody may put that machine to sleep. The process itself
 * is stopped with SIGSTOP meanwhile and its connections are dropped without a word by the tests' proxy, as on a laptop whose
 * lid was shut; what is added here is that CLOCK_REALTIME and CLOCK_BOOTTIME have gone on when it wakes up, and
 * CLOCK_MONOTONIC has not (clock_gettime(2), timers of std and tokio among its readers). What the kernel itself does by its
 * clocks (times of files, timerfd) is not changed.
 *
 * Not every reader of a clock asks libc: rustix finds the kernel's vDSO (vdso(7)) by itself. So the vDSO's own functions are
 * replaced, in the private copy of it that the process gets by writing there, as a debugger does for a breakpoint.
 *
 * LD_PRELOAD=this TOK_TEST_CLOCK=file, which holds two numbers of 64 bits: the nanoseconds to add to CLOCK_BOOTTIME and to
 * CLOCK_REALTIME. It is mapped, so that whoever writes there sets the clocks of all at once. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { SECOND = 1000000000 };

static const volatile int64_t *added;

/* As the kernel says it: 0 or a negative error, and errno as it was. */
static long asked(clockid_t clock, struct timespec *time) {
    long result;
#if defined(__x86_64__)
    __asm__ volatile("syscall" : "=a"(result) : "a"(SYS_clock_gettime), "D"((long)clock), "S"(time) : "rcx", "r11", "memory");
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = SYS_clock_gettime;
    register long x0 __asm__("x0") = clock;
    register struct timespec *x1 __asm__("x1") = time;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1) : "memory");
    result = x0;
#else
#error "the vDSO of this processor is not known here"
#endif
    return result;
}

static int shifted(clockid_t clock, struct timespec *time) {
    long result = asked(clock, time);
    if (result != 0)
        return (int)result;
    int64_t more = 0;
    if (clock == CLOCK_BOOTTIME || clock == CLOCK_BOOTTIME_ALARM)
        more = added[0];
    else if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_REALTIME_ALARM || clock == CLOCK_TAI)
        more = added[1];
    int64_t nanoseconds = time->tv_nsec + more % SECOND;
    time->tv_sec += more / SECOND;
    if (nanoseconds < 0) {
        nanoseconds += SECOND;
        time->tv_sec -= 1;
    } else if (nanoseconds >= SECOND) {
        nanoseconds -= SECOND;
        time->tv_sec += 1;
    }
    time->tv_nsec = nanoseconds;
    return 0;
}

static int of_day(struct timeval *day, void *zone) {
    struct timespec time;
    int result = shifted(CLOCK_REALTIME, &time);
    if (zone)
        memset(zone, 0, sizeof(struct timezone));
    if (result == 0 && day)
        *day = (struct timeval){.tv_sec = time.tv_sec, .tv_usec = time.tv_nsec / 1000};
    return result;
}

static time_t seconds(time_t *out) {
    struct timespec time;
    if (shifted(CLOCK_REALTIME, &time) != 0)
        return -1;
    if (out)
        *out = time.tv_sec;
    return time.tv_sec;
}

static void fail(const char *why) {
    (void)!write(2, why, strlen(why));
    _exit(112);
}

/* From now on whoever calls `from` comes to `to`. */
static void lead(void *from, uintptr_t to) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), start = (uintptr_t)from & ~(page - 1);
    if (mprotect((void *)start, 2 * page, PROT_READ | PROT_WRITE | PROT_EXEC) != 0 &&
        mprotect((void *)start, page, PROT_READ | PROT_WRITE | PROT_EXEC) != 0)
        fail("suspend.c: the vDSO cannot be written\n");
#if defined(__x86_64__)
    /* movabs rax, to; jmp rax */
    unsigned char jump[12] = {0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xe0};
    memcpy(jump + 2, &to, sizeof to);
#else
    /* ldr x16, 8 bytes on; br x16 */
    unsigned char jump[16] = {0x50, 0x00, 0x00, 0x58, 0x00, 0x02, 0x1f, 0xd6};
    memcpy(jump + 8, &to, sizeof to);
#endif
    memcpy(from, jump, sizeof jump);
    __builtin___clear_cache((char *)from, (char *)from + sizeof jump);
}

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("TOK_TEST_CLOCK");
    if (!path)
        return;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    void *mapped = file < 0 ? MAP_FAILED : mmap(NULL, 2 * sizeof *added, PROT_READ, MAP_SHARED, file, 0);
    if (mapped == MAP_FAILED)
        fail("suspend.c: the file of TOK_TEST_CLOCK cannot be read\n");
    close(file);
    added = mapped;
    void *vdso = dlopen("linux-vdso.so.1", RTLD_NOW | RTLD_NOLOAD);
    const struct { const char *names[2]; uintptr_t to; } replaced[] = {
        {{"__vdso_clock_gettime", "__kernel_clock_gettime"}, (uintptr_t)shifted},
        {{"__vdso_gettimeofday", "__kernel_gettimeofday"}, (uintptr_t)of_day},
        {{"__vdso_time", "__vdso_time"}, (uintptr_t)seconds},
    };
    for (size_t i = 0; i < sizeof replaced / sizeof *replaced; i++)
        for (size_t name = 0; name < 2; name++) {
            void *from = vdso ? dlsym(vdso, replaced[i].names[name]) : NULL;
            if (from) {
                lead(from, replaced[i].to);
                break;
            }
            if (i == 0 && name == 1)
                fail("suspend.c: the vDSO was not found\n");
        }
}
