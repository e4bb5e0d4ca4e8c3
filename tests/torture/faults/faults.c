/* Preloaded into an agent: a clock that is wrong and a disk that is full, as the C library would show them.
 *
 * The file that PINTLE_TORTURE_FAULTS names is shared memory: eight bytes, how many nanoseconds the clock of day is ahead,
 * then eight bytes that are not 0 while the disk is full. Monotonic clocks never jump, so they are left alone; what goes to
 * pipes, sockets and the log (standard error) is no matter of the disk. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct control {
	_Atomic int64_t clock_ahead;
	_Atomic int64_t disk_full;
};

static struct control *control;

__attribute__((constructor)) static void attach(void)
{
	const char *path = getenv("PINTLE_TORTURE_FAULTS");
	if (!path)
		return;
	int file = open(path, O_RDWR | O_CLOEXEC);
	if (file < 0)
		_exit(127);
	void *memory = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (memory == MAP_FAILED)
		_exit(127);
	close(file);
	control = memory;
}

int clock_gettime(clockid_t clock, struct timespec *time)
{
	int result = (int)syscall(SYS_clock_gettime, clock, time);
	if (result == 0 && control && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
		int64_t ahead = atomic_load(&control->clock_ahead);
		int64_t nanoseconds = time->tv_nsec + ahead % 1000000000;
		time->tv_sec += ahead / 1000000000;
		if (nanoseconds < 0) {
			nanoseconds += 1000000000;
			time->tv_sec--;
		} else if (nanoseconds >= 1000000000) {
			nanoseconds -= 1000000000;
			time->tv_sec++;
		}
		time->tv_nsec = nanoseconds;
	}
	return result;
}

static int is_full(int file)
{
	struct stat found;
	return control && atomic_load(&control->disk_full) && file > STDERR_FILENO && fstat(file, &found) == 0 &&
	       S_ISREG(found.st_mode);
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define FULL(file)              \
	if (is_full(file)) {    \
		errno = ENOSPC; \
		return -1;      \
	}

ssize_t write(int file, const void *bytes, size_t length)
{
	static __typeof__(&write) next;
	FULL(file)
	if (!next)
		next = NEXT(write);
	return next(file, bytes, length);
}

ssize_t writev(int file, const struct iovec *parts, int count)
{
	static __typeof__(&writev) next;
	FULL(file)
	if (!next)
		next = NEXT(writev);
	return next(file, parts, count);
}

ssize_t pwrite64(int file, const void *bytes, size_t length, off64_t offset)
{
	static __typeof__(&pwrite64) next;
	FULL(file)
	if (!next)
		next = NEXT(pwrite64);
	return next(file, bytes, length, offset);
}

ssize_t copy_file_range(int from, off64_t *from_offset, int to, off64_t *to_offset, size_t length, unsigned int flags)
{
	static __typeof__(&copy_file_range) next;
	FULL(to)
	if (!next)
		next = NEXT(copy_file_range);
	return next(from, from_offset, to, to_offset, length, flags);
}

int ftruncate64(int file, off64_t length)
{
	static __typeof__(&ftruncate64) next;
	FULL(file)
	if (!next)
		next = NEXT(ftruncate64);
	return next(file, length);
}
