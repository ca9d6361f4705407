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

#include "env.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool name_char(char c, bool first)
{
    return (c >= 'A' && c <= 'Z') || c == '_' ||
           (!first && c >= '0' && c <= '9');
}

static int compare(const void *left, const void *right)
{
    const struct env_var *a = left, *b = right;

    return strcmp(a->name, b->name);
}

static int line_error(unsigned line, const char *what, char *error,
                      size_t error_size)
{
    snprintf(error, error_size, "line %u: %s", line, what);
    return -1;
}

static int add(struct env *env, char *name, char *value)
{
    /* Capacity doubles whenever the count is a power of two from 64 up. */
    if (env->count == 0 ||
        (env->count >= 64 && (env->count & (env->count - 1)) == 0)) {
        size_t capacity = env->count ? env->count * 2 : 64;
        void *grown = realloc(env->vars, capacity * sizeof(*env->vars));
        if (!grown)
            return -1;
        env->vars = grown;
    }
    env->vars[env->count].name = name;
    env->vars[env->count].value = value;
    env->count++;
    return 0;
}

/*
 * Read the value at *IN, quotes and all, writing its bytes from OUT on. The
 * shell's way to put a quote into single quotes is to leave them: 'a'\''b'.
 * The value never grows, so it can be written over what was read. LINE counts
 * the newlines passed. Returns what is wrong, or NULL.
 */
static const char *read_value(char **in, char *out, const char *end,
                              unsigned *line)
{
    char *at = *in;
    bool quoted = false;

    while (at < end) {
        if (*at == '\'') {
            quoted = true;
            at++;
            while (at < end && *at != '\'') {
                *line += *at == '\n';
                *out++ = *at++;
            }
            if (at == end)
                return "a quote is not closed";
            at++;
        } else if (*at == '\\' && at + 1 < end && at[1] == '\'') {
            *out++ = '\'';
            at += 2;
        } else {
            break;
        }
    }
    if (!quoted)
        return "the value is not in single quotes";
    if (at < end && *at != '\n')
        return "something follows the value";
    if (at < end) {
        at++;
        ++*line;
    }
    *in = at;
    *out = '\0';
    return NULL;
}

int env_parse(struct env *env, char *text, size_t length, char *error,
              size_t error_size)
{
    char *at = text, *end = text + length;
    unsigned line = 1;

    memset(env, 0, sizeof(*env));
    if (memchr(text, '\0', length)) {
        snprintf(error, error_size, "has a NUL byte");
        return -1;
    }
    while (at < end) {
        char *name = at;
        unsigned start = line;

        if (*at == '\n') {
            at++;
            line++;
            continue;
        }
        if (*at == '#') {
            char *newline = memchr(at, '\n', (size_t)(end - at));
            at = newline ? newline + 1 : end;
            line++;
            continue;
        }
        while (at < end && name_char(*at, at == name))
            at++;
        if (at == name || at == end || *at != '=') {
            env_free(env);
            return line_error(start, "not an assignment", error, error_size);
        }
        *at++ = '\0';
        char *value = at;
        const char *wrong = read_value(&at, value, end, &line);
        if (wrong || add(env, name, value) < 0) {
            env_free(env);
            return line_error(start, wrong ? wrong : "out of memory", error,
                              error_size);
        }
    }
    if (env->count)
        qsort(env->vars, env->count, sizeof(*env->vars), compare);
    for (size_t i = 1; i < env->count; i++) {
        if (strcmp(env->vars[i].name, env->vars[i - 1].name) == 0) {
            snprintf(error, error_size, "%s is assigned twice",
                     env->vars[i].name);
            env_free(env);
            return -1;
        }
    }
    return 0;
}

void env_free(struct env *env)
{
    free(env->vars);
    memset(env, 0, sizeof(*env));
}

const char *env_get(const struct env *env, const char *name)
{
    struct env_var key = {.name = (char *)name};
    struct env_var *found;

    if (!env->count)
        return NULL;
    found = bsearch(&key, env->vars, env->count, sizeof(key), compare);
    return found ? found->value : NULL;
}
