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

/* Looks into JSON without making a copy of it (RFC 8259). */
#ifndef CVM_JSONREAD_H
#define CVM_JSONREAD_H

#include <stddef.h>

/* A value: a piece of the text, blanks around it left out. */
struct json_value {
    const char *text;
    size_t length;
};

/* The one value that TEXT consists of. 0, or -1 if that is no JSON. */
int json_parse(const char *text, size_t length, struct json_value *value);

/* The member NAME of OBJECT. 0, or -1, and VALUE as it was, if there is none. */
int json_member(const struct json_value *object, const char *name,
                struct json_value *value);

/* A string without escapes, into TEXT. 0, or -1 for anything else. */
int json_get_string(const struct json_value *value, char *text, size_t size);

/* An integer. 0, or -1 for anything else. */
int json_get_integer(const struct json_value *value, long long *number);

#endif
