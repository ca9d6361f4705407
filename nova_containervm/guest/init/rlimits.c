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

#include "rlimits.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "text.h"

static const struct {
    const char *name;
    __rlimit_resource_t resource;
} known[] = {
    {"as", RLIMIT_AS},
    {"core", RLIMIT_CORE},
    {"cpu", RLIMIT_CPU},
    {"data", RLIMIT_DATA},
    {"fsize", RLIMIT_FSIZE},
    {"locks", RLIMIT_LOCKS},
    {"memlock", RLIMIT_MEMLOCK},
    {"msgqueue", RLIMIT_MSGQUEUE},
    {"nice", RLIMIT_NICE},
    {"nofile", RLIMIT_NOFILE},
    {"nproc", RLIMIT_NPROC},
    {"rss", RLIMIT_RSS},
    {"rtprio", RLIMIT_RTPRIO},
    {"rttime", RLIMIT_RTTIME},
    {"sigpending", RLIMIT_SIGPENDING},
    {"stack", RLIMIT_STACK},
};

static int parse(const char *text, rlim_t *value)
{
    unsigned long number;

    if (strcmp(text, "-1") == 0) {
        *value = RLIM_INFINITY;
        return 0;
    }
    if (text_to_ulong(text, 10, LONG_MAX, &number) < 0)
        return -1;
    *value = number;
    return 0;
}

static int apply(const char *limit)
{
    char name[16], soft[24], hard[24];
    struct rlimit value;

    if (sscanf(limit, "%15s %23s %23s", name, soft, hard) == 3 &&
        parse(soft, &value.rlim_cur) == 0 &&
        parse(hard, &value.rlim_max) == 0)
        for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
            if (strcmp(known[i].name, name) == 0)
                return setrlimit(known[i].resource, &value);
    errno = EINVAL;
    return -1;
}

int rlimits_apply(char **limits, char *step, size_t size)
{
    for (; *limits; limits++) {
        if (apply(*limits) < 0) {
            int error = errno;
            snprintf(step, size, "limit %.80s", *limits);
            errno = error;
            return -1;
        }
    }
    return 0;
}
