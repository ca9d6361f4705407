/*
 * Licensed under the Apache License, Version 2.0 (the "License"); you may
 * not use this file except in compliance with the License. You may obtain
 * a copy of the License at
 *
 *      http://www.apache.org/licenses/LICENSE-2.0
 *
 * Unless required by applicable law or agreed to in writing, software
 * distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
 * WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
 * License for the specific language governing permissions and limitations
 * under the License.
 */

#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int text_to_ulong(const char *text, int base, unsigned long max,
                  unsigned long *result)
{
    char *end;

    /* strtoul() alone would take "-1", "+1" and " 1". */
    if (*text < '0' || *text > '9')
        return -1;
    errno = 0;
    *result = strtoul(text, &end, base);
    return errno || *end || *result > max ? -1 : 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

ssize_t text_from_hex(const char *text, size_t length, unsigned char *out,
                      size_t size)
{
    if (length % 2 || length / 2 > size)
        return -1;
    for (size_t i = 0; i < length; i += 2) {
        int high = hex_digit(text[i]), low = hex_digit(text[i + 1]);
        if (high < 0 || low < 0)
            return -1;
        out[i / 2] = (unsigned char)(high << 4 | low);
    }
    return (ssize_t)(length / 2);
}

static ssize_t read_all(int fd, char *buffer, size_t size)
{
    size_t used = 0;

    while (used < size) {
        ssize_t got = read(fd, buffer + used, size - used);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        used += (size_t)got;
    }
    return (ssize_t)used;
}

ssize_t text_read_file(const char *path, char *buffer, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return -1;
    ssize_t got = read_all(fd, buffer, size - 1);
    int error = errno;
    close(fd);
    errno = error;
    if (got >= 0)
        buffer[got] = '\0';
    return got;
}

char *text_read_whole(const char *path, size_t max, size_t *length)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    char *buffer = NULL;

    if (fd < 0)
        return NULL;
    if (fstat(fd, &info) == 0 && (size_t)info.st_size <= max) {
        buffer = malloc((size_t)info.st_size + 1);
    } else {
        errno = EFBIG;
    }
    if (buffer) {
        ssize_t got = read_all(fd, buffer, (size_t)info.st_size);
        if (got < 0) {
            free(buffer);
            buffer = NULL;
        } else {
            buffer[got] = '\0';
            *length = (size_t)got;
        }
    }
    int error = errno;
    close(fd);
    errno = error;
    return buffer;
}

int text_read_line(const char *path, char *buffer, size_t size)
{
    if (text_read_file(path, buffer, size) < 0)
        return -1;
    buffer[strcspn(buffer, "\n")] = '\0';
    return 0;
}

static int write_all(int fd, const char *text, size_t length)
{
    while (length) {
        ssize_t put = write(fd, text, length);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return -1;
        text += put;
        length -= (size_t)put;
    }
    return 0;
}

static int open_and_write(const char *path, int flags, mode_t mode,
                          const char *text, size_t length)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC | flags, mode);

    if (fd < 0)
        return -1;
    int result = write_all(fd, text, length);
    int error = errno;
    close(fd);
    errno = error;
    return result;
}

int text_write_file(const char *path, const char *text)
{
    return open_and_write(path, 0, 0, text, strlen(text));
}

int text_create_file(const char *path, const char *text, size_t length,
                     mode_t mode)
{
    return open_and_write(path, O_CREAT | O_TRUNC, mode, text, length);
}
