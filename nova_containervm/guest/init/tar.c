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

#include "tar.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

/* What the fields of a ustar header hold. */
#define NAME_SIZE 100
#define MAX_ID 07777777u
#define MAX_NUMBER 077777777777ull /* size and time */

struct header {
    char name[NAME_SIZE];
    char mode[8];
    char uid[8];
    char gid[8];
    char size[12];
    char mtime[12];
    char checksum[8];
    char type;
    char link[NAME_SIZE];
    char magic[8];
    char uname[32];
    char gname[32];
    char major[8];
    char minor[8];
    char prefix[155];
    char unused[12];
};

_Static_assert(sizeof(struct header) == TAR_BLOCK, "a header is a block");

/* A growing piece of memory. */
struct buffer {
    char *data;
    size_t length;
    size_t size;
    bool failed;
};

static void append(struct buffer *buffer, const void *data, size_t length)
{
    if (buffer->length + length > buffer->size && !buffer->failed) {
        size_t size = (buffer->length + length) * 2;
        char *grown = realloc(buffer->data, size);
        buffer->failed = grown == NULL;
        if (grown) {
            buffer->data = grown;
            buffer->size = size;
        }
    }
    if (buffer->failed)
        return;
    memcpy(buffer->data + buffer->length, data, length);
    buffer->length += length;
}

static size_t count_digits(size_t number)
{
    size_t count = 1;

    while (number /= 10)
        count++;
    return count;
}

/* One PAX record: "<length of the record> <key>=<value>\n". */
static void record(struct buffer *buffer, const char *prefix,
                   const char *key, const void *value, size_t size)
{
    /* Blank, equals sign and newline */
    size_t rest = strlen(prefix) + strlen(key) + size + 3;
    size_t length = rest + count_digits(rest);
    char head[32];

    /* The length counts its own digits, which may make it longer. */
    length = rest + count_digits(length);
    snprintf(head, sizeof(head), "%zu ", length);
    append(buffer, head, strlen(head));
    append(buffer, prefix, strlen(prefix));
    append(buffer, key, strlen(key));
    append(buffer, "=", 1);
    append(buffer, value, size);
    append(buffer, "\n", 1);
}

static void __attribute__((format(printf, 3, 4)))
record_text(struct buffer *buffer, const char *key, const char *format, ...)
{
    char value[64];
    va_list args;

    va_start(args, format);
    vsnprintf(value, sizeof(value), format, args);
    va_end(args);
    record(buffer, "", key, value, strlen(value));
}

/* Decimal seconds; the fraction has no zeros at its end. */
static void record_time(struct buffer *buffer, const struct timespec *time)
{
    long long seconds = time->tv_sec;
    long nanos = time->tv_nsec;
    const char *sign = "";
    char fraction[16] = "";

    if (seconds < 0) {
        sign = "-";
        seconds = nanos ? -(seconds + 1) : -seconds;
        nanos = nanos ? 1000000000L - nanos : 0;
    }
    if (nanos) {
        snprintf(fraction, sizeof(fraction), ".%09ld", nanos);
        for (char *end = fraction + strlen(fraction) - 1; *end == '0'; end--)
            *end = '\0';
    }
    record_text(buffer, "mtime", "%s%lld%s", sign, seconds, fraction);
}

/* Whether a header's field can say TEXT: NUL-padded, and ASCII. */
static bool fits(const char *text)
{
    size_t length = strlen(text);

    for (size_t i = 0; i < length; i++)
        if ((unsigned char)text[i] >= 0x80)
            return false;
    return length <= NAME_SIZE;
}

/* As much of TEXT as a field can say, for who does not read PAX. */
static void set_name(char *field, const char *text)
{
    for (size_t i = 0; i < NAME_SIZE && text[i]; i++)
        field[i] = (unsigned char)text[i] < 0x80 ? text[i] : '_';
}

static void octal(char *field, size_t size, unsigned long long number)
{
    char text[32];

    snprintf(text, sizeof(text), "%0*llo", (int)size - 1, number);
    memcpy(field, text, size);
}

static int write_header(struct tar *tar, struct header *header)
{
    const unsigned char *bytes = (const unsigned char *)header;
    unsigned sum = 0;

    memcpy(header->magic, "ustar\00000", 8);
    memset(header->checksum, ' ', sizeof(header->checksum));
    for (size_t i = 0; i < TAR_BLOCK; i++)
        sum += bytes[i];
    octal(header->checksum, 7, sum);
    return tar_write(tar, header, TAR_BLOCK);
}

static bool is_sparse(const struct tar_entry *entry)
{
    return entry->extents != NULL;
}

/* "<directory>/<last part of the path>", as a name that nobody unpacks. */
static void special_name(char *field, const char *directory,
                         const char *path)
{
    const char *slash = strrchr(path, '/');
    char name[PATH_MAX + 64];

    snprintf(name, sizeof(name), "%s/%s", directory,
             slash ? slash + 1 : path);
    set_name(field, name);
}

/* The map of a sparse file: how many parts, and of each start and length. */
static void sparse_map(struct buffer *map, const struct tar_entry *entry)
{
    static const char zeros[TAR_BLOCK];
    char line[64];

    snprintf(line, sizeof(line), "%zu\n", entry->extent_count);
    append(map, line, strlen(line));
    for (size_t i = 0; i < entry->extent_count; i++) {
        snprintf(line, sizeof(line), "%llu\n%llu\n",
                 (unsigned long long)entry->extents[i].offset,
                 (unsigned long long)entry->extents[i].length);
        append(map, line, strlen(line));
    }
    if (map->length % TAR_BLOCK)
        append(map, zeros, TAR_BLOCK - map->length % TAR_BLOCK);
}

uint64_t tar_data_length(const struct tar_entry *entry)
{
    uint64_t length = 0;

    if (entry->type != '0')
        return 0;
    if (!is_sparse(entry))
        return (uint64_t)entry->info.st_size;
    for (size_t i = 0; i < entry->extent_count; i++)
        length += entry->extents[i].length;
    return length;
}

/* The records of ENTRY, sorted by key. */
static void pax_records(struct buffer *pax, const struct tar_entry *entry,
                        const char *path, uint64_t size)
{
    const struct stat *info = &entry->info;

    if (is_sparse(entry)) {
        record_text(pax, "GNU.sparse.major", "1");
        record_text(pax, "GNU.sparse.minor", "0");
        record(pax, "", "GNU.sparse.name", path, strlen(path));
        record_text(pax, "GNU.sparse.realsize", "%llu",
                    (unsigned long long)info->st_size);
    }
    for (size_t i = 0; i < entry->xattr_count; i++)
        record(pax, "SCHILY.xattr.", entry->xattrs[i].name,
               entry->xattrs[i].value, entry->xattrs[i].size);
    if (info->st_gid > MAX_ID)
        record_text(pax, "gid", "%u", info->st_gid);
    if (entry->target && !fits(entry->target))
        record(pax, "", "linkpath", entry->target, strlen(entry->target));
    if (info->st_mtim.tv_nsec || info->st_mtim.tv_sec < 0 ||
        (unsigned long long)info->st_mtim.tv_sec > MAX_NUMBER)
        record_time(pax, &info->st_mtim);
    if (!is_sparse(entry) && !fits(path))
        record(pax, "", "path", path, strlen(path));
    if (size > MAX_NUMBER)
        record_text(pax, "size", "%llu", (unsigned long long)size);
    if (info->st_uid > MAX_ID)
        record_text(pax, "uid", "%u", info->st_uid);
}

static int write_pax(struct tar *tar, const struct buffer *pax,
                     const char *path)
{
    struct header header = {.type = 'x'};

    special_name(header.name, "PaxHeaders.0", path);
    octal(header.mode, 8, 0644);
    octal(header.uid, 8, 0);
    octal(header.gid, 8, 0);
    octal(header.size, 12, pax->length);
    octal(header.mtime, 12, 0);
    octal(header.major, 8, 0);
    octal(header.minor, 8, 0);
    if (write_header(tar, &header) < 0 ||
        tar_write(tar, pax->data, pax->length) < 0)
        return -1;
    return tar_pad(tar, pax->length);
}

static void fill_header(struct header *header, const struct tar_entry *entry,
                        const char *path, uint64_t size)
{
    const struct stat *info = &entry->info;
    bool device = entry->type == '3' || entry->type == '4';
    long long seconds = info->st_mtim.tv_sec;

    if (is_sparse(entry))
        special_name(header->name, "GNUSparseFile.0", path);
    else
        set_name(header->name, path);
    octal(header->mode, 8, info->st_mode & 07777);
    octal(header->uid, 8, info->st_uid > MAX_ID ? 0 : info->st_uid);
    octal(header->gid, 8, info->st_gid > MAX_ID ? 0 : info->st_gid);
    octal(header->size, 12, size > MAX_NUMBER ? 0 : size);
    octal(header->mtime, 12,
          seconds < 0 || (unsigned long long)seconds > MAX_NUMBER
              ? 0 : (unsigned long long)seconds);
    if (entry->target)
        set_name(header->link, entry->target);
    octal(header->major, 8, device ? major(info->st_rdev) : 0);
    octal(header->minor, 8, device ? minor(info->st_rdev) : 0);
}

int tar_header(struct tar *tar, const struct tar_entry *entry)
{
    struct header header = {.type = entry->type};
    struct buffer pax = {0}, map = {0};
    uint64_t size = tar_data_length(entry);
    char *path = NULL;
    int result = -1;

    if (asprintf(&path, "%s%s",
                 !*entry->path && entry->type == '5' ? "." : entry->path,
                 entry->type == '5' ? "/" : "") < 0)
        return -1;
    if (is_sparse(entry)) {
        sparse_map(&map, entry);
        size += map.length;
    }
    pax_records(&pax, entry, path, size);
    fill_header(&header, entry, path, size);
    if (pax.failed || map.failed)
        errno = ENOMEM;
    else if ((!pax.length || write_pax(tar, &pax, entry->path) == 0) &&
             write_header(tar, &header) == 0)
        result = map.length ? tar_write(tar, map.data, map.length) : 0;
    int error = errno;
    free(pax.data);
    free(map.data);
    free(path);
    errno = error;
    return result;
}

int tar_write(struct tar *tar, const void *data, size_t length)
{
    if (tar->sink && tar->sink(tar->context, data, length) < 0)
        return -1;
    tar->length += length;
    return 0;
}

int tar_pad(struct tar *tar, uint64_t length)
{
    static const char zeros[TAR_BLOCK];
    size_t left = length % TAR_BLOCK;

    return left ? tar_write(tar, zeros, TAR_BLOCK - left) : 0;
}

int tar_end(struct tar *tar)
{
    static const char zeros[TAR_END_LENGTH];

    return tar_write(tar, zeros, sizeof(zeros));
}
