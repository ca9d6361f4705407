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

/* DHCP by busybox's udhcpc, and IPv6 autoconfiguration by the kernel. */
#ifndef CVM_DHCP_H
#define CVM_DHCP_H

#include <stdbool.h>

#include "network.h"

/* Start a client on INTERFACE, unless there is one: it stays, and renews the
 * lease. */
void dhcp_start(const char *interface);

/* Whether the program is there; see tidy.h. */
bool dhcp_is_there(void);

/* Whether a client has been started. */
bool dhcp_is_used(void);

/*
 * Wait, for a bounded time, until every client started has a lease; put what
 * the leases say into RESULT where it has no entry yet. False if one has
 * none: it goes on trying.
 */
bool dhcp_wait(struct network_result *result);

/* Wait briefly for an address from router advertisements. */
void dhcp_wait_slaac(struct network_result *result);

#endif
