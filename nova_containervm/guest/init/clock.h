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

/* Time in milliseconds. */
#ifndef CVM_CLOCK_H
#define CVM_CLOCK_H

/* Since boot, time spent suspended included. */
long long clock_ms(void);
/* Since 1970. */
long long clock_realtime_ms(void);
void clock_sleep_ms(unsigned ms);

/*
 * The time of the machine's real-time clock, which the host keeps, in seconds
 * since 1970. -1 with errno set if it cannot be read.
 */
int clock_read_rtc(long long *seconds);

#endif
