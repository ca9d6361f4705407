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

/* Reads guest.env: lines NAME='value', as a POSIX shell would read them. */
#ifndef CVM_ENV_H
#define CVM_ENV_H

#include <stddef.h>

struct env_var {
    char *name;
    char *value;
};

struct env {
    struct env_var *vars; /* sorted by name */
    size_t count;
};

/*
 * Parse TEXT (LENGTH bytes, changed in place; must stay for as long as ENV
 * is used). Strict: anything that is not an assignment of a single-quoted
 * value, an empty line or a comment line is an error.
 *
 * Returns 0, or -1 with a message for humans in ERROR.
 */
int env_parse(struct env *env, char *text, size_t length, char *error,
              size_t error_size);
void env_free(struct env *env);

/* Value of NAME, or NULL. */
const char *env_get(const struct env *env, const char *name);

#endif
