/* Preloaded into PostgreSQL by scripts/servers: while the file FULL_DISK_FILE exists, the disk of its data is full.
 *
 * What would make a file longer fails with ENOSPC; what lies within its present length is written, as on a disk that has
 * no free block left. New empty files can be made. Other disks are not full: shared memory, and the server's log, which
 * a reader of a failed run needs. Writes of stdio are not covered, and PostgreSQL's data and WAL do without it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* Whether the file would have to end behind its present end. PostgreSQL's processes work in the folder of its data. */
static int is_full(int fd, off_t end)
{
    struct stat file, data;
    const char *control = getenv("FULL_DISK_FILE");
    int before = errno;
    int full = fd > STDERR_FILENO && control && access(control, F_OK) == 0 && fstat(fd, &file) == 0
        && S_ISREG(file.st_mode) && stat(".", &data) == 0 && file.st_dev == data.st_dev && end > file.st_size;
    errno = full ? ENOSPC : before;
    return full;
}

static off_t length(const struct iovec *parts, int count)
{
    off_t sum = 0;
    while (count-- > 0)
        sum += (off_t)parts[count].iov_len;
    return sum;
}

static off_t place(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return lseek(fd, 0, flags >= 0 && flags & O_APPEND ? SEEK_END : SEEK_CUR);
}

/* System calls and no dlsym, because PostgreSQL writes to pipes in signal handlers. */
ssize_t write(int fd, const void *from, size_t size)
{
    return is_full(fd, place(fd) + (off_t)size) ? -1 : syscall(SYS_write, fd, from, size);
}

ssize_t pwrite(int fd, const void *from, size_t size, off_t at)
{
    return is_full(fd, at + (off_t)size) ? -1 : syscall(SYS_pwrite64, fd, from, size, at);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at)
{
    return is_full(fd, at + length(parts, count)) ? -1 : syscall(SYS_pwritev, fd, parts, count, at, 0);
}

int fallocate(int fd, int mode, off_t at, off_t size)
{
    return is_full(fd, at + size) ? -1 : (int)syscall(SYS_fallocate, fd, mode, at, size);
}

/* Its error is its result. */
int posix_fallocate(int fd, off_t at, off_t size)
{
    return fallocate(fd, 0, at, size) ? errno : 0;
}

/* What a program that is built for large files calls; off_t has 64 bits here anyway. */
_Static_assert(sizeof(off_t) == 8, "a system with 64 bits");
ssize_t pwrite64(int, const void *, size_t, off_t) __attribute__((alias("pwrite")));
ssize_t pwritev64(int, const struct iovec *, int, off_t) __attribute__((alias("pwritev")));
int fallocate64(int, int, off_t, off_t) __attribute__((alias("fallocate")));
int posix_fallocate64(int, off_t, off_t) __attribute__((alias("posix_fallocate")));
