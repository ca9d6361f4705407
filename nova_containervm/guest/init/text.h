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

/* Small helpers on strings and files. */
#ifndef CVM_TEXT_H
#define CVM_TEXT_H

#include <stddef.h>
#include <sys/types.h>

/* TEXT, digits only and whole, as a number up to MAX. 0, or -1. */
int text_to_ulong(const char *text, int base, unsigned long max,
                  unsigned long *result);

/* Bytes of the hexadecimal string TEXT; their count, or -1. */
ssize_t text_from_hex(const char *text, size_t length, unsigned char *out,
                      size_t size);

/* Read a small file whole, NUL-terminated. Its length, or -1 with errno. */
ssize_t text_read_file(const char *path, char *buffer, size_t size);

/* As above, of any size up to MAX, in memory for free(). NULL with errno. */
char *text_read_whole(const char *path, size_t max, size_t *length);

/* Read the first line of a file, without the newline. 0, or -1. */
int text_read_line(const char *path, char *buffer, size_t size);

/* Write TEXT to the existing file PATH (sysfs, sysctl). 0, or -1. */
int text_write_file(const char *path, const char *text);

/* Make or replace the file PATH. 0, or -1 with errno. */
int text_create_file(const char *path, const char *text, size_t length,
                     mode_t mode);

#endif
