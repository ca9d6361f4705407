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

#include "clock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/rtc.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define RTC "/dev/rtc0"
#define RTC_TRIES 10
#define RTC_PAUSE_MS 2

static long long read_clock(clockid_t id)
{
    struct timespec now;

    clock_gettime(id, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

long long clock_ms(void)
{
    return read_clock(CLOCK_BOOTTIME);
}

long long clock_realtime_ms(void)
{
    return read_clock(CLOCK_REALTIME);
}

void clock_sleep_ms(unsigned ms)
{
    struct timespec left = {.tv_sec = ms / 1000,
                            .tv_nsec = ms % 1000 * 1000000L};

    while (nanosleep(&left, &left) < 0 && errno == EINTR)
        ;
}

/*
 * Only one process at a time can have it open: the supervisor, the guest
 * agent, or a container that may set the clock. So nobody keeps it. What a
 * privileged container has put in its place must not hold anybody up.
 */
static int open_rtc(void)
{
    for (int i = 1;; i++) {
        int fd = open(RTC, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);

        if (fd >= 0 || errno != EBUSY || i == RTC_TRIES)
            return fd;
        clock_sleep_ms(RTC_PAUSE_MS);
    }
}

int clock_read_rtc(long long *seconds)
{
    struct rtc_time rtc;
    int fd = open_rtc();

    if (fd < 0)
        return -1;
    int result = ioctl(fd, RTC_RD_TIME, &rtc);
    int error = errno;
    close(fd);
    errno = error;
    if (result < 0)
        return -1;
    struct tm parts = {
        .tm_sec = rtc.tm_sec, .tm_min = rtc.tm_min, .tm_hour = rtc.tm_hour,
        .tm_mday = rtc.tm_mday, .tm_mon = rtc.tm_mon,
        .tm_year = rtc.tm_year};
    *seconds = timegm(&parts);
    return 0;
}
