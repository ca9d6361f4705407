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

#include "channel.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "json.h"
#include "text.h"

#define PORTS "/sys/class/virtio-ports"

/* A port gets its name some time after its device: from a message of the
 * host that is handled in the background. */
#define WAIT_MS 3000

/* A host that does not read must not hold up the guest. */
#define WRITE_MS 2000

static int channel_fd = -1;

int channel_port(const char *name)
{
    char path[300], text[256];
    struct dirent *entry;
    DIR *ports = opendir(PORTS);
    int fd = -1;

    if (!ports)
        return -1;
    while (fd < 0 && (entry = readdir(ports))) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), PORTS "/%s/name", entry->d_name);
        if (text_read_line(path, text, sizeof(text)) < 0 ||
            strcmp(text, name) != 0)
            continue;
        snprintf(path, sizeof(path), "/dev/%s", entry->d_name);
        fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    }
    closedir(ports);
    return fd;
}

int channel_open(const char *name)
{
    long long deadline = clock_ms() + WAIT_MS;

    while ((channel_fd = channel_port(name)) < 0) {
        if (clock_ms() > deadline)
            return -1;
        clock_sleep_ms(5);
    }
    return 0;
}

static void begin(struct json *json, char *buffer, size_t size,
                  const char *event)
{
    json_begin(json, buffer, size);
    json_long(json, "v", 1);
    json_string(json, "event", event);
    json_seconds(json, "at", clock_realtime_ms());
}

static void send(struct json *json)
{
    const char *at = json->text;
    size_t left;

    json_end(json);
    json->text[json->length++] = '\n';
    left = json->length;
    while (channel_fd >= 0 && left) {
        ssize_t put = write(channel_fd, at, left);
        if (put > 0) {
            at += put;
            left -= (size_t)put;
        } else if (put < 0 && errno == EAGAIN) {
            struct pollfd poller = {.fd = channel_fd, .events = POLLOUT};
            if (poll(&poller, 1, WRITE_MS) <= 0)
                return;
        } else if (errno != EINTR) {
            return;
        }
    }
}

void channel_booted(void)
{
    char buffer[256];
    struct json json;

    begin(&json, buffer, sizeof(buffer) - 1, "booted");
    json_seconds(&json, "uptime", clock_ms());
    send(&json);
}

void channel_running(unsigned restarts)
{
    char buffer[256];
    struct json json;

    begin(&json, buffer, sizeof(buffer) - 1, "running");
    json_long(&json, "restarts", restarts);
    send(&json);
}

void channel_exited(int code, int signal, bool oom, bool final)
{
    char buffer[256];
    struct json json;

    begin(&json, buffer, sizeof(buffer) - 1, "exited");
    json_long(&json, "code", code);
    json_long(&json, "signal", signal);
    json_bool(&json, "oom", oom);
    json_bool(&json, "final", final);
    send(&json);
}

void channel_restarting(unsigned delay_ms, unsigned restarts)
{
    char buffer[256];
    struct json json;

    begin(&json, buffer, sizeof(buffer) - 1, "restarting");
    json_long(&json, "delay_ms", delay_ms);
    json_long(&json, "restarts", restarts);
    send(&json);
}

void channel_health(const char *status, const char *output)
{
    char buffer[1500];
    struct json json;

    begin(&json, buffer, sizeof(buffer) - 1, "health");
    json_string(&json, "status", status);
    if (*output)
        json_string(&json, "output", output);
    send(&json);
}

void channel_failed(const char *stage, const char *reason)
{
    char buffer[1500];
    struct json json;

    begin(&json, buffer, sizeof(buffer) - 1, "failed");
    json_string(&json, "stage", stage);
    json_string(&json, "reason", reason);
    send(&json);
}
