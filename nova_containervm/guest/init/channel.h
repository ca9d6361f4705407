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

/* The status channel to the host: a virtio-serial port, JSON lines. */
#ifndef CVM_CHANNEL_H
#define CVM_CHANNEL_H

#include <stdbool.h>

/* The port called NAME, open and not blocking; -1 while there is none. */
int channel_port(const char *name);

/*
 * Open the port called NAME for events, waiting a moment for it to appear. Without a
 * port all events are dropped. Returns 0, or -1.
 */
int channel_open(const char *name);

void channel_booted(void);
void channel_running(unsigned restarts);
void channel_exited(int code, int signal, bool oom, bool final);
void channel_restarting(unsigned delay_ms, unsigned restarts);
/* STATUS as docker names it; OUTPUT of the check, "" for none. */
void channel_health(const char *status, const char *output);
void channel_failed(const char *stage, const char *reason);

#endif
