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

#include "jsonread.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH 16

struct scanner {
    const char *at;
    const char *end;
};

static bool skip_value(struct scanner *scanner, int depth);

static void skip_blanks(struct scanner *scanner)
{
    while (scanner->at < scanner->end && *scanner->at &&
           strchr(" \t\r\n", *scanner->at))
        scanner->at++;
}

static bool take(struct scanner *scanner, char c)
{
    skip_blanks(scanner);
    if (scanner->at == scanner->end || *scanner->at != c)
        return false;
    scanner->at++;
    return true;
}

static bool skip_string(struct scanner *scanner)
{
    if (!take(scanner, '"'))
        return false;
    while (scanner->at < scanner->end && *scanner->at != '"') {
        if ((unsigned char)*scanner->at < 0x20)
            return false;
        if (*scanner->at == '\\')
            scanner->at++;
        if (scanner->at < scanner->end)
            scanner->at++;
    }
    return take(scanner, '"');
}

/* A number, true, false or null: what it is shows when it is asked for. */
static bool skip_word(struct scanner *scanner)
{
    const char *start = scanner->at;

    while (scanner->at < scanner->end && *scanner->at &&
           strchr("+-.0123456789Eaeflnrstu", *scanner->at))
        scanner->at++;
    return scanner->at > start;
}

static bool skip_list(struct scanner *scanner, char open, char close,
                      int depth)
{
    if (!take(scanner, open))
        return false;
    if (take(scanner, close))
        return true;
    do {
        if (open == '{' && !(skip_string(scanner) && take(scanner, ':')))
            return false;
        if (!skip_value(scanner, depth + 1))
            return false;
    } while (take(scanner, ','));
    return take(scanner, close);
}

static bool skip_value(struct scanner *scanner, int depth)
{
    skip_blanks(scanner);
    if (scanner->at == scanner->end || depth > MAX_DEPTH)
        return false;
    switch (*scanner->at) {
    case '{':
        return skip_list(scanner, '{', '}', depth);
    case '[':
        return skip_list(scanner, '[', ']', depth);
    case '"':
        return skip_string(scanner);
    default:
        return skip_word(scanner);
    }
}

static bool take_value(struct scanner *scanner, struct json_value *value)
{
    skip_blanks(scanner);
    value->text = scanner->at;
    if (!skip_value(scanner, 0))
        return false;
    value->length = (size_t)(scanner->at - value->text);
    return true;
}

int json_parse(const char *text, size_t length, struct json_value *value)
{
    struct scanner scanner = {text, text + length};

    if (!take_value(&scanner, value))
        return -1;
    skip_blanks(&scanner);
    return scanner.at == scanner.end ? 0 : -1;
}

int json_member(const struct json_value *object, const char *name,
                struct json_value *value)
{
    struct scanner scanner = {object->text, object->text + object->length};
    struct json_value key, found;

    if (!take(&scanner, '{') || take(&scanner, '}'))
        return -1;
    do {
        if (!take_value(&scanner, &key) || !take(&scanner, ':') ||
            !take_value(&scanner, &found))
            return -1;
        if (key.length == strlen(name) + 2 &&
            memcmp(key.text + 1, name, key.length - 2) == 0) {
            *value = found;
            return 0;
        }
    } while (take(&scanner, ','));
    return -1;
}

int json_get_string(const struct json_value *value, char *text, size_t size)
{
    if (value->length < 2 || value->text[0] != '"' ||
        value->length - 2 >= size ||
        memchr(value->text, '\\', value->length))
        return -1;
    memcpy(text, value->text + 1, value->length - 2);
    text[value->length - 2] = '\0';
    return 0;
}

int json_get_integer(const struct json_value *value, long long *number)
{
    char digits[32], *end;

    if (value->length == 0 || value->length >= sizeof(digits) ||
        (value->text[0] != '-' &&
         (value->text[0] < '0' || value->text[0] > '9')))
        return -1;
    memcpy(digits, value->text, value->length);
    digits[value->length] = '\0';
    errno = 0;
    *number = strtoll(digits, &end, 10);
    return errno || *end || end == digits ? -1 : 0;
}
