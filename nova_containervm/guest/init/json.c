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

#include "json.h"

#include <stdio.h>
#include <string.h>

/* Kept free for the closing brace and the NUL. */
#define RESERVED 2

void json_begin(struct json *json, char *buffer, size_t size)
{
    json->text = buffer;
    json->size = size;
    json->length = 1;
    buffer[0] = '{';
    buffer[1] = '\0';
}

/* Append TEXT whole or not at all. */
static bool append(struct json *json, const char *text)
{
    size_t length = strlen(text);

    if (json->length + length + RESERVED > json->size)
        return false;
    memcpy(json->text + json->length, text, length + 1);
    json->length += length;
    return true;
}

/* Append a member; VALUE is JSON already. */
static void member(struct json *json, const char *name, const char *value)
{
    size_t before = json->length;

    if ((json->length > 1 && !append(json, ",")) || !append(json, "\"") ||
        !append(json, name) || !append(json, "\":") || !append(json, value)) {
        json->length = before;
        json->text[before] = '\0';
    }
}

/*
 * Length of the valid UTF-8 sequence at TEXT (RFC 3629: no surrogates, no
 * over-long forms, nothing above U+10FFFF), 0 if there is none. A reason may
 * quote whatever bytes an image has in its file names.
 */
static size_t utf8_length(const unsigned char *text)
{
    unsigned char low = 0x80, high = 0xbf;
    size_t length;

    if (text[0] < 0x80)
        return 1;
    if (text[0] >= 0xc2 && text[0] <= 0xdf)
        length = 2;
    else if (text[0] >= 0xe0 && text[0] <= 0xef)
        length = 3;
    else if (text[0] >= 0xf0 && text[0] <= 0xf4)
        length = 4;
    else
        return 0;
    if (text[0] == 0xe0)
        low = 0xa0;
    else if (text[0] == 0xed)
        high = 0x9f;
    else if (text[0] == 0xf0)
        low = 0x90;
    else if (text[0] == 0xf4)
        high = 0x8f;
    if (text[1] < low || text[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    return length;
}

void json_string(struct json *json, const char *name, const char *value)
{
    /* Longer values are cut: an event is one short line. */
    char quoted[1100];
    size_t used = 0;
    const unsigned char *in = (const unsigned char *)value;

    quoted[used++] = '"';
    while (*in && used + 8 < sizeof(quoted)) {
        size_t length = utf8_length(in);
        if (length == 0) {
            used += (size_t)sprintf(quoted + used, "\\ufffd");
            in++;
        } else if (*in == '"' || *in == '\\') {
            quoted[used++] = '\\';
            quoted[used++] = (char)*in++;
        } else if (*in < 0x20 || *in == 0x7f) {
            used += (size_t)sprintf(quoted + used, "\\u%04x", *in++);
        } else {
            memcpy(quoted + used, in, length);
            used += length;
            in += length;
        }
    }
    quoted[used++] = '"';
    quoted[used] = '\0';
    member(json, name, quoted);
}

void json_long(struct json *json, const char *name, long value)
{
    char text[24];

    snprintf(text, sizeof(text), "%ld", value);
    member(json, name, text);
}

void json_bool(struct json *json, const char *name, bool value)
{
    member(json, name, value ? "true" : "false");
}

void json_seconds(struct json *json, const char *name, long long ms)
{
    char text[32];

    if (ms < 0)
        ms = 0;
    snprintf(text, sizeof(text), "%lld.%03lld", ms / 1000, ms % 1000);
    member(json, name, text);
}

void json_end(struct json *json)
{
    json->text[json->length++] = '}';
    json->text[json->length] = '\0';
}
