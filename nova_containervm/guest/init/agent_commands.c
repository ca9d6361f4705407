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

#include "agent_commands.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "agent.h"
#include "clock.h"
#include "fsfreeze.h"
#include "hotplug.h"
#include "jsonread.h"
#include "report.h"

#define NANOS 1000000000LL

/*
 * A host that froze the file systems and was killed is not to stop the
 * container for good. It thaws them itself when it is back.
 */
#define THAW_MS (5 * 60 * 1000)

static bool is_frozen;
static long long thaw_at;

struct reply {
    char *text;
    size_t size;
};

static void __attribute__((format(printf, 2, 3)))
answer(struct reply *reply, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(reply->text, reply->size, format, args);
    va_end(args);
}

static void done(struct reply *reply)
{
    answer(reply, "{\"return\": {}}\n");
}

/* strerror() has no character that JSON would have to escape. */
static void failed(struct reply *reply, const char *what)
{
    answer(reply, AGENT_ERROR("GenericError", "%s: %s"), what,
           strerror(errno));
}

static void ping(struct reply *reply, const struct json_value *arguments)
{
    (void)arguments;
    done(reply);
}

static void sync_with(struct reply *reply, const struct json_value *arguments,
                      const char *prefix)
{
    struct json_value value;
    long long id;

    if (json_member(arguments, "id", &value) < 0 ||
        json_get_integer(&value, &id) < 0)
        answer(reply, "%s%s", prefix,
               AGENT_ERROR("GenericError", "id is no integer"));
    else
        answer(reply, "%s{\"return\": %lld}\n", prefix, id);
}

static void sync_plain(struct reply *reply,
                       const struct json_value *arguments)
{
    sync_with(reply, arguments, "");
}

static void sync_delimited(struct reply *reply,
                           const struct json_value *arguments)
{
    sync_with(reply, arguments, "\xff");
}

static void freeze_status(struct reply *reply,
                          const struct json_value *arguments)
{
    (void)arguments;
    answer(reply, "{\"return\": \"%s\"}\n",
           is_frozen ? "frozen" : "thawed");
}

static void freeze(struct reply *reply, const struct json_value *arguments)
{
    int count;

    (void)arguments;
    if (is_frozen) {
        answer(reply, AGENT_ERROR("GenericError", "frozen already"));
        return;
    }
    count = fsfreeze_freeze();
    if (count < 0) {
        failed(reply, "cannot freeze");
        return;
    }
    is_frozen = true;
    thaw_at = clock_ms() + THAW_MS;
    answer(reply, "{\"return\": %d}\n", count);
}

static void thaw(struct reply *reply, const struct json_value *arguments)
{
    (void)arguments;
    is_frozen = false;
    answer(reply, "{\"return\": %d}\n", fsfreeze_thaw());
}

static void set_time(struct reply *reply, const struct json_value *arguments)
{
    struct json_value value;
    struct timespec now = {0};
    long long nanos, seconds;

    if (json_member(arguments, "time", &value) < 0) {
        if (clock_read_rtc(&seconds) < 0) {
            failed(reply, "cannot read the machine's clock");
            return;
        }
        now.tv_sec = (time_t)seconds;
    } else if (json_get_integer(&value, &nanos) < 0 || nanos < 0) {
        answer(reply, AGENT_ERROR("GenericError", "time is no time"));
        return;
    } else {
        now.tv_sec = (time_t)(nanos / NANOS);
        now.tv_nsec = (long)(nanos % NANOS);
    }
    if (clock_settime(CLOCK_REALTIME, &now) < 0)
        failed(reply, "cannot set the clock");
    else
        done(reply);
}

/*
 * QEMU's own agent says nothing if all is well. libvirt would then wait until
 * the VM is down, where Nova wants to watch that by itself.
 */
static void shut_down(struct reply *reply, const struct json_value *arguments)
{
    struct json_value value;
    char mode[16] = "powerdown";

    if (json_member(arguments, "mode", &value) == 0 &&
        json_get_string(&value, mode, sizeof(mode)) < 0)
        mode[0] = '\0';
    if (strcmp(mode, "powerdown") != 0 && strcmp(mode, "halt") != 0) {
        answer(reply, AGENT_ERROR("GenericError",
                                  "only powerdown and halt are possible"));
        return;
    }
    /* What is held up could not end. */
    if (is_frozen)
        fsfreeze_thaw();
    is_frozen = false;
    if (kill(1, SIGTERM) < 0)
        failed(reply, "cannot tell the init");
    else
        done(reply);
}

/* An error of others' words, which must not end the string that it is in. */
static void failed_because(struct reply *reply, char *why)
{
    for (char *at = why; *at; at++)
        if (*at == '"' || *at == '\\' || (unsigned char)*at < ' ')
            *at = '?';
    answer(reply, AGENT_ERROR("GenericError", "%s"), why);
}

static int get_text(const struct json_value *arguments, const char *name,
                    char *text, size_t size)
{
    struct json_value value;

    text[0] = '\0';
    if (json_member(arguments, name, &value) < 0)
        return 0;
    return json_get_string(&value, text, size);
}

static int get_number(const struct json_value *arguments, const char *name,
                      unsigned most, unsigned *number)
{
    struct json_value value;
    long long integer = 0;

    if (json_member(arguments, name, &value) == 0 &&
        json_get_integer(&value, &integer) < 0)
        return -1;
    if (integer < 0 || integer > (long long)most)
        return -1;
    *number = (unsigned)integer;
    return 0;
}

/* The arguments are those of an interface in the contract (CVM_NIC_<n>_). */
static void interface_up(struct reply *reply,
                         const struct json_value *arguments)
{
    char mac[32], addrs[1024], routes[2048], dhcp[8], why[1000];
    struct nic nic = {.mac = mac, .addrs = addrs, .routes = routes};
    unsigned number;

    if (get_text(arguments, "mac", mac, sizeof(mac)) < 0 || !mac[0] ||
        get_text(arguments, "addrs", addrs, sizeof(addrs)) < 0 ||
        get_text(arguments, "routes", routes, sizeof(routes)) < 0 ||
        get_text(arguments, "dhcp", dhcp, sizeof(dhcp)) < 0 ||
        get_number(arguments, "mtu", 65535, &nic.mtu) < 0 ||
        get_number(arguments, "number", 255, &number) < 0) {
        answer(reply, AGENT_ERROR("GenericError", "not an interface"));
        return;
    }
    nic.dhcp4 = strchr(dhcp, '4') != NULL;
    nic.dhcp6 = strchr(dhcp, '6') != NULL;
    if (hotplug_nic(&nic, number, why, sizeof(why)) < 0)
        failed_because(reply, why);
    else
        done(reply);
}

static void info(struct reply *reply, const struct json_value *arguments);

static const struct command {
    const char *name;
    void (*run)(struct reply *reply, const struct json_value *arguments);
} commands[] = {
    {"guest-sync", sync_plain},
    {"guest-sync-delimited", sync_delimited},
    {"guest-ping", ping},
    {"guest-info", info},
    {"guest-fsfreeze-status", freeze_status},
    {"guest-fsfreeze-freeze", freeze},
    {"guest-fsfreeze-thaw", thaw},
    {"guest-set-time", set_time},
    {"guest-shutdown", shut_down},
    /* As QEMU wants the names of what is not its own (qapi-code-gen). */
    {"__org.openstack.containervm_interface-up", interface_up},
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void info(struct reply *reply, const struct json_value *arguments)
{
    size_t used = 0;

    (void)arguments;
    for (size_t i = 0; i < COMMANDS && used < reply->size; i++)
        used += (size_t)snprintf(
            reply->text + used, reply->size - used,
            "%s{\"name\": \"%s\", \"enabled\": true, "
            "\"success-response\": true}",
            i ? ", " : "{\"return\": {\"version\": \"containervm 1\", "
                       "\"supported_commands\": [",
            commands[i].name);
    if (used < reply->size)
        snprintf(reply->text + used, reply->size - used, "]}}\n");
}

void agent_answer(const char *request, size_t length, char *text,
                  size_t size)
{
    struct reply reply = {text, size};
    struct json_value object, value, arguments = {"{}", 2};
    char name[64];

    if (json_parse(request, length, &object) < 0 ||
        json_member(&object, "execute", &value) < 0 ||
        json_get_string(&value, name, sizeof(name)) < 0) {
        answer(&reply, AGENT_ERROR("GenericError", "not a request"));
        return;
    }
    json_member(&object, "arguments", &arguments);
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(commands[i].name, name) == 0) {
            commands[i].run(&reply, &arguments);
            debug("agent: %s", name);
            return;
        }
    answer(&reply, AGENT_ERROR("CommandNotFound", "no such command"));
}

int agent_commands_timeout(void)
{
    long long left = thaw_at - clock_ms();

    if (!is_frozen)
        return -1;
    return left < 0 ? 0 : (int)left;
}

void agent_commands_tick(void)
{
    if (!is_frozen || clock_ms() < thaw_at)
        return;
    warn("agent", "the host has not thawed the file systems for %d s",
         THAW_MS / 1000);
    fsfreeze_thaw();
    is_frozen = false;
}
