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

#include "timesync.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "report.h"

#define PERIOD_MS 5000

/* The clock is set when it is off by more, else bent towards the host's. */
#define STEP_MS 100
#define BEND_MS 2

/* The real-time clock of a PC counts seconds: it tells the time to within
 * half of one. */
#define RTC_HALF_MS 500

/* clock_gettime() of a clock device (clock_getres(2)). */
#define FD_TO_CLOCKID(fd) ((clockid_t)(~(unsigned)(fd) << 3 | 3))

static struct {
    int ptp_fd; /* the host's clock by KVM, to the microsecond; or -1 */
    bool begun;          /* the host's time has been read */
    bool own;            /* the container's own clock */
    long long difference; /* of the host's clock and ours since boot */
    long long next_at;
} self = {.ptp_fd = -1};

/* The host's time, and by how much it may be wrong. False if unknown. */
static bool host_time(long long *ms, long long *error)
{
    struct timespec now;
    long long seconds;

    if (self.ptp_fd >= 0 &&
        clock_gettime(FD_TO_CLOCKID(self.ptp_fd), &now) == 0) {
        *ms = now.tv_sec * 1000LL + now.tv_nsec / 1000000;
        *error = 0;
        return true;
    }
    if (clock_read_rtc(&seconds) < 0)
        return false;
    *ms = seconds * 1000 + RTC_HALF_MS;
    *error = 2 * RTC_HALF_MS;
    return true;
}

static void advance(long long ms)
{
    long long now = clock_realtime_ms() + ms;
    struct timespec value = {.tv_sec = now / 1000,
                             .tv_nsec = now % 1000 * 1000000};

    debug("clock: set by %lld ms", ms);
    if (clock_settime(CLOCK_REALTIME, &value) < 0)
        debug("clock: %s", strerror(errno));
}

static void bend(long long ms)
{
    struct timeval delta = {.tv_usec = ms * 1000};

    adjtime(&delta, NULL);
}

void timesync_begin(const struct contract *contract)
{
    self.own = contract->capabilities >> CAP_SYS_TIME & 1;
    self.ptp_fd = open("/dev/ptp0", O_RDONLY | O_CLOEXEC);
    timesync_work();
}

long long timesync_deadline(void)
{
    return self.next_at;
}

void timesync_work(void)
{
    long long host, error, since = clock_ms();

    if (since < self.next_at)
        return;
    self.next_at = since + PERIOD_MS;
    if (!host_time(&host, &error))
        return;
    long long difference = host - since;
    long long off = self.own ? difference - self.difference
                             : host - clock_realtime_ms();
    bool first = !self.begun;

    self.begun = true;
    if (first || !self.own) {
        self.difference = difference;
        if (self.own)
            return;
    }
    if (off > STEP_MS + error || off < -STEP_MS - error) {
        advance(off);
        self.difference = difference;
    } else if (!error && !self.own && (off > BEND_MS || off < -BEND_MS)) {
        bend(off);
    }
}
