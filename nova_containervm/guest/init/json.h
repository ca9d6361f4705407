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

/* A writer for one small JSON object in a fixed buffer. */
#ifndef CVM_JSON_H
#define CVM_JSON_H

#include <stdbool.h>
#include <stddef.h>

struct json {
    char *text;
    size_t size;   /* of the buffer */
    size_t length; /* used, without the NUL */
};

/* Start an object in BUFFER, which must have room for some 64 bytes. */
void json_begin(struct json *json, char *buffer, size_t size);
void json_string(struct json *json, const char *name, const char *value);
void json_long(struct json *json, const char *name, long value);
void json_bool(struct json *json, const char *name, bool value);
/* Seconds with three decimals, from milliseconds. */
void json_seconds(struct json *json, const char *name, long long ms);
/* Close the object; always valid JSON: what has no room is left out. */
void json_end(struct json *json);

#endif
