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

#include "exportchannel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "channel.h"
#include "clock.h"
#include "report.h"

#define STAGE "export"
#define PORT "org.openstack.containervm.export.0"
#define VERSION "1"
#define WAIT_MS 10000

/* The host sends the layer on to the image service, however slow that is. */
#define SILENCE_MS (10 * 60 * 1000)

#define MAX_REQUEST (4 << 20)
#define FRAME (256 * 1024)
#define WINDOW 8 /* frames that the host has not acknowledged */

static int port = -1;
static char *frame;
static size_t used;
static unsigned outstanding;

static bool ready(short events)
{
    struct pollfd poller = {.fd = port, .events = events};

    return poll(&poller, 1, SILENCE_MS) > 0 && (poller.revents & events);
}

/* Until the host has opened its end, the port looks as if it had closed it. */
static void wait_connected(void)
{
    long long deadline = clock_ms() + WAIT_MS;
    struct pollfd poller = {.fd = port, .events = POLLOUT};

    while (poll(&poller, 1, 0) < 0 || (poller.revents & POLLHUP)) {
        if (clock_ms() > deadline)
            fail(STAGE, "the host does not open the port %s", PORT);
        clock_sleep_ms(5);
    }
}

/* 0, or -1 if the host is gone. */
static int put(const void *data, size_t length)
{
    const char *at = data;

    while (length) {
        ssize_t done = write(port, at, length);
        if (done > 0) {
            at += done;
            length -= (size_t)done;
        } else if (errno != EINTR && !(errno == EAGAIN && ready(POLLOUT))) {
            return -1;
        }
    }
    return 0;
}

static int get(void *data, size_t length)
{
    char *at = data;

    while (length) {
        ssize_t done = read(port, at, length);
        if (done > 0) {
            at += done;
            length -= (size_t)done;
        } else if (done == 0 ||
                   (errno != EINTR && !(errno == EAGAIN && ready(POLLIN)))) {
            return -1;
        }
    }
    return 0;
}

static int put_frame(char type, const void *data, size_t length)
{
    const unsigned char head[] = {
        (unsigned char)type, (unsigned char)(length >> 24),
        (unsigned char)(length >> 16), (unsigned char)(length >> 8),
        (unsigned char)length};

    return put(head, sizeof(head)) < 0 || put(data, length) < 0 ? -1 : 0;
}

/* Whoever is to hear of it is not there. */
static void lost(void)
{
    close(port);
    port = -1;
    fail(STAGE, "the host does not listen any more");
}

static void wait_acknowledged(unsigned left)
{
    char byte;

    while (outstanding > left) {
        if (get(&byte, 1) < 0)
            lost();
        outstanding--;
    }
}

static void tell_failure(const char *stage, const char *text)
{
    char byte;

    if (port < 0)
        return;
    (void)stage;
    if (put_frame('E', text, strlen(text)) == 0)
        for (unsigned i = 0; i <= outstanding; i++)
            if (get(&byte, 1) < 0)
                break;
}

void exportchannel_open(void)
{
    long long deadline = clock_ms() + WAIT_MS;

    while ((port = channel_port(PORT)) < 0) {
        if (clock_ms() > deadline)
            fail(STAGE, "the machine has no port %s", PORT);
        clock_sleep_ms(5);
    }
    wait_connected();
    report_also = tell_failure;
    frame = malloc(FRAME);
    if (!frame)
        fail(STAGE, "out of memory");
}

char *exportchannel_request(size_t *length)
{
    unsigned char head[4];
    char *text;

    if (put_frame('R', VERSION, strlen(VERSION)) < 0 ||
        get(head, sizeof(head)) < 0)
        lost();
    *length = (size_t)head[0] << 24 | (size_t)head[1] << 16 |
              (size_t)head[2] << 8 | head[3];
    if (*length > MAX_REQUEST)
        fail(STAGE, "a contract of %zu bytes", *length);
    text = calloc(1, *length + 1);
    if (!text)
        fail(STAGE, "out of memory");
    if (get(text, *length) < 0)
        lost();
    return text;
}

void exportchannel_size(uint64_t size)
{
    unsigned char bytes[8];

    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(size >> (56 - 8 * i));
    if (put_frame('S', bytes, sizeof(bytes)) < 0)
        lost();
}

static void flush(void)
{
    if (!used)
        return;
    wait_acknowledged(WINDOW - 1);
    if (put_frame('D', frame, used) < 0)
        lost();
    used = 0;
    outstanding++;
}

int exportchannel_data(void *context, const void *data, size_t length)
{
    const char *at = data;

    (void)context;
    while (length) {
        size_t piece = FRAME - used < length ? FRAME - used : length;
        memcpy(frame + used, at, piece);
        used += piece;
        at += piece;
        length -= piece;
        if (used == FRAME)
            flush();
    }
    return 0;
}

void exportchannel_end(void)
{
    flush();
    if (put_frame('F', "", 0) < 0)
        lost();
    outstanding++;
    wait_acknowledged(0);
}
