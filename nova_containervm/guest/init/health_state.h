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

/* docker's rules about when a container is well: moby's daemon/health.go. */
#ifndef CVM_HEALTH_STATE_H
#define CVM_HEALTH_STATE_H

#include <stdbool.h>

#include "contract.h"

enum health_status { HEALTH_STARTING, HEALTH_HEALTHY, HEALTH_UNHEALTHY };

struct health_state {
    enum health_status status;
    unsigned failures; /* in a row, those that count */
};

/* The status as it is reported. */
const char *health_status_name(enum health_status status);

/*
 * Take in a check that began BEGAN_MS after the container's start, and went
 * well if GOOD. Whether the status has changed by it.
 */
bool health_state_update(struct health_state *state,
                         const struct health *health, bool good,
                         long long began_ms);

/* How long to wait for the next check, when it is SINCE_MS since the
 * container's start. */
unsigned health_state_interval(const struct health_state *state,
                               const struct health *health,
                               long long since_ms);

#endif
